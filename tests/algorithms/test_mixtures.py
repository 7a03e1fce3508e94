"""Strata and the mixture of what is learned of each: exact at the optimum, for any floor."""

import dataclasses
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax import (
    GFlowNet,
    Hypergrid,
    Hyperparameters,
    Params,
    Policy,
    PolicyOutput,
    TrajectoryBalance,
    corners,
    mlp_policy,
    tabular_policy,
    terminal_states,
    train,
)
from gfnjax.algorithms import mixtures
from gfnjax.envs import additive_set, temperature_conditional
from gfnjax.envs.base import Enumerable, PartialReward
from gfnjax.envs.strata import Strata, stratified
from gfnjax.metrics import distances, exact
from gfnjax.metrics.state_graph import build_graph
from gfnjax.model import Model
from gfnjax.testing import check_environment, diamond, exact_optimum

FLOORS = pytest.mark.parametrize("floor", [1e-3, 0.3])


def by_index(state):
    return state.index % 2


def one_hot(number, count):
    return jnp.eye(count)[number]


def by_stratum(env):
    """A policy with a table a stratum."""

    def apply(params, observation):
        index, condition = observation
        state, number = jnp.argmax(index), jnp.argmax(condition)
        rows = [params[n][number, state] for n in ("forward_logits", "backward_logits", "log_flow")]
        return PolicyOutput(*rows)

    def init(key, observation):
        names = {"forward_logits": env.num_actions, "backward_logits": env.num_backward_actions}
        shape = env.reward.num_strata, env.rules.num_states
        tables = {name: jnp.zeros((*shape, size)) for name, size in names.items()}
        return tables | {"log_flow": jnp.zeros(shape)}

    return Policy(init, apply)


def optimum(env):
    """Parameters of `by_stratum` at the optimum, for a P_B of each component's own."""
    tables = [
        exact_optimum(env.at(one_hot(k, env.reward.num_strata)), jax.random.key(k))
        for k in range(env.reward.num_strata)
    ]
    policy = jax.tree.map(lambda *x: jnp.stack(x), *(t.policy["params"] for t in tables))
    return Params(policy, jnp.zeros(())), jnp.stack([t.log_z for t in tables])


@FLOORS
def test_the_mixture_of_the_optima_is_the_target(floor, x64, key):
    env = stratified(diamond(), by_index, 2, floor=floor)
    graph = build_graph(env.rules)
    log_q, log_z = exact.target_distribution(graph)
    params, component_log_z = optimum(env)
    model = Model(env, by_stratum(env))
    found = mixtures.component_log_z(model, params)
    np.testing.assert_allclose(found, component_log_z, rtol=1e-12)
    np.testing.assert_allclose(jax.nn.logsumexp(found), log_z, rtol=1e-12)
    log_p = mixtures.terminating_distribution(model, params, graph)
    assert distances.total_variation(log_p, log_q) < 1e-12
    # And of nothing else: other shares, or other policies.
    shifted = mixtures.terminating_distribution(model, params, graph, found.at[0].add(1.0))
    assert distances.total_variation(shifted, log_q) > 0.01
    tilt = jnp.sin(jnp.arange(params.policy["forward_logits"][0].size, dtype=float))
    logits = params.policy["forward_logits"] + tilt.reshape(1, -1, env.num_actions)
    off = params._replace(policy=params.policy | {"forward_logits": logits})
    off = mixtures.terminating_distribution(model, off, graph, found)
    # With a small floor a component of one object cannot miss it by much.
    assert distances.total_variation(off, log_q) > 1e-4


def test_balance_vanishes_at_the_optimum_and_there_alone(x64, key):
    env = stratified(diamond(), by_index, 2)
    params, _ = optimum(env)
    gfn = GFlowNet(env, by_stratum(env), TrajectoryBalance("flow"))
    loss = jax.jit(jax.value_and_grad(gfn.loss))
    paths = jax.jit(gfn.sample, static_argnums=2)(jax.tree.map(jnp.zeros_like, params), key, 32)
    assert set(np.argmax(np.asarray(paths.states.condition[:, 0]), axis=1)) == {0, 1}
    value, grad = loss(params, paths)
    np.testing.assert_allclose(value, 0, atol=1e-20)
    assert max(float(np.abs(x).max()) for x in jax.tree.leaves(grad)) < 1e-10
    tables = params.policy
    assert (
        loss(params._replace(policy=tables | {"log_flow": tables["log_flow"] + 0.1}), paths)[0]
        > 1e-3
    )


