"""Adapter for Flax NNX modules, through `split` and `merge` alone."""

from collections.abc import Callable

from flax import nnx

from gfnjax.errors import ArgumentError
from gfnjax.policies.base import Policy
from gfnjax.types import Array, PolicyOutput, PyTree


def from_nnx(make: Callable[[nnx.Rngs], nnx.Module]) -> Policy:
    """A policy from a function that builds an NNX module.

    Args:
        make: `rngs -> module`; the module maps one observation to a `PolicyOutput`.

    Raises:
        ValueError: if the module carries state other than `nnx.Param` (dropout keys, batch
            statistics): a policy is a function of its parameters alone.
    """
    graph, _, rest = nnx.split(nnx.eval_shape(lambda: make(nnx.Rngs(0))), nnx.Param, ...)
    if nnx.to_flat_state(rest):
        names = [".".join(map(str, path)) for path, _ in nnx.to_flat_state(rest)]
        found = ", ".join(names)
        problem = f"takes modules of nnx.Param only, found {found}"
        raise ArgumentError("make", problem, subject="from_nnx")

    def init(key: Array, observation: PyTree) -> PyTree:
        return nnx.to_pure_dict(nnx.split(make(nnx.Rngs(key)))[1])

    def apply(params: PyTree, observation: PyTree) -> PolicyOutput:
        module = nnx.merge(graph, nnx.State(params))
        return module(observation)

    return Policy(init, apply)
