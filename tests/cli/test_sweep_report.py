import math
import re

import pytest

from gfnjax.cli import sweep_report
from gfnjax.cli.sweep_report import flags, report
from gfnjax.run.config import UsageError
from gfnjax.run.sweeps.table import Table


@pytest.fixture(autouse=True)
def drawn(monkeypatch):
    """Pictures have tests of their own; here it is enough to know what was asked for."""
    asked = []

    def draw(table, metric, directory):
        asked.append(metric.name)
        return [directory / "curves.png", directory / "heatmap.png"]

    monkeypatch.setattr(sweep_report.pictures, "draw", draw)
    return asked


def sweep(settings, values, metric="total_variation", status="finished"):
    """One evaluation a member; NaN has diverged."""
    rows = []
    for point, (setting, seeds) in enumerate(zip(settings, values, strict=True)):
        for seed, value in enumerate(seeds):
            first = {"member": len(rows), "point": point, "seed": seed, **setting}
            end = "diverged" if math.isnan(value) else status
            rows.append({**first, "step": 40, "seconds": 1.0, "status": end, metric: value})
    return Table(tuple(settings[0]), rows)


GRID = [{"learning_rate": r, "objective": o} for r in (0.01, 0.001) for o in ("tb", "db")]
VALUES = [[0.11, 0.12, 0.13], [0.2, 0.22, 0.24], [0.31, 0.3, 0.32], [0.4, math.nan, 0.4]]


def test_the_whole_text(tmp_path, drawn):
    folder = tmp_path / "pictures"
    text = report(sweep(GRID, VALUES), None, folder)
    expected = """\
12 runs of 4 settings, judged by exact total variation: low is good
1 run diverged, counted as the worst value of the sweep

learning-rate  objective  n  diverged      mean ± s.e.       IQM [95% interval]   worst
         0.01  tb         3         0  0.1200 ± 0.0058  0.1200 [0.1100, 0.1300]  0.1300
         0.01  db         3         0  0.2200 ± 0.0115  0.2200 [0.2000, 0.2400]  0.2400
        0.001  tb         3         0  0.3100 ± 0.0058  0.3100 [0.3000, 0.3200]  0.3200
        0.001  db         3         1  0.4000 ± 0.0000  0.4000 [0.4000, 0.4000]  0.4000

what matters: share of the variance between settings that each explains alone (eta^2)
learning-rate  79%  (by chance 33%)  best 0.01 (IQM 0.1675), worst 0.001 (IQM 0.3575)
objective      21%  (by chance 33%)  best tb (IQM 0.2150), worst db (IQM 0.3150)

best         --learning-rate 0.01 --objective tb  (IQM 0.1200)
most robust  --learning-rate 0.01 --objective tb  (worst seed 0.1300)
pictures     """
    assert text == f"{expected}{folder}: curves.png, heatmap.png"
    assert drawn == ["total_variation"]


def test_many_settings_are_cut(tmp_path):
    settings = [{"learning_rate": (i + 1) / 10} for i in range(45)]
    text = report(sweep(settings, [[i / 100] * 2 for i in range(45)], "elbo"), "elbo", tmp_path)
    lines = text.splitlines()
    assert "... and 25 more in results.csv" in lines
    rows = [line for line in lines if re.match(r" +\d+(\.\d)?  2  ", line)]
    assert len(rows) == 20
    assert rows[0].split()[0] == "4.5"
    assert "ELBO (nats): high is good" in lines[0]
    assert "what matters" not in text  # of one thing that is varied the table says it all


def test_one_seed_has_neither_errors_nor_a_robust_setting(tmp_path):
    text = report(sweep(GRID, [[0.123456], [0.2], [0.3], [0.4]]), None, tmp_path)
    assert re.search(r"^ +0\.01  tb +1 +0 +0\.123 +0\.123 +0\.123$", text, re.M)
    assert "most robust" not in text
    assert "nan" not in text


def test_seeds_alone(tmp_path):
    text = report(sweep([{}], [[0.1, 0.2]]), None, tmp_path)
    assert text.startswith("2 runs of 1 setting, judged by")
    assert re.search(
        r"^2 +0  0\.150 ± 0\.050  0\.150 \[0\.100, 0\.200\]  0\.200\n\npict", text, re.M
    )
    assert "best" not in text


def test_where_all_runs_have_diverged(tmp_path):
    table = sweep(GRID, [[math.nan] * 2] * 4)
    start = {**table.rows[0], "step": 0, "status": "running", "total_variation": 0.9}
    text = report(Table(table.varied, [start, *table.rows]), None, tmp_path)
    assert "8 runs diverged" in text
    assert "every run has diverged: no setting can be recommended" in text
    assert "what matters" not in text


def test_how_runs_have_ended(tmp_path):
    table = sweep(GRID[:1], [[0.1, 0.2, 0.3]], status="reached")
    table.rows[2]["status"] = "running"
    for row, step in zip(table.rows, (1000, 3000, 50), strict=True):
        row["step"] = step
    lines = report(table, None, tmp_path).splitlines()
    assert lines[1:3] == [
        "1 run still under way",
        "2 runs reached the wanted total variation: 2,000 steps in the median",
    ]


def test_settings_are_given_as_flags():
    values = {"learning_rate": 1e-05, "lambda_": 0.1, "flag": True, "learned_z": False}
    assert flags(values) == "--learning-rate 1e-05 --lambda 0.1 --flag --no-learned-z"
    assert flags({"hidden_sizes": (64, 32)}) == "--hidden-sizes 64 32"
    assert (
        flags({"max_grad_norm": None, "data": "my file"}) == "--max-grad-norm None --data 'my file'"
    )
    assert flags({"rate": 0.0031622776601683794}) == "--rate 0.0031622776601683794"


@pytest.mark.parametrize(
    ("value", "decimals", "expected"),
    [
        (0.12345, 3, "0.123"),
        (-1234.5, 0, "-1,234"),
        (math.nan, 2, "-"),
        (3.2e-9, 6, "3.2e-09"),
        (0.0, 2, "0.00"),
        (1e-17, 3, "0.000"),
    ],
)
def test_numbers(value, decimals, expected):
    assert sweep_report.number(value, decimals) == expected


def test_there_must_be_something_to_say(tmp_path, drawn):
    with pytest.raises(UsageError, match="nothing to report yet"):
        report(Table(("rate",), []), None, tmp_path)
    with pytest.raises(UsageError, match="metric must be one of total_variation, got 'elbo'"):
        report(sweep(GRID, VALUES), "elbo", tmp_path)
    assert drawn == []