def test_samples_of_the_mixture(key):
    env = stratified(diamond(), by_index, 2, floor=0.3)
    params, _ = optimum(env)
    model = Model(env, by_stratum(env))
    found = jax.jit(mixtures.sample, static_argnums=3)(model, params, key, 20_000)
    index = np.asarray(terminal_states(found).inner.index)
    share = np.bincount(index, minlength=5) / len(index)
    log_q, _ = exact.target_distribution(build_graph(env.rules))
    # Four standard errors at most.
    np.testing.assert_allclose(share, np.exp(log_q), atol=4 * 0.5 / np.sqrt(len(index)))
    # Most of a stratum is made by its own component: here .85 = 1 - .3 + .3 / 2.
    own = np.argmax(np.asarray(found.states.condition[:, 0]), axis=1) == index % 2
    np.testing.assert_allclose(own.mean(), 0.85, atol=0.02)


def test_shares_by_hand():
    strata = Strata(lambda state: state.index % 3, 0.3, 3)
    state = diamond().initial_state()._replace(index=jnp.int32(4))
    shares = [strata.log_share(one_hot(k, 3), state) for k in range(3)]
    np.testing.assert_allclose(np.exp(shares), [0.1, 0.8, 0.1], rtol=1e-6)
    # Numbers out of range are those at the ends; bools are numbers.
    far = Strata(lambda state: state.index > 3, 0.5, 2)
    np.testing.assert_allclose(np.exp(far.log_share(one_hot(1, 2), state)), 0.75, rtol=1e-6)
    high = Strata(lambda state: jnp.int32(99), 0.5, 2)
    np.testing.assert_allclose(np.exp(high.log_share(one_hot(1, 2), state)), 0.75, rtol=1e-6)
    with pytest.raises(TypeError, match="of_object"):
        strata(jnp.zeros(1), one_hot(0, 3))


def test_it_is_a_conditional_environment(key):
    env = stratified(additive_set(np.array([0.1, -0.4, 0.3, 1.0]), 2), lambda s: s.members[0], 2)
    check_environment(env, key, num_trajectories=4)
    # A partial object has no stratum.
    assert isinstance(env.rules, PartialReward)
    assert not isinstance(env, PartialReward)
    assert isinstance(env.at(one_hot(1, 2)), Enumerable)
    assert dataclasses.replace(env.reward) == env.reward
    again = pickle.loads(pickle.dumps(env))
    assert again.reward.num_strata == 2


@pytest.mark.long
def test_it_learns(key):
    env = stratified(Hypergrid(2, 6, corners()), lambda s: s.position.sum() > 5, 2, floor=0.01)
    policy, rates = mlp_policy(env, (64,)), Hyperparameters(learning_rate=5e-3)
    objective = TrajectoryBalance("flow")
    gfn = GFlowNet(env, policy, objective, hyperparameters=rates, batch_size=64)
    state, _ = train(gfn, key, num_steps=1_000)
    graph = build_graph(env.rules)
    log_q, log_z = exact.target_distribution(graph)
    log_p = mixtures.terminating_distribution(gfn.model, state.params, graph)
    assert distances.total_variation(log_p, log_q) < 0.1
    found = jax.nn.logsumexp(mixtures.component_log_z(gfn.model, state.params))
    np.testing.assert_allclose(found, log_z, atol=0.1)


def test_refusals(key):
    env = diamond()
    for floor in (0.0, 1.0):
        with pytest.raises(ValueError, match=r"floor must be in \(0, 1\)"):
            stratified(env, by_index, 2, floor=floor)
    with pytest.raises(ValueError, match="num_strata must be at least 2, got 1"):
        stratified(env, by_index, 1)
    params = exact_optimum(env, key)
    with pytest.raises(ValueError, match="made by stratified, got TabularDAG"):
        mixtures.component_log_z(Model(env, tabular_policy(env)), params)
    strata = stratified(env, by_index, 2)
    params, _ = optimum(strata)
    with pytest.raises(ValueError, match="log_z"):
        mixtures.sample(Model(strata, by_stratum(strata)), params, key, 4, jnp.zeros(3))
    with pytest.raises(ValueError, match="stratum must give whole numbers or bools, got float32"):
        stratified(env, lambda state: jnp.float32(0.5), 2)
    with pytest.raises(ValueError, match="stratum must be a function of a terminal state, got 3"):
        stratified(env, 3, 2)
    conditions = stratified(
        temperature_conditional(Hypergrid(2, 3), 0.5, 2.0),
        lambda state: state.inner.position.sum() > 2,
        2,
    )
    gfn = GFlowNet(conditions, mlp_policy(conditions), TrajectoryBalance("flow"))
    with pytest.raises(ValueError, match=r"rules that draw a condition.*: stratify env.at"):
        mixtures.sample(gfn.model, gfn.init(jax.random.key(1)).params, jax.random.key(2), 4)
