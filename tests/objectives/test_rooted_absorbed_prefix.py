"""RapTB against its formulas in loops of plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from prompted import StoppingTexts, score

from gfnjax import GFlowNet, masking, tabular_policy
from gfnjax.objectives import RapTB
from gfnjax.objectives.base import weighted_loss
from gfnjax.objectives.regression import square
from gfnjax.objectives.rooted_absorbed_prefix import absorbed
from gfnjax.policies.base import FrozenPolicy
from gfnjax.testing import exact_optimum
from gfnjax.types import Scores

HORIZON = 7


def text(seed, length, silent=()):
    """Scores of a text of `length - 1` letters; in `silent` prefixes R is the prior's."""
    rng = np.random.default_rng(seed)
    live = np.arange(HORIZON) < length
    at = np.arange(HORIZON + 1)
    before = at < length
    log_prior = np.where(live, -rng.uniform(0, 2, HORIZON), 0)
    log_prior_stop = np.where(before, -rng.uniform(0, 2, HORIZON + 1), 0)
    rewards = rng.normal(size=HORIZON + 1)
    # Stopping after the last letter is what was done.
    log_prior_stop[length - 1] = log_prior[length - 1]
    for k in silent:
        rewards[k] = log_prior[:k].sum() + log_prior_stop[k]
    rewards[length] = rewards[length - 1]
    log_pf = np.where(live, -rng.uniform(0, 2, HORIZON), 0)
    log_stop = np.where(before, -rng.uniform(0, 2, HORIZON + 1), 0)
    log_stop[length - 1] = log_pf[length - 1]
    scores = Scores(
        log_pf=log_pf,
        log_pb=np.zeros(HORIZON),
        log_flow=np.where(at <= length, rng.normal(size=HORIZON + 1), 0),
        log_reward=rewards[length],
        log_z=rng.normal(),
        mask=live,
        length=np.int32(length),
        complete=np.bool_(True),
        log_partial_reward=np.where(at <= length, rewards, 0),
        log_stop=log_stop,
        log_prior=log_prior,
        log_prior_stop=log_prior_stop,
    )
    return jax.tree.map(jnp.asarray, scores)


def by_loops(scores, gamma, sharpness, tolerance, min_prefix, may_stop=lambda k: True):
    """The residuals of the prefixes of one text."""
    s = jax.tree.map(np.asarray, scores)
    h = int(s.length) - 1
    prior = [s.log_prior[:k].sum() + s.log_prior_stop[k] for k in range(h + 1)]
    gain = [s.log_partial_reward[k] - prior[k] for k in range(h + 1)]
    found = []
    for k in range(min_prefix, h):
        if not may_stop(k):
            continue
        rooted = s.log_z + s.log_pf[:k].sum() + s.log_stop[k] - s.log_partial_reward[k]
        later = np.array([gain[j] for j in range(k, h + 1) if may_stop(j)])
        target = (later.max() + np.log(np.exp(sharpness * later).mean()) / sharpness) / 2
        alpha = gamma ** (h - k) if abs(gain[k]) <= tolerance else 0.0
        found.append(rooted + alpha * (gain[k] - target))
    return np.array(found)


def test_absorbed_values_by_hand():
    values = jnp.array([0.0, 1.0, -2.0, 9.0])
    wanted = jnp.array([True, True, True, False])
    soft = [np.log(np.mean(np.exp(2 * np.array(x)))) / 2 for x in ([0, 1, -2], [1, -2], [-2])]
    expected = [(1 + soft[0]) / 2, (1 + soft[1]) / 2, (-2 + soft[2]) / 2, 0]
    np.testing.assert_allclose(absorbed(values, wanted, 2.0), expected, rtol=1e-6)


@pytest.mark.parametrize("silent", [(), (2, 4), (2, 3, 4)])
def test_prefixes_by_loops(silent, x64):
    objective = RapTB(gamma=0.9, sharpness=3.0)
    scores = text(0, 6, silent)
    values, wanted = objective.prefix_residuals(scores)
    np.testing.assert_array_equal(np.flatnonzero(wanted), [2, 3, 4])
    expected = by_loops(scores, 0.9, 3.0, 1e-3, 2)
    np.testing.assert_allclose(values[wanted], expected, rtol=1e-10)
    plain = by_loops(scores, 0.0, 3.0, -1.0, 2)
    assert np.allclose(expected, plain) == (silent == ())


