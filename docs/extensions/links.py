"""Links of the repository made those of the site, and numbers of papers made links."""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
NOTEBOOK = re.compile(r"\[([^\]]+)\]\((?:\.\./)?notebooks/(\w+)\.py\)")
# arXiv's, such as 2302.01687, but not in the middle of something else.
PAPER = re.compile(r"(?<![\w./<])(\d{4}\.\d{5})(?![\w.]\w|\w)")
# Code, and links that are there already.
KEPT = re.compile(r"(^```.*?^```$|`[^`\n]+`|\[[^\]]*\]\([^)]*\))", re.MULTILINE | re.DOTALL)


def papers(text: str, link: str = r"[\1](https://arxiv.org/abs/\1)") -> str:
    """Markdown in which every number of a paper outside of code leads to it."""
    parts = KEPT.split(text)
    parts[::2] = [PAPER.sub(link, part) for part in parts[::2]]
    return "".join(parts)


def process(_app: Any, name: str, source: list[str]) -> None:
    """Make a page fit, in place; the README is the first page."""
    if name == "index":
        text = (ROOT / "README.md").read_text()
        text = text.replace("](docs/", "](").replace("](CONTRIBUTING.md", "](contributing.md")
        text = text.replace("](CHANGELOG.md", "](changelog.md")
        source[0] = text + source[0]
    if name.startswith(("notebooks/", "reference/")):
        return
    text = source[0].replace("[reference](imports.md)", "[reference](reference/index)")
    source[0] = papers(NOTEBOOK.sub(r"{doc}`\1 </notebooks/\2>`", text))


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("source-read", process)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
