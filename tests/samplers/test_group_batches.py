"""Batches in groups: who stands where, at which temperature, and what is remembered."""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from letters import Letters
from prompted import NUM_PROMPTS, Prompted, text_rules

from gfnjax import GFlowNet, Hyperparameters, TrajectoryBalance, mlp_policy, tabular_policy
from gfnjax.algorithms import RewardPPO
from gfnjax.envs.bigram import bigram
from gfnjax.envs.tempered import tempered
from gfnjax.envs.text import PromptedText, text
from gfnjax.errors import ArgumentError
from gfnjax.model import Model
from gfnjax.objectives import LogPartitionVariance, ModifiedSubTrajectoryBalance
from gfnjax.policies.base import Behaviour
from gfnjax.policies.causal import causal_transformer_policy
from gfnjax.policies.ensemble import ensemble_mlp_policy
from gfnjax.replay import Fifo, PromptReplay
from gfnjax.rewards.tokens import prompt_table
from gfnjax.samplers import Batch, Groups, Mixed
from gfnjax.spread import BATCH

ENV = Prompted(text_rules(3, 2))
POLICY = mlp_policy(ENV, (8,))
REPLAY = PromptReplay(NUM_PROMPTS, 4)
TB = TrajectoryBalance("flow")
NUM = 3_000


def describe(sampler, env=ENV, policy=POLICY, objective=TB, **options):
    options = {"batch_size": 16, "log_z_init": 0.0} | options
    return GFlowNet(env, policy, objective, sampler=sampler, **options)


init, step = jax.jit(GFlowNet.init), jax.jit(GFlowNet.step)


@jax.jit
def draw(gfn, state):
    return gfn.draw(state)[0]


def prompts_of(batch):
    return np.asarray(batch.trajectories.states.prompt)


def texts_of(trajectories):
    rows = zip(np.asarray(trajectories.actions), np.asarray(trajectories.length), strict=True)
    return [tuple(actions[:length].tolist()) for actions, length in rows]


def decided(params):
    """Weights of a policy that prefers some actions, so that temperatures matter."""
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(7), len(leaves))
    noise = [jax.random.normal(k, x.shape, x.dtype) for k, x in zip(keys, leaves, strict=True)]
    return structure.unflatten([x + n for x, n in zip(leaves, noise, strict=True)])


# ---------------------------------------------------------------- temperatures


@pytest.mark.slow
@pytest.mark.parametrize("make", ["states", "causal", "ensemble"])
def test_each_trajectory_acts_at_its_own_temperature(make):
    env = text_rules(3, 2)
    policy = {
        "states": lambda: mlp_policy(env, (8,)),
        "causal": lambda: causal_transformer_policy(env, 8, 2, 1),
        "ensemble": lambda: ensemble_mlp_policy(env, 2, (8,)),
    }[make]()
    model = Model(env, policy)
    params = model.init(jax.random.key(0), jax.random.key(1))
    params = params._replace(policy=decided(params.policy))
    temperature = jnp.tile(jnp.array([0.5, 1.0, 4.0]), NUM)
    explore = jax.jit(
        lambda key, heat: model.explore(params, key, 3 * NUM, Behaviour(), temperature=heat)[0]
    )
    first = np.asarray(explore(jax.random.key(2), temperature).actions)[:, 0]
    logits = model.policy.evaluate(params.policy, env, env.initial_state()).forward_logits
    shares = []
    for row, heat in enumerate([0.5, 1.0, 4.0]):
        counts = np.bincount(first[row::3], minlength=3) / NUM
        expected = np.asarray(jax.nn.softmax(logits / heat))
        # Four standard deviations.
        assert np.abs(counts - expected).max() < 4 * 0.5 / np.sqrt(NUM)
        shares.append(expected)
    assert np.abs(shares[0] - shares[2]).max() > 0.1
    plain = model.explore(params, jax.random.key(2), 3 * NUM, Behaviour())[0]
    ones = explore(jax.random.key(2), jnp.ones(3 * NUM))
    np.testing.assert_array_equal(plain.actions, ones.actions)


