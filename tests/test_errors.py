"""One error type that knows its argument, what is wrong and what helps, in two spellings."""

import pickle
import re
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax
import pytest
from flax import struct

import gfnjax
from gfnjax import (
    GFlowNet,
    Hypergrid,
    TrajectoryBalance,
    envs,
    mlp_policy,
    registry,
    tabular_policy,
)
from gfnjax.algorithms import RewardPPO, RewardSAC, Teacher
from gfnjax.cli.wording import in_flags
from gfnjax.envs.condition_distributions import Dirichlet, LogUniform, Uniform
from gfnjax.errors import ArgumentError, Use, Words, require
from gfnjax.hyperparameters import Hyperparameters
from gfnjax.model import Model
from gfnjax.objectives import FlowMatching, PolicyGradient, SoftDQN, SubTrajectoryBalance
from gfnjax.policies.ensemble import EnsemblePolicy
from gfnjax.replay import Fifo, RewardPrioritised, TerminalReplay
from gfnjax.rewards.dags import EdgePrior
from gfnjax.run.choices import assemble, default_values, select
from gfnjax.samplers import Mixed, OnPolicy, Windows
from gfnjax.samplers.local_search import LocalSearch

GRID = Hypergrid(2, 3)
TABLE = tabular_policy(GRID)
TB = TrajectoryBalance()


def flags(argument):
    return f"--{argument.rpartition('.')[2].replace('_', '-')}"


def test_an_error_is_one_sentence_of_its_parts():
    error = ArgumentError("batch_size", "must be at least 1, got 0")
    assert str(error) == "batch_size must be at least 1, got 0"
    assert (error.argument, error.problem, error.remedy) == (
        "batch_size",
        "must be at least 1, got 0",
        "",
    )
    assert isinstance(error, ValueError)
    assert isinstance(error, TypeError)
    error = ArgumentError(
        "num_updates", "must be 1, got 4", "use PPO", "X takes one: {num_updates}"
    )
    assert str(error) == "X takes one: num_updates must be 1, got 4; use PPO"
    assert str(error.inside("here")) == f"here: {error}"
    assert error.inside("here").argument == "num_updates"


def test_a_sentence_can_be_said_of_flags():
    error = ArgumentError("a_b", "must be 0 with {c_d}, got {}", "raise {X.e|it}")
    assert str(error) == "a_b must be 0 with c_d, got {}: raise it"
    assert error.said(lambda words: words.said(flags)) == (
        "--a-b must be 0 with --c-d, got {}: raise --e"
    )
    assert Words("set {Owner.rate}") == "set rate"
    assert Words("{gfn.rate}") == "gfn.rate"


def test_errors_can_be_pickled():
    remedy = Use("use Y", joint=", ", objective=lambda other: True, without=("x",))
    error = ArgumentError("x", "must be 1", remedy, "it has {x} that")
    back = pickle.loads(pickle.dumps(error))
    assert str(back) == str(error) == "it has x that must be 1, use Y"
    assert back.argument == "x"
    assert back.said(lambda words: words.said(flags)) == "it has --x that must be 1, use Y"


def test_require():
    require(True, "n", "must be positive", 1)
    with pytest.raises(ArgumentError, match=r"^n must be positive, got 0$"):
        require(False, "n", "must be positive", 0)


def describe(**options):
    return lambda: GFlowNet(**{"env": GRID, "policy": TABLE, "objective": TB} | options)


ENSEMBLE = EnsemblePolicy(tabular_policy(GRID, num_members=2), 2)
REFUSED = {
    "batch_size": describe(batch_size=0),
    "num_updates": describe(num_updates=1.5),
    "chunk_size": lambda: Model(GRID, TABLE, chunk_size=0),
    "max_grad_norm": describe(max_grad_norm=-1.0),
    "target_rate": describe(objective=SoftDQN()),
    "prior": describe(prior=TABLE),
    "policy": lambda: Model(GRID, None),
    "backward": lambda: Model(GRID, TABLE, 3),
    "env": lambda: Model(object(), TABLE),
    "objective": describe(objective=3),
    "sampler": describe(sampler=OnPolicy),
    "optimizer": describe(optimizer=optax.adam(1e-3)),
    "log_z_optimizer": describe(log_z_optimizer=3),
    "log_z_init": describe(log_z_init="x"),
    "hyperparameters": describe(hyperparameters={}),
    "learning_rate": describe(hyperparameters=Hyperparameters(-1.0)),
    "epsilon": describe(hyperparameters=Hyperparameters(epsilon=2.0)),
    "exploration": lambda: GFlowNet(
        env := envs.published_set("small"),
        mlp_policy(env),
        TB,
        exploration=gfnjax.exploration.StopFlattening(),
    ),
    "replay": lambda: Mixed(),
    "local_search": lambda: Mixed(local_search=3),
    "replay_share": lambda: Mixed(Fifo(9), 1.0),
    "search_share": lambda: Mixed(local_search=LocalSearch(), search_share=0.0),
    "length": lambda: Windows(0),
    "num_rounds": lambda: LocalSearch(0),
    "back_share": lambda: LocalSearch(back_share=0.0),
    "num_back": lambda: LocalSearch(num_back=0),
    "acceptance": lambda: LocalSearch(acceptance="x"),
    "capacity": lambda: Fifo(0),
    "top_share": lambda: RewardPrioritised(9, top_share=0.0),
    "buffer": lambda: TerminalReplay(3),
    "num_members": lambda: EnsemblePolicy(TABLE, 0),
    "keep": lambda: EnsemblePolicy(TABLE, 2, 0.0),
    "lambda_": lambda: SubTrajectoryBalance(0.0),
    "terminal_weight": lambda: FlowMatching(terminal_weight=0.0),
    "advantage": lambda: PolicyGradient("x"),
    "clip": lambda: RewardPPO(clip=0.0),
    "temperature": lambda: RewardSAC(temperature=0.0),
    "share": lambda: Teacher(describe()(), TABLE, 1.0),
    "student": lambda: Teacher(3, TABLE),
    "hidden_sizes": lambda: mlp_policy(GRID, (0,)),
    "activation": lambda: mlp_policy(GRID, activation="x"),
    "num_dims": lambda: Hypergrid(0),
    "side": lambda: Hypergrid(2, 1),
    "low": lambda: LogUniform(0.0, 1.0),
    "num_weights": lambda: Dirichlet(1),
    "concentration": lambda: Dirichlet(2, jnp.zeros(())),
    "probability": lambda: EdgePrior(1),
    "set_size": lambda: envs.Set(3, 4, lambda members: 0.0),
    "children": lambda: envs.tabular_dag([[]], [0.0]),
    "num_samples": lambda: Model(GRID, TABLE).sample(None, jax.random.key(0), 0),
    "key": lambda: Model(GRID, TABLE).sample(None, 0, 1),
    "num_steps": lambda: gfnjax.train(describe()(), jax.random.key(0), 0),
    "start": lambda: gfnjax.train(describe()(), 3, 1),
}


