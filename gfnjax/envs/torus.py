"""The continuous torus: all angles are turned at once, a fixed number of times."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax import registry
from gfnjax.arguments import settle, whole
from gfnjax.distributions.torus import Turn, Turns
from gfnjax.distributions.von_mises import wrap
from gfnjax.envs.base import log_reward_of
from gfnjax.envs.drawing import Panel, Target, marginal, plane_panel
from gfnjax.errors import ArgumentError
from gfnjax.identity import Comparable
from gfnjax.pytree import as_node, pytree, static
from gfnjax.rewards.box import TorusCosine
from gfnjax.shapes import check_shape
from gfnjax.types import Array

# Cells along an angle, of quadrature and pictures.
FINE = 100
CIRCLE = -np.pi, np.pi


class TorusState(NamedTuple):
    """`angles` `[d]` in [-pi, pi]; `t` `[]` int32, after how many steps."""

    angles: Array
    t: Array


@pytree
class Torus(Comparable):
    """T steps from all angles 0 to angles whose reward is R(x) (Lahlou et al., 2301.12594).

    An action `Turn` adds to all angles at once, modulo 2 pi. The step count is part of the state;
    backward actions take the turn back, the first of them to s_0, with probability 1. The reward is
    defined on all states, so it is the partial reward too. The observation `[2 d + T + 1]` are
    cosines and sines, and a one-hot vector of the step count.

    Args:
        reward: callable pytree `angles [d] -> log R`, or any function of that form.
        dim: d; what `reward.dim` says without.
        num_steps: T.
        num_components: of the von Mises mixtures.

    Raises:
        ValueError: for a size out of range, or where nothing says how many angles there are.
    """

    reward: Callable[[Array], Array]
    dim: int = static(default=None)
    num_steps: int = static(default=5)
    num_components: int = static(default=2)
    equal_lengths: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not callable(self.reward):
            raise ArgumentError("reward", f"must be a function of x, got {self.reward!r}")
        known = getattr(self.reward, "dim", None)
        dim = known if self.dim is None else whole("dim", self.dim, least=1)
        if dim is None:
            raise ArgumentError("dim", "must be given: the reward does not say it")
        if known not in (None, dim):
            raise ArgumentError("dim", f"must be {known}, that of the reward, got {dim}")
        object.__setattr__(self, "dim", dim)
        settle(self, num_steps=1, num_components=1)
        object.__setattr__(self, "reward", as_node(self.reward))

    @property
    def actions(self) -> Turn:
        return Turn(self.dim, self.num_components)

    @property
    def backward_actions(self) -> Turn:
        return Turn(self.dim, self.num_components)

    @property
    def max_steps(self) -> int:
        return self.num_steps

    def initial_state(self) -> TorusState:
        return TorusState(jnp.zeros(self.dim, jnp.result_type(float)), jnp.zeros((), jnp.int32))

    def step(self, state: TorusState, action: Array) -> TorusState:
        moves = state.t < self.num_steps
        angles = jnp.where(moves, wrap(state.angles + action), state.angles)
        return TorusState(angles, state.t + moves.astype(jnp.int32))

    def backward_step(self, state: TorusState, backward_action: Array) -> TorusState:
        angles = jnp.where(state.t > 1, wrap(state.angles - backward_action), 0.0)
        return TorusState(angles, jnp.maximum(state.t - 1, 0))

    def forward_mask(self, state: TorusState) -> Turns:
        moves = state.t < self.num_steps
        return Turns(moves, moves, jnp.zeros_like(state.angles))

    def backward_mask(self, state: TorusState) -> Turns:
        return Turns(state.t > 0, state.t > 1, state.angles)

    def backward_action(self, state: TorusState, action: Array) -> Array:
        return action

    def forward_action(self, state: TorusState, backward_action: Array) -> Array:
        return jnp.where(state.t > 1, backward_action, state.angles)

    def is_terminal(self, state: TorusState) -> Array:
        return state.t >= self.num_steps

    def observe(self, state: TorusState) -> Array:
        count = jax.nn.one_hot(state.t, self.num_steps + 1, dtype=state.angles.dtype)
        return jnp.concatenate([jnp.cos(state.angles), jnp.sin(state.angles), count])

    def log_reward(self, state: TorusState) -> Array:
        return self.reward(state.angles)

    def log_partial_reward(self, state: TorusState) -> Array:
        return self.reward(state.angles)

    def at_point(self, x: Array) -> TorusState:
        """The terminal state with angles `x` `[d]`."""
        x = jnp.asarray(x, jnp.result_type(float))
        check_shape("x", x, (self.dim,), "[d]")
        angles = wrap(x)
        return TorusState(angles, jnp.asarray(self.num_steps, jnp.int32))

    def target(self) -> Target | None:
        """log Z where the reward says it, or of two angles by quadrature."""
        if (known := getattr(self.reward, "log_z", None)) is not None:
            return Target(float(known))
        if self.dim != 2:
            return None
        area = (2 * np.pi / FINE) ** 2
        return Target(float(jax.nn.logsumexp(self._log_rewards()) + np.log(area)))

    def render(self, states: TorusState, weights: np.ndarray) -> tuple[Panel, ...]:
        """Of two angles samples over the target, else the marginals of the first four."""
        angles = np.asarray(states.angles)
        if self.dim == 2:
            return (plane_panel(self._density(), CIRCLE, angles),)
        return tuple(marginal(x, weights, CIRCLE, i) for i, x in enumerate(angles.T[:4]))

    def render_target(self) -> tuple[Panel, ...] | None:
        return (plane_panel(self._density(), CIRCLE),) if self.dim == 2 else None

    def _density(self) -> Array:
        """`[FINE, FINE]` R / Z on a grid of two angles."""
        shares = jax.nn.softmax(self._log_rewards().reshape(-1)).reshape(FINE, FINE)
        return shares * (FINE / (2 * np.pi)) ** 2

    def _at(self, x: Array) -> Array:
        return log_reward_of(self, self.at_point(x))  # pyrefly: ignore

    def _log_rewards(self) -> Array:
        middles = 2 * np.pi * (jnp.arange(FINE, dtype=jnp.result_type(float)) + 0.5) / FINE - np.pi
        row = jax.vmap(lambda x, y: self._at(jnp.stack([x, y])), (None, 0))
        return jax.vmap(row, (0, None))(middles, middles)


@registry.environment(
    "torus",
    summary="angles that are turned together a fixed number of times; log Z is known",
    defaults={
        "steps": 2_000,
        "chunk_size": 500,
        "batch_size": 128,
        "learning_rate": 1e-3,
        "final_learning_rate": 1e-5,
        "mlp": {"hidden_sizes": (128, 128)},
    },
)
@dataclass(frozen=True)
class TorusConfig:
    """Angles on a torus, with the reward exp(kappa sum cos(x - center))."""

    dim: int = 2
    """angles"""
    num_steps: int = 5
    """turns of a trajectory"""
    kappa: float = 2.0
    """how narrow the target is"""
    center: float = 1.5
    """of the target, in each angle"""
    num_components: int = 2
    """of the von Mises mixtures that turns come from"""

    def make(self) -> Torus:
        dim = whole("dim", self.dim, least=1)
        reward = TorusCosine(np.full(dim, self.center, np.float32), self.kappa)
        return Torus(reward, dim, self.num_steps, self.num_components)
