"""Whole numbers and keys, in all the ways that users write them."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gfnjax
from gfnjax.arguments import check_key, whole
from gfnjax.cli import commands
from gfnjax.replay import Fifo
from gfnjax.run.config import Sampling, Training
from gfnjax.samplers import Windows
from gfnjax.samplers.local_search import LocalSearch

ENV = gfnjax.Hypergrid(2, 3)
ROOT = Path(gfnjax.__file__).parents[1]


def describe(**options):
    return gfnjax.GFlowNet(
        ENV, gfnjax.tabular_policy(ENV), gfnjax.TrajectoryBalance(), **{"batch_size": 4, **options}
    )


@pytest.mark.parametrize(
    "value", [8, 8.0, np.int64(8), np.int32(8), np.uint8(8), np.float32(8), np.float64(8)]
)
def test_whole_numbers(value):
    assert whole("n", value) == 8
    assert type(whole("n", value)) is int
    assert whole("n", jnp.asarray(8)) == 8


@pytest.mark.parametrize(
    "value", [8.5, True, np.bool_(True), "8", None, np.nan, np.inf, [8], 1j, np.zeros(2, int)]
)
def test_what_is_no_whole_number_is_refused_by_name(value):
    with pytest.raises(TypeError, match=r"^num_steps must be a whole number, got "):
        whole("num_steps", value)
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        whole("n", 0, least=1)


NUMBERS = {
    "num_steps": lambda n: gfnjax.train(describe(), jax.random.key(0), n),
    "chunk_size": lambda n: describe(chunk_size=n),
    "batch_size": lambda n: describe(batch_size=n),
    "num_updates": lambda n: describe(num_updates=n),
    "num_samples": lambda n: describe().sample(
        describe().init(jax.random.key(0)).params, jax.random.key(0), n
    ),
    "length": Windows,
    "capacity": Fifo,
    "num_rounds": LocalSearch,
    "num_back": lambda n: LocalSearch(2, num_back=n),
    "hidden_sizes": lambda n: gfnjax.mlp_policy(ENV, (n,)),
    "steps": lambda n: Training(steps=n),
    "seed": lambda n: Training(seed=n),
    "window": lambda n: Sampling(window=n),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_every_count_takes_them_or_says_its_name(name):
    expected = NUMBERS[name](2)
    for value in (2.0, np.int64(2)):
        found = NUMBERS[name](value)
        if name in ("num_steps", "num_samples"):
            for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
                assert x.shape == y.shape if hasattr(x, "shape") else x == y
        else:
            assert repr(found) == repr(expected)
    for value in (2.5, True, "2"):
        with pytest.raises(TypeError, match=rf"^{name} must be a whole number, got "):
            NUMBERS[name](value)


def test_a_float_for_a_chunk_size(key):
    state, history = gfnjax.train(describe(), key, 1e1, chunk_size=np.float64(5))
    assert int(state.step) == 10
    assert [e["step"] for e in history.evaluations] == [5, 10]


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (
            lambda: jax.random.PRNGKey(0),
            "start must be a typed PRNG key: use jax.random.key, not P",
        ),
        (
            lambda: np.zeros(2, np.uint32),
            "start must be a typed PRNG key: use jax.random.key, not P",
        ),
        (lambda: jnp.zeros(3), "start must be a typed PRNG key"),
        (lambda: jax.random.split(jax.random.key(0), 3), r"start must be one key, got \(3,\)"),
        (lambda: 0, "start must be a typed PRNG key.* got int"),
        (lambda: None, "start must be a typed PRNG key.* got NoneType"),
        (lambda: describe().init(jax.random.key(0)).params, "the state to go on from, got Params"),
    ],
)
def test_what_training_starts_from(start, message):
    with pytest.raises(TypeError, match=message):
        gfnjax.train(describe(), start(), 1)


def test_swapped_arguments(key):
    with pytest.raises(TypeError, match="gfn must be a GFlowNet or the like"):
        gfnjax.train(key, describe(), 1)


@pytest.mark.parametrize("key", [jax.random.PRNGKey, int])
def test_keys_of_other_entry_points(key):
    key, gfn = key(0), describe()
    params = gfn.init(jax.random.key(0)).params
    ends = gfnjax.terminal_states(gfn.sample(params, jax.random.key(0), 2))
    for call in (
        lambda: gfn.init(key),
        lambda: gfn.sample(params, key, 2),
        lambda: gfn.sample_backward(params, key, ends),
        lambda: gfnjax.testing.check_environment(ENV, key),
        lambda: gfnjax.testing.check_objective(gfnjax.TrajectoryBalance(), key),
    ):
        with pytest.raises(TypeError, match=r"^key must be a typed PRNG key: use jax.random.key"):
            call()


def test_keys_may_be_traced_and_mapped(key):
    keys = jax.random.split(key, 3)
    assert jax.vmap(lambda k: jax.random.key_data(check_key("key", k)))(keys).shape == (3, 2)
    assert jax.jit(lambda k: jax.random.bits(check_key("key", k)))(key) == jax.random.bits(key)


@pytest.mark.long
@pytest.mark.parametrize("platform", ["cuda", "tpu", "no_such_thing"])
def test_hardware_that_is_not_there_is_one_line_and_code_2(platform, tmp_path):
    if platform in {device.platform for device in jax.devices()}:
        pytest.skip("it is there")
    environment = {**os.environ, "JAX_PLATFORMS": platform, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "gfnjax", "train", "hypergrid", "--steps", "1"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    said = done.stderr.splitlines()[-1]
    assert said.startswith(f"gfnjax: JAX finds no device for JAX_PLATFORMS={platform}: install")
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_counts_on_the_command_line_are_refused_by_name(capsys):
    assert commands.main(["train", "hypergrid", "--steps", "1e2"]) == 2
    assert "--steps" in capsys.readouterr().err
