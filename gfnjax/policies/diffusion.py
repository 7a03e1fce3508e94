"""The network of diffusion samplers: a drift, the way back, and where wanted a variance."""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gfnjax import registry
from gfnjax.arguments import whole
from gfnjax.distributions.gaussian import Step
from gfnjax.envs.base import Environment, log_reward_of
from gfnjax.envs.diffusion import Diffusion, DiffusionState
from gfnjax.envs.tempered import Tempered
from gfnjax.errors import ArgumentError
from gfnjax.numbers import NON_NEGATIVE, check_number
from gfnjax.policies.base import Policy, from_flax
from gfnjax.types import Array, PolicyOutput

NUM_FREQUENCIES = 64
LARGEST_GRADIENT = 1e2
LARGEST_DRIFT = 1e4
# By how much a learned way back may differ from the bridge: mean and variance of a step.
BACKWARD_RANGE = 0.1
# What the gradient of log R counts for before training.
FIRST_GRADIENT_SCALE = 0.01


class View(NamedTuple):
    """What the network sees of a state.

    Attributes:
        x: `[d]`.
        t: `[]` int32, the number of steps.
        scale: `[]` sigma / sqrt(T), the proposed standard deviation of a step.
        gradient: `[d]` of log R at x, clipped; None where it is not wanted.
    """

    x: Array
    t: Array
    scale: Array
    gradient: Array | None


def see(env: Diffusion, state: DiffusionState) -> View:
    """The state alone."""
    return View(state.x, state.t, env.step_std, None)


def see_gradient(env: Diffusion, state: DiffusionState) -> View:
    """The state and the gradient of log R there, clipped; 0 where there is none, as at a kink."""
    gradient = jax.grad(lambda x: log_reward_of(env, state._replace(x=x)))(state.x)  # pyrefly: ignore
    known = jnp.where(jnp.isnan(gradient), 0.0, gradient)
    clipped = jnp.clip(known, -LARGEST_GRADIENT, LARGEST_GRADIENT)
    return see(env, state)._replace(gradient=clipped)


class DiffusionNetwork(nn.Module):
    """Drift u(x, t) = NN_1(x, t) + NN_2(t) grad log R(x), after Zhang & Chen (2111.15141).

    Attributes:
        dim: d.
        num_steps: T.
        width: of all layers.
        num_layers: hidden ones after x and t have met.
        variance_range: the log variance of a step is this times a hyperbolic tangent; 0 leaves it.
        langevin: whether the drift has the gradient of log R.
    """

    dim: int
    num_steps: int
    width: int = 64
    num_layers: int = 2
    variance_range: float = 0.0
    langevin: bool = False

    @nn.compact
    def __call__(self, view: View) -> PolicyOutput:
        activate = nn.gelu
        times = self._times()
        when = self._dense(self.width, "time_2")(activate(self._dense(self.width, "time_1")(times)))
        hidden = self._dense(self.width, "place")(view.x) + when[view.t]
        for i in range(self.num_layers):
            hidden = self._dense(self.width, f"hidden_{i + 1}")(activate(hidden))
        sizes = {"drift": self.dim, "flow": 1, "back_mean": self.dim, "back_variance": self.dim}
        if self.variance_range > 0:
            sizes["variance"] = self.dim
        heads = self._dense(sum(sizes.values()), "heads", zero=True)(activate(hidden))
        ends = np.cumsum(list(sizes.values()))[:-1].tolist()
        said = dict(zip(sizes, jnp.split(heads, ends), strict=True))
        drift = said["drift"]
        if self.langevin:
            assert view.gradient is not None
            weight = self._dense(1, "gradient_2", zero=True, bias=FIRST_GRADIENT_SCALE)(
                activate(self._dense(self.width, "gradient_1")(times))
            )
            drift = drift + weight[view.t] * view.gradient
        forward = self._forward(view, drift, said)
        return PolicyOutput(forward, self._backward(view, said), said["flow"][0])

    def _dense(self, width: int, name: str, zero: bool = False, bias: float = 0.0) -> nn.Dense:
        dtype = jnp.result_type(float)
        kernel = nn.initializers.zeros if zero else nn.initializers.lecun_normal()
        first = nn.initializers.constant(bias)
        rest = {"kernel_init": kernel, "bias_init": first, "name": name}
        return nn.Dense(width, dtype=dtype, param_dtype=dtype, **rest)

    def _times(self) -> Array:
        """`[T + 1, 2 * NUM_FREQUENCIES]` features of all times.

        They do not depend on the state: of a batch of states they are made once, not for each.
        """
        times = np.arange(self.num_steps + 1) / self.num_steps
        angles = times[:, None] * np.linspace(0.1, 100.0, NUM_FREQUENCIES)[None]
        waves = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
        return jnp.asarray(waves, jnp.result_type(float))

    def _forward(self, view: View, drift: Array, said: dict[str, Array]) -> Step:
        """A drift moves a step by u / T, in units of sigma / sqrt(T)."""
        shift = jnp.clip(drift, -LARGEST_DRIFT, LARGEST_DRIFT) / (self.num_steps * view.scale)
        if self.variance_range == 0:
            return Step(shift, jnp.zeros_like(shift))
        return Step(shift, self.variance_range * jnp.tanh(said["variance"]))

    def _backward(self, view: View, said: dict[str, Array]) -> Step:
        """Of the bridge's step, -x/t and its variance, either is a little larger or smaller."""
        t = jnp.maximum(view.t, 2).astype(view.x.dtype)  # the first step is not drawn
        scale = jnp.sqrt((t - 1) / t) * view.scale
        factors = 1 + BACKWARD_RANGE * jnp.tanh(said["back_variance"])
        shift = -view.x / t * BACKWARD_RANGE * jnp.tanh(said["back_mean"]) / scale
        return Step(shift, jnp.log(factors))


