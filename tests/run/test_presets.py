import dataclasses
import json
from typing import get_args, get_type_hints

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gfnjax
from gfnjax.algorithms.ebgfn import EnergyGFlowNet
from gfnjax.data import published
from gfnjax.envs.drawing import Renderable
from gfnjax.policies.backward import LearnedBackward
from gfnjax.policies.mlp import ACTIVATIONS
from gfnjax.run import build, catalogue
from gfnjax.run.config import Config, Loggers, Sampling, Training, UsageError, to_dict
from gfnjax.run.presets import PRESETS, config_from_dict, default_config
from gfnjax.run.tasks import HypergridConfig, SetConfig

TINY = Training(batch_size=4, hidden_sizes=(8,))


def with_training(**settings):
    return Config("hypergrid", HypergridConfig(2, 4), dataclasses.replace(TINY, **settings))


FILES = {
    "qm9-small": "qm9_small.npz",
    "amp": "amp/proxy_weights.npz",
    "phylogeny": "phylo/DS1.json",
}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_survives_json(name):
    config = default_config(name)
    assert config_from_dict(json.loads(json.dumps(to_dict(config)))) == config


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_takes_a_step(name, key):
    if name in FILES and not published.available(FILES[name]):
        pytest.skip(f"needs {FILES[name]}")
    gfn = build.build(default_config(name))
    before = jax.eval_shape(gfn.init, key)
    after, info = jax.eval_shape(gfn.step, before)
    assert jax.tree.structure(after) == jax.tree.structure(before)
    assert before.step.shape == info.loss.shape == info.grad_norm.shape == ()
    env = gfn.gfn.env if isinstance(gfn, EnergyGFlowNet) else gfn.env
    assert isinstance(env, Renderable)


def test_settings_of_the_literature_shrink_with_the_steps():
    training = dataclasses.replace(PRESETS["tfbind8"].training, steps=1_000_000)
    assert (training.epsilon, training.final_epsilon, training.epsilon_decay) == (1.0, 0.0, 50_000)
    assert dataclasses.replace(training, steps=2_000).epsilon_decay == 100
    assert dataclasses.replace(training, epsilon_steps=7).epsilon_decay == 7
    extended = dataclasses.replace(training, steps=2_000_000, schedule_steps=1_000_000)
    assert extended.epsilon_decay == 50_000


def test_the_learning_rate_falls_along_a_cosine():
    gfn = build.build(with_training(learning_rate=1e-2, final_learning_rate=1e-3, steps=8))
    rate = gfn.hyperparameters.learning_rate
    with jax.numpy_dtype_promotion("standard"):
        values = [float(rate(jnp.int32(step))) for step in (0, 4, 8, 20)]
    np.testing.assert_allclose(values, [1e-2, 5.5e-3, 1e-3, 1e-3], rtol=1e-5)


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        ("causal", "num_backward_actions must be 1"),
        ("graph", "graph_policy needs a DAGs environment, got Hypergrid"),
        ("forest", "forest_policy needs a Phylogeny, got Hypergrid"),
    ],
)
def test_a_network_that_does_not_fit_is_named(network, reason):
    with pytest.raises(
        (TypeError, ValueError), match=f"network {network} does not fit: .*{reason}"
    ):
        build.build(with_training(network=network))


@given(
    env=st.builds(
        HypergridConfig,
        num_dims=st.integers(1, 9),
        side=st.integers(2, 99),
        reward=st.sampled_from(["corners", "cosine", "deceptive", "sparse"]),
        r0=st.none() | st.floats(1e-9, 10),
    ),
    training=st.builds(
        Training,
        objective=st.sampled_from([*catalogue.OBJECTIVES, *catalogue.CHAINS]),
        steps=st.integers(1, 10**9),
        hidden_sizes=st.lists(st.integers(1, 999), max_size=4).map(tuple),
        epsilon=st.floats(0, 1),
        epsilon_steps=st.none() | st.integers(1, 10**6),
        epsilon_share=st.none() | st.floats(1e-6, 1),
        final_learning_rate=st.none() | st.floats(0, 1e-3),
        network=st.sampled_from(list(catalogue.NETWORKS)),
        max_grad_norm=st.none() | st.floats(1e-3, 1e3),
        stop_at_tv=st.none() | st.floats(1e-6, 0.99),
    ),
    loggers=st.builds(Loggers, tensorboard=st.booleans(), wandb=st.booleans()),
)
def test_configurations_survive_json(env, training, loggers):
    config = Config("hypergrid", env, training, loggers)
    assert config_from_dict(json.loads(json.dumps(to_dict(config)))) == config


def test_unknown_fields_and_values_are_refused():
    values = to_dict(default_config("hypergrid"))
    for place, field, value in (("env", "sides", 3), ("training", "steps", 0)):
        broken = {**values, place: {**values[place], field: value}}
        with pytest.raises(UsageError, match=field):
            config_from_dict(broken)