@pytest.mark.parametrize("argument", REFUSED)
def test_what_is_refused_names_itself(argument):
    with pytest.raises(ArgumentError) as caught:
        REFUSED[argument]()
    error = caught.value
    assert error.argument == argument
    assert error.problem
    assert "{" not in str(error)
    assert error.problem in str(error)
    assert str(error).endswith(error.remedy or error.problem)


COMBINED = {
    "sampler": describe(
        objective=PolicyGradient(), backward=gfnjax.UniformBackward(), sampler=Mixed(Fifo(99))
    ),
    "fresh": describe(
        objective=SubTrajectoryBalance(), sampler=Mixed(TerminalReplay(Fifo(99)), fresh=Windows(2))
    ),
    "objective": describe(policy=ENSEMBLE, objective=FlowMatching()),
    "policy": describe(policy=ENSEMBLE, objective=PolicyGradient()),
    "backward": describe(objective=PolicyGradient()),
    "num_updates": describe(
        objective=PolicyGradient(), backward=gfnjax.UniformBackward(), num_updates=2
    ),
}
IN_FLAGS = {
    "sampler": "leave out --replay, --local-search, --window, --teacher-share, --thompson and "
    "--group-size",
    "fresh": "--window gives parts of trajectories: --replay and --local-search need whole ones, "
    "leave out --window",
    "objective": ", tb, tb-flow, vargrad, vargrad-group or wdb, or leave out --thompson",
    "policy": "leave out --thompson",
    "backward": "--backward must not be LearnedBackward(), use --backward ",
    "num_updates": "--num-updates must be 1, got 2; use --objective ent-ppo, flowrl, ppo or",
}


@pytest.mark.parametrize("argument", COMBINED)
def test_a_remedy_is_said_in_flags(argument):

    with pytest.raises(ArgumentError) as caught:
        COMBINED[argument]()
    assert caught.value.argument == argument
    assert caught.value.remedy
    assert "--" not in str(caught.value)
    assert IN_FLAGS[argument] in in_flags(caught.value, select("hypergrid"))


@dataclass(frozen=True)
class FromParts(SubTrajectoryBalance):
    """Of a plug-in."""


def test_what_a_plug_in_registers_is_a_remedy_too(monkeypatch):
    entry = registry.Entry("objective", "from-parts", FromParts, "", "elsewhere")
    monkeypatch.setitem(registry._ENTRIES, ("objective", "from-parts"), entry)
    with pytest.raises(ArgumentError) as caught:
        describe(sampler=Windows(2))()
    assert re.search(
        r"use --objective .*\bdb, .* or from-parts, or leave out --window$",
        in_flags(caught.value, select("hypergrid")),
    )


def test_the_part_that_is_spoken_of_has_the_first_right_to_a_flag():
    parts = select("hypergrid", {"objective": "fm"})
    values = default_values(parts)
    values["objective"]["epsilon"] = -1.0
    with pytest.raises(ArgumentError) as caught:
        assemble(parts, values)
    assert in_flags(caught.value, parts) == "--fm.epsilon must not be negative, got -1.0"
    error = ArgumentError("epsilon", "must be in [0, 1], got 2")
    assert in_flags(error, parts) == "--epsilon must be in [0, 1], got 2"


def test_placeholders_are_not_checked():
    for one in (Uniform(0.0, 1.0), LogUniform(1.0, 2.0), Dirichlet(), EdgePrior(0.1), GRID):
        for leaf in (object(), None, -1.0):
            jax.tree.map(lambda _, leaf=leaf: leaf, one)
        assert jax.tree.unflatten(jax.tree.structure(one), jax.tree.leaves(one)) == one
        assert hash(pickle.loads(pickle.dumps(one))) == hash(one)
    with pytest.raises(ArgumentError):
        Uniform(jnp.ones(()), jnp.zeros(()))
    with pytest.raises(ArgumentError):
        EdgePrior(0.1).replace(probability=2.0)
    assert float(jax.jit(lambda low: LogUniform(low, 2.0).centre()[0])(0.5)) == pytest.approx(1.0)


def test_an_environment_of_a_user_may_extend_one_of_ours():
    @struct.dataclass
    class Mine(Hypergrid):
        extra: int = struct.field(pytree_node=False, default=1)

    env = Mine(2, 3, reward=lambda position, side: position.sum() * 1.0)
    assert jax.tree.leaves(env) == []
    assert jax.tree.map(lambda x: x, env).side == 3
    GFlowNet(env, tabular_policy(env), TB)
