import re
import sys

import pytest

from gfnjax.cli import commands
from gfnjax.run.sweeps import session
from gfnjax.run.sweeps.table import read

optuna = pytest.importorskip("optuna")

TINY = "search hypergrid --side 4 --batch-size 4 --hidden-sizes 8 --chunk-size 4 --steps 4"
FEW = "--trials 2 --population 2"
RATE = "--vary learning_rate=log:1e-3:1e-1:3"


def run(*arguments):
    return commands.main([word for a in arguments for word in str(a).split()])


def refusal(capsys, *arguments):
    assert run(*arguments) == 2
    _, err = capsys.readouterr()
    (line,) = err.splitlines()
    return line


@pytest.fixture(autouse=True)
def somewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.long
def test_a_search_ends_with_what_to_type(capsys, somewhere, monkeypatch):
    start = session.start

    def die(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "start", die)
    assert run(TINY, FEW, RATE, "--vary epsilon=0,0.5 --study grid.db --seeds 2") == 130
    monkeypatch.setattr(session, "start", start)
    capsys.readouterr()

    assert run("resume grid-search") == 0

    out, err = capsys.readouterr()
    assert err == ""
    assert "population 1: trials 0 to 1" in out
    assert (
        "2 trials finished, 0 of them pruned; judged by exact total variation: low is good" in out
    )
    best = r"best +--learning-rate 0\.\d+ --epsilon 0\.[05]  \(trial [01]: 0\.\d+\)"
    assert re.search(best, out)
    assert "results      grid-search/results.csv, " in out
    assert (somewhere / "grid-search" / "pictures" / "curves.png").is_file()
    table = read(somewhere / "grid-search" / "results.csv")
    assert table.varied == ("trial", "learning_rate", "epsilon")
    assert {row["learning_rate"] for row in table.rows} <= {0.001, 0.01, 0.1}
    # More of them, by the same words.
    assert (
        run(
            TINY,
            "--trials 3 --population 2",
            RATE,
            "--vary epsilon=0,0.5 --study grid.db --seeds 2",
        )
        == 0
    )
    out, _ = capsys.readouterr()
    assert "population 2: trials 2 to 2" in out
    assert "3 trials finished" in out
    assert run("report grid-search") == 0
    assert "pictures " in capsys.readouterr().out


@pytest.mark.long
def test_who_takes_part_and_static_settings_are_searched(capsys, somewhere):
    varied = "--vary objective=tb,db --vary batch_size=2:4:2"
    assert run(TINY, "--trials 4 --population 4", varied) == 0
    out, _ = capsys.readouterr()
    assert re.search(r"best +--objective [td]b --batch-size [24]  ", out)
    study = somewhere / "searches" / "hypergrid-search" / "study.db"
    found = optuna.load_study(study_name="hypergrid", storage=f"sqlite:///{study}")
    assert {t.params["objective"] for t in found.trials} == {"tb", "db"}
    assert isinstance(
        found.trials[0].distributions["batch_size"], optuna.distributions.IntDistribution
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("", "--vary must say what is searched"),
        ("--vary learning_rat=1,2", "did you mean --learning-rate"),
        ("--vary seed=1,2", "use --seeds N"),
        ("--vary steps=1,2", "it is one for all members of a sweep"),
        ("--vary batch_size=uniform:1:8", "cannot be drawn; list its values"),
        ("--vary epsilon=0,1,2", "--epsilon"),
        ("--vary epsilon=0 --trials 0", "--trials must be at least 1"),
        ("--vary epsilon=0 --sampler cmaes", "sampler"),
        ("--vary epsilon=0 --seeds 0", "--seeds must be at least 1"),
        ("--vary epsilon=0 --metric nothing", "must be one of"),
        ("--vary epsilon=0 --samples 3", "--samples"),
    ],
)
def test_mistakes_are_said_in_one_line(capsys, somewhere, flags, message):
    assert message in refusal(capsys, TINY, flags)
    assert not list(somewhere.glob("searches/*/search.json"))


def test_without_optuna_one_line_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert 'pip install "gfnjax[optuna]"' in refusal(capsys, TINY, RATE)


def test_help_has_the_flags_of_both(capsys):
    assert run("search hypergrid --help") == 0
    out, _ = capsys.readouterr()
    for flag in ("--trials", "--population", "--study", "--pruner", "--side", "--learning-rate"):
        assert flag in out


def test_a_search_is_not_extended_by_steps(capsys, somewhere):
    (somewhere / "s").mkdir()
    (somewhere / "s" / "search.json").write_text(
        '{"id": "a", "study": "s.db", "words": null, "plugins": []}'
    )
    assert "--steps extends a run, not a search" in refusal(capsys, "resume s --steps 9")
    assert "run the script again" in refusal(capsys, "resume s")
