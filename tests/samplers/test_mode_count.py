"""Modes that training has come near to: counted on its batches by hand, and never forgotten."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax import GFlowNet, Hypergrid, TrajectoryBalance, UniformBackward, tabular_policy
from gfnjax.envs.bits import BitSequence, bit_sequence
from gfnjax.envs.diffusion import Diffusion
from gfnjax.envs.tempered import tempered
from gfnjax.objectives import DetailedBalance
from gfnjax.replay import Fifo
from gfnjax.rewards.densities import GaussianMixture
from gfnjax.run import build, configure
from gfnjax.run.evaluation import make_evaluator
from gfnjax.samplers import Mixed, ModeCount, OnPolicy, Windows

ENV = bit_sequence(8, 2, num_modes=4)


def describe(sampler, env=ENV, **settings):
    given = {"sampler": sampler, "backward": UniformBackward(), "batch_size": 4, **settings}
    return GFlowNet(env, tabular_policy(env), given.pop("objective", TrajectoryBalance()), **given)


def run(gfn, key, num_steps=6):
    """The states after each step, and the batch that it has learned from."""
    step, draw, state = jax.jit(gfn.step), jax.jit(gfn.draw), gfn.init(key)
    found = []
    for _ in range(num_steps):
        batch, _ = draw(state)
        state, _ = step(state)
        found.append((batch.trajectories, state))
    return found


def near(tokens, env=ENV):
    """Modes at most two of the eight bits away, from the written-out bits."""

    def bits(words):
        return ((np.asarray(words)[..., None] >> np.array([1, 0])) & 1).reshape(len(words), -1)

    away = (bits(tokens)[:, None] != bits(env.reward.modes)[None]).sum(axis=2)
    return (away <= 2).any(axis=0)


@pytest.mark.parametrize("sampler", [OnPolicy(), Mixed(Fifo(16))])
def test_what_batches_came_near_to_stays_seen(sampler, key):
    seen = np.zeros(4, bool)
    counts = []
    for trajectories, state in run(describe(ModeCount(sampler)), key):
        last = np.asarray(trajectories.states.tokens)[:, -1]
        seen |= near(last)
        np.testing.assert_array_equal(state.memory.seen, seen)
        counts.append(int(seen.sum()))
    assert 0 < counts[0] < 4 or counts[-1] > counts[0]
    assert counts == sorted(counts)


def test_batches_are_those_of_the_sampler(key):
    plain, counted = (run(describe(s), key, 3) for s in (OnPolicy(), ModeCount()))
    for (batch, state), (other, counting) in zip(plain, counted, strict=True):
        jax.tree.map(np.testing.assert_array_equal, batch, other)
        jax.tree.map(np.testing.assert_array_equal, state.params, counting.params)


def test_parts_of_trajectories_count_where_they_end(key):
    """Four words in windows of two: the first of them holds no object, the second only objects."""
    gfn = describe(ModeCount(Windows(2)), objective=DetailedBalance())
    (_, first), (batch, second) = run(gfn, key, 2)
    last = np.asarray(batch.states.tokens)[:, -1]
    assert (last >= 0).all()
    assert not first.memory.seen.any()
    assert near(last).any()
    np.testing.assert_array_equal(second.memory.seen, near(last))


def test_a_step_that_is_not_finite_counts_nothing(key):
    gfn = describe(ModeCount())
    state = gfn.init(key)
    batch, memory = gfn.draw(state)
    nan, good = jnp.full(4, jnp.nan), jnp.zeros(4)
    assert not gfn.sampler.learn(gfn.model, memory, batch, nan).seen.any()
    assert gfn.sampler.learn(gfn.model, memory, batch, good).seen.any()


def test_points_are_in_the_mode_they_are_in():
    centres = np.array([[-3.0, 0.0], [3.0, 0.0]])
    mixture = GaussianMixture(jnp.asarray(centres), 0.5)
    env = Diffusion(mixture, num_steps=3)
    for point, expected in ((centres[0], [True, False]), ([3.1, 0.2], [False, True])):
        assert env.modes_near(env.at_point(jnp.asarray(point))).tolist() == expected
    assert env.modes_near(env.at_point(jnp.array([0.0, 40.0]))).tolist() == [False, False]
    unknown = Diffusion(lambda x: -(x**2).sum(), dim=2, num_steps=3)
    assert unknown.modes_near(unknown.initial_state()).shape == (0,)


def test_a_tempered_environment_has_the_same_modes(key):
    env = tempered(ENV, 2.0)
    state = run(describe(ModeCount(), env), key, 2)[-1][1]
    assert state.memory.seen.shape == (4,)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: describe(ModeCount(), Hypergrid(2, 4)), "ModeCount counts modes, and Hypergrid"),
        (lambda: describe(ModeCount(), BitSequence(4, 2, lambda t: t.sum() * 1.0)), "leave out"),
        (lambda: describe(ModeCount(OnPolicy)), "must be a Sampler such as"),
        (lambda: describe(ModeCount(Mixed(Fifo(16))), batch_size=1), "too small for replay_share"),
    ],
)
def test_what_cannot_be_counted_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.slow
@pytest.mark.parametrize("num_bits", [8, 40])  # listed, and sampled
def test_runs_measure_it(num_bits, key):
    sizes = {"num_bits": num_bits, "word_size": 2, "num_modes": 4, "hidden_sizes": (8,)}
    given = {"network": "mlp", "batch_size": 4, "evaluation_samples": 10}
    config = configure("bits", **sizes, **given, count_modes=True)
    gfn = build.build(config)
    state = gfn.init(key)
    state = state._replace(memory=state.memory._replace(seen=jnp.arange(4) < 3))
    assert make_evaluator(config, gfn).evaluate(state, None)["modes_seen"] == 3.0
    config = configure("bits", **sizes, **given)
    plain = build.build(config)
    assert "modes_seen" not in make_evaluator(config, plain).evaluate(plain.init(key), None)
