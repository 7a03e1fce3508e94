"""One run of a method on molecules: chunks of compiled steps, and what they have visited."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import gfnjax
from benchmarks.molecule_log import Visited
from benchmarks.molecule_methods import Method
from gfnjax.algorithms import MarkovChains
from gfnjax.chemistry.states import MoleculeState
from gfnjax.envs.molecules import Molecules
from gfnjax.gflownet import GFlowNet
from gfnjax.policies.backward import UniformBackward
from gfnjax.policies.uniform import uniform_policy
from gfnjax.rollout import terminal_states
from gfnjax.run.build import describe
from gfnjax.run.choices import configure
from gfnjax.training import init
from gfnjax.types import Array

CHUNK = 1_024  # molecules between two visits to the host, about
_PROGRAMS: dict[Any, Any] = {}


class Visits(NamedTuple):
    """What one step has visited: B molecules, canonical, and their proxy values; or of n steps.

    Attributes:
        molecules: `[B, ...]`.
        proxy: `[B]`.
        ahead: `[]` int32, proxy values of unfinished molecules that were needed besides.
        loss: `[]`.
    """

    molecules: MoleculeState
    proxy: Array
    ahead: Array
    loss: Array


def described(method: Method) -> Any:
    """What is run: a `GFlowNet`, `MarkovChains`, or one with the uniform policy."""
    found: Any = describe(configure("molecules", **method.settings))
    if method.learns:
        return found
    return replace(found, policy=uniform_policy(found.env), backward=UniformBackward())


def run(method: Method, seed: int, molecules: int) -> dict[str, Any]:
    """The record of one run, for a line of JSON.

    Raises:
        FloatingPointError: if the loss stops being a number.
    """
    what = described(method)
    env = what.env
    visited = Visited(env.vocabulary)
    size = what.batch_size if isinstance(what, GFlowNet) else what.num_chains
    num_steps = max(min(CHUNK, molecules) // size, 1)
    state = init(what, jax.random.key(seed))
    ahead, training, host = 0, 0.0, 0.0
    program, compiling = _program(what, state, num_steps, method.learns)
    while visited.num_visited < molecules:
        start = time.perf_counter()
        state, visits = jax.block_until_ready(program(what, state))
        middle = time.perf_counter()
        visits = jax.tree.map(np.asarray, visits)
        if not np.isfinite(visits.loss).all():
            raise FloatingPointError(f"{method.name}: the loss is no number any more")
        visited.add(visits.molecules, visits.proxy, molecules)
        ahead += int(visits.ahead.sum())
        training += middle - start
        host += time.perf_counter() - middle
    start = time.perf_counter()
    curves = visited.curves(molecules)
    metrics = time.perf_counter() - start
    smiles, scores = visited.log.best(10)
    return {
        "batch_size": size,
        "proxy_calls_ahead": ahead,
        "seconds": {
            "compiling": compiling,
            "training": training,
            "recording": host,
            "metrics": metrics,
        },
        "curves": curves,
        "best": [[x, float(y)] for x, y in zip(smiles, scores, strict=True)],
        "version": gfnjax.__version__,
        "device": jax.devices()[0].device_kind,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _program(what: Any, state: Any, num_steps: int, learns: bool) -> tuple[Any, float]:
    """`chunk` compiled, one for all runs alike but for numbers; and the seconds it took now."""
    leaves, structure = jax.tree.flatten((what, state))
    key = structure, tuple(map(jnp.shape, leaves)), num_steps, learns
    start = time.perf_counter()
    if key not in _PROGRAMS:
        _PROGRAMS[key] = chunk.lower(what, state, num_steps, learns).compile()
    return _PROGRAMS[key], time.perf_counter() - start


@partial(jax.jit, static_argnames=("num_steps", "learns"))
def chunk(what: Any, state: Any, num_steps: int, learns: bool = True) -> tuple[Any, Visits]:
    """Steps of training, and all they have visited, `[n B, ...]`."""
    take = _move if isinstance(what, MarkovChains) else partial(_step, learns=learns)
    state, visits = lax.scan(lambda state, _: take(what, state), state, None, length=num_steps)
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), visits[:2])
    env = what.env
    molecules = jax.vmap(env.canonical)(flat[0])
    values = jax.vmap(partial(_proxy, env))(*flat)
    return state, Visits(molecules, values, *visits[2:])


def _step(gfn: GFlowNet, state: Any, learns: bool) -> tuple[Any, Visits]:
    batch, memory = gfn.draw(state)
    drawn = batch.trajectories
    if learns:
        state, info = gfn.learn(state._replace(memory=memory), batch)
        loss = info.loss
    else:
        state, loss = state._replace(step=state.step + 1), jnp.zeros(())
    # Neither nothing at all nor the molecule itself: those between.
    ahead = jnp.sum(drawn.length - 1) * ("log_partial_reward" in gfn.objective.needs)
    return state, Visits(terminal_states(drawn), drawn.log_reward, ahead, loss)


def _move(chains: MarkovChains, state: Any) -> tuple[Any, Visits]:
    move = chains.propose(state)
    state, info = chains.moved(state, move)
    none = jnp.zeros((), jnp.int32)
    return state, Visits(move.proposals, move.rebuilt.log_reward, none, info.loss)


def _proxy(env: Molecules, state: MoleculeState, log_reward: Array) -> Array:
    """The proxy, .1 at least, from what log R was computed of it."""
    reward: Any = env.reward
    log_r = log_reward + env.log_multiplicity(state).astype(log_reward.dtype)
    return reward.scale * jnp.exp(log_r / reward.exponent)
