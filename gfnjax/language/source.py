"""Weights in a file: which tensor is which array, and the one order that arrays have here."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import unflatten_dict

from gfnjax.errors import ArgumentError
from gfnjax.language.architectures import Config
from gfnjax.language.tokenizer import Tokenizer
from gfnjax.types import PyTree


class Place(NamedTuple):
    """Where an array is in a file.

    Attributes:
        tensor: its name there, of a layer without what stands in front.
        transposed: whether the file has a matrix `[out, in]`.
        part: which third of the outputs it is, where queries, keys and values share a tensor.
        permuted: whether the two numbers of a head that are turned together stand side by side in
            the file, and not half a head apart.
    """

    tensor: str
    transposed: bool = False
    part: int | None = None
    permuted: bool = False


class Layout(NamedTuple):
    """The places of the arrays of an architecture in one kind of file.

    Attributes:
        layer: of a layer, by name within it.
        others: of all others.
        prefix: what stands in front of a tensor of layer number `{}`.
    """

    layer: Mapping[str, Place]
    others: Mapping[str, Place]
    prefix: str

    def places(self, config: Config) -> Iterator[tuple[str, Place]]:
        """The name of each array and its place."""
        for name in config.shapes():
            first, _, rest = name.partition(".")
            if first.startswith("layer_"):
                place = self.layer[rest]
                front = self.prefix.format(first.removeprefix("layer_"))
                yield name, place._replace(tensor=front + place.tensor)
            else:
                yield name, self.others[name]


class Source(NamedTuple):
    """A language model in files.

    Attributes:
        path: what to call it in errors.
        config: its sizes.
        layout: where its arrays are.
        tensor: a tensor as float32, by its name in the file; None where there is none.
        tokenizer: None where the files hold none.
    """

    path: Path
    config: Config
    layout: Layout
    tensor: Callable[[str], np.ndarray | None]
    tokenizer: Tokenizer | None


def arrays(source: Source, dtype: jnp.dtype) -> PyTree:
    """All arrays `{"base": {layer: {module: {name: array}}}}`.

    Raises:
        ValueError: naming the tensor that is missing or of another shape.
    """
    shapes = source.config.shapes()
    found = {}
    for name, place in source.layout.places(source.config):
        array = _placed(source, place, shapes[name])
        # In the wanted type at once: in float32 together they may not fit.
        found[("base", *name.split("."))] = jnp.asarray(array.astype(dtype, copy=False))
    return unflatten_dict(found)


def _placed(source: Source, place: Place, shape: tuple[int, ...]) -> np.ndarray:
    array = source.tensor(place.tensor)
    if array is None:
        raise _wrong(source, f"lacks the tensor {place.tensor}")
    if place.transposed:
        array = np.swapaxes(array, 0, -1)
    expected = shape if place.part is None else (*shape[:-1], 3 * shape[-1])
    if array.shape != expected:
        # As the file has it, for whoever looks there.
        there, wanted = (s[::-1] if place.transposed else s for s in (array.shape, expected))
        problem = f"must hold {place.tensor} of shape {wanted}, as its sizes say, got {there}"
        raise _wrong(source, problem)
    if place.part is not None:
        array = np.split(array, 3, axis=-1)[place.part]
    return _halves(array, source.config.head_size) if place.permuted else array


def _wrong(source: Source, problem: str) -> ArgumentError:
    return ArgumentError("path", problem, subject=str(source.path))


def _halves(kernel: np.ndarray, head_size: int) -> np.ndarray:
    """`[in, heads D]`, numbers 2 j and 2 j + 1 of a head moved to j and j + D / 2."""
    pairs = kernel.reshape(len(kernel), -1, head_size // 2, 2)
    return np.swapaxes(pairs, 2, 3).reshape(kernel.shape)