def test_mixtures_are_tempered_inside(key):
    # At epsilon = 1 nothing is left to be tempered.
    gfn = describe(Groups(8), hyperparameters=Hyperparameters(epsilon=1.0), batch_size=NUM * 8)
    state = init(gfn, key)
    params = state.params._replace(policy=decided(state.params.policy))
    batch = draw(gfn, state._replace(params=params))
    first = np.asarray(batch.trajectories.actions)[:, 0]
    counts = np.bincount(first, minlength=3) / first.size
    np.testing.assert_allclose(counts, 1 / 3, atol=0.02)


def test_what_is_recorded_is_the_policys_word_at_temperature_1(key):
    gfn = describe(Groups(4, tempered_share=1.0, temperatures=(3.0, 3.0)))
    state = init(gfn, key)
    batch = draw(gfn, state)
    scores = gfn.score(state.params, batch.trajectories)
    recorded = np.asarray(batch.rows.log_pf)[:, :-1]
    live = np.asarray(scores.mask)
    np.testing.assert_allclose(recorded[live], np.asarray(scores.log_pf)[live], rtol=1e-5)


def test_temperatures_are_uniform_and_of_a_share(key):
    sampler = Groups(10, tempered_share=0.3, temperatures=(0.5, 2.0))
    drawn = np.asarray(sampler._temperatures(key, 500)).reshape(500, 10)
    assert np.all(drawn[:, 3:] == 1.0)
    heat = drawn[:, :3].ravel()
    assert heat.min() >= 0.5
    assert heat.max() <= 2.0
    np.testing.assert_allclose([heat.mean(), heat.var()], [1.25, 1.5**2 / 12], rtol=0.06)
    assert Groups(4, tempered_share=0.0)._temperatures(key, 2) is None


# ---------------------------------------------------------------- groups and memory


@pytest.mark.long
def test_groups_share_a_source(key):
    gfn = describe(Groups(4, replay=REPLAY), batch_size=40)
    state, seen = init(gfn, key), set()
    for _ in range(3):
        prompts = prompts_of(draw(gfn, state)).reshape(10, 4, -1)
        assert (prompts == prompts[:, :1, :1]).all()
        seen |= set(prompts[:, 0, 0].tolist())
        state, info = step(gfn, state)
        assert np.isfinite(info.loss)
    assert seen == {0, 1, 2}
    env = text_rules(3, 2)
    plain = describe(Groups(4, replay=PromptReplay(1)), env, tabular_policy(env))
    _, info = step(plain, init(plain, key))
    assert np.isfinite(info.loss)


@pytest.mark.slow
def test_replayed_ones_stand_last_and_come_from_their_prompt(key):
    gfn = describe(Groups(4, replay=REPLAY), batch_size=40)
    assert gfn.sampler.counts == (2, 1, 1)
    state = init(gfn, key)
    first = draw(gfn, state)
    # There is nothing yet: the first of each group stands in.
    texts = texts_of(first.trajectories)
    assert texts[3::4] == texts[0::4]
    for _ in range(4):
        state, _ = step(gfn, state)
    memory = jax.tree.map(np.asarray, state.memory)
    held = []
    for prompt in range(NUM_PROMPTS):
        slots = np.flatnonzero(memory.length[prompt])
        rows = (memory.actions[prompt], memory.length[prompt])
        held.append({tuple(rows[0][s][: rows[1][s]].tolist()) for s in slots})
        assert slots.size > 1
    batch = draw(gfn, state)
    texts, prompts = texts_of(batch.trajectories), prompts_of(batch)[:, 0]
    assert all(texts[i] in held[prompts[i]] for i in range(3, 40, 4))
    again = jax.vmap(gfn.env.log_reward)(
        jax.tree.map(lambda x: x[:, -1], batch.trajectories.states)
    )
    np.testing.assert_allclose(batch.trajectories.log_reward, again, rtol=1e-5)


