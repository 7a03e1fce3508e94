"""torchgfn as the worker runs it: its environments, estimators, sampler and losses.

Trajectories are sampled without gradients and the loss evaluates them again in one batch;
keeping the sampler's own outputs, or compiling the estimators by `try_compile_gflownet`, took as
long or longer. It has one thread unless OMP_NUM_THREADS says otherwise: on batches this small more
mostly wait, for very long where cores are shared.
"""

import os
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
import torch
from gfn.gflownet import DBGFlowNet, SubTBGFlowNet, TBGFlowNet
from gfn.samplers import Sampler

from benchmarks.peers.torchgfn_problems import PROBLEMS, Problem
from benchmarks.settings import SETTINGS, SUBTB_LAMBDA, Settings
from benchmarks.trainer import Counts, Request, Trainer


class Run(NamedTuple):
    """A run that has been set up; torch keeps what changes within these."""

    problem: Problem
    gflownet: Any
    sampler: Sampler
    optimizer: torch.optim.Optimizer


def make(request: Request) -> Trainer:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    settings = SETTINGS[request.task]
    if request.batch_size is not None:
        settings = settings._replace(batch_size=request.batch_size)
    now = [_start(request, settings)]
    done = [0]

    def train(num_steps: int, go_on: bool) -> Counts:
        if not go_on:
            now[0], done[0] = _start(request, settings), 0
        lengths = [_step(now[0], settings, done[0] + i) for i in range(num_steps)]
        done[0] += num_steps
        return Counts(num_steps * settings.batch_size, sum(lengths))

    def logits(positions: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            given = torch.tensor(positions, dtype=torch.long)
            states = now[0].problem.env.states_from_tensor(given)
            found = now[0].gflownet.pf(states)
            return found.masked_fill(~states.forward_masks, -torch.inf).numpy()

    return Trainer(_about(settings, now[0].gflownet), train, logits)


def _about(settings: Settings, gflownet: Any) -> dict[str, Any]:
    trained = {id(x): x.numel() for x in gflownet.parameters() if x.requires_grad}
    return {
        "version": version("torchgfn"),
        "framework": f"torch {torch.__version__}",
        "device": "cpu",
        "platform": "cpu",
        "batch_size": settings.batch_size,
        "objective": settings.objective,
        "network": settings.network,
        "num_parameters": sum(trained.values()),
    }


def _start(request: Request, settings: Settings) -> Run:
    torch.manual_seed(request.seed)
    problem = PROBLEMS[request.task](request.task)
    gflownet = _gflownet(problem, settings)
    log_z = gflownet.logz_parameters() if settings.objective == "tb" else []
    apart = {id(x) for x in log_z}
    network = [x for x in gflownet.parameters() if x.requires_grad and id(x) not in apart]
    groups = [{"params": network, "lr": settings.learning_rate}]
    if log_z:
        rate = settings.log_z_learning_rate
        groups.append({"params": log_z, "lr": rate, "weight_decay": 0.0})
    optimizer: torch.optim.Optimizer = torch.optim.Adam(groups)
    if settings.weight_decay:
        groups[0]["weight_decay"] = settings.weight_decay
        optimizer = torch.optim.AdamW(groups)
    return Run(problem, gflownet, Sampler(gflownet.pf), optimizer)


def _gflownet(problem: Problem, settings: Settings) -> Any:
    if settings.objective == "tb":
        return TBGFlowNet(problem.pf, problem.pb)
    if settings.objective == "subtb":
        given = problem.pf, problem.pb, problem.log_flow
        return SubTBGFlowNet(*given, weighting="geometric", lamda=SUBTB_LAMBDA)
    look_forward = settings.objective == "fl-db"
    given = problem.pf, problem.pb, problem.log_flow
    return DBGFlowNet(*given, forward_looking=look_forward)


def _step(run: Run, settings: Settings, step: int) -> int:
    """One step of training; how many transitions it has sampled."""
    first, last, num_steps = settings.epsilon
    epsilon = first + (last - first) * min(step / num_steps, 1.0)
    with torch.no_grad():
        trajectories = run.sampler.sample_trajectories(
            run.problem.env, n=settings.batch_size, epsilon=epsilon
        )
    samples = run.gflownet.to_training_samples(trajectories)
    loss = run.gflownet.loss(run.problem.env, samples, recalculate_all_logprobs=True)
    run.optimizer.zero_grad()
    loss.backward()
    run.optimizer.step()
    return int(trajectories.terminating_idx.sum())
