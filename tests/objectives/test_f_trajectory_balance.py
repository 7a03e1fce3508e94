"""f-TB: on-policy gradients are those of its divergences; by hand; the same minimiser anywhere."""

from collections import Counter
from fractions import Fraction
from math import lcm

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from path_enumeration import all_paths, all_trajectories, padded_dag

from gfnjax import GFlowNet, LogPartitionVariance, Params, spread, tabular_policy
from gfnjax.objectives import FTrajectoryBalance
from gfnjax.objectives.base import resolve_log_z, weighted_loss
from gfnjax.objectives.regression import square
from gfnjax.testing import diamond


def jsd(p, q):
    m = (p + q) / 2
    return (p * jnp.log(p / m) + q * jnp.log(q / m)).sum() / 2


def alpha_divergence(alpha):
    return lambda p, q: ((p**alpha * q ** (1 - alpha)).sum() - 1) / (alpha * (alpha - 1))


# The divergence, and what its gradient is divided by: a function of P and Q.
CASES = {
    "reverse-kl": (
        FTrajectoryBalance(alpha=1.0),
        lambda p, q: (p * jnp.log(p / q)).sum(),
        lambda p, q: 1,
    ),
    "forward-kl": (
        FTrajectoryBalance(alpha=0.0),
        lambda p, q: (q * jnp.log(q / p)).sum(),
        lambda p, q: 1,
    ),
    "jensen-shannon": (FTrajectoryBalance("jensen-shannon"), jsd, lambda p, q: 1 / 4),
    "hellinger": (
        FTrajectoryBalance(alpha=0.5),
        lambda p, q: 4 * (1 - jnp.sqrt(p * q).sum()),
        lambda p, q: np.sqrt(p * q).sum(),
    ),
    "chi-square": (
        FTrajectoryBalance(alpha=2.0),
        lambda p, q: ((p**2 / q).sum() - 1) / 2,
        lambda p, q: (p**2 / q).sum(),
    ),
    "alpha": (
        FTrajectoryBalance(alpha=-1.3),
        alpha_divergence(-1.3),
        lambda p, q: (p**-1.3 * q**2.3).sum(),
    ),
}


def own_proportions(env):
    """Trajectories of the uniform policy, each as often as it is likely: their mean is E_P."""
    degree = (np.asarray(env.children) >= 0).sum(axis=1)
    chances = []
    for path in all_paths(env):
        chance = Fraction(1)
        for state, _ in path[:-1]:
            chance /= int(degree[state])
        chances.append(chance)
    total = lcm(*(chance.denominator for chance in chances))
    rows = [i for i, chance in enumerate(chances) for _ in range(int(chance * total))]
    assert len(rows) == total < 3_000
    return jax.tree.map(lambda x: x[np.array(rows)], all_trajectories(env))


@pytest.mark.slow
@pytest.mark.parametrize("env", [diamond, lambda: padded_dag(3)], ids=["diamond", "random"])
def test_on_policy_gradients_are_those_of_the_divergences(env, x64, key):
    env = env()
    paths, batch = all_trajectories(env), own_proportions(env)
    backward = jax.random.normal(key, env.parents.shape)
    uniform = jnp.zeros(env.children.shape)

    def params(logits):
        table = {"forward_logits": logits, "backward_logits": backward}
        return Params({"params": table | {"log_flow": jnp.zeros(env.num_states)}}, jnp.zeros(()))

    gfn = GFlowNet(env, tabular_policy(env), LogPartitionVariance())

    def distributions(logits):
        scores = gfn.score(params(logits), paths)
        log_q = scores.log_pb.sum(axis=1) + scores.log_reward
        return jnp.exp(scores.log_pf.sum(axis=1)), jax.nn.softmax(log_q)

    def losses(logits):
        scores = gfn.score(params(logits), batch)
        return jnp.stack([loss(objective, scores) for objective, _, _ in CASES.values()])

    def divergences(logits):
        return jnp.stack([f(*distributions(logits)) for _, f, _ in CASES.values()])

    @jax.jit
    def gradients(logits):
        found = jax.jacrev(losses)(logits), jax.jacrev(divergences)(logits)
        return *found, distributions(logits)

    ours, theirs, (p, q) = jax.device_get(gradients(uniform))
    np.testing.assert_allclose(p.sum(), 1, rtol=1e-12)
    for (name, case), actual, expected in zip(CASES.items(), ours, theirs, strict=True):
        assert np.abs(expected).max() > 1e-2, name
        np.testing.assert_allclose(actual, expected / case[2](p, q), atol=1e-12, err_msg=name)


def loss(objective, scores):
    return weighted_loss(
        objective, square, resolve_log_z(objective.log_z, scores, objective.log_z_power)
    )


@pytest.mark.parametrize(
    ("objective", "value"),
    [
        # -D = 1.1 and -.7 (tests/objectives/test_by_hand.py), D + c = -.9 and .9 for their mean.
        (FTrajectoryBalance(alpha=1.0), 0.9**2 / 2),
        # c = log((e^1.1 + e^-.7) / 2), and the loss c + mean D.
        (FTrajectoryBalance(alpha=0.0), np.log((np.exp(1.1) + np.exp(-0.7)) / 2) - 0.2),
        # c = 2 log mean e^{-D / 2}, and the loss 2 (c + mean D).
        (FTrajectoryBalance(), 2 * (2 * np.log((np.exp(0.55) + np.exp(-0.35)) / 2) - 0.2)),
        (FTrajectoryBalance(alpha=2.0), np.log((np.exp(-1.1) + np.exp(0.7)) / 2) + 0.2),
    ],
)
def test_by_hand(objective, value, two):
    np.testing.assert_allclose(loss(objective, two), value, rtol=1e-5)


