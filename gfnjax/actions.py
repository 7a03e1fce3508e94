"""What an action is: the only place that knows how one is drawn and how one is judged."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from gfnjax import masking
from gfnjax.errors import ArgumentError
from gfnjax.hyperparameters import Hyperparameters
from gfnjax.shapes import check_shape
from gfnjax.types import Array, PyTree

Action = Any
# Up to here one pass over all probabilities is faster than two over blocks of them.
ONE_BLOCK = 16


class Actions(Protocol):
    """A kind of action, for one state. A frozen, hashable value.

    The parameters are what a policy says (`PolicyOutput.forward_logits`), the support is what an
    environment allows (`Environment.forward_mask`): logits and a mask where actions are numbered.
    An environment has `actions` and `backward_actions`; without, they are `Categorical`.

    A class says which numbers of `Hyperparameters` its `explore` heeds, `explores_by`: epsilon and
    temperature without; others are refused. One whose `sample` is differentiable in the parameters
    says `reparametrised = True`, and has its inverse, `noise_of(params, support, action)`.
    """

    def neutral(self) -> PyTree:
        """Parameters of an undecided policy; they tell the shapes of all others."""
        ...

    def noise(self, key: Array, shape: tuple[int, ...]) -> PyTree:
        """All that is random in decisions of some shape, drawn outside of any loop."""
        ...

    def sample(self, params: PyTree, support: PyTree, noise: PyTree) -> Action:
        """An action that is allowed, from the noise of one decision; any where none is."""
        ...

    def log_prob(self, params: PyTree, support: PyTree, action: Action) -> Array:
        """`[]` nats, of a probability or a density; finite, with finite gradients, everywhere."""
        ...

    def explore(self, params: PyTree, support: PyTree, values: Hyperparameters) -> PyTree:
        """Parameters of what acts while exploring, given the run's numbers in force."""
        ...

    def possible(self, support: PyTree) -> Array:
        """`[]` bool, whether anything is allowed."""
        ...

    def allows(self, support: PyTree, action: Action) -> Array:
        """`[]` bool, whether `action` is allowed."""
        ...


class Mixture(NamedTuple):
    """(1 - epsilon) softmax(logits) + epsilon uniform(allowed), decided anew in every step.

    What `Categorical` samples from while exploring. `logits` `[size]`; `epsilon` `[]` in [0, 1].
    """

    logits: Array
    epsilon: Array


