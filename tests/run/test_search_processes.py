"""Searches in processes of their own, which share a study, are killed, or die."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gfnjax.run.config import UsageError
from gfnjax.run.sweeps import session
from gfnjax.run.sweeps.studies.directory import SearchDirectory

optuna = pytest.importorskip("optuna")
go = pytest.importorskip("test_search").go

TWO = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_search import go
found = go(Path(sys.argv[2]), sys.argv[3], trials=9, population=3)
print(found.counts.finished, sorted({row["trial"] for row in found.table.rows}))
"""


@pytest.mark.long
def test_two_processes_share_a_study(tmp_path):
    (tmp_path / "two.py").write_text(TWO)
    here = str(Path(__file__).parent)
    command = [sys.executable, str(tmp_path / "two.py"), here, str(tmp_path)]
    running = [
        subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True) for name in "ab"
    ]
    said = [process.communicate(timeout=240)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    mine = [json.loads(text.split(" ", 1)[1]) for text in said]
    assert sorted(mine[0] + mine[1]) == list(range(9))
    assert all(mine)
    study = optuna.load_study(study_name="hypergrid", storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert {trial.state.name for trial in study.trials} <= {"COMPLETE", "PRUNED"}
    assert len({trial.params["learning_rate"] for trial in study.trials}) == 9


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_search import go, wanted, make
go(Path(sys.argv[2]), make=lambda v: make(v, steps=200), trials=6, population=3, pruner="none")
"""


@pytest.mark.long
def test_kill_9_changes_nothing(tmp_path):
    (tmp_path / "killed.py").write_text(KILLED)

    def process(path):
        path.mkdir(exist_ok=True)
        command = [sys.executable, str(tmp_path / "killed.py"), str(Path(__file__).parent), path]
        return subprocess.Popen([*command])

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert process(whole).wait(240) == 0
    for where in ("study.db", "out/population-2/checkpoints/round-0/step-000000060.ckpt"):
        running = process(killed)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and running.poll() is None:
            if (killed / where).exists():
                break
            time.sleep(0.001)
        running.kill()
        running.wait()
    assert process(killed).wait(240) == 0
    found = [
        optuna.load_study(study_name="hypergrid", storage=f"sqlite:///{path / 'study.db'}").trials
        for path in (whole, killed)
    ]
    assert len(found[1]) == 6
    for a, b in zip(*found, strict=True):
        assert (a.state, a.params, a.value) == (b.state, b.params, b.value)
        assert a.intermediate_values == b.intermediate_values


HOLDING = """
import fcntl, sys
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print(flush=True)
input()
"""


@pytest.mark.long
def test_trials_of_a_dead_process_are_given_up_where_they_would_be_missing(tmp_path, monkeypatch):
    def die(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "start", die)
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path, "dead", trials=4, population=2)
    monkeypatch.undo()
    found = go(tmp_path, "alive", trials=4, population=2)
    states = [trial.state.name for trial in found.study.trials]
    assert states == ["FAIL"] * 2 + ["COMPLETE"] * 4
    assert go(tmp_path, "dead", trials=4, population=2).ending == "nothing to do"
    # Whoever is at it keeps them.
    monkeypatch.setattr(session, "start", die)
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path, "busy", trials=6, population=2)
    monkeypatch.undo()
    command = [sys.executable, "-c", HOLDING, str(tmp_path / "busy" / ".lock")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        process.stdout.readline()
        assert SearchDirectory(tmp_path / "busy").in_use()
        assert go(tmp_path, "alive", trials=6, population=2).counts == (4, 0, 2, 2)
        with pytest.raises(UsageError, match="in use by another process: to share the study"):
            go(tmp_path, "busy", trials=6, population=2)
        process.stdin.write("\n")
