import jax
import jax.numpy as jnp
import numpy as np
from path_enumeration import all_trajectories

from gfnjax import GFlowNet, Params, tabular_policy
from gfnjax.objectives import MaximumLikelihood
from gfnjax.objectives.base import weighted_loss
from gfnjax.objectives.regression import square
from gfnjax.testing import diamond


def test_it_is_the_mean_of_minus_log_p(two):
    objective = MaximumLikelihood()
    np.testing.assert_allclose(jax.vmap(objective.extra_loss)(two), [1.5, 1.2], rtol=1e-6)
    assert not np.any(jax.vmap(objective.residuals)(two).weights)
    np.testing.assert_allclose(weighted_loss(objective, square, two), 1.35, rtol=1e-6)


def test_its_optimum_is_the_data(x64):
    # Three ways, 0-1-3, 0-1-4 and 0-2-3, shown 1, 2 and 3 times; R(3) = 1 and R(4) = 2.
    env = diamond()
    policy = tabular_policy(env)
    gfn = GFlowNet(env, policy, MaximumLikelihood())
    rows = jnp.array([0, 1, 1, 2, 2, 2], jnp.int32)
    data = jax.tree.map(lambda x: x[rows], all_trajectories(env))
    params = gfn.model.init(jax.random.key(0), jax.random.key(1))
    forward = np.zeros(env.children.shape)
    children = np.asarray(env.children)
    for state, child, share in [(0, 1, 1 / 2), (0, 2, 1 / 2), (1, 3, 1 / 3), (1, 4, 2 / 3)]:
        forward[state, np.flatnonzero(children[state] == child)] = np.log(share)
    table = params.policy["params"] | {"forward_logits": jnp.asarray(forward)}
    best = Params({"params": table}, params.log_z)
    loss, grads = jax.jit(jax.value_and_grad(gfn.loss))(best, data)
    expected = -(np.log(1 / 6) + 2 * np.log(1 / 3) + 3 * np.log(1 / 2)) / 6
    np.testing.assert_allclose(loss, expected, rtol=1e-12)
    assert max(float(jnp.abs(g).max()) for g in jax.tree.leaves(grads)) < 1e-12
    assert gfn.loss(params, data) > loss + 1e-3
    # log Z is what log R + log P_B - log P_F says of the data, and nothing that is learned.
    scores = gfn.score(best, data)
    found = scores.log_reward + (scores.log_pb - scores.log_pf).sum(axis=1)
    np.testing.assert_allclose(scores.log_z, found.mean(), rtol=1e-12)
