"""The conformance check passes honest environments and names what is broken in others."""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from path_enumeration import all_paths

import gfnjax
from gfnjax.envs.hypergrid import HypergridState
from gfnjax.metrics import exact
from gfnjax.metrics.state_graph import build_graph
from gfnjax.testing import ConformanceError, binary_tree, check_environment, diamond

Grid = gfnjax.Hypergrid


def broken(env=None, **overrides):
    """`env` with methods or attributes of its class replaced."""
    env = Grid(2, 3) if env is None else env
    cls = struct.dataclass(type("Broken", (type(env),), overrides))
    return cls(**{f.name: getattr(env, f.name) for f in dataclasses.fields(env)})


class NotAPytree:
    """An environment by delegation that JAX cannot take apart."""

    def __init__(self, env):
        self.env = env

    def __getattr__(self, name):
        return getattr(self.env, name)


def branching_step(self, state, action):
    return state if state.stopped else Grid.step(self, state, action)


def moving_terminals(self, state, action):
    return Grid.step(self, state._replace(stopped=jnp.zeros((), bool)), action)._replace(
        stopped=state.stopped | (action == self.num_dims)
    )


def leaving_s0(self, state, k):
    moved = Grid.backward_step(self, state, k)
    at_s0 = (state.position == 0).all() & ~state.stopped
    position = jnp.where(at_s0 & (k == 1), -1, moved.position)
    return moved._replace(position=position)


def undoes_too_much(self, state, k):
    parent = Grid.backward_step(self, state, k)
    return parent._replace(position=jnp.where(k == 0, 0, parent.position))


def idle_second_action(self, state, action):
    return Grid.step(self, state, jnp.where(action == 1, -1, action))


def swapped(self, state, action):
    return jnp.where(action < 2, 1 - action, action)


def stuck_below(self, state):
    return Grid.backward_mask(self, state) & ~(state.position == 2).any()


def impure_reward(self, state):
    # Eager code sees an array, traced code does not: what reading a global or a file amounts to.
    offset = 0.0 if isinstance(state.position, jax.core.Tracer) else 1.0
    return Grid.log_reward(self, state) + offset


@jax.custom_batching.custom_vmap
def batch_dependent(x):
    return x


@batch_dependent.def_vmap
def _(axis_size, in_batched, x):
    return x + axis_size, in_batched[0]


def minus_infinity(self, state):
    return jnp.where(state.stopped & (state.position == 1).all(), -jnp.inf, 0.0)


def infinite_slope(self, state):
    # sqrt(r0 - r0) is zero with an infinite derivative.
    return jnp.sqrt(self.reward.r0 - jax.lax.stop_gradient(self.reward.r0))


def no_stopping(self, state):
    return Grid.forward_mask(self, state) & (jnp.arange(3) < 2)


def index_off_by_one(self, state):
    return Grid.state_index(self, state) + 1


def everywhere(self, state):
    return ~Grid.forward_mask(self, state) & False


TABLE = np.random.default_rng(0).normal(size=(3, 3))


def branching_reward(self, state):
    return jnp.zeros(()) if state.position.sum() > 2 else jnp.ones(())


NUMPY_REWARDS = {
    "sum": lambda self, s: np.abs(s.position).sum() * 0.1,
    "exp": lambda self, s: np.exp(s.position[0].astype(float)),
    "table": lambda self, s: TABLE[s.position[0], s.position[1]],
    "list": lambda self, s: TABLE.tolist()[s.position[0]][0],
    "dict": lambda self, s: {(0, 0): 1.0}.get(tuple(s.position), 0.0),
    "float": lambda self, s: float(s.position.sum()) * 0.1,
    "math": lambda self, s: math.exp(s.position[0]),
    "item": lambda self, s: s.position.sum().item() * 0.1,
    "if": branching_reward,
    "boolean index": lambda self, s: s.position[s.position > 0].sum() * 0.1,
    "range": lambda self, s: sum(0.1 for _ in range(s.position[0])),
}

