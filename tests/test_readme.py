"""What the README shows must run as it stands."""

import re
from pathlib import Path

import jax
import pytest

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"


@pytest.mark.slow
@pytest.mark.optimised
def test_the_python_blocks_run_in_order():
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) >= 4
    # Users do not run with the suite's strict promotion.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        exec(compile("\n".join(blocks), "README.md", "exec"), {"__name__": "readme"})


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize("name", ["sweeps", "continuous", "graphs"])
def test_the_python_blocks_of_a_page_run(name):
    text = (ROOT / "docs" / f"{name}.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        exec(compile("\n".join(blocks), f"{name}.md", "exec"), {"__name__": name})


@pytest.mark.parametrize("name", ["main", "test"])
def test_continuous_integration_finds_the_commands(name):
    command = re.search(rf"<!-- {name} -->\n```bash\n(.+?)\n```", README.read_text(), re.DOTALL)
    assert command is not None
    assert ("pytest" if name == "test" else "gfnjax train hypergrid") in command.group(1)
