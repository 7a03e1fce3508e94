"""The table from metrics alone."""

import csv
import dataclasses
import io
import json
import math

import pytest

from gfnjax.plot import seed_bands
from gfnjax.reproduce import REPRODUCTIONS, Published, Reproduction, Row, picture, table, training
from gfnjax.reproduce.measures import Goal, Until, Value
from gfnjax.run.config import UsageError, to_dict

SETTINGS = {"side": 4, "num_dims": 2, "steps": 200, "chunk_size": 100}
CLAIM = Published("0.02", "2201.13259, table 9")


def row(name, **known):
    return Row(name, "hypergrid", SETTINGS, 3, "4x4", name, **known)


def reproduction(*rows):
    value, goal = Value("total_variation", "TV"), Goal({"total_variation": 0.05})
    measures = value, Until(goal, "steps to .05")
    return Reproduction(
        "small", "A table", ("2201.13259",), rows, measures, ("total_variation",), 1, "chance"
    )


def write(output, row, seed, values, steps=None):
    """A run that was evaluated every 100 steps."""
    folder = row.folder(output, seed)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(to_dict(row.config(seed, steps))))
    records = [
        {"kind": "evaluation", "step": 100 * i, "seconds": 5.0 * i, "total_variation": value}
        for i, value in enumerate(values)
    ]
    lines = [json.dumps(record) + "\n" for record in records]
    (folder / "metrics.jsonl").write_text("".join(lines))


@pytest.fixture
def two(tmp_path):
    one = row("one", published=CLAIM, expected=0.03, tolerance=0.01)
    other = row("other", expected=0.03, tolerance=0.01, why="another rate")
    for seed, last in enumerate((0.02, 0.03, 0.04)):
        write(tmp_path, one, seed, [0.5, 0.05, last])
        write(tmp_path, other, seed, [0.5, 0.2, 10 * last])
    return reproduction(one, other), tmp_path


def test_the_whole_table(two):
    found = table.markdown(two[0], training.runs(*two))
    assert found == (
        "# A table (arXiv 2201.13259)\n\n"
        "| row | n | published | here | TV | steps to .05 | verdict |\n"
        "| --- | --- | --- | --- | --- | --- | --- |\n"
        "| one | 3 of 3 | 0.02 | - | 0.030 ± 0.010 (0.020 to 0.040) | 100 (100 to 100) |"
        " within tolerance (0.03 ± 0.01) |\n"
        "| other | 3 of 3 | - | - | 0.300 ± 0.100 (0.200 to 0.400) | not reached |"
        " differs (expected 0.03 ± 0.01): another rate |\n\n"
        "Published: 2201.13259, table 9.\n\n"
        "Where they differ, and why: chance\n"
    )


def test_runs_that_are_missing_or_under_way_are_counted(two):
    reproduced, output = two
    third = row("third", expected=0.05, tolerance=0.01)
    write(output, third, 0, [0.5, 0.1, 0.05])
    write(output, third, 1, [0.5, 0.1])
    write(output, third, 2, [0.5])
    (output / "third-2" / "checkpoints").mkdir()
    (output / "third-2" / "checkpoints" / "nan-before-step-7.ckpt").touch()
    longer = dataclasses.replace(reproduced, rows=(*reproduced.rows, third, row("last")))
    cells = table.cells(longer, training.runs(longer, output))
    assert cells[3][1] == "1 of 3 (1 under way, 1 failed)"
    assert cells[3][4] == "0.050"
    assert cells[3][-1] == "within tolerance so far (0.05 ± 0.01)"
    assert cells[4] == ["last", "0 of 3", "-", "-", "-", "-", "not run"]


@pytest.mark.parametrize(
    ("last", "held"),
    [
        ((0.02, 0.03, 0.04), "better than one"),
        ((0.02, 0.03, 0.06), "seeds overlap with one"),
        ((0.09, 0.10, 0.11), "worse than one"),
        ((0.02, 0.03, None), "not all there"),
        ((0.02, 0.03), "not all there"),
    ],
)
def test_a_claim_is_held_against_the_seeds_of_both_rows(last, held, tmp_path):
    claimed = row("claimed", published=Published("faster", "a paper", ("one",)))
    for seed, value in enumerate((0.05, 0.06, 0.07)):
        write(tmp_path, row("one"), seed, [0.5, 0.1, value])
    for seed, value in enumerate(last):
        write(tmp_path, claimed, seed, [0.5, 0.1, value])
    reproduced = reproduction(claimed, row("one"))
    cells = table.cells(reproduced, training.runs(reproduced, tmp_path))
    assert cells[1][2:4] == ["faster", held]
    # Of a row that is asked for alone, too.
    alone = reproduced.choose(["claimed"])
    every = table.lines(reproduced, training.runs(reproduced, tmp_path))
    assert table.cells(alone, training.runs(alone, tmp_path), every)[1][3] == held