def test_the_names_on_the_command_line_are_those_of_the_tables():
    hints = get_type_hints(Training)
    tables = {"objective": {**catalogue.OBJECTIVES, **catalogue.CHAINS}}
    tables |= {"backward": catalogue.BACKWARDS}
    tables |= {"regression": catalogue.REGRESSIONS, "activation": ACTIVATIONS}
    tables |= {"network": catalogue.NETWORKS}
    hints["backward"] = get_args(hints["backward"])[0]  # or None
    for field, table in tables.items():
        assert get_args(hints[field]) == tuple(table)


def test_what_an_objective_needs_is_there_without_being_asked_for():
    def built(**settings):
        return build.build(with_training(**settings))

    assert built(objective="soft-dqn").target_rate == 0.25
    assert built(objective="soft-dqn", target_rate=0.5).target_rate == 0.5
    assert built(objective="tb").target_rate is None
    for objective in catalogue.OBJECTIVES:
        gfn = built(objective=objective)
        assert isinstance(gfn.backward, LearnedBackward) == gfn.objective.trains_backward
        assert ("target" in gfn.objective.needs) == (gfn.target_rate is not None)


def test_the_regressions_are_the_ones_they_say():
    assert {n: f for n, (_, f) in catalogue.REGRESSIONS.items()} == gfnjax.regression.REGRESSIONS


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("batch_size", -1),
        ("chunk_size", 0),
        ("log_every", 0),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("log_z_learning_rate", -1.0),
        ("temperature", 0.0),
        ("subtb_lambda", 0.0),
        ("seed", -1),
        ("seed", 2**31),
        ("epsilon", 1.5),
        ("epsilon_steps", 0),
        ("epsilon_share", 0.0),
        ("final_epsilon", 1.5),
        ("final_learning_rate", 0.5),
        ("schedule_steps", 0),
        ("stop_at_tv", 0.0),
    ],
)
def test_settings_out_of_range_are_named(field, value):
    with pytest.raises(ValueError, match=f"{field} must be .*, got {value}"):
        Training(**{field: value})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_dims": 0}, "num_dims"),
        ({"side": 1}, "side"),
        ({"r0": 0.0}, "r0"),
        ({"reward": "cosine", "preset": "easy"}, "preset"),
    ],
)
def test_impossible_grids_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        HypergridConfig(**settings).make()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, gfnjax.Corners(0.1, 0.5, 2.0)),
        ({"preset": "hard"}, gfnjax.Corners(1e-4, 1.0, 3.0)),
        ({"preset": "easy", "r0": 0.02}, gfnjax.Corners(0.02, 0.5, 2.0)),
        ({"reward": "cosine"}, gfnjax.Cosine(0.1, 0.5)),
        ({"reward": "deceptive", "r0": 0.3}, gfnjax.Deceptive(0.3, 0.1, 2.0)),
        ({"reward": "sparse"}, gfnjax.Sparse(1e-12)),
        ({"reward": "sparse", "r0": 1e-3}, gfnjax.Sparse(1e-3)),
    ],
)
def test_rewards_by_name(settings, expected):
    env = HypergridConfig(3, 5, **settings).make()
    assert env.reward == expected
    assert (env.num_dims, env.side) == (3, 5)


def test_settings_reach_the_description():
    gfn = build.build(
        with_training(
            objective="subtb",
            subtb_lambda=0.7,
            backward="uniform",
            regression="huber",
            batch_size=5,
            learning_rate=0.01,
            log_z_learning_rate=0.02,
            epsilon=0.5,
            temperature=2.0,
            max_grad_norm=3.0,
            target_rate=0.25,
        )
    )
    assert gfn.objective == gfnjax.SubTrajectoryBalance(0.7)
    assert gfn.backward == gfnjax.UniformBackward()
    assert gfn.regression is gfnjax.regression.huber
    assert gfn.hyperparameters == gfnjax.Hyperparameters(0.01, 0.02, 0.5, 2.0)
    assert (gfn.batch_size, gfn.max_grad_norm, gfn.target_rate) == (5, 3.0, 0.25)


def test_epsilon_falls_to_zero_linearly():
    schedule = build.build(with_training(epsilon=0.4, epsilon_steps=8)).hyperparameters.epsilon
    values = [float(schedule(jnp.int32(step))) for step in (0, 2, 8, 20)]
    np.testing.assert_allclose(values, [0.4, 0.3, 0.0, 0.0], atol=1e-7)


def test_equal_settings_share_static_parts():
    settings = {"epsilon": 0.4, "epsilon_steps": 8, "objective": "subtb"}
    first, second = (build.build(with_training(**settings, seed=seed)) for seed in (0, 1))
    assert jax.tree.structure(first) == jax.tree.structure(second)
    other = build.build(with_training(**{**settings, "epsilon_steps": 9}))
    assert jax.tree.structure(first) != jax.tree.structure(other)


def test_maximum_entropy_counts_paths():
    backward = build.build(with_training(backward="maximum-entropy")).backward
    # On a grid, n!/(x! (n-x)!) paths lead to (x, n-x); the terminal copy adds none.
    counts = np.exp(backward.log_path_counts).reshape(2, 4, 4)
    np.testing.assert_allclose(counts[0, :3, :3], [[1, 1, 1], [1, 2, 3], [1, 3, 6]], rtol=1e-5)
    np.testing.assert_allclose(counts[1], counts[0], rtol=1e-5)
    assert counts[0, 3, 3] == pytest.approx(20, rel=1e-5)