@pytest.mark.slow
def test_only_fresh_ones_are_remembered(key):
    gfn = describe(Groups(4, replay=REPLAY), batch_size=40)
    state = init(gfn, key)
    batch = draw(gfn, state)
    # As if the replayed places held something else: it must not come in.
    other = jax.tree.map(lambda x: jnp.roll(x, 1, axis=0), batch.trajectories)
    fresh = (jnp.arange(40) % 4) < 3

    def pick(x, y):
        return jnp.where(fresh.reshape(-1, *[1] * (x.ndim - 1)), x, y)

    mixed = batch._replace(trajectories=jax.tree.map(pick, batch.trajectories, other))
    learn = jax.jit(lambda gfn, *given: gfn.sampler.learn(gfn.model, *given))
    learned = learn(gfn, state.memory, mixed, jnp.ones(40))
    rows = jax.tree.map(lambda x: x[np.flatnonzero(fresh)], batch.trajectories)
    expected = jax.jit(lambda rows: REPLAY.seed(ENV, REPLAY.start(ENV), rows))(rows)
    jax.tree.map(np.testing.assert_array_equal, learned, expected)
    lost = learn(gfn, state.memory, mixed, jnp.full(40, jnp.nan))
    jax.tree.map(np.testing.assert_array_equal, lost, state.memory)


@pytest.mark.slow
def test_the_temperature_of_the_reward_may_be_a_schedule(key):
    env = tempered(ENV, optax.linear_schedule(1.0, 4.0, 3))
    gfn = describe(Groups(4, replay=REPLAY), env, batch_size=40)
    state = init(gfn, key)
    for _ in range(4):
        state, info = step(gfn, state)
        assert np.isfinite(info.loss)
    batch = draw(gfn, state)
    ends = jax.tree.map(lambda x: x[:, -1], batch.trajectories.states)
    np.testing.assert_allclose(
        batch.trajectories.log_reward, 4.0 * jax.vmap(ENV.log_reward)(ends), rtol=1e-5
    )
    with pytest.raises(ValueError, match="a buffer replays rewards whose exponent has changed"):
        describe(Mixed(Fifo(100)), env)


@pytest.mark.slow
def test_texts_bring_the_rewards_of_their_prefixes_along(key):
    reward = bigram(4, 3).reward
    prompts = prompt_table([[4], [0], [1]])
    env = PromptedText(3, jnp.arange(5, dtype=jnp.int32), reward, prompts, min_length=0)
    env = tempered(env, optax.linear_schedule(1.0, 2.0, 2))
    objective = ModifiedSubTrajectoryBalance()
    gfn = describe(Groups(4, replay=REPLAY), env, mlp_policy(env, (8,)), objective, batch_size=40)
    state = init(gfn, key)
    for _ in range(2):
        state, info = step(gfn, state)
        assert np.isfinite(info.loss)
    paths = draw(gfn, state).trajectories
    assert len({tuple(row) for row in np.asarray(paths.actions)[3::4]}) > 3
    now = tempered(env.env, 2.0)
    expected = jax.vmap(jax.vmap(now.log_partial_reward))(paths.states)
    live = np.arange(5)[None] <= np.asarray(paths.length)[:, None]
    found = np.asarray(paths.log_path_reward)
    np.testing.assert_allclose(found[live], np.asarray(expected)[live], rtol=1e-5)
    last = np.take_along_axis(found, np.asarray(paths.length)[:, None], axis=1)[:, 0]
    np.testing.assert_allclose(paths.log_reward, last, rtol=1e-5)


def test_without_replay_all_is_known_of_a_batch(key):
    gfn = describe(Groups(8, tempered_share=0.0))
    state = init(gfn, key)
    batch = draw(gfn, state)
    assert state.memory is None
    assert isinstance(batch, Batch)
    assert batch.rows is not None
    assert len(Counter(map(int, prompts_of(batch)[:, 0]))) <= 2


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 0}, "size must be at least 1"),
        ({"tempered_share": 1.5}, r"tempered_share must be in \[0, 1\]"),
        ({"replay": REPLAY, "replay_share": 1.0}, r"replay_share must be in \(0, 1\)"),
        ({"replay": REPLAY, "replay_share": 0.6}, "replay_share must be 1 at most"),
        ({"temperatures": (2.0, 1.0)}, "temperatures must be positive, the lowest first"),
        ({"temperatures": (0.0, 1.0)}, "temperatures must be positive"),
        ({"replay": Fifo(10)}, "replay must be a PromptReplay"),
    ],
)
def test_numbers_out_of_range(options, words):
    with pytest.raises(ValueError, match=words):
        Groups(**options)


