"""What to ask of `Molecules`: from a reward and a vocabulary, listed where there are few."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax import registry
from gfnjax.chemistry.fragments import fragments
from gfnjax.chemistry.states import MoleculeState
from gfnjax.chemistry.vocabulary import Vocabulary, published_vocabulary, read_vocabulary
from gfnjax.data import absolute
from gfnjax.envs.base import MAX_INDEXED_STATES, source_state
from gfnjax.envs.conditional import preference_conditional, temperature_conditional
from gfnjax.envs.molecules import Molecules, Symmetry
from gfnjax.errors import ArgumentError
from gfnjax.identity import classes
from gfnjax.pytree import pytree
from gfnjax.rewards.properties import property_reward
from gfnjax.rewards.scalarisation import WeightedSum
from gfnjax.rewards.seh import Root, SEHReward, seh_proxy
from gfnjax.types import Array

MAX_ENUMERATED = 200_000


@pytree
class EnumerableMolecules(Molecules):
    """`Molecules` few enough to list.

    Attributes:
        codes: `[N]` int32, a number for each state, in order.
    """

    codes: Array = field(kw_only=True)

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
        ValueError: for sizes that are out of range; if states of one molecule have several
            rewards, which `SEHReward` can tell of itself, while its symmetry is corrected.
        FileNotFoundError: if the published vocabulary is not there and not to be had.
    """
    if symmetry == "reward" and isinstance(reward, SEHReward) and not reward.proxy.canonical:
        problem = "differs between the states of a molecule, over which its reward is shared out"
        remedy = 'use seh_proxy(..., canonical=True), or symmetry="none"'
        raise ArgumentError("reward", problem, remedy)
    words = published_vocabulary() if vocabulary is None else vocabulary
    arrays = jax.tree.map(jnp.asarray, fragments(words))
    env = Molecules(words, arrays, reward, max_blocks, min_blocks, symmetry)
    codes = _all_codes(env)
    if codes is None:
        return env
    return EnumerableMolecules(
        words,
        arrays,
        env.reward,
        env.max_blocks,
        env.min_blocks,
        symmetry,
        codes=jnp.asarray(codes),
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
    blocks, parent, position = (jnp.stack(x).astype(jnp.int32) for x in columns)
    return MoleculeState(blocks, parent, position, code == 1)


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

    return jax.vmap(child)(jnp.asarray(codes), jnp.asarray(actions, jnp.int32))


RewardName = Literal["seh", "qed", "sa", "mw", "logp"]
ConditionName = Literal["temperature", "preferences", "none"]


@registry.environment(
    "molecules",
    summary="molecules of up to 8 fragments that bind to a protein; needs its data files",
    defaults={
        "objective": "tb-flow",
        "backward": "uniform",
        "network": "fragments",
        "fragments": {"width": 64, "num_rounds": 3},
        "steps": 2_000,
        "chunk_size": 100,
        "evaluation_samples": 128,
        "batch_size": 8,
        "learning_rate": 2e-3,
        "epsilon": 0.01,
        "regression": "huber",
    },
    variants={
        "fast": {},
        # Bengio et al. (2106.04399): 1e6 molecules.
        "paper": {
            "objective": "fm",
            "fm": {"epsilon": 2.5e-5, "terminal_weight": 10.0},
            "fragments": {"width": 256, "num_rounds": 10},
            "steps": 250_000,
            "chunk_size": 1_000,
            "batch_size": 4,
            "learning_rate": 5e-4,
            "epsilon": 0.05,
            "regression": "square",
            "molecules": {
                "condition": "none",
                "beta": 10.0,
                "symmetry": "none",
                "root": "trained",
            },
        },
        # What GFlowNets are compared with.
        "mars": {
            "objective": "mars",
            "mars": {"chain_back": 2},
            "batch_size": 16,
            "learning_rate": 1e-3,
            "epsilon": 0.0,
            "molecules": {"condition": "none", "beta": 10.0},
        },
        "ppo": {
            "objective": "ppo",
            "ppo": {"returns": "reward", "entropy_weight": 1e-4},
            "batch_size": 16,
            "learning_rate": 1e-4,
            "num_updates": 4,
            "epsilon": 0.0,
            "regression": "square",
            "molecules": {"condition": "none", "beta": 4.0},
        },
    },
)
@dataclass(frozen=True)
class MoleculesConfig:
    """Molecules of up to 8 fragments that bind to a protein."""

    reward: tuple[RewardName, ...] = ("seh",)
    """what molecules are rewarded for: binding to the protein sEH (on the device), or properties
    that RDKit computes; several with --condition preferences"""
    condition: ConditionName = "temperature"
    """drawn once a trajectory: beta of R^beta, or preferences between rewards"""
    beta: float = 10.0
    """exponent of the reward, unless it is drawn"""
    beta_low: float = 1.0
    """lowest beta that is drawn"""
    beta_high: float = 16.0
    """highest beta that is drawn"""
    concentration: float = 1.5
    """of the preferences, a Dirichlet distribution"""
    max_blocks: int = 8
    """fragments at most"""
    min_blocks: int = 2
    """fragments before stopping"""
    symmetry: Symmetry = "reward"
    """in proportion to the reward, or as often as there are ways to write a molecule down"""
    root: Root = "transposed"
    """of the sEH network, as in most later results, or as it was trained"""
    blocks: str | None = None
    """JSON file of fragments of your own: block_smi and block_r; needs RDKit"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocks", absolute(self.blocks))
        several = len(self.reward) > 1
        if not self.reward or len(set(self.reward)) < len(self.reward):
            raise ArgumentError("reward", f"must name rewards, each once, got {self.reward}")
        if several != (self.condition == "preferences"):
            needed = "preferences" if several else "temperature or none"
            got = f"with {len(self.reward)} of {{reward}}, got {self.condition}"
            raise ArgumentError("condition", f"must be {needed} {got}")
        if self.condition == "temperature" and not self.beta_low < self.beta_high:
            problem = f"must be less than {{beta_high}} = {self.beta_high:g}, got {self.beta_low:g}"
            raise ArgumentError("beta_low", problem)

    def make(self) -> Any:
        words = published_vocabulary() if self.blocks is None else read_vocabulary(self.blocks)
        exponent = self.beta if self.condition == "none" else 1.0
        rewards = [self._reward(name, words, exponent) for name in self.reward]
        env = molecules(
            rewards[0],
            words,
            max_blocks=self.max_blocks,
            min_blocks=self.min_blocks,
            symmetry=self.symmetry,
        )
        if self.condition == "temperature":
            return temperature_conditional(env, self.beta_low, self.beta_high, log_uniform=False)
        if self.condition == "preferences":
            combined = WeightedSum(self.beta)
            return preference_conditional(
                env, *rewards, concentration=self.concentration, reward=combined
            )
        return env

    def _reward(self, name: str, words: Vocabulary, exponent: float) -> Any:
        if name == "seh":
            # What the network reads off a state depends on its stems, not on the molecule alone.
            proxy = seh_proxy(words, self.root, canonical=self.symmetry == "reward")
            return SEHReward(proxy, exponent)
        return property_reward(words, name, exponent)
