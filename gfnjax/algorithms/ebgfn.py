"""EB-GFN: learn an energy model from data, with a GFlowNet as its sampler (2202.01361).

Two models are trained in turns. The GFlowNet learns to sample from the current reward R, on its
own trajectories and on trajectories taken back from data. The reward learns to tell data from
samples by contrastive divergence,

    gradient of mean log R(x) - mean log R(x') in the reward's parameters,

x from the data, x' from x by one step of Metropolis-Hastings with the GFlowNet
(`gfnjax.samplers.back_and_forth`).
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gfnjax import spread
from gfnjax.envs.base import Environment, State, log_reward_of, require_acyclic
from gfnjax.errors import ArgumentError, Use, Words
from gfnjax.gflownet import GFlowNet
from gfnjax.identity import Comparable
from gfnjax.learning import updates
from gfnjax.learning.diagnosis import diagnose_rewards
from gfnjax.policies.backward import TrainedBackward
from gfnjax.pytree import pytree, static
from gfnjax.samplers.back_and_forth import back_and_forth
from gfnjax.samplers.base import OnPolicy
from gfnjax.state import TrainState, step_keys
from gfnjax.types import Array, PyTree, Trajectory


class EnergyState(NamedTuple):
    """A run at one step: the sampler's state, the reward learned so far, its optimiser's state."""

    gfn: TrainState
    reward: PyTree
    opt_state: PyTree

    @property
    def step(self) -> Array:
        """Steps taken."""
        return self.gfn.step


class EnergyInfo(NamedTuple):
    """Diagnostics of one step, `[]` each.

    Attributes:
        loss: of the GFlowNet.
        log_z: the GFlowNet's learned log Z, nats.
        log_reward: mean log R of the GFlowNet's batch, nats.
        length: mean length of its trajectories.
        grad_norm: of the GFlowNet's gradient.
        acceptance: share of accepted proposals; 1 for a perfect sampler.
        contrast: mean log R of data minus that of samples, nats; 0 once they look alike.
    """

    loss: Array
    log_z: Array
    log_reward: Array
    length: Array
    grad_norm: Array
    acceptance: Array
    contrast: Array


@pytree
class EnergyGFlowNet(Comparable):
    """A frozen description of a run; `init` and `step` are pure, as in `GFlowNet`.

    Attributes:
        gfn: the sampler. `gfn.env` must have a field `reward`; all its leaves are learned, from
            the values they have here. Data take the place of exploration: epsilon and
            temperature are not used.
        data: terminal states `[M, ...]`.
        num_back: steps that a proposal goes back.
        learning_rate: of the reward, with `optimizer`.
        l1: weight of the sum of absolute values of the reward's parameters.
        data_share: share of the GFlowNet's batch that comes from data, below 1.
        optimizer: a function of the learning rate, such as `optax.adam`.
        truth: the reward behind the data, where it is known; nothing is learned from it.

    Raises:
        ValueError: for numbers out of range, or a sampler with a target network or gradient
            clipping, which belong to `GFlowNet.step`.
    """

    gfn: GFlowNet
    data: State
    num_back: int = static()
    learning_rate: Any = 1e-3
    l1: Any = 0.0
    data_share: float = static(default=0.5)
    optimizer: Callable[[Any], optax.GradientTransformation] = static(default=optax.adam)
    truth: PyTree = None

    def __post_init__(self) -> None:
        require_acyclic(self.gfn.env, "an EnergyGFlowNet", "gfn.env")
        if not 1 <= self.num_back <= self.gfn.env.max_steps:
            raise ArgumentError(
                "num_back",
                f"must be between 1 and max_steps = {self.gfn.env.max_steps}, got {self.num_back}",
            )
        if not 0 <= self.data_share < 1:
            raise ArgumentError("data_share", f"must be in [0, 1), got {self.data_share}")
        batch_size = self.gfn.batch_size
        if self.data_share > 0 and not 0 < round(self.data_share * batch_size) < batch_size:
            raise ArgumentError(
                "data_share",
                f"must leave trajectories to data and policy: {self.data_share} of a "
                f"batch of {batch_size} is {round(self.data_share * batch_size)}",
            )
        self._check_sampler()
        for name in ("target_rate", "max_grad_norm"):
            value = getattr(self.gfn, name)
            if value is not None:
                remedy = Use(f"leave it None, got {value}", without=(name,))
                raise ArgumentError(f"gfn.{name}", "is not supported here", remedy)

    def _check_sampler(self) -> None:
        """Refuse what a `GFlowNet.step` would do and `step` here does not."""
        gfn = self.gfn
        refused = {
            "sampler": not isinstance(gfn.sampler, OnPolicy),
            "num_updates": gfn.num_updates > 1,
            "backward": isinstance(gfn.backward, TrainedBackward),
            "objective": gfn.objective.on_policy,
            "policy": gfn.policy.num_members is not None,
        }
        for name, wrong in refused.items():
            if wrong:
                raise ArgumentError(
                    f"gfn.{name}",
                    "is not supported here, where half the batch comes from data",
                    "use one update a batch on OnPolicy() samples, TrajectoryBalance() and a "
                    "learned or uniform backward policy",
                )

    def init(self, key: Array) -> EnergyState:
        """The state at step 0. `key` is a typed PRNG key."""
        spread.refuse("EnergyGFlowNet", "batch_size")
        reward = jax.tree.map(jnp.asarray, _reward(self.gfn.env))
        return EnergyState(self.gfn.init(key), reward, self._optimizer.init(reward))

    def step(self, state: EnergyState) -> tuple[EnergyState, EnergyInfo]:
        """One step of the GFlowNet on the current reward, one of the reward."""
        spread.refuse("EnergyGFlowNet", "batch_size")
        train, gfn = state.gfn, self.sampler(state)
        keys = step_keys(train.key, train.step)
        trajectories = self._trajectories(gfn, train, keys.draw)
        now = gfn.at(train)
        loss, grads = jax.value_and_grad(now.loss)(train.params, trajectories)
        params, opt_state = gfn.update(train, grads)
        train = train._replace(params=params, opt_state=opt_state, step=train.step + 1)

        data_key, move_key = jax.random.split(keys.fit)
        data = self._draw(data_key, gfn.batch_size)
        move = back_and_forth(gfn.model, train.params, move_key, data, self.num_back)
        contrast, reward, reward_opt_state = self._learn_reward(state, data, move.states)
        info = EnergyInfo(
            loss=loss,
            log_z=now.log_z(train.params),
            log_reward=trajectories.log_reward.mean(),
            length=trajectories.length.astype(loss.dtype).mean(),
            grad_norm=optax.tree.norm(grads),
            acceptance=move.accepted.astype(loss.dtype).mean(),
            contrast=contrast,
        )
        return EnergyState(train, reward, reward_opt_state), info

    def diagnose(self, state: EnergyState) -> str | None:
        """What is wrong with the rewards that `step` meets, in words; None if nothing."""
        remedy = Words("the reward is learned: try a smaller {EnergyGFlowNet.learning_rate} for it")
        log_rewards = EnergyGFlowNet._log_rewards
        return diagnose_rewards(log_rewards, self, state, "trajectories", remedy)

    def _log_rewards(self, state: EnergyState) -> Array:
        """`[B]` of the trajectories that a step learns from."""
        keys = step_keys(state.gfn.key, state.gfn.step)
        return self._trajectories(self.sampler(state), state.gfn, keys.draw).log_reward

    def sampler(self, state: EnergyState) -> GFlowNet:
        """The GFlowNet of the reward learned so far, for sampling and evaluation."""
        return replace(self.gfn, env=_with_reward(self.gfn.env, state.reward))

    def trained(self, state: EnergyState) -> tuple[GFlowNet, TrainState]:
        """The sampler of the reward learned so far, and its state."""
        return self.sampler(state), state.gfn

    @property
    def env(self) -> Environment:
        """The environment, with the reward that learning starts from."""
        return self.gfn.env

    def _trajectories(self, gfn: GFlowNet, train: TrainState, key: Array) -> Trajectory:
        """A batch of trajectories of the policy and trajectories that end in data."""
        num_data = round(self.data_share * gfn.batch_size)
        key, draw_key, path_key = jax.random.split(key, 3)
        trajectories = gfn.sample(train.params, key, gfn.batch_size - num_data)
        if num_data > 0:
            trajectories = trajectories._replace(log_path_reward=None)
            taken_back = gfn.sample_backward(train.params, path_key, self._draw(draw_key, num_data))
            trajectories = jax.tree.map(
                lambda x, y: jnp.concatenate([x, y]), trajectories, taken_back
            )
        return trajectories

    def _learn_reward(self, state: EnergyState, data: State, samples: State) -> Any:
        def loss(reward: PyTree) -> tuple[Array, Array]:
            log_reward = jax.vmap(partial(log_reward_of, _with_reward(self.gfn.env, reward)))
            contrast = log_reward(data).mean() - log_reward(samples).mean()
            size = sum(jnp.abs(x).sum() for x in jax.tree.leaves(reward))
            return self.l1 * size - contrast, contrast

        grads, contrast = jax.grad(loss, has_aux=True)(state.reward)
        return contrast, *updates.move(self._optimizer, grads, state.opt_state, state.reward)

    @property
    def _optimizer(self) -> optax.GradientTransformation:
        return updates.following(self.optimizer, jnp.asarray(self.learning_rate))

    def _draw(self, key: Array, num_rows: int) -> State:
        """Rows of the data, with replacement."""
        num_data = jax.tree.leaves(self.data)[0].shape[0]
        index = jax.random.randint(key, (num_rows,), 0, num_data)
        return jax.tree.map(lambda x: x[index], self.data)


def _reward(env: Any) -> PyTree:
    return env.reward


def _with_reward(env: Any, reward: PyTree) -> Any:
    return replace(env, reward=reward)