@pytest.mark.parametrize(
    ("sampler", "options", "words"),
    [
        (Groups(5), {}, "batch_size must be a multiple of the 5 trajectories of a group, got 16"),
        (Groups(2, replay=REPLAY), {}, "size 2 is too small for replay_share = 0.25"),
        (Groups(1), {}, "size 1 is too small for tempered_share = 0.5"),
        (
            Groups(1, tempered_share=0.0),
            {"objective": LogPartitionVariance("group")},
            "LogPartitionVariance: size must be 2 or more",
        ),
        (Groups(8), {"objective": RewardPPO(entropy_weight=None)}, "cannot be trained on tempered"),
        (Groups(8, replay=PromptReplay(2)), {}, None),
    ],
)
def test_what_does_not_go_together(sampler, options, words):
    if words is None:
        describe(sampler, **options)
        return
    with pytest.raises(ValueError, match=words):
        describe(sampler, **options)


def d_after_b(tokens, prompt):
    """Action 1 must follow the first action 0."""
    size = (tokens >= 0).sum(dtype=jnp.int32)
    return jnp.where((size == 1) & (tokens[0] == 0), 1, -1)


def lettered(forced=None):
    def reward(ids, prompt):
        return 0.0

    options = {"stop": ".", "allowed": "bd", "max_length": 3, "min_length": 2}
    return text(Letters("abcd."), ["a", "c"], reward, forced=forced, **options)


@pytest.mark.slow
@pytest.mark.parametrize("exponent", [None, 2.0])
def test_demonstrations_must_be_allowed(exponent, key):
    env = lettered(d_after_b)
    rules = env if exponent is None else tempered(env, exponent)
    policy = mlp_policy(rules, (8,))

    def made(states):
        sampler = Groups(4, replay=PromptReplay(2), demonstrations=states)
        return describe(sampler, rules, policy)

    good = env.states(["bdb", "db", "ddd"], [0, 1, 1])
    _, info = step(made(good), init(made(good), key))
    assert np.isfinite(info.loss)
    wrong = env.states(["bdb", "bb"], [0, 1])
    message = "^demonstrations must be reached by actions that are allowed, number 1 of those to "
    with pytest.raises(ArgumentError, match=f"{message}row 1 is 0$"):
        made(wrong)
    describe(Groups(4, replay=PromptReplay(2), demonstrations=wrong), lettered(), policy)
    short = good._replace(tokens=good.tokens.at[2, 1:].set(-1))
    with pytest.raises(ArgumentError, match=f"{message}row 2 is 2$"):
        made(short)
    with pytest.raises(ArgumentError, match="demonstrations must be terminal states, row 1 is non"):
        made(good._replace(stopped=jnp.array([True, False, True])))
    assert jax.eval_shape(lambda: made(good).init(key)) is not None


def test_one_alone_with_nothing_to_share():
    gfn = describe(Groups(1, tempered_share=0.0))
    state, info = step(gfn, init(gfn, jax.random.key(0)))
    assert np.isfinite(info.loss)
    assert state.memory is None
    plain = describe(Groups(8, tempered_share=0.0), objective=RewardPPO(entropy_weight=None))
    _, info = step(plain, init(plain, jax.random.key(0)))
    assert np.isfinite(info.loss)


def test_groups_are_not_spread_over_devices(key):
    gfn = describe(Groups(8))
    with pytest.raises(ValueError, match="Groups cannot spread a batch over the 2 devices"):
        jax.vmap(lambda _: gfn.init(key).params.log_z, axis_name=BATCH)(jnp.arange(2))
