"""`gfnjax.load`: a run on disk as a value."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gfnjax
from gfnjax import run
from gfnjax.run.checkpoint import CheckpointError, DamagedCheckpointWarning
from gfnjax.run.choices import configure
from gfnjax.run.config import UsageError

ROOT = Path(gfnjax.__file__).parents[1]
TINY = {"steps": 12, "batch_size": 4, "hidden_sizes": (8,), "chunk_size": 4, "log_every": 3}


class Quiet:
    def update(self, status):
        pass

    def close(self):
        pass


def start(path, name="hypergrid", **settings):
    sizes = {"side": 4} if name == "hypergrid" else {}
    config = configure(name, network="mlp", **(TINY | sizes | settings))
    return run.start(config, path, Quiet())


def reported(outcome):
    return {k: v for k, v in outcome.evaluation.items() if k not in ("kind", "step", "seconds")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    return start(path), path


@pytest.mark.long
def test_a_fresh_process_has_all_of_a_run(finished):
    outcome, path = finished
    code = f"""
import json, sys
import numpy as np
import gfnjax
run = gfnjax.load({str(path)!r})
samples = run.sample(50)
print(json.dumps({{
    "step": int(run.state.step), "log_z": float(run.state.params.log_z),
    "side": run.gfn.env.side, "seed": run.config.training.seed,
    "metrics": run.metrics, "evaluation": run.evaluate(),
    "actions": np.asarray(samples.actions).tolist(),
    "again": bool((samples.actions == run.sample(50, 0).actions).all()),
    "other": bool((samples.actions == run.sample(50, 1).actions).all()),
    "drawing": "matplotlib" in sys.modules or "tyro" in sys.modules,
}}))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["step"], found["side"], found["seed"]) == (12, 4, 0)
    assert found["log_z"] == float(outcome.state.params.log_z)
    lines = (path / "metrics.jsonl").read_text().splitlines()
    assert found["metrics"] == [json.loads(line) for line in lines]
    assert found["evaluation"] == reported(outcome)
    assert (found["again"], found["other"], found["drawing"]) == (True, False, False)
    expected = gfnjax.load(path).gfn.sample(outcome.state.params, jax.random.key(0), 50)
    np.testing.assert_array_equal(found["actions"], expected.actions)


def test_the_state_is_the_one_the_run_ended_in(finished):
    outcome, path = finished
    loaded = gfnjax.load(str(path)).state
    pairs = zip(jax.tree.leaves(loaded), jax.tree.leaves(outcome.state), strict=True)
    for x, y in pairs:
        assert x.dtype == y.dtype
        if x.dtype != loaded.key.dtype:
            np.testing.assert_array_equal(x, y)
    assert (jax.random.key_data(loaded.key) == jax.random.key_data(outcome.state.key)).all()


def test_training_goes_on_from_python(finished):
    trained = gfnjax.load(finished[1])
    state, _ = gfnjax.train(trained.gfn, trained.state, 3)
    assert int(state.step) == 15
    assert isinstance(trained.gfn, gfnjax.GFlowNet)


def test_an_earlier_checkpoint_by_its_step(finished):
    _, path = finished
    trained = gfnjax.load(path, step=np.int64(8))
    assert int(trained.state.step) == 8
    assert [r["step"] for r in trained.metrics if r["kind"] == "evaluation"] == [0, 4, 8]
    [record] = [r for r in trained.metrics if r["kind"] == "evaluation" and r["step"] == 8]
    assert trained.evaluate() == {k: v for k, v in record.items() if k in trained.evaluate()}
    with pytest.raises(CheckpointError, match=r"step must be one of 4, 8, 12.*got 7"):
        gfnjax.load(path, step=7)
    with pytest.raises(TypeError, match=r"step must be a whole number, got 8\.5"):
        gfnjax.load(path, step=8.5)


@pytest.mark.parametrize("num_samples", [7, 7.0, np.int64(7), jnp.asarray(7)])
def test_numbers_of_samples(finished, num_samples):
    samples = gfnjax.load(finished[1]).sample(num_samples, jax.random.key(3))
    assert samples.length.shape == (7,)
    assert samples.states.position.shape == (7, 8, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "num_samples must be at least 1, got 0"),
        ((2.5,), "num_samples must be a whole number, got 2.5"),
        ((True,), "num_samples must be a whole number, got True"),
        ((5, jax.random.PRNGKey), "key must be a typed PRNG key: use jax.random.key"),
        ((5, "legacy"), "key must be a typed PRNG key: use jax.random.key, not PRNGKey"),
        ((5, "two"), "key must be one key"),
    ],
)
def test_samples_that_cannot_be_drawn(finished, arguments, message):
    keys = {"legacy": jax.random.PRNGKey(0), "two": jax.random.split(jax.random.key(0))}
    arguments = [keys.get(x, x) if isinstance(x, str) else x for x in arguments]
    with pytest.raises((TypeError, ValueError), match=message):
        gfnjax.load(finished[1]).sample(*arguments)


