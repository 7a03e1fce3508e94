"""What is in the tables: every row can be run, and says where its published number is from."""

import re

import pytest

from gfnjax.cli.parser import Train, parse
from gfnjax.reproduce import REPRODUCTIONS, find
from gfnjax.run.config import UsageError, from_dict, to_dict
from gfnjax.run.sweeps.judging import METRICS

ROWS = [(each, row) for each in REPRODUCTIONS.values() for row in each.rows]
IDS = [f"{each.name}-{row.name}" for each, row in ROWS]


@pytest.mark.parametrize(("reproduction", "row"), ROWS, ids=IDS)
def test_a_row_is_what_the_command_line_makes_of_its_flags(reproduction, row):
    words = row.command.split()
    command, _ = parse([*words[1:], "--seed", "2"])
    assert isinstance(command, Train)
    assert command.config == row.config(2)
    assert from_dict(to_dict(row.config(2))) == row.config(2)
    assert row.config(0, steps=7).training.steps == 7


@pytest.mark.parametrize(("reproduction", "row"), ROWS, ids=IDS)
def test_every_published_entry_has_a_source(reproduction, row):
    assert row.panel
    assert row.line
    assert row.tolerance > 0 or row.expected is None
    if row.published is not None:
        assert row.published.text
        paper = re.match(r"(\d{4}\.\d{5}), .+", row.published.source)
        assert paper
        assert paper[1] in reproduction.papers


@pytest.mark.parametrize("reproduction", REPRODUCTIONS.values(), ids=REPRODUCTIONS)
def test_a_reproduction_is_complete(reproduction):
    names = [row.name for row in reproduction.rows]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in names)
    assert set(reproduction.curves) <= METRICS.keys()
    assert reproduction.note
    assert reproduction.minutes > 0


def test_names_and_rows_are_found():
    assert find("sets").name == "sets"
    chosen = find("sets").choose(["medium-*-0", "small-tb-batch"], seeds=2)
    names = [row.name for row in chosen.rows]
    assert len(names) == 6
    assert names[0] == "small-tb-batch"
    assert {row.seeds for row in chosen.rows} == {2}
    assert [row.name for row in chosen.whole.rows] == [row.name for row in find("sets").rows]
    assert {row.seeds for row in chosen.whole.rows} == {3, 5}
    with pytest.raises(UsageError, match="no reproduction 'set'; did you mean sets"):
        find("set")
    with pytest.raises(UsageError, match="sets has no row 'medium-tb'; did you mean medium-tb-0"):
        find("sets").choose(["medium-tb"])
    with pytest.raises(UsageError, match="--seeds must be at least 1, got 0"):
        find("sets").choose(None, 0)
