"""A sweep is what single runs are, whatever it is computed on."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

import gfnjax
from gfnjax import training
from gfnjax.objectives.relative_trajectory_balance import RelativeTrajectoryBalance
from gfnjax.policies import FrozenPolicy
from gfnjax.replay import Fifo, RewardPrioritised
from gfnjax.samplers import Mixed, Windows
from gfnjax.sweeps import Placement, sweep
from gfnjax.sweeps.population import Member, Population
from gfnjax.sweeps.rounds import bytes_of, lower, make_rounds
from gfnjax.sweeps.stack import kind_of, stack

NUM_STEPS, CHUNK = 7, 4
ONE = Placement(num_devices=1, members_at_once=1)
PLACEMENTS = [Placement(1), Placement(4), Placement(3, members_at_once=2)]


def describe(objective=None, **options):
    env = gfnjax.Hypergrid(2, 4)
    numbers = gfnjax.Hyperparameters(learning_rate=0.01, epsilon=0.1)
    objective = gfnjax.SubTrajectoryBalance(0.9) if objective is None else objective
    parts = env, gfnjax.mlp_policy(env, (8,)), objective
    return gfnjax.GFlowNet(*parts, hyperparameters=numbers, batch_size=4, **options)


@pytest.fixture(scope="module")
def gfn():
    return describe()


VARY = {"learning_rate": [1e-3, 0.1], "epsilon": [0.0, 0.3], "objective.lambda_": [0.5, 0.9]}


def single(member):
    state, history = training.train(
        member.gfn, jax.random.clone(member.key), NUM_STEPS, chunk_size=CHUNK
    )
    return state, history.info


def assert_same(a, b, **tolerance):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_allclose(np.asarray(x, float), np.asarray(y, float), **tolerance)


@pytest.mark.long
@pytest.mark.parametrize("placement", PLACEMENTS, ids=["at once", "spread", "uneven"])
def test_members_are_single_runs(gfn, key, placement):
    keys = jax.random.split(key, 2)
    found = sweep(gfn, keys, NUM_STEPS, vary=VARY, chunk_size=CHUNK, placement=placement)
    assert len(found.members) == 16
    assert found.status == ["finished"] * 16
    for i in (0, 5, 10, 15):
        state, info = single(found.members[i])
        assert_same(found.states[i], state, rtol=1e-5, atol=1e-5)
        rows = [row for row in found.rows if row["member"] == i]
        assert [row["step"] for row in rows] == [4, 7]
        assert rows[1]["loss"] == pytest.approx(info.loss[4:].mean(), rel=1e-5)
    assert [row["seed"] for row in found.last] == [0, 1] * 8
    assert found.last[-1]["objective.lambda_"] == 0.9


@pytest.mark.long
@pytest.mark.parametrize(
    "options",
    [
        {"sampler": Mixed(RewardPrioritised(8))},
        {"sampler": Windows(2), "objective": gfnjax.DetailedBalance()},
        {"target_rate": 0.1, "objective": gfnjax.TargetDetailedBalance()},
    ],
    ids=["replay", "windows", "target"],
)
def test_what_is_remembered_is_each_members_own(options, key):
    gfn = describe(**options)
    keys = jax.random.split(key, 3)
    given = {"vary": {"learning_rate": [1e-3, 0.1]}, "chunk_size": CHUNK}
    found = sweep(gfn, keys, NUM_STEPS, **given, placement=Placement(4))
    for i in (1, 5):
        assert_same(found.states[i], single(found.members[i])[0], rtol=1e-4, atol=1e-5)


def test_one_program_a_kind_and_one_copy_of_what_is_shared(gfn, key):
    points = [{"learning_rate": rate, "batch_size": n} for rate in (0.1, 0.2, 1) for n in (4, 8)]
    gfns = [dataclasses.replace(gfn, batch_size=p["batch_size"]) for p in points]
    members = [Member(one, key) for one in gfns]
    rounds = make_rounds(members, ONE, CHUNK)
    assert [each.members for each in rounds] == [[0, 2, 4], [1, 3, 5]]
    rates = [gfn.replace(hyperparameters=gfn.hyperparameters._replace(epsilon=x)) for x in (0, 0.5)]
    assert kind_of(rates[0]) == kind_of(rates[1])  # an int and a float
    stacked = stack(rates)
    varied = [x for x in stacked.varied if x is not None]
    assert [x.shape for x in varied] == [(2,)]
    assert varied[0].dtype == np.float32
    assert varied[0].weak_type  # as a Python number is
    again = stacked.with_own([None if x is None else x[1] for x in stacked.varied])
    assert float(again.hyperparameters.epsilon) == 0.5
    assert again.hyperparameters.learning_rate == 0.01


@pytest.mark.long
def test_a_member_that_diverges_stops_alone(gfn, key):
    rates = [0.01, 1e38, 0.02]
    given = {"vary": {"learning_rate": rates}, "chunk_size": CHUNK, "placement": Placement(1)}
    found = sweep(gfn, key, NUM_STEPS, **given)
    assert found.status == ["finished", "diverged", "finished"]
    for i in (0, 2):
        assert_same(found.states[i], single(found.members[i])[0], rtol=1e-5, atol=1e-5)
    with pytest.raises(gfnjax.NonFiniteError) as caught:
        single(found.members[1])
    assert int(found.states[1].step) == caught.value.step
    assert_same(found.states[1], caught.value.state, rtol=1e-5, atol=1e-5)
    (row,) = [row for row in found.rows if row["member"] == 1]
    assert (row["step"], row["status"]) == (caught.value.step + 1, "diverged")
    assert np.isnan(row["loss"])


def test_members_stop_where_they_are_told_to(gfn, key):
    def evaluate(gfn, state):
        return {"rate": state.hyperparameters.learning_rate}

    found = sweep(
        gfn,
        key,
        NUM_STEPS,
        vary={"learning_rate": [0.25, 0.5]},
        chunk_size=CHUNK,
        evaluate=evaluate,
        stop=lambda row: row["rate"] == 0.5,
    )
    assert found.status == ["finished", "reached"]
    assert [int(state.step) for state in found.states] == [7, 4]


@struct.dataclass
class Counted:
    """A reward of a user's own, with a number."""

    scale: float = 1.0

    def __call__(self, position, side):
        return self.scale * position.sum().astype(jnp.float32) / side


