"""Public sampling and evaluation are compiled once for each kind of model and shape."""

import jax
import jax.numpy as jnp
import pytest

from gfnjax import GFlowNet, Hypergrid, TrajectoryBalance, mlp_policy, terminal_states
from gfnjax.algorithms import metropolis_hastings
from gfnjax.metrics import exact, sampled, state_graph
from gfnjax.samplers.back_and_forth import back_and_forth
from gfnjax.samplers.local_search import LocalSearch

TRACES = []


def counted(position, side):
    TRACES.append(1)  # runs while tracing only
    return jnp.where((position > 2).all(), 1.0, 0.0)


ENV = Hypergrid(2, 4, counted)
GFN = GFlowNet(ENV, mlp_policy(ENV, (4,)), TrajectoryBalance())


@pytest.fixture(scope="module")
def params():
    return jax.jit(GFN.init)(jax.random.key(0)).params


@pytest.fixture(scope="module")
def paths(params):
    return GFN.sample(params, jax.random.key(1), 8)


CALLS = {
    "sample": lambda params, paths, key: GFN.sample(params, key, 8),
    "sample_backward": lambda params, paths, key: GFN.sample_backward(
        params, key, terminal_states(paths)
    ),
    "elbo": lambda params, paths, key: sampled.elbo(GFN.model, params, key, 8),
    "log_likelihood": lambda params, paths, key: sampled.log_likelihood(
        GFN.model, params, key, terminal_states(paths), 2
    ),
    "back_and_forth": lambda params, paths, key: back_and_forth(
        GFN.model, params, key, terminal_states(paths), 2
    ),
    "local_search": lambda params, paths, key: LocalSearch(2)(GFN.model, params, key, paths),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_reads_rewards_is_traced_once(name, params, paths):
    call = CALLS[name]
    call(params, paths, jax.random.key(2))
    before = len(TRACES)
    for seed in range(3):
        moved = jax.tree.map(lambda x, s=seed: x + s, params)
        jax.block_until_ready(call(moved, paths, jax.random.key(seed)))
    assert len(TRACES) == before


def compilations(call):
    """How many programs a call compiles."""
    events = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: events.append(event)
    )
    jax.block_until_ready(call())
    jax.monitoring.clear_event_listeners()
    return sum(event.endswith("backend_compile_duration") for event in events)


@pytest.mark.slow
def test_scores_and_exact_metrics_compile_nothing_the_second_time(params, paths):
    states = state_graph.build_graph(ENV)
    chains = metropolis_hastings(ENV, 4)
    visited = jax.jit(chains.init)(jax.random.key(0))

    def everything():
        table = exact.policy_table(GFN.model, params)
        return (
            GFN.score(params, paths).log_pf,
            GFN.loss(params, paths),
            GFN.log_z(params),
            exact.evaluate(states, table.log_pf, params.log_z),
            exact.terminating_distribution(states, table.log_pf),
            exact.optimal_flow(states, table.log_pb),
            exact.certificate(states, table.log_pf, table.log_pb, params.log_z),
            sampled.log_weights(GFN.model, params, paths),
            sampled.empirical_total_variation(ENV, states, terminal_states(paths)),
            chains.sample(visited, jax.random.key(1), 8),
        )

    assert compilations(everything) > 5
    assert compilations(everything) == 0
