"""The plain way to train, for comparison: scan to the horizon, then a loss on every padded step.

Same environment, policy, exploration, optimiser and arithmetic as `GFlowNet.step`; the randomness
is hoisted out of the loop here too. Only the cost differs: it follows batch x horizon.
"""

import jax
import jax.numpy as jnp
from jax import lax

from gfnjax import GFlowNet, TrainState, Trajectory
from gfnjax.actions import Categorical, Mixture
from gfnjax.objectives.base import weighted_loss


def padded_rollout(gfn: GFlowNet, state: TrainState) -> Trajectory:
    """A scan of `max_steps` steps, ended trajectories idling along."""
    env = gfn.env
    epsilon = gfn.hyperparameters.epsilon
    epsilon = jnp.asarray(epsilon(state.step) if callable(epsilon) else epsilon)
    key = jax.random.fold_in(state.key, state.step)
    actions = Categorical(env.num_actions)
    noise = actions.noise(key, (env.max_steps, gfn.batch_size))

    def move(current, noise):
        def act(s, u):
            mask = env.forward_mask(s)
            logits = gfn.policy.evaluate(state.params.policy, env, s).forward_logits
            action = actions.sample(Mixture(logits, epsilon), mask, u)
            return env.step(s, action), jnp.where(env.is_terminal(s), 0, action)

        following, action = jax.vmap(act)(current, noise)
        return following, (following, action, jax.vmap(env.is_terminal)(current))

    tile = lambda x: jnp.broadcast_to(x, (gfn.batch_size, *x.shape))  # noqa: E731
    start = jax.tree.map(tile, env.initial_state())
    terminal, (states, taken, ended) = lax.scan(move, start, noise)
    states = jax.tree.map(lambda s0, x: jnp.concatenate([s0[None], x]), start, states)
    batch_first = lambda x: jnp.swapaxes(x, 0, 1)  # noqa: E731
    return Trajectory(
        states=jax.tree.map(batch_first, states),
        actions=batch_first(taken),
        length=(~ended).sum(axis=0).astype(jnp.int32),
        log_reward=jax.vmap(env.log_reward)(terminal),
    )


def padded_step(gfn: GFlowNet, state: TrainState) -> tuple[TrainState, jax.Array]:
    """One training step at full horizon; returns the loss."""
    trajectories = padded_rollout(gfn, state)

    def loss(params):
        scores = gfn.score(params, trajectories, dense=True)
        return weighted_loss(gfn.objective, gfn.regression, scores)

    value, grads = jax.value_and_grad(loss)(state.params)
    params, opt_state = gfn.update(state, grads)
    return state._replace(params=params, opt_state=opt_state, step=state.step + 1), value
