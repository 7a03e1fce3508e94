import json
import math

import pytest

from gfnjax.run import directory
from gfnjax.run.choices import configure
from gfnjax.run.config import UsageError
from gfnjax.run.directory import RunDirectory


def record(step, **values):
    return {"kind": "train", "step": step, "seconds": 1.0, **values}


def test_metrics_are_json_even_where_numbers_are_not_finite(tmp_path):
    run = RunDirectory(tmp_path)
    run.append_metrics([record(1, loss=0.1), record(2, loss=float("nan"), log_z=float("inf"))])

    lines = run.metrics_file.read_text().splitlines()
    assert json.loads(lines[1], parse_constant=pytest.fail) == record(2, loss=None, log_z=None)
    first, second = run.read_metrics()
    assert first == record(1, loss=0.1)
    assert math.isnan(second["loss"])
    assert math.isnan(second["log_z"])


def test_metrics_beyond_a_step_and_torn_lines_are_left_out(tmp_path):
    run = RunDirectory(tmp_path)
    assert run.read_metrics() == []
    run.append_metrics(map(record, (1, 2, 3)))
    with open(run.metrics_file, "a") as file:
        file.write('{"kind": "tra')

    assert run.read_metrics() == [record(1), record(2), record(3)]
    assert run.read_metrics(last_step=2) == [record(1), record(2)]
    run.write_metrics(run.read_metrics(last_step=2))
    run.append_metrics([record(3, loss=1.0)])
    assert run.read_metrics() == [record(1), record(2), record(3, loss=1.0)]


def test_lines_that_are_no_records_are_left_out(tmp_path):
    run = directory.create(tmp_path / "run", "grid")
    good = {"kind": "train", "step": 10, "seconds": 1.0, "loss": 2.0}
    odd = [{"step": 3}, {"kind": "train", "step": "4", "seconds": 1.0}, {"kind": "x", "step": 1}]
    text = "".join(json.dumps(record) + "\n" for record in (*odd, good))
    run.metrics_file.write_bytes(b"\xff\xfe\n" + text.encode())
    assert run.read_metrics() == [good]


def test_the_next_free_directory_is_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "hypergrid-2").mkdir(parents=True)
    made = [directory.create(None, "hypergrid").path for _ in range(3)]
    assert [str(path) for path in made] == [f"runs/hypergrid-{n}" for n in (1, 3, 4)]
    assert sorted(p.name for p in made[0].iterdir()) == ["checkpoints", "pictures"]


def test_an_empty_directory_may_be_used_but_not_a_full_one(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    run = directory.create(empty, "x")
    with pytest.raises(UsageError, match="new or empty"):
        directory.create(empty, "x")
    run.write_config(configure("hypergrid"))
    with pytest.raises(UsageError, match=f"already holds a run.*gfnjax resume {empty}"):
        directory.create(empty, "x")


@pytest.mark.parametrize("inside", ["file", "file/deeper"])
def test_what_cannot_be_written_is_named(tmp_path, inside):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=f"cannot write to {tmp_path / 'file'}"):
        directory.create(tmp_path / inside, "x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("[1]", "cannot be read"),
        ("{}", "does not fit this version of gfnjax: environment is missing"),
        ('{"environment": "chess"}', "there is no environment 'chess'"),
        ('{"plugins": 3}', "cannot be read"),
        ('{"environment": "hypergrid"}', "does not fit"),
    ],
)
def test_a_config_that_is_none_is_one_clear_error(tmp_path, text, message):
    run = RunDirectory(tmp_path)
    with pytest.raises(UsageError, match=r"is not a run: it has no config\.json"):
        run.read_config()
    with pytest.raises(UsageError, match="no such run"):
        RunDirectory(tmp_path / "nowhere").read_config()
    run.config_file.write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        run.read_config()
    assert "\n" not in str(caught.value)