@dataclass(frozen=True)
class Categorical:
    """Numbered actions: int32, logits `[size]`, masks `[size]` that are True where allowed."""

    size: int

    def neutral(self) -> Array:
        return jnp.zeros(self.size, jnp.result_type(float))

    def noise(self, key: Array, shape: tuple[int, ...]) -> Array:
        """One uniform number a decision, however many actions there are."""
        return jax.random.uniform(key, shape)

    def sample(self, params: Array | Mixture, support: Array, noise: Array) -> Array:
        """By the inverse of the distribution function: the first a with P(0) + .. + P(a) > u.

        In blocks of about sqrt(size), first which block, then which of its actions. What is not
        allowed has probability 0 and is never drawn, however sums are rounded.
        """
        weights = self.weights(params, support).astype(noise.dtype)
        if self.size <= ONE_BLOCK:
            return _invert(weights, noise * weights.sum())
        width = 2 ** math.ceil(math.log2(self.size) / 2)
        blocks = jnp.pad(weights, (0, -self.size % width)).reshape(-1, width)
        totals = blocks.sum(axis=1)
        sums = jnp.cumsum(totals)
        target = noise * sums[-1]
        block = _invert(totals, target)
        below = jnp.where(block > 0, sums[jnp.maximum(block - 1, 0)], 0.0)
        return block * width + _invert(blocks[block], target - below)

    def weights(self, params: Array | Mixture, support: Array) -> Array:
        """`[size]` what the probabilities of `sample` are proportional to; 0 where not allowed."""
        logits = params.logits if isinstance(params, Mixture) else params
        self._check(logits, support)
        top = jnp.where(support, logits, -jnp.inf).max()
        # Relative to the best; where all that is allowed has -inf, all of it is alike.
        weights = jnp.exp(logits - jnp.where(jnp.isfinite(top), top, 0.0))
        weights = jnp.where(support, jnp.where(jnp.isneginf(top), 1.0, weights), 0.0)
        if not isinstance(params, Mixture):
            return weights
        check_shape("epsilon", params.epsilon, (), "[]")
        # A compiled schedule may end at -6e-8.
        epsilon = jnp.clip(params.epsilon, 0.0, 1.0)
        policy = (1.0 - epsilon) / weights.sum()
        uniform = epsilon / jnp.maximum(support.sum(), 1).astype(weights.dtype)
        return jnp.where(support, policy * weights + uniform, 0.0)

    def log_prob(self, params: Array, support: Array, action: Array) -> Array:
        self._check(params, support)
        return masking.select(masking.log_softmax(params, support), action)

    def explore(self, params: Array, support: Array, values: Hyperparameters) -> Mixture:
        self._check(params, support)
        check_shape("temperature", values.temperature, (), "[]")
        return Mixture(params / values.temperature, values.epsilon)

    def possible(self, support: Array) -> Array:
        check_shape("support", support, (None,), "[size]")
        return support.any()

    def allows(self, support: Array, action: Array) -> Array:
        check_shape("support", support, (None,), "[size]")
        check_shape("action", action, (), "[]")
        # Out of range, an index would wrap around or be clamped onto an allowed entry.
        return support[action] & (action >= 0) & (action < self.size)

    def _check(self, params: Array, support: Array) -> None:
        """Raise an `ArgumentError` unless both are those of one state."""
        check_shape("params", params, (self.size,), "[size]")
        check_shape("support", support, (self.size,), "[size]")


def tempered(params: Array | Mixture, temperature: Array) -> Array | Mixture:
    """What `Categorical` samples from with its logits divided by a temperature `[]`."""
    if isinstance(params, Mixture):
        return params._replace(logits=params.logits / temperature)
    return params / temperature


def actions_of(env: Any) -> Actions:
    """The forward actions of an environment."""
    return getattr(env, "actions", None) or Categorical(env.num_actions)


def backward_actions_of(env: Any) -> Actions:
    """The backward actions of an environment."""
    return getattr(env, "backward_actions", None) or Categorical(env.num_backward_actions)


def usual(actions: Actions, support: PyTree) -> Action:
    """An action that is allowed, if any is."""
    if isinstance(actions, Categorical):
        check_shape("support", support, (None,), "[size]")
        return jnp.argmax(support).astype(jnp.int32)  # of a mask of any length
    return _some(actions, support)


@partial(jax.jit, static_argnums=0)
def _some(actions: Actions, support: PyTree) -> Action:
    """One that is drawn: compiled, as one by one its many small operations take seconds."""
    return actions.sample(actions.neutral(), support, actions.noise(jax.random.key(0), ()))


def require_categorical(env: Any, what: str) -> None:
    """Raise a `TypeError` where the actions of `env` are not numbered, which `what` needs."""
    for actions in (actions_of(env), backward_actions_of(env)):
        if not isinstance(actions, Categorical):
            raise ArgumentError(
                "env",
                "sums over all actions: it needs an environment whose actions are Categorical, "
                f"those of {type(env).__name__} are {type(actions).__name__}",
                subject=what,
            )


def _invert(weights: Array, target: Array) -> Array:
    """`[]` int32: the first i with weights[0] + .. + weights[i] > target, never one of weight 0."""
    number = jnp.arange(weights.size, dtype=jnp.int32)
    there = weights > 0
    reached = (jnp.cumsum(weights) > target) & there
    # The first that is reached before all that are not, of which the last: where rounding leaves
    # none. One maximum instead of three searches, as sampling is a step's innermost loop.
    rank = jnp.where(reached, 2 * weights.size - 1 - number, jnp.where(there, number, -1)).max()
    return jnp.where(rank < weights.size, jnp.maximum(rank, 0), 2 * weights.size - 1 - rank)
