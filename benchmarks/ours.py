"""gfnjax as the worker runs it: compiled chunks of steps, one program for all of them."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import gfnjax
from benchmarks import jax_side
from benchmarks.measures import state_of
from benchmarks.settings import SETTINGS
from benchmarks.tasks import gflownet, num_parameters
from benchmarks.trainer import Counts, Request, Trainer
from gfnjax.training import init, run_chunk

# Steps between two visits to the host.
CAPACITY = 1_024
# States at a time, where logits are asked for.
ROWS = 4_096


def make(request: Request) -> Trainer:
    gfn = gflownet(request.task, request.preset, request.batch_size)
    if request.log_z_start is not None:
        start_of = {"batch": "batch", "zero": 0.0}
        gfn = replace(gfn, log_z_init=start_of[request.log_z_start])
    start = init(gfn, jax.random.key(request.seed))
    now = [start]

    def run(num_steps: int, go_on: bool) -> Counts:
        state, length = now[0] if go_on else start, 0.0
        for done in range(0, num_steps, CAPACITY):
            state, info = run_chunk(gfn, state, min(CAPACITY, num_steps - done), CAPACITY)
            length += float(info.length.sum())
        now[0] = state
        return Counts(num_steps * gfn.batch_size, round(length * gfn.batch_size))

    def logits(states: np.ndarray) -> np.ndarray:
        return np.asarray(_logits(gfn, now[0].params.policy, states))

    return Trainer(_about(gfn, request), run, logits)


def _about(gfn: gfnjax.GFlowNet, request: Request) -> dict[str, Any]:
    settings = SETTINGS[request.task]
    return {
        "version": gfnjax.__version__,
        **jax_side.about(),
        "batch_size": gfn.batch_size,
        "objective": type(gfn.objective).__name__ if request.preset else settings.objective,
        "network": "preset" if request.preset else settings.network,
        "num_parameters": num_parameters(gfn),
        "log_z_start": request.log_z_start,
    }


@jax.jit
def _logits(gfn: Any, params: Any, states: jax.Array) -> jax.Array:
    def row(written: jax.Array) -> jax.Array:
        state = state_of(gfn.env, written)
        logits = gfn.policy.evaluate(params, gfn.env, state).forward_logits
        return jnp.where(gfn.env.forward_mask(state), logits, -jnp.inf)

    return jax.lax.map(row, states, batch_size=ROWS)
