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
from gfnjax import registry
from gfnjax.algorithms.ebgfn import EnergyGFlowNet
from gfnjax.data import published
from gfnjax.envs.drawing import Renderable
from gfnjax.envs.hypergrid import HypergridConfig
from gfnjax.policies.backward import LearnedBackward
from gfnjax.policies.mlp import ACTIVATIONS, MLPConfig
from gfnjax.run import build
from gfnjax.run.choices import configure
from gfnjax.run.config import (
    Choice,
    Config,
    Sampling,
    Training,
    UsageError,
    choose,
    from_dict,
    to_dict,
)

ENVIRONMENTS = registry.names("environment")
CHAINS = "mh", "mars"
# What differentiates through the sampling, of numbered actions, is tested with diffusion.
OBJECTIVES = [name for name in registry.names("objective") if name not in {*CHAINS, "pis"}]


def tiny(**settings):
    sizes = {"mlp": {"hidden_sizes": (8,)}, "side": 4, "batch_size": 4}
    return configure("hypergrid", **{**sizes, **settings})


FILES = {
    "qm9-small": "qm9_small.npz",
    "amp": "amp/proxy_weights.npz",
    "molecules": "seh/proxy_weights.npz",
    "phylogeny": "phylo/DS1.json",
}
# Others need a language model.
VARIANTS = {"text": "bigram"}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_every_environment_survives_json(name):
    config = configure(name)
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


@pytest.mark.long
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_every_environment_takes_a_step(name, key):
    if name in FILES and not published.available(FILES[name]):
        pytest.skip(f"needs {FILES[name]}")
    gfn = build.build(configure(name, variant=VARIANTS.get(name)))
    before = jax.eval_shape(gfn.init, key)
    after, info = jax.eval_shape(gfn.step, before)
    assert jax.tree.structure(after) == jax.tree.structure(before)
    assert before.step.shape == info.loss.shape == info.grad_norm.shape == ()
    env = gfn.gfn.env if isinstance(gfn, EnergyGFlowNet) else gfn.env
    assert isinstance(env, Renderable)


def test_variants_are_other_settings():
    paper = configure("molecules", variant="paper", batch_size=8)
    assert (paper.objective.name, paper.objective.options.epsilon) == ("fm", 2.5e-5)
    assert (paper.env.symmetry, paper.env.condition, paper.env.beta) == ("none", "none", 10.0)
    assert paper.env.root == "trained"
    assert (paper.training.steps, paper.training.batch_size) == (250_000, 8)
    assert configure("molecules", variant="fast") == configure("molecules")
    with pytest.raises(
        UsageError, match="there is no variant 'slow' of environment molecules: it has fast"
    ):
        configure("molecules", variant="slow")
    # An option of its own.
    assert configure("hypergrid", variant="easy").env.variant == "easy"
    with pytest.raises(UsageError, match="variant"):
        configure("dag", variant="easy")


def test_settings_of_the_literature_shrink_with_the_steps():
    training = configure("tfbind8", steps=1_000_000).training
    assert (training.epsilon, training.final_epsilon, training.epsilon_decay) == (1.0, 0.0, 50_000)
    assert dataclasses.replace(training, steps=2_000).epsilon_decay == 100
    assert dataclasses.replace(training, epsilon_steps=7).epsilon_decay == 7
    extended = dataclasses.replace(training, steps=2_000_000, schedule_steps=1_000_000)
    assert extended.epsilon_decay == 50_000


