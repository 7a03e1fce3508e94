"""Policies with memory: each step of a trajectory costs one token, and scoring it one pass."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gfnjax import registry, rollout, scoring
from gfnjax.envs.base import Environment, State
from gfnjax.policies.backward import BackwardPolicy
from gfnjax.policies.base import Sizes, in_full_precision, sizes_of
from gfnjax.policies.transformer import AttentionSizes, Block, Cache, Heads, check_sizes
from gfnjax.types import Array, PolicyOutput, PyTree, Scores, Trajectory


@dataclass(frozen=True)
class CausalPolicy:
    """A policy that reads the actions taken so far, one after the other.

    For environments whose states have one parent each, such as append-only sequences: there the
    actions say as much as the state. Token 0 stands for s_0, token a + 1 for having taken action
    a. `unroll` must equal a scan of `step`: `unroll(params, tokens)[t]` is the output of step t.

    Attributes:
        init: `(key, tokens [T + 1]) -> params`.
        start: `params -> memory` before the first token.
        step: `(params, memory, token [], t []) -> (memory, PolicyOutput)` of the state after
            token number t.
        unroll: `(params, tokens [T + 1]) -> PolicyOutput [T + 1, ...]` in one pass.
        made_for: as in `Policy`.
    """

    init: Callable[[Array, Array], PyTree]
    start: Callable[[PyTree], PyTree]
    step: Callable[[PyTree, PyTree, Array, Array], tuple[PyTree, PolicyOutput]]
    unroll: Callable[[PyTree, Array], PolicyOutput]
    made_for: Sizes = ()

    def observe(self, env: Environment, state: State) -> Array:
        """The tokens `[T + 1]` of the path to `state`, 0 past its end."""
        return read_history(env, state)[0]

    def evaluate(self, params: PyTree, env: Environment, state: State) -> PolicyOutput:
        """The output for one state on its own: a whole pass, for exact metrics and tests."""
        tokens, length = read_history(env, state)
        return in_full_precision(jax.tree.map(lambda x: x[length], self.unroll(params, tokens)))


def read_history(env: Environment, state: State) -> tuple[Array, Array]:
    """Tokens `[T + 1]` of the only path to `state`, 0 past its end, and its length `[]`."""
    undo = jnp.zeros((), jnp.int32)

    def back(state: State, _: None) -> tuple[State, tuple[Array, Array]]:
        moved = env.backward_mask(state)[0]
        return env.backward_step(state, undo), (env.forward_action(state, undo), moved)

    _, (actions, moved) = jax.lax.scan(back, state, None, length=env.max_steps)
    length = moved.sum(dtype=jnp.int32)
    steps = jnp.arange(1, env.max_steps + 1, dtype=jnp.int32)
    actions = actions[jnp.maximum(length - steps, 0)]
    return history_tokens(actions, length), length


def history_tokens(actions: Array, length: Array) -> Array:
    """Actions `[T]` of a trajectory of some length to tokens `[T + 1]`."""
    live = jnp.arange(actions.size, dtype=jnp.int32) < length
    return jnp.pad(jnp.where(live, actions + 1, 0), (1, 0))


def check_causal(env: Environment) -> None:
    """Raise a `ValueError` if actions alone do not tell the state that they lead to in `env`."""
    if hasattr(type(env), "draw_initial_state"):
        raise ValueError(
            "a CausalPolicy reads actions and never sees a condition: a conditional environment "
            "needs a policy that reads states, such as mlp_policy(env)"
        )
    if env.num_backward_actions != 1:
        raise ValueError(
            "a CausalPolicy needs an environment with one path to each state: its "
            f"num_backward_actions must be 1, got {env.num_backward_actions}"
        )


class CausalTransformer(nn.Module):
    """A pre-norm transformer in which token t sees tokens 0 to t."""

    num_actions: int
    max_steps: int
    width: int
    num_heads: int
    num_layers: int

    def setup(self) -> None:
        dtype = jnp.result_type(float)
        shape = self.max_steps + 1, self.width
        self.embed = nn.Embed(self.num_actions + 1, self.width, dtype=dtype, param_dtype=dtype)
        self.positions = self.param("positions", nn.initializers.normal(0.1), shape, dtype)
        self.blocks = [Block(self.width, self.num_heads) for _ in range(self.num_layers)]
        self.heads = Heads(self.num_actions, 1)

    def __call__(self, tokens: Array) -> PolicyOutput:
        x = self.embed(tokens) + self.positions[: tokens.size]
        mask = jnp.tril(jnp.ones((tokens.size, tokens.size), bool))
        for block in self.blocks:
            x = block(x, mask)
        return self.heads(x)

    def start(self) -> tuple[Cache, ...]:
        empty = jnp.zeros((self.max_steps + 1, self.width), jnp.result_type(float))
        return ((empty, empty),) * self.num_layers

    def extend(
        self, memory: tuple[Cache, ...], token: Array, t: Array
    ) -> tuple[tuple[Cache, ...], PolicyOutput]:
        x = self.embed(token) + self.positions[t]
        caches = []
        for block, cache in zip(self.blocks, memory, strict=True):
            x, cache = block.extend(x, cache, t)
            caches.append(cache)
        return tuple(caches), self.heads(x)


@lru_cache(maxsize=256)
def _from_module(module: Any, made_for: Sizes) -> CausalPolicy:
    # Equal modules give the same functions, hence share compiled code.
    def start(params: PyTree) -> PyTree:
        return module.apply(params, method="start")

    def step(params: PyTree, memory: PyTree, token: Array, t: Array) -> PyTree:
        return module.apply(params, memory, token, t, method="extend")

    def unroll(params: PyTree, tokens: Array) -> PolicyOutput:
        return module.apply(params, tokens)

    return CausalPolicy(module.init, start, step, unroll, made_for)


def causal_transformer_policy(
    env: Environment, width: int = 64, num_heads: int = 8, num_layers: int = 3
) -> CausalPolicy:
    """A causal transformer with a key/value cache, for environments with one path to each state.

    Args:
        env: gives the number of actions and the length of the longest trajectory.
        width: of the embeddings, a multiple of `num_heads`.
        num_heads: of the attention.
        num_layers: at least 1.

    Raises:
        ValueError: if states have several parents or a size is out of range.
    """
    check_causal(env)
    check_sizes(width, num_heads, num_layers)
    sizes = env.num_actions, env.max_steps, width, num_heads, num_layers
    module: Any = CausalTransformer(*sizes)
    return _from_module(module, sizes_of(env, "num_actions", "num_backward_actions", "max_steps"))


def sample_causal(
    env: Environment,
    policy: CausalPolicy,
    params: PyTree,
    behaviour: Callable[[State, PolicyOutput], Array],
    key: Array,
    batch_size: int,
) -> Trajectory:
    """Build `batch_size` objects from s_0, the policy's memory growing by one token a step.

    Args:
        env: an environment with one path to each state.
        policy: the policy.
        params: of the policy.
        behaviour: a state and what the policy says there to `[num_actions]` logits that act.
        key: a typed PRNG key.
        batch_size: number of trajectories B.

    Returns:
        Trajectories `[B, ...]`.
    """
    memory = rollout.tile(policy.start(params), batch_size)
    step = jax.vmap(policy.step, (None, 0, 0, None))

    def act(memory: PyTree, t: Array, state: State, token: Array, live: Array) -> PyTree:
        memory, output = step(params, memory, token, t)
        return memory, jax.vmap(behaviour)(state, in_full_precision(output)), None

    return rollout.rollout(env, act, memory, key, batch_size)[0]


def score_causal(
    env: Environment,
    policy: CausalPolicy,
    backward: BackwardPolicy,
    params: PyTree,
    trajectories: Trajectory,
    *,
    log_z: Array | float = 0.0,
    needs: frozenset[str] = frozenset(),
) -> Scores:
    """`scoring.score` for a causal policy: one pass over each trajectory, padding included.

    Args:
        env: an environment with one path to each state.
        policy: the policy.
        backward: the backward policy.
        params: of the policy; scores are differentiable in them.
        trajectories: `[B, ...]`.
        log_z: `[]` learned log Z, copied into the scores.
        needs: as in `scoring.score`.

    Returns:
        Scores `[B, ...]`.
    """
    tokens = jax.vmap(history_tokens)(trajectories.actions, trajectories.length)
    outputs = in_full_precision(jax.vmap(policy.unroll, (None, 0))(params, tokens))
    read = partial(scoring.read, needs=needs)
    read = jax.vmap(jax.vmap(read, (None, 0, 0)), (None, 0, 0))
    rows = read((env, backward), outputs, scoring.visits(env, trajectories))
    return scoring.assemble(env, trajectories, rows, log_z, needs)


@registry.network("causal")
@dataclass(frozen=True)
class CausalConfig(AttentionSizes):
    """a transformer with a key/value cache, where letters are appended"""

    def make(self, env: Environment) -> CausalPolicy:
        return causal_transformer_policy(env, self.width, self.num_heads, self.num_layers)
