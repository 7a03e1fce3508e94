"""The expected surrogate gradient is minus that of the expected return, by enumeration."""

import jax
import jax.numpy as jnp
import numpy as np
from path_enumeration import all_trajectories, padded_dag

from gfnjax import GFlowNet, Params, TrajectoryBalance, tabular_policy
from gfnjax.objectives.policy_gradient import PolicyGradient

OBJECTIVES = [
    PolicyGradient("reinforce"),
    PolicyGradient("reward-to-go"),
    PolicyGradient("baseline"),
    PolicyGradient("gae", lambda_=0.5),
]


def log_softmax(logits, mask):
    logits = np.where(mask, logits, -np.inf)
    peak = logits.max(axis=1, keepdims=True, initial=-1e3)
    return logits - peak - np.log(np.exp(logits - peak).sum(axis=1, keepdims=True))


def values_of(env, table):
    """V(s) = sum_a P_F (log P_B - log P_F + V(s')), V(terminal) = log R: in NumPy."""
    children, undo = np.asarray(env.children), np.asarray(env.undo)
    with np.errstate(all="ignore"):
        log_pf = log_softmax(np.asarray(table["forward_logits"]), children >= 0)
        log_pb = log_softmax(np.asarray(table["backward_logits"]), np.asarray(env.parents) >= 0)
    value = np.array(env.log_rewards)
    for state in reversed(range(env.num_states)):  # children come after their parents
        actions = np.flatnonzero(children[state] >= 0)
        if actions.size:
            child, f = children[state, actions], log_pf[state, actions]
            value[state] = (
                np.exp(f) * (log_pb[child, undo[state, actions]] - f + value[child])
            ).sum()
    return value


def test_expected_gradients(x64):
    env = padded_dag(1)
    gfn = GFlowNet(env, tabular_policy(env), TrajectoryBalance())
    paths = all_trajectories(env)
    keys = jax.random.split(jax.random.key(0), 3)
    table = {
        "forward_logits": jax.random.normal(keys[0], env.children.shape),
        "backward_logits": jax.random.normal(keys[1], env.parents.shape),
    }
    right = jnp.asarray(values_of(env, table))
    wrong = jax.random.normal(keys[2], right.shape)

    def score(forward_logits, log_flow):
        policy = {"params": table | {"forward_logits": forward_logits, "log_flow": log_flow}}
        return gfn.score(Params(policy, jnp.zeros(())), paths)

    def mean_return(forward_logits):
        scores = score(forward_logits, right)
        log_p = scores.log_pf.sum(axis=1)
        earned = scores.log_pb.sum(axis=1) + scores.log_reward - log_p
        return (jnp.exp(log_p) * earned).sum()

    def surrogates(forward_logits):
        values = []
        for log_flow in (right, wrong):
            scores = score(forward_logits, log_flow)
            p = jax.lax.stop_gradient(jnp.exp(scores.log_pf.sum(axis=1)))
            values += [(p * jax.vmap(o.extra_loss)(scores)).sum() for o in OBJECTIVES]
        return jnp.stack(values)

    @jax.jit
    def compare(logits):
        return *jax.value_and_grad(mean_return)(logits), jax.jacrev(surrogates)(logits)

    value, expected, ours = compare(table["forward_logits"])
    np.testing.assert_allclose(value, right[0], rtol=1e-12)
    assert np.abs(expected).max() > 1e-2
    for grad in ours[:7]:
        np.testing.assert_allclose(grad, -expected, atol=1e-12)
    # With wrong values GAE alone, lambda < 1, is biased.
    assert np.abs(ours[7] + expected).max() > 1e-3
