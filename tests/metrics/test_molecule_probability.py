"""log p of molecules by dynamic programming against the whole state graph."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from few_fragments import few_fragments, two_fragments

from gfnjax import Hypergrid, Model, UniformBackward, corners, tabular_policy
from gfnjax.envs import molecules, temperature_conditional
from gfnjax.metrics import exact
from gfnjax.metrics.molecule_probability import log_prob, state_log_prob
from gfnjax.metrics.state_graph import build_graph
from gfnjax.policies import fragment_policy
from gfnjax.rollout import terminal_states


def nothing(state):
    return jnp.zeros((), jnp.result_type(float))


def shaken(params):
    """Far from uniform, so that every choice matters."""
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(5), len(leaves))
    moved = [
        x + jax.random.normal(k, x.shape, x.dtype) / 4 for k, x in zip(keys, leaves, strict=True)
    ]
    return structure.unflatten(moved)


def model_of(env, policy):
    model = Model(env, policy, UniformBackward())
    params = model.init(*jax.random.split(jax.random.key(3)))
    return model, params._replace(policy=shaken(params.policy))


def by_enumeration(env, model, params):
    """Terminal states, log p of each, and log p of the molecule of each."""
    graph = build_graph(env)
    table = exact.policy_table(model, params)
    log_p = np.asarray(exact.terminating_distribution(graph, table.log_pf))
    terminal = np.flatnonzero(graph.terminal)
    states = jax.vmap(env.state_at)(jnp.asarray(terminal, jnp.int32))
    molecule = jax.jit(jax.vmap(lambda state: env.state_index(env.canonical(state))))(states)
    _, where = np.unique(np.asarray(molecule), return_inverse=True)
    total = np.full(where.max() + 1, -np.inf)
    np.logaddexp.at(total, where, log_p[terminal])
    return states, log_p[terminal], total[where]


@pytest.mark.long
def test_all_molecules_of_three_blocks():
    env = molecules(nothing, few_fragments(), max_blocks=3)
    model, params = model_of(env, fragment_policy(env, 16, 2))
    states, of_states, of_molecules = by_enumeration(env, model, params)
    np.testing.assert_allclose(state_log_prob(model, params, states), of_states, atol=1e-4)
    found = log_prob(model, params, states)
    np.testing.assert_allclose(found, of_molecules, atol=1e-4)
    assert found.std() > 1


@pytest.mark.long
def test_any_policy_of_states():
    env = molecules(nothing, two_fragments(), max_blocks=3)
    model, params = model_of(env, tabular_policy(env))
    states, of_states, _ = by_enumeration(env, model, params)
    np.testing.assert_allclose(state_log_prob(model, params, states), of_states, atol=1e-4)
    with pytest.raises(ValueError, match=r"model\.policy tells states of one molecule apart"):
        log_prob(model, params, states)


@pytest.mark.long
def test_under_a_condition():
    env = temperature_conditional(molecules(nothing, two_fragments(), max_blocks=2), 1.0, 4.0)
    fixed = env.at(3.0)
    model, params = model_of(fixed, fragment_policy(env, 16, 1, trunk="attention", num_heads=2))
    states, of_states, of_molecules = by_enumeration(fixed, model, params)
    np.testing.assert_allclose(state_log_prob(model, params, states), of_states, atol=1e-4)
    np.testing.assert_allclose(log_prob(model, params, states), of_molecules, atol=1e-4)


@pytest.mark.slow
def test_what_is_refused():
    env = molecules(nothing, two_fragments(), max_blocks=2)
    model, params = model_of(env, fragment_policy(env, 16, 1))
    start = jax.tree.map(lambda x: x[None], env.initial_state())
    with pytest.raises(ValueError, match="states must be terminal, got one that is not, number 0"):
        log_prob(model, params, start)
    grid = Hypergrid(2, 3, corners("easy"))
    model, params = model_of(grid, tabular_policy(grid))
    sampled = terminal_states(model.sample(params, jax.random.key(0), 2))
    with pytest.raises(TypeError, match="env needs Molecules, got Hypergrid"):
        log_prob(model, params, sampled)
