"""Frozen dataclasses as pytrees: checked where a user constructs one, not where JAX rebuilds it."""

import dataclasses
from typing import Any, TypeVar, dataclass_transform

import jax

T = TypeVar("T")


def static(**options: Any) -> Any:
    """A field that is part of the structure, hashable, instead of a child."""
    # As Flax has it: a subclass may be a `flax.struct.dataclass`.
    return dataclasses.field(metadata={"pytree_node": False}, **options)


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field, static))
def pytree(cls: type[T]) -> type[T]:
    """A frozen dataclass, registered with JAX, with a method `replace`.

    `__post_init__` runs for the constructor and `replace` alone. JAX rebuilds trees with tracers,
    shapes, axes and placeholders for leaves, which no check could make sense of.
    """
    cls = dataclasses.dataclass(frozen=True, eq=False)(cls)
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    fixed = tuple(f.name for f in fields if not f.metadata.get("pytree_node", True))
    children = tuple(f.name for f in fields if f.metadata.get("pytree_node", True))

    def flatten(node: Any) -> tuple[tuple, tuple]:
        held = tuple(getattr(node, name) for name in children)
        return held, tuple(getattr(node, name) for name in fixed)

    def flatten_with_keys(node: Any) -> tuple[tuple, tuple]:
        held, aux = flatten(node)
        keys = map(jax.tree_util.GetAttrKey, children)
        return tuple(zip(keys, held, strict=True)), aux

    def unflatten(aux: tuple, held: Any) -> Any:
        return unchecked(cls, **dict(zip(fixed + children, (*aux, *held), strict=True)))

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


def unchecked(cls: type[T], **fields: Any) -> T:
    """An instance that holds just these fields; nothing is checked, no default is filled in."""
    node = object.__new__(cls)
    for name, value in fields.items():
        object.__setattr__(node, name, value)
    return node
