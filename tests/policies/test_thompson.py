"""Training with an ensemble: one member a trajectory acts, all members learn from all of them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from path_enumeration import all_trajectories

from gfnjax import (
    DetailedBalance,
    FlowMatching,
    GFlowNet,
    Hyperparameters,
    LogPartitionVariance,
    SubTrajectoryBalance,
    TrajectoryBalance,
    mlp_policy,
    tabular_policy,
)
from gfnjax.learning.scores import mean_loss
from gfnjax.metrics import exact
from gfnjax.metrics.state_graph import build_graph
from gfnjax.policies import (
    LikelihoodBackward,
    ensemble_mlp_policy,
    ensemble_tabular_policy,
)
from gfnjax.testing import binary_tree, diamond, exact_optimum

ENV = diamond()
VALUES = Hyperparameters(epsilon=0.0, temperature=1.0)


def turning(env):
    """Two members of a table: one takes action 0 always, the other action 1."""
    gfn = GFlowNet(env, ensemble_tabular_policy(env, 2), TrajectoryBalance())
    params = gfn.init(jax.random.key(0)).params
    row = jnp.array([60.0, 0, 0, 60])
    params.policy["params"]["forward_logits"] = jnp.tile(row, (env.num_states, 1))
    return gfn, params


@pytest.mark.slow
@pytest.mark.parametrize("num_samples", [200, 600])  # a vmap, and packed live rows
def test_one_member_builds_a_whole_trajectory(num_samples, key):
    env = binary_tree(3)
    gfn, params = turning(env)
    explore = jax.jit(gfn.model.explore, static_argnums=(2, 3))
    trajectories, rows = explore(params, key, num_samples, gfn.behaviour(VALUES))
    actions = np.asarray(trajectories.actions)
    assert (actions == actions[:, :1]).all()
    assert abs(actions[:, 0].mean() - 0.5) < 4.5 * np.sqrt(0.25 / num_samples)
    # What is recorded is each member's word: the one that acted was certain, the other not.
    assert rows.log_pf.shape == (num_samples, 4, 2)
    taken = np.asarray(rows.log_pf)[:, :3]
    np.testing.assert_allclose(taken.max(axis=2), 0.0, atol=1e-6)
    np.testing.assert_allclose(taken.min(axis=2), -60.0, atol=1e-4)


def test_without_exploration_the_mixture_acts(key):
    env = binary_tree(3)
    gfn, params = turning(env)
    trajectories = jax.jit(gfn.sample, static_argnums=2)(params, key, 1000)
    straight = np.ptp(np.asarray(trajectories.actions), axis=1) == 0
    assert abs(straight.mean() - 1 / 4) < 4.5 * np.sqrt(3 / 16 / 1000)


def of_members(params, keep=1.0):
    """The diamond with an ensemble whose members are given by plain parameters."""
    env = diamond()
    gfn = GFlowNet(env, ensemble_tabular_policy(env, len(params), keep), TrajectoryBalance())
    logits = [p.policy["params"]["forward_logits"] for p in params]
    table = {**params[0].policy["params"], "forward_logits": jnp.concatenate(logits, axis=1)}
    return gfn, params[0]._replace(policy={"params": table})


OBJECTIVES = [
    TrajectoryBalance(),
    DetailedBalance(),
    SubTrajectoryBalance(),
    LogPartitionVariance(),
]


@jax.jit
def losses(gfn, params, trajectories):
    """`[4]` the loss of each objective; of an ensemble the mean over its members."""
    return jnp.stack(
        [gfn.replace(objective=objective).loss(params, trajectories) for objective in OBJECTIVES]
    )


@pytest.mark.slow
def test_equal_members_at_the_optimum_have_no_loss(key, x64):
    gfn, params = of_members([exact_optimum(diamond(), key)] * 3)
    paths = all_trajectories(diamond())
    total = jax.jit(jax.value_and_grad(lambda params: losses(gfn, params, paths).sum()))
    loss, gradients = total(params)  # of losses that are not negative
    assert float(loss) < 1e-12
    assert max(float(jnp.abs(x).max()) for x in jax.tree.leaves(gradients)) < 1e-6


def test_the_loss_is_the_mean_over_members(key):
    # Each member as if it were the policy: its own residuals, and its own batch's log Z.
    env = diamond()
    optimum = exact_optimum(env, key)
    table = optimum.policy["params"]
    noise = jax.random.normal(key, table["forward_logits"].shape)
    other = {"params": {**table, "forward_logits": table["forward_logits"] + noise}}
    pair = [optimum, optimum._replace(policy=other)]
    plain = GFlowNet(env, tabular_policy(env), TrajectoryBalance())
    paths = all_trajectories(env)
    alone = np.array([losses(plain, p, paths) for p in pair])
    assert (alone[1] > 1e-2).all()
    np.testing.assert_allclose(losses(*of_members(pair), paths), alone.mean(axis=0), rtol=1e-5)


@pytest.mark.slow
def test_an_ensemble_of_one_is_the_plain_policy(key):
    step = jax.jit(GFlowNet.step)
    after = []
    for policy in (mlp_policy(ENV, (4,)), ensemble_mlp_policy(ENV, 1, (4,))):
        gfn = GFlowNet(ENV, policy, TrajectoryBalance(), optimizer=optax.sgd)
        state = gfn.init(key)
        after.append(step(gfn, step(gfn, state)[0]))
    leaves = (jax.tree.leaves((state.params, info)) for state, info in after)
    for x, y in zip(*leaves, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5)


def test_the_bootstrap_by_hand(key):
    # TB residuals of two members on four trajectories; the loss of a member is over those it
    # keeps, an error over members whether they keep it or not.
    gfn, params = of_members([exact_optimum(ENV, key)] * 2, keep=0.5)
    batch = jax.tree.map(lambda x: x[np.array([0, 1, 2, 0])], all_trajectories(ENV))
    scores = gfn.score(params, batch, members=True)
    residuals = np.array([[1.0, 2, 3, 4], [5, 6, 7, 8]], np.float32)
    scores = scores._replace(log_z=scores.log_z + residuals)
    judge = jax.jit(lambda key: mean_loss(gfn.policy, *model(gfn), scores, key))
    seen = set()
    for i in range(8):
        kept = np.asarray(jax.random.bernoulli(jax.random.key(i), 0.5, (2, 4)))
        means = [
            (r[k] ** 2).mean() if k.any() else 0.0 for r, k in zip(residuals, kept, strict=True)
        ]
        loss, errors = judge(jax.random.key(i))
        np.testing.assert_allclose(loss, np.mean(means), rtol=1e-3)
        np.testing.assert_allclose(errors, (residuals**2).mean(axis=0), rtol=1e-3)
        seen.add(round(float(loss), 3))
    assert len(seen) > 5
    everything, _ = mean_loss(gfn.policy, *model(gfn), scores, None)
    np.testing.assert_allclose(everything, (residuals**2).mean(), rtol=1e-3)


def model(gfn):
    return gfn.objective, gfn.regression


@pytest.mark.slow
def test_it_learns_the_diamond_with_a_backward_policy_that_learns_too(key):
    policy = ensemble_tabular_policy(ENV, 3, keep=0.5)
    gfn = GFlowNet(
        ENV,
        policy,
        TrajectoryBalance(),
        LikelihoodBackward(tabular_policy(ENV)),
        Hyperparameters(0.05, 0.05),
    )

    @jax.jit
    def run(key):
        return jax.lax.scan(lambda state, _: gfn.step(state), gfn.init(key), None, 600)

    state, infos = run(key)
    table = exact.policy_table(gfn.model, state.params)
    assert float(exact.evaluate(build_graph(ENV), table.log_pf).total_variation) < 0.02
    np.testing.assert_allclose(infos.log_z[-1], np.log(3), atol=0.05)
    # The bootstrap has told the members apart.
    logits = state.params.policy["params"]["forward_logits"].reshape(5, 3, 2)
    assert float(jnp.ptp(logits, axis=1).max()) > 1e-6


class OnPolicyOnly(TrajectoryBalance):
    on_policy = True


def test_what_cannot_work_is_refused():
    policy = ensemble_tabular_policy(ENV, 2)
    with pytest.raises(ValueError, match="FlowMatching looks at all parents of a state, which is"):
        GFlowNet(ENV, policy, FlowMatching())
    with pytest.raises(ValueError, match="OnPolicyOnly learns from the policy's own trajectories"):
        GFlowNet(ENV, policy, OnPolicyOnly())