@pytest.mark.long
def test_numbers_of_a_users_own_reward_and_objective(key):
    env = gfnjax.Hypergrid(2, 4, Counted())

    @dataclasses.dataclass(frozen=True)
    class Scaled(gfnjax.Objective):
        factor: float = 1.0

        def residuals(self, scores):
            values, weights = gfnjax.TrajectoryBalance().residuals(scores)
            return gfnjax.Residuals(self.factor * values, weights)

    gfn = gfnjax.GFlowNet(env, gfnjax.mlp_policy(env, (8,)), Scaled(), batch_size=4)
    vary = {"env.reward.scale": [0.5, 2.0], "objective.factor": [1.0, 3.0]}
    found = sweep(gfn, key, NUM_STEPS, vary=vary, chunk_size=CHUNK, placement=ONE)
    assert len(make_rounds(found.members, ONE, CHUNK)) == 1
    for i in range(4):
        assert_same(found.states[i], single(found.members[i])[0], rtol=1e-5, atol=1e-6)


@pytest.mark.long
def test_memory_is_kept_to(gfn, key):
    members = [Member(gfn, one) for one in jax.random.split(key, 8)]
    whole = make_rounds(members, Placement(2, members_at_once=1), CHUNK)
    assert [len(each.members) for each in whole] == [8]
    sizes = [
        bytes_of(members[:n], make_rounds(members[:n], ONE, CHUNK)[0].layout, CHUNK)
        for n in (2, 4, 8)
    ]
    per_member = np.diff(sizes) / [2, 4]
    assert per_member[0] == pytest.approx(per_member[1], rel=0.02)  # linear
    tight = Placement(1, members_at_once=1, memory=sizes[1])
    rounds = make_rounds(members, tight, CHUNK)
    assert sorted(i for each in rounds for i in each.members) == list(range(8))
    assert len(rounds) >= 2
    assert all(
        bytes_of([members[i] for i in each.members], each.layout, CHUNK) <= sizes[1]
        for each in rounds
    )
    with pytest.raises(ValueError, match=r"memory must be at least .* bytes, which one"):
        make_rounds(members, Placement(1, memory=1_000), CHUNK)


def test_slots_that_fill_up_are_no_members(gfn, key):
    members = [Member(gfn, one) for one in jax.random.split(key, 3)]
    (each,) = make_rounds(members, Placement(2, members_at_once=1), CHUNK)
    assert each.layout.num_slots == 4
    population = Population(members, each.layout)
    population.advance(NUM_STEPS, CHUNK)
    assert population.steps.tolist() == [4, 4, 4, 0]
    assert jax.tree.leaves(population.kept().params)[0].shape[0] == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"placement": Placement(99)}, "num_devices must be at most"),
        ({"placement": Placement(4, 8)}, "num_batch_devices must be at most 4"),
        ({"placement": Placement(4, 3)}, "num_batch_devices must divide the 4 devices"),
        ({"num_steps": 0}, "num_steps must be at least 1"),
        ({"gfn": None}, "gfn must be a GFlowNet or the like"),
        ({"vary": ["epsilon"]}, "vary must be a dict"),
        ({"evaluate": 3}, "evaluate must be a function"),
        ({"placement": 2}, r"placement must be a gfnjax\.sweeps\.Placement"),
        ({"points": 3}, "points must be dicts by name"),
        ({"keys": 3}, "keys must be a typed PRNG key"),
        ({"points": {"epsilon": [0.1, 0.2], "learning_rate": [1.0]}}, "one length"),
        ({"points": [{"epsilon": 0.1}, {"temperature": 2.0}]}, "the same names"),
        ({"points": [], "vary": {}}, "vary does nothing where points are given"),
        ({"points": []}, "at least one"),
    ],
)
def test_what_cannot_be_is_refused_before_compilation(gfn, key, change, message, monkeypatch):
    monkeypatch.setattr(Population, "__init__", None)
    given = {"gfn": gfn, "keys": key, "num_steps": 3, **change}
    with pytest.raises(ValueError, match=message):
        sweep(**given)


