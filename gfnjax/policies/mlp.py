"""Multilayer perceptron: one trunk, three heads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from gfnjax import registry
from gfnjax.actions import (
    Actions,
    Categorical,
    actions_of,
    backward_actions_of,
    require_categorical,
)
from gfnjax.arguments import whole
from gfnjax.envs.base import Environment, SparselyObserved, State, source_state
from gfnjax.errors import ArgumentError
from gfnjax.policies.base import Policy, from_flax, sizes_of
from gfnjax.tuning import tuning
from gfnjax.types import Array, PolicyOutput, PyTree

# Features for each that is on, below which a product with all of them is faster than look-ups.
FEW = 10
# Up to here as many look-ups in turn; a program of any more of them takes long to compile.
SPARSE = 16
ACTIVATIONS = {"relu": nn.relu, "leaky_relu": nn.leaky_relu, "gelu": nn.gelu, "tanh": nn.tanh}


class MLP(nn.Module):
    """Shared trunk with heads for forward logits, backward logits and log flow.

    The input is a pytree of arrays, flattened and concatenated; with `num_features` set it is
    a binary vector of that length or the indices of its ones, and the first layer is then a table
    look-up instead of a matrix product.
    """

    num_actions: int
    num_backward_actions: int
    hidden_sizes: tuple[int, ...] = (256, 256)
    activation: str = "gelu"
    num_features: int | None = None
    head_variance: float = 1e-4

    @nn.compact
    def __call__(self, observation: Array) -> PolicyOutput:
        dtype = jnp.result_type(float)
        activate = ACTIVATIONS[self.activation]
        x = _flat(observation) if self.num_features is None else observation
        for i, width in enumerate(self.hidden_sizes):
            if i == 0 and self.num_features is not None:
                x = FeatureSum(self.num_features, width)(x)
            else:
                x = nn.Dense(width, dtype=dtype, param_dtype=dtype)(x)
            x = activate(x)
        sizes = (self.num_actions, self.num_backward_actions, 1)
        # Small heads: training starts from near-uniform policies and unit flows, and on the 16 x 16
        # grid ends closer to the target, with every objective, than heads of unit variance do.
        small = nn.initializers.variance_scaling(self.head_variance, "fan_in", "truncated_normal")
        dense = nn.Dense(
            sum(sizes), dtype=dtype, param_dtype=dtype, kernel_init=small, name="heads"
        )
        heads = dense(x)
        forward, backward, flow = jnp.split(heads, (sizes[0], sizes[0] + sizes[1]), axis=-1)
        return PolicyOutput(forward, backward, flow[..., 0])


class ParameterMLP(nn.Module):
    """An MLP whose heads say the parameters of actions of any kind, not only of numbered ones.

    Before training it is near the undecided policy, but not so near as for numbered actions: the
    components of a mixture learn alike for as long as they are alike. With the small heads of those
    the box has a divergence of .120 after 1,000 steps, with these .069.
    """

    actions: Actions
    backward_actions: Actions
    hidden_sizes: tuple[int, ...] = (256, 256)
    activation: str = "gelu"

    @nn.compact
    def __call__(self, observation: PyTree) -> PolicyOutput:
        neutral = self.actions.neutral(), self.backward_actions.neutral()
        flat, backward = (ravel_pytree(x) for x in neutral)
        sizes = flat[0].size, backward[0].size
        said = MLP(*sizes, self.hidden_sizes, self.activation, None, 1.0)(observation)
        return PolicyOutput(
            flat[1](flat[0] + said.forward_logits),
            backward[1](backward[0] + said.backward_logits),
            said.log_flow,
        )


class FeatureSum(nn.Module):
    """A dense layer on a binary input `[num_features]`, or the indices `[k]` of its ones."""

    num_features: int
    width: int

    @nn.compact
    def __call__(self, features: Array) -> Array:
        dtype = jnp.result_type(float)
        shape = (self.num_features, self.width)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape, dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.width,), dtype)
        if jnp.issubdtype(features.dtype, jnp.floating):
            return features @ kernel + bias
        if self.num_features <= tuning().product_features * features.size:
            return _sum_by_product(kernel, features) + bias
        return _sum(kernel, features, bias)


def _sum(kernel: Array, features: Array, start: Array) -> Array:
    """`start` and the rows `features` of `kernel`, added up."""
    if features.size > SPARSE:
        return kernel[features].sum(axis=0) + start
    # One look-up after the other: together they are copied into one array before they are
    # summed, which takes twice as long.
    return sum((kernel[index] for index in features), start)


@jax.custom_jvp
def _sum_by_product(kernel: Array, features: Array) -> Array:
    """The rows `features` of `kernel`, added up; differentiated as a product, not as look-ups."""
    return _sum(kernel, features, jnp.zeros((), kernel.dtype))


@_sum_by_product.defjvp
def _product(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    kernel, features = primals
    ones = jax.nn.one_hot(features, len(kernel), dtype=kernel.dtype).sum(axis=0)
    return _sum_by_product(kernel, features), ones @ tangents[0]


def _active_features(env: SparselyObserved, state: State) -> Array:
    return env.active_features(state)


def _features(env: SparselyObserved, state: State) -> Array:
    return _flat(env.observe(state))


def _flat(observation: PyTree) -> Array:
    dtype = jnp.result_type(float)
    return jnp.concatenate([jnp.ravel(x).astype(dtype) for x in jax.tree.leaves(observation)])


def mlp_policy(
    env: Environment,
    hidden_sizes: Sequence[int] = (256, 256),
    activation: str = "gelu",
    num_members: int = 1,
) -> Policy:
    """An MLP that fits `env`.

    Where the environment is `SparselyObserved` and has many features for each that is on, the first
    layer is a table look-up. Where actions are no numbers, the heads say the parameters of their
    densities.

    Args:
        env: gives the actions and the observation.
        hidden_sizes: widths of the trunk, at least one.
        activation: "relu", "leaky_relu", "gelu" or "tanh".
        num_members: sets of forward logits, more than one for an `EnsemblePolicy`.

    Raises:
        ValueError: for an unknown activation, an empty trunk or no members, or several where
            actions are no numbers.
    """
    if activation not in ACTIVATIONS:
        raise ArgumentError(
            "activation", f"must be one of {', '.join(ACTIVATIONS)}, got {activation!r}"
        )
    hidden_sizes = tuple(whole("hidden_sizes", size) for size in hidden_sizes)
    if not hidden_sizes or min(hidden_sizes) < 1:
        raise ArgumentError("hidden_sizes", f"must be positive widths, got {tuple(hidden_sizes)}")
    if num_members < 1:
        raise ArgumentError("num_members", f"must be at least 1, got {num_members}")
    kinds = actions_of(env), backward_actions_of(env)
    if not all(isinstance(kind, Categorical) for kind in kinds):
        if num_members > 1:
            require_categorical(env, "an ensemble")
        return from_flax(ParameterMLP(*kinds, hidden_sizes, activation))
    num_logits = num_members * env.num_actions
    sizes = num_logits, env.num_backward_actions, tuple(hidden_sizes), activation
    if isinstance(env, SparselyObserved):
        made_for = sizes_of(env, "num_actions", "num_backward_actions", "num_features")
        module = MLP(*sizes, num_features=env.num_features)
        active = jax.eval_shape(lambda: env.active_features(source_state(env)))
        few = env.num_features < FEW * active.size
        return from_flax(module, _features if few else _active_features, made_for)
    return from_flax(MLP(*sizes), made_for=sizes_of(env, "num_actions", "num_backward_actions"))


@registry.network("mlp")
@dataclass(frozen=True)
class MLPConfig:
    """hidden layers on the whole state"""

    hidden_sizes: tuple[int, ...] = (256, 256)
    """widths of the hidden layers"""
    activation: Literal["relu", "leaky_relu", "gelu", "tanh"] = "gelu"
    """of the hidden layers"""

    def __post_init__(self) -> None:
        sizes = tuple(whole("hidden_sizes", size) for size in self.hidden_sizes)
        object.__setattr__(self, "hidden_sizes", sizes)

    def make(self, env: Environment) -> Policy:
        return mlp_policy(env, self.hidden_sizes, self.activation)

    def make_members(self, env: Environment, num_members: int) -> Policy:
        """The network of an `EnsemblePolicy`."""
        return mlp_policy(env, self.hidden_sizes, self.activation, num_members)
