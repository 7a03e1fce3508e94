import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax import GFlowNet, Hyperparameters, UniformBackward, masking, tabular_policy
from gfnjax.objectives.base import weighted_loss
from gfnjax.objectives.entropy_ppo import EntropyPPO, clipped_surrogate, policy_change
from gfnjax.objectives.policy_gradient import PolicyGradient
from gfnjax.objectives.regression import square
from gfnjax.testing import diamond


def log_policy(*rows):
    return jnp.where(jnp.array(rows) > 0, jnp.log(jnp.maximum(jnp.array(rows), 1e-3)), masking.FILL)


@pytest.fixture
def seen(two):
    """Scores before and after an update that moved the policy in the first trajectory only."""
    first = log_policy([0.6, 0.4, 0.0], [0.5, 0.25, 0.25], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0])
    moved = log_policy([0.3, 0.7, 0.0], [0.5, 0.25, 0.25], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0])
    before = two._replace(log_policy=jnp.stack([first, first]))
    change = jnp.log(jnp.array([[1.5, 0.5, 1.0], [1.0, 1.0, 1.0]]))
    return two._replace(
        log_pf=two.log_pf + change, log_policy=jnp.stack([moved, first]), previous=before
    )


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected", "slope"),
    [
        (1.5, 2.0, -1.2 * 2, 0.0),  # beyond the clip, and better: nothing more to gain
        (0.5, 2.0, -0.5 * 2, -2.0),  # a good action has become unlikely: pulled back
        (1.5, -2.0, 1.5 * 2, 2.0),
        (0.5, -2.0, 0.8 * 2, 0.0),
        (1.1, 2.0, -1.1 * 2, -2.0),
    ],
)
def test_the_clip_by_hand(ratio, advantage, expected, slope, two):
    one = jax.tree.map(lambda x: x[0], two)

    def surrogate(log_ratio):
        moved = one._replace(log_pf=one.log_pf.at[0].add(log_ratio), previous=one)
        return clipped_surrogate(moved, jnp.array([advantage, 0.0, 0.0]), 0.2)

    value, grad = jax.value_and_grad(surrogate)(jnp.log(ratio))
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(grad, slope * ratio, rtol=1e-5, atol=1e-6)  # d ratio = ratio d log


def test_the_change_of_the_policy_by_hand(seen):
    # KL((.6, .4) || (.3, .7)) in s_0; the same policy in s_1, and what is not allowed adds nothing.
    expected = 0.6 * np.log(0.6 / 0.3) + 0.4 * np.log(0.4 / 0.7)
    np.testing.assert_allclose(jax.vmap(policy_change)(seen), [expected, 0], rtol=1e-5, atol=1e-7)
    grad = jax.grad(lambda x: jax.vmap(policy_change)(seen._replace(log_policy=x)).sum())
    assert np.isfinite(grad(seen.log_policy)).all()


def test_advantages_are_those_before_the_updates(seen):
    # TD errors -.2, -.9 and -.4, -.15, -1.15 of the scores before; ratios 1.5, .5 and 1 since.
    objective = EntropyPPO(lambda_=0.0, kl_weight=0.0)
    surrogates = jax.vmap(objective.extra_loss)(seen)
    expected = [1.5 * 0.2 + 0.8 * 0.9, 0.4 + 0.15 + 1.15]
    np.testing.assert_allclose(surrogates, expected, rtol=1e-5)
    # The value's target stays as well, while V moves by .5.
    moved = seen._replace(log_flow=seen.log_flow + 0.5)
    values = jax.vmap(objective.residuals)(moved).values
    expected = [[0.7, 1.4, 0], [0.9, 0.65, 1.65]]
    np.testing.assert_allclose(values, expected, rtol=1e-5)


def test_the_first_update_is_the_policy_gradient(two):
    # Nothing has changed yet: ratio 1, no divergence, the gradient of GAE.
    rows = jnp.broadcast_to(log_policy([0.6, 0.4]), (2, 4, 2))

    def loss(objective, log_pf, log_flow):
        scores = two._replace(log_pf=log_pf, log_flow=log_flow, log_policy=rows)
        scores = scores._replace(previous=jax.lax.stop_gradient(scores))
        return weighted_loss(objective, square, scores)

    ours, theirs = (
        jax.grad(loss, (1, 2))(objective, two.log_pf, two.log_flow)
        for objective in (EntropyPPO(lambda_=0.7), PolicyGradient("gae", lambda_=0.7))
    )
    for x, y in zip(ours, theirs, strict=True):
        assert np.abs(y).max() > 0.1
        np.testing.assert_allclose(x, y, rtol=1e-5)


def test_several_updates_keep_the_policy_the_batch_was_drawn_with(key):
    # Twenty steps of .01 could go .2 far; a huge weight of the divergence from where they started
    # holds the policy there. The value is free to move.
    env = diamond()
    objective = EntropyPPO(kl_weight=1e4)
    rate = Hyperparameters(1e-2)
    gfn = GFlowNet(
        env,
        tabular_policy(env),
        objective,
        UniformBackward(),
        hyperparameters=rate,
        num_updates=20,
    )
    after, _ = jax.jit(lambda key: gfn.step(gfn.init(key)))(key)
    table = after.params.policy["params"]
    assert 0 < jnp.abs(table["forward_logits"]).max() < 0.03
    assert jnp.abs(table["log_flow"]).max() > 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clip": 0.0}, "clip must be positive, got 0.0"),
        ({"lambda_": -0.1}, r"lambda_ must be in \[0, 1\], got -0.1"),
        ({"kl_weight": -1.0}, "kl_weight must not be negative, got -1.0"),
        ({"policy_weight": 0.0}, "policy_weight must be positive, got 0.0"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        EntropyPPO(**options)