def test_claims_name_rows_of_the_same_table():
    for each in REPRODUCTIONS.values():
        names = [row.name for row in each.rows]
        for rivals in (row.published.better_than for row in each.rows if row.published):
            assert set(rivals) <= set(names)


def test_a_goal_that_is_not_reached_may_be_what_is_expected(tmp_path):
    rows = [
        row("one", expected=math.inf, tolerance=1.0),
        row("two", expected=math.inf, tolerance=1.0),
    ]
    goal = Until(Goal({"total_variation": 0.05}), "steps to .05")
    for each, good in zip(rows, (False, True), strict=True):
        for seed in range(3):
            write(tmp_path, each, seed, [0.5, 0.05, 0.02] if good else [0.5, 0.2, 0.1])
    reproduced = dataclasses.replace(reproduction(*rows), measures=(goal,))
    verdicts = [cells[-1] for cells in table.cells(reproduced, training.runs(reproduced, tmp_path))]
    assert verdicts[1] == "within tolerance (not reached)"
    assert verdicts[2] == "differs (expected not reached): see the note"


def test_no_verdict_without_an_expectation_or_on_a_small_budget(tmp_path):
    one, small = row("one"), row("small", expected=0.1, tolerance=0.01)
    write(tmp_path, one, 0, [0.5, 0.1, 0.05])
    write(tmp_path, small, 0, [0.5, 0.1], steps=100)
    both = reproduction(one, small)
    cells = table.cells(both, training.runs(both, tmp_path))
    assert cells[1][-1] == "nothing expected yet"
    assert cells[2][-1] == "small budget: 100 steps"


def test_a_seed_that_is_not_finite_is_not_left_out_in_silence(two):
    reproduced, output = two
    write(output, row("odd"), 0, [0.5, 0.1, 0.03])
    write(output, row("odd"), 1, [0.5, 0.1, None])
    write(output, row("odd"), 2, [0.5, 0.1, 0.03])
    odd = dataclasses.replace(reproduced, rows=(row("odd", expected=0.03, tolerance=0.01),))
    odd = dataclasses.replace(odd, table=(*reproduced.rows, *odd.rows))
    assert table.cells(odd, training.runs(odd, output))[1][-1] == "not finite in 1 of 3"


def test_the_spreadsheet_has_a_line_a_run(two):
    found = list(csv.DictReader(io.StringIO(table.spreadsheet(two[0], training.runs(*two)))))
    assert len(found) == 6
    assert found[1] == {
        "row": "one",
        "seed": "1",
        "status": "finished",
        "steps": "200",
        "published": "0.02",
        "expected": "0.03",
        "TV": "0.03",
        "steps to .05": "100.0",
    }
    assert found[5]["steps to .05"] == "inf"


def test_the_picture_has_a_line_a_row_and_a_band_from_lowest_to_highest(two, monkeypatch):
    figures = []

    def keep(*arguments):
        figures.append(seed_bands.bands_of(*arguments))
        return figures[-1]

    monkeypatch.setattr(picture, "bands_of", keep)
    path = two[1] / "curves.png"
    assert picture.draw(two[0], training.runs(*two), path)
    assert path.exists()
    [axes] = figures[0].axes
    assert [line.get_label() for line in axes.lines] == ["one", "other"]
    assert axes.lines[0].get_ydata() == pytest.approx([0.5, 0.05, 0.03])
    assert axes.lines[0].get_xdata() == pytest.approx([0, 100, 200])
    edges = axes.collections[0].get_paths()[0].vertices
    assert sorted({round(y, 3) for x, y in edges if x == 200}) == [0.02, 0.04]
    empty = reproduction(row("none"))
    assert not picture.draw(empty, training.runs(empty, two[1] / "nothing"), path)


def test_folders_of_anything_else_are_refused(two, tmp_path):
    reproduced, output = two
    with pytest.raises(UsageError, match=r"holds what is no run of small \(one-0\)"):
        training.runs(reproduction(row("else")), output)
    chosen = reproduced.choose(["other"])
    assert len(training.runs(chosen, output)) == 3
    changed = dataclasses.replace(reproduced.rows[0], settings=SETTINGS | {"side": 5})
    with pytest.raises(UsageError, match="one-0 was trained with other settings than one"):
        training.runs(reproduction(changed, reproduced.rows[1]), output)
    with pytest.raises(UsageError, match="is a run itself"):
        training.runs(reproduced, output / "one-0")
    with pytest.raises(
        UsageError, match="one-0 was started with 200 steps, not 9: give --steps 200"
    ):
        training.train(reproduced, output, 9, print)
