"""A batch spread over four devices gives what one device gives, and costs two messages a step."""

import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

import gfnjax
from gfnjax import GFlowNet, Hypergrid, Hyperparameters, envs, mlp_policy, spread
from gfnjax.algorithms import Teacher
from gfnjax.objectives import (
    LEDGFN,
    ContrastiveBalance,
    GAFlowNet,
    LogPartitionVariance,
    RelativeTrajectoryBalance,
    SoftDQN,
    SubTrajectoryBalance,
)
from gfnjax.objectives.regression import forward_kl
from gfnjax.policies import LearnedMaximumEntropyBackward, PessimisticBackward
from gfnjax.policies.base import FrozenPolicy
from gfnjax.policies.causal import causal_transformer_policy
from gfnjax.policies.ensemble import ensemble_mlp_policy
from gfnjax.replay import Fifo, ResidualPrioritised, RewardPrioritised, TerminalReplay
from gfnjax.samplers import LocalSearch, Mixed, Windows

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

PARTS, STEPS = 4, 3
ENV = Hypergrid(2, 4)
SMALL = mlp_policy(ENV, (8,))
CONDITIONAL = envs.temperature_conditional(ENV, 0.5, 2.0)
STRINGS = envs.VariableSequence(4, 3, lambda tokens: (tokens == 2).sum().astype(jnp.float32))
TB, DB = gfnjax.TrajectoryBalance(), gfnjax.DetailedBalance()
LED = LEDGFN(hidden_sizes=(4,))
RATES = Hyperparameters(learning_rate=0.05, log_z_learning_rate=0.1, epsilon=0.1)


def describe(objective=TB, env=ENV, policy=SMALL, batch_size=8, **options):
    return GFlowNet(env, policy, objective, hyperparameters=RATES, batch_size=batch_size, **options)


def prior():
    return FrozenPolicy(
        SMALL, SMALL.init(jax.random.key(7), SMALL.observe(ENV, ENV.initial_state()))
    )


SAME = {
    "tb, clipped": lambda: describe(max_grad_norm=0.5, target_rate=0.1),
    "windows of subtb": lambda: describe(SubTrajectoryBalance(1.3), sampler=Windows(2)),
    "batch, huge g": lambda: describe(LogPartitionVariance(), regression=forward_kl),
    "pairs with search": lambda: describe(
        ContrastiveBalance(), batch_size=16, sampler=Mixed(None, 0.5, LocalSearch(2))
    ),
    "ensemble": lambda: describe(
        LED, policy=ensemble_mlp_policy(ENV, 2, (8,), keep=0.5), num_updates=2
    ),
    "novelty": lambda: describe(
        GAFlowNet(hidden_sizes=(4,)), backward=LearnedMaximumEntropyBackward(SMALL, 2, 0.5)
    ),
    "munchausen": lambda: describe(SoftDQN(0.15), target_rate=0.2, num_updates=2),
    "prior": lambda: describe(RelativeTrajectoryBalance(), prior=prior()),
    "conditions": lambda: describe(
        gfnjax.TrajectoryBalance("flow"), CONDITIONAL, mlp_policy(CONDITIONAL, (8,))
    ),
    "causal": lambda: describe(
        TB, STRINGS, causal_transformer_policy(STRINGS, 8, 2, 1), chunk_size=3
    ),
    "teacher": lambda: Teacher(describe(LED), SMALL),
}
OWN_MEMORY = {
    "prioritised": lambda: describe(
        sampler=Mixed(RewardPrioritised(80)), backward=PessimisticBackward(SMALL, capacity=16)
    ),
    "windows": lambda: describe(
        DB, sampler=Mixed(ResidualPrioritised(32, unique=True), fresh=Windows(2))
    ),
    "objects": lambda: describe(
        LED, batch_size=16, sampler=Mixed(TerminalReplay(Fifo(32)), 0.25, LocalSearch(), 0.25)
    ),
}


@pytest.fixture(scope="module")
def mesh():
    assert jax.device_count() >= PARTS, "the tests need several virtual devices"
    return Mesh(np.array(jax.devices()[:PARTS]), (spread.BATCH,))


def run(gfn, key):
    """States after each of the first steps, and their infos."""

    def step(state, _):
        state, info = gfn.step(state)
        return state, (state, info)

    return lax.scan(step, gfn.init(key), None, length=STEPS)[1]


def each(tree):
    return jax.tree.map(lambda x: x[None], tree)


def on_devices(mesh, function):
    """What `function(key)` is on each device, `[PARTS, ...]`."""
    parts = {"mesh": mesh, "in_specs": P(), "out_specs": P(spread.BATCH), "check_vma": False}
    return jax.jit(jax.shard_map(lambda key: each(function(key)), **parts))


def emulated(function):
    options = {"in_axes": None, "axis_size": PARTS, "axis_name": spread.BATCH}
    return jax.jit(jax.vmap(function, **options))


def numbers(tree):
    data = jax.dtypes.prng_key
    return jax.tree.map(
        lambda x: np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, data) else x), tree
    )


def assert_close(a, b):
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5), numbers(a), numbers(b)
    )


def assert_alike_but_for_memories(states):
    """What is not marked as divided is the same on all devices, bit for bit."""

    def check(x, own):
        if not own:
            np.testing.assert_array_equal(x, np.broadcast_to(x[:1], x.shape))

    jax.tree.map(check, numbers(states), spread.divided(states))


def without_memories(states):
    marks = spread.divided(states)
    return jax.tree.map(lambda x, own: None if own else x, states, marks)


@pytest.mark.parametrize("name", SAME)
def test_four_devices_take_the_step_of_one(mesh, key, name):
    gfn = SAME[name]()
    states, infos = on_devices(mesh, partial(run, gfn))(key)
    assert_alike_but_for_memories(states)
    first = jax.tree.map(lambda x: x[0], (states, infos))
    alone = jax.jit(partial(run, gfn))(key)
    assert_close(without_memories(first[0]), without_memories(alone[0]))
    assert_close(first[1], alone[1])


@pytest.mark.parametrize("name", OWN_MEMORY)
def test_each_device_has_a_memory_of_its_own(mesh, key, name):
    gfn = OWN_MEMORY[name]()
    states, infos = on_devices(mesh, partial(run, gfn))(key)
    assert_alike_but_for_memories(states)
    assert_close((states, infos), emulated(partial(run, gfn))(key))
    last = jax.tree.map(lambda x: x[:, -1], states.memory.buffer)
    actions = np.asarray(jax.tree.leaves(last.items)[0]).reshape(PARTS, -1)
    assert len(np.unique(actions, axis=0)) == PARTS
