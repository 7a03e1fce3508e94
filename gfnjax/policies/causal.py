"""Policies with memory: each step of a trajectory costs one token, and scoring it one pass."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gfnjax import groups, packing, registry, rollout, scoring
from gfnjax.actions import require_categorical
from gfnjax.envs.base import Conditioned, Environment, State, source_state
from gfnjax.envs.conditional import Conditional
from gfnjax.errors import ArgumentError
from gfnjax.identity import Comparable
from gfnjax.policies.base import (
    Sizes,
    environment_view,
    in_full_precision,
    rollout_of_states,
    sizes_of,
    with_frozen,
)
from gfnjax.policies.histories import Contexts, history_tokens, read_history
from gfnjax.policies.transformer import AttentionSizes, Block, Cache, Heads, check_sizes
from gfnjax.pytree import pytree, static
from gfnjax.scoring import BackwardPolicy, Reading, VisitScores
from gfnjax.shapes import check_trajectories
from gfnjax.types import Array, PolicyOutput, PyTree, Scores, Trajectory


@pytree
class CausalPolicy(Comparable):
    """A policy that reads the actions taken so far, one after the other.

    For environments whose states have one parent each, such as append-only sequences: there the
    source and the actions say as much as the state. Token 0 stands for s_0, token a + 1 for having
    taken action a. `unroll` must equal a scan of `step`: `unroll(params, observation, tokens)[t]`
    is the output of step t.

    Attributes:
        init: `(key, (observation, tokens [T + 1])) -> params`.
        start: `(params, observation) -> memory` before the first token; the context instead of the
            observation where there is a `prefill`.
        step: `(params, memory, token [], t []) -> (memory, PolicyOutput)` of the state after
            token number t.
        unroll: `(params, observation, tokens [T + 1]) -> PolicyOutput [T + 1, ...]` in one pass; of
            the context, and features, as `start` and `step`.
        look: `(env, source) -> observation`, what the policy sees of the state a trajectory
            starts in: its condition or prompt; `env.observe(source)` by default.
        made_for: as in `Policy`.
        frozen: as in `Policy`; functions then get `Parts(trained, frozen)` for `params`.
        prefill: `(params, observation) -> context`: what reading a prompt comes to, once for all
            trajectories of a batch that start from the same one.
        head: `(params, features) -> PolicyOutput` of one state, where `step` and `unroll` return
            features instead: scoring then looks at live states only, a few at a time, and no array
            of all states and actions exists. It may look at what `params` hold besides.
    """

    init: Callable[[Array, tuple[PyTree, Array]], PyTree] = static()
    start: Callable[[PyTree, PyTree], PyTree] = static()
    step: Callable[[PyTree, PyTree, Array, Array], tuple[PyTree, PolicyOutput]] = static()
    unroll: Callable[[PyTree, PyTree, Array], PolicyOutput] = static()
    look: Callable[[Any, Any], PyTree] = static(default=environment_view)
    made_for: Sizes = static(default=())
    frozen: PyTree = None
    prefill: Callable[[PyTree, PyTree], PyTree] | None = static(default=None)
    head: Callable[[PyTree, PyTree], PolicyOutput] | None = static(default=None)

    @property
    def num_members(self) -> int | None:
        return None

    @property
    def from_any_state(self) -> bool:
        return False  # `score` reads trajectories from their start

    def check(self, env: Environment) -> None:
        check_causal(env)
        if isinstance(env, Conditioned) and not _size(lambda: self.look(env, source_state(env))):
            raise ArgumentError(
                "policy",
                "that sees nothing of where a trajectory starts is none for a conditional "
                "environment",
                "make it for this one, or give it a `look`",
                subject="a CausalPolicy",
            )

    def observe(self, env: Environment, state: State) -> tuple[PyTree, Array]:
        """What is seen of the source, and the tokens `[T + 1]` of the path, 0 past its end."""
        history = read_history(env, state)
        return self.look(env, history.source), history.tokens

    def evaluate(self, params: PyTree, env: Environment, state: State) -> PolicyOutput:
        """The output for one state on its own: a whole pass, for exact metrics and tests."""
        history = read_history(env, state)
        held = with_frozen(params, self.frozen)
        source = history.source if isinstance(env, Conditioned) else source_state(env)
        context = self._context(held, env, source)
        outputs = self.unroll(held, context, history.tokens)
        return self._output(held, jax.tree.map(lambda x: x[history.length], outputs))

    def rollout(
        self,
        params: PyTree,
        env: Environment,
        key: Array,
        num_samples: int,
        act: Callable[[State, PolicyOutput], PyTree] | None = None,
        window: rollout.Window | None = None,
        reading: Reading | None = None,
        sources: State | None = None,
    ) -> tuple[Trajectory, VisitScores | None]:
        """The policy's memory grows by one token a step; nothing is recorded.

        In a window each state is read on its own, from the path that leads to it.
        """
        if window is not None:
            given = params, env, key, num_samples, act, window, reading
            return rollout_of_states(self, *given)
        held = with_frozen(params, self.frozen)
        step = jax.vmap(self.step, (None, 0, 0, None))
        key, _ = jax.random.split(key)  # as in `rollout_of_states`

        def start(sources: State) -> PyTree:
            contexts = self._contexts(params, env, sources)
            return contexts.each(lambda _, context: self.start(held, context), sources)

        def act_all(
            memory: PyTree, t: Array, turns: rollout.Turn, live: Array, finish: rollout.Finish
        ) -> Any:
            token = jnp.where(t == 0, 0, turns.arrival.action + 1)
            memory, features = step(held, memory, token, t)
            output = jax.vmap(partial(self._output, held))(features)
            params = output.forward_logits if act is None else jax.vmap(act)(turns.state, output)
            return memory, jax.vmap(finish)(turns, rollout.Decision(params))

        return rollout.rollout(env, act_all, start, key, num_samples, sources=sources)[0], None

    def score(
        self,
        params: PyTree,
        env: Environment,
        backward: BackwardPolicy,
        trajectories: Trajectory,
        **options: Any,
    ) -> Scores:
        """One pass over each trajectory, padding included; its head on live states only."""
        check_trajectories(trajectories)
        held = with_frozen(params, self.frozen)
        sources = jax.tree.map(lambda x: x[:, 0], trajectories.states)
        tokens = jax.vmap(history_tokens)(trajectories.actions, trajectories.length)
        contexts = self._contexts(params, env, sources)
        said = contexts.each(lambda row, context: self.unroll(held, context, row), tokens)
        log_z, needs = options.get("log_z", 0.0), options.get("needs", frozenset())
        if self.head is not None:
            size = options.get("chunk_size")
            rows = self._read_live(params, env, backward, trajectories, said, needs, size)
        else:
            read = partial(scoring.read, Reading(env, backward, needs))
            outputs = in_full_precision(said)
            rows = jax.vmap(jax.vmap(read))(outputs, scoring.visits(env, trajectories))
        return scoring.assemble(env, backward, trajectories, rows, log_z, needs)

    def _output(self, held: PyTree, said: PyTree) -> PolicyOutput:
        """The output for one state, of whatever `step` or `unroll` says of it."""
        return in_full_precision(said if self.head is None else self.head(held, said))

    def _context(self, held: PyTree, env: Environment, source: State) -> PyTree:
        seen = self.look(env, source)
        return seen if self.prefill is None else self.prefill(held, seen)

    def _contexts(self, params: PyTree, env: Environment, sources: State) -> Contexts:
        """Of each of the sources `[B, ...]`; differentiable in `params`."""
        held = with_frozen(params, self.frozen)
        if self.prefill is None:
            return Contexts(jax.vmap(partial(self._context, held, env))(sources), 0)
        if not isinstance(env, Conditioned):
            return Contexts(self._context(held, env, source_state(env)), None)

        def read(params: PyTree, context: tuple[Any, Environment], source: State) -> PyTree:
            policy, env = context
            return policy._context(with_frozen(params, policy.frozen), env, source)

        leader = groups.leaders(sources)
        first = groups.lead(leader)
        given = params, (self, env), sources, first, groups.AT_ONCE
        found = packing.map_live(read, *given)
        return Contexts(jax.tree.map(lambda x: x[leader], found), 0)

    def _read_live(
        self,
        params: PyTree,
        env: Environment,
        backward: BackwardPolicy,
        trajectories: Trajectory,
        features: PyTree,
        needs: frozenset[str],
        chunk_size: int | None,
    ) -> VisitScores:
        """`[B, T + 1, ...]` what is read off the head's output in live states."""
        batch_size, num_visits = trajectories.actions.shape
        num_visits += 1
        steps = jnp.arange(num_visits, dtype=jnp.int32)[None]
        live = steps < trajectories.length[:, None]
        live |= (steps == trajectories.length[:, None]) & Reading(env, backward, needs).ends

        def fold(tree: PyTree) -> PyTree:
            return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), tree)

        def one(params: PyTree, context: PyTree, row: tuple[Any, PyTree]) -> VisitScores:
            policy, env, backward = context
            visit, said = row
            output = policy._output(with_frozen(params, policy.frozen), said)
            return scoring.read(Reading(env, backward, needs), output, visit)

        rows = fold(scoring.visits(env, trajectories))
        size = live.size if chunk_size is None else chunk_size
        given = params, (self, env, backward), rows, fold(live), size
        found = packing.map_live(one, *given, features=fold(features))
        return jax.tree.map(lambda x: x.reshape(batch_size, num_visits, *x.shape[1:]), found)


