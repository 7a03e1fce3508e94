import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import jax.numpy as jnp
import pytest

from gfnjax import registry, run
from gfnjax.objectives.base import FunctionObjective
from gfnjax.objectives.trajectory_balance import trajectory_balance
from gfnjax.run import session
from gfnjax.run.checkpoint import CheckpointError, DamagedCheckpointWarning
from gfnjax.run.choices import configure
from gfnjax.run.config import UsageError
from gfnjax.run.directory import RunDirectory
from gfnjax.run.display import PlainLines
from gfnjax.types import Residuals

TRACES = []


def counted(scores):
    TRACES.append(1)
    return trajectory_balance(scores)


def nan_beyond_log_z(scores):
    values, weights = trajectory_balance(scores)
    return Residuals(jnp.where(scores.log_z > 0.75, jnp.nan, values), weights)


def replace(patch, name, function):
    """Another objective of a name."""
    entry = registry.find("objective", name)
    changes = {"cls": FunctionObjective, "fixed": {"function": function}}
    patch.setitem(registry._ENTRIES, ("objective", name), dataclasses.replace(entry, **changes))


@pytest.fixture(autouse=True)
def objectives(monkeypatch):
    replace(monkeypatch, "tb", counted)
    replace(monkeypatch, "db", nan_beyond_log_z)


def config(side=4, **settings):
    defaults = {"steps": 12, "batch_size": 4, "hidden_sizes": (8,), "chunk_size": 4, "log_every": 3}
    return configure("hypergrid", side=side, **(defaults | settings))


class Quiet:
    """A display that can do something at a step."""

    def __init__(self, at=None, do=None):
        self.at, self.do, self.statuses = at, do, []

    def update(self, status):
        self.statuses.append(status)
        if status.step == self.at:
            self.do()

    def close(self):
        pass


def start(output, display=None, **settings):
    return run.start(config(**settings), output, display or Quiet())


def resume(output, **arguments):
    return run.resume(output, display=Quiet(), **arguments)


