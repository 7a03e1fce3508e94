"""Runs of environments with cycles: what they report, what was cut, and going on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax import run
from gfnjax.cli import reports
from gfnjax.envs.permutations import Permutations
from gfnjax.run.build import describe, initial_state
from gfnjax.run.display import Status
from gfnjax.run.evaluation import ExactEvaluator, SampledEvaluator, make_evaluator

SMALL = {"batch_size": 8, "mlp": {"hidden_sizes": (8,)}, "evaluation_samples": 400}


def evaluator_of(environment, **given):
    config = run.configure(environment, **SMALL, **given)
    gfn = describe(config)
    return make_evaluator(config, gfn), initial_state(config, gfn), gfn


def test_exact_runs_tell_lengths_and_fixed_points():
    evaluator, state, _ = evaluator_of("permutations", size=3)
    assert isinstance(evaluator, ExactEvaluator)
    found = evaluator.evaluate(state, None)
    # Small heads: nearly uniform over three moves and the stop, so a walk is nearly uniform too.
    np.testing.assert_allclose(found["expected_length"], 4, rtol=0.01)
    uniform = np.array([2, 3, 0, 1]) / 6
    law = np.array([2, 3 * np.exp(0.5), 0, np.exp(1.5)])
    law /= law.sum()
    np.testing.assert_allclose(found["fixed_points_l1"], np.abs(uniform - law).sum(), atol=0.01)
    assert "cut" not in found


@pytest.mark.slow
def test_sampled_runs_leave_out_what_was_cut():
    evaluator, state, gfn = evaluator_of("permutations", size=13, max_steps=4)
    assert isinstance(evaluator, SampledEvaluator)
    found = evaluator.evaluate(state, None)
    # To enter, then to stop within three steps, 1/14 each: (13/14)^3 are cut.
    np.testing.assert_allclose(found["cut"], (13 / 14) ** 3, atol=0.05)
    assert 1 <= found["expected_length"] <= 3
    np.testing.assert_allclose(found["length"], found["expected_length"] + 1)
    assert np.isfinite([found["elbo"], found["importance_log_z"]]).all()
    assert found["elbo"] <= found["importance_log_z"] < gfn.env.target().log_z
    drawn = evaluator.distributions(state)
    ended = np.asarray(jax.vmap(gfn.env.is_terminal)(jax.tree.map(jnp.asarray, drawn.states)))
    np.testing.assert_allclose(drawn.learned[~ended], 0)
    np.testing.assert_allclose(drawn.learned.sum(), 1)


def test_nothing_is_told_where_all_is_cut():
    evaluator, state, _ = evaluator_of("permutations", size=20, max_steps=2)
    few = SampledEvaluator(evaluator.gfn, evaluator.known, 0, 2)
    found = [few.evaluate(state._replace(step=jnp.int32(i)), None) for i in range(3)]
    assert any(row["cut"] == 1 for row in found)
    assert all(np.isnan(row["elbo"]) for row in found if row["cut"] == 1)


def test_the_display_shows_what_was_cut():
    assert "cut 12.5%" in str(Status(1, 2, 0.5, {"cut": 0.125, "elbo": 1.0}, None))
    assert "cut" not in str(Status(1, 2, 0.5, {"cut": 0.0, "elbo": 1.0}, None))
    assert reports.OTHERS["cut"] == ("share cut", ".4f")


@pytest.mark.long
@pytest.mark.parametrize("objective", ["reg-db", "tb", "prefix-tb"])
def test_a_run_goes_on_bit_for_bit(objective, tmp_path):
    def config(steps):
        given = {"side": 3, "max_steps": 6, "replay": "fifo", "objective": objective}
        return run.configure("cyclic-grid", steps=steps, chunk_size=2, **given, **SMALL)

    whole = run.start(config(4), tmp_path / "whole")
    run.start(config(2), tmp_path / "parts")
    parts = run.resume(tmp_path / "parts", steps=4)
    same = jax.tree.map(lambda x, y: np.array_equal(x, y), whole.state.params, parts.state.params)
    assert all(jax.tree.leaves(same))
    rows = whole.run.read_metrics()
    assert {"cut"} <= rows[-1].keys()
    assert {"cut"} <= next(row for row in rows if row["kind"] == "train").keys()
    assert rows[-1]["expected_length"] >= 1


def test_the_network_is_not_told_what_a_source_enters():
    env = Permutations(5)
    sources = jax.vmap(env.draw_source)(jax.random.split(jax.random.key(0), 8))
    assert len(np.unique(np.asarray(sources.permutation), axis=0)) > 1
    np.testing.assert_array_equal(jax.vmap(env.observe)(sources), 0)
