import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax import (
    DetailedBalance,
    FlowMatching,
    GFlowNet,
    LogPartitionVariance,
    Params,
    SubTrajectoryBalance,
    TrajectoryBalance,
    UniformBackward,
    tabular_policy,
)
from gfnjax.envs.sets import additive_set
from gfnjax.objectives import (
    LEDGFN,
    EntropyPPO,
    GAFlowNet,
    ModifiedDetailedBalance,
    PolicyGradient,
    SoftDQN,
    TargetDetailedBalance,
)
from gfnjax.objectives.base import resolve_log_z
from gfnjax.objectives.forward_looking import ForwardLooking
from gfnjax.testing import diamond

ENERGIES = np.array([0.4, -1.2, 0.7, -0.5])
BASES = [DetailedBalance(), SubTrajectoryBalance(0.9), TrajectoryBalance(log_z="flow")]


def seen(two, objective, partial_reward):
    scores = jax.vmap(objective.adapt)(two._replace(log_partial_reward=partial_reward))
    return jax.vmap(objective.residuals)(resolve_log_z(objective.log_z, scores))


@pytest.mark.parametrize("base", BASES)
def test_without_partial_rewards_it_is_the_base(base, two):
    # A partial reward of one, and log R at the end as always.
    nothing = jnp.array([[0.0, 0.0, 0.3, 0.0], [0.0, 0.0, 0.0, -1.0]])
    ours = seen(two, ForwardLooking(base), nothing)
    plain = jax.vmap(base.residuals)(resolve_log_z("flow", two))
    np.testing.assert_array_equal(ours.values, plain.values)
    np.testing.assert_array_equal(ours.weights, plain.weights)


def test_over_a_whole_trajectory_it_is_trajectory_balance(two):
    # Partial rewards of states on the way cancel; that of s_0 is a part of log Z = log F(s_0).
    partial_reward = jnp.array([[0.25, 1.0, 0.3, 0.0], [0.5, -1.0, 2.0, -1.0]])
    log_z = two.log_flow[:, 0] + partial_reward[:, 0]
    expected = jax.vmap(TrajectoryBalance().residuals)(two._replace(log_z=log_z)).values
    fl_tb = seen(two, ForwardLooking(TrajectoryBalance(log_z="flow")), partial_reward)
    np.testing.assert_allclose(fl_tb.values, expected, rtol=1e-5)
    fl_db = seen(two, ForwardLooking(DetailedBalance()), partial_reward)
    np.testing.assert_allclose(fl_db.values.sum(axis=1), expected[:, 0], rtol=1e-5)
    # The pair (s_0, s_L) of sub-trajectory balance.
    fl_subtb = seen(two, ForwardLooking(SubTrajectoryBalance()), partial_reward)
    pairs = fl_subtb.values.reshape(2, 4, 4)
    np.testing.assert_allclose([pairs[0, 0, 2], pairs[1, 0, 3]], expected[:, 0], rtol=1e-5)


def trap(env):
    """Uniform P_F, and F~ = c(size) - partial reward with c(k) = - log C(n, k)."""
    states = jax.vmap(env.state_at)(jnp.arange(env.num_states, dtype=jnp.int32))
    size = states.members.sum(axis=1, dtype=jnp.int32)
    ways = jnp.array([1.0, 4.0, 6.0])[size]
    table = {
        "forward_logits": jnp.zeros((env.num_states, env.num_actions)),
        "backward_logits": jnp.zeros((env.num_states, env.num_actions)),
        "log_flow": -jnp.log(ways) - jax.vmap(env.log_partial_reward)(states),
    }
    return Params({"params": table}, jnp.zeros(()))


@pytest.mark.slow
def test_the_trap_of_a_free_terminal_flow(key, x64):
    # On sets of a fixed size the uniform policy, which ignores R, has zero loss with a zero
    # gradient if the flow of terminal states is free; with the anchor it has neither.
    env = additive_set(ENERGIES, 2)
    params = trap(env)
    base = DetailedBalance()
    with pytest.warns(UserWarning, match="does not identify the target"):
        free = ForwardLooking(base, anchor_terminal=False)
    losses, slopes = [], []
    for objective in (free, ForwardLooking(base)):
        gfn = GFlowNet(env, tabular_policy(env), objective, UniformBackward())

        @jax.jit
        def at(params, gfn=gfn):
            return jax.value_and_grad(gfn.loss)(params, gfn.sample(params, key, 64))

        loss, grads = at(params)
        losses.append(float(loss))
        slopes.append(max(float(jnp.abs(g).max()) for g in jax.tree.leaves(grads)))
    assert losses[0] < 1e-25
    assert slopes[0] < 1e-12
    assert losses[1] > 0.1
    assert slopes[1] > 0.01


@pytest.mark.parametrize("base", [FlowMatching(), LogPartitionVariance()])
def test_what_it_cannot_look_forward_with(base):
    with pytest.raises(ValueError, match="base must balance flows along a trajectory"):
        ForwardLooking(base)


def test_partial_rewards_are_needed():
    env = diamond()
    with pytest.raises(TypeError, match="ForwardLooking needs a PartialReward environment"):
        GFlowNet(env, tabular_policy(env), ForwardLooking(DetailedBalance()))


def test_windows_follow_the_base():
    assert ForwardLooking(DetailedBalance()).incomplete
    assert not ForwardLooking(TrajectoryBalance()).incomplete


REFUSED = [
    PolicyGradient("gae"),
    EntropyPPO(),
    SoftDQN(),
    ModifiedDetailedBalance(),
    FlowMatching(),
]


@pytest.mark.parametrize("base", REFUSED, ids=lambda base: type(base).__name__)
@pytest.mark.parametrize("wrap", [ForwardLooking, LEDGFN, GAFlowNet])
def test_a_base_that_does_more_than_balance_flows_is_refused(base, wrap):
    with pytest.raises(ValueError, match="base must balance flows along a trajectory and nothing"):
        wrap(base)


def test_an_objective_is_not_built_on_one_with_a_network_of_its_own():
    with pytest.raises(ValueError, match="nothing else"):
        ForwardLooking(GAFlowNet(DetailedBalance()))
    with pytest.raises(ValueError, match="must not need a target network"):
        GAFlowNet(TargetDetailedBalance())
    GAFlowNet(ForwardLooking(DetailedBalance()))
