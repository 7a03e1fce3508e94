"""`gfnjax reproduce`, on a small budget."""

import os
import signal

import pytest

from gfnjax import run as runs
from gfnjax.cli import commands
from gfnjax.reproduce import REPRODUCTIONS, Reproduction, Row
from gfnjax.reproduce.measures import Value
from gfnjax.run import session

SETTINGS = {"side": 3, "hidden_sizes": (8,), "batch_size": 4, "chunk_size": 2, "steps": 100}
TINY = Reproduction(
    "tiny",
    "A tiny table",
    ("2201.13259",),
    (Row("tb", "hypergrid", SETTINGS, 1, "3x3", "TB"), Row("db", "hypergrid", SETTINGS, 1)),
    (Value("total_variation", "exact TV"),),
    ("total_variation",),
    1,
    "none known",
)
ROW = "reproduce tiny --rows tb --steps"


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(REPRODUCTIONS, "tiny", TINY)


def run(*arguments):
    return commands.main([word for a in arguments for word in str(a).split()])


def test_without_a_name_it_lists_what_there_is(capsys):
    assert run("reproduce") == 0
    out = capsys.readouterr().out
    for name in ("hypergrid", "sets", "backward", "dag", "phylogeny", "bits"):
        assert f"\n{name} " in out
    assert "minutes" in out
    assert run("reproduce sets --list --rows medium-fl-db-0") == 0
    assert capsys.readouterr().out == (
        "medium-fl-db-0 (seeds 0 to 4)\n    gfnjax train set --variant medium --objective fl-db "
        "--log-z-init 0.0 --steps 10000\n"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("reproduce hypergird", "there is no reproduction 'hypergird'; did you mean hypergrid?"),
        ("reproduce dag --rows bge", "dag has no row 'bge'; did you mean bge-1?"),
        ("reproduce --steps 3", "--steps needs the name of a table, see gfnjax reproduce"),
        ("reproduce dag --steps 0 --output new", "steps must be at least 1, got 0"),
        ("reproduce dag --report --output new", "there are no runs of dag in new"),
    ],
)
def test_what_cannot_be_asked_for(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(words) == 2
    assert capsys.readouterr().err == f"gfnjax: {message}\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_interrupted_table_goes_on_where_it_was(tiny, tmp_path, capsys):
    output = tmp_path / "out"
    (output / "tb-0" / "checkpoints").mkdir(parents=True)  # as a crash leaves it
    records = session._step_records

    def stop(*arguments):
        os.kill(os.getpid(), signal.SIGINT)
        return records(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "_step_records", stop)
        assert run(ROW, 4, "--output", output) == 130
    out = capsys.readouterr().out
    assert "0 of 1 (1 under way)" in out
    assert f"stopped; the same command goes on where {output} is now" in out

    assert run(ROW, 4, "--output", output) == 0
    first = capsys.readouterr().out
    assert "small budget: 4 steps" in first
    assert "4/4" in first
    assert "step 0/4" not in first
    assert sorted(path.name for path in output.iterdir()) == [
        "curves.png",
        "table.csv",
        "table.md",
        "tb-0",
    ]

    def fail(*arguments):
        raise AssertionError("finished runs are not repeated")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "start", fail)
        patch.setattr(runs, "resume", fail)
        assert run(ROW, 4, "--output", output) == 0
    again = capsys.readouterr().out
    assert again == first[first.index("A tiny table") :]
    assert run("reproduce tiny --report --rows tb --output", output) == 0
    assert capsys.readouterr().out == again
    assert run("reproduce tiny --report --rows db --output", output) == 0
    assert "| tb | 1 of 1 |" in (output / "table.md").read_text()

    assert run("reproduce sets --report --output", output) == 2
    assert "holds what is no run of sets (tb-0)" in capsys.readouterr().err


def test_a_run_that_fails_does_not_stop_the_others(tiny, tmp_path, capsys, monkeypatch):
    asked = []

    def fail(config, path):
        asked.append(path.name)
        raise runs.RunFailedError("the loss is not finite at step 7", "the state is in x")

    monkeypatch.setattr(runs, "start", fail)
    words = "reproduce tiny --output"
    assert run(words, tmp_path / "out") == 1
    assert asked == ["tb-0", "db-0"]
    assert "tb-0 has failed: the loss is not finite at step 7" in capsys.readouterr().out
