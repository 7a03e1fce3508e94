"""gfnjax as the worker runs it: compiled chunks of steps, one program for all of them."""

from typing import Any

import jax
import numpy as np

import gfnjax
from benchmarks import jax_side
from benchmarks.settings import SETTINGS
from benchmarks.tasks import gflownet, num_parameters
from benchmarks.trainer import Counts, Request, Trainer
from gfnjax.training import init, run_chunk

# Steps between two visits to the host.
CAPACITY = 1_024


def make(request: Request) -> Trainer:
    gfn = gflownet(request.task, request.preset, request.batch_size)
    start = init(gfn, jax.random.key(request.seed))
    now = [start]

    def run(num_steps: int, go_on: bool) -> Counts:
        state, length = now[0] if go_on else start, 0.0
        for done in range(0, num_steps, CAPACITY):
            state, info = run_chunk(gfn, state, min(CAPACITY, num_steps - done), CAPACITY)
            length += float(info.length.sum())
        now[0] = state
        return Counts(num_steps * gfn.batch_size, round(length * gfn.batch_size))

    def logits(positions: np.ndarray) -> np.ndarray:
        return np.asarray(_logits(gfn, now[0].params.policy, positions))

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
    }


@jax.jit
def _logits(gfn: Any, params: Any, positions: jax.Array) -> jax.Array:
    def row(position: jax.Array) -> jax.Array:
        state = gfn.env.initial_state()._replace(position=position)
        return gfn.policy.evaluate(params, gfn.env, state).forward_logits

    return jax.vmap(row)(positions)
