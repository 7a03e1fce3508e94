"""Causal policies: `unroll` equals a scan of `step`, and both equal the policy on every prefix."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gfnjax
from gfnjax.envs import left_to_right_bits
from gfnjax.envs.amp import VariableSequence
from gfnjax.envs.conditional import temperature_conditional
from gfnjax.envs.hypergrid import Hypergrid
from gfnjax.gflownet import GFlowNet
from gfnjax.hyperparameters import Hyperparameters
from gfnjax.metrics import exact
from gfnjax.metrics.state_graph import build_graph
from gfnjax.model import Model
from gfnjax.objectives.detailed_balance import TargetDetailedBalance
from gfnjax.objectives.trajectory_balance import TrajectoryBalance
from gfnjax.policies.backward import UniformBackward
from gfnjax.policies.base import Policy
from gfnjax.policies.causal import (
    CausalPolicy,
    causal_transformer_policy,
    read_history,
)
from gfnjax.state import Params
from gfnjax.types import PolicyOutput


def more_of_the_last_letter(tokens):
    return (tokens == 2).sum().astype(jnp.float32)


ENV = VariableSequence(4, 3, more_of_the_last_letter)
POLICY = causal_transformer_policy(ENV, width=8, num_heads=2, num_layers=2)


NOTHING = jnp.zeros(0)

# The same rules at temperatures from 1/2 to 2: a policy sees the logarithm of beta.
HOT = temperature_conditional(ENV, 0.5, 2.0)
SEEING = causal_transformer_policy(HOT, width=8, num_heads=2, num_layers=2)


@pytest.fixture(scope="module")
def params():
    return POLICY.init(jax.random.key(2), POLICY.observe(ENV, ENV.initial_state()))


@pytest.fixture(scope="module")
def seeing():
    return SEEING.init(jax.random.key(2), SEEING.observe(HOT, HOT.initial_state()))


def scan_of_step(policy, params, observation, tokens):
    def step(memory, x):
        return policy.step(params, memory, *x)

    steps = jnp.arange(tokens.size, dtype=jnp.int32)
    return jax.lax.scan(step, policy.start(params, observation), (tokens, steps))[1]


def test_unroll_is_a_scan_of_step(key, params):
    tokens = jax.random.randint(key, (ENV.max_steps + 1,), 0, ENV.num_actions + 1)
    stepwise = scan_of_step(POLICY, params, NOTHING, tokens)
    for a, b in zip(POLICY.unroll(params, NOTHING, tokens), stepwise, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.parametrize("beta", [0.5, 0.9, 2.0])
def test_unroll_is_a_scan_of_step_with_a_condition(beta, key, seeing):
    prompt = SEEING.look(HOT, HOT.at(beta).initial_state())
    tokens = jax.random.randint(key, (ENV.max_steps + 1,), 0, ENV.num_actions + 1)
    stepwise = scan_of_step(SEEING, seeing, prompt, tokens)
    for a, b in zip(SEEING.unroll(seeing, prompt, tokens), stepwise, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_every_output_depends_on_the_condition(seeing):
    tokens = jnp.array([0, 1, 2, 3, 1, 2], jnp.int32)
    prompts = [SEEING.look(HOT, HOT.at(beta).initial_state()) for beta in (0.5, 2.0)]
    one, other = (SEEING.unroll(seeing, prompt, tokens).forward_logits for prompt in prompts)
    assert (jnp.abs(one - other).max(axis=1) > 1e-3).all()


def test_samples_and_scores_are_those_of_each_trajectorys_own_condition(key, seeing):
    """As the same function of states, which hold their condition, says them one by one."""
    model, params = Model(HOT, SEEING), Params(seeing)
    trajectories = model.sample(params, key, 32)
    assert len(set(trajectories.states.condition[:, 0, 0].tolist())) == 32
    same = Policy(SEEING.init, lambda p, s: SEEING.evaluate(p, HOT, s), lambda env, s: s)
    ours = model.score(params, trajectories)
    theirs = Model(HOT, same).score(params, trajectories)
    for name in ("log_pf", "log_pb", "log_flow", "log_reward", "mask", "length"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=1e-4)
    # With the same draws, a policy of states samples the same.
    again = Model(HOT, same).sample(params, key, 32)
    np.testing.assert_array_equal(trajectories.actions, again.actions)


@pytest.mark.long
@pytest.mark.optimised
def test_one_causal_policy_learns_the_target_of_every_temperature(key):
    bits = left_to_right_bits(num_bits=6, word_size=2, num_modes=2)
    env = temperature_conditional(bits, 0.5, 2.0)
    policy = causal_transformer_policy(env, width=32, num_heads=4, num_layers=2)
    rates = Hyperparameters(learning_rate=optax.cosine_decay_schedule(3e-3, 2_000), epsilon=0.05)
    gfn = GFlowNet(
        env,
        policy,
        TrajectoryBalance("flow"),
        UniformBackward(),
        rates,
        batch_size=64,
        max_grad_norm=1.0,
    )
    state, _ = gfnjax.train(gfn, key, 2_000, chunk_size=500)
    betas = 0.5, 1.0, 2.0
    graphs, tables = [], []
    for beta in betas:
        fixed = gfn.replace(env=gfn.env.at(beta))
        graphs.append(build_graph(fixed.env))
        tables.append(exact.policy_table(fixed.model, state.params).log_pf)
    distance = np.array(
        [[exact.evaluate(graph, table).total_variation for graph in graphs] for table in tables]
    )
    own = np.diag(distance)
    assert (own < 0.03).all(), distance
    others = distance + np.diag([np.inf] * 3)
    assert (own < others.min(axis=1) / 3).all(), distance


def test_later_tokens_do_not_change_earlier_outputs(params):
    tokens = jnp.array([0, 1, 2, 3, 1, 2], jnp.int32)
    changed = tokens.at[3].set(4)
    one, other = (POLICY.unroll(params, NOTHING, t).forward_logits for t in (tokens, changed))
    np.testing.assert_array_equal(one[:3], other[:3])
    assert float(jnp.abs(one[3:] - other[3:]).max()) > 1e-3


def test_history_is_read_off_the_state():
    state = ENV.initial_state()
    for action in (2, 0, 3):
        state = ENV.step(state, jnp.int32(action))
    source, tokens, length = jax.jit(lambda s: read_history(ENV, s))(state)
    assert tokens.tolist() == [0, 3, 1, 4, 0, 0]
    assert int(length) == 3
    for found, expected in zip(source, ENV.initial_state(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_scores_equal_those_of_the_policy_on_every_prefix(key, params):
    """The same function of a state, once by the causal path and once state by state."""
    trajectories = Model(ENV, POLICY).sample(Params(params), key, 64)
    assert len(set(trajectories.length.tolist())) > 1
    same = Policy(POLICY.init, lambda p, s: POLICY.evaluate(p, ENV, s), lambda env, s: s)
    given = params, ENV, UniformBackward(), trajectories
    ours = jax.jit(lambda: POLICY.score(*given, log_z=0.5))()
    theirs = jax.jit(lambda: same.score(*given, log_z=0.5))()
    for name in ("log_pf", "log_pb", "log_flow", "log_reward", "log_z", "mask", "length"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=1e-4)


def test_samples_follow_the_scored_probabilities(key, params):
    """Frequencies of first actions against the softmax of the first logits."""
    trajectories, _ = jax.jit(lambda p: POLICY.rollout(p, ENV, key, 4000))(params)
    logits = POLICY.evaluate(params, ENV, ENV.initial_state()).forward_logits
    expected = jax.nn.softmax(logits[:3])  # an empty sequence may not stop
    counts = np.bincount(np.asarray(trajectories.actions[:, 0]), minlength=4)
    assert counts[3] == 0
    np.testing.assert_allclose(counts[:3] / 4000, expected, atol=0.04)
    second = np.asarray(trajectories.actions[np.asarray(trajectories.actions[:, 0]) == 1, 1])
    state = ENV.step(ENV.initial_state(), jnp.int32(1))
    expected = jax.nn.softmax(POLICY.evaluate(params, ENV, state).forward_logits)
    np.testing.assert_allclose(np.bincount(second, minlength=4) / second.size, expected, atol=0.06)


@pytest.mark.long
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
        init=lambda key, seen: {},
        start=lambda params, observation: jnp.zeros((), jnp.int32),
        step=lambda params, total, token, t: (total + token, output(total + token)),
        unroll=lambda params, observation, tokens: jax.vmap(output)(jnp.cumsum(tokens)),
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
