"""`check_environment`: hold every method of an environment against the contract.

It walks random trajectories of its own, independent of `gfnjax.rollout`; the first broken promise
is reported in words.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gfnjax import rollout
from gfnjax.actions import actions_of, backward_actions_of, usual
from gfnjax.arguments import check_key
from gfnjax.envs.base import (
    Canonical,
    Conditioned,
    Enumerable,
    Environment,
    PathReward,
    RandomSource,
    SparselyObserved,
    is_acyclic,
    source_state,
)
from gfnjax.envs.contract import REWARDS, calls, outside_of_jax, trace
from gfnjax.testing.claims import ConformanceError, agree, each, equal, first, require
from gfnjax.testing.conditional import broken_promise
from gfnjax.testing.densities import check_densities, is_continuous
from gfnjax.testing.edges import (
    any_of,
    check_absorbing,
    check_backward_edges,
    check_forward_edges,
)
from gfnjax.testing.paths import broken_values
from gfnjax.testing.return_values import wrong_return
from gfnjax.testing.sources import check_sources, is_source
from gfnjax.testing.walks import check_way_back, ends, subsample
from gfnjax.types import Array, PyTree

MAX_CHECKED_STATES = 256
MAX_CHECKED_INDICES = 100_000


def check_environment(env: Environment, key: Array, num_trajectories: int = 64) -> None:
    """Check that `env` keeps the promises of `gfnjax.Environment`.

    A pytree; shapes and masks; round trips of forward and backward steps along every edge of the
    states visited by random trajectories; absorbing terminals; termination within `max_steps` (with
    `acyclic = False`, that some random trajectory ends and some random way back comes to s_0);
    equality under jit and vmap, a batch of one included; finite rewards and reward gradients;
    and, where the environment has these abilities, a consistent enumeration, a sparse observation,
    sources whose condition every step keeps, sources drawn from a law that they hide, and rewards
    of whole paths that are those of states.
    Where actions are no numbers, densities that are finite, with finite gradients, both ways along
    all edges, and steps back that come to s_0 exactly.

    Args:
        env: the environment.
        key: a typed PRNG key.
        num_trajectories: random trajectories to walk.

    Raises:
        ConformanceError: at the first promise that is broken.
    """
    check_key("key", key)
    _check_sizes(env)
    _check_traceable(env)
    _check_initial_state(env)
    walk_key, source_key, path_key, *density_key = jax.random.split(key, 3 + is_continuous(env))
    if isinstance(env, RandomSource):
        check_sources(env, source_key, num_trajectories)
    states = _walk(env, walk_key, num_trajectories)
    visited = subsample(states, MAX_CHECKED_STATES)
    _check_masks(env, visited)
    if isinstance(env, Canonical):
        _check_canonical(env, visited)
    check_forward_edges(env, visited)
    check_backward_edges(env, visited)
    if density_key:
        check_densities(env, visited, density_key[0])
    # After the edges: an idle action or a missing one is the better explanation.
    if is_acyclic(env):
        _check_termination(env, states)
        check_absorbing(env, jax.tree.map(lambda x: x[-1], states))
    else:
        check_absorbing(env, ends(env, states))
        check_way_back(env, jax.random.fold_in(path_key, 0), visited)
    _check_finite(env, visited)
    _check_transformations(env, jax.tree.map(lambda x: x[:2], visited))
    if isinstance(env, Enumerable):
        _check_enumeration(env, visited)
    if isinstance(env, SparselyObserved):
        _check_sparse_observation(env, visited)
    if isinstance(env, Conditioned):
        message = broken_promise(env, source_key, num_trajectories)
        require(message is None, str(message))
    if isinstance(env, PathReward):
        message = broken_values(env, path_key)
        require(message is None, str(message))


def _check_sizes(env: Environment) -> None:
    kinds = {"num_actions": "actions", "num_backward_actions": "backward_actions"}
    # Actions that are not numbered are not counted.
    counted = [name for name, kind in kinds.items() if not hasattr(env, kind)]
    for name in (*counted, "max_steps"):
        value = getattr(env, name)
        whole = isinstance(value, int | np.integer)
        require(whole, f"{name} must be a Python int, got {value!r}")
        require(value >= 1, f"{name} must be at least 1, got {value}")


def _check_traceable(env: Environment) -> None:
    try:
        jax.eval_shape(lambda env: jnp.zeros(()), env)
    except Exception as error:
        raise ConformanceError(
            "the environment must be a pytree with static sizes and reward parameters as leaves "
            f"(flax.struct.dataclass, pytree_node=False for sizes): {error}"
        ) from error
    try:
        state = source_state(env)
        given = calls(env, state)
    except Exception as error:
        raise ConformanceError(
            f"initial_state, forward_mask, backward_mask: must return arrays: {error}"
        ) from error
    for name, arguments in given.items():
        try:
            trace(env, name, arguments)
        except Exception as error:
            reason = outside_of_jax(name, error) or f"{name}: JAX cannot trace it: {error}"
            raise ConformanceError(reason) from error


def _check_initial_state(env: Environment) -> None:
    state = source_state(env)
    require((message := wrong_return(env, state)) is None, str(message))
    require(~env.is_terminal(state), "initial_state: s_0 must not be terminal")
    moves, undoing = actions_of(env), backward_actions_of(env)
    allowed, undoable = env.forward_mask(state), env.backward_mask(state)
    require(moves.possible(allowed), "forward_mask: s_0 must allow some action")
    require(
        ~undoing.possible(undoable),
        "backward_mask: must be all False at s_0, which has no parents",
    )
    expected = jax.tree.map(lambda x: (x.shape, x.dtype), state)
    actions = {"step": usual(moves, allowed), "backward_step": usual(undoing, undoable)}
    for name, action in actions.items():
        result = jax.eval_shape(getattr(env, name), state, action)
        require(
            jax.tree.map(lambda x: (x.shape, x.dtype), result) == expected,
            f"{name} must return a state of the same structure, shapes and dtypes as "
            f"initial_state: {expected}, got {result}",
        )
    undos = any_of(undoing, undoable)
    unchanged = each(lambda undo: equal(env.backward_step(state, undo), state))(undos)
    require(unchanged, "backward_step: must return s_0 unchanged, whatever the backward action")


def _walk(env: Environment, key: Array, num_trajectories: int) -> PyTree:
    """States `[T + 1, n, ...]` of uniformly random trajectories."""

    moves = actions_of(env)

    def move(state: PyTree, key: Array) -> PyTree:
        # A terminal state allows nothing: any action must leave it where it is.
        noise = moves.noise(key, ())
        return env.step(state, moves.sample(moves.neutral(), env.forward_mask(state), noise))

    def move_all(states: PyTree, keys: Array) -> tuple[PyTree, PyTree]:
        following = jax.vmap(move)(states, keys)
        return following, following

    def walks(key: Array) -> PyTree:
        start = rollout.tile(source_state(env), num_trajectories)
        if isinstance(env, RandomSource):
            start_key, key = jax.random.split(key)
            start = rollout.draw_sources(env, start_key, num_trajectories)
        keys = jax.random.split(key, (env.max_steps, num_trajectories))
        _, states = lax.scan(move_all, start, keys)
        return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), start, states)

    return jax.device_get(jax.jit(walks)(key))


def _check_termination(env: Environment, states: PyTree) -> None:
    last = jax.tree.map(lambda x: x[-1], states)
    ended = each(env.is_terminal)(last)
    require(
        ended,
        f"max_steps = {env.max_steps}: a random trajectory had not ended after that many steps, "
        f"it was in {first(~ended, last)}",
    )


def _check_masks(env: Environment, states: PyTree) -> None:
    def look(state: PyTree) -> tuple[Array, Array, Array]:
        allowed = actions_of(env).possible(env.forward_mask(state))
        undoable = backward_actions_of(env).possible(env.backward_mask(state))
        return env.is_terminal(state), allowed, undoable | is_source(env, state)

    terminal, allowed, undoable = each(look)(states)
    require(
        allowed != terminal,
        "forward_mask: must be all False exactly on terminal states; it is not in "
        + first(allowed == terminal, states),
    )
    require(
        undoable,
        "backward_mask: every state but s_0 must allow some backward action; none in "
        + first(~undoable, states),
    )


def _check_finite(env: Environment, states: PyTree) -> None:
    for name in REWARDS:
        if hasattr(type(env), name):
            values = each(getattr(env, name))(states)
            require(
                np.isfinite(values),
                f"{name}: must be finite in every state (floor a zero reward); it is not in "
                + first(~np.isfinite(values), states),
            )
    _check_slopes(env, states)
    for leaf in jax.tree.leaves(each(env.observe)(states)):
        require(np.isfinite(leaf), "observe: must be finite in every state")


def _check_slopes(env: Environment, states: PyTree) -> None:
    leaves, rebuild = jax.tree.flatten(env)
    dtype = jax.eval_shape(env.log_reward, jax.tree.map(lambda x: x[0], states)).dtype
    floating = {
        i: jnp.asarray(x) if hasattr(x, "dtype") else jnp.asarray(x, dtype)
        for i, x in enumerate(leaves)
        if jnp.issubdtype(jnp.result_type(x), jnp.floating)
    }

    # Not closed over: XLA would work out at leisure what follows from constants.
    def total(values: dict[int, Array], states: PyTree) -> Array:
        changed = [values.get(i, x) for i, x in enumerate(leaves)]
        return jax.vmap(rebuild.unflatten(changed).log_reward)(states).sum()

    try:
        grads = jax.jit(jax.grad(total))(floating, states)
    except (ValueError, TypeError, NotImplementedError):
        return  # a callback, say: only rewards that are learned need slopes
    for grad in grads.values():
        require(jnp.isfinite(grad), "log_reward: its gradient in a reward parameter is not finite")


def _check_transformations(env: Environment, states: PyTree) -> None:
    def everything(state: PyTree) -> dict[str, PyTree]:
        given = calls(env, state)
        return {name: getattr(env, name)(*arguments) for name, arguments in given.items()}

    def at(tree: PyTree, i: int) -> PyTree:
        return jax.tree.map(lambda x: x[i], tree)

    batched, single = each(everything), jax.jit(everything)
    whole = batched(states)
    for i in range(jax.tree.leaves(states)[0].shape[0]):
        state = jax.tree.map(jnp.asarray, at(states, i))
        one = at(batched(jax.tree.map(lambda x: x[None], state)), 0)
        eager, compiled = jax.device_get((everything(state), single(state)))
        for name in calls(env, state):
            require(agree(eager[name], compiled[name]), f"{name}: jit changes the result")
            require(agree(eager[name], at(whole[name], i)), f"{name}: vmap changes the result")
            require(agree(eager[name], one[name]), f"{name}: a batch of one changes the result")


def _check_canonical(env: Canonical, states: PyTree) -> None:
    def stands_for(state: PyTree) -> dict[str, Array]:
        one = env.canonical(state)
        return {
            "canonical(canonical(s)) must be canonical(s)": equal(env.canonical(one), one),
            "must be terminal where s is": env.is_terminal(one) == env.is_terminal(state),
            "must have the reward of s": equal(env.log_reward(one), env.log_reward(state))
            | ~env.is_terminal(state),
        }

    for promise, kept in each(stands_for)(states).items():
        require(kept, f"canonical: {promise}; broken for {first(~kept, states)}")


def _check_enumeration(env: Any, states: PyTree) -> None:
    whole = isinstance(env.num_states, int | np.integer)
    require(whole, f"num_states must be an int, got {env.num_states!r}")
    indices = np.arange(min(env.num_states, MAX_CHECKED_INDICES), dtype=np.int32)
    if env.num_states > MAX_CHECKED_INDICES:
        rng = np.random.default_rng(0)
        indices = rng.integers(env.num_states, size=MAX_CHECKED_INDICES, dtype=np.int32)
    found = each(lambda i: env.state_index(env.state_at(i)))(indices)
    require(
        found == indices,
        f"state_index(state_at(i)) must be i; broken for i = {first(found != indices, indices)}",
    )

    def visit(state: PyTree) -> tuple[Array, Array]:
        index = env.state_index(state)
        inside = (index >= 0) & (index < env.num_states)
        back = equal(env.state_at(index), state)
        # One index stands for all sources, whatever they hide.
        return inside, back | (isinstance(env, RandomSource) & is_source(env, state))

    inside, back = each(visit)(states)
    require(
        inside,
        f"state_index: must lie in [0, num_states = {env.num_states}); it does not for "
        + first(~inside, states),
    )
    require(back, "state_at(state_index(s)) must be s; it is not for " + first(~back, states))


def _check_sparse_observation(env: Any, states: PyTree) -> None:
    def agrees(state: PyTree) -> Array:
        dense = jax.nn.one_hot(env.active_features(state), env.num_features).sum(axis=0)
        observation = jnp.asarray(env.observe(state))
        if observation.shape != dense.shape:
            return jnp.zeros((), bool)
        return equal(dense, observation.astype(dense.dtype))

    same = each(agrees)(states)
    require(
        same,
        "active_features: must be the indices of the ones of observe; they are not in "
        + first(~same, states),
    )
