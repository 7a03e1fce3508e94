"""No random number is used twice: every draw of a run has a key of its own.

A generator that writes down the key of every draw, whichever way the key was derived, finds what
`jax_debug_key_reuse` does not: `split(k, n)[i]` equals `fold_in(k, i)`.
"""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import define_prng_impl, threefry_prng_impl

import gfnjax
from gfnjax import GFlowNet, Hypergrid, Hyperparameters, envs, mlp_policy
from gfnjax.algorithms import RewardSAC, Teacher, mars
from gfnjax.algorithms.ebgfn import EnergyGFlowNet
from gfnjax.objectives import LEDGFN, EntropyPPO, GAFlowNet
from gfnjax.policies import LearnedMaximumEntropyBackward, LikelihoodBackward, PessimisticBackward
from gfnjax.policies.ensemble import ensemble_mlp_policy
from gfnjax.replay import Fifo, ResidualPrioritised, RewardPrioritised, TerminalReplay
from gfnjax.rewards.ising import IsingReward
from gfnjax.run.evaluation.base import evaluation_keys
from gfnjax.run.evaluation.samples import SampledEvaluator
from gfnjax.samplers import Mixed, Windows
from gfnjax.samplers.local_search import LocalSearch

DRAWN: list[tuple[int, ...]] = []


def _note(key):
    DRAWN.append(tuple(np.asarray(key).tolist()))


def _noted_bits(key, bit_width, shape):
    jax.debug.callback(_note, key)
    return threefry_prng_impl.random_bits(key, bit_width, shape)


NOTING = define_prng_impl(
    key_shape=threefry_prng_impl.key_shape,
    seed=threefry_prng_impl.seed,
    split=threefry_prng_impl.split,
    random_bits=_noted_bits,
    fold_in=threefry_prng_impl.fold_in,
    name="noting",
    tag="note",
)


def repeated(run, *args):
    """Keys of more than one draw of `run(key, *args)`, and how many draws there were."""
    DRAWN.clear()
    jax.block_until_ready(run(jax.random.key(3, impl=NOTING), *args))
    jax.effects_barrier()
    counts = Counter(DRAWN)
    return [key for key, count in counts.items() if count > 1], len(DRAWN)


def test_the_recorder_sees_what_it_must():
    @jax.jit
    def twice(key):
        a = jax.random.normal(jax.random.fold_in(key, 1))
        b = jax.vmap(jax.random.normal)(jax.random.split(key, 3))
        return a, b

    again, count = repeated(twice)
    assert (len(again), count) == (1, 4)


ENV = Hypergrid(2, 3)
SMALL = mlp_policy(ENV, (4,))
CONDITIONAL = envs.temperature_conditional(ENV, 0.5, 2.0)
LED = LEDGFN(hidden_sizes=(4,))
TB = gfnjax.TrajectoryBalance()
EXPLORE = Hyperparameters(epsilon=0.1)
LIKELIHOOD = LikelihoodBackward(SMALL, num_updates=2)


def describe(objective=TB, env=ENV, policy=SMALL, **options):
    return GFlowNet(env, policy, objective, hyperparameters=EXPLORE, batch_size=8, **options)


CASES = {
    "plain": describe(),
    "several-updates-led": describe(LED, num_updates=3),
    "ga": describe(GAFlowNet(hidden_sizes=(4,))),
    "sac": describe(RewardSAC(critic=SMALL), target_rate=0.1),
    "ent-ppo": GFlowNet(ENV, SMALL, EntropyPPO(), backward=gfnjax.UniformBackward(), num_updates=3),
    "led-on-conditions": describe(LED, CONDITIONAL, mlp_policy(CONDITIONAL, (4,))),
    "led-bootstrap": describe(LED, policy=ensemble_mlp_policy(ENV, 2, (4,), keep=0.5)),
    "windows": describe(LED.base, sampler=Windows(2)),
    "search-and-replay": describe(
        LED, sampler=Mixed(RewardPrioritised(32), 0.25, LocalSearch(2), 0.25)
    ),
    "residual": describe(sampler=Mixed(ResidualPrioritised(32))),
    "terminal": describe(sampler=Mixed(TerminalReplay(Fifo(32)))),
    "replayed-windows": describe(LED.base, sampler=Mixed(Fifo(32), fresh=Windows(2))),
    "teacher-of-bootstrap": Teacher(
        describe(policy=ensemble_mlp_policy(ENV, 2, (4,), keep=0.5)), SMALL
    ),
    "likelihood": describe(backward=LIKELIHOOD),
    "pessimistic-replay": describe(
        backward=PessimisticBackward(SMALL, num_updates=2), sampler=Mixed(Fifo(32))
    ),
    "path-counts": describe(LED, backward=LearnedMaximumEntropyBackward(SMALL)),
    "chains": mars(ENV, SMALL, num_chains=4),
}


@pytest.mark.long
@pytest.mark.parametrize("name", CASES)
def test_every_draw_of_a_run_has_a_key_of_its_own(name):
    gfn = CASES[name]

    @jax.jit
    def run(key, gfn):
        state = gfn.init(key)
        for _ in range(2):
            state, _ = gfn.step(state)
        return state

    again, count = repeated(run, gfn)
    assert count >= 5
    assert not again


@pytest.mark.long
def test_an_evaluation_shares_no_key_with_training_nor_with_another_one():
    gfn = describe(gfnjax.DetailedBalance())
    evaluators = [SampledEvaluator(gfn, None, number, num_samples=16) for number in range(2)]

    def run(key):
        state = jax.jit(gfn.init)(key)
        for _ in range(2):
            for evaluator in evaluators:
                evaluator.evaluate(state, None)
                evaluator.distributions(state)
            state, _ = jax.jit(gfn.step)(state)
        return state

    again, count = repeated(run)
    assert count > 10
    assert not again
    state = gfn.init(jax.random.key(0))
    keys = [*evaluation_keys(state, 0), *evaluation_keys(state, 1)]
    assert len({tuple(jax.random.key_data(key).tolist()) for key in keys}) == 6


@pytest.mark.long
def test_learning_a_reward_uses_every_key_once():
    env = envs.Ising(2, IsingReward(jnp.zeros((4, 4))))
    gfn = GFlowNet(env, mlp_policy(env, (4,)), TB, batch_size=4)
    data = gfnjax.terminal_states(
        gfn.sample(gfn.init(jax.random.key(0)).params, jax.random.key(1), 8)
    )
    model = EnergyGFlowNet(gfn, data, num_back=2)

    @jax.jit
    def run(key, model):
        return model.step(model.step(model.init(key))[0])

    again, count = repeated(run, model)
    assert count >= 5
    assert not again


@pytest.mark.long
def test_dropout_is_independent_of_the_condition():
    # Both came from one key: the first transition was never kept where beta was high.
    env, objective = CONDITIONAL, LED
    gfn = describe(objective, env, mlp_policy(env, (4,))).replace(batch_size=4096)
    state = gfn.init(jax.random.key(0))
    keys = gfnjax.state.step_keys(state.key, state.step)
    batch, _ = gfn.draw(state)
    scores = gfn.score(
        state.params, batch.trajectories, key=jax.random.split(keys.fit, gfn.num_updates)[0]
    )
    kept = np.asarray(scores.auxiliary.kept[:, 0])
    beta = np.asarray(batch.trajectories.states.condition[:, 0, 0])
    high = beta > np.quantile(beta, 0.9)
    for group in (high, ~high):
        assert abs(kept[group].mean() - 0.9) < 0.06  # four standard errors of 410 draws
    assert jnp.isfinite(scores.log_pf).all()