def test_jensen_shannon_by_hand(two, x64):
    # g by the trapezoid rule from g'(t) = 2 log(2 / (1 + e^{-t})).
    two = jax.tree.map(lambda x: x.astype(float) if x.dtype == np.float32 else x, two)
    c = np.log((np.exp(1.1) + np.exp(-0.7)) / 2)
    values = []
    for residual in (c - 1.1, c + 0.7):
        t = np.linspace(0, residual, 20_001)
        values.append(np.trapezoid(2 * np.log(2 / (1 + np.exp(-t))), t))
    np.testing.assert_allclose(
        loss(FTrajectoryBalance("jensen-shannon"), two), np.mean(values), rtol=1e-6
    )


@pytest.mark.parametrize("alpha", [-2.0, 0.0, 0.5, 1.0 - 1e-6, 1.0, 1.0 + 1e-6, 3.0])
def test_a_constant_factor_of_the_reward_changes_nothing(alpha, two):
    for objective in (FTrajectoryBalance(alpha=alpha), FTrajectoryBalance("jensen-shannon")):
        more = two._replace(log_reward=two.log_reward + 5)
        np.testing.assert_allclose(loss(objective, more), loss(objective, two), rtol=1e-4)
        alike = jax.tree.map(lambda x: x[:1], two)
        np.testing.assert_allclose(loss(objective, alike), 0, atol=1e-12)


def test_alpha_may_be_traced_and_is_continuous_at_vargrad(two):
    at = jax.jit(lambda alpha: loss(FTrajectoryBalance(alpha=alpha), two))
    half = loss(LogPartitionVariance(), two) / 2
    for alpha in (1.0, 1 + 1e-5, 1 - 1e-5):
        np.testing.assert_allclose(at(jnp.float32(alpha)), half, rtol=1e-4)
    np.testing.assert_allclose(at(jnp.float32(0.5)), loss(FTrajectoryBalance(), two), rtol=1e-5)


def test_power_means():
    log_x = np.log(np.array([1.0, 2.0, 4.0], np.float32))
    mean = spread.log_power_mean
    np.testing.assert_allclose(mean(log_x, 0.0), np.log(2), rtol=1e-6)
    np.testing.assert_allclose(mean(log_x, 1.0), np.log(7 / 3), rtol=1e-6)
    np.testing.assert_allclose(mean(log_x, -1.0), np.log(12 / 7), rtol=1e-6)
    # Nothing overflows, and tiny powers lose nothing: mean + power * variance / 2.
    np.testing.assert_allclose(mean(log_x * 1e3, 2.0), 1e3 * np.log(4) - np.log(3) / 2, rtol=1e-6)
    np.testing.assert_allclose(mean(log_x, 1e-6), np.log(2), rtol=1e-6)
    assert jax.grad(lambda x: mean(x, 1.0))(jnp.asarray(log_x)).sum() == 0
    # Spread over three devices it is that of the whole batch.
    for power in (0.1, 2.0):
        apart = jax.vmap(lambda x, p=power: mean(x, p), axis_name=spread.BATCH)(log_x[:, None])
        np.testing.assert_allclose(apart, jnp.full(3, mean(log_x, power)), rtol=1e-6)


def test_zero_only_where_all_residuals_are_alike(random_scores, x64):
    """Descent on tables of D ends where all are alike, whatever is drawn."""
    rng = np.random.default_rng(0)
    target = jax.nn.log_softmax(jnp.asarray(rng.normal(size=5)))
    drawn = np.array([0, 0, 0, 1, 1, 2, 3, 4, 4])  # not in the proportions of anything
    assert Counter(drawn)[0] == 3
    one = jax.tree.map(lambda x: jnp.asarray(x[:1]), random_scores(1, batch=1, horizon=1))
    for objective in (FTrajectoryBalance(), FTrajectoryBalance("jensen-shannon")):

        def of_logits(logits, objective=objective):
            log_p = jax.nn.log_softmax(logits)[drawn][:, None]
            scores = jax.tree.map(lambda x: jnp.repeat(x, len(drawn), axis=0), one)
            return loss(
                objective,
                scores._replace(
                    log_pf=log_p, log_pb=jnp.zeros_like(log_p), log_reward=target[drawn] + 2
                ),
            )

        def step(_, logits, of_logits=of_logits):
            return logits - 0.5 * jax.grad(of_logits)(logits)

        assert of_logits(jnp.zeros(5)) > 0.05
        logits = jax.lax.fori_loop(0, 400, step, jnp.zeros(5))
        np.testing.assert_allclose(jax.nn.log_softmax(logits), target, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"divergence": "kl"}, "alpha or jensen-shannon"), ({"alpha": np.inf}, "must be finite")],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        FTrajectoryBalance(**arguments)
