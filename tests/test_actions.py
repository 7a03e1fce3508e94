"""Actions: every draw against softmax, whatever their number; and actions that are no numbers."""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from gfnjax import (
    DetailedBalance,
    FlowMatching,
    GFlowNet,
    Hypergrid,
    Hyperparameters,
    PolicyOutput,
    TrajectoryBalance,
    from_flax,
    tabular_policy,
    train,
)
from gfnjax.actions import Categorical, actions_of, backward_actions_of
from gfnjax.metrics import exact, sampled
from gfnjax.model import Model
from gfnjax.replay import Fifo
from gfnjax.samplers import Mixed, Windows
from gfnjax.samplers.local_search import LocalSearch
from gfnjax.testing import check_environment

SIZES = 5, 3_151, 49_152


@partial(jax.jit, static_argnums=(0, 4))
def draw(actions, logits, mask, key, num_samples):
    noise = actions.noise(key, (num_samples,))
    return jax.lax.map(lambda u: actions.sample(logits, mask, u), noise, batch_size=256)


def softmax(logits, mask):
    weights = np.where(mask, np.exp(np.asarray(logits, np.float64) - np.max(logits)), 0.0)
    return weights / weights.sum()


@pytest.mark.parametrize("size", SIZES)
def test_frequencies_are_those_of_softmax(size, key):
    keys = jax.random.split(key, 3)
    logits = 2 * jax.random.normal(keys[0], (size,))
    mask = jax.random.bernoulli(keys[1], 0.7, (size,)).at[jnp.array([0, size - 1])].set(True)
    num_samples = 40_000
    found = np.asarray(draw(Categorical(size), logits, mask, keys[2], num_samples))
    assert mask[found].all()
    probability = softmax(logits, np.asarray(mask))
    # Pool what is expected less than 20 times, as the approximation asks for.
    counts = np.bincount(found, minlength=size)
    order = np.argsort(probability)
    groups = np.floor(np.cumsum(probability[order]) * num_samples / 40).astype(int)
    pooled = np.bincount(groups, counts[order]), np.bincount(groups, probability[order])
    seen, expected = pooled[0], pooled[1] * num_samples
    seen, expected = seen[expected > 0], expected[expected > 0]
    chi_square = ((seen - expected) ** 2 / expected).sum()
    freedom = seen.size - 1
    assert abs(chi_square - freedom) < 5 * np.sqrt(2 * freedom)


@pytest.mark.parametrize("size", [*SIZES, 16, 17, 100])
def test_the_distribution_function_is_inverted_exactly(size):
    # Equal weights: u in [i, i + 1) / n gives the i-th of n allowed actions.
    mask = np.zeros(size, bool)
    mask[1::2] = True
    allowed = np.flatnonzero(mask)
    u = (np.arange(allowed.size) + 0.5) / allowed.size
    pick = jax.jit(jax.vmap(Categorical(size).sample, (None, None, 0)))
    found = pick(jnp.zeros(size), jnp.asarray(mask), jnp.asarray(u, jnp.float32))
    # Sums of float32 are off by less than half an action.
    assert np.abs(np.searchsorted(allowed, found) - np.arange(allowed.size)).max() <= 1
    assert mask[np.asarray(found)].all()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("u", [0.0, 1e-7, 0.5, 1 - 2.0**-24, 1 - 2.0**-23])
