"""Frozen dataclasses as pytrees: checked where a user constructs one, not where JAX rebuilds it."""

import dataclasses
from typing import Any, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp

from gfnjax.numbers import numbers_of, with_numbers, without_numbers

__all__ = ["pytree", "static"]

T = TypeVar("T")


def static(**options: Any) -> Any:
    """A field that is part of the structure, hashable, instead of a child."""
    # As Flax has it: a subclass may be a `flax.struct.dataclass`.
    return dataclasses.field(metadata={"pytree_node": False}, **options)


def split(**options: Any) -> Any:
    """A field for a frozen dataclass: its numbers are children, the rest is part of the structure.

    What JAX rebuilds has the numbers in their places, whatever they are by then.
    """
    return dataclasses.field(metadata={"split": True}, **options)


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field, static, split))
def pytree(cls: type[T]) -> type[T]:
    """A frozen dataclass, registered with JAX, with a method `replace`.

    `__post_init__` runs for the constructor and `replace` alone. JAX rebuilds trees with tracers,
    shapes, axes and placeholders for leaves, which no check could make sense of.
    """
    cls = dataclasses.dataclass(frozen=True, eq=False)(cls)
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    kinds = {f.name: _kind(f) for f in fields}
    fixed, parted, children = (
        tuple(name for name, kind in kinds.items() if kind == wanted)
        for wanted in ("static", "split", "child")
    )
    held = children + parted

    def flatten(node: Any) -> tuple[tuple, tuple]:
        aux = [getattr(node, name) for name in fixed]
        aux += [without_numbers(getattr(node, name)) for name in parted]
        below = [getattr(node, name) for name in children]
        return (*below, *(numbers_of(getattr(node, name)) for name in parted)), tuple(aux)

    def flatten_with_keys(node: Any) -> tuple[tuple, tuple]:
        below, aux = flatten(node)
        keys = map(jax.tree_util.GetAttrKey, held)
        return tuple(zip(keys, below, strict=True)), aux

    def unflatten(aux: tuple, below: Any) -> Any:
        below = tuple(below)
        values = dict(zip(fixed + parted, aux, strict=True))
        values |= zip(children, below[: len(children)], strict=True)
        for name, numbers in zip(parted, below[len(children) :], strict=True):
            values[name] = with_numbers(values[name], numbers)
        return unchecked(cls, **values)

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    cls.replace = dataclasses.replace  # type: ignore[attr-defined]  # pyrefly: ignore
    return cls


def as_node(function: Any) -> Any:
    """A function, compiled or partial, as a pytree without leaves; a pytree as it is.

    As a leaf, no transformation would accept it.
    """
    if callable(function) and jax.tree_util.all_leaves([function]):
        return jax.tree_util.Partial(function)
    return function


def moving_average(new: Any, average: Any, rate: Any) -> Any:
    """`average` once it has moved by the share `rate` towards `new`, in its own precision."""

    def move(new: jax.Array, average: jax.Array) -> jax.Array:
        share = jnp.asarray(rate, average.dtype)
        return share * new + (1 - share) * average

    return jax.tree.map(move, new, average)


def _kind(field: dataclasses.Field) -> str:
    if not field.metadata.get("pytree_node", True):
        return "static"
    return "split" if field.metadata.get("split") else "child"


def unchecked(cls: type[T], **fields: Any) -> T:
    """An instance that holds just these fields; nothing is checked, no default is filled in."""
    node = object.__new__(cls)
    for name, value in fields.items():
        object.__setattr__(node, name, value)
    return node
