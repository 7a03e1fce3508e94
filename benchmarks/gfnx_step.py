"""The problem of `peers.py` in gfnx: its grid, rollout and log-probabilities, a loop under one jit.

gfnx leaves networks, losses and optimisers to its user; the network is Equinox's MLP, as in its
walkthrough. As there, actions are explored by a coin per state and the loss evaluates the padded
trajectories again.
"""

from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple

import equinox as eqx
import gfnx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from gfnx.utils import forward_rollout, forward_trajectory_log_probs
from jax import lax

if TYPE_CHECKING:
    from peers import Problem


class State(NamedTuple):
    """`params` is the network's arrays and log Z."""

    params: tuple
    opt_state: optax.OptState
    key: jax.Array
    step: jax.Array


class Gfnx:
    """A `peers.Trainer`."""

    name = "gfnx"
    version = version("gfnx")

    def __init__(self, problem: "Problem", seed: int) -> None:
        reward = gfnx.GeneralHypergridRewardModule(*problem.rewards)
        self.env = gfnx.HypergridEnvironment(reward, dim=problem.num_dims, side=problem.side)
        env_key, net_key, key = jax.random.split(jax.random.key(seed), 3)
        self.env_params = self.env.init(env_key)
        self.batch_size = problem.batch_size
        self.epsilon = optax.linear_schedule(problem.epsilon, 0.0, problem.decay_steps)
        network, self.static = eqx.partition(self._network(problem, net_key), eqx.is_array)
        rates = problem.learning_rate, problem.log_z_learning_rate
        self.optimizer = optax.multi_transform(
            dict(zip(("network", "log_z"), map(optax.adam, rates), strict=True)),
            ("network", "log_z"),
        )
        params = network, jnp.zeros(())
        start = jnp.zeros((), jnp.int32)
        self.state = State(params, self.optimizer.init(params), key, start)

    def run(self, num_steps: int) -> float:
        self.state, length = self._chunk(self.state, num_steps)
        return float(length)

    def forward_logits(self, positions: np.ndarray) -> np.ndarray:
        flags = dict.fromkeys(("is_terminal", "is_pad"), jnp.zeros(len(positions), bool))
        is_initial = jnp.asarray((positions == 0).all(axis=-1))
        states = gfnx.HypergridEnvState(
            state=jnp.asarray(positions), is_initial=is_initial, **flags
        )
        observations = self.env.get_obs(states, self.env_params)
        return np.asarray(self._apply(self.state.params[0], observations)[0])

    def _network(self, problem: "Problem", key: jax.Array) -> eqx.nn.MLP:
        num_outputs = self.env.action_space.n + self.env.backward_action_space.n
        num_inputs = self.env.observation_space.shape[0]
        return eqx.nn.MLP(num_inputs, num_outputs, problem.width, 2, jax.nn.relu, key=key)

    def _apply(self, network: eqx.Module, observations: jax.Array) -> list[jax.Array]:
        outputs = jax.vmap(eqx.combine(network, self.static))(observations)
        return jnp.split(outputs, [self.env.action_space.n], axis=-1)

    @partial(jax.jit, static_argnums=0, donate_argnums=1)
    def _chunk(self, state: State, num_steps: jax.Array) -> tuple[State, jax.Array]:
        def body(_, carry: tuple) -> tuple:
            state, total = carry
            state, length = self._step(state)
            return state, total + length

        state, total = lax.fori_loop(0, num_steps, body, (state, 0.0))
        return state, total / num_steps

    def _step(self, state: State) -> tuple[State, jax.Array]:
        key, rollout_key = jax.random.split(state.key)
        epsilon = self.epsilon(state.step)

        def behaviour(key: jax.Array, observations: jax.Array, network: eqx.Module) -> tuple:
            forward, _ = self._apply(network, observations)
            explore = jax.random.bernoulli(key, epsilon, (len(observations), 1))
            return jnp.where(explore, 0.0, forward), {}

        trajectories, info = forward_rollout(
            rollout_key, self.batch_size, behaviour, state.params[0], self.env, self.env_params
        )
        grads = jax.grad(self._loss)(state.params, trajectories, info["log_gfn_reward"])
        updates, opt_state = self.optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return State(params, opt_state, key, state.step + 1), info["trajectory_length"].mean()

    def _loss(
        self, params: tuple, trajectories: gfnx.utils.TrajectoryData, log_reward: jax.Array
    ) -> jax.Array:
        network, log_z = params
        shape = trajectories.pad.shape
        rows = trajectories.obs.reshape(-1, trajectories.obs.shape[-1])
        forward, backward = (x.reshape(*shape, -1) for x in self._apply(network, rows))
        logits = {"forward_logits": forward, "backward_logits": backward}
        log_pf, log_pb = forward_trajectory_log_probs(
            self.env, trajectories.replace(info=logits), self.env_params
        )
        return jnp.mean((log_z + log_pf - log_pb - log_reward) ** 2)