def test_the_learning_rate_falls_along_a_cosine():
    gfn = build.build(tiny(learning_rate=1e-2, final_learning_rate=1e-3, steps=8))
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
        build.build(tiny(network=network))


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
        steps=st.integers(1, 10**9),
        epsilon=st.floats(0, 1),
        epsilon_steps=st.none() | st.integers(1, 10**6),
        epsilon_share=st.none() | st.floats(1e-6, 1),
        final_learning_rate=st.none() | st.floats(0, 1e-3),
        max_grad_norm=st.none() | st.floats(1e-3, 1e3),
        stop_at_tv=st.none() | st.floats(1e-6, 0.99),
    ),
    sizes=st.lists(st.integers(1, 999), max_size=4).map(tuple),
    names=st.tuples(*(st.sampled_from(registry.names(k)) for k in ("objective", "replay"))),
    loggers=st.sets(st.sampled_from(registry.names("logger"))),
)
def test_configurations_survive_json(env, training, sizes, names, loggers):
    config = Config(
        "hypergrid",
        env,
        training,
        objective=choose("objective", names[0]),
        network=Choice("mlp", MLPConfig(sizes)),
        replay=choose("replay", names[1]),
        loggers=tuple(choose("logger", name) for name in loggers),
    )
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


@pytest.mark.parametrize(
    ("place", "field", "value", "message"),
    [
        ("env", "sides", 3, "environment hypergrid: sides is unknown"),
        ("env", "side", "3", "side must be a whole number, got '3'"),
        ("env", "side", True, "side must be a whole number, got True"),
        ("env", "reward", "corner", "reward must be one of corners, cosine, "),
        ("training", "steps", 0, "steps must be at least 1, got 0"),
        ("training", "epsilon", None, "epsilon must be a number, got None"),
        ("sampling", "windows", 3, "Sampling: windows is unknown"),
        ("objective", "name", "nope", "there is no objective 'nope'"),
        ("objective", "options", {"lambda_": 1.0}, "objective tb: lambda_ is unknown"),
        ("network", "options", {"activation": "gelu"}, "network mlp: hidden_sizes is missing"),
    ],
)
def test_unknown_fields_and_values_are_refused(place, field, value, message):
    values = to_dict(configure("hypergrid"))
    with pytest.raises(UsageError, match=message):
        from_dict({**values, place: {**values[place], field: value}})
    with pytest.raises(UsageError, match=f"{place} is missing"):
        from_dict({name: x for name, x in values.items() if name != place})


def test_the_activations_are_those_that_there_are():
    assert get_args(get_type_hints(MLPConfig)["activation"]) == tuple(ACTIVATIONS)


def test_what_config_json_cannot_keep_is_refused():
    critic = gfnjax.tabular_policy(gfnjax.Hypergrid(2, 4))
    options = dataclasses.replace(choose("objective", "sac").options, critic=critic)
    config = dataclasses.replace(tiny(), objective=Choice("sac", options))
    with pytest.raises(UsageError, match="objective sac: critic must be left as it is"):
        to_dict(config)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": "9"}, "steps must be a whole number, got '9'"),
        ({"sides": 9}, "there is no setting 'sides'; did you mean side?"),
        ({"objective": "subtb", "lamda_": 1.0}, "no setting 'lamda_'; did you mean lambda_?"),
        ({"mlp": {"width": 3}}, "mlp has no option 'width'"),
        ({"objective": "nope"}, "there is no objective 'nope'"),
        ({"loggers": ["nope"]}, "there is no logger 'nope'"),
        ({"replay_share": 0.1}, "replay_share does nothing without replay"),
    ],
)
def test_arguments_that_do_not_exist_are_named(arguments, message):
    with pytest.raises(UsageError, match=message):
        configure("hypergrid", **arguments)


