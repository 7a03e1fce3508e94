"""What is refused when a `GFlowNet` is described, with the argument and the remedy."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

import gfnjax
from gfnjax import GFlowNet, Hypergrid, TrajectoryBalance, envs, mlp_policy, tabular_policy
from gfnjax.algorithms import RewardSAC, Teacher
from gfnjax.metrics import exact, state_graph
from gfnjax.objectives import LogPartitionVariance, RelativeTrajectoryBalance
from gfnjax.policies import (
    LikelihoodBackward,
    MaximumEntropyBackward,
    causal_transformer_policy,
    graph_policy,
    transformer_policy,
)
from gfnjax.policies.base import FrozenPolicy
from gfnjax.policies.ensemble import ensemble_mlp_policy
from gfnjax.policies.uniform import uniform_policy
from gfnjax.rewards.hypergrid import corners
from gfnjax.rewards.tokens import prompt_table
from gfnjax.samplers import Groups

SMALL, LARGE = Hypergrid(2, 8), Hypergrid(2, 16)
TB = TrajectoryBalance()


def dags(num_nodes):
    return envs.DAGs(num_nodes, lambda adjacency: adjacency.sum() * 1.0)


WORDS = [envs.left_to_right_bits(num_bits=n, word_size=4, num_modes=2) for n in (12, 16)]
PAIRS = {
    "mlp": (mlp_policy, SMALL, LARGE, "num_features = 16, .* is 32"),
    "dense-mlp": (mlp_policy, envs.published_set("small"), LARGE, "num_actions = 30, .* is 3"),
    "table": (tabular_policy, SMALL, LARGE, "num_states"),
    "table-of-a-larger-one": (tabular_policy, LARGE, SMALL, "num_states"),
    "members": (lambda env: ensemble_mlp_policy(env, 2), SMALL, LARGE, "num_features"),
    "uniform": (uniform_policy, SMALL, Hypergrid(3, 8), "num_actions = 3, .* is 4"),
    "transformer": (transformer_policy, *WORDS, "num_features"),
    "causal": (causal_transformer_policy, *WORDS, "max_steps = 3, .* is 4"),
    "graph": (graph_policy, dags(3), dags(4), "num_actions"),
    "mlp-without-the-condition": (
        mlp_policy,
        SMALL,
        envs.temperature_conditional(SMALL, 0.5, 2.0),
        "num_features = 16, .* is None",
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_network_made_for_another_environment_is_refused(name):
    make, one, other, words = PAIRS[name]
    with pytest.raises(ValueError, match=f"^policy was made for an environment with {words}"):
        GFlowNet(other, make(one), TrajectoryBalance("flow"))
    gfn = GFlowNet(one, make(one), TrajectoryBalance("flow"))
    with pytest.raises(ValueError, match="make a network for this environment"):
        gfn.replace(env=other)


def test_every_other_network_is_checked_too(key):
    other = mlp_policy(SMALL)
    own = mlp_policy(LARGE)
    prior = FrozenPolicy(other, None)
    counts = exact.log_path_counts(state_graph.build_graph(SMALL))
    cases = {
        "backward": {"backward": LikelihoodBackward(other)},
        "the objective's critic": {"objective": RewardSAC(critic=other), "target_rate": 0.1},
        "prior": {"objective": RelativeTrajectoryBalance(), "prior": prior},
    }
    for argument, options in cases.items():
        with pytest.raises(ValueError, match=f"^{argument} was made for an environment with num_f"):
            GFlowNet(LARGE, own, **{"objective": TB} | options)
    with pytest.raises(ValueError, match=r"^the teacher's policy was made for an environment with"):
        Teacher(GFlowNet(LARGE, own, TB), other)
    with pytest.raises(ValueError, match=r"^backward was made for an environment with num_states"):
        GFlowNet(LARGE, own, TB, MaximumEntropyBackward(counts))


def test_another_reward_or_condition_is_no_other_size():
    policy = mlp_policy(SMALL)
    gfn = GFlowNet(SMALL, policy, TB)
    gfn.replace(env=Hypergrid(2, 8, corners("hard")))
    conditional = envs.temperature_conditional(SMALL, 0.5, 2.0)
    fits_all = GFlowNet(conditional, mlp_policy(conditional), TrajectoryBalance("flow"))
    dataclasses.replace(fits_all, env=conditional.at(2.0))


def test_a_causal_policy_that_sees_no_condition_is_refused():
    env = envs.temperature_conditional(WORDS[0], 0.5, 2.0)
    for_the_rules = causal_transformer_policy(WORDS[0])
    with pytest.raises(ValueError, match="sees nothing of where a trajectory starts is none for"):
        GFlowNet(env, for_the_rules, TrajectoryBalance("flow"))
    GFlowNet(env.at(2.0), for_the_rules, TB)  # one temperature needs no condition
    for_all = causal_transformer_policy(env)
    gfn = GFlowNet(env, for_all, TrajectoryBalance("flow"))
    gfn.replace(env=env.at(2.0))


def test_optimisers_are_functions_of_the_rate():
    import optax

    for argument in ("optimizer", "log_z_optimizer"):
        for wrong in (optax.adam(1e-3), "adam"):
            with pytest.raises(TypeError, match=f"{argument} must be a function of the learning"):
                GFlowNet(SMALL, mlp_policy(SMALL), TB, **{argument: wrong})


@pytest.mark.slow
def test_sizes_may_be_numpys(key):
    env = Hypergrid(2, 8)
    policy = mlp_policy(env)
    assert all(type(size) is int for _, size in policy.made_for)
    assert policy == mlp_policy(Hypergrid(2, 8))
    assert jnp.isfinite(gfnjax.train(GFlowNet(env, policy, TB), key, 1)[1].info.loss).all()
    assert isinstance(hash(policy), int)
    assert jax.tree.leaves(policy) == []  # all of it is structure


def test_groups_are_wanted_where_conditions_are_compared():
    env = envs.temperature_conditional(Hypergrid(2, 3), 0.5, 2.0)
    compare = LogPartitionVariance("group")
    with pytest.raises(ValueError, match="hardly ever two: use sampler=Groups"):
        GFlowNet(env, mlp_policy(env), compare)
    GFlowNet(env, mlp_policy(env), compare, sampler=Groups(4))
    prompts = prompt_table([[0], [1], [2]])
    texts = envs.PromptedText(2, jnp.arange(4, dtype=jnp.int32), lambda ids, prompt: 0.0, prompts)
    GFlowNet(texts, mlp_policy(texts), compare, batch_size=6)
    with pytest.raises(ValueError, match="hardly ever two"):
        GFlowNet(texts, mlp_policy(texts), compare, batch_size=5)