def diffusion_policy(
    env: Diffusion,
    width: int = 64,
    num_layers: int = 2,
    variance_range: float = 0.0,
    langevin: bool = False,
) -> Policy:
    """A `DiffusionNetwork` that fits `env`, with heads for P_F, P_B and log F.

    Untrained, it makes the environment's own steps, but for a drift of .01 grad log R with
    `langevin`. With `LearnedBackward` mean and variance of the way back may differ by 10% from the
    bridge, which `UniformBackward` is.

    Args:
        env: a `Diffusion`, also a tempered one.
        width: of all layers.
        num_layers: hidden layers, at least 1.
        variance_range: log of the factor by which the variance of a step may differ from the
            proposed one, up or down; 0 for a fixed variance.
        langevin: the drift has the gradient of log R, times a learned function of the time.

    Raises:
        TypeError, ValueError: for another environment, or numbers out of range.
    """
    if not isinstance(env.env if isinstance(env, Tempered) else env, Diffusion):
        problem = f"must be a Diffusion, got {type(env).__name__}"
        raise ArgumentError("env", problem, "use mlp_policy(env)", "diffusion_policy: {env}")
    width = whole("width", width, least=1)
    num_layers = whole("num_layers", num_layers, least=1)
    check_number("variance_range", variance_range, *NON_NEGATIVE)
    sizes = env.dim, env.num_steps, width, num_layers
    return _policy(sizes, float(variance_range), bool(langevin))


@lru_cache(maxsize=64)
def _policy(sizes: tuple[int, int, int, int], variance_range: float, langevin: bool) -> Policy:
    module = DiffusionNetwork(*sizes, variance_range, langevin)
    made_for = ("dim", sizes[0]), ("num_steps", sizes[1])
    return from_flax(module, see_gradient if langevin else see, made_for)


@registry.network("drift")
@dataclass(frozen=True)
class DiffusionNetworkConfig:
    """drift of a diffusion sampler, from place and time"""

    width: int = 64
    """of all layers"""
    num_layers: int = 2
    """hidden layers"""
    variance_range: float = 0.0
    """log of the factor by which the variance of a step may be learned; 0 leaves it fixed"""
    langevin: bool = False
    """the drift has the gradient of log R, times a function of the time"""

    def __post_init__(self) -> None:
        for name in ("width", "num_layers"):
            object.__setattr__(self, name, whole(name, getattr(self, name), least=1))
        check_number("variance_range", self.variance_range, *NON_NEGATIVE)

    def make(self, env: Environment) -> Policy:
        settings = self.width, self.num_layers, self.variance_range
        return diffusion_policy(env, *settings, self.langevin)  # pyrefly: ignore