def check_causal(env: Environment) -> None:
    """Raise a `ValueError` if source and actions do not tell the state they lead to in `env`."""
    require_categorical(env, "a CausalPolicy")
    if env.num_backward_actions != 1:
        raise ArgumentError(
            "env",
            "needs an environment with one path to each state: its num_backward_actions must be "
            f"1, got {env.num_backward_actions}",
            subject="a CausalPolicy",
        )


class CausalTransformer(nn.Module):
    """A pre-norm transformer in which token t sees tokens 0 to t, and all see the prompt.

    The prompt `[k]` is a linear part of the embedding of token 0, which stands for s_0; empty for
    none.
    """

    num_actions: int
    max_steps: int
    width: int
    num_heads: int
    num_layers: int
    prompt_size: int = 0

    def setup(self) -> None:
        dtype = jnp.result_type(float)
        shape = self.max_steps + 1, self.width
        self.embed = nn.Embed(self.num_actions + 1, self.width, dtype=dtype, param_dtype=dtype)
        self.positions = self.param("positions", nn.initializers.normal(0.1), shape, dtype)
        self.blocks = [Block(self.width, self.num_heads) for _ in range(self.num_layers)]
        self.heads = Heads(self.num_actions, 1)
        if self.prompt_size:
            self.prompt = nn.Dense(self.width, dtype=dtype, param_dtype=dtype)

    def __call__(self, prompt: Array, tokens: Array) -> PolicyOutput:
        x = self.embed(tokens) + self.positions[: tokens.size]
        if self.prompt_size:
            x = x.at[0].add(self.prompt(prompt))
        mask = jnp.tril(jnp.ones((tokens.size, tokens.size), bool))
        for block in self.blocks:
            x = block(x, mask)
        return self.heads(x)

    def start(self, prompt: Array) -> tuple[Array, tuple[Cache, ...]]:
        empty = jnp.zeros((self.max_steps + 1, self.width), jnp.result_type(float))
        seen = self.prompt(prompt) if self.prompt_size else jnp.zeros((), empty.dtype)
        return seen, ((empty, empty),) * self.num_layers

    def extend(
        self, memory: tuple[Array, tuple[Cache, ...]], token: Array, t: Array
    ) -> tuple[tuple[Array, tuple[Cache, ...]], PolicyOutput]:
        seen, held = memory
        x = self.embed(token) + self.positions[t]
        if self.prompt_size:
            x = x + jnp.where(t == 0, seen, 0.0)
        caches = []
        for block, cache in zip(self.blocks, held, strict=True):
            x, cache = block.extend(x, cache, t)
            caches.append(cache)
        return (seen, tuple(caches)), self.heads(x)