BROKEN: dict[str, tuple[Callable[[], object], str]] = {
    "float size": (lambda: broken(num_actions=3.0), "num_actions must be a Python int"),
    "no actions": (lambda: broken(num_backward_actions=0), "num_backward_actions must be at least"),
    "no pytree": (lambda: NotAPytree(Grid(2, 3)), "must be a pytree"),
    "Python branch": (lambda: broken(step=branching_step), "step: JAX cannot trace"),
    "mask shape": (
        lambda: broken(forward_mask=lambda self, s: jnp.ones(4, bool)),
        r"forward_mask must return bool of shape \(3,\), got bool of shape \(4,\)",
    ),
    "mask dtype": (
        lambda: broken(backward_mask=lambda self, s: jnp.zeros(3)),
        "backward_mask must return bool",
    ),
    "terminal dtype": (
        lambda: broken(is_terminal=lambda self, s: s.stopped.astype(int)),
        "is_terminal must return a bool scalar",
    ),
    "reward shape": (
        lambda: broken(log_reward=lambda self, s: jnp.zeros(2)),
        r"log_reward must return a float scalar .* got float32 of shape \(2,\)",
    ),
    "reward none": (
        lambda: broken(log_reward=lambda self, s: None),
        "log_reward must return a float scalar for a single state, got None",
    ),
    "reward of two": (
        lambda: broken(log_reward=lambda self, s: (0.0, 1.0)),
        "log_reward must return a float scalar for a single state, got a tuple",
    ),
    "integer reward": (
        lambda: broken(log_reward=lambda self, s: s.position.sum()),
        r"log_reward must return a float .* got int32 of shape \(\): an integer is no logarithm",
    ),
    "Python int reward": (
        lambda: broken(log_reward=lambda self, s: 1),
        "log_reward must return a float .* an integer is no logarithm",
    ),
    "boolean reward": (
        lambda: broken(log_reward=lambda self, s: s.position[0] > 0),
        "log_reward must return a float .* got bool .* a boolean is no logarithm, make it a float",
    ),
    "complex reward": (
        lambda: broken(log_reward=lambda self, s: jnp.zeros((), jnp.complex64)),
        "log_reward must return a float .* got complex64",
    ),
    "partial reward shape": (
        lambda: broken(log_partial_reward=lambda self, s: jnp.zeros(2)),
        r"log_partial_reward must return a float scalar .* got float32 of shape \(2,\)",
    ),
    "integer partial reward": (
        lambda: broken(log_partial_reward=lambda self, s: s.position.sum()),
        "log_partial_reward must return a float .* an integer is no logarithm",
    ),
    "infinite partial reward": (
        lambda: broken(log_partial_reward=minus_infinity),
        "log_partial_reward: must be finite",
    ),
    "integer mask": (
        lambda: broken(forward_mask=lambda self, s: Grid.forward_mask(self, s).astype(jnp.int32)),
        r"forward_mask must return bool of shape \(3,\), got int32 of shape \(3,\)",
    ),
    "list for a mask": (
        lambda: broken(forward_mask=lambda self, s: list(Grid.forward_mask(self, s))),
        "forward_mask, backward_mask: must return arrays",
    ),
    "float action": (
        lambda: broken(backward_action=lambda self, s, a: a.astype(float)),
        "backward_action must return an int scalar",
    ),
    "no observation": (
        lambda: broken(observe=lambda self, s: None),
        "observe must return arrays, got None",
    ),
    "another observation": (
        lambda: broken(observe=lambda self, s: s.position),
        "active_features: must be the indices",
    ),
    **{
        f"NumPy {name}": (lambda f=f: broken(log_reward=f), "log_reward: JAX cannot trace it.*host")
        for name, f in NUMPY_REWARDS.items()
    },
    "NumPy step": (
        lambda: broken(step=lambda self, s, a: s._replace(position=np.asarray(s.position))),
        r"step: JAX cannot trace it: .* write it with jax.numpy \(jnp.where for if\)$",
    ),
    "terminal s0": (
        lambda: broken(
            initial_state=lambda self: HypergridState(jnp.zeros(2, int), jnp.ones((), bool))
        ),
        "initial_state: s_0 must not be terminal",
    ),
    "nothing allowed at s0": (lambda: broken(forward_mask=everywhere), "forward_mask: s_0 must"),
    "parents of s0": (
        lambda: broken(backward_mask=lambda self, s: jnp.array([True, False, False])),
        "backward_mask: must be all False at s_0",
    ),
    "state dtype": (
        lambda: broken(
            step=lambda self, s, a: s._replace(position=s.position.astype(float)),
        ),
        "step must return a state of the same structure",
    ),
    "backward from s0": (
        lambda: broken(backward_step=leaving_s0),
        "backward_step: must return s_0",
    ),
    "too few steps": (lambda: diamond().replace(max_steps=1), "max_steps = 1: .* had not ended"),
    "no stopping": (
        lambda: broken(forward_mask=no_stopping),
        "forward_mask: must be all False exactly on terminal states",
    ),
    "actions after the end": (
        lambda: broken(forward_mask=lambda self, s: jnp.append(s.position < 2, True)),
        "forward_mask: must be all False exactly on terminal states",
    ),
    "orphans": (lambda: broken(backward_mask=stuck_below), "backward_mask: every state but s_0"),
    "idle action": (lambda: broken(step=idle_second_action), "step: a valid action must change"),
    "wrong undo": (
        lambda: broken(backward_action=swapped),
        "backward_action: names an action that backward_mask forbids",
    ),
    "undo out of range": (
        lambda: broken(backward_action=lambda self, s, a: a - 3),
        "backward_action: names an action that backward_mask forbids",
    ),
    "wrong parent": (lambda: broken(backward_step=undoes_too_much), "backward_step: backward_step"),
    "wrong redo": (
        lambda: broken(forward_action=lambda self, s, k: jnp.zeros_like(k)),
        "forward_action: forward_action",
    ),
    "extra parent": (
        lambda: broken(backward_mask=lambda self, s: jnp.append(s.position > 0, s.stopped)),
        "forward_action: names an action that forward_mask forbids in the parent",
    ),
    "moving terminals": (
        lambda: broken(step=moving_terminals),
        "step: must leave terminal states as they are",
    ),
    "infinite reward": (lambda: broken(log_reward=minus_infinity), "log_reward: must be finite"),
    "infinite slope": (lambda: broken(log_reward=infinite_slope), "log_reward: its gradient"),
    "NaN observation": (
        lambda: broken(observe=lambda self, s: 0.0 / s.position.astype(float)),
        "observe: must be finite",
    ),
    "impure": (lambda: broken(log_reward=impure_reward), "log_reward: jit changes the result"),
    "batch-dependent": (
        lambda: broken(log_reward=lambda self, s: batch_dependent(Grid.log_reward(self, s))),
        "log_reward: vmap changes the result",
    ),
    "index off by one": (
        lambda: broken(state_index=index_off_by_one),
        r"state_index\(state_at\(i\)\) must be i",
    ),
    "state at": (
        lambda: broken(state_index=lambda self, s: jnp.zeros((), jnp.int32), num_states=1),
        r"state_at\(state_index\(s\)\) must be s",
    ),
    "index out of range": (
        lambda: broken(num_states=2),
        r"state_index: must lie in \[0, num_states = 2\)",
    ),
    "float number of states": (
        lambda: broken(num_states=18.0),
        r"num_states must be an int, got 18\.0",
    ),
    "active features": (
        lambda: broken(active_features=lambda self, s: s.position),
        "active_features: must be the indices",
    ),
}


