"""Networks for molecules of fragments: messages between blocks, then a head for every stem.

No slot has a name, and of the atoms of a fragment only those are told apart that no automorphism
exchanges: what they say of a rooted molecule with given stems does not depend on its state.
"""

from dataclasses import dataclass
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from gfnjax import registry
from gfnjax.arguments import whole
from gfnjax.envs.base import State
from gfnjax.envs.conditional import Conditional
from gfnjax.envs.molecules import Molecules, MoleculeView
from gfnjax.errors import ArgumentError, require
from gfnjax.policies.base import Policy, from_flax, sizes_of
from gfnjax.policies.transformer import AttentionSizes, Block, check_sizes
from gfnjax.types import Array, PolicyOutput


class FragmentNetwork(nn.Module):
    """A molecule and the encoded condition -> logits of each stem with each entry, of stopping.

    Blocks start from their fragment; `Messages` or `GraphAttention` let them know the others. A
    position knows its block, its atom, and what is bonded where on the same block; stems are read
    out by it. Backward logits are read off blocks, stop and flow off their mean.

    Attributes:
        num_kinds: fragments.
        num_orbits: atoms that are told apart.
        num_pairs: pairs of them that are told apart.
        num_entries: of the vocabulary.
        trunk: what blocks learn of each other by, called with blocks, bonds and view.
        width: of the embeddings.
    """

    num_kinds: int
    num_orbits: int
    num_pairs: int
    num_entries: int
    trunk: nn.Module
    width: int

    @nn.compact
    def __call__(self, observation: tuple[MoleculeView, Array]) -> PolicyOutput:
        view, condition = observation
        there = (view.kind >= 0)[:, None]
        overall = self._embed(view.kind.size + 1, "size")(there.sum(dtype=jnp.int32))
        if condition.size > 0:
            overall = overall + self._dense(self.width, "condition")(condition)
        blocks = self._embed(self.num_kinds, "kind")(view.kind) + overall[None]
        root = self.param("root", nn.initializers.normal(0.1), (self.width,), blocks.dtype)
        blocks = jnp.where(there, blocks.at[0].add(root), 0.0)
        bonds = self._embed(self.num_orbits, "orbit")(view.orbit)
        bonds = bonds + self._embed(self.num_orbits, "other_orbit")(view.other_orbit)
        blocks = self.trunk(blocks, bonds, view)
        positions = self._positions(blocks, view)
        bonded = (view.neighbour >= 0)[..., None]
        blocks = blocks + jnp.where(bonded, nn.relu(positions), 0.0).sum(axis=1)
        blocks = jnp.where(there, blocks, 0.0)
        mean = blocks.sum(axis=0) / jnp.maximum(there.sum(), 1).astype(blocks.dtype)
        summary = nn.relu(self._dense(self.width, "summary")(mean) + overall)
        stop, resume, log_flow = self._small(3, "heads")(summary)
        remove = self._small(1, "remove")(nn.relu(self._dense(self.width, "removed")(blocks)))
        return PolicyOutput(
            jnp.append(self._stems(positions, summary, view), stop),
            jnp.append(remove[:, 0], resume),
            log_flow,
        )

    def _positions(self, blocks: Array, view: MoleculeView) -> Array:
        """`[B, L, width]` each position, with what is bonded to the same block and where."""
        hears = self._dense(self.width, "neighbour")(blocks)[view.neighbour]
        hears = hears + self._embed(self.num_orbits, "bonded_orbit")(view.other_orbit)
        hears = jnp.where((view.neighbour >= 0)[..., None], hears, 0.0)
        lies = self._embed(self.num_pairs, "pair")(view.pair)
        around = (lies * hears[:, None]).sum(axis=2)
        own = self._dense(self.width, "block")(blocks)[:, None]
        return own + self._embed(self.num_orbits, "own_orbit")(view.orbit) + around

    def _stems(self, positions: Array, summary: Array, view: MoleculeView) -> Array:
        """`[M V]` logits; of the empty molecule the first row chooses the root."""
        stems = positions[view.stem_slot, view.stem_position]
        stems = jnp.where((view.stem_slot >= 0)[:, None], stems, 0.0)
        hidden = nn.relu(stems + self._dense(self.width, "choice")(summary)[None])
        hidden = nn.relu(self._dense(self.width, "stem")(hidden))
        return self._small(self.num_entries, "entries")(hidden).reshape(-1)

    def _embed(self, size: int, name: str) -> "Table":
        return Table(size, self.width, name=name)

    def _dense(self, width: int, name: str) -> nn.Dense:
        dtype = jnp.result_type(float)
        return nn.Dense(width, dtype=dtype, param_dtype=dtype, name=name)

    def _small(self, width: int, name: str) -> nn.Dense:
        """A head that starts near zero: training starts from near-uniform policies."""
        dtype = jnp.result_type(float)
        small = nn.initializers.variance_scaling(1e-4, "fan_in", "truncated_normal")
        return nn.Dense(width, dtype=dtype, param_dtype=dtype, kernel_init=small, name=name)


class Table(nn.Module):
    """Numbers to vectors; -1 to zero."""

    size: int
    width: int

    @nn.compact
    def __call__(self, number: Array) -> Array:
        dtype = jnp.result_type(float)
        shape = self.size, self.width
        table = self.param("embedding", nn.initializers.normal(self.width**-0.5), shape, dtype)
        return jnp.where((number >= 0)[..., None], table[number], 0.0)


