"""A step that fails says why: which reward, policy or parameters are not finite, and the remedy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

import gfnjax
from gfnjax import training
from gfnjax.algorithms import Teacher, mars, metropolis_hastings
from gfnjax.algorithms.ebgfn import EnergyGFlowNet
from gfnjax.envs.ising import Ising, IsingState
from gfnjax.learning import diagnosis
from gfnjax.objectives import GAFlowNet, PolicyGradient, SoftDQN
from gfnjax.policies.likelihood import LikelihoodBackward
from gfnjax.replay import Fifo, RewardPrioritised, TerminalReplay
from gfnjax.rewards.ising import IsingReward
from gfnjax.samplers import Mixed, Windows
from gfnjax.samplers.local_search import LocalSearch


@struct.dataclass
class Column:
    """log R = `value` where the first coordinate is 1, a tenth of the distance elsewhere."""

    value: float

    def __call__(self, position, side):
        plain = 0.1 * position.sum().astype(jnp.result_type(float))
        return jnp.where(position[0] == 1, self.value, plain)


def grid(value):
    return gfnjax.Hypergrid(2, 3, Column(value))


def describe(value=0.0, objective=None, **options):
    env = grid(value)
    objective = gfnjax.TrajectoryBalance() if objective is None else objective
    options = {"batch_size": 16, **options}
    taught_by = options.pop("taught_by", None)
    gfn = gfnjax.GFlowNet(env, gfnjax.tabular_policy(env), objective, **options)
    return gfn if taught_by is None else Teacher(gfn, taught_by)


@jax.jit
def drawn(gfn, state):
    """Trajectories that the step from `state` learns from."""
    batch = gfn.draw(state)
    return (batch if isinstance(gfn, Teacher) else batch[0]).trajectories


def failure(gfn, num_steps=30):
    with pytest.raises(gfnjax.NonFiniteError) as caught:
        gfnjax.train(gfn, jax.random.key(0), num_steps, chunk_size=num_steps)
    return caught.value


ENV = grid(0.0)
SETTINGS = {
    "tb": {},
    "db": {"objective": gfnjax.DetailedBalance()},
    "subtb": {"objective": gfnjax.SubTrajectoryBalance()},
    "fl-db": {"objective": gfnjax.ForwardLooking(gfnjax.DetailedBalance())},
    "vargrad": {"objective": gfnjax.LogPartitionVariance()},
    "fm": {"objective": gfnjax.FlowMatching()},
    # log(R + intrinsic reward) is finite where R = 0: the loss alone would not show it.
    "ga-tb": {"objective": GAFlowNet(gfnjax.TrajectoryBalance())},
    "soft-dqn": {"objective": SoftDQN(), "target_rate": 0.2},
    "reinforce": {
        "objective": PolicyGradient("reinforce"),
        "backward": gfnjax.UniformBackward(),
    },
    "fifo": {"sampler": Mixed(Fifo(100))},
    "prioritised": {"sampler": Mixed(RewardPrioritised(100))},
    "terminal": {"sampler": Mixed(TerminalReplay(Fifo(100)))},
    "search": {"sampler": Mixed(local_search=LocalSearch(1), search_share=0.5)},
    "windows": {"sampler": Windows(2), "objective": gfnjax.DetailedBalance()},
    "teacher": {"taught_by": gfnjax.mlp_policy(ENV, (4,))},
    "tlm": {"backward": LikelihoodBackward(gfnjax.mlp_policy(ENV, (4,)))},
}


@pytest.mark.long
@pytest.mark.parametrize("name", SETTINGS)
def test_a_reward_that_is_not_finite_is_named_and_counted(name, key):
    state = training.init(describe(**SETTINGS[name]), key)
    for value, word, remedy in (
        (-np.inf, "-inf", "floor the reward"),
        (np.inf, "inf", "cap the reward"),
        (np.nan, "NaN", "look for 0 / 0"),
    ):
        gfn = describe(value, **SETTINGS[name])
        error = failure(gfn)
        # What the step saw, counted by hand.
        batch = drawn(gfn, error.state)
        ends = jax.tree.map(lambda x: np.asarray(x[:, -1]), batch.states)
        bad = int(((ends.position[:, 0] == 1) & ends.stopped).sum())
        assert bad > 0
        assert error.reason.startswith(
            f"log R is {word} at step {error.step} in {bad} of 16 trajectories; {remedy}"
        )
        assert str(error).startswith(error.reason)
        assert jax.tree.structure(error.state) == jax.tree.structure(state)
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(error.state.params))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tb", "prioritised", "windows", "teacher", "search"])
def test_the_second_look_sees_the_batch_of_the_step(name, key):
    gfn = describe(-5.0, **SETTINGS[name])
    state, _ = gfnjax.train(gfn, key, 4, chunk_size=30)
    _, history = gfnjax.train(gfn, state, 1, chunk_size=30)
    batch = drawn(gfn, state)
    ended = np.asarray(batch.states.stopped[:, -1])
    mean = np.asarray(batch.log_reward)[ended].mean()
    assert history.info.log_reward[0] == pytest.approx(mean, rel=1e-5)
    assert gfn.diagnose(state) is None


def test_several_kinds_are_all_counted():
    values = jnp.array([0.0, jnp.nan, -jnp.inf, -jnp.inf, jnp.inf, -jnp.inf])
    counts = np.asarray(diagnosis.count(values))
    assert counts.tolist() == [1, 1, 3]
    assert diagnosis.rewards("log_reward", counts, 6, 7) == (
        "log R is -inf at step 7 in 3 of 6 trajectories (and not finite in 2 more); "
        "floor the reward"
    )
    rows = jnp.array([[jnp.nan, jnp.nan], [0.0, jnp.inf], [1.0, 2.0]])
    assert np.asarray(diagnosis.count(rows)).tolist() == [1, 1, 0]
    inside = jnp.array([[False, False], [True, True], [True, True]])
    assert np.asarray(diagnosis.count(rows, inside)).tolist() == [0, 1, 0]


def test_the_numbers_of_a_step():
    assert diagnosis.of_numbers(4, 1.0, 2.0, -np.inf) == (
        "the mean log R is -inf at step 4; floor the reward"
    )
    assert diagnosis.of_numbers(4, np.inf, np.nan, 0.0).startswith("the loss is inf at step 4, ")
    assert diagnosis.of_numbers(4, 1.5, np.nan, 0.0).startswith("the gradient is NaN at step 4, ")


def test_a_partial_reward_that_is_not_finite():
    @struct.dataclass
    class Partial(gfnjax.Hypergrid):
        def log_partial_reward(self, state):
            return jnp.where(state.position[1] == 2, -jnp.inf, super().log_partial_reward(state))

    env = Partial(2, 3, Column(0.0))
    objective = gfnjax.ForwardLooking(gfnjax.DetailedBalance())
    gfn = gfnjax.GFlowNet(env, gfnjax.tabular_policy(env), objective)
    error = failure(gfn)
    batch = drawn(gfn, error.state)
    # Any state on the way with the second coordinate at 2, where the trajectory goes on.
    inside = np.arange(6) < np.asarray(batch.length)[:, None]
    bad = int(((np.asarray(batch.states.position)[..., 1] == 2) & inside).any(axis=1).sum())
    assert error.reason == (
        f"the log partial reward is -inf at step {error.step} in {bad} of 16 trajectories; "
        "floor the reward"
    )


def scaled(scale):
    """A tabular policy whose logits and flows are multiplied by `scale`, a function of them."""
    inner = gfnjax.tabular_policy(ENV)

    def apply(params, observation):
        return jax.tree.map(scale, inner.apply(params, observation))

    return dataclasses.replace(inner, apply=apply)


def test_a_policy_that_is_not_finite():
    gfn = describe().replace(policy=scaled(lambda x: x / 0.0))
    error = failure(gfn, 3)
    assert error.reason == (
        "log P_F of the policy is NaN at step 0 in 16 of 16 trajectories, log R is finite; "
        "look at the network and at what observe returns"
    )


def test_a_gradient_that_is_not_finite():
    # The square root of 0: a value of 0 with a slope that is infinite.
    gfn = describe().replace(policy=scaled(lambda x: jnp.sqrt(jnp.abs(x))))
    assert failure(gfn, 3).reason.startswith("the gradient is NaN at step 0, its loss of ")


@pytest.mark.parametrize("rate", [1e30, np.inf])
def test_divergence_keeps_its_advice(rate):
    numbers = gfnjax.Hyperparameters(learning_rate=rate, log_z_learning_rate=rate)
    error = failure(describe(hyperparameters=numbers))
    assert "try a smaller learning rate or max_grad_norm" in error.reason
    assert "log R" not in error.reason.replace("log R is finite", "")
    assert f"step {error.step}" in error.reason


@pytest.mark.parametrize("learn", [False, True])
def test_markov_chains(learn):
    def chains(value):
        env = grid(value)
        return mars(env, gfnjax.tabular_policy(env)) if learn else metropolis_hastings(env)

    for value, word in ((-np.inf, "-inf"), (np.nan, "NaN")):
        error = failure(chains(value))
        assert error.reason.startswith(f"log R is {word} at step {error.step} in ")
        assert " of 16 chains; " in error.reason


def test_a_proposal_of_no_number_is_not_refused_without_a_word():
    chains = metropolis_hastings(grid(np.nan))
    state = training.init(chains, jax.random.key(0))
    # All start where log R is a number, and NaN is neither above nor below it.
    origin = state.memory._replace(position=jnp.zeros((16, 2), jnp.int32))
    with pytest.raises(gfnjax.NonFiniteError, match="log R is NaN"):
        gfnjax.train(chains, state._replace(memory=origin), 30, chunk_size=30)


@pytest.mark.long
def test_a_learned_reward():
    env = Ising(2, IsingReward(jnp.zeros((4, 4))))
    gfn = gfnjax.GFlowNet(env, gfnjax.mlp_policy(env, (4,)), gfnjax.TrajectoryBalance())
    model = EnergyGFlowNet(gfn, IsingState(jnp.ones((8, 4), jnp.int32)), 2, learning_rate=jnp.inf)
    error = failure(model)
    assert error.reason.startswith(f"log R is NaN at step {error.step} in ")
    assert error.reason.endswith("; the reward is learned: try a smaller learning_rate for it")


def test_a_model_without_a_diagnosis_of_its_own():
    @struct.dataclass
    class Model:
        def init(self, key):
            return training.init(describe(), key)

        def step(self, state):
            zero = jnp.zeros(())
            info = gfnjax.StepInfo(jnp.where(state.step == 2, jnp.inf, zero), *[zero] * 4)
            return state._replace(step=state.step + 1), info

    error = failure(Model())
    assert error.reason == (
        "the loss is inf at step 2, its rewards are finite: try a smaller learning rate or "
        "max_grad_norm"
    )


@struct.dataclass
class Understated(gfnjax.Hypergrid):
    """A grid that promises shorter trajectories than it has."""

    @property
    def max_steps(self):
        return 2


def test_trajectories_that_should_have_ended_stop_a_run_that_needs_their_flow():
    env = Understated(2, 3)
    options = {"backward": gfnjax.UniformBackward(), "batch_size": 16}
    gfn = gfnjax.GFlowNet(env, gfnjax.tabular_policy(env), gfnjax.DetailedBalance(), **options)
    message = str(failure(gfn))
    assert "have not ended after max_steps = 2 steps, at step 0" in message
    assert "of 16 trajectories" in message