def test_metrics_are_not_called_like_other_columns(gfn, key):
    def evaluate(gfn, state):
        return {"step": -1}

    with pytest.raises(ValueError, match="evaluate must not call a metric 'step'"):
        sweep(gfn, key, NUM_STEPS, chunk_size=CHUNK, evaluate=evaluate)


@pytest.mark.long
@pytest.mark.parametrize(
    "options",
    [{}, {"sampler": Windows(2), "objective": gfnjax.DetailedBalance()}, {"num_updates": 2}],
    ids=["fresh", "windows", "updates"],
)
def test_runs_that_share_devices_are_single_runs(options, key):
    gfn = describe(**options)
    keys = jax.random.split(key, 3)
    both = Placement(4, num_batch_devices=2)
    found = sweep(gfn, keys, NUM_STEPS, chunk_size=CHUNK, placement=both)
    for i in range(3):
        assert_same(
            found.states[i].params, single(found.members[i])[0].params, rtol=1e-5, atol=1e-5
        )


@pytest.mark.long
def test_a_replay_buffer_is_divided_among_the_devices_of_a_batch(key):
    gfn = describe(sampler=Mixed(Fifo(8)))
    both = Placement(4, num_batch_devices=2)
    found = sweep(gfn, key, NUM_STEPS, chunk_size=CHUNK, placement=both)
    sizes = found.states[0].memory.buffer.size
    assert sizes.tolist() == [4, 4]
    odd = gfn.replace(batch_size=6, sampler=gfnjax.samplers.OnPolicy())
    with pytest.raises(ValueError, match="batch_size must be a multiple of the 4 devices"):
        sweep(odd, jax.random.clone(key), NUM_STEPS, placement=Placement(4, num_batch_devices=4))


@pytest.mark.long
def test_devices_of_the_run_axis_exchange_nothing(gfn, key):
    members = [Member(gfn, one) for one in jax.random.split(key, 8)]
    (each,) = make_rounds(members, Placement(4), CHUNK)
    assert each.layout.mesh.devices.shape == (4, 1)
    assert counted(lower(members, each.layout, CHUNK))[0] == {}
    (each,) = make_rounds(members, Placement(4, num_batch_devices=2), CHUNK)
    found, groups = counted(lower(members, each.layout, CHUNK))
    # None leaves the devices of its run; newer compilers name the axis.
    assert groups <= {"{{0,1},{2,3}}", "[2,2]<=[4]", "mesh['run'=2,'batch'=2]{'batch'}"}
    # Of the sums of the loss, of the gradient, and of the largest scale of a trajectory.
    assert found.keys() == {"all-reduce"}
    assert found["all-reduce"] <= 3


def counted(lowered):
    text = lowered.compile().as_text()
    kinds = "all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter"
    counts = {kind: len(re.findall(rf" {kind}(?:-start)?\(", text)) for kind in kinds}
    found = re.findall(r"all-reduce.*replica_groups=(mesh.*?\}|\S+?),? ", text)
    groups = {group.replace(" ", "") for group in found}
    return {kind: count for kind, count in counts.items() if count}, groups


@pytest.mark.long
def test_frozen_weights_are_there_once(key):
    env = gfnjax.Hypergrid(2, 4)
    network = gfnjax.mlp_policy(env, (8,))
    weights = network.init(jax.random.key(9), network.observe(env, env.initial_state()))
    gfn = gfnjax.GFlowNet(
        env,
        gfnjax.mlp_policy(env, (8,)),
        RelativeTrajectoryBalance(),
        prior=FrozenPolicy(network, weights),
        batch_size=4,
    )
    found = sweep(gfn, jax.random.split(key, 3), NUM_STEPS, vary={"epsilon": [0.0, 0.5]})
    stacked = stack([member.gfn for member in found.members])
    assert sum(x is not None for x in stacked.varied) == 1
    for i in (0, 5):
        assert_same(found.states[i], single(found.members[i])[0], rtol=1e-5, atol=1e-5)
