"""The closed-form optimum of a `Diffusion` whose target is Gaussian, as a policy."""

import jax.numpy as jnp
from jax.scipy.stats import norm

from gfnjax.distributions.gaussian import Step
from gfnjax.policies.base import Policy
from gfnjax.policies.diffusion import see
from gfnjax.types import PolicyOutput


class Marginal:
    """x_t ~ N(t m, V_t) of the bridge from 0 to N(m, v): V_t = t^2 v + sigma^2 t (1 - t)."""

    def __init__(self, mean, variance, sigma2):
        self.mean, self.variance, self.sigma2 = mean, variance, sigma2

    def spread(self, t):
        return t**2 * self.variance + self.sigma2 * t * (1 - t)

    def step(self, x, t, dt):
        """Mean and variance of x_{t + dt} given x_t = x."""
        after, now = self.spread(t + dt), self.spread(t)
        c = t / (t + dt)
        slope = jnp.where(t > 0, c * after / jnp.where(t > 0, now, 1.0), 0.0)
        lost = jnp.where(t > 0, (c * after) ** 2 / jnp.where(t > 0, now, 1.0), 0.0)
        return (t + dt) * self.mean + slope * (x - t * self.mean), after - lost


def gaussian_optimum(env, mean, variance, log_z=0.0, looks_forward=False):
    """The policy, and its parameters: errors of each step `[T + 1, ...]`, zero at the optimum."""
    marginal, num_steps = Marginal(mean, variance, env.variance), env.num_steps

    def init(key, observation):
        shape = num_steps + 1, env.dim
        return {
            "shift": jnp.zeros(shape),
            "log_variance": jnp.zeros(shape),
            "flow": jnp.zeros(num_steps + 1),
        }

    def apply(errors, view):
        t = view.t.astype(view.x.dtype) / num_steps
        center, spread = marginal.step(view.x, jnp.minimum(t, 1 - 1 / num_steps), 1 / num_steps)
        shift = (center - view.x) / view.scale + errors["shift"][view.t]
        log_variance = jnp.log(spread / view.scale**2) + errors["log_variance"][view.t]
        here = marginal.spread(jnp.where(t > 0, t, 1.0))
        density = norm.logpdf(view.x, t * mean, jnp.sqrt(here)).sum()
        flow = log_z + jnp.where(t > 0, density, 0.0)
        if looks_forward:
            state = env.initial_state()._replace(x=view.x, t=view.t)
            flow = flow - env.log_partial_reward(state)
        still = jnp.zeros_like(view.x)
        return PolicyOutput(
            Step(shift, log_variance), Step(still, still), flow + errors["flow"][view.t]
        )

    return Policy(init, apply, see)
