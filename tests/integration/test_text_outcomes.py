"""What training on texts comes to, in exact distances."""

import optax
import pytest

import gfnjax
from gfnjax.envs import tempered
from gfnjax.envs.bigram import bigram, solve, tempered_model, total_variation
from gfnjax.metrics import exact
from gfnjax.metrics.state_graph import build_graph
from gfnjax.objectives import ModifiedSubTrajectoryBalance
from gfnjax.policies import causal_transformer_policy


@pytest.mark.long
@pytest.mark.optimised
@pytest.mark.parametrize(
    ("temperature", "infill", "decoding"), [(0.5, False, 0.888716), (1.0, True, None)]
)
def test_bigram_posteriors_are_learned(temperature, infill, decoding, key):
    """Where the model with each token at that temperature is .89 away."""
    steps = 1_500
    env = tempered(bigram(infill=infill), 1 / temperature)
    gfn = gfnjax.GFlowNet(
        env,
        causal_transformer_policy(env, width=64, num_heads=4, num_layers=2),
        ModifiedSubTrajectoryBalance(),
        gfnjax.UniformBackward(),
        gfnjax.Hyperparameters(optax.cosine_decay_schedule(2e-3, steps), epsilon=0.05),
        batch_size=64,
        max_grad_norm=1.0,
    )
    state, _ = gfnjax.train(gfn, key, steps)
    table = exact.policy_table(gfn.model, state.params)
    assert exact.evaluate(build_graph(env), table.log_pf).total_variation < 0.02
    if decoding is not None:
        best = solve(temperature=temperature).log_policy
        tokens = tempered_model(temperature=temperature)
        assert total_variation(best, tokens) == pytest.approx(decoding, abs=1e-5)
