"""The problems that are measured, as gfnjax describes them.

Each comes twice: with the network, batch and numbers that every library gets (`benchmarks.
settings`), and as `gfnjax train` registers it.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

import gfnjax
from benchmarks import networks
from benchmarks.data import dag_data
from benchmarks.settings import (
    ATTENTION,
    BITS,
    DAG_NODES,
    DAG_WIDTH,
    ISING_SIGMA,
    MOLECULE_BETA,
    MOLECULE_ROUNDS,
    MOLECULE_WIDTH,
    SETTINGS,
    SUBTB_LAMBDA,
    TREES,
    Settings,
    grid,
    ising_side,
)
from gfnjax import GFlowNet, Hyperparameters
from gfnjax.envs import published_set
from gfnjax.envs.amp import antimicrobial_peptides
from gfnjax.envs.bits import bit_sequence
from gfnjax.envs.dags import DAGs
from gfnjax.envs.ising import Ising
from gfnjax.envs.molecule_tasks import molecules
from gfnjax.envs.phylogeny import phylogeny_benchmark
from gfnjax.envs.sequences import left_to_right_bits, qm9_small, tfbind8
from gfnjax.objectives.modified_detailed_balance import ModifiedDetailedBalance
from gfnjax.policies.fragments import fragment_policy
from gfnjax.policies.graph_network import graph_policy
from gfnjax.rewards.dags import posterior
from gfnjax.rewards.gaussian_networks import bge
from gfnjax.rewards.ising import lattice
from gfnjax.rewards.seh import SEHReward, seh_proxy
from gfnjax.run.build import describe as describe_run
from gfnjax.run.choices import configure

OBJECTIVES = {
    "tb": gfnjax.TrajectoryBalance(),
    "db": gfnjax.DetailedBalance(),
    "subtb": gfnjax.SubTrajectoryBalance(SUBTB_LAMBDA),
    "mdb": ModifiedDetailedBalance(),
    "fl-db": gfnjax.ForwardLooking(gfnjax.DetailedBalance()),
}


class Task(NamedTuple):
    """One problem.

    Attributes:
        name: on the command line.
        summary: one line.
        describe: with the settings and the network that the peers get.
        preset: as the library registers the problem.
        peers: libraries with a runner for it.
    """

    name: str
    summary: str
    describe: Callable[[], GFlowNet]
    preset: Callable[[], GFlowNet]
    peers: tuple[str, ...]


# A schedule is a closure, equal only to itself; a second one would be compiled again.
@lru_cache
def _epsilon(start: float, end: float, num_steps: int) -> Any:
    return start if start == end else optax.linear_schedule(start, end, num_steps)


@lru_cache
def _cosine(peak: float, final: float, warmup: int, num_steps: int) -> optax.Schedule:
    return optax.warmup_cosine_decay_schedule(0.0, peak, warmup, num_steps, final)


@lru_cache
def _adamw(weight_decay: float) -> Callable[[Any], optax.GradientTransformation]:
    return partial(optax.adamw, weight_decay=weight_decay) if weight_decay else optax.adam


def _gflownet(env: Any, policy: Any, settings: Settings) -> GFlowNet:
    rate = settings.learning_rate
    return GFlowNet(
        env,
        policy,
        OBJECTIVES[settings.objective],
        backward=gfnjax.LearnedBackward()
        if settings.learned_backward
        else gfnjax.UniformBackward(),
        hyperparameters=Hyperparameters(
            learning_rate=_cosine(*rate) if isinstance(rate, tuple) else rate,
            log_z_learning_rate=settings.log_z_learning_rate,
            epsilon=_epsilon(*settings.epsilon),
        ),
        optimizer=_adamw(settings.weight_decay),
        regression=gfnjax.regression.huber if settings.huber else gfnjax.regression.square,
        log_z_init=0.0,
        batch_size=settings.batch_size,
    )


def _mlp(name: str, env: Any) -> GFlowNet:
    settings = SETTINGS[name]
    policy = gfnjax.mlp_policy(env, settings.hidden_sizes, settings.activation)
    return _gflownet(env, policy, settings)


def _grid(name: str) -> GFlowNet:
    num_dims, side, rewards = grid(name)
    return _mlp(name, gfnjax.Hypergrid(num_dims, side, gfnjax.Corners(*rewards)))


def _bits(name: str) -> GFlowNet:
    env = bit_sequence(*BITS)
    return _gflownet(env, networks.words_policy(env, ATTENTION), SETTINGS[name])


def _left_to_right(name: str) -> GFlowNet:
    env = left_to_right_bits(*BITS)
    return _gflownet(env, networks.causal_policy(env, ATTENTION), SETTINGS[name])


def _amp(name: str) -> GFlowNet:
    env = antimicrobial_peptides()
    return _gflownet(env, networks.causal_policy(env, ATTENTION), SETTINGS[name])


def _dag(name: str) -> GFlowNet:
    # Not those that it is registered with, which the peers cannot draw.
    env = DAGs(DAG_NODES, posterior(bge(dag_data(DAG_NODES))))
    return _gflownet(env, graph_policy(env, DAG_WIDTH), SETTINGS[name])


def _phylogeny(name: str) -> GFlowNet:
    env = phylogeny_benchmark(TREES.dataset)
    return _gflownet(env, networks.trees_policy(env, TREES), SETTINGS[name])


def _ising(name: str) -> GFlowNet:
    side = ising_side(name)
    return _mlp(name, Ising(side, lattice(side, ISING_SIGMA)))


def _molecules(name: str) -> GFlowNet:
    env = molecules(SEHReward(seh_proxy(canonical=True), MOLECULE_BETA))
    return _gflownet(env, fragment_policy(env, MOLECULE_WIDTH, MOLECULE_ROUNDS), SETTINGS[name])


def _preset(environment: str, **settings: Any) -> GFlowNet:
    """As `gfnjax train ENVIRONMENT` trains."""
    return describe_run(configure(environment, **settings))  # type: ignore[return-value]


def _task(
    name: str,
    summary: str,
    describe: Callable[[str], GFlowNet],
    preset: Callable[[], GFlowNet],
    *peers: str,
) -> Task:
    return Task(name, summary, lru_cache(partial(describe, name)), lru_cache(preset), peers)


BOTH = "gfnx", "torchgfn"
_GRID = partial(_preset, "hypergrid-20x4")
_TASKS = (
    _task("grid-tb", "20^4 grid, trajectory balance", _grid, _GRID, *BOTH),
    _task("grid-db", "20^4 grid, detailed balance", _grid, partial(_GRID, objective="db"), *BOTH),
    _task(
        "grid-subtb",
        "20^4 grid, sub-trajectory balance",
        _grid,
        partial(_GRID, objective="subtb"),
        *BOTH,
    ),
    _task(
        "grid-8x8",
        "8 x 8 grid",
        _grid,
        partial(_preset, "hypergrid", num_dims=2, side=8),
        *BOTH,
    ),
    _task("bits", "120 bits, words in any order", _bits, partial(_preset, "bits"), *BOTH),
    _task(
        "bits-left-to-right",
        "120 bits, words appended",
        _left_to_right,
        partial(_preset, "bits-left-to-right"),
    ),
    _task(
        "tfbind8",
        "DNA of 8 nucleotides",
        lambda name: _mlp(name, tfbind8()),
        partial(_preset, "tfbind8"),
        "gfnx",
    ),
    _task(
        "qm9-small",
        "molecules of 5 blocks",
        lambda name: _mlp(name, qm9_small()),
        partial(_preset, "qm9-small"),
        "gfnx",
    ),
    _task("amp", "antimicrobial peptides", _amp, partial(_preset, "amp"), "gfnx"),
    _task("dag", "Bayesian networks of 5 nodes", _dag, partial(_preset, "dag"), "gfnx"),
    _task("phylogeny", "trees of DS1", _phylogeny, partial(_preset, "phylogeny"), "gfnx"),
    _task("ising-6", "6 x 6 spins", _ising, partial(_preset, "ising", side=6), *BOTH),
    _task("ising-10", "10 x 10 spins", _ising, partial(_preset, "ising", side=10), *BOTH),
    _task(
        "set-medium",
        "60 of 80 elements",
        lambda name: _mlp(name, published_set("medium")),
        partial(_preset, "set", variant="medium", objective="fl-db"),
        "torchgfn",
    ),
    _task("molecules", "molecules of up to 8 fragments", _molecules, partial(_preset, "molecules")),
)
TASKS: dict[str, Task] = {task.name: task for task in _TASKS}


def gflownet(name: str, preset: bool = False, batch_size: int | None = None) -> GFlowNet:
    """The description of a problem.

    Raises:
        KeyError: for an unknown name.
        FileNotFoundError: where a data file is missing.
    """
    task = TASKS[name]
    gfn = task.preset() if preset else task.describe()
    return gfn if batch_size is None else replace(gfn, batch_size=batch_size)


def num_parameters(gfn: GFlowNet) -> int:
    """How many numbers are trained; nothing is computed."""
    params = jax.eval_shape(gfn.init, jax.random.key(0)).params
    # Where the flows start is a constant; so is log Z where the objective has it from elsewhere.
    learned = params.log_z if gfn.objective.log_z == "learned" else None
    trained = params._replace(log_z=learned, log_flow_start=None)
    return sum(int(np.prod(x.shape)) for x in jax.tree.leaves(trained) if hasattr(x, "shape"))