@pytest.mark.parametrize(("make", "message"), BROKEN.values(), ids=BROKEN)
def test_broken_environments_are_named(make, message, key):
    with pytest.raises(ConformanceError, match=message):
        check_environment(make(), key)


@pytest.mark.parametrize("name", ["sum", "if", "float", "dict"])
def test_training_names_a_method_outside_of_jax_as_well(name, key):
    env = broken(log_reward=NUMPY_REWARDS[name])
    gfn = gfnjax.GFlowNet(env, gfnjax.mlp_policy(env, (4,)), gfnjax.TrajectoryBalance())
    with pytest.raises(TypeError, match=r"^env\.log_reward: JAX cannot trace it.*gfnjax\.rewards"):
        gfnjax.train(gfn, key, 1)


def test_an_environment_that_is_no_pytree_is_named_at_construction():
    class Plain(Grid):
        """Not decorated, unlike its base."""

    env = Plain(2, 3)
    with pytest.raises(TypeError, match=r"env must be a pytree: decorate Plain with flax\.struct"):
        gfnjax.GFlowNet(env, gfnjax.mlp_policy(env, (4,)), gfnjax.TrajectoryBalance())


def host_sum(scale, position):
    return np.asarray(np.asarray(scale) * np.asarray(position).sum(), scale.dtype)


