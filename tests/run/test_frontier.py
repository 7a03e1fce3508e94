"""Likelihood against diversity: before training both policies are the language model."""

import jax
import numpy as np
import pytest
from text_models import write_model

pytest.importorskip("tokenizers")
pytest.importorskip("safetensors")

from gfnjax import training
from gfnjax.plot.frontier import draw_frontier
from gfnjax.run.build import build
from gfnjax.run.choices import configure
from gfnjax.run.frontier import BASE, BEST, TRAINED, find_frontier, write_frontier


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    folder = write_model(tmp_path_factory.mktemp("models") / "small")
    small = {"batch_size": 4, "group_size": 4, "max_length": 4, "language": {"rank": 2}}
    gfn = build(configure("text", model=str(folder), **small))
    return find_frontier(gfn, training.init(gfn, jax.random.key(0)))


def test_an_untrained_policy_is_where_the_model_is(points):
    found = {who: [p[1:] for p in points if p.who == who] for who in (TRAINED, BASE, BEST)}
    assert len(found[TRAINED]) == 4
    np.testing.assert_allclose(found[TRAINED], found[BASE], rtol=1e-5)
    (best,) = found[BEST]
    (plain,) = (row for row in found[BASE] if row[0] == 1)
    assert best[1] > plain[1]
    # Colder texts are likelier and less different.
    assert found[BASE][0][1] > found[BASE][-1][1]
    assert found[BASE][0][2] < found[BASE][-1][2]


def test_table_and_picture(points, tmp_path):
    (table,) = write_frontier(tmp_path, points)
    lines = table.read_text().splitlines()
    assert lines[0] == "who,temperature,log_likelihood,diversity"
    assert len(lines) == 1 + len(points)
    (picture,) = draw_frontier(tmp_path, points)
    assert picture.stat().st_size > 5_000


def test_nothing_to_draw_of_other_rewards():
    gfn = build(configure("text", variant="bigram"))
    assert find_frontier(gfn, training.init(gfn, jax.random.key(0))) is None
