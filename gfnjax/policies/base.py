"""A policy is a pair of pure functions; any network library fits."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from gfnjax.envs.base import Environment, State, source_state
from gfnjax.types import Array, PolicyOutput, PyTree


def _environment_view(env: Environment, state: State) -> PyTree:
    return env.observe(state)


Sizes = tuple[tuple[str, int], ...]


def sizes_of(env: Environment, *names: str) -> Sizes:
    """What a network is built for: these numbers of an environment, by name."""
    return tuple((name, int(getattr(env, name))) for name in names)


class StatePolicy(Protocol):
    """What any policy can do: judge a state on its own."""

    def evaluate(self, params: PyTree, env: Environment, state: State) -> PolicyOutput: ...


@dataclass(frozen=True)
class Policy:
    """`init` makes parameters, `apply` maps one observation to logits and a flow.

    Compiled training steps are shared between policies that compare equal, so build one
    `Policy` and keep it rather than making a new one with new lambdas for every run.

    Attributes:
        init: `(key, observation) -> params`.
        apply: `(params, observation) -> PolicyOutput` for one observation.
        observe: `(env, state) -> observation`; `env.observe(state)` by default.
        made_for: numbers of the environment that the network was built for, from `sizes_of`; a
            `GFlowNet` refuses any other environment. Empty where it fits whatever it sees.
    """

    init: Callable[[Array, PyTree], PyTree]
    apply: Callable[[PyTree, PyTree], PolicyOutput]
    observe: Callable[[Any, Any], PyTree] = _environment_view
    made_for: Sizes = ()

    def evaluate(self, params: PyTree, env: Environment, state: State) -> PolicyOutput:
        """The output for one state, in the library's precision whatever the network's is."""
        return in_full_precision(self.apply(params, self.observe(env, state)))


def in_full_precision(output: PolicyOutput) -> PolicyOutput:
    """Log-probabilities are summed and compared: half precision ends at the network."""
    dtype = jnp.result_type(float)
    if not isinstance(output, PolicyOutput):
        raise TypeError(f"policy.apply must return a PolicyOutput, got {type(output).__name__}")
    return jax.tree.map(lambda x: jnp.asarray(x).astype(dtype), output)


def from_flax(
    module: nn.Module,
    observe: Callable[..., PyTree] = _environment_view,
    made_for: Sizes = (),
) -> Policy:
    """A policy from a Linen module whose call maps one observation to a `PolicyOutput`.

    Equal modules give the same policy object, hence share compiled code.
    """
    return _from_flax(module, observe, made_for)


@lru_cache(maxsize=256)
def _from_flax(module: Any, observe: Callable[..., PyTree], made_for: Sizes) -> Policy:
    return Policy(module.init, module.apply, observe, made_for)


@struct.dataclass
class FrozenPolicy:
    """A policy with its parameters, that is not trained: a prior, for instance."""

    policy: StatePolicy = struct.field(pytree_node=False)
    params: PyTree

    def __call__(self, env: Environment, state: State) -> PolicyOutput:
        return self.policy.evaluate(self.params, env, state)


def check_made_for(made_for: Sizes, env: Environment, argument: str = "policy") -> None:
    """Raise a `ValueError` naming the number of `env` that a network was not built for.

    Look-ups are clipped to the table: a network of another size would be silently wrong.
    """
    for name, size in made_for:
        actual = getattr(env, name, None)
        if actual != size:
            raise ValueError(
                f"{argument} was made for an environment with {name} = {size}, but that of this "
                f"{type(env).__name__} is {actual}: make a network for this environment"
            )


def check_output(policy: StatePolicy, params: PyTree, env: Environment) -> None:
    """Raise a `ValueError` naming the output whose shape does not fit the environment."""
    expected = {
        "forward_logits": (env.num_actions,),
        "backward_logits": (env.num_backward_actions,),
        "log_flow": (),
    }
    output = jax.eval_shape(lambda p: policy.evaluate(p, env, source_state(env)), params)
    for name, shape in expected.items():
        actual = getattr(output, name).shape
        if actual != shape:
            raise ValueError(
                f"policy.apply must return {name} of shape {shape} for one observation of "
                f"{type(env).__name__}, got {actual}"
            )
