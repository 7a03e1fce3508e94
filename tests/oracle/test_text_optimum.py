"""Objectives of texts vanish with their gradients at the twisted model, and only there.

The best policy of a bigram model is known in closed form (`gfnjax.envs.bigram.solve`), not from the
library's dynamic programming.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax import GFlowNet, LogPartitionVariance, Params, Policy, TrajectoryBalance
from gfnjax.envs.amp import VariableSequence
from gfnjax.envs.bigram import bigram, solve
from gfnjax.envs.tempered import tempered
from gfnjax.objectives import ModifiedDetailedBalance, ModifiedSubTrajectoryBalance
from gfnjax.policies.backward import UniformBackward
from gfnjax.types import PolicyOutput

NUM_LETTERS, MAX_LENGTH = 5, 6
OBJECTIVES = {
    "msubtb": ModifiedSubTrajectoryBalance(),
    "msubtb-.3": ModifiedSubTrajectoryBalance(0.3),
    "vargrad": LogPartitionVariance(),
    "vargrad-group": LogPartitionVariance("group"),
    "tb": TrajectoryBalance(),
}


def size_and_last(env, state):
    size = (state.tokens >= 0).sum(dtype=jnp.int32)
    last = state.tokens[jnp.maximum(size - 1, 0)]
    return size, jnp.where(size > 0, last, NUM_LETTERS)


def read_table(table, seen):
    return PolicyOutput(table[seen], jnp.zeros(1, table.dtype), jnp.zeros((), table.dtype))


POLICY = Policy(lambda key, seen: jnp.zeros(()), read_table, size_and_last)


def twisted(temperature, infill):
    """The best policy's parameters, where nothing is -inf: masks forbid what it never does."""
    found = solve(NUM_LETTERS, MAX_LENGTH, temperature, infill=infill)
    table = jnp.asarray(np.maximum(found.log_policy, -50.0))
    return Params(table, jnp.asarray(found.log_z))


def loss_and_gradient(gfn, params, trajectories):
    loss, gradient = jax.jit(jax.value_and_grad(gfn.loss))(params, trajectories)
    return float(loss), max(float(jnp.abs(x).max()) for x in jax.tree.leaves(gradient))


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize(
    ("temperature", "infill"), [(1.0, False), (0.8, False), (0.5, False), (1.0, True)]
)
def test_the_twisted_model(name, temperature, infill, x64, key):
    env = tempered(bigram(NUM_LETTERS, MAX_LENGTH, infill=infill), 1 / temperature)
    params = twisted(temperature, infill)
    gfn = GFlowNet(env, POLICY, OBJECTIVES[name], UniformBackward())
    uniform = params._replace(policy=jnp.zeros_like(params.policy))
    trajectories = gfn.sample(uniform, key, 64)
    assert len(set(np.asarray(trajectories.length).tolist())) > 4
    loss, gradient = loss_and_gradient(gfn, params, trajectories)
    assert loss < 1e-12
    assert gradient < 1e-6
    noise = 0.3 * jax.random.normal(jax.random.key(1), params.policy.shape, params.policy.dtype)
    moved = params._replace(policy=params.policy + noise)
    loss, gradient = loss_and_gradient(gfn, moved, trajectories)
    assert loss > 1e-3
    assert gradient > 1e-4


def test_the_first_letter_alone_is_noticed(x64, key):
    # s_0 may not stop: only log Z of the group ties its choice to the rest.
    env = bigram(NUM_LETTERS, MAX_LENGTH)
    params = twisted(1.0, False)
    gfn = GFlowNet(env, POLICY, ModifiedSubTrajectoryBalance(), UniformBackward())
    trajectories = gfn.sample(params, key, 64)
    wrong = params._replace(policy=params.policy.at[0, NUM_LETTERS, 2].add(1.0))
    assert loss_and_gradient(gfn, wrong, trajectories)[0] > 1e-3


def test_flows_off_the_stop_need_a_stop_in_every_state():
    env = bigram(NUM_LETTERS, MAX_LENGTH)
    make = partial(GFlowNet, env, POLICY, backward=UniformBackward())
    with pytest.raises(ValueError, match="s_0 of this ListedText may not stop"):
        make(ModifiedDetailedBalance())
    make(ModifiedSubTrajectoryBalance())
    silent = VariableSequence(3, 2, lambda tokens: jnp.zeros(()))
    with pytest.raises(TypeError, match="needs a PartialReward environment"):
        GFlowNet(silent, POLICY, ModifiedSubTrajectoryBalance())
