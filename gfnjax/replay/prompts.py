"""For each prompt the best texts found so far, no two of them alike."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gfnjax import packing
from gfnjax.actions import require_categorical
from gfnjax.arguments import settle
from gfnjax.envs.base import Conditioned, Environment, State, Symmetric, source_state
from gfnjax.envs.tempered import exponent_in_force
from gfnjax.errors import ArgumentError
from gfnjax.replay.edit_distance import edit_distance
from gfnjax.replay.experience import Rebuilds, Recalled
from gfnjax.replay.records import Record, rebuild
from gfnjax.rollout import terminal_states
from gfnjax.types import Array, Trajectory

# Pairs of texts whose distances are computed at a time.
AT_ONCE = 512


def prompt_of(source: State) -> Array:
    """`[]` int32: `source.prompt` where there is one, else 0."""
    return jnp.asarray(getattr(source, "prompt", 0), jnp.int32)


class PromptMemory(NamedTuple):
    """C slots for each of P prompts.

    Attributes:
        actions: `[P, C, T]` int32, as in `Trajectory`; arbitrary after the end.
        length: `[P, C]` int32, as in `Trajectory`; 0 where a slot is empty.
        log_reward: `[P, C]` nats, log R at an exponent of 1.
    """

    actions: Array
    length: Array
    log_reward: Array


class Closeness(NamedTuple):
    """Of a new text to others `[...]`: whether it is the same as each, and whether it is near."""

    same: Array
    near: Array


class Slots(NamedTuple):
    """What is in the slots while new texts are put there one after the other: `[P, C]`.

    Attributes:
        filled: bool.
        log_reward: as in `PromptMemory`.
        holder: int32, the number of the new text that is there, -1 for what was there before.
    """

    filled: Array
    log_reward: Array
    holder: Array


@dataclass(frozen=True)
class PromptReplay:
    """The `capacity` texts of each prompt with the highest log R, no two of them alike.

    As each text comes in, with its log R at an exponent of 1,

    1. one that is stored already is skipped;
    2. one whose edit distance to stored ones is below `distance` times the sum of both lengths
       takes the place of these if its log R is above that of all of them, else it is dropped;
    3. any other one takes an empty slot, else that of the worst, if it is better.

    (Hu et al., 2310.04363; there the first of those in 2 alone is compared and replaced.) Log R
    is stored divided by the exponent in force and multiplied by the one in force on recall, so
    that the temperature of the reward may be a schedule (`gfnjax.tempered`). What is recalled is
    drawn uniformly from the stored texts of a prompt, and built again from its source. For the
    sampler `Groups`; texts are sequences of numbered actions, and where the environment has a
    `stop_action` that is no letter of them.

    Attributes:
        num_prompts: P.
        capacity: C, texts a prompt.
        distance: how near is too near, not negative; 0 keeps all that differ.
        prompt: the number `[]` int32 of the prompt that a state starts from, in [0, P); all that
            a source differs in must follow from it. Of others nothing is kept or recalled.

    Raises:
        ValueError: for numbers out of range.
    """

    num_prompts: int
    capacity: int = 50
    distance: float = 0.25
    prompt: Callable[[State], Array] = prompt_of

    def __post_init__(self) -> None:
        settle(self, num_prompts=1, capacity=1)
        if not self.distance >= 0:
            raise ArgumentError("distance", f"must not be negative, got {self.distance}")

    def check(self, env: Environment) -> None:
        """Raise an `ArgumentError` for an environment whose texts cannot be told apart so."""
        require_categorical(env, "PromptReplay")
        if isinstance(env, Symmetric):
            raise ArgumentError(
                "env",
                f"needs one state for each object, {type(env).__name__} has several",
                subject="PromptReplay",
            )
        known = hasattr(source_state(env), "prompt")
        if isinstance(env, Conditioned) and self.prompt is prompt_of and not known:
            raise ArgumentError(
                "prompt",
                f"must tell the conditions of {type(env).__name__} apart",
                "give a function from its states s_0 to whole numbers",
            )
        prompts = getattr(env, "prompts", None)
        if prompts is not None and self.num_prompts < prompts.length.shape[0]:
            problem = f"must be that of the environment, {prompts.length.shape[0]}, or more"
            raise ArgumentError("num_prompts", f"{problem}, got {self.num_prompts}")

    def start(self, env: Environment) -> PromptMemory:
        """Nothing remembered."""
        shape = self.num_prompts, self.capacity
        return PromptMemory(
            jnp.zeros((*shape, env.max_steps), jnp.int32),
            jnp.zeros(shape, jnp.int32),
            jnp.zeros(shape, jnp.result_type(float)),
        )

    def recall(
        self, model: Rebuilds, params: Any, memory: PromptMemory, key: Array, sources: State
    ) -> Recalled:
        """One text of the prompt of each of `sources` `[n, ...]`, from that source on.

        Of a prompt without texts nothing is `found`, and the trajectory stays where it starts.
        """
        prompts = jax.vmap(self.prompt)(sources)
        known = self._known(prompts)
        prompts = jnp.where(known, prompts, 0)
        filled = (memory.length[prompts] > 0) & known[:, None]
        rank = jnp.cumsum(filled, axis=1, dtype=jnp.int32)
        count = rank[:, -1]
        uniform = jax.random.uniform(key, count.shape, memory.log_reward.dtype)
        # A product may be rounded up to the count.
        chosen = (uniform * count.astype(uniform.dtype)).astype(jnp.int32)
        chosen = jnp.minimum(chosen, count - 1)
        slots = jnp.argmax(rank > chosen[:, None], axis=1).astype(jnp.int32)
        at = prompts, slots
        log_reward = memory.log_reward[at] * exponent_in_force(model.env)
        length = jnp.where(count > 0, memory.length[at], 0)
        records = Record(sources, memory.actions[at], length, log_reward)
        trajectories = rebuild(model.env, records)
        return Recalled(trajectories, prompts * self.capacity + slots, count > 0)

    def seed(
        self, env: Environment, memory: PromptMemory, trajectories: Trajectory
    ) -> PromptMemory:
        """The memory with demonstrations `[n, ...]`, by the same rules as all others."""
        return self.store(env, memory, trajectories, jnp.ones((), bool))

    def store(
        self, env: Environment, memory: PromptMemory, trajectories: Trajectory, keep: Array
    ) -> PromptMemory:
        """The memory with the complete ones of trajectories `[n, ...]`, one after the other.

        `keep` `[]` is False for the memory bit for bit as it was.
        """
        sources = jax.tree.map(lambda x: x[:, 0], trajectories.states)
        prompts = jax.vmap(self.prompt)(sources)
        log_reward = trajectories.log_reward / exponent_in_force(env)
        wanted = jax.vmap(env.is_terminal)(terminal_states(trajectories))
        wanted &= self._known(prompts) & (trajectories.length > 0) & jnp.isfinite(log_reward) & keep
        prompts = jnp.where(wanted, prompts, 0)
        to_old, to_new = self._closeness(env, memory, trajectories, prompts, wanted)
        held = Slots(
            memory.length > 0, memory.log_reward, jnp.full(memory.length.shape, -1, jnp.int32)
        )
        number = jnp.arange(wanted.size, dtype=jnp.int32)
        new = number, prompts, log_reward, wanted, to_old, to_new
        held, slots = lax.scan(_put, held, new)
        # Some have been replaced by later ones; scatters drop what is out of range.
        stays = wanted & (held.holder[prompts, slots] == number)
        at = jnp.where(stays, prompts, self.num_prompts), slots
        length = jnp.where(held.filled, memory.length, 0)
        return PromptMemory(
            memory.actions.at[at].set(trajectories.actions, mode="drop"),
            length.at[at].set(trajectories.length, mode="drop"),
            held.log_reward,
        )

    def _known(self, prompts: Array) -> Array:
        return (prompts >= 0) & (prompts < self.num_prompts)

    def _closeness(
        self, env: Environment, memory: PromptMemory, new: Trajectory, prompts: Array, wanted: Array
    ) -> tuple[Closeness, Closeness]:
        """Of new texts to the stored ones of their prompts `[n, C]`, and to earlier ones `[n, n]`.

        Only texts of one prompt are looked at.
        """
        letters = jax.vmap(partial(num_letters, env))
        new_length, count = letters(new.actions, new.length), self.capacity
        old_length = jax.vmap(letters)(memory.actions, memory.length)

        def compare(row: tuple[Array, Array]) -> Closeness:
            i, k = row
            at, j = (prompts[i], jnp.minimum(k, count - 1)), jnp.maximum(k - count, 0)
            old = k < count
            other = jnp.where(old, memory.actions[at], new.actions[j])
            other_length = jnp.where(old, old_length[at], new_length[j])
            found = edit_distance(new.actions[i], new_length[i], other, other_length)
            limit = self.distance * (new_length[i] + other_length).astype(memory.log_reward.dtype)
            return Closeness(found == 0, found.astype(limit.dtype) < limit)

        number = jnp.arange(wanted.size, dtype=jnp.int32)
        earlier = (number[None] < number[:, None]) & (prompts[None] == prompts[:, None])
        live = jnp.concatenate([memory.length[prompts] > 0, earlier & wanted[None]], axis=1)
        pairs = jnp.meshgrid(number, jnp.arange(live.shape[1], dtype=jnp.int32), indexing="ij")
        rows = jax.tree.map(jnp.ravel, tuple(pairs))
        live &= wanted[:, None]
        found = packing.evaluate_live(compare, rows, live.reshape(-1), AT_ONCE)
        found = jax.tree.map(lambda x: x.reshape(live.shape), found)
        return (
            jax.tree.map(lambda x: x[:, :count], found),
            jax.tree.map(lambda x: x[:, count:], found),
        )


def num_letters(env: Environment, actions: Array, length: Array) -> Array:
    """`[]` int32: how many of the actions `[T]` of a trajectory of some length do not stop it."""
    if not hasattr(type(env), "stop_action"):
        return length
    last = actions[jnp.maximum(length - 1, 0)]
    return length - ((last == env.stop_action) & (length > 0)).astype(jnp.int32)  # pyrefly: ignore


def _put(
    held: Slots, new: tuple[Array, Array, Array, Array, Closeness, Closeness]
) -> tuple[Slots, Array]:
    """The slots once one text has been offered, and the one `[]` that it has, if it has one."""
    number, prompt, log_reward, wanted, to_old, to_new = new
    filled, there, holder = (x[prompt] for x in held)

    def to(old: Array, new: Array) -> Array:
        return filled & jnp.where(holder < 0, old, new[jnp.maximum(holder, 0)])

    same, near = to(to_old.same, to_new.same), to(to_old.near, to_new.near)
    # An empty slot is worse than any.
    there = jnp.where(filled, there, -jnp.inf)
    rivals = jnp.where(near.any(), near, jnp.arange(near.size, dtype=jnp.int32) == there.argmin())
    best = jnp.where(rivals, there, -jnp.inf).max()
    enters = wanted & ~same.any() & (log_reward > best)
    slot = jnp.argmax(rivals).astype(jnp.int32)
    filled = filled & ~(rivals & enters)
    at = jnp.where(enters, prompt, held.filled.shape[0]), slot
    held = Slots(
        held.filled.at[prompt].set(filled).at[at].set(True, mode="drop"),
        held.log_reward.at[at].set(log_reward, mode="drop"),
        held.holder.at[at].set(number, mode="drop"),
    )
    return held, slot
