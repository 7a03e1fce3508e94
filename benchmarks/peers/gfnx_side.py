"""gfnx as the worker runs it: a rollout, a loss and an update, many steps under one jit.

gfnx has environments, rewards and rollouts, and leaves networks, losses and optimisers to its
user. As in its baselines actions are explored by a coin per state, and the loss evaluates the
padded trajectories again; nothing is logged or measured within the loop.
"""

from functools import partial
from importlib.metadata import version
from typing import Any, NamedTuple

import equinox as eqx
import gfnx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from benchmarks import jax_side
from benchmarks.peers import gfnx_losses, gfnx_states
from benchmarks.peers.gfnx_problems import PROBLEMS, Problem
from benchmarks.settings import SETTINGS, Settings
from benchmarks.trainer import Counts, Request, Trainer

# States at a time, where logits are asked for.
ROWS = 4_096


class State(NamedTuple):
    """`params` is the network's arrays and log Z."""

    params: tuple[Any, jax.Array]
    opt_state: optax.OptState
    key: jax.Array
    step: jax.Array


class Run(NamedTuple):
    """All that stays the same from step to step; hashed by identity."""

    problem: Problem
    settings: Settings
    static: Any
    optimizer: optax.GradientTransformation
    epsilon: optax.Schedule

    __hash__ = object.__hash__
    __eq__ = object.__eq__


def make(request: Request) -> Trainer:
    settings = SETTINGS[request.task]
    if request.batch_size is not None:
        settings = settings._replace(batch_size=request.batch_size)
    env_key, network_key, key = jax.random.split(jax.random.key(request.seed), 3)
    problem = PROBLEMS[request.task](request.task, env_key, network_key)
    network, static = eqx.partition(problem.network, eqx.is_array)
    optimizer = _optimizer(settings)
    run = Run(problem, settings, static, optimizer, optax.linear_schedule(*settings.epsilon))
    params = network, jnp.zeros(())
    start = State(params, optimizer.init(params), key, jnp.zeros((), jnp.int32))
    now = [start]

    def train(num_steps: int, go_on: bool) -> Counts:
        state, length = _chunk(run, _copy(now[0] if go_on else start), num_steps)
        transitions = int(length)
        now[0] = state
        return Counts(num_steps * settings.batch_size, transitions)

    def logits(rows: np.ndarray) -> np.ndarray:
        return _logits(run, now[0].params[0], rows)

    return Trainer(_about(settings, params), train, logits)


def _about(settings: Settings, params: tuple[Any, jax.Array]) -> dict[str, Any]:
    trained = params if settings.objective == "tb" else params[0]
    return {
        "version": version("gfnx"),
        **jax_side.about(),
        "batch_size": settings.batch_size,
        "objective": settings.objective,
        "network": settings.network.removeprefix("causal "),
        "num_parameters": sum(x.size for x in jax.tree.leaves(trained)),
    }


def _copy(state: State) -> State:
    return jax.tree.map(jnp.copy, state)


def _optimizer(settings: Settings) -> optax.GradientTransformation:
    rate = settings.learning_rate
    if isinstance(rate, tuple):
        peak, final, warmup, num_steps = rate
        rate = optax.warmup_cosine_decay_schedule(0.0, peak, warmup, num_steps, final)
    network = optax.adam(rate)
    if settings.weight_decay:
        network = optax.adamw(rate, weight_decay=settings.weight_decay)
    both = {"network": network, "log_z": optax.adam(settings.log_z_learning_rate)}
    return optax.multi_transform(both, ("network", "log_z"))


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def _chunk(run: Run, state: State, num_steps: jax.Array) -> tuple[State, jax.Array]:
    """Also how many transitions were live."""

    def body(_: jax.Array, carry: tuple) -> tuple:
        state, total = carry
        state, length = _step(run, state)
        return state, total + length

    return lax.fori_loop(0, num_steps, body, (state, jnp.zeros((), jnp.int32)))


def _step(run: Run, state: State) -> tuple[State, jax.Array]:
    problem = run.problem
    key, rollout_key = jax.random.split(state.key)
    epsilon = run.epsilon(state.step)

    def behaviour(key: jax.Array, observations: Any, network: Any) -> tuple:
        forward = problem.apply(eqx.combine(network, run.static), observations).forward_logits
        explore = jax.random.bernoulli(key, epsilon, (len(forward), 1))
        return jnp.where(explore, 0.0, forward), {}

    trajectories, info = gfnx.utils.forward_rollout(
        rollout_key,
        run.settings.batch_size,
        behaviour,
        state.params[0],
        problem.env,
        problem.env_params,
    )
    grads = jax.grad(partial(_loss, run))(state.params, trajectories)
    updates, opt_state = run.optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    length = info["trajectory_length"].sum().astype(jnp.int32)
    return State(params, opt_state, key, state.step + 1), length


def _loss(run: Run, params: tuple, trajectories: gfnx.utils.TrajectoryData) -> jax.Array:
    network, log_z = params
    problem, shape = run.problem, trajectories.pad.shape
    rows = trajectories.obs.reshape(-1, *trajectories.obs.shape[2:])
    outputs = problem.apply(eqx.combine(network, run.static), rows)
    outputs = jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), outputs)
    given = problem.env, problem.env_params, trajectories, outputs
    return gfnx_losses.loss(run.settings.objective, run.settings.huber, *given, log_z)


def _logits(run: Run, network: Any, rows: np.ndarray) -> np.ndarray:
    env, env_params, _, apply = run.problem
    found = []
    for start in range(0, len(rows), ROWS):
        states = gfnx_states.states(env, rows[start : start + ROWS])
        observations = env.get_obs(states, env_params)
        logits = apply(eqx.combine(network, run.static), observations).forward_logits
        found.append(np.where(env.get_invalid_mask(states, env_params), -np.inf, logits))
    return np.concatenate(found)[:, gfnx_states.order(env)]
