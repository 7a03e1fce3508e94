import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest

import gfnjax
from gfnjax.run import resume as resume_run
from gfnjax.run import start as start_run
from gfnjax.run.checkpoint import CheckpointError, DamagedCheckpointWarning
from gfnjax.run.choices import configure
from gfnjax.run.config import UsageError
from gfnjax.run.sweeps import directory, kept, session
from gfnjax.run.sweeps.config import Point, SweepConfig, sweep_from_dict, sweep_to_dict
from gfnjax.run.sweeps.directory import SweepDirectory
from gfnjax.run.sweeps.judging import judge
from gfnjax.run.sweeps.table import Table
from gfnjax.sweeps import Placement

TINY = {"side": 4, "batch_size": 4, "hidden_sizes": (8,), "chunk_size": 4, "steps": 10}


class Silent:
    def update(self, status):
        self.last = str(status)

    def close(self):
        pass


def make(vary, seeds=(0, 1), **settings):
    points = [{}]
    for name, values in vary.items():
        points = [{**point, name: value} for point in points for value in values]
    return SweepConfig(
        tuple(Point(p, configure("hypergrid", **{**TINY, **settings, **p})) for p in points), seeds
    )


@pytest.fixture(scope="module")
def config():
    return make({"learning_rate": [1e-3, 1e-2], "epsilon": [0.0, 0.2]}, steps=10)


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
    return session.start(config, tmp_path_factory.mktemp("s") / "whole", display=Silent())


