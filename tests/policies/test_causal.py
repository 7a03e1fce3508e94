"""Causal policies: `unroll` equals a scan of `step`, and both equal the policy on every prefix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax.envs.amp import VariableSequence
from gfnjax.envs.hypergrid import Hypergrid
from gfnjax.gflownet import GFlowNet
from gfnjax.hyperparameters import Hyperparameters
from gfnjax.objectives.detailed_balance import TargetDetailedBalance
from gfnjax.objectives.trajectory_balance import TrajectoryBalance
from gfnjax.policies.backward import UniformBackward
from gfnjax.policies.base import Policy
from gfnjax.policies.causal import (
    CausalPolicy,
    causal_transformer_policy,
    read_history,
    sample_causal,
    score_causal,
)
from gfnjax.scoring import score
from gfnjax.types import PolicyOutput


def more_of_the_last_letter(tokens):
    return (tokens == 2).sum().astype(jnp.float32)


ENV = VariableSequence(4, 3, more_of_the_last_letter)
POLICY = causal_transformer_policy(ENV, width=8, num_heads=2, num_layers=2)


@pytest.fixture(scope="module")
def params():
    return POLICY.init(jax.random.key(2), jnp.zeros(ENV.max_steps + 1, jnp.int32))


def plain(state, output):
    return output.forward_logits


def test_unroll_is_a_scan_of_step(key, params):
    tokens = jax.random.randint(key, (ENV.max_steps + 1,), 0, ENV.num_actions + 1)

    def step(memory, x):
        return POLICY.step(params, memory, *x)

    steps = jnp.arange(tokens.size, dtype=jnp.int32)
    _, stepwise = jax.lax.scan(step, POLICY.start(params), (tokens, steps))
    for a, b in zip(POLICY.unroll(params, tokens), stepwise, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_later_tokens_do_not_change_earlier_outputs(params):
    tokens = jnp.array([0, 1, 2, 3, 1, 2], jnp.int32)
    one, other = (POLICY.unroll(params, t).forward_logits for t in (tokens, tokens.at[3].set(4)))
    np.testing.assert_array_equal(one[:3], other[:3])
    assert float(jnp.abs(one[3:] - other[3:]).max()) > 1e-3


def test_history_is_read_off_the_state():
    state = ENV.initial_state()
    for action in (2, 0, 3):
        state = ENV.step(state, jnp.int32(action))
    tokens, length = jax.jit(lambda s: read_history(ENV, s))(state)
    assert tokens.tolist() == [0, 3, 1, 4, 0, 0]
    assert int(length) == 3


def test_scores_equal_those_of_the_policy_on_every_prefix(key, params):
    """The same function of a state, once by the causal path and once state by state."""
    trajectories = jax.jit(lambda p: sample_causal(ENV, POLICY, p, plain, key, 64))(params)
    assert len(set(trajectories.length.tolist())) > 1
    same = Policy(POLICY.init, lambda p, s: POLICY.evaluate(p, ENV, s), lambda env, s: s)
    model = UniformBackward(), params, trajectories
    ours = jax.jit(lambda: score_causal(ENV, POLICY, *model, log_z=0.5))()
    theirs = jax.jit(lambda: score(ENV, same, *model, log_z=0.5))()
    for name in ("log_pf", "log_pb", "log_flow", "log_reward", "log_z", "mask", "length"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=1e-4)


def test_samples_follow_the_scored_probabilities(key, params):
    """Frequencies of first actions against the softmax of the first logits."""
    trajectories = jax.jit(lambda p: sample_causal(ENV, POLICY, p, plain, key, 4000))(params)
    logits = POLICY.evaluate(params, ENV, ENV.initial_state()).forward_logits
    expected = jax.nn.softmax(logits[:3])  # an empty sequence may not stop
    counts = np.bincount(np.asarray(trajectories.actions[:, 0]), minlength=4)
    assert counts[3] == 0
    np.testing.assert_allclose(counts[:3] / 4000, expected, atol=0.04)
    second = np.asarray(trajectories.actions[np.asarray(trajectories.actions[:, 0]) == 1, 1])
    state = ENV.step(ENV.initial_state(), jnp.int32(1))
    expected = jax.nn.softmax(POLICY.evaluate(params, ENV, state).forward_logits)
    np.testing.assert_allclose(np.bincount(second, minlength=4) / second.size, expected, atol=0.06)


@pytest.mark.parametrize("objective", [TrajectoryBalance(), TargetDetailedBalance()])
def test_trains(key, objective):
    """log Z of this reward is log sum over lengths 1 to 2 of (2 + e)^n."""
    env = VariableSequence(2, 3, more_of_the_last_letter)
    policy = causal_transformer_policy(env, width=8, num_heads=2, num_layers=1)
    rates = Hyperparameters(learning_rate=1e-2)
    gfn = GFlowNet(env, policy, objective, hyperparameters=rates, batch_size=32, target_rate=0.1)
    state = gfn.init(key)
    run = jax.jit(lambda s: jax.lax.scan(lambda s, _: gfn.step(s), s, None, length=400))
    _, info = run(state)
    truth = np.log(sum((2 + np.e) ** n for n in (1, 2)))
    np.testing.assert_allclose(info.log_z[-20:].mean(), truth, atol=0.1)


def test_a_policy_with_memory_of_another_kind(key):
    """Any recurrence will do: the memory here is the sum of the tokens so far."""

    def output(total):
        logits = jnp.where(jnp.arange(4) == total % 4, 3.0, 0.0)
        return PolicyOutput(logits, jnp.zeros(1), jnp.zeros(()))

    policy = CausalPolicy(
        init=lambda key, tokens: {},
        start=lambda params: jnp.zeros((), jnp.int32),
        step=lambda params, total, token, t: (total + token, output(total + token)),
        unroll=lambda params, tokens: jax.vmap(output)(jnp.cumsum(tokens)),
    )
    gfn = GFlowNet(ENV, policy, TrajectoryBalance())
    state = gfn.init(key)
    trajectories = gfn.sample(state.params, key, 8)
    scores = gfn.score(state.params, trajectories)
    totals = np.cumsum(np.asarray(trajectories.actions) + 1, axis=1)
    for i in range(8):
        # The second action: all four are allowed, one has logit 3.
        best = int(trajectories.actions[i, 1]) == totals[i, 0] % 4
        expected = 3.0 * best - np.log(3 + np.exp(3))
        np.testing.assert_allclose(scores.log_pf[i, 1], expected, rtol=1e-5)


def test_several_parents_are_refused():
    with pytest.raises(ValueError, match="num_backward_actions must be 1, got 3"):
        causal_transformer_policy(Hypergrid(2, 4))
    with pytest.raises(ValueError, match="num_backward_actions must be 1, got 3"):
        GFlowNet(Hypergrid(2, 4), POLICY, TrajectoryBalance())


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((6, 4, 1), "width must be .* got 6"),
        ((8, 0, 1), "num_heads and"),
        ((8, 4, 0), "num_layers"),
    ],
)
def test_impossible_sizes_are_named(sizes, message):
    with pytest.raises(ValueError, match=message):
        causal_transformer_policy(ENV, *sizes)