def content(directory):
    """All that must be equal bit for bit; wall-clock time is not."""
    lines = (directory / "metrics.jsonl").read_text().splitlines()
    metrics = [{k: v for k, v in json.loads(x).items() if k != "seconds"} for x in lines]
    files = {p.name: p.read_bytes() for p in (directory / "checkpoints").iterdir()}
    return metrics, files


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run, for comparison."""
    directory = tmp_path_factory.mktemp("runs") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        replace(patch, "tb", counted)
        start(directory)
    return SimpleNamespace(path=directory, content=content(directory))


def test_a_run_directory_holds_everything(whole):
    metrics, files = whole.content
    assert sorted(files) == [f"step-{n:09d}.ckpt" for n in (4, 8, 12)]
    assert [m["step"] for m in metrics if m["kind"] == "evaluation"] == [0, 4, 8, 12]
    # Means over three steps; the end of a chunk cuts a window short.
    assert [m["step"] for m in metrics if m["kind"] == "train"] == [3, 4, 7, 8, 11, 12]
    assert {"loss", "log_z", "log_reward", "length", "grad_norm"} < metrics[1].keys()
    assert {"total_variation", "kl", "jsd", "l1", "log_z_error"} < metrics[0].keys()
    assert RunDirectory(whole.path).read_config() == config()
    assert (whole.path / "pictures").is_dir()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_resumes_bit_for_bit(tmp_path, whole, number):
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    display = Quiet(4, lambda: signal.raise_signal(number))

    outcome = start(tmp_path / "run", display)

    assert (outcome.ending, outcome.signal) == ("interrupted", number)
    assert int(outcome.state.step) == 4
    assert handlers == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
    before = len(TRACES)
    assert resume(tmp_path / "run").ending == "finished"
    assert content(tmp_path / "run") == whole.content
    assert len(TRACES) == before


@pytest.mark.long
def test_markov_chains_resume_bit_for_bit_as_well(tmp_path):
    start(tmp_path / "whole", objective="mars")
    start(tmp_path / "run", Quiet(4, lambda: signal.raise_signal(signal.SIGINT)), objective="mars")
    assert resume(tmp_path / "run").ending == "finished"
    expected, found = content(tmp_path / "whole"), content(tmp_path / "run")
    assert found[1] == expected[1]
    # NaN, the log Z that chains do not have, is not equal to itself.
    assert json.dumps(found[0]) == json.dumps(expected[0])
    assert {"acceptance", "transitions", "log_reward"} < expected[0][1].keys()


def test_a_second_signal_does_not_wait_for_the_chunk(monkeypatch):
    killed = []
    times = iter([100.0, 100.5, 102.0])
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append(number))
    monkeypatch.setattr(session.time, "monotonic", lambda: next(times))
    with session.Interrupts() as interrupts:
        signal.raise_signal(signal.SIGTERM)
        # The same request may arrive twice, by way of the process group.
        signal.raise_signal(signal.SIGTERM)
        assert not killed
        signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert interrupts.signal == signal.SIGTERM
    assert killed == [signal.SIGTERM]


def test_lost_checkpoints_cost_their_chunks_and_nothing_else(tmp_path, whole):
    start(tmp_path / "run")
    checkpoints = tmp_path / "run" / "checkpoints"
    (checkpoints / "step-000000012.ckpt").write_bytes(b"damaged")
    (checkpoints / "step-000000008.ckpt").unlink()

    with pytest.warns(DamagedCheckpointWarning, match=r"000012\.ckpt.*going back to .*000004"):
        resume(tmp_path / "run")

    assert content(tmp_path / "run") == whole.content


def test_a_crash_between_metrics_and_checkpoint_leaves_no_line_twice(tmp_path, whole):
    start(tmp_path / "run", Quiet(8, lambda: signal.raise_signal(signal.SIGTERM)))
    (tmp_path / "run" / "checkpoints" / "step-000000008.ckpt").unlink()
    with open(tmp_path / "run" / "metrics.jsonl", "a") as file:
        file.write('{"kind": "train", "step": 9, "lo')

    resume(tmp_path / "run")

    assert content(tmp_path / "run") == whole.content


def test_a_crash_before_the_first_checkpoint_starts_from_the_beginning(tmp_path, whole):
    start(tmp_path / "run")
    for file in (tmp_path / "run" / "checkpoints").iterdir():
        file.unlink()
    with pytest.raises(CheckpointError, match="no checkpoint"):
        resume(tmp_path / "run")
    (tmp_path / "run" / "metrics.jsonl").unlink()

    resume(tmp_path / "run")

    assert content(tmp_path / "run") == whole.content


def test_a_signal_before_the_first_chunk_stops_there(tmp_path, whole):
    display = Quiet(0, lambda: signal.raise_signal(signal.SIGTERM))
    outcome = start(tmp_path / "run", display)
    assert (outcome.ending, int(outcome.state.step)) == ("interrupted", 0)
    resume(tmp_path / "run")
    assert content(tmp_path / "run") == whole.content


def test_lost_metrics_do_not_keep_a_run_from_going_on(tmp_path, whole):
    start(tmp_path / "run", steps=8)
    (tmp_path / "run" / "metrics.jsonl").unlink()
    resume(tmp_path / "run", steps=12)
    metrics, files = content(tmp_path / "run")
    assert metrics == [m for m in whole.content[0] if m["step"] > 8]
    assert files == whole.content[1]


def test_a_lost_evaluation_of_a_finished_run_is_made_again(tmp_path):
    first = start(tmp_path / "run", steps=8)
    metrics = tmp_path / "run" / "metrics.jsonl"
    lines = metrics.read_text().splitlines(keepends=True)
    metrics.write_text("".join(lines[:-1]))
    assert resume(tmp_path / "run").ending == "nothing to do"
    again = RunDirectory(tmp_path / "run").read_metrics()[-1]
    assert (again["kind"], again["step"], again["seconds"]) == ("evaluation", 8, first.seconds)


def test_a_goal_that_is_met_at_the_start_needs_no_training(tmp_path):
    outcome = start(tmp_path / "run", stop_at_tv=0.999)
    assert (outcome.ending, int(outcome.state.step)) == ("reached", 0)


def test_an_estimate_that_is_not_known_yet_survives_a_resume(tmp_path):
    """The batch estimates log Z: there is none at step 0."""
    display = Quiet(0, lambda: signal.raise_signal(signal.SIGTERM))
    start(tmp_path / "run", display, objective="vargrad", steps=4)
    assert run.resume(tmp_path / "run", display=PlainLines()).ending == "finished"


def test_two_runs_of_the_same_shapes_compile_once(tmp_path, whole):
    before = len(TRACES)
    start(tmp_path / "run", seed=3, steps=5)
    assert len(TRACES) == before
    assert content(tmp_path / "run") != whole.content


def test_a_finished_run_has_nothing_to_do_until_it_is_extended(tmp_path, whole):
    first = start(tmp_path / "run", steps=8)
    files = content(tmp_path / "run")

    again = resume(tmp_path / "run")
    assert (again.ending, int(again.state.step)) == ("nothing to do", 8)
    assert again.evaluation == first.evaluation
    assert content(tmp_path / "run") == files
    with pytest.raises(UsageError, match="at least 8"):
        resume(tmp_path / "run", steps=7)
    with pytest.raises(UsageError, match="steps must be at least 1"):
        resume(tmp_path / "run", steps=0)

    assert resume(tmp_path / "run", steps=12).ending == "finished"
    assert content(tmp_path / "run") == whole.content
    assert RunDirectory(tmp_path / "run").read_config() == config()


def test_the_wanted_total_variation_stops_a_run(tmp_path):
    settings = {"learning_rate": 0.03, "steps": 16}
    start(tmp_path / "whole", **settings)
    whole = content(tmp_path / "whole")
    tv = [m["total_variation"] for m in whole[0] if m["kind"] == "evaluation"]
    goal = (min(tv[:3]) + tv[3]) / 2
    assert tv[3] < goal

    outcome = start(tmp_path / "run", stop_at_tv=goal, **settings)

    assert (outcome.ending, int(outcome.state.step)) == ("reached", 12)
    assert resume(tmp_path / "run").ending == "nothing to do"
    assert resume(tmp_path / "run", steps=16).ending == "finished"
    assert content(tmp_path / "run") == whole


def test_nan_stops_the_run_and_leaves_the_state_before_it(tmp_path):
    with pytest.raises(run.RunFailedError, match=r"at step (\d+), .*nan-before-step-\1\.ckpt") as e:
        start(tmp_path / "run", objective="db", steps=50)

    step = int(str(e.value).split("at step ")[1].split(",")[0])
    files = sorted(p.name for p in (tmp_path / "run" / "checkpoints").iterdir())
    assert f"nan-before-step-{step}.ckpt" in files
    assert f"step-{step // 4 * 4:09d}.ckpt" in files
    metrics, before = content(tmp_path / "run")
    assert max(m["step"] for m in metrics) == step // 4 * 4
    # Resuming meets the same step again.
    with pytest.raises(run.RunFailedError, match=f"at step {step},"):
        resume(tmp_path / "run")
    assert content(tmp_path / "run") == (metrics, before)


def test_a_run_in_use_is_left_alone(tmp_path, whole):
    with (
        RunDirectory(whole.path).locked(),
        pytest.raises(UsageError, match="in use by another process"),
    ):
        resume(whole.path)
    assert resume(whole.path).ending == "nothing to do"


def test_the_checkpoint_of_another_configuration_is_refused(tmp_path):
    start(tmp_path / "run", steps=4)
    RunDirectory(tmp_path / "run").write_config(config(hidden_sizes=(9,)))
    with pytest.raises(CheckpointError, match="belongs to another run"):
        resume(tmp_path / "run")


def test_statuses_carry_what_a_display_needs(tmp_path):
    display = Quiet()
    start(tmp_path / "run", display)
    assert [s.step for s in display.statuses] == [0, 4, 8, 12]
    assert [s.num_steps for s in display.statuses] == [12] * 4
    assert [s.loss is None for s in display.statuses] == [True, False, False, False]
    # The first chunk waits for the compiler: no speed can be told yet.
    assert [s.rate is None for s in display.statuses] == [True, True, False, False]


def test_seconds_go_on_after_an_interrupt(monkeypatch):
    times = iter([1_000.0, 1_003.0, 1_007.0, 1_008.0])
    monkeypatch.setattr(session.time, "perf_counter", lambda: next(times))
    clock = session.Clock(50.0)
    assert clock.tick(110) == 53.0
    assert clock.rate is None
    assert clock.tick(130) == 57.0
    assert clock.rate == 5.0
    assert clock.tick(140) == 58.0
    assert clock.rate == 6.0


def newest_step(directory):
    files = directory.glob("checkpoints/step-*.ckpt")
    return max((int(path.stem.split("-")[1]) for path in files), default=0)


@pytest.mark.long
def test_a_killed_process_loses_one_chunk_at_most(tmp_path):
    """kill -9 of a real process, then the rest in this one: equal to a run without a break."""
    flags = "--side 4 --steps 100000 --batch-size 4 --hidden-sizes 8 --chunk-size 4 --log-every 3"
    command = [sys.executable, "-m", "gfnjax", "train", "hypergrid", *flags.split()]
    directory = tmp_path / "killed"
    process = subprocess.Popen(
        [*command, "--output", str(directory)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        deadline = time.monotonic() + 300
        # Only the newest few are kept, so wait for one at or past step 20, not for a certain one.
        while newest_step(directory) < 20:
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        process.kill()
        process.communicate()
    evaluated = [m["step"] for m in content(directory)[0] if m["kind"] == "evaluation"]
    newest = newest_step(directory)
    assert newest >= 20
    assert newest in (evaluated[-1], evaluated[-1] - 4)

    last = newest + 8
    run_directory = RunDirectory(directory)
    stored = run_directory.read_config()
    training = dataclasses.replace(stored.training, steps=last)
    run_directory.write_config(dataclasses.replace(stored, training=training))
    resume(directory)
    start(tmp_path / "whole", steps=last)

    assert content(directory) == content(tmp_path / "whole")
