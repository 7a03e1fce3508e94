"""One thing to do: an environment that builds a vector coordinate by coordinate."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from gfnjax import GFlowNet, TrajectoryBalance
from gfnjax.distributions.deterministic import Deterministic, Only
from gfnjax.distributions.gaussian import Gaussian, Proposal, Step
from gfnjax.policies.backward import UniformBackward
from gfnjax.policies.base import from_flax
from gfnjax.testing import check_environment
from gfnjax.types import PolicyOutput


class Built(NamedTuple):
    x: jax.Array
    t: jax.Array


@struct.dataclass
class Coordinates:
    """x_1, then x_2 given x_1, each from N(0, 1) unless a policy says otherwise."""

    max_steps: int = struct.field(pytree_node=False, default=2)
    actions = Gaussian(1)
    backward_actions = Deterministic(1)

    def initial_state(self):
        return Built(jnp.zeros(2), jnp.zeros((), jnp.int32))

    def step(self, state, action):
        x = jnp.where(jnp.arange(2) == state.t, action[0], state.x)
        return Built(x, jnp.minimum(state.t + 1, 2))

    def backward_step(self, state, action):
        x = jnp.where(jnp.arange(2) == state.t - 1, 0.0, state.x)
        return Built(x, jnp.maximum(state.t - 1, 0))

    def forward_mask(self, state):
        return Proposal(state.t < 2, jnp.zeros(1), jnp.ones(()))

    def backward_mask(self, state):
        return Only(state.t > 0, state.x[jnp.maximum(state.t - 1, 0)][None])

    def backward_action(self, state, action):
        return action

    def forward_action(self, state, action):
        return state.x[jnp.maximum(state.t - 1, 0)][None]

    def is_terminal(self, state):
        return state.t == 2

    def observe(self, state):
        return jnp.append(state.x, state.t.astype(state.x.dtype))

    def log_reward(self, state):
        return -(state.x[0] ** 2) / 2 - (state.x[1] - 3 * state.x[0]) ** 2 / 2


class Linear(nn.Module):
    @nn.compact
    def __call__(self, observation):
        slope = self.param("slope", nn.initializers.zeros, ())
        shift = jnp.where(observation[2] == 1, slope * observation[0], 0.0)
        return PolicyOutput(Step(shift[None], jnp.zeros(1)), (), jnp.zeros(()))


def test_conformance(key):
    check_environment(Coordinates(), key, num_trajectories=8)


def test_at_the_optimum_balance_is_exact_and_away_it_is_not(key):
    gfn = GFlowNet(Coordinates(), from_flax(Linear()), TrajectoryBalance(), UniformBackward())
    params = gfn.model.init(*jax.random.split(key))
    best = params._replace(
        log_z=jnp.log(2 * jnp.pi), policy={"params": {"slope": jnp.asarray(3.0)}}
    )
    paths = gfn.sample(best, jax.random.key(1), 16)
    np.testing.assert_array_equal(gfn.score(best, paths).log_pb, 0.0)
    assert gfn.loss(best, paths) < 1e-8
    assert gfn.loss(params._replace(log_z=best.log_z), paths) > 1.0


def test_only_one_action_is_allowed():
    kind, support = Deterministic(2), Only(jnp.array(True), jnp.array([1.0, 2.0]))
    assert kind.allows(support, support.action)
    assert not kind.allows(support, support.action + 1)
    with pytest.raises(ValueError, match="size must be at least 1"):
        Deterministic(0)
    with pytest.raises(ValueError, match="action must have shape"):
        kind.log_prob((), support, jnp.zeros(3))