@pytest.mark.parametrize("objective", catalogue.OBJECTIVES)
def test_every_objective_fits_the_other_settings(objective, key):
    settings = {"target_rate": 0.1}
    if not catalogue.OBJECTIVES[objective][1](TINY).on_policy:
        settings |= {"epsilon": 0.2, "epsilon_steps": 5}
    gfn = build.build(with_training(objective=objective, **settings))
    before = jax.eval_shape(gfn.init, key)
    after, info = jax.eval_shape(gfn.step, before)
    assert jax.tree.structure(after) == jax.tree.structure(before)
    assert [x.shape for x in jax.tree.leaves(info)] == [()] * 5


@pytest.mark.parametrize(
    ("training", "sampling"),
    [
        ({"objective": "db"}, {"window": 3}),
        ({"objective": "fl-subtb"}, {"window": 3, "replay": "residual"}),
        ({}, {"replay": "fifo", "replay_unique": True, "exploration": "stop-flattening"}),
        ({}, {"replay": "prioritised", "local_search": 2, "acceptance": "metropolis"}),
        ({"backward": "tlm"}, {"replay": "terminal"}),
        ({"backward": "pessimistic", "backward_updates": 2}, {"thompson": 3}),
        ({"backward": "path-counts"}, {"teacher_share": 0.5}),
        ({"objective": "gae", "num_updates": 1}, {"window": 4}),
        ({"objective": "ent-ppo", "num_updates": 3}, {}),
    ],
)
def test_ways_of_sampling_fit_together(training, sampling, key):
    config = dataclasses.replace(with_training(**training), sampling=Sampling(**sampling))
    assert config_from_dict(json.loads(json.dumps(to_dict(config)))) == config
    gfn = build.build(config)
    before = jax.eval_shape(gfn.init, key)
    after, _ = jax.eval_shape(gfn.step, before)
    assert jax.tree.structure(after) == jax.tree.structure(before)
    shapes = [[x.shape for x in jax.tree.leaves(state)] for state in (before, after)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    ("training", "sampling", "message"),
    [
        ({"objective": "tb"}, {"window": 3}, "complete trajectories"),
        ({"objective": "gae", "epsilon": 0.1}, {}, "epsilon must be 0"),
        ({"objective": "gae"}, {"replay": "fifo"}, "policy's own trajectories"),
        ({"objective": "gae", "backward": "learned"}, {}, "does not train P_B"),
        ({"objective": "contrastive", "batch_size": 1}, {}, "batch_size must be at least 2"),
        ({"objective": "tb"}, {"chain_back": 3}, "chain_back does nothing without objective mh"),
        ({"objective": "vargrad"}, {"replay": "fifo", "replay_share": 0.75}, "leaves 1 fresh"),
        ({"objective": "soft-dqn"}, {"thompson": 3}, "reads values off logits"),
        ({"objective": "rtb"}, {"teacher_share": 0.5}, "no Teacher"),
        ({"objective": "mh", "backward": "tlm"}, {}, "backward must be uniform"),
        ({"objective": "reinforce", "num_updates": 2}, {}, "num_updates must be 1"),
        ({"objective": "mh"}, {"replay": "fifo"}, "replay must be none"),
        ({"objective": "mh"}, {"chain_back": 99}, "chain_back must be between 1 and 7"),
        ({"objective": "mars", "network": "causal"}, {}, "does not fit"),
    ],
)
def test_what_does_not_fit_together_is_refused(training, sampling, message):
    config = dataclasses.replace(with_training(**training), sampling=Sampling(**sampling))
    with pytest.raises(ValueError, match=message):
        build.build(config)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"thompson": 0}, "thompson"),
        ({"thompson_keep": 0.0}, "thompson_keep"),
        ({"thompson_keep": 0.5}, "thompson_keep does nothing without thompson"),
        ({"search_share": 0.5}, "search_share does nothing without local_search"),
        ({"replay_unique": True}, "replay_unique does nothing without replay"),
        ({"window": 0}, "window must be at least 1"),
        ({"chain_back": 0}, "chain_back"),
        ({"replay_capacity": 0}, "replay_capacity"),
        ({"local_search": -1}, "local_search"),
        ({"teacher_share": 1.0}, "teacher_share"),
        ({"teacher_share": 0.5, "replay": "fifo"}, "teacher_share must be 0"),
    ],
)
def test_ways_of_sampling_out_of_range_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        Sampling(**settings)


@pytest.mark.parametrize("condition", ["temperature", "preferences"])
def test_a_condition_needs_flows(condition, key):
    for env in (HypergridConfig(2, 4, condition=condition), SetConfig(condition=condition)):
        config = Config("hypergrid", env, TINY)
        with pytest.raises(ValueError, match="one for each"):
            build.build(config)
        flowing = dataclasses.replace(TINY, objective="tb-flow")
        gfn = build.build(dataclasses.replace(config, training=flowing))
        jax.eval_shape(gfn.step, jax.eval_shape(gfn.init, key))
