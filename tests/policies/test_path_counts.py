"""The learned maximum-entropy backward policy against paths counted one by one."""

from collections import Counter

import numpy as np
import pytest
from backward_fitting import fit_backward
from path_enumeration import all_paths, all_trajectories, padded_dag

from gfnjax import GFlowNet, Hyperparameters, TrajectoryBalance, tabular_policy
from gfnjax.metrics import exact
from gfnjax.policies import LearnedMaximumEntropyBackward
from gfnjax.testing import diamond


def test_the_loss_by_hand(key):
    # l = log 2 at 3 and 0 elsewhere, P_B(1 | 3) = 3/4. Residuals: 0 into 1, 2 and 4; at 3
    # -log 2 - log 3/4 by 1 and -log 2 - log 1/4 by 2. s_0 has l = 0 whatever the network says.
    env = diamond()
    policy = tabular_policy(env)
    backward = LearnedMaximumEntropyBackward(policy)
    params = backward.init(key, env)
    table = params["params"]
    table["backward_logits"] = table["backward_logits"].at[3, 0].set(np.log(3.0))
    table["log_flow"] = table["log_flow"].at[3].set(np.log(2.0)).at[0].set(5.0)
    loss = backward.loss(params, env, all_trajectories(env), 4)
    residuals = np.array([-np.log(1.5), np.log(2.0), 0, 0, 0, 0])
    np.testing.assert_allclose(loss, (residuals**2).mean(), rtol=1e-5)


@pytest.mark.slow
def test_it_counts_paths(key):
    env = padded_dag(1)
    policy = tabular_policy(env)
    backward = LearnedMaximumEntropyBackward(policy, num_updates=1500)
    rates = Hyperparameters(backward_learning_rate=0.05)
    gfn = GFlowNet(env, policy, TrajectoryBalance(), backward, rates)
    state = fit_backward(gfn, gfn.init(key), all_trajectories(env), key)

    counts = Counter(path[-1][0] for path in unique_prefixes(env))
    expected = np.log([counts[s] for s in range(env.num_states)])
    learned = np.asarray(state.params.backward["params"]["log_flow"])
    assert max(counts.values()) > 3
    np.testing.assert_allclose(learned[1:], expected[1:], atol=2e-2)
    table = exact.policy_table(gfn.model, state.params)
    parents = np.asarray(env.parents)
    for s, k in np.argwhere(parents >= 0):
        share = counts[parents[s, k]] / counts[s]
        np.testing.assert_allclose(np.exp(table.log_pb[s, k]), share, atol=1e-2)


def unique_prefixes(env):
    """All paths from s_0 to any state, each once."""
    prefixes = {(*path[:i], (path[i][0], -1)) for path in all_paths(env) for i in range(len(path))}
    return sorted(prefixes)
