"""Environments x objectives: every pair vanishes at the exact optimum, and only there.

That each environment keeps the contract is checked next to it, in `tests/envs`.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from few_fragments import blocks_differ, two_fragments

from gfnjax import (
    DetailedBalance,
    FlowMatching,
    GFlowNet,
    Hypergrid,
    LogPartitionVariance,
    SubTrajectoryBalance,
    TargetDetailedBalance,
    TrajectoryBalance,
    corners,
    tabular_policy,
)
from gfnjax.envs.amp import VariableSequence
from gfnjax.envs.base import log_reward_of
from gfnjax.envs.bits import bit_sequence
from gfnjax.envs.dags import DAGs
from gfnjax.envs.ising import Ising
from gfnjax.envs.molecule_tasks import molecules
from gfnjax.envs.phylogeny import phylogeny
from gfnjax.envs.sequences import FixedSequence, left_to_right_bits
from gfnjax.envs.sets import additive_set
from gfnjax.metrics import exact
from gfnjax.metrics.state_graph import build_graph
from gfnjax.objectives.base import resolve_log_z, weighted_loss
from gfnjax.objectives.regression import square
from gfnjax.rewards.dags import posterior
from gfnjax.rewards.gaussian_networks import bge
from gfnjax.rewards.ising import IsingReward
from gfnjax.rewards.tables import TableReward
from gfnjax.testing import exact_optimum

OBJECTIVES = {
    "tb": TrajectoryBalance(),
    "db": DetailedBalance(),
    "target-db": TargetDetailedBalance(),
    "subtb": SubTrajectoryBalance(0.9),
    "fm": FlowMatching(),
    "vargrad": LogPartitionVariance(),
}


def normal(*shape):
    return jax.random.normal(jax.random.key(7), shape)


def weighted_letters(tokens):
    place = jnp.arange(1, tokens.size + 1, dtype=jnp.result_type(float))
    return (place * (tokens + 1).astype(place.dtype)).sum() / 10


ENVIRONMENTS = {
    "hypergrid": lambda: Hypergrid(2, 5, corners("easy")),
    "set": lambda: additive_set(np.array([0.1, -0.4, 0.3, 0.2, 1.0]), 3),
    "bits": lambda: bit_sequence(4, 1, num_modes=2),
    "bits-left-to-right": lambda: left_to_right_bits(4, 2, num_modes=2),
    "append": lambda: FixedSequence(3, 3, TableReward(normal(3, 3, 3))),
    "both-ends": lambda: FixedSequence(3, 2, TableReward(normal(2, 2, 2)), both_ends=True),
    "variable-length": lambda: VariableSequence(3, 3, weighted_letters, min_length=1),
    "dags": lambda: DAGs(3, posterior(bge(np.random.default_rng(0).normal(size=(9, 3))))),
    "ising": lambda: Ising(2, IsingReward(0.3 * normal(4, 4))),
    "molecules": lambda: molecules(blocks_differ, two_fragments(), max_blocks=4),
    "phylogeny": lambda: phylogeny({"a": "ACGT", "b": "ACGA", "c": "TCTA", "d": "TGTT"}, 6, 2),
}


class Everything(TrajectoryBalance):
    """Asks for all that any objective needs, so that one compilation serves them all."""

    needs = frozenset({"log_inflow", "target"})


@partial(jax.jit, static_argnames="policy")
def losses_and_gradients(env, policy, params, key):
    """Losses, one an objective, and their gradients, on trajectories of the uniform policy."""
    gfn = GFlowNet(env, policy, Everything(), target_rate=1.0)
    trajectories = gfn.sample(jax.tree.map(jnp.zeros_like, params), key, 48)

    def losses(params):
        target = jax.lax.stop_gradient(params.policy)
        scores = gfn.score(params, trajectories, target=target, dense=True)
        seen = {name: resolve_log_z(o.log_z, scores) for name, o in OBJECTIVES.items()}
        values = [weighted_loss(o, square, seen[name]) for name, o in OBJECTIVES.items()]
        return jnp.stack(values)

    return losses(params), jax.jacrev(losses)(params)


def named(values):
    return dict(zip(OBJECTIVES, np.asarray(values), strict=True))


def largest(grads):
    rows = [np.abs(x).reshape(len(OBJECTIVES), -1).max(axis=1) for x in jax.tree.leaves(grads)]
    return named(np.max(rows, axis=0))


@pytest.fixture(scope="module", params=ENVIRONMENTS)
def solved(request):
    """An environment, its optimum for a random P_B, and its state graph."""
    with jax.enable_x64(True):
        env = ENVIRONMENTS[request.param]()
        return env, exact_optimum(env, jax.random.key(0)), build_graph(env)


def test_every_objective_at_the_optimum(solved, x64, key):
    env, optimum, _ = solved
    policy = tabular_policy(env)
    losses, grads = losses_and_gradients(env, policy, optimum, key)
    assert losses.dtype == np.float64
    assert {n for n, x in named(losses).items() if not x < 1e-12} == set()
    assert {n for n, x in largest(grads).items() if not x < 1e-6} == set()

    leaves, structure = jax.tree.flatten(optimum)
    keys = jax.random.split(key, len(leaves))
    noise = [jax.random.normal(k, x.shape, x.dtype) for k, x in zip(keys, leaves, strict=True)]
    moved = jax.tree.map(lambda x, n: x + n / 2, optimum, structure.unflatten(noise))
    losses, grads = losses_and_gradients(env, policy, moved, key)
    assert {n for n, x in named(losses).items() if not x > 1e-3} == set()
    assert {n for n, x in largest(grads).items() if not x > 1e-4} == set()


def test_the_optimal_policy_samples_the_target(solved, x64):
    env, optimum, graph = solved
    log_pf = optimum.policy["params"]["forward_logits"]
    metrics = exact.evaluate(graph, log_pf, optimum.log_z)
    assert float(metrics.total_variation) < 1e-10
    terminal = jax.vmap(env.state_at)(jnp.flatnonzero(graph.terminal).astype(jnp.int32))
    total = jax.nn.logsumexp(jax.vmap(partial(log_reward_of, env))(terminal))
    assert float(optimum.log_z) == pytest.approx(float(total), abs=1e-10)