def test_a_name_that_is_not_registered_is_refused_before_anything_is_written(tmp_path):
    config = Config("any", HypergridConfig(2, 4))
    with pytest.raises(UsageError, match="there is no environment 'any'"):
        gfnjax.run.start(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_name_that_settings_have_too_is_theirs():
    config = configure("hypergrid", objective="sac", temperature=2.0, sac={"temperature": 3.0})
    assert (config.training.temperature, config.objective.options.temperature) == (2.0, 3.0)


def test_what_an_objective_needs_is_there_without_being_asked_for():
    def built(**settings):
        return build.build(tiny(**settings))

    assert built(objective="soft-dqn").target_rate == 0.25
    assert built(objective="soft-dqn", target_rate=0.5).target_rate == 0.5
    assert built(objective="tb").target_rate is None
    for objective in OBJECTIVES:
        gfn = built(objective=objective)
        assert isinstance(gfn.backward, LearnedBackward) == gfn.objective.trains_backward
        assert ("target" in gfn.objective.needs) == (gfn.target_rate is not None)


def test_the_regressions_are_the_ones_they_say():
    found = {entry.name: entry.make() for entry in registry.entries("regression")}
    assert found == gfnjax.regression.REGRESSIONS


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
        ({"reward": "cosine", "variant": "easy"}, "variant"),
    ],
)
def test_impossible_grids_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        HypergridConfig(**settings).make()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, gfnjax.Corners(0.1, 0.5, 2.0)),
        ({"variant": "hard"}, gfnjax.Corners(1e-4, 1.0, 3.0)),
        ({"variant": "easy", "r0": 0.02}, gfnjax.Corners(0.02, 0.5, 2.0)),
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
        tiny(
            objective="subtb",
            lambda_=0.7,
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
    assert gfn.regression == gfnjax.regression.huber
    assert gfn.hyperparameters == gfnjax.Hyperparameters(0.01, 0.02, 0.5, 2.0)
    assert (gfn.batch_size, gfn.max_grad_norm, gfn.target_rate) == (5, 3.0, 0.25)


def test_epsilon_falls_to_zero_linearly():
    schedule = build.build(tiny(epsilon=0.4, epsilon_steps=8)).hyperparameters.epsilon
    values = [float(schedule(jnp.int32(step))) for step in (0, 2, 8, 20)]
    np.testing.assert_allclose(values, [0.4, 0.3, 0.0, 0.0], atol=1e-7)


def test_equal_settings_share_static_parts():
    settings = {"epsilon": 0.4, "epsilon_steps": 8, "objective": "subtb"}
    first, second = (build.build(tiny(**settings, seed=seed)) for seed in (0, 1))
    assert jax.tree.structure(first) == jax.tree.structure(second)
    # Numbers of schedules too, which a sweep may vary.
    other = build.build(tiny(**{**settings, "epsilon_steps": 9}))
    assert jax.tree.structure(first) == jax.tree.structure(other)
    assert jax.tree.leaves(first) == jax.tree.leaves(second) != jax.tree.leaves(other)
    constant = build.build(tiny(**{**settings, "epsilon_steps": None}))
    assert jax.tree.structure(first) != jax.tree.structure(constant)


def test_maximum_entropy_counts_paths():
    backward = build.build(tiny(backward="maximum-entropy")).backward
    # On a grid, n!/(x! (n-x)!) paths lead to (x, n-x); the terminal copy adds none.
    counts = np.exp(backward.log_path_counts).reshape(2, 4, 4)
    np.testing.assert_allclose(counts[0, :3, :3], [[1, 1, 1], [1, 2, 3], [1, 3, 6]], rtol=1e-5)
    np.testing.assert_allclose(counts[1], counts[0], rtol=1e-5)
    assert counts[0, 3, 3] == pytest.approx(20, rel=1e-5)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_fits_the_other_settings(objective, key):
    settings = {"target_rate": 0.1}
    if not build.build(tiny(objective=objective)).objective.on_policy:
        settings |= {"epsilon": 0.2, "epsilon_steps": 5}
    gfn = build.build(tiny(objective=objective, **settings))
    before = jax.eval_shape(gfn.init, key)
    after, info = jax.eval_shape(gfn.step, before)
    assert jax.tree.structure(after) == jax.tree.structure(before)
    assert [x.shape for x in jax.tree.leaves(info)] == [()] * 5


@pytest.mark.parametrize(
    ("training", "sampling"),
    [
        ({"objective": "db"}, {"window": 3}),
        ({"objective": "db"}, {"window": 3, "gradient_states": 5}),
        ({"objective": "fl-subtb"}, {"gradient_states": 5}),
        ({"objective": "fl-subtb"}, {"window": 3, "replay": "residual"}),
        ({}, {"replay": "fifo", "unique": True, "exploration": "stop-flattening"}),
        ({}, {"replay": "prioritised", "local_search": 2, "acceptance": "metropolis"}),
        ({"backward": "tlm"}, {"replay": "terminal"}),
        ({"backward": "pessimistic", "backward_updates": 2}, {"thompson": 3}),
        ({"backward": "path-counts"}, {"teacher_share": 0.5}),
        ({"objective": "gae", "num_updates": 1}, {"window": 4}),
        ({"objective": "ent-ppo", "num_updates": 3}, {}),
    ],
)
def test_ways_of_sampling_fit_together(training, sampling, key):
    config = tiny(**training, **sampling)
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config
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
        ({"objective": "vargrad"}, {"replay": "fifo", "replay_share": 0.75}, "leaves 1 fresh"),
        ({"objective": "soft-dqn"}, {"thompson": 3}, "reads values off logits"),
        ({"objective": "rtb"}, {"teacher_share": 0.5}, "no Teacher"),
        ({"objective": "mh", "backward": "tlm"}, {}, "backward must be uniform"),
        ({"objective": "reinforce", "num_updates": 2}, {}, "num_updates must be 1"),
        ({"objective": "mh"}, {"replay": "fifo"}, "replay must be none"),
        ({"objective": "mh"}, {"chain_back": 99}, "chain_back must be between 1 and 7"),
        ({"objective": "mars", "network": "causal"}, {}, "does not fit"),
        ({"objective": "mh"}, {"chain_back": 0}, "chain_back must be at least 1"),
        ({}, {"teacher_share": 0.5, "replay": "fifo"}, "teacher_share must be 0"),
        ({}, {"replay": "fifo", "capacity": 0}, "capacity must be at least 1"),
        ({}, {"replay": "fifo", "gradient_states": 9}, "gradient_states cannot be used together"),
        ({"objective": "ent-ppo"}, {"gradient_states": 9}, "compares whole policies"),
        ({"network": "graph"}, {"thompson": 3}, "thompson needs network mlp, got graph"),
        ({}, {"count_modes": True}, "counts modes, and Hypergrid knows none"),
        ({}, {"teacher_share": 0.5, "count_modes": True}, "count_modes cannot be used together"),
        ({"objective": "mh"}, {"count_modes": True}, "count_modes must be False"),
    ],
)
def test_what_does_not_fit_together_is_refused(training, sampling, message):
    with pytest.raises(ValueError, match=message):
        build.build(tiny(**training, **sampling))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"thompson": 0}, "thompson"),
        ({"thompson_keep": 0.0}, "thompson_keep"),
        ({"thompson_keep": 0.5}, "thompson_keep does nothing without thompson"),
        ({"search_share": 0.5}, "search_share does nothing without local_search"),
        ({"gradient_states": 0}, "gradient_states must be at least 1, got 0"),
        ({"gradient_states": 9, "local_search": 1}, "cannot be used together with local_search"),
        ({"window": 0}, "window must be at least 1"),
        ({"local_search": -1}, "local_search"),
        ({"teacher_share": 1.0}, "teacher_share"),
        ({"teacher_share": 0.5, "window": 3}, "teacher_share must be 0"),
    ],
)
def test_ways_of_sampling_out_of_range_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        Sampling(**settings)


@pytest.mark.parametrize("condition", ["temperature", "preferences"])
def test_a_condition_needs_flows(condition, key):
    for name in ("hypergrid", "set"):
        settings = {"condition": condition, "batch_size": 4, "hidden_sizes": (8,)}
        with pytest.raises(ValueError, match="one for each"):
            build.build(configure(name, **settings))
        gfn = build.build(configure(name, objective="tb-flow", **settings))
        jax.eval_shape(gfn.step, jax.eval_shape(gfn.init, key))
