"""The network of graph problems: equivariant, blind to padding, the same in any company."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax.data import graphs
from gfnjax.envs.conditional import temperature_conditional
from gfnjax.envs.graph_problems import graph_problem
from gfnjax.envs.hypergrid import Hypergrid
from gfnjax.envs.tempered import tempered
from gfnjax.policies.base import check_output
from gfnjax.policies.node_network import node_policy, problem_view

GRAPH = graphs.erdos_renyi(7, 0.4, np.random.default_rng(3))
PROBLEMS = "independent-set", "clique", "dominating-set", "max-cut"


def made(env, key, **options):
    """A policy whose heads are not nearly zero, and its parameters."""
    policy = node_policy(env, width=8, num_layers=2, **options)
    params = policy.init(key, problem_view(env, env.initial_state()))
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noise = [0.3 * jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
    return policy, structure.unflatten([x + n for x, n in zip(leaves, noise, strict=True)])


def chosen(env, *nodes, graph=0):
    state = env.source(graph)
    for node in nodes:
        state = env.step(state, jnp.int32(node))
    return state


@pytest.mark.parametrize("problem", PROBLEMS)
def test_relabelled_nodes_give_relabelled_logits(problem, key):
    order = np.array([3, 0, 6, 2, 5, 1, 4])
    env, moved = graph_problem(problem, GRAPH, 2.0), graph_problem(problem, GRAPH[order][:, order])
    moved = replace(moved, beta=2.0)
    policy, params = made(env, key)
    plain = policy.evaluate(params, env, chosen(env, 3))
    other = policy.evaluate(params, moved, chosen(moved, 0))
    np.testing.assert_allclose(other.forward_logits, plain.forward_logits[order], atol=1e-5)
    np.testing.assert_allclose(other.backward_logits, plain.backward_logits[order], atol=1e-5)
    np.testing.assert_allclose(other.log_flow, plain.log_flow, atol=1e-5)
    assert np.ptp(np.asarray(plain.forward_logits)) > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("maximal", [True, False])
def test_padding_and_company_change_nothing(maximal, key):
    alone = graph_problem("independent-set", GRAPH, 2.0, maximal=maximal)
    others = [graphs.path(12), GRAPH, graphs.cycle(5)]
    many = graph_problem("independent-set", others, 2.0, maximal=maximal)
    policy, params = made(alone, key)
    a, b = chosen(alone, 3), chosen(many, 3, graph=1)
    plain, padded = policy.evaluate(params, alone, a), policy.evaluate(params, many, b)
    np.testing.assert_array_equal(alone.forward_mask(a)[:7], many.forward_mask(b)[:7])
    assert not many.forward_mask(b)[7:12].any()
    for name in ("forward_logits", "backward_logits"):
        short, long = getattr(plain, name), getattr(padded, name)
        np.testing.assert_allclose(long[:7], short[:7], atol=1e-5)
        if not maximal:
            np.testing.assert_allclose(long[12], short[7], atol=1e-5)
    np.testing.assert_allclose(padded.log_flow, plain.log_flow, atol=1e-5)
    # Of another graph it says something else.
    other = policy.evaluate(params, many, chosen(many, 3, graph=0))
    assert abs(other.log_flow - plain.log_flow) > 1e-3


def test_edges_status_and_temperature_matter(key):
    env = graph_problem("max-cut", GRAPH, 2.0)
    policy, params = made(env, key)
    flow = policy.evaluate(params, env, chosen(env, 3)).log_flow
    fewer = graph_problem(
        "max-cut",
        GRAPH & graphs.complete(7) & ~np.eye(7, k=1, dtype=bool) & ~np.eye(7, k=-1, dtype=bool),
        2.0,
    )
    for other in (fewer, replace(env, beta=3.0)):
        assert abs(policy.evaluate(params, other, chosen(other, 3)).log_flow - flow) > 1e-3
    assert abs(policy.evaluate(params, env, chosen(env, 4)).log_flow - flow) > 1e-3


def test_the_temperature_in_force_is_seen(key):
    env = graph_problem("clique", GRAPH, 2.0)
    policy, params = made(env, key)
    warmer, state = replace(env, beta=3.0), chosen(env, 3)
    flow = policy.evaluate(params, warmer, state).log_flow
    np.testing.assert_allclose(policy.evaluate(params, tempered(env, 1.5), state).log_flow, flow)
    both = temperature_conditional(tempered(env, 1.5), 0.5, 4.0).at(2.0)
    view = problem_view(both, both.initial_state())
    assert view.beta == 6.0
    assert view.condition.shape == (1,)
    # On the outside too, and one condition in another.
    above = tempered(both, 2.0)
    assert problem_view(above, above.initial_state()).beta == 12.0
    twice = temperature_conditional(both, 1.0, 2.0).at(1.5)
    view = problem_view(twice, twice.initial_state())
    assert view.beta == 9.0
    assert view.condition.shape == (2,)


@pytest.mark.slow
@pytest.mark.parametrize("maximal", [True, False])
def test_it_fits_in_double_precision_and_trains_all_it_has(maximal, key, x64):
    env = graph_problem("independent-set", [GRAPH, graphs.path(9)], 2.0, maximal=maximal)
    policy, params = made(env, key, separate_flow=True)
    check_output(policy, params, env)
    state = chosen(env, 3, graph=1)

    def loss(params):
        output = policy.evaluate(params, env, state)
        forward, backward = map(jax.nn.log_softmax, output[:2])
        return forward[0] + backward[1] + output.log_flow

    grads = jax.grad(loss)(params)
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
        assert grad.dtype == np.float64
        assert jnp.abs(grad).max() > 0, path


def test_equal_settings_share_compiled_code_and_errors_are_told():
    env = graph_problem("clique", GRAPH)
    assert node_policy(env, 8) is node_policy(graph_problem("max-cut", graphs.path(3)), 8)
    with pytest.raises(TypeError, match="env needs a GraphProblem, got Hypergrid"):
        node_policy(Hypergrid())
    with pytest.raises(ValueError, match="width must be at least 1, got 0"):
        node_policy(env, width=0)