KINDS = {
    # Batches estimate log Z here; a state alone does not tell it.
    "vargrad": {"objective": "vargrad"},
    "chains": {"objective": "mars"},
    "condition": {"condition": "temperature", "objective": "db"},
    "target": {"objective": "soft-dqn"},
    "replay": {"replay": "prioritised", "capacity": 50},
    "windows": {"objective": "db", "window": 2},
    "tlm": {"backward": "tlm"},
    "samples": {"name": "bits", "num_bits": 16, "word_size": 4, "num_modes": 4},
    "ising-learned": {"name": "ising-learned", "side": 3, "num_data": 40},
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_run_reports_and_samples_again(tmp_path, kind):
    outcome = start(tmp_path / "run", **KINDS[kind])
    trained = gfnjax.load(tmp_path / "run")
    assert json.dumps(trained.evaluate()) == json.dumps(reported(outcome))
    samples = trained.sample(10)
    assert samples.length.shape == (10,)
    assert np.isfinite(samples.log_reward).all()
    if kind == "ising-learned":  # on the reward as it has been learned, zero before
        env = trained.gfn.sampler(trained.state).env
        assert jnp.abs(env.reward.couplings).max() > 0
        ends = gfnjax.terminal_states(samples)
        np.testing.assert_allclose(samples.log_reward, jax.vmap(env.log_reward)(ends))


@pytest.mark.long
def test_runs_on_a_users_own_data(tmp_path, monkeypatch):
    data = np.random.default_rng(0).normal(size=(30, 3))
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    np.save("data.npy", data)
    outcome = start(tmp_path / "run", name="dag", data="data.npy")
    monkeypatch.chdir(tmp_path)

    trained = gfnjax.load("run")

    assert trained.evaluate() == reported(outcome)
    assert trained.gfn.env.num_nodes == 3
    (tmp_path / "there" / "data.npy").unlink()
    with pytest.raises(UsageError, match=r"no such file: .*there/data\.npy"):
        gfnjax.load("run")


def test_before_the_first_step(tmp_path):
    outcome = start(tmp_path / "run", objective="vargrad", steps=1)
    trained = gfnjax.load(tmp_path / "run", step=0)
    assert trained.evaluate().keys() == reported(outcome).keys()
    assert np.isnan(trained.evaluate()["log_z"])


def test_a_damaged_checkpoint_is_passed_over(tmp_path, finished):
    start(tmp_path / "run")
    newest = tmp_path / "run" / "checkpoints" / "step-000000012.ckpt"
    newest.write_bytes(newest.read_bytes()[:-1])
    with pytest.warns(DamagedCheckpointWarning, match="going back to step-000000008"):
        trained = gfnjax.load(tmp_path / "run")
    assert int(trained.state.step) == trained.metrics[-1]["step"] == 8
    with pytest.raises(CheckpointError, match="damaged"):
        gfnjax.load(tmp_path / "run", step=12)


def test_what_is_no_run_is_one_sentence(tmp_path, finished):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for name, message in (
        ("nowhere", "no such run: .*nowhere"),
        ("file", "no such run: .*file"),
        ("empty", "empty is not a run: it has no config.json"),
    ):
        with pytest.raises(UsageError, match=message):
            gfnjax.load(tmp_path / name)
    started = tmp_path / "started"
    (started / "checkpoints").mkdir(parents=True)
    (started / "config.json").write_bytes((finished[1] / "config.json").read_bytes())
    with pytest.raises(CheckpointError, match=r"no checkpoint in .*started"):
        gfnjax.load(started)
    with pytest.raises(CheckpointError, match="step must be one of none"):
        gfnjax.load(started, step=0)


def test_loading_changes_nothing(finished):
    _, path = finished
    before = {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in sorted(path.rglob("*"))}
    gfnjax.load(path).evaluate()
    after = {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in sorted(path.rglob("*"))}
    assert after == before
