"""Diffusion samplers: a point moves from the origin in a fixed number of noisy steps."""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax.arguments import whole
from gfnjax.distributions.gaussian import Gaussian, Proposal
from gfnjax.envs.drawing import NUM_BINS, Panel, Target
from gfnjax.errors import ArgumentError
from gfnjax.identity import Comparable
from gfnjax.numbers import check_number
from gfnjax.pytree import as_node, pytree, static
from gfnjax.rewards.densities import KnownDensity, Modal, modes_found
from gfnjax.shapes import check_shape
from gfnjax.types import Array

NUM_DRAWN = 20_000


class DiffusionState(NamedTuple):
    """`x` `[dim]` where it is; `t` `[]` int32, after how many steps."""

    x: Array
    t: Array


@pytree
class Diffusion(Comparable):
    """T steps from x = 0 at time 0 to x at time 1, whose reward is R(x) (2402.05098).

    The environment proposes Brownian motion of variance sigma^2 a unit of time, forward
    N(x, sigma^2 / T) and backward the bridge back to the origin,

        x_{t-1} | x_t ~ N((t - 1)/t x_t, (t - 1)/t sigma^2 / T),

    whose last step, to x = 0, has probability 1. Actions are `Gaussian`: the place to go to. What a
    policy says is by how much the proposal is moved, and `UniformBackward` is the bridge itself.
    The partial reward is the geometric path from the density of Brownian motion to R,

        log R_t(x) = (1 - t/T) log N(x; 0, sigma^2 t/T) + t/T log R(x),

    zero at s_0. A Gaussian target N(m, sigma^2 I) is reached exactly at any T by the constant
    drift m; other targets need T large, or a variance that is learned.

    Args:
        reward: callable pytree `x [dim] -> log R(x)`, or any function of that form; see
            `gfnjax.rewards.densities`.
        dim: number of coordinates; what `reward.dim` says without.
        num_steps: T.
        variance: sigma^2.

    Raises:
        ValueError: for a number out of range, or where nothing says how many coordinates there are.
    """

    equal_lengths: ClassVar[bool] = True
    reward: Callable[[Array], Array]
    dim: int = static(default=None)
    num_steps: int = static(default=100)
    variance: Any = 1.0

    def __post_init__(self) -> None:
        known = getattr(self.reward, "dim", None)
        dim = known if self.dim is None else self.dim
        if not callable(self.reward):
            raise ArgumentError("reward", f"must be a function of x, got {self.reward!r}")
        if dim is None:
            raise ArgumentError("dim", "must be given: the reward does not say it")
        if known is not None and whole("dim", dim) != known:
            raise ArgumentError("dim", f"must be {known}, that of the reward, got {dim}")
        check_number("variance", self.variance, lambda x: 0 < x < np.inf, "be positive and finite")
        if callable(self.variance) or np.ndim(self.variance):
            raise ArgumentError("variance", f"must be one number, got {self.variance!r}")
        object.__setattr__(self, "dim", whole("dim", dim, least=1))
        object.__setattr__(self, "num_steps", whole("num_steps", self.num_steps, least=1))
        object.__setattr__(self, "reward", as_node(self.reward))

    @property
    def actions(self) -> Gaussian:
        return Gaussian(self.dim)

    @property
    def backward_actions(self) -> Gaussian:
        return Gaussian(self.dim)

    @property
    def max_steps(self) -> int:
        return self.num_steps

    def initial_state(self) -> DiffusionState:
        x = jnp.zeros(self.dim, jnp.result_type(float))
        return DiffusionState(x, jnp.zeros((), jnp.int32))

    def step(self, state: DiffusionState, action: Array) -> DiffusionState:
        moves = state.t < self.num_steps
        return DiffusionState(jnp.where(moves, action, state.x), state.t + moves.astype(jnp.int32))

    def backward_step(self, state: DiffusionState, backward_action: Array) -> DiffusionState:
        moves = state.t > 0
        x = jnp.where(moves, backward_action, state.x)
        return DiffusionState(x, state.t - moves.astype(jnp.int32))

    def forward_mask(self, state: DiffusionState) -> Proposal:
        """The step of Brownian motion."""
        return Proposal(state.t < self.num_steps, state.x, self.step_std)

    def backward_mask(self, state: DiffusionState) -> Proposal:
        """The step of the bridge to the origin."""
        t = jnp.maximum(state.t, 1).astype(state.x.dtype)
        kept = (t - 1) / t
        return Proposal(state.t > 0, kept * state.x, jnp.sqrt(kept) * self.step_std)

    @property
    def step_std(self) -> Array:
        """`[]` sigma / sqrt(T), the standard deviation of a step of Brownian motion."""
        return jnp.sqrt(jnp.asarray(self.variance, jnp.result_type(float)) / self.num_steps)

    def backward_action(self, state: DiffusionState, action: Array) -> Array:
        return state.x

    def forward_action(self, state: DiffusionState, backward_action: Array) -> Array:
        return state.x

    def is_terminal(self, state: DiffusionState) -> Array:
        return state.t >= self.num_steps

    def observe(self, state: DiffusionState) -> Array:
        """`[dim + 1]` x in standard deviations of Brownian motion at time 1, and the time."""
        time = self.time(state)
        return jnp.append(state.x / jnp.sqrt(self.num_steps * self.step_std**2), time)

    def time(self, state: DiffusionState) -> Array:
        """`[]` in [0, 1]."""
        return state.t.astype(state.x.dtype) / self.num_steps

    def log_reward(self, state: DiffusionState) -> Array:
        return self.reward(state.x)

    def log_partial_reward(self, state: DiffusionState) -> Array:
        time = self.time(state)
        # At s_0 there is but one place to be.
        variance = jnp.maximum(time, 1 / self.num_steps) * self.num_steps * self.step_std**2
        quadratic = (state.x**2).sum() / variance
        brownian = -(quadratic + self.dim * (jnp.log(variance) + np.log(2 * np.pi))) / 2
        # The reward has no weight at s_0, but may be -inf there.
        mixed = (1 - time) * brownian + time * self.reward(state.x)
        return jnp.where(state.t > 0, mixed, 0.0)

    def point(self, state: DiffusionState) -> Array:
        """`[dim]` where it is."""
        return state.x

    def at_point(self, x: Array) -> DiffusionState:
        """The terminal state at `x` `[dim]`."""
        x = jnp.asarray(x, jnp.result_type(float))
        check_shape("x", x, (self.dim,), "[d]")
        return DiffusionState(x, jnp.asarray(self.num_steps, jnp.int32))

    def measure(self, states: DiffusionState) -> dict[str, Array]:
        """How many of the modes are found, where the reward knows them."""
        if not isinstance(self.reward, Modal):
            return {}
        return {"modes_found": modes_found(self.reward, states.x)}

    def modes_near(self, state: DiffusionState) -> Array:
        """The mode that x is in, where the reward knows modes."""
        if not isinstance(self.reward, Modal):
            return jnp.zeros(0, bool)
        return self.reward.in_modes(state.x)

    def target(self) -> Target | None:
        """log Z, where the reward knows it."""
        reward: Any = self.reward
        return Target(reward.log_z) if isinstance(reward, KnownDensity) else None

    def render(self, states: DiffusionState, weights: np.ndarray) -> tuple[Panel, ...]:
        """The first two coordinates as a heat map; one coordinate as bars."""
        return self._panels(np.asarray(states.x), weights)

    def render_target(self) -> tuple[Panel, ...] | None:
        """The same of exact samples, where they are to be had."""
        x = self._exact()
        return None if x is None else self._panels(x, np.full(len(x), 1 / len(x)))

    def _exact(self) -> np.ndarray | None:
        if not isinstance(self.reward, KnownDensity):
            return None
        return np.asarray(self.reward.sample(jax.random.key(0), NUM_DRAWN))

    def _panels(self, x: np.ndarray, weights: np.ndarray) -> tuple[Panel, ...]:
        exact = self._exact()
        low, high = _range(x if exact is None else exact)
        edges = [np.linspace(*ends, NUM_BINS + 1) for ends in zip(low, high, strict=True)]
        if self.dim == 1:
            mass, _ = np.histogram(x[:, 0], edges[0], weights=weights)
            return (Panel(mass, "x", bounds=(low[0], high[0])),)
        mass, _, _ = np.histogram2d(x[:, 1], x[:, 0], edges[1::-1], weights=weights)
        bounds = low[0], high[0], low[1], high[1]
        return (Panel(mass, "first coordinate", "second coordinate", bounds=bounds),)


def _range(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where nearly all of `x` `[n, d]` is, and a little more, in each coordinate: `[d]` twice."""
    low, high = np.quantile(x, (0.005, 0.995), axis=0)
    margin = 0.15 * np.maximum(high - low, 1e-3)
    return low - margin, high + margin
