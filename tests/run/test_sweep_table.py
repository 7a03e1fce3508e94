import math
import sys
from pathlib import Path

import pytest

from gfnjax.errors import MissingExtraError
from gfnjax.run.config import UsageError
from gfnjax.run.sweeps import table as tables
from gfnjax.run.sweeps.table import Table

HEADER = "member,point,seed,rate,sizes,objective,clip,learned,step,seconds,status,kl,log_z\n"


def row(member, step, status="running", **values):
    setting = [
        {"rate": 1.0, "sizes": (8,), "objective": "tb", "clip": None, "learned": True},
        {"rate": 0.1, "sizes": (8, 16), "objective": "db", "clip": 0.5, "learned": False},
    ][member // 2]
    first = {"member": member, "point": member // 2, "seed": member % 2, **setting}
    return {**first, "step": step, "seconds": step / 4, "status": status, **values}


def example():
    return Table(
        ("rate", "sizes", "objective", "clip", "learned"),
        [
            row(0, 0, kl=0.5),
            row(0, 10, "finished", kl=0.1, log_z=2.0),
            row(3, 10, "diverged", kl=math.nan, log_z=math.nan),
            row(3, 0, kl=1 / 3, log_z=-math.inf),
        ],
    )


def without_nan(rows):
    return [{k: v for k, v in r.items() if k == "clip" or not tables.is_missing(v)} for r in rows]


def test_columns_are_in_order():
    columns = HEADER.strip().split(",")
    assert example().columns == tuple(columns)
    assert example().metrics == ("kl", "log_z")


def test_the_csv_file_is_plain(tmp_path):
    path = tmp_path / "results.csv"
    tables.write(example(), path)
    assert path.read_text() == HEADER + (
        "0,0,0,1.0,8,tb,,True,0,0.0,running,0.5,\n"
        "0,0,0,1.0,8,tb,,True,10,2.5,finished,0.1,2.0\n"
        "3,1,1,0.1,8 16,db,0.5,False,10,2.5,diverged,,\n"
        "3,1,1,0.1,8 16,db,0.5,False,0,0.0,running,0.3333333333333333,-inf\n"
    )
    assert [p.name for p in tmp_path.iterdir()] == ["results.csv"]  # nothing half-written


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".PARQUET"])
def test_what_is_read_is_what_was_written(suffix, tmp_path):
    if suffix != ".csv":
        pytest.importorskip("polars")
    path = tmp_path / f"results{suffix}"
    tables.write(example(), path)
    found = tables.read(path)
    assert found.varied == example().varied
    assert found.rows == without_nan(example().rows)
    kinds = [[type(v) for v in r.values()] for r in found.rows]
    assert kinds == [[type(v) for v in r.values()] for r in without_nan(example().rows)]


def test_a_column_is_of_one_kind(tmp_path):
    path = tmp_path / "results.csv"
    lines = ["0,0,0,1,8 8,1,nan,1,0,0.5,running", "1,1,0,2,4,batch,,1.5,0,0.5,running"]
    path.write_text("member,point,seed,a,b,c,d,e,step,seconds,status\n" + "\n".join(lines))
    settings = [[r[name] for name in "abcde"] for r in tables.read(path).rows]
    assert settings == [[1, (8, 8), 1, "nan", 1.0], [2, (4,), "batch", None, 1.5]]
    assert [type(r["e"]) for r in tables.read(path).rows] == [float, float]


def test_rows_are_found_by_member_and_by_metric():
    table = example()
    assert [(r["member"], r["step"]) for r in table.last_rows()] == [(0, 10), (3, 10)]
    assert list(table.settings()) == [0, 1]
    assert table.settings()[1]["sizes"] == (8, 16)
    steps, values = tables.curve(table.members()[3], "kl")
    assert (steps.tolist(), values.tolist()) == ([0], [1 / 3])
    assert tables.curve(table.members()[0], "elbo")[0].shape == (0,)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a,b\n1,2\n", "must be the table of a sweep"),
        ("", "must be the table of a sweep"),
        (HEADER + "x" + 12 * ",", "must be the table of a sweep"),
    ],
)
def test_other_files_are_refused(text, problem, tmp_path):
    path = tmp_path / "results.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=problem):
        tables.read(path)


def test_wrong_paths(tmp_path):
    with pytest.raises(UsageError, match="no such table"):
        tables.read(tmp_path / "results.csv")
    for use in (tables.read, tables.check_path, lambda path: tables.write(example(), path)):
        with pytest.raises(UsageError, match=r"^results must be a .csv or .parquet file, got a"):
            use(Path("a.xls"))


def test_parquet_needs_polars(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "polars", None)
    path = tmp_path / "results.parquet"
    for use in (tables.check_path, lambda path: tables.write(example(), path)):
        with pytest.raises(MissingExtraError, match=r'pip install "gfnjax\[data\]"'):
            use(path)
    assert not path.exists()
    tables.check_path(tmp_path / "results.csv")


@pytest.mark.parametrize("name", ["seed", "step", "status"])
def test_names_of_fixed_columns_cannot_be_varied(name):
    with pytest.raises(UsageError, match=f"varied must not hold '{name}'"):
        Table((name,), [])
