"""`GFlowNet.init` and `GFlowNet.step`: pure, sweepable, and clear about what cannot work."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gfnjax import (
    DetailedBalance,
    FlowMatching,
    GFlowNet,
    Hypergrid,
    Hyperparameters,
    LogPartitionVariance,
    Params,
    Residuals,
    SubTrajectoryBalance,
    TargetDetailedBalance,
    TrajectoryBalance,
    from_flax,
    mlp_policy,
    tabular_policy,
)
from gfnjax.metrics import exact
from gfnjax.metrics.state_graph import build_graph
from gfnjax.model import Model
from gfnjax.policies.mlp import MLP
from gfnjax.testing import binary_tree, diamond, exact_optimum

ENV = diamond()
POLICY = tabular_policy(ENV)
GRAPH = build_graph(ENV)
SGD = Hyperparameters(learning_rate=0.1, log_z_learning_rate=0.1)

init = jax.jit(GFlowNet.init)
step = jax.jit(GFlowNet.step)


def describe(objective=None, **options):
    return GFlowNet(ENV, POLICY, objective or TrajectoryBalance(), **options)


def arrays(tree):
    leaves = jax.tree.leaves(tree)
    return [jax.random.key_data(x) if x.dtype == jax.random.key(0).dtype else x for x in leaves]


def assert_same(a, b, **tolerance):
    for x, y in zip(arrays(a), arrays(b), strict=True):
        np.testing.assert_allclose(x, y, **tolerance)


def norm(tree):
    return np.sqrt(sum(float((np.asarray(x) ** 2).sum()) for x in jax.tree.leaves(tree)))


def moved(before, after):
    return jax.tree.map(lambda x, y: np.asarray(y) - np.asarray(x), before.params, after.params)


# ---------------------------------------------------------------- purity


def test_steps_are_pure_and_deterministic(key):
    gfn = describe()
    state = init(gfn, key)
    copy = jax.tree.map(lambda x: x.copy(), state)
    first, info = step(gfn, state)
    again, same_info = step(gfn, state)
    assert_same(first, again, rtol=0)
    assert_same(info, same_info, rtol=0)
    assert_same(state, copy, rtol=0)
    assert int(state.step) == 0
    assert int(first.step) == 1
    second, other_info = step(gfn, first)
    assert int(second.step) == 2
    assert float(other_info.loss) != float(info.loss)


def test_the_key_decides(key):
    gfn = GFlowNet(ENV, mlp_policy(ENV, (4,)), TrajectoryBalance())
    one, same, other = (init(gfn, k) for k in (key, key, jax.random.key(1)))
    assert_same(one, same, rtol=0)
    kernels = [jax.tree.leaves(s.params.policy)[1] for s in (one, other)]
    assert not np.allclose(*kernels)


@pytest.mark.slow
def test_reward_parameters_and_rates_share_one_compilation(key):
    traces = []

    @jax.jit
    def counted(gfn, state):
        traces.append(1)
        return gfn.step(state)

    for scale in (0.0, 1.0):
        env = ENV.replace(log_rewards=ENV.log_rewards * scale)
        gfn = GFlowNet(env, POLICY, TrajectoryBalance(), hyperparameters=Hyperparameters(scale))
        _, info = counted(gfn, gfn.init(key))
        assert bool(info.log_reward == 0) == (scale == 0)
    assert len(traces) == 1


# ---------------------------------------------------------------- hyperparameters


def test_step_is_the_rate_times_the_gradient(key):
    gfn = describe(optimizer=optax.sgd, log_z_optimizer=optax.sgd, hyperparameters=SGD)
    state = init(gfn, key)
    after, info = step(gfn, state)
    np.testing.assert_allclose(norm(moved(state, after)), 0.1 * info.grad_norm, rtol=1e-5)
    # A step against the gradient.
    faster = state._replace(
        hyperparameters=Hyperparameters(*map(jnp.asarray, (0.2, 0.1, 0.0, 1.0)))
    )
    twice, _ = step(gfn, faster)
    expected = jax.tree.map(lambda x: 2 * x, moved(state, after).policy)
    assert_same(moved(state, twice).policy, expected, rtol=1e-5, atol=1e-7)
    assert_same(twice.params.log_z, after.params.log_z, rtol=1e-6)


def test_log_z_has_its_own_rate(key):
    # One step to a leaf of R = 1 or 2: the residual is log 1/2 - log R, d loss / d log Z its
    # mean twice.
    env = binary_tree(1)
    rates = Hyperparameters(learning_rate=0.0, log_z_learning_rate=0.5)
    gfn = GFlowNet(
        env,
        tabular_policy(env),
        TrajectoryBalance(),
        log_z_optimizer=optax.sgd,
        log_z_init=0.0,
        hyperparameters=rates,
    )
    state = init(gfn, key)
    after, info = step(gfn, state)
    expected = -0.5 * 2 * (np.log(0.5) - float(info.log_reward))
    np.testing.assert_allclose(after.params.log_z, expected, rtol=1e-5)
    assert_same(after.params.policy, state.params.policy, rtol=0)
    assert float(info.log_z) == 0
    assert float(info.length) == 1


def test_schedules_are_read_at_every_step(key):
    schedule = optax.piecewise_constant_schedule(0.1, {2: 0.0})
    rates = Hyperparameters(learning_rate=schedule, log_z_learning_rate=0.0)
    gfn = describe(optimizer=optax.sgd, hyperparameters=rates)
    state = init(gfn, key)
    assert state.hyperparameters.learning_rate is None
    lengths = []
    for _ in range(4):
        after, _ = step(gfn, state)
        lengths.append(norm(moved(state, after)))
        state = after
    assert lengths[0] > 1e-3
    assert lengths[1] > 1e-3
    assert lengths[2:] == [0, 0]


@pytest.fixture
def exploring(key):
    """A large batch that learns nothing, and how to take a step of it with other numbers."""
    gfn = describe(hyperparameters=Hyperparameters(0.0, 0.0), batch_size=4096)
    state = init(gfn, key)

    def explore(params, **numbers):
        numbers = {name: jnp.asarray(x, jnp.float32) for name, x in numbers.items()}
        numbers = state.hyperparameters._replace(**numbers)
        return step(gfn, state._replace(params=params, hyperparameters=numbers))[1]

    return explore


def forward_table(row):
    zeros = jax.tree.map(jnp.zeros_like, POLICY.init(jax.random.key(0), jnp.array(0)))
    zeros["params"]["forward_logits"] = jnp.tile(jnp.array(row, jnp.float32), (5, 1))
    return Params(zeros, jnp.zeros(()))


def test_epsilon_explores_and_is_not_scored(exploring, key):
    greedy = forward_table([50.0, 0.0])
    assert float(exploring(greedy).log_reward) == 0  # always state 3, R = 1
    # Uniform at both states: R = 2 in a quarter of the trajectories.
    info = exploring(greedy, epsilon=1.0)
    np.testing.assert_allclose(info.log_reward, np.log(2) / 4, atol=0.02)
    # Halfway: 1 is entered with 3/4, and left for 4 with 1/4.
    info = exploring(greedy, epsilon=0.5)
    np.testing.assert_allclose(info.log_reward, np.log(2) * 3 / 16, atol=0.02)
    # At the optimum the loss stays zero however the trajectories were found.
    assert float(exploring(exact_optimum(ENV, key), epsilon=1.0).loss) < 1e-10


@pytest.mark.parametrize(("temperature", "odds"), [(1.0, 3.0), (0.5, 9.0), (2.0, 3.0**0.5)])
def test_temperature_flattens_the_behaviour(temperature, odds, exploring):
    info = exploring(forward_table([np.log(3.0), 0.0]), temperature=temperature)
    first = odds / (1 + odds)
    expected = np.log(2) * first * (1 - first)
    np.testing.assert_allclose(info.log_reward, expected, atol=0.03)


@pytest.mark.slow
def test_a_sweep_is_a_vmap_over_keys_and_hyperparameters(key):
    both = {"optimizer": optax.sgd, "log_z_optimizer": optax.sgd}
    gfn = describe(**both)
    keys = [key, key, jax.random.key(5)]
    rates = jnp.array([0.0, 0.1, 0.1])
    sweep = Hyperparameters.only(learning_rate=rates, log_z_learning_rate=2 * rates)
    states = jax.vmap(gfn.init)(jax.random.clone(jnp.stack(keys)), sweep)
    np.testing.assert_array_equal(states.hyperparameters.learning_rate, rates)
    np.testing.assert_array_equal(states.hyperparameters.temperature, np.ones(3))
    after, _ = jax.jit(jax.vmap(gfn.step))(states)
    assert float(after.params.log_z[0]) == float(states.params.log_z[0])
    for i in range(3):
        single = GFlowNet(
            ENV,
            POLICY,
            TrajectoryBalance(),
            **both,
            hyperparameters=Hyperparameters(float(rates[i]), 2 * float(rates[i])),
        )
        expected, _ = step(single, single.init(jax.random.clone(keys[i])))
        assert_same(jax.tree.map(lambda x, i=i: x[i], after.params), expected.params, rtol=1e-5)


def test_an_override_replaces_a_schedule(key):
    rates = Hyperparameters(optax.constant_schedule(0.0), 0.0)
    gfn = describe(optimizer=optax.sgd, hyperparameters=rates)
    state = gfn.init(key, Hyperparameters.only(learning_rate=0.3))
    after, info = step(gfn, state)
    assert norm(moved(state, after).policy) > 0
    assert norm(moved(state, after).policy) <= 0.3 * float(info.grad_norm) + 1e-6


# ---------------------------------------------------------------- gradient norm, target network


def test_max_grad_norm_shortens_the_gradient_and_keeps_its_direction(key):
    rates = Hyperparameters(1.0, 1.0)
    steps = {}
    for limit in (None, 1e-2):
        both = {"optimizer": optax.sgd, "log_z_optimizer": optax.sgd}
        gfn = describe(**both, hyperparameters=rates, max_grad_norm=limit)
        state = init(gfn, key)
        after, info = step(gfn, state)
        steps[limit] = moved(state, after)
        np.testing.assert_allclose(info.grad_norm, norm(steps[None]), rtol=1e-5)
    np.testing.assert_allclose(norm(steps[1e-2]), 1e-2, rtol=1e-4)
    scaled = jax.tree.map(lambda x: x * 1e-2 / norm(steps[None]), steps[None])
    assert_same(steps[1e-2], scaled, atol=1e-6)
    # A short one is left alone.
    small = exact_optimum(ENV, key)
    after, info = step(gfn, state._replace(params=small))
    np.testing.assert_allclose(
        norm(moved(state._replace(params=small), after)), info.grad_norm, atol=1e-6
    )


def test_the_target_network_follows(key):
    rate = 0.25
    gfn = describe(TargetDetailedBalance(), target_rate=rate, hyperparameters=SGD)
    state = init(gfn, key)
    assert_same(state.target, state.params.policy, rtol=0)
    for _ in range(2):
        after, _ = step(gfn, state)
        blend = lambda old, new: (1 - rate) * old + rate * new  # noqa: E731
        expected = jax.tree.map(blend, state.target, after.params.policy)
        assert norm(moved(state, after).policy) > 0
        assert_same(after.target, expected, rtol=1e-5, atol=1e-7)
        state = after


def test_the_target_networks_flows_are_used(key):
    # With target flows of the optimum and parameters of the optimum: zero. Shifted: not.
    gfn = describe(TargetDetailedBalance(), target_rate=0.25)
    optimum = exact_optimum(ENV, key)
    state = init(gfn, key)._replace(params=optimum, target=optimum.policy)
    assert float(step(gfn, state)[1].loss) < 1e-10
    table = optimum.policy["params"]
    shifted = {"params": {**table, "log_flow": table["log_flow"] + 1}}
    # Every trajectory has two transitions; the first ends inside, the second in a terminal state,
    # whose flow is its reward.
    loss = step(gfn, state._replace(target=shifted))[1].loss
    np.testing.assert_allclose(loss, 0.5, rtol=1e-4)


# ---------------------------------------------------------------- objectives learn


@jax.jit
def total_variation(params):
    table = exact.policy_table(Model(ENV, POLICY), Params(params))
    return exact.evaluate(GRAPH, table.log_pf).total_variation


def user_objective(scores):
    residual = scores.log_z + (scores.log_pf - scores.log_pb).sum() - scores.log_reward
    return Residuals(residual[None], jnp.ones(1, residual.dtype))


@pytest.mark.parametrize(
    "objective",
    [
        TrajectoryBalance(),
        DetailedBalance(),
        SubTrajectoryBalance(),
        FlowMatching(),
        LogPartitionVariance(),
        TargetDetailedBalance(),
        user_objective,
    ],
)
def test_every_objective_learns_the_diamond(objective, key):
    gfn = describe(objective, target_rate=0.5, hyperparameters=Hyperparameters(0.05, 0.05))

    @jax.jit
    def run(key):
        return jax.lax.scan(lambda state, _: gfn.step(state), gfn.init(key), None, 400)

    state, infos = run(key)
    assert total_variation(state.params.policy) < 0.01
    assert infos.loss[-1] < 1e-3 < infos.loss[0]
    np.testing.assert_allclose(infos.log_z[-1], np.log(3), atol=0.02)


# ---------------------------------------------------------------- precision


@pytest.mark.parametrize("objective", [SubTrajectoryBalance(), FlowMatching()])
def test_double_precision(objective, x64):
    env = Hypergrid(2, 4)
    gfn = GFlowNet(env, mlp_policy(env, (8,)), objective, hyperparameters=Hyperparameters(1e-2))
    state, info = step(gfn, init(gfn, jax.random.key(0)))
    for x in jax.tree.leaves((state.params, info)):
        assert x.dtype == np.float64
    assert state.step.dtype == np.int32


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"optimizer": optax.adam(1e-3)}, TypeError, r"such as optax.adam \(not optax.adam\(1e-3"),
        ({"policy": "mlp"}, TypeError, "policy must be a gfnjax.Policy .*, got str"),
        ({"objective": TrajectoryBalance}, TypeError, "objective must be an Objective"),
        ({"objective": "tb"}, TypeError, "objective must be an Objective .*, got 'tb'"),
        ({"objective": TargetDetailedBalance()}, ValueError, "needs a target network: set target_"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"chunk_size": 0}, ValueError, "chunk_size must be at least 1 or None, got 0"),
        ({"max_grad_norm": 0.0}, ValueError, "max_grad_norm must be positive, got 0.0"),
        ({"target_rate": 1.5}, ValueError, r"target_rate must be in \(0, 1\], got 1.5"),
        ({"hyperparameters": {"epsilon": 0.1}}, TypeError, "must be gfnjax.Hyperparameters"),
        ({"hyperparameters": Hyperparameters(-1.0)}, ValueError, "learning_rate must not be neg"),
        ({"hyperparameters": Hyperparameters(epsilon=1.5)}, ValueError, r"epsilon must be in \[0"),
        ({"hyperparameters": Hyperparameters(temperature=0)}, ValueError, "temperature must be po"),
    ],
)
def test_what_cannot_work_is_refused_at_construction(options, error, message):
    arguments = {"env": ENV, "policy": POLICY, "objective": TrajectoryBalance(), **options}
    with pytest.raises(error, match=message):
        GFlowNet(**arguments)


@pytest.mark.parametrize("key", [jax.random.PRNGKey, np.uint32, int])
def test_keys_must_be_typed(key):
    with pytest.raises(TypeError, match=r"use jax.random.key, not PRNGKey"):
        describe().init(key(0))


def test_a_policy_of_another_environment_is_refused_at_init(key):
    module = MLP(num_actions=4, num_backward_actions=3, hidden_sizes=(4,))
    gfn = GFlowNet(ENV, from_flax(module), TrajectoryBalance())
    with pytest.raises(ValueError, match=r"forward_logits of shape \(2,\) .* TabularDAG, got"):
        gfn.init(key)


def test_an_objective_that_returns_the_wrong_thing(key):
    gfn = describe(lambda scores: scores.log_pf.sum())
    with pytest.raises(TypeError, match="an objective must return Residuals, got"):
        step(gfn, init(gfn, key))


def test_a_loss_without_the_target_networks_parameters(key):
    gfn = describe(TargetDetailedBalance(), target_rate=0.5)
    params = gfn.init(key).params
    with pytest.raises(ValueError, match="TargetDetailedBalance needs target="):
        gfn.loss(params, gfn.sample(params, key, 2))