@struct.dataclass
class Callback:
    """A reward outside of JAX, which has no slopes."""

    scale: float = 0.25

    def __call__(self, position, side):
        scale = jnp.asarray(self.scale)
        form = jax.ShapeDtypeStruct((), scale.dtype)
        return jax.pure_callback(host_sum, form, scale, position, vmap_method="sequential")


HONEST = {
    "callback": lambda: Grid(2, 3, Callback()),
    "Python float": lambda: broken(log_reward=lambda self, s: 0.5),
    "NumPy float": lambda: broken(log_reward=lambda self, s: np.float64(0.5)),
    "NumPy sizes": lambda: Grid(np.int64(2), np.int32(3)),
    "Python scalars": lambda: broken(
        initial_state=lambda self: HypergridState(np.zeros(2, np.int32), False)
    ),
    "NumPy scalars": lambda: broken(
        initial_state=lambda self: HypergridState(np.zeros(2, np.int64), np.bool_(False))
    ),
}


@pytest.mark.parametrize("name", HONEST)
def test_other_ways_to_say_the_same(name, key):
    check_environment(HONEST[name](), key)


def test_double_precision_rewards(key, x64):
    check_environment(Grid(2, 3, Callback(jnp.float64(0.25))), key)


@pytest.mark.long
@pytest.mark.parametrize("name", ["Python scalars", "NumPy scalars"])
def test_scalars_in_the_initial_state_train_and_count(name, key):
    env, plain = HONEST[name](), Grid(2, 3)
    found, expected = build_graph(env), build_graph(plain)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    for objective in (gfnjax.TrajectoryBalance(), gfnjax.FlowMatching()):
        params, losses = [], []
        for one in (env, plain):
            gfn = gfnjax.GFlowNet(one, gfnjax.tabular_policy(one), objective)
            state, history = gfnjax.train(gfn, key, 3, chunk_size=3)
            params.append(gfn.log_z(state.params))
            losses.append(history.info.loss)
        np.testing.assert_array_equal(*losses)
        np.testing.assert_array_equal(*params)


def test_messages_say_where():
    env = broken(log_reward=minus_infinity)
    with pytest.raises(ConformanceError, match=r"array\(\[1, 1\]") as error:
        check_environment(env, jax.random.key(0))
    assert "True" in str(error.value)


def test_small_graphs_conform(key):
    check_environment(diamond(), key)


def test_a_grid_beyond_int32_is_checked_without_enumeration(key):
    check_environment(Grid(8, 64), key, num_trajectories=4)


def test_the_diamond_is_what_it_says():
    env = diamond()
    assert [[s for s, _ in path] for path in all_paths(env)] == [[0, 1, 3], [0, 1, 4], [0, 2, 3]]
    graph = build_graph(env)
    log_pb = jnp.log(jnp.array([[1.0, 1], [1, 1], [1, 1], [0.5, 0.5], [1, 1]]))
    log_flow, log_pf = exact.optimal_flow(graph, log_pb)
    np.testing.assert_allclose(np.exp(log_flow), [3, 2.5, 0.5, 1, 2], rtol=1e-5)
    np.testing.assert_allclose(np.exp([log_pf[0, 0], log_pf[1, 1]]), [5 / 6, 4 / 5], rtol=1e-5)


@pytest.mark.parametrize("depth", [1, 3])
def test_the_binary_tree_is_what_it_says(depth):
    env = binary_tree(depth)
    paths = all_paths(env)
    leaves = [path[-1][0] for path in paths]
    assert len(set(leaves)) == len(paths) == 2**depth
    assert {len(path) - 1 for path in paths} == {depth} == {env.max_steps}
    rewards = np.exp(np.asarray(env.log_rewards)[leaves])
    np.testing.assert_allclose(rewards, np.arange(1, 2**depth + 1), rtol=1e-5)