def metrics(table):
    """Everything but the time it took."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in table.rows]


def assert_alike(a, b):
    for x, y in zip(metrics(a), metrics(b), strict=True):
        assert x.keys() == y.keys()
        for name, value in x.items():
            same = value == y[name] or (value != value and y[name] != y[name])
            assert same, (name, value, y[name])


@pytest.mark.long
def test_a_member_is_what_training_alone_gives(config, whole, tmp_path):
    assert whole.ending == "finished"
    rows = [row for row in whole.table.rows if row["member"] == 5]
    assert [row["step"] for row in rows] == [0, 4, 8, 10]
    assert (rows[0]["learning_rate"], rows[0]["epsilon"], rows[0]["seed"]) == (1e-2, 0.0, 1)
    assert [row["status"] for row in rows] == [*["running"] * 3, "finished"]
    alone = start_run(config.config_of(5), tmp_path / "run", Silent())
    evaluations = [r for r in alone.run.read_metrics() if r["kind"] == "evaluation"]
    for row, other in zip(rows, evaluations, strict=True):
        for name in ("total_variation", "log_z", "kl"):
            assert row[name] == pytest.approx(other[name], rel=1e-4, abs=1e-6)


def test_the_table_is_written(whole):
    with open(whole.sweep.table_file(), newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8 * 4
    assert list(rows[0])[:8] == [
        *("member", "point", "seed", "learning_rate", "epsilon", "step", "seconds", "status")
    ]
    assert float(rows[7]["total_variation"]) == whole.table.rows[7]["total_variation"]


@pytest.mark.slow
def test_a_member_is_loaded_as_a_run(config, whole):
    run = gfnjax.load(whole.sweep.path, member=5)
    assert (run.config.training.seed, run.config.training.learning_rate) == (1, 1e-2)
    assert int(run.state.step) == 10
    last = whole.table.last_rows()[5]
    assert run.evaluate()["total_variation"] == pytest.approx(last["total_variation"], rel=1e-5)
    assert [r["step"] for r in run.metrics] == [0, 4, 8, 10]
    assert int(gfnjax.load(whole.sweep.path, step=8, member=5).state.step) == 8
    assert run.sample(3).length.shape == (3,)
    for bad in ({}, {"member": 8}):
        with pytest.raises(UsageError, match="member must be one of 0 to 7"):
            gfnjax.load(whole.sweep.path, **bad)
    with pytest.raises(CheckpointError, match="step must be one of 8, 10"):
        gfnjax.load(whole.sweep.path, step=9, member=5)


@pytest.mark.long
def test_a_divided_buffer_is_resumed_and_loaded(tmp_path):
    config = make({"epsilon": [0.1]}, replay="fifo", capacity=16, steps=8)
    path = tmp_path / "sweep"
    session.start(config, path, Placement(4, num_batch_devices=2), Silent())
    assert session.resume(path, display=Silent()).ending == "nothing to do"
    run = gfnjax.load(path, member=1)
    assert run.state.memory.buffer.size.shape == (2,)
    assert 0 < run.evaluate()["total_variation"] < 1


def test_what_only_some_metrics_can_compare(config, tmp_path):
    one, other = make({"r0": [0.1, 0.01]}), make({"epsilon": [0.1, 0.2]})
    assert (one.of_one_target, other.of_one_target) == (False, True)
    rows = [
        {
            "member": i,
            "point": i,
            "seed": 0,
            "r0": x,
            "step": 1,
            "seconds": 0.0,
            "status": "finished",
        }
        for i, x in enumerate((0.1, 0.01))
    ]
    measured = [{**row, "elbo": -row["r0"]} for row in rows]
    assert judge(Table(("r0",), measured)).name == "elbo"
    with pytest.raises(UsageError, match="settings have different targets"):
        judge(Table(("r0",), measured, of_one_target=False))
    exact = [{**row, "total_variation": row["r0"]} for row in measured]
    assert judge(Table(("r0",), exact, of_one_target=False)).name == "total_variation"


def test_columns_are_told_apart(config):
    with pytest.raises(UsageError, match="seconds cannot be varied"):
        SweepConfig((Point({"seconds": 1}, config.points[0].config),), (0,))
    points = (Point({"elbo": 1.0}, config.points[0].config),)
    record = {"kind": "evaluation", "member": 0, "step": 0, "seconds": 0.0, "elbo": 7.0}
    row = directory.as_row(SweepConfig(points, (0,)), {**record, "status": "running"})
    assert (row["elbo"], row["measured_elbo"]) == (1.0, 7.0)


def test_descriptions_survive_json(config):
    assert sweep_from_dict(json.loads(json.dumps(sweep_to_dict(config)))) == config


@pytest.mark.long
def test_an_interrupted_sweep_goes_on(config, whole, tmp_path, monkeypatch):
    path, chunks = tmp_path / "sweep", []
    save = kept.save

    def stop_after_one(*args):
        save(*args)
        chunks.append(args)
        if len(chunks) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(session, "save", stop_after_one)
    stopped = session.start(config, path, display=Silent())
    assert (stopped.ending, stopped.signal) == ("interrupted", signal.SIGTERM)
    assert max(row["step"] for row in stopped.table.rows) == 4
    monkeypatch.undo()
    # What came after the last checkpoint is measured again, and a line may have been cut short.
    with open(stopped.sweep.metrics_file, "a") as file:
        record = {"kind": "evaluation", "member": 0, "step": 8, "seconds": 9.0, "status": "running"}
        file.write(json.dumps(record) + '\n{"kind": "ev')
    other = Placement(num_devices=3, members_at_once=1)
    finished = session.resume(path, other, Silent())
    assert finished.ending == "finished"
    for a, b in zip(metrics(finished.table), metrics(whole.table), strict=True):
        assert a["step"] == b["step"]
        assert a["total_variation"] == pytest.approx(b["total_variation"], rel=1e-4)
    again = session.resume(path, display=Silent())
    assert again.ending == "nothing to do"
    assert_alike(again.table, finished.table)


def test_a_damaged_checkpoint_is_refused_and_the_one_before_it_used(config, whole, tmp_path):
    path = tmp_path / "sweep"
    session.start(config, path, display=Silent())
    files = sorted(path.glob("checkpoints/round-0/*.ckpt"))
    assert [file.name for file in files] == ["step-000000008.ckpt", "step-000000010.ckpt"]
    content = bytearray(files[1].read_bytes())
    content[-200] ^= 1
    files[1].write_bytes(bytes(content))
    with pytest.warns(DamagedCheckpointWarning, match="going back to step-000000008"):
        finished = session.resume(path, display=Silent())
    assert_alike(finished.table, whole.table)


@pytest.mark.slow
def test_divergence_and_goals_are_each_members_own(tmp_path):
    settings = {**TINY, "steps": 400, "chunk_size": 100, "stop_at_tv": 0.3, "batch_size": 16}
    points = tuple(
        Point({"learning_rate": x}, configure("hypergrid", learning_rate=x, **settings))
        for x in (0.02, 1e38, 1e-7)
    )
    outcome = session.start(SweepConfig(points, (0,)), tmp_path / "sweep", display=Silent())
    last = outcome.table.last_rows()
    assert [row["status"] for row in last] == ["reached", "diverged", "finished"]
    assert last[0]["total_variation"] <= 0.3
    assert last[0]["step"] < 400 == last[2]["step"]
    assert 1 <= last[1]["step"] < 100
    assert "total_variation" not in last[1]
    (record,) = [r for r in outcome.sweep.read_metrics() if r["status"] == "diverged"]
    assert "lower the learning rate" in record["reason"] or "NaN" in record["reason"]


@pytest.mark.slow
def test_other_settings_are_other_rounds(tmp_path):
    config = make({"batch_size": [4, 8], "learning_rate": [1e-3, 1e-2]}, seeds=(3,), steps=4)
    outcome = session.start(config, tmp_path / "sweep", display=Silent())
    assert outcome.num_rounds == 2
    _, rounds = outcome.sweep.read_sweep()
    assert rounds == [[0, 1], [2, 3]]
    assert [row["status"] for row in outcome.table.last_rows()] == ["finished"] * 4
    assert {row["seed"] for row in outcome.table.rows} == {3}


KILLED = """
import os
import signal
import sys
from pathlib import Path
from gfnjax.run.sweeps import session
from gfnjax.run.sweeps.config import Point, SweepConfig
from gfnjax.run.choices import configure