def test_the_loss_of_a_batch(x64):
    objective = RapTB(prefix_weight=0.5, min_prefix=1)
    texts = [text(1, 6, (3,)), text(2, 2), text(3, 7, (1, 2)), text(4, 1)]
    batch = jax.tree.map(lambda *x: jnp.stack(x), *texts)
    expected = 0.0
    for one in texts:
        log_pf = np.asarray(one.log_pf)
        expected += float(one.log_z + log_pf.sum() - one.log_reward) ** 2
        prefixes = by_loops(one, 0.99, 5.0, 1e-3, 1)
        expected += 0.5 * (prefixes**2).mean() if prefixes.size else 0.0
    np.testing.assert_allclose(weighted_loss(objective, square, batch), expected / 4, rtol=1e-10)


def test_prefixes_that_may_not_stop_are_left_out(x64):
    scores = text(5, 7, (3,))
    bad = 4
    scores = scores._replace(
        log_stop=scores.log_stop.at[bad].set(masking.FILL),
        log_prior_stop=scores.log_prior_stop.at[bad].set(masking.FILL),
        log_partial_reward=scores.log_partial_reward.at[bad].set(np.nan),
    )
    values, wanted = RapTB().prefix_residuals(scores)
    np.testing.assert_array_equal(np.flatnonzero(wanted), [2, 3, 5])
    expected = by_loops(scores, 0.99, 5.0, 1e-3, 2, lambda k: k != bad)
    np.testing.assert_allclose(values[wanted], expected, rtol=1e-10)
    grad = jax.grad(lambda p: RapTB().extra_loss(scores._replace(log_pf=p)))(scores.log_pf)
    assert np.isfinite(grad).all()


def test_stops_have_no_gradient_in_prefixes(x64):
    scores = text(6, 6)
    grad = jax.grad(lambda s: RapTB().extra_loss(scores._replace(log_stop=s)))(scores.log_stop)
    np.testing.assert_array_equal(grad, np.zeros(HORIZON + 1))
    grad = jax.grad(lambda p: RapTB().extra_loss(scores._replace(log_pf=p)))(scores.log_pf)
    np.testing.assert_array_equal(grad[4:], np.zeros(HORIZON - 4))
    assert np.all(grad[:4] != 0)


def test_errors():
    for options, words in [
        ({"prefix_weight": -1.0}, "prefix_weight must not be negative"),
        ({"gamma": 1.5}, "gamma must be in"),
        ({"sharpness": 0.0}, "sharpness must be positive"),
        ({"tolerance": -1.0}, "tolerance must not be negative"),
        ({"min_prefix": -1}, "min_prefix must be at least 0"),
        ({"log_z": "batch"}, 'log_z must be "flow" or "learned"'),
    ]:
        with pytest.raises(ValueError, match=words):
            RapTB(**options)


@pytest.fixture
def optimum(x64):
    """Texts of up to 4 letters of which short ones are silent, a prior, and R / Z."""

    def reward(tokens):
        size = (tokens >= 0).astype(jnp.result_type(float)).sum()
        return jnp.where(size < 4, -(size + 1) * np.log(3.0), score(tokens))

    env = StoppingTexts(4, 2, reward, min_length=0)
    policy = tabular_policy(env)
    uniform = policy.init(jax.random.key(0), jnp.zeros((), jnp.int32))
    gfn = GFlowNet(env, policy, RapTB(gamma=0.0), prior=FrozenPolicy(policy, uniform))
    best = exact_optimum(env, jax.random.key(1))
    paths = gfn.sample(best._replace(policy=uniform), jax.random.key(2), 100)
    assert int(paths.length.max()) == 5
    return gfn, best, paths


@pytest.mark.slow
def test_without_backing_up_it_vanishes_at_the_optimum(optimum):
    gfn, best, paths = optimum
    value_and_grad = jax.jit(jax.value_and_grad(gfn.loss))
    loss, grads = value_and_grad(best, paths)
    assert loss < 1e-20
    assert max(float(jnp.abs(g).max()) for g in jax.tree.leaves(grads)) < 1e-9
    off = best._replace(policy=jax.tree.map(lambda x: x + 0.1 * jnp.cos(x), best.policy))
    assert value_and_grad(off, paths)[0] > 1e-3


def test_with_it_the_target_is_another(optimum):
    gfn, best, paths = optimum
    biased = gfn.replace(objective=RapTB(gamma=0.99))
    # Short texts have the prior's own probability, 1/3 a letter and 1/3 the stop: u = 0.
    scores = biased.score(best, paths)
    gain = scores.log_partial_reward[:, 3] - scores.log_prior[:, :3].sum(axis=1)
    gain -= scores.log_prior_stop[:, 3]
    long = np.asarray(paths.length) > 3
    np.testing.assert_allclose(np.asarray(gain)[long], 0, atol=1e-12)
    assert biased.loss(best, paths) > 1e-2