class Messages(nn.Module):
    """Rounds of messages along the bonds, which a gated recurrent unit takes in."""

    width: int
    num_rounds: int

    @nn.compact
    def __call__(self, blocks: Array, bonds: Array, view: MoleculeView) -> Array:
        hear = Hear(self.width, name="hear")
        dtype = blocks.dtype
        update = nn.GRUCell(self.width, dtype=dtype, param_dtype=dtype, name="update")
        there = (view.kind >= 0)[:, None]
        for _ in range(self.num_rounds):
            moved, _ = update(blocks, hear(blocks, bonds, view))
            blocks = jnp.where(there, moved, 0.0)
        return blocks


class GraphAttention(nn.Module):
    """Layers in which blocks hear their neighbours, then attend to all blocks."""

    width: int
    num_heads: int
    num_layers: int

    @nn.compact
    def __call__(self, blocks: Array, bonds: Array, view: MoleculeView) -> Array:
        there = view.kind >= 0
        mask = jnp.broadcast_to(there[None], (there.size, there.size))
        # An empty molecule has nothing to attend to.
        mask = mask | jnp.eye(there.size, dtype=bool)
        for _ in range(self.num_layers):
            blocks = blocks + Hear(self.width)(blocks, bonds, view)
            blocks = Block(self.width, self.num_heads)(blocks, mask)
        dtype = blocks.dtype
        blocks = nn.LayerNorm(dtype=dtype, param_dtype=dtype)(blocks)
        return jnp.where(there[:, None], blocks, 0.0)


class Hear(nn.Module):
    """`[B, width]` what blocks hear from their neighbours: sum over bonds of relu(A h + bond)."""

    width: int

    @nn.compact
    def __call__(self, blocks: Array, bonds: Array, view: MoleculeView) -> Array:
        dtype = blocks.dtype
        said = nn.Dense(self.width, dtype=dtype, param_dtype=dtype)(blocks)
        heard = nn.relu(said[view.neighbour] + bonds)
        return jnp.where((view.neighbour >= 0)[..., None], heard, 0.0).sum(axis=1)


def molecule_view(env: Any, state: State) -> tuple[MoleculeView, Array]:
    """The graph of a molecule, and the encoded condition where there is one."""
    if isinstance(env, Conditional):
        return env.rules.view(state.inner), env.conditions.encode(state.condition)
    return env.view(state), jnp.zeros(0, jnp.result_type(float))


def fragment_policy(
    env: Any,
    width: int = 64,
    num_rounds: int = 4,
    *,
    trunk: Literal["messages", "attention"] = "messages",
    num_heads: int = 4,
) -> Policy:
    """A network for `Molecules`, conditional or tempered ones too.

    Args:
        env: the environment.
        width: of the embeddings; with attention a multiple of `num_heads`.
        num_rounds: of messages, or layers of attention.
        trunk: "messages" with a gated recurrent unit, or "attention".
        num_heads: of the attention.

    Raises:
        TypeError: if `env` is none of molecules.
        ValueError: if a size is out of range.
    """
    rules = rules_of(env)
    check_sizes(width, num_heads if trunk == "attention" else 1, num_rounds)
    require(trunk in ("messages", "attention"), "trunk", "must be messages or attention", trunk)
    fragments = rules.fragments
    inner: nn.Module = Messages(width, num_rounds)
    if trunk == "attention":
        inner = GraphAttention(width, num_heads, num_rounds)
    module = FragmentNetwork(
        num_kinds=fragments.entries.shape[0],
        num_orbits=int(np.max(fragments.orbits)) + 1,
        num_pairs=int(np.max(fragments.pairs)) + 1,
        num_entries=rules.num_entries,
        trunk=inner,
        width=width,
    )
    made_for = sizes_of(env, "num_actions", "num_backward_actions")
    return from_flax(module, molecule_view, made_for)


def rules_of(env: Any) -> Molecules:
    """The `Molecules` under a condition or an exponent.

    Raises:
        TypeError: if there are none.
    """
    inner = env.rules if isinstance(env, Conditional) else env
    inner = getattr(inner, "env", inner)
    if not isinstance(inner, Molecules):
        raise ArgumentError("env", f"needs Molecules, got {type(inner).__name__}")
    return inner


@registry.network("fragments")
@dataclass(frozen=True)
class FragmentConfig:
    """messages between the blocks of a molecule"""

    width: int = 64
    """of the embeddings"""
    num_rounds: int = 4
    """of messages"""

    def __post_init__(self) -> None:
        for name in ("width", "num_rounds"):
            object.__setattr__(self, name, whole(name, getattr(self, name), 1))

    def make(self, env: Any) -> Policy:
        return fragment_policy(env, self.width, self.num_rounds)


@registry.network("fragment-attention")
@dataclass(frozen=True)
class FragmentAttentionConfig(AttentionSizes):
    """messages and attention between the blocks of a molecule"""

    def make(self, env: Any) -> Policy:
        return fragment_policy(
            env, self.width, self.num_layers, trunk="attention", num_heads=self.num_heads
        )