settings = dict(side=4, batch_size=4, hidden_sizes=(8,), chunk_size=20, steps=400)
points = [
    Point({"learning_rate": x}, configure("hypergrid", learning_rate=x, **settings))
    for x in (1e-3, 1e-2)
]
path = Path(sys.argv[1])
if len(sys.argv) > 2:  # killed before the n-th checkpoint takes its place
    left, replace = [int(sys.argv[2])], os.replace

    def replace_or_die(source, target):
        left[0] -= str(target).endswith(".ckpt")
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    os.replace = replace_or_die
if path.exists() and (path / "sweep.json").exists():
    session.resume(path)
else:
    session.start(SweepConfig(tuple(points), (0, 1)), path)
"""


@pytest.mark.long
def test_kill_9_loses_nothing_but_the_last_chunk(tmp_path):
    (tmp_path / "script.py").write_text(KILLED)

    def process(path, *more):
        command = [sys.executable, str(tmp_path / "script.py"), str(path), *more]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL)

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert process(whole).wait(120) == 0
    # In the middle of writing the checkpoint of step 40, which has left a part of itself.
    assert process(killed, "3").wait(120) == -signal.SIGKILL
    found = {path.name for path in killed.glob("checkpoints/round-0/*")}
    assert found == {"step-000000000.ckpt", "step-000000020.ckpt", ".step-000000040.ckpt.partial"}
    for least in (60, 200):  # killed twice, in the middle of whatever it does
        running = process(killed)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and running.poll() is None:
            steps = [int(f.stem[5:]) for f in killed.glob("checkpoints/round-0/step-*.ckpt")]
            if max(steps, default=0) >= least:
                break
            time.sleep(0.002)
        running.kill()
        running.wait()
        found = SweepDirectory(killed).read_metrics()
        assert max(record["step"] for record in found) >= least
    assert process(killed).wait(120) == 0
    config, _ = SweepDirectory(killed).read_sweep()
    assert_alike(SweepDirectory(killed).table(config), SweepDirectory(whole).table(config))


def test_what_cannot_be_resumed_is_said_in_one_line(whole, tmp_path):
    with pytest.raises(UsageError, match="no such sweep"):
        session.resume(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"is not a sweep: it has no sweep\.json"):
        session.resume(tmp_path / "empty")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "sweep.json").write_text('{"points": [], "seeds": [0], "rounds": []}')
    with pytest.raises(UsageError, match=r"sweep\.json cannot be read"):
        session.resume(broken)
    with pytest.raises(UsageError, match="num_devices must be at most"):
        session.resume(whole.sweep.path, Placement(num_devices=99))
    with pytest.raises(UsageError, match="already holds a sweep: go on with `gfnjax resume"):
        session.start(whole.config, whole.sweep.path)
    with pytest.raises(UsageError, match="is not a run"):
        resume_run(whole.sweep.path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": [4, 8]}, "steps is one for all members"),
        ({"stop_at_tv": [0.1, 0.2]}, "stop_at_tv is one for all members"),
    ],
)
def test_what_a_sweep_has_once_is_not_varied(change, message):
    with pytest.raises(UsageError, match=message):
        make(change)


def test_seeds_are_different_numbers():
    with pytest.raises(UsageError, match="seeds must be different numbers"):
        make({"epsilon": [0.1]}, seeds=(1, 1))
