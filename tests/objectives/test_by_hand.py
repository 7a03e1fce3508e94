"""Residuals and losses worked out by hand, with and without jit.

Of the two trajectories log F + log P_F - log F' - log P_B is .2, .9 and .4, .15, 1.15.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import parameterized

from gfnjax import (
    DetailedBalance,
    FlowMatching,
    LogPartitionVariance,
    SubTrajectoryBalance,
    TargetDetailedBalance,
    TrajectoryBalance,
)
from gfnjax.objectives import (
    ContrastiveBalance,
    ForwardLooking,
    GAFlowNet,
    ModifiedDetailedBalance,
    PolicyGradient,
    RelativeTrajectoryBalance,
    SoftDQN,
)
from gfnjax.objectives.base import resolve_log_z, weighted_loss
from gfnjax.objectives.regression import huber, square

TRANSITIONS, WHOLE = [[1, 1, 0], [1, 1, 1]], [[1], [1]]
# With rewards of 2 and 3 times the novelty, what R is in the two trajectories.
END, OTHER_END = np.exp(0.3) + 0.6, np.exp(-1.0) + 2.4


def more_known(two):
    """What each objective needs beside the flows; the target network's flow differs in s_1."""
    return two._replace(
        log_prior=jnp.array([[-0.4, -0.5, 0.0], [-0.1, -0.2, -0.3]]),
        auxiliary=jnp.array([[0.3, 0.1, 0.2, 0.0], [0.4, 0.2, 0.6, 0.8]]),
        target=two._replace(log_flow=two.log_flow + jnp.array([[0.0, 0.1, 0.0, 0.0]])),
    )


def looking_forward(two):
    partial_reward = jnp.array([[0.0, 1.0, 0.3, 0.0], [0.5, -1.0, 2.0, -1.0]])
    return two._replace(log_partial_reward=partial_reward)


def stopping(two):
    return two._replace(
        log_partial_reward=jnp.array([[0.1, 0.4, 0.3, 0.0], [0.2, -0.3, 0.5, -1.0]]),
        log_stop=jnp.array([[-1.0, -2.0, 0.0, 0.0], [-0.5, -1.5, -0.7, 0.0]]),
    )


def with_values(two):
    """Values logsumexp l of 2, 1 and 3, 1, .5; the target network's differ by .25 everywhere."""
    two = two._replace(log_value=jnp.array([[2.0, 1.0, 0.3, 0.0], [3.0, 1.0, 0.5, -1.0]]))
    before = jnp.array([[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 0.0]])
    log_pf = jnp.where(two.mask, two.log_pf - 0.5, 0.0)
    return two._replace(target=two._replace(log_value=two.log_value + 0.25 * before, log_pf=log_pf))


