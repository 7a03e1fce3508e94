"""Descriptions that differ in numbers alone, as one description with a number for each member."""

from collections.abc import Hashable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from gfnjax.identity import same
from gfnjax.pytree import pytree, static
from gfnjax.types import PyTree

# Arrays that one operation puts together: it is compiled for so many.
AT_ONCE = 64


@pytree
class Stack:
    """One structure, M sets of leaves; those that all members share are there once.

    Attributes:
        shared: leaves by position that are the same for all members, None elsewhere.
        varied: `[M, ...]` leaves by position that are not, None elsewhere.
        structure: of one description.
    """

    shared: list[Any]
    varied: list[Any]
    structure: Any = static()

    @property
    def num_members(self) -> int:
        """M; 1 where nothing varies."""
        leaves = [x for x in self.varied if x is not None]
        return leaves[0].shape[0] if leaves else 1

    def with_own(self, varied: list[Any]) -> PyTree:
        """The description of a member whose own leaves are `varied`, without the first axis."""
        pairs = zip(self.shared, varied, strict=True)
        return self.structure.unflatten([y if x is None else x for x, y in pairs])


def kind_of(tree: PyTree) -> Hashable:
    """What descriptions must agree in to be compiled as one: structure, shapes and dtypes."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, tuple(_form(leaf) for leaf in leaves)


def stack(trees: Sequence[PyTree]) -> Stack:
    """The `Stack` of descriptions of one kind."""
    rows = zip(*(jax.tree.leaves(tree) for tree in trees), strict=True)
    shared, varied = [], []
    for row in rows:
        alike = all(same(row[0], x) for x in row[1:])
        shared.append(row[0] if alike else None)
        varied.append(None if alike else _stacked(row))
    return Stack(shared, varied, jax.tree.structure(trees[0]))


def _form(leaf: Any) -> Hashable:
    if _is_number(leaf):
        return "number"
    return jnp.shape(leaf), str(jnp.result_type(leaf))


def _is_number(leaf: Any) -> bool:
    return isinstance(leaf, int | float) and not isinstance(leaf, bool)


def _stacked(row: Sequence[Any]) -> Any:
    if not _is_number(row[0]):
        return jnp.stack([jnp.asarray(x) for x in row])
    kind = int if all(isinstance(x, int) for x in row) else float
    # One by one, as JAX takes a Python number that stands alone: of no precision of its own.
    alone = [jnp.asarray(kind(x)) for x in row]
    parts = [jnp.stack(alone[i : i + AT_ONCE]) for i in range(0, len(alone), AT_ONCE)]
    return jnp.concatenate(parts)
