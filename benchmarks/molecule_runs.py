"""Runs of a method on molecules: chunks of compiled steps, and what they have visited."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import gfnjax
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


class Run(NamedTuple):
    """A run as it is kept: the molecules in the order of their visits, and what it took.

    Attributes:
        molecules: `[n, ...]` int8.
        proxy: `[n]` float32.
        facts: its batch, device, version, seconds and further proxy calls.
    """

    molecules: MoleculeState
    proxy: np.ndarray
    facts: dict[str, Any]

    def save(self, path: Path) -> None:
        """Whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft.npz")
        facts = np.array(json.dumps(self.facts))
        np.savez_compressed(draft, *self.molecules, proxy=self.proxy, facts=facts)
        draft.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Run":
        """The inverse of `save`."""
        with np.load(path) as file:
            molecules = MoleculeState(*(file[f"arr_{i}"] for i in range(4)))
            return cls(molecules, file["proxy"], json.loads(str(file["facts"])))


def described(method: Method) -> Any:
    """What is run: a `GFlowNet`, `MarkovChains`, or one with the uniform policy."""
    found: Any = describe(configure("molecules", **method.settings))
    if method.learns:
        return found
    return replace(found, policy=uniform_policy(found.env), backward=UniformBackward())


def run(method: Method, seeds: Sequence[int], molecules: int, seconds: float) -> list[Run]:
    """A run of each seed, all in one program, until enough is visited or time is up.

    Seconds of training are those of all seeds together.

    Raises:
        FloatingPointError: if a loss stops being a number.
    """
    what = described(method)
    size = what.batch_size if isinstance(what, GFlowNet) else what.num_chains
    num_steps = max(min(CHUNK, molecules) // size, 1)
    begin = time.perf_counter()
    states = [init(what, jax.random.key(seed)) for seed in seeds]
    state = jax.tree.map(lambda *x: jnp.stack(x), *states)
    together = jax.jit(jax.vmap(partial(chunk, num_steps, method.learns), (None, 0)))
    program = together.lower(what, state).compile()
    compiling = time.perf_counter() - begin
    found, training = [], 0.0
    while len(found) * num_steps * size < molecules:
        if found and time.perf_counter() - begin > seconds:
            break
        start = time.perf_counter()
        state, visits = jax.block_until_ready(program(what, state))
        training += time.perf_counter() - start
        found.append(jax.tree.map(np.asarray, visits))
        if not np.isfinite(visits.loss).all():
            raise FloatingPointError(f"{method.name}: the loss is no number any more")
    facts = {
        "batch_size": size,
        "seconds": {"compiling": compiling, "training": training, "runs": len(seeds)},
        "version": gfnjax.__version__,
        "device": jax.devices()[0].device_kind,
    }
    return [_joined([jax.tree.map(lambda x, i=i: x[i], each) for each in found], facts, molecules)
            for i in range(len(seeds))]  # fmt: skip


def _joined(chunks: list[Visits], facts: dict[str, Any], most: int) -> Run:
    visits = jax.tree.map(lambda *x: np.concatenate(x), *chunks)
    states = jax.tree.map(lambda x: x[:most].astype(np.int8), visits.molecules)
    ahead = int(visits.ahead.sum())
    return Run(states, visits.proxy[:most], facts | {"proxy_calls_ahead": ahead})


def chunk(num_steps: int, learns: bool, what: Any, state: Any) -> tuple[Any, Visits]:
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
    # All that are not finished, but for nothing at all.
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
