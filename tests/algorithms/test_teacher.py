"""The off-policy teacher: its reward, its share of the batch, and where it goes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from path_enumeration import all_trajectories

from gfnjax import (
    DetailedBalance,
    GFlowNet,
    Hyperparameters,
    LogPartitionVariance,
    TrajectoryBalance,
    UniformBackward,
    tabular_policy,
)
from gfnjax.algorithms import Teacher
from gfnjax.algorithms.teacher import TaughtState, teacher_log_reward
from gfnjax.metrics import exact
from gfnjax.metrics.state_graph import build_graph
from gfnjax.replay import Fifo
from gfnjax.samplers import Mixed
from gfnjax.testing import binary_tree, diamond

FROZEN = Hyperparameters(0.0, 0.0)
TREE = binary_tree(1)  # two leaves, R = 1 and 2


def describe(env=TREE, objective=None, **options):
    policy = tabular_policy(env)
    return GFlowNet(
        env, policy, objective or TrajectoryBalance(), backward=UniformBackward(), **options
    )


def going_left(params, odds, log_z):
    """Parameters of a policy on the tree of two leaves that takes the first one with these odds."""
    table = dict(params.policy["params"])
    table["forward_logits"] = table["forward_logits"].at[0, 0].set(np.log(odds))
    return params._replace(policy={"params": table}, log_z=jnp.asarray(log_z, jnp.float32))


def both_going(state, student, teacher):
    student = state.gfn._replace(params=going_left(state.gfn.params, *student))
    teacher = state.teacher._replace(params=going_left(state.teacher.params, *teacher))
    return TaughtState(student, teacher)


def test_the_reward_by_hand():
    excess, log_reward = jnp.array([0.0, -2.0, 2.0]), jnp.array([1.0, -1.0, 3.0])
    # 1.001, 1.001 + 4 and 1.001 + 20 * 4.
    expected = np.log([1.001, 5.001, 81.001])
    np.testing.assert_allclose(teacher_log_reward(excess, log_reward), expected, rtol=1e-5)
    mixed = teacher_log_reward(excess, log_reward, undersampled=1.0, mixing=0.5)
    expected = np.log([1.001, 5.001, 9.001]) + np.array([0.5, -0.5, 1.5])
    np.testing.assert_allclose(mixed, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("objective", "log_z"),
    [
        (TrajectoryBalance(), np.log(3.0)),  # the learned one
        (DetailedBalance(), 0.25),  # the flow of s_0
        (LogPartitionVariance(), np.mean(np.log([1 / 0.9, 2 / 0.1]))),  # of the batch
    ],
)
def test_what_the_student_misses_is_worth_most(objective, log_z, key):
    taught = Teacher(describe(objective=objective, log_z_init=0.0), tabular_policy(TREE))
    params = going_left(taught.init(key).params, 9.0, np.log(3.0))
    table = params.policy["params"]
    flow = table["log_flow"].at[0].set(0.25)
    params = params._replace(policy={"params": {**table, "log_flow": flow}})
    # The leaves have probabilities .9 and .1 but are worth 1 and 2: too often, and too rarely.
    excess = np.log([1 / 0.9, 2 / 0.1]) - log_z
    assert excess[0] < 0 < excess[1]
    expected = np.log([1.001 + excess[0] ** 2, 1.001 + 20 * excess[1] ** 2])
    found = taught.log_reward(params, all_trajectories(TREE))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.slow
def test_shares_are_exact(key):
    # The student goes left, the teacher right.
    taught = Teacher(describe(batch_size=10), tabular_policy(TREE), share=0.3)
    assert taught.num_taught == 3
    state = both_going(taught.init(key), (1e12, 0.0), (1e-12, 0.0))
    batch = jax.jit(Teacher.draw)(taught, state)
    np.testing.assert_array_equal(batch.trajectories.actions[:, 0], [0] * 7 + [1] * 3)
    # The student learns from the true reward, the teacher alone from its own.
    np.testing.assert_allclose(batch.trajectories.log_reward, [0] * 7 + [np.log(2)] * 3, rtol=1e-6)


@pytest.mark.slow
def test_a_frozen_student_is_taught_what_it_misses(key):
    # Rewards of the teacher as above: 1.987 and 72.98, so it goes right with .9735.
    rates = Hyperparameters(0.05, 0.05)
    student = describe(hyperparameters=FROZEN)
    taught = Teacher(student, tabular_policy(TREE), hyperparameters=rates)
    start = taught.init(key)
    frozen = start.gfn._replace(params=going_left(start.params, 9.0, np.log(3.0)))
    start = start._replace(gfn=frozen)
    run = jax.jit(lambda state: jax.lax.scan(lambda s, _: taught.step(s), state, None, 600)[0])
    state = run(start)
    table = exact.policy_table(taught.teacher.model, state.teacher.params)
    worth = 1.001 + np.array([1, 20]) * (np.log([1 / 0.9, 2 / 0.1]) - np.log(3)) ** 2
    np.testing.assert_allclose(np.exp(table.log_pf[0]), worth / worth.sum(), atol=5e-3)
    np.testing.assert_allclose(state.teacher.params.log_z, np.log(worth.sum()), atol=2e-2)
    assert int(state.teacher.step) == int(state.step) == 600
    np.testing.assert_array_equal(state.params.log_z, start.params.log_z)
    assert jax.tree.structure(state) == jax.tree.structure(start)


@pytest.mark.slow
def test_a_student_learns_from_it(key):
    env, traces = diamond(), []
    rates = Hyperparameters(0.05, 0.05)
    student = describe(env, DetailedBalance(), hyperparameters=rates)
    taught = Teacher(student, tabular_policy(env), hyperparameters=rates, mixing=0.5)

    @jax.jit
    def step(state):
        traces.append(1)
        return taught.step(state)

    state = taught.init(key)
    for _ in range(300):
        state, _ = step(state)
    assert len(traces) == 1
    assert taught.trained(state) == (student, state.gfn)
    table = exact.policy_table(student.model, state.params)
    assert float(exact.evaluate(build_graph(env), table.log_pf).total_variation) < 0.02


@pytest.mark.slow
def test_a_teacher_on_a_schedule_or_with_rates_of_its_own_each_run(key):
    # The teacher's rate falls to zero after one step; the student's does not.
    rate = optax.piecewise_constant_schedule(0.1, {1: 0.0})
    rates = Hyperparameters(rate, rate)
    taught = Teacher(describe(), tabular_policy(TREE), hyperparameters=rates)
    step = jax.jit(Teacher.step)
    states = [taught.init(key)]
    for _ in range(3):
        states.append(step(taught, states[-1])[0])
    log_z = [float(state.teacher.params.log_z) for state in states]
    assert log_z[0] != log_z[1] == log_z[2] == log_z[3]
    assert len({float(state.params.log_z) for state in states}) == 4

    def moved(rate):
        rates = Hyperparameters(learning_rate=rate, log_z_learning_rate=rate)
        taught = Teacher(describe(log_z_init=0.0), tabular_policy(TREE), hyperparameters=rates)
        state, _ = taught.step(taught.init(key))
        return state.teacher.params.log_z, state.params.log_z

    # Adam's first step is the rate.
    teacher, student = jax.jit(jax.vmap(moved))(jnp.array([0.0, 0.01, 0.1]))
    np.testing.assert_allclose(np.abs(teacher), [0.0, 0.01, 0.1], rtol=1e-3)
    assert np.ptp(student) == 0


class OnPolicyOnly(TrajectoryBalance):
    on_policy = True


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Teacher(describe(), "mlp"), TypeError, r"policy must be a gfnjax.Policy.*got str"),
        (
            lambda: Teacher(describe().model, tabular_policy(TREE)),
            TypeError,
            "student must be a GFlowNet, got Model",
        ),
        (
            lambda: Teacher(describe(), tabular_policy(TREE), 1.0),
            ValueError,
            r"share must be in \(0, 1\), got",
        ),
        (
            lambda: Teacher(describe(), tabular_policy(TREE), undersampled=-1),
            ValueError,
            "undersampled must not be negative, got -1",
        ),
        (
            lambda: Teacher(describe(), tabular_policy(TREE), hyperparameters={"epsilon": 0.1}),
            TypeError,
            "hyperparameters must be gfnjax.Hyperparameters.*, got a dict",
        ),
        (
            lambda: Teacher(
                describe(), tabular_policy(TREE), hyperparameters=Hyperparameters(epsilon=2.0)
            ),
            ValueError,
            "epsilon must be in",
        ),
        (
            lambda: Teacher(describe(sampler=Mixed(Fifo(99))), tabular_policy(TREE)),
            ValueError,
            r"student.sampler must be OnPolicy\(\): .* got Mixed",
        ),
        (
            lambda: Teacher(describe(), tabular_policy(TREE), 0.01),
            ValueError,
            "share must leave trajectories to both: 0.01 of a batch of 16 is 0",
        ),
        (
            lambda: Teacher(describe(objective=OnPolicyOnly()), tabular_policy(TREE)),
            ValueError,
            "OnPolicyOnly learns from the policy's own trajectories: no Teacher",
        ),
    ],
)
def test_what_cannot_work_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