# The objective, scores of what it needs, residuals and their weights.
RESIDUALS = {
    "tb": (TrajectoryBalance(), more_known, [[0.1], [1.9]], WHOLE),
    # log R + log P_B - log P_F = 1.1 and -.7, with mean .2.
    "vargrad": (LogPartitionVariance(), more_known, [[-0.9], [0.9]], WHOLE),
    # Without log Z -1.1 and .7: each minus the next, the last minus the first.
    "contrastive": (ContrastiveBalance(), more_known, [[-1.8], [1.8]], WHOLE),
    # 1.2 - 1.5 - .3 + .9 and 1.2 - 1.2 + 1 + .6.
    "rtb": (RelativeTrajectoryBalance(), more_known, [[0.3], [1.6]], WHOLE),
    "db": (DetailedBalance(), more_known, [[0.2, 0.9, 0], [0.4, 0.15, 1.15]], TRANSITIONS),
    # Only residuals that end in s_1 see the other flow.
    "target_db": (
        TargetDetailedBalance(),
        more_known,
        [[0.1, 0.9, 0], [0.3, 0.15, 1.15]],
        TRANSITIONS,
    ),
    # In-flow minus out-flow: 1.7 - 1.5 and .6 - .3; .4 - .5, 0 and -.5 + 1.
    "fm": (
        FlowMatching(terminal_weight=10.0),
        more_known,
        [[0.2, 0.3, 0], [-0.1, 0, 0.5]],
        [[1, 10, 0], [1, 1, 10]],
    ),
    # F~_t + e_t for F_t: the residuals of DB plus e_t - e_{t+1}.
    "fl_db": (
        ForwardLooking(DetailedBalance()),
        looking_forward,
        [[-0.8, 1.9, 0], [1.9, -2.85, 3.15]],
        TRANSITIONS,
    ),
    # log R(s) + log P_F + log P_F(stop | s') - log R(s') - log P_B - log P_F(stop | s):
    # .1 - .5 - 2 - .4 - 0 + 1, .2 - .2 - 1.5 + .3 + .1 + .5 and -.3 - .4 - .7 - .5 + .3 + 1.5.
    "mdb": (
        ModifiedDetailedBalance(),
        stopping,
        [[-1.8, None, 0], [-0.6, -0.1, None]],
        [[1, 0, 0], [1, 1, 0]],
    ),
    # log F + log P_F - log(F' P_B + 2 novelty'), at the end with R + 3 novelty for F'.
    "ga_db": (
        GAFlowNet(DetailedBalance(), edge_scale=2.0, terminal_scale=3.0),
        more_known,
        [
            [
                2.2 - 0.5 - np.log(np.exp(1.5) + 0.2),
                1.5 - 1.0 - np.log(END * np.exp(-0.7) + 0.4),
                0,
            ],
            [
                1.0 - 0.2 - np.log(np.exp(0.5 - 0.1) + 0.4),
                0.5 - 0.4 - np.log(np.exp(0.25 - 0.3) + 1.2),
                0.25 - 0.6 - np.log(OTHER_END * np.exp(-0.5) + 1.6),
            ],
        ],
        TRANSITIONS,
    ),
    # log Z + sum log P_F - log(R + r) - sum log(P_B + r / F').
    "ga_tb": (
        GAFlowNet(TrajectoryBalance(), edge_scale=2.0, terminal_scale=3.0),
        more_known,
        [
            [
                1.2
                - 1.5
                - np.log(END)
                - np.log(1 + 0.2 / np.exp(1.5))
                - np.log(np.exp(-0.7) + 0.4 / END)
            ],
            [None],
        ],
        WHOLE,
    ),
    # V + log P_F - log P_B - V': 2 - .5 - 0 - 1.25, 1 - 1 + .7 - .3 (the reward), ...
    "soft_dqn": (
        SoftDQN(),
        with_values,
        [[0.25, 0.4, 0], [3 - 0.2 + 0.1 - 1.25, 1 - 0.4 + 0.3 - 0.75, 0.5 - 0.6 + 0.5 + 1]],
        TRANSITIONS,
    ),
    # alpha = 1/2, so tau = 2: 2 V + 2 log P_F - log P_B - 1/2 max(2 log P_F', -2.5) - 2 V', with
    # log P_F' = -1, -1.5 and -.7, -.9, -1.1 and the floor at work for -1.5.
    "munchausen": (
        SoftDQN(0.5, log_policy_floor=-2.5),
        with_values,
        [
            [4 - 1 - 0 + 1 - 2.5, 2 - 2 + 0.7 + 1.25 - 0.3, 0],
            [6 - 0.4 + 0.1 + 0.7 - 2.5, 2 - 0.8 + 0.3 + 0.9 - 1.5, 1 - 1.2 + 0.5 + 1.1 + 1],
        ],
        TRANSITIONS,
    ),
}
# The objective, the regression and the loss.
LOSSES = {
    "tb": (TrajectoryBalance(), square, (0.1**2 + 1.9**2) / 2),
    "tb_huber": (TrajectoryBalance(), huber, (0.01 + 2 * 1.9 - 1) / 2),
    "vargrad": (LogPartitionVariance(), square, 0.81),
    # An average over transitions, not over trajectories.
    "db": (DetailedBalance(), square, (0.2**2 + 0.9**2 + 0.4**2 + 0.15**2 + 1.15**2) / 5),
    "fm": (
        FlowMatching(terminal_weight=10.0),
        square,
        (0.04 + 10 * 0.09 + 0.01 + 10 * 0.25) / 23,
    ),
    # Sums of squares by gap: 2.355 (five), 1.1^2 + .55^2 + 1.3^2 = 3.2025 (three), 1.7^2.
    "subtb": (
        SubTrajectoryBalance(0.5),
        square,
        (0.5 * 2.355 + 0.25 * 3.2025 + 0.125 * 2.89) / (0.5 * 5 + 0.25 * 3 + 0.125),
    ),
    # -sum log P_F A = -1.225 and -(.1525 + .29 + .69), and the mean of A^2 over transitions.
    "gae": (
        PolicyGradient("gae", lambda_=0.5, policy_weight=2.0),
        square,
        -(1.225 + 1.1325) + (0.65**2 + 0.9**2 + 0.7625**2 + 0.725**2 + 1.15**2) / 5,
    ),
}


def named(cases):
    return [(name, *case) for name, case in cases.items()]


def adapted(objective, scores):
    """A batch as the objective sees it, and as it sees that of the target network."""
    target = None if scores.target is None else jax.vmap(objective.adapt)(scores.target)
    scores = jax.vmap(objective.adapt)(scores)._replace(target=target)
    return resolve_log_z(objective.log_z, scores)


class ByHand(chex.TestCase):
    @pytest.fixture(autouse=True)
    def _take(self, two):
        self.two = two

    @chex.variants(with_jit=True, without_jit=True)
    @parameterized.named_parameters(named(RESIDUALS))
    def test_residuals(self, objective, needed, values, weights):
        @self.variant
        def residuals(scores):
            return jax.vmap(objective.residuals)(adapted(objective, scores))

        actual = residuals(needed(self.two))
        np.testing.assert_array_equal(actual.weights, weights)
        expected = np.array(values, float)  # NaN where it takes no part, or is left out
        actual = np.where(np.isnan(expected), np.nan, actual.values)
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)

    @chex.variants(with_jit=True, without_jit=True)
    @parameterized.named_parameters(named(LOSSES))
    def test_losses(self, objective, regression, expected):
        @self.variant
        def loss(scores):
            return weighted_loss(objective, regression, adapted(objective, scores))

        np.testing.assert_allclose(loss(self.two), expected, rtol=1e-5)