@lru_cache(maxsize=256)
def _from_module(module: Any, look: Callable[[Any, Any], PyTree], made_for: Sizes) -> CausalPolicy:
    # Equal modules give the same functions, hence share compiled code.
    def init(key: Array, seen: tuple[Array, Array]) -> PyTree:
        return module.init(key, *seen)

    def start(params: PyTree, prompt: Array) -> PyTree:
        return module.apply(params, prompt, method="start")

    def step(params: PyTree, memory: PyTree, token: Array, t: Array) -> PyTree:
        return module.apply(params, memory, token, t, method="extend")

    return CausalPolicy(init, start, step, module.apply, look, made_for)


def _size(look: Callable[[], PyTree]) -> int:
    """How many numbers there are in what `look` returns."""
    return sum(x.size for x in jax.tree.leaves(jax.eval_shape(look)))


def _nothing(env: Environment, source: State) -> Array:
    return jnp.zeros(0, jnp.result_type(float))


def _condition(env: Conditional, source: Any) -> Array:
    return env.conditions.encode(source.condition)


def _whole_source(env: Environment, source: State) -> Array:
    seen = [
        jnp.ravel(x).astype(jnp.result_type(float)) for x in jax.tree.leaves(env.observe(source))
    ]
    return jnp.concatenate(seen)


def causal_transformer_policy(
    env: Environment, width: int = 64, num_heads: int = 8, num_layers: int = 3
) -> CausalPolicy:
    """A causal transformer with a key/value cache, for environments with one path to each state.

    Where trajectories have conditions, it sees them from the first token on.

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
    if isinstance(env, Conditional):
        look: Callable[[Any, Any], Array] = _condition
    else:
        look = _whole_source if isinstance(env, Conditioned) else _nothing
    prompt_size = _size(lambda: look(env, source_state(env)))
    sizes = env.num_actions, env.max_steps, width, num_heads, num_layers
    module: Any = CausalTransformer(*sizes, prompt_size)
    made_for = sizes_of(env, "num_actions", "num_backward_actions", "max_steps")
    return _from_module(module, look, made_for)


@registry.network("causal")
@dataclass(frozen=True)
class CausalConfig(AttentionSizes):
    """a transformer with a key/value cache, where letters are appended"""

    def make(self, env: Environment) -> CausalPolicy:
        return causal_transformer_policy(env, self.width, self.num_heads, self.num_layers)
