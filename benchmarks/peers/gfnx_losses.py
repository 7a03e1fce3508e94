"""The objectives on gfnx's padded trajectories `[B, T + 1]`, each from one pass of the network."""

from collections.abc import Callable
from typing import Any, NamedTuple

import gfnx
import jax
import jax.numpy as jnp
import optax

from benchmarks.peers.gfnx_networks import Outputs
from benchmarks.settings import SUBTB_LAMBDA

# Residuals and what each weighs.
Residuals = tuple[jax.Array, jax.Array]


class Batch(NamedTuple):
    """Trajectories and what the network says of their states.

    Attributes:
        env: the environment.
        env_params: gfnx's parameters of it.
        trajectories: of gfnx.
        outputs: `[B, T + 1, ...]`.
        log_z: `[]`.
        ratio: `[B, T]` log P_F - log P_B of each step, 0 where there is none.
        live: `[B, T]` whether a step belongs to its trajectory.
        done: `[B, T]` whether it is the last one.
        log_reward: `[B]`.
    """

    env: Any
    env_params: Any
    trajectories: Any
    outputs: Outputs
    log_z: jax.Array
    ratio: jax.Array
    live: jax.Array
    done: jax.Array
    log_reward: jax.Array


def loss(
    objective: str,
    huber: bool,
    env: Any,
    env_params: Any,
    trajectories: Any,
    outputs: Outputs,
    log_z: jax.Array,
) -> jax.Array:
    """The mean over trajectories (tb), live transitions or pairs of states."""
    given = env, env_params, trajectories, outputs
    live = ~trajectories.pad[:, :-1]
    batch = Batch(
        *given,
        log_z,
        ratio=jnp.where(live, log_ratio(*given), 0.0),
        live=live,
        done=trajectories.done[:, :-1] & live,
        log_reward=jnp.where(trajectories.pad, 0.0, trajectories.log_gfn_reward).sum(axis=1),
    )
    residual, weight = OBJECTIVES[objective](batch)
    weight = weight.astype(residual.dtype)
    residual = jnp.where(weight > 0, residual, 0.0)
    cost = optax.huber_loss(residual) if huber else residual**2
    return (weight * cost).sum() / weight.sum()


def log_ratio(env: Any, env_params: Any, trajectories: Any, outputs: Outputs) -> jax.Array:
    """`[B, T]` log P_F - log P_B of each step."""
    before, after, actions = _steps(trajectories)
    undone = env.get_backward_action(before, actions, after, env_params)
    forbidden = env.get_invalid_mask(before, env_params)
    log_pf = _chosen(outputs.forward_logits[:, :-1], forbidden, actions)
    forbidden = env.get_invalid_backward_mask(after, env_params)
    log_pb = _chosen(outputs.backward_logits[:, 1:], forbidden, undone)
    return (log_pf - log_pb).reshape(trajectories.pad[:, :-1].shape)


def _steps(trajectories: Any) -> tuple[Any, Any, jax.Array]:
    """States before and after each step, and its action, in one row of `B T`."""

    def row(tree: Any) -> Any:
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), tree)

    before = row(jax.tree.map(lambda x: x[:, :-1], trajectories.state))
    after = row(jax.tree.map(lambda x: x[:, 1:], trajectories.state))
    return before, after, row(trajectories.action[:, :-1])


def _chosen(logits: jax.Array, invalid: jax.Array, actions: jax.Array) -> jax.Array:
    """`[B T]` log-probabilities of the actions."""
    logits = gfnx.utils.mask_logits(logits.reshape(invalid.shape), invalid)
    log_p = jax.nn.log_softmax(logits, axis=-1)
    return jnp.take_along_axis(log_p, actions[:, None], axis=-1)[:, 0]


def _trajectory_balance(batch: Batch) -> Residuals:
    residual = batch.log_z + batch.ratio.sum(axis=1) - batch.log_reward
    return residual, jnp.ones(len(residual))


def _detailed_balance(batch: Batch) -> Residuals:
    log_flow = batch.outputs.log_flow
    ahead = jnp.where(batch.done, batch.log_reward[:, None], log_flow[:, 1:])
    return log_flow[:, :-1] + batch.ratio - ahead, batch.live


def _forward_looking(batch: Batch) -> Residuals:
    """Detailed balance of flows relative to what the object is worth so far."""
    _, after, _ = _steps(batch.trajectories)
    gain = batch.env.reward_module.delta_score(after).reshape(batch.live.shape)
    log_flow = batch.outputs.log_flow
    ahead = jnp.where(batch.done, 0.0, log_flow[:, 1:]) + gain
    return log_flow[:, :-1] + batch.ratio - ahead, batch.live


def _modified_detailed_balance(batch: Batch) -> Residuals:
    """log P_F(stop | s') - log P_F(stop | s) + log P_F - log P_B - what the step is worth."""
    before, after, actions = _steps(batch.trajectories)
    stop = jnp.full_like(actions, batch.env.stop_action)
    logits = batch.outputs.forward_logits
    rise = _chosen(logits[:, 1:], batch.env.get_invalid_mask(after, batch.env_params), stop)
    rise -= _chosen(logits[:, :-1], batch.env.get_invalid_mask(before, batch.env_params), stop)
    rise -= batch.env.reward_module.delta_score(before, actions, after, batch.env_params)
    return rise.reshape(batch.live.shape) + batch.ratio, batch.live & ~batch.done


def _subtrajectory_balance(batch: Batch) -> Residuals:
    """`[B, T + 1, T + 1]` of all pairs of states."""
    log_flow = batch.outputs.log_flow
    step = jnp.arange(log_flow.shape[1])
    length = batch.live.sum(axis=1)[:, None]
    log_flow = jnp.where(step == length, batch.log_reward[:, None], log_flow)
    potential = log_flow - jnp.pad(jnp.cumsum(batch.ratio, axis=1), ((0, 0), (1, 0)))
    gap = step[None] - step[:, None]
    pair = (gap > 0) & (step <= length)[:, None]
    weight = jnp.where(pair, SUBTB_LAMBDA ** jnp.maximum(gap - 1, 0).astype(jnp.float32), 0.0)
    return potential[:, :, None] - potential[:, None], weight


OBJECTIVES: dict[str, Callable[[Batch], Residuals]] = {
    "tb": _trajectory_balance,
    "db": _detailed_balance,
    "fl-db": _forward_looking,
    "mdb": _modified_detailed_balance,
    "subtb": _subtrajectory_balance,
}