def test_edges_of_single_precision(size, u):
    sample = jax.jit(Categorical(size).sample)
    u = jnp.asarray(u, jnp.float32)
    everything = jnp.ones(size, bool)
    last = jnp.full(size, -200.0).at[-1].set(0.0)
    assert sample(last, everything, u) == size - 1
    first = jnp.full(size, -200.0).at[0].set(0.0)
    assert sample(first, everything, u) == 0
    for only in (0, size // 2, size - 1):
        mask = jnp.zeros(size, bool).at[only].set(True)
        assert sample(jnp.linspace(-30.0, 30.0, size), mask, u) == only
        assert sample(jnp.full(size, -jnp.inf), mask, u) == only
    # What is not allowed is never drawn, however much it would weigh.
    half = jnp.arange(size) % 2 == 0
    assert half[sample(jnp.where(half, -50.0, 50.0), half, u)]
    # Nothing allowed: anything in range.
    assert 0 <= sample(jnp.zeros(size), ~everything, u) < size


def test_small_probabilities_are_not_blown_up(key):
    # One action in 3,150 has almost everything; the others 1e-8 each, 3e-5 together.
    logits = jnp.full(3_151, np.log(1e-8)).at[7].set(0.0)
    found = draw(Categorical(3_151), logits, jnp.ones(3_151, bool), key, 200_000)
    assert (np.asarray(found) != 7).mean() < 3 * 3.2e-5


def test_log_probabilities_and_what_is_possible():
    actions = Categorical(3)
    mask = jnp.array([True, False, True])
    found = actions.log_prob(jnp.array([0.0, 5.0, np.log(3.0)]), mask, jnp.asarray(2))
    np.testing.assert_allclose(found, np.log(3 / 4), rtol=1e-6)
    assert actions.possible(mask)
    assert not actions.possible(jnp.zeros(3, bool))
    allowed = [bool(actions.allows(mask, jnp.asarray(a))) for a in (-1, 0, 1, 2, 3)]
    assert allowed == [False, True, False, True, False]
    env = Hypergrid(2, 4)
    assert (actions_of(env), backward_actions_of(env)) == (Categorical(3), Categorical(3))


# ---------------------------------------------------------------- actions that are no numbers


@dataclass(frozen=True)
class Gaussian:
    """Steps along a line; parameters (mean, log of the standard deviation), support a bool."""

    def neutral(self):
        return jnp.zeros(2)

    def noise(self, key, shape):
        return jax.random.normal(key, shape)

    def sample(self, params, support, noise):
        return params[0] + jnp.exp(params[1]) * noise

    def log_prob(self, params, support, action):
        z = (action - params[0]) * jnp.exp(-params[1])
        density = -0.5 * z**2 - params[1] - 0.5 * jnp.log(2 * jnp.pi)
        return jnp.where(support, density, 0.0)

    def explore(self, params, support, values):
        return params.at[1].add(jnp.log(values.temperature))

    def possible(self, support):
        return support

    def allows(self, support, action):
        return support & jnp.isfinite(action)


class LineState(NamedTuple):
    """Where it is, after how many steps."""

    x: jax.Array
    t: jax.Array


@struct.dataclass
class Line:
    """Two steps along a line from 0; R is the density of N(1, 4), so that Z = 1.

    The first step is taken back by its own length, the second as well: P_B says where the path
    was in the middle.
    """

    scale: float = 2.0
    num_actions: int = struct.field(pytree_node=False, default=1)
    num_backward_actions: int = struct.field(pytree_node=False, default=1)
    max_steps: int = struct.field(pytree_node=False, default=2)
    actions = Gaussian()
    backward_actions = Gaussian()

    def initial_state(self):
        return LineState(jnp.zeros(()), jnp.zeros((), jnp.int32))

    def step(self, state, action):
        moved = LineState(state.x + action, state.t + 1)
        return jax.tree.map(lambda a, b: jnp.where(state.t < 2, a, b), moved, state)

    def backward_step(self, state, action):
        # From the first position there is but one way back, to 0.
        moved = LineState(jnp.where(state.t == 1, 0.0, state.x - action), state.t - 1)
        return jax.tree.map(lambda a, b: jnp.where(state.t > 0, a, b), moved, state)

    def forward_mask(self, state):
        return state.t < 2

    def backward_mask(self, state):
        return state.t > 0

    def backward_action(self, state, action):
        return action

    def forward_action(self, state, action):
        return jnp.where(state.t == 1, state.x, action)

    def is_terminal(self, state):
        return state.t == 2

    def observe(self, state):
        return jnp.stack([state.x, state.t.astype(state.x.dtype), jnp.ones(())])

    def log_reward(self, state):
        z = (state.x - 1.0) / self.scale
        return -0.5 * z**2 - jnp.log(self.scale) - 0.5 * jnp.log(2 * jnp.pi)


class LineNetwork(nn.Module):
    """Means linear in the position, standard deviations of their own for each step."""

    @nn.compact
    def __call__(self, observation):
        x, t, _ = observation
        table = self.param("table", nn.initializers.zeros, (3, 7))
        a, b, s, c, d, r, f = table[t.astype(jnp.int32)]
        # There is one way back from the first position: a point, not a density.
        forward, backward = jnp.stack([a + b * x, s]), jnp.stack([c + d * x, r])
        return PolicyOutput(forward, backward, f)


class Back(NamedTuple):
    """What may be undone: anything where it is free, else one step alone."""

    possible: jax.Array
    free: jax.Array
    only: jax.Array


@dataclass(frozen=True)
class Undo(Gaussian):
    """Where there is one way back it has probability 1."""

    def sample(self, params, support, noise):
        return jnp.where(support.free, super().sample(params, True, noise), support.only)

    def log_prob(self, params, support, action):
        return super().log_prob(params, support.possible & support.free, action)

    def possible(self, support):
        return support.possible

    def allows(self, support, action):
        return support.possible & (support.free | (action == support.only))


@struct.dataclass
class PathLine(Line):
    """`Line` with P_B as it is: a density over the second step only."""

    backward_actions = Undo()

    def backward_mask(self, state):
        return Back(state.t > 0, state.t == 2, state.x)


LINE = PathLine()


def describe(objective=None, **options):
    rates = Hyperparameters(learning_rate=0.02, log_z_learning_rate=0.05)
    objective = TrajectoryBalance() if objective is None else objective
    return GFlowNet(LINE, from_flax(LineNetwork()), objective, hyperparameters=rates, **options)


@pytest.mark.slow
def test_a_gaussian_on_a_line_learns_its_target(key):
    gfn = describe(batch_size=64)
    state, _ = train(gfn, key, 1_500)
    keys = jax.random.split(jax.random.key(1), 5)
    paths = gfn.sample(state.params, keys[0], 20_000)
    assert paths.actions.shape == (20_000, 2)
    assert paths.actions.dtype == jnp.float32
    ends = paths.states.x[:, -1]
    np.testing.assert_allclose(ends.mean(), 1.0, atol=0.08)
    np.testing.assert_allclose(ends.std(), 2.0, atol=0.08)
    assert abs(float(state.params.log_z)) < 0.05  # the target is a density: Z = 1
    # Backward, then scored: one pass there and one back agree on log Z.
    target = LineState(1 + 2 * jax.random.normal(keys[1], (2_000,)), jnp.full(2_000, 2))
    bounds = (
        sampled.elbo(gfn.model, state.params, keys[2], 4_000),
        sampled.eubo(gfn.model, state.params, keys[3], target),
    )
    assert -0.05 < bounds[0] < 0.01
    assert -0.01 < bounds[1] < 0.05
    back = gfn.sample_backward(state.params, keys[4], target)
    assert (back.length == 2).all()
    np.testing.assert_array_equal(back.states.x[:, 0], 0.0)
    np.testing.assert_allclose(back.actions.sum(axis=1), target.x, atol=1e-5)


@pytest.mark.long
def test_scores_of_a_line_by_hand(key):
    gfn = describe()
    params = gfn.init(key).params._replace(log_flow_start=None)
    paths = gfn.sample(params, key, 8)
    scores = gfn.score(params, paths)
    density = -0.5 * np.asarray(paths.actions) ** 2 - 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(scores.log_pf, density, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scores.log_pb[:, 1], density[:, 1], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(scores.log_pb[:, 0], 0.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "sampler",
    [
        Windows(1),
        Mixed(Fifo(8)),
        Mixed(Fifo(8), fresh=Windows(1)),
        Mixed(local_search=LocalSearch(2, acceptance="metropolis")),
    ],
)
def test_other_samplers_take_any_action(sampler, key):
    gfn = describe(DetailedBalance(), sampler=sampler)
    _, history = train(gfn, key, 20)
    assert np.isfinite(history.info.loss).all()


def test_what_sums_over_all_actions_says_so():
    with pytest.raises(TypeError, match=r"FlowMatching sums over all actions.*are Gaussian"):
        describe(FlowMatching())
    with pytest.raises(TypeError, match="must be Enumerable"):
        exact.policy_table(Model(LINE, from_flax(LineNetwork())), None)


def test_a_network_of_another_form_is_refused(key):
    grid = Hypergrid(1, 4)
    gfn = GFlowNet(LINE, tabular_policy(grid).replace(made_for=()), TrajectoryBalance())
    with pytest.raises((ValueError, TypeError, AttributeError)):
        gfn.init(key)


def test_conformance_of_a_line(key):
    check_environment(LINE, key)


# ---------------------------------------------------------------- memory


@struct.dataclass
class Pick:
    """Choose 4 of many items, no item twice."""

    num_actions: int = struct.field(pytree_node=False, default=3_151)
    max_steps: int = struct.field(pytree_node=False, default=4)

    @property
    def num_backward_actions(self):
        return self.num_actions

    def initial_state(self):
        return jnp.zeros(self.num_actions, bool)

    def step(self, state, action):
        return jnp.where(state.sum() < 4, state.at[action].set(True), state)

    def backward_step(self, state, action):
        return state.at[action].set(False)

    def forward_mask(self, state):
        return ~state & (state.sum() < 4)

    def backward_mask(self, state):
        return state

    def backward_action(self, state, action):
        return action

    def forward_action(self, state, action):
        return action

    def is_terminal(self, state):
        return state.sum() >= 4

    def observe(self, state):
        return state.astype(jnp.float32)

    def log_reward(self, state):
        return -jnp.argmax(state).astype(jnp.float32)


class Small(nn.Module):
    """Logits of many actions from a few numbers."""

    num_actions: int

    @nn.compact
    def __call__(self, observation):
        x = nn.Dense(4)(observation)
        return PolicyOutput(
            nn.Dense(self.num_actions)(x), nn.Dense(self.num_actions)(x), nn.Dense(1)(x)[0]
        )


def largest_buffer(text, batch_size, num_actions):
    """The most numbers in an array of a compiled program that has batch and actions in it."""
    import re

    shapes = {tuple(map(int, s.split(","))) for s in re.findall(r"(?:f|s|u)32\[([\d,]+)\]", text)}
    return max(
        (np.prod(s) for s in shapes if np.prod(s) % (batch_size * num_actions) == 0), default=0
    )


@pytest.mark.parametrize("batch_size", [64, 512])
def test_no_array_has_batch_times_steps_times_actions(batch_size, key):
    env = Pick()
    policy = from_flax(Small(env.num_actions))
    gfn = GFlowNet(env, policy, TrajectoryBalance(), batch_size=batch_size)
    params = jax.eval_shape(gfn.init, key).params
    sample = jax.jit(gfn.model.sample, static_argnums=2)
    text = sample.lower(params, key, batch_size).compile().as_text()
    # States themselves are as wide as the actions here, one for each step: count them out.
    states = batch_size * 5 * env.num_actions
    floats = [line for line in text.splitlines() if "f32[" in line]
    found = largest_buffer("\n".join(floats), batch_size, env.num_actions)
    assert found <= batch_size * env.num_actions < states
