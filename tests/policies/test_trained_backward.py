"""`TrainedBackward`: its own updates, memory and moving average, beside any objective."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from backward_fitting import fit_backward
from path_enumeration import all_trajectories

from gfnjax import (
    DetailedBalance,
    GFlowNet,
    Hypergrid,
    Hyperparameters,
    Params,
    TrajectoryBalance,
    tabular_policy,
)
from gfnjax.envs.tabular import TabularState
from gfnjax.metrics import exact
from gfnjax.metrics.state_graph import build_graph
from gfnjax.policies import LearnedMaximumEntropyBackward, LikelihoodBackward, PessimisticBackward
from gfnjax.samplers import Windows
from gfnjax.samplers.back_and_forth import back_and_forth
from gfnjax.testing import diamond

ENV = diamond()
POLICY = tabular_policy(ENV)
GRAPH = build_graph(ENV)
KINDS = {
    "likelihood": LikelihoodBackward(POLICY),
    "pessimistic": PessimisticBackward(POLICY, capacity=64),
    "maximum-entropy": LearnedMaximumEntropyBackward(POLICY),
}


def describe(backward, objective=None, **options):
    return GFlowNet(ENV, POLICY, objective or TrajectoryBalance(), backward=backward, **options)


def table(rows):
    """Parameters of the tabular policy whose backward logits are the same in every state."""
    params = POLICY.init(jax.random.key(0), jnp.array(0))
    params = jax.tree.map(jnp.zeros_like, params)
    params["params"]["backward_logits"] = jnp.tile(jnp.array(rows, jnp.float32), (5, 1))
    return params


@pytest.fixture
def bound():
    """P_B(1 | 3) = 3/4 by its own network, 1/2 by the policy's head; P_F, the optimum for it.

    F(1) = 2 + 3/4 and F(2) = 1/4, so P_F(1 | s_0) = 11/12 and P_F(3 | 1) = 3/11.
    """
    gfn = describe(LikelihoodBackward(POLICY))
    policy = table([0.0, 0.0])
    logits = jnp.zeros((5, 2)).at[0, 0].set(np.log(11.0)).at[1, 1].set(np.log(8 / 3))
    policy["params"]["forward_logits"] = logits
    return gfn, Params(policy, jnp.log(3.0), table([np.log(3.0), 0.0]))


def test_the_objective_sees_the_bound_parameters(bound):
    gfn, params = bound
    scores = jax.jit(gfn.score)(params, all_trajectories(ENV))
    # Paths 0-1-3, 0-1-4, 0-2-3.
    np.testing.assert_allclose(np.exp(scores.log_pb.sum(axis=1)), [0.75, 1, 0.25], rtol=1e-6)
    assert float(gfn.loss(params, all_trajectories(ENV))) < 1e-10


@pytest.mark.parametrize("dense", [False, True])
def test_the_objective_has_no_gradient_in_them(bound, dense):
    gfn, params = bound
    params = params._replace(log_z=params.log_z + 1)
    trajectories = all_trajectories(ENV)

    def loss(params):
        scores = gfn.score(params, trajectories, dense=dense)
        return jax.vmap(gfn.objective.residuals)(scores).values.sum()

    grads = jax.grad(loss)(params)
    assert all((np.asarray(x) == 0).all() for x in jax.tree.leaves(grads.backward))
    assert float(grads.log_z) == 3


def test_backward_sampling_uses_them(bound, key):
    gfn, params = bound
    params = params._replace(backward=table([40.0, 0.0]))
    ends = TabularState(jnp.full(32, 3, jnp.int32))
    paths = jax.jit(gfn.sample_backward)(params, key, ends).states.index
    np.testing.assert_array_equal(paths, [[0, 1, 3]] * 32)


def test_back_and_forth_uses_them(bound, key):
    # A perfect sampler for this very P_B: every log ratio is zero.
    gfn, params = bound
    ends = TabularState(jnp.full(32, 3, jnp.int32))
    move = jax.jit(back_and_forth, static_argnums=4)(gfn.model, params, key, ends, 2)
    np.testing.assert_allclose(move.log_ratio, 0, atol=1e-6)
    assert len(set(np.asarray(move.proposals.index).tolist())) == 2


def test_exact_metrics_use_them(bound):
    gfn, params = bound
    found = exact.policy_table(gfn.model, params)
    np.testing.assert_allclose(np.exp(found.log_pb[3]), [0.75, 0.25], rtol=1e-6)
    certificate = exact.certificate(GRAPH, found.log_pf, found.log_pb, params.log_z)
    assert float(certificate) < 1e-5


@pytest.mark.parametrize(
    ("kind", "objective"),
    [
        ("likelihood", TrajectoryBalance()),
        ("maximum-entropy", TrajectoryBalance()),
        ("pessimistic", DetailedBalance()),
    ],
)
def test_it_learns_beside_the_objective_with_updates_of_its_own(kind, objective, key):
    rates = Hyperparameters(0.05, 0.05, epsilon=0.1, backward_learning_rate=0.02)
    gfn = describe(KINDS[kind].replace(num_updates=2), objective, hyperparameters=rates)

    @jax.jit
    def run(key):
        return jax.lax.scan(lambda state, _: gfn.step(state), gfn.init(key), None, 400)

    state = run(key)[0]
    groups = state.opt_state.policy, state.opt_state.backward
    counts = [optax.tree.get(group, "count") for group in groups]
    assert list(map(int, counts)) == [400, 800]
    params = state.params
    found = exact.policy_table(gfn.model, params)
    assert float(exact.evaluate(GRAPH, found.log_pf).total_variation) < 0.02
    np.testing.assert_allclose(gfn.log_z(params), np.log(3), atol=0.03)


@pytest.mark.slow
def test_it_has_a_rate_of_its_own_and_the_objective_follows_slowly(key):
    # The network starts at 0 and moves by the rate times 1/2 - share of the paths to 3 by 1, which
    # is 2/3, times their share of the batch, 3/4: one step of sgd. The average goes a quarter.
    rates = Hyperparameters(7.0, 7.0, backward_learning_rate=0.8)
    backward = LikelihoodBackward(POLICY, target_rate=0.25)
    gfn = describe(backward, optimizer=optax.sgd, hyperparameters=rates)
    batch = jax.tree.map(lambda x: x[np.array([0, 0, 1, 2])], all_trajectories(ENV))
    state = fit_backward(gfn, gfn.init(key), batch, key)
    network, average = (x["params"]["backward_logits"] for x in state.params.backward)
    step = 0.8 * 0.75 * (2 / 3 - 1 / 2)
    np.testing.assert_allclose(network[3], [step, -step], rtol=1e-5)
    np.testing.assert_allclose(average[3], [step / 4, -step / 4], rtol=1e-5)
    seen = gfn.backward_policy(state.params).params["params"]["backward_logits"]
    np.testing.assert_array_equal(seen, average)
    state = fit_backward(gfn, state, batch, key)
    second = state.params.backward.network["params"]["backward_logits"]
    again = state.params.backward.average["params"]["backward_logits"]
    assert float(second[3, 0]) > step * 1.5
    np.testing.assert_allclose(again, 0.75 * average + 0.25 * second, rtol=1e-5)


@pytest.mark.slow
def test_windows_of_rollouts_train_it_as_well(key):
    env = Hypergrid(2, 4)
    policy = tabular_policy(env)
    gfn = GFlowNet(
        env,
        policy,
        DetailedBalance(),
        backward=PessimisticBackward(policy, capacity=20),
        sampler=Windows(2),
        batch_size=8,
    )
    step = jax.jit(gfn.step)
    start = gfn.init(key)
    state, _ = step(step(start)[0])
    assert jax.tree.structure(state) == jax.tree.structure(start)
    assert state.observed.items.actions.shape == (20, 2)
    assert int(state.observed.size) == 16
    assert np.asarray(state.params.backward["params"]["backward_logits"]).any()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: LikelihoodBackward("mlp"), TypeError, r"policy must be a gfnjax.Policy.*got str"),
        (lambda: LikelihoodBackward(POLICY, 0), ValueError, "num_updates must be at least 1, got"),
        (lambda: LikelihoodBackward(POLICY, 1, 1.5), ValueError, r"target_rate must be in \(0, 1"),
        (lambda: PessimisticBackward(POLICY, capacity=0), ValueError, "capacity must be at least"),
    ],
)
def test_what_cannot_work_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_network_of_another_environment_is_refused():
    with pytest.raises(ValueError, match=r"backward was made for .* num_actions = 4, but"):
        describe(LikelihoodBackward(tabular_policy(Hypergrid(3, 2))))
