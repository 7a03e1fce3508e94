"""A batch spread over four devices gives what one device gives, and costs two messages a step."""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
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
from gfnjax.pytree import pytree
from gfnjax.replay import Fifo, ResidualPrioritised, RewardPrioritised, TerminalReplay
from gfnjax.samplers import LocalSearch, Mixed, Windows

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from gfnjax.compiled import hlo

PARTS, STEPS = 4, 3
ENV = Hypergrid(2, 4)
SMALL = mlp_policy(ENV, (8,))
CONDITIONAL = envs.temperature_conditional(ENV, 0.5, 2.0)
STRINGS = envs.VariableSequence(4, 3, lambda tokens: (tokens == 2).sum().astype(jnp.float32))
METROPOLIS = LocalSearch(4, 1.0, acceptance="metropolis")
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
    # Weights that floats do not hold together: relative to the longest trajectory of all.
    "longest": lambda: describe(SubTrajectoryBalance(500.0), optimizer=optax.sgd),
    "batch, huge g": lambda: describe(LogPartitionVariance(), regression=forward_kl),
    "pairs with search": lambda: describe(
        ContrastiveBalance(), batch_size=32, sampler=Mixed(local_search=METROPOLIS)
    ),
    "ensemble": lambda: describe(
        LED,
        policy=ensemble_mlp_policy(ENV, 3, (8,), keep=0.5),
        num_updates=2,
        batch_size=32,
        optimizer=lambda rate: optax.sgd(5 * rate),  # members must differ soon
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
        TB, STRINGS, causal_transformer_policy(STRINGS, 8, 2, 1), optimizer=optax.sgd
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


@pytest.mark.long
@pytest.mark.parametrize("name", SAME)
def test_four_devices_take_the_step_of_one(mesh, key, name):
    gfn = SAME[name]()
    states, infos = on_devices(mesh, partial(run, gfn))(key)
    assert_alike_but_for_memories(states)
    first = jax.tree.map(lambda x: x[0], (states, infos))
    alone = jax.jit(partial(run, gfn))(key)
    assert_close(without_memories(first[0]), without_memories(alone[0]))
    assert_close(first[1], alone[1])


@pytest.mark.long
@pytest.mark.parametrize("name", OWN_MEMORY)
def test_each_device_has_a_memory_of_its_own(mesh, key, name):
    gfn = OWN_MEMORY[name]()
    states, infos = on_devices(mesh, partial(run, gfn))(key)
    assert_alike_but_for_memories(states)
    assert_close((states, infos), emulated(partial(run, gfn))(key))
    last = jax.tree.map(lambda x: x[:, -1], states.memory.buffer)
    capacity = gfn.sampler.replay.capacity
    assert last.priority.shape == (PARTS, capacity // PARTS)
    actions = np.asarray(jax.tree.leaves(last.items)[0]).reshape(PARTS, -1)
    assert len(np.unique(actions, axis=0)) > 1


def test_devices_recall_each_for_itself(key):
    gfn = describe(batch_size=32, sampler=Mixed(Fifo(64)))

    def slots(key):
        state, _ = gfn.step(gfn.init(key))
        batch, _ = gfn.draw(state)
        return batch.note[1]

    found = np.asarray(emulated(slots)(key))
    assert found.shape == (PARTS, 4)
    assert len(np.unique(found, axis=0)) > 1


@pytest.mark.long
def test_a_backward_policy_recalls_with_a_key_on_each_device(key):
    keys = set()

    class Noting(PessimisticBackward):
        def recall(self, memory, trajectories, key):
            jax.debug.callback(lambda x: keys.add(tuple(x.tolist())), jax.random.key_data(key))
            return trajectories

    gfn = describe(backward=pytree(Noting)(SMALL, num_updates=2, capacity=16))
    jax.block_until_ready(emulated(lambda key: gfn.step(gfn.init(key)))(key))
    jax.effects_barrier()
    assert len(keys) == 2 * PARTS


@pytest.mark.long
def test_members_of_a_sweep_each_spread_their_batch(mesh, key):
    gfn = describe(LogPartitionVariance(), sampler=Mixed(Fifo(32)))

    def members(over, key):
        return over(partial(run, gfn), jax.random.split(key, 2))

    swept = on_devices(mesh, partial(members, lambda f, keys: jax.vmap(f)(keys)))(key)
    in_turns = on_devices(mesh, partial(members, lax.map))(key)
    assert_close(swept, in_turns)
    one = on_devices(mesh, partial(run, gfn))(jax.random.split(key, 2)[1])
    assert_close(jax.tree.map(lambda x: x[:, 1], swept), one)


@pytest.mark.long
def test_a_state_is_divided_where_it_says_so(mesh, key):
    gfn = OWN_MEMORY["prioritised"]()
    whole = {"mesh": mesh, "check_vma": False}
    marks = spread.divided(jax.eval_shape(emulated(gfn.init), key))
    specs = jax.tree.map(lambda own: P(spread.BATCH) if own else P(), marks)

    def packed(state):
        return jax.tree.map(lambda x, own: x[None] if own else x, state, marks)

    def step(state):
        state = jax.tree.map(lambda x, own: x[0] if own else x, state, marks)
        state, info = gfn.step(state)
        return packed(state), info

    init = jax.shard_map(lambda key: packed(gfn.init(key)), in_specs=P(), out_specs=specs, **whole)
    step = jax.shard_map(step, in_specs=(specs,), out_specs=(specs, P()), **whole)
    state = jax.jit(init)(key)
    for _ in range(STEPS):
        state, _ = jax.jit(step)(state)
    states, _ = on_devices(mesh, partial(run, gfn))(key)
    last = jax.tree.map(lambda x: x[:, -1], states)
    assert_close(state.memory, last.memory)
    assert_close(without_memories(state), jax.tree.map(lambda x: x[0], without_memories(last)))
    own = jax.tree.leaves((marks.memory, marks.observed))
    assert own
    assert all(own)


def test_states_of_others_are_divided_where_theirs_are():
    taught = Teacher(describe(), SMALL)
    state = jax.eval_shape(taught.init, jax.random.key(0))
    state = state._replace(teacher=state.teacher._replace(memory=jnp.zeros(3)))
    marks = spread.divided({"run": state, "rest": 1.0})
    assert marks["run"].teacher.memory is True
    assert sum(jax.tree.leaves(marks)) == 1


def compiled_step(mesh, gfn):
    """The program of one step, as the compiler has it."""
    states = jax.eval_shape(emulated(gfn.init), jax.random.key(0))

    def step(states):
        return each(gfn.step(jax.tree.map(lambda x: x[0], states)))

    specs = {"in_specs": P(spread.BATCH), "out_specs": P(spread.BATCH), "check_vma": False}
    program = jax.jit(jax.shard_map(step, mesh=mesh, **specs)).lower(states).compile()
    return hlo.parse(program.as_text())


def collectives(module):
    """Messages by kind, outside of loops and in them."""
    inside, found = set(), {}

    def visit(name):
        if name not in inside:
            inside.add(name)
            for one in module.computations[name].values():
                for _, callee in one.called:
                    visit(callee)

    for computation in module.computations.values():
        for one in computation.values():
            if one.opcode == "while":
                visit(one.callee("body"))
                visit(one.callee("condition"))
    for name, computation in module.computations.items():
        place = "inside" if name in inside else "outside"
        for one in computation.values():
            kind = one.opcode.removesuffix("-start")
            if kind in ("all-reduce", "all-gather", "collective-permute", "all-to-all"):
                found[place, kind] = found.get((place, kind), 0) + 1
    return found


COSTS = {
    # The sums of the loss; the gradient, with what is reported.
    "tb": (lambda: describe(), {("outside", "all-reduce"): 2}),
    # Log Z, and its gradient.
    "batch": (lambda: describe(LogPartitionVariance()), {("outside", "all-reduce"): 4}),
    "pair": (
        lambda: describe(ContrastiveBalance()),
        {("outside", "all-reduce"): 2, ("outside", "collective-permute"): 2},
    ),
    # The largest weight.
    "subtb": (lambda: describe(SubTrajectoryBalance(1.3)), {("outside", "all-reduce"): 3}),
    "two updates": (
        lambda: describe(num_updates=3),
        {("outside", "all-reduce"): 2, ("inside", "all-reduce"): 2},
    ),
    "replay and search": (
        lambda: describe(
            batch_size=16, sampler=Mixed(TerminalReplay(Fifo(32)), 0.25, LocalSearch(), 0.25)
        ),
        {("outside", "all-reduce"): 2},
    ),
}


@pytest.mark.parametrize("name", COSTS)
def test_messages_of_a_step(mesh, name):
    describe_it, expected = COSTS[name]
    # Small chunks: evaluating states is a loop, too.
    assert collectives(compiled_step(mesh, replace(describe_it(), chunk_size=8))) == expected
