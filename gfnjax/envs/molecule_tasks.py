"""What to ask of `Molecules`: from a reward and a vocabulary, listed where there are few."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax.chemistry.fragments import fragments
from gfnjax.chemistry.states import MoleculeState
from gfnjax.chemistry.vocabulary import Vocabulary, published_vocabulary
from gfnjax.envs.base import MAX_INDEXED_STATES, source_state
from gfnjax.envs.molecules import Molecules, Symmetry
from gfnjax.identity import classes
from gfnjax.pytree import pytree
from gfnjax.types import Array

MAX_ENUMERATED = 200_000


@pytree
class EnumerableMolecules(Molecules):
    """`Molecules` few enough to list.

    Attributes:
        codes: `[N]` int32, a number for each state, in order.
    """

    codes: Array = ()

    @property
    def num_states(self) -> int:
        return self.codes.shape[0]

    def state_index(self, state: MoleculeState) -> Array:
        return jnp.searchsorted(jnp.asarray(self.codes), _code(self, state)).astype(jnp.int32)

    def state_at(self, index: Array) -> MoleculeState:
        return _decode(self, jnp.asarray(self.codes)[index])


def molecules(
    reward: Callable[[MoleculeState], Array],
    vocabulary: Vocabulary | None = None,
    *,
    max_blocks: int = 8,
    min_blocks: int = 2,
    symmetry: Symmetry = "reward",
) -> Molecules:
    """Molecules of a vocabulary's fragments; `Enumerable` up to 200,000 states.

    Args:
        reward: callable pytree `MoleculeState -> log R`, or a plain function; `SEHReward` and
            `property_reward` are some.
        vocabulary: the 105 published entries by default.
        max_blocks: fragments at most.
        min_blocks: fragments before stopping.
        symmetry: "reward" samples molecules in proportion to R, "none" as often as they have
            states.

    Raises:
        ValueError: for sizes that are out of range.
        FileNotFoundError: if the published vocabulary is not there and not to be had.
    """
    words = published_vocabulary() if vocabulary is None else vocabulary
    arrays = jax.tree.map(jnp.asarray, fragments(words))
    env = Molecules(words, arrays, reward, max_blocks, min_blocks, symmetry)
    codes = _all_codes(env)
    if codes is None:
        return env
    return EnumerableMolecules(
        words, arrays, env.reward, env.max_blocks, env.min_blocks, symmetry, jnp.asarray(codes)
    )


def _bases(env: Molecules) -> list[int]:
    """How many values the digits of a code have: stopped, then one a slot with 0 for empty."""
    per_bond = env.num_entries * env.fragments.num_positions
    return [2, env.num_entries + 1, *(1 + per_bond * slot for slot in range(1, env.max_blocks))]


def _code(env: Molecules, state: MoleculeState) -> Array:
    code = state.stopped.astype(jnp.int32)
    for slot, base in enumerate(_bases(env)[1:]):
        entry = state.blocks[slot]
        bond = state.parent[slot] * env.fragments.num_positions + state.position[slot]
        digit = entry if slot == 0 else bond * env.num_entries + entry
        code = code * base + jnp.where(entry < 0, 0, digit + 1)
    return code


def _decode(env: Molecules, code: Array) -> MoleculeState:
    bases, slots = _bases(env), []
    for slot in reversed(range(env.max_blocks)):
        digit, code = code % bases[slot + 1] - 1, code // bases[slot + 1]
        bond, entry = digit // env.num_entries, digit % env.num_entries
        parent = bond // env.fragments.num_positions if slot else -1
        position = bond % env.fragments.num_positions if slot else -1
        empty = digit < 0
        slots.append([jnp.where(empty, -1, x) for x in (entry, parent, position)])
    columns = zip(*reversed(slots), strict=True)
    return MoleculeState(*(jnp.stack(x).astype(jnp.int32) for x in columns), code == 1)


def _all_codes(env: Molecules) -> np.ndarray | None:
    """The codes of all states in order; None if there are too many."""
    if np.prod(_bases(env), dtype=float) > MAX_INDEXED_STATES:
        return None
    kinds = classes(env)
    code = int(_code(env, source_state(env)))
    levels, frontier = [np.array([code], np.int32)], np.array([code], np.int32)
    while frontier.size:
        masks = np.asarray(_masks(env, frontier, kinds))
        rows, actions = np.nonzero(masks)
        if sum(map(len, levels)) + len(rows) > 4 * MAX_ENUMERATED:
            return None
        frontier = np.unique(np.asarray(_children(env, frontier[rows], actions, kinds)))
        levels.append(frontier)
        if sum(map(len, levels)) > MAX_ENUMERATED:
            return None
    # Molecules that were stopped, or have no stem left, may be found on several levels.
    return np.unique(np.concatenate(levels))


@partial(jax.jit, static_argnums=2)
def _masks(env: Molecules, codes: np.ndarray, kinds: tuple[type, ...]) -> Array:
    return jax.vmap(lambda code: env.forward_mask(_decode(env, code)))(codes)


@partial(jax.jit, static_argnums=3)
def _children(
    env: Molecules, codes: np.ndarray, actions: np.ndarray, kinds: tuple[type, ...]
) -> Array:
    def child(code: Array, action: Array) -> Array:
        return _code(env, env.step(_decode(env, code), action))

    return jax.vmap(child)(codes, actions.astype(jnp.int32))
