"""The suite that measures: what it describes, how it counts, and how its processes talk."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import gfnjax
from benchmarks import __main__ as command
from benchmarks import growth, processes, report, sizes, sweeps
from benchmarks.settings import GRIDS, SETTINGS
from benchmarks.tasks import OBJECTIVES, TASKS, gflownet, num_parameters
from gfnjax.objectives import regression

DATA_FILES = "qm9-small", "amp", "phylogeny", "molecules"
HERE = [name for name in TASKS if name not in DATA_FILES]


def mlp_size(num_inputs, num_actions, num_backward_actions, widths, num_others):
    """Weights and biases; the heads say all logits and one flow."""
    layers = [num_inputs, *widths, num_actions + num_backward_actions + 1]
    return sum((n + 1) * m for n, m in pairwise(layers)) + num_others


# Inputs, actions, backward actions, widths; log Z, which only trajectory balance learns apart.
MLP_SIZES = {
    "grid-tb": (4 * 20, 5, 5, (256, 256), 1),
    "grid-db": (4 * 20, 5, 5, (256, 256), 0),
    "grid-subtb": (4 * 20, 5, 5, (256, 256), 0),
    "grid-8x8": (2 * 8, 3, 3, (256, 256), 1),
    "tfbind8": (8 * 5, 4, 1, (256, 256), 1),
    "ising-6": (36, 2 * 36, 36, (256,) * 4, 1),
    "ising-10": (100, 2 * 100, 100, (256,) * 4, 1),
    "set-medium": (80, 80, 80, (256, 256), 0),
}


def test_each_task_has_settings():
    assert list(TASKS) == list(SETTINGS)
    assert set(GRIDS) <= set(TASKS)
    assert all(TASKS[name].name == name and TASKS[name].summary for name in TASKS)


def test_mlps_are_counted():
    mlps = {name for name in HERE if SETTINGS[name].network.startswith("MLP")}
    assert mlps == set(MLP_SIZES)
    # 81 x 256 + 257 x 256 + 257 x 11 + 1
    assert mlp_size(*MLP_SIZES["grid-tb"]) == 20_736 + 65_792 + 2_827 + 1


@pytest.mark.parametrize("name", HERE)
def test_tasks_are_networks_of_their_size(name):
    found = num_parameters(gflownet(name))
    if name in MLP_SIZES:
        assert found == mlp_size(*MLP_SIZES[name])
    else:  # three layers of attention or messages, whose sizes tests of networks know
        assert 10_000 < found < 1_000_000


@pytest.mark.parametrize("name", HERE)
def test_tasks_train_with_their_settings(name):
    gfn, settings = gflownet(name), SETTINGS[name]
    held = gfn.hyperparameters
    first, last, num_steps = settings.epsilon
    epsilon = held.epsilon if callable(held.epsilon) else lambda step: held.epsilon

    assert gfn.batch_size == settings.batch_size
    assert gfn.objective == OBJECTIVES[settings.objective]
    learned = gfnjax.LearnedBackward if settings.learned_backward else gfnjax.UniformBackward
    assert type(gfn.backward) is learned
    assert gfn.regression == (regression.huber if settings.huber else regression.square)
    assert held.learning_rate == settings.learning_rate
    assert held.log_z_learning_rate == settings.log_z_learning_rate
    np.testing.assert_allclose([epsilon(0), epsilon(num_steps)], [first, last], rtol=1e-6)
    np.testing.assert_allclose(epsilon(num_steps / 2), (first + last) / 2, rtol=1e-6)


@pytest.mark.parametrize("name", ["grid-tb", "bits", "bits-left-to-right"])
def test_weights_decay_as_the_settings_say(name):
    optimizer = gflownet(name).optimizer(1.0)
    weight, gradient = jnp.full((), 2.0), jnp.zeros(())
    with jax.numpy_dtype_promotion("standard"):
        update, _ = optimizer.update(gradient, optimizer.init(weight), weight)
    np.testing.assert_allclose(update, -2.0 * SETTINGS[name].weight_decay, rtol=1e-6)


def test_another_batch_size_changes_nothing_else():
    gfn = gflownet("grid-8x8", batch_size=7)
    assert gfn.batch_size == 7
    assert num_parameters(gfn) == num_parameters(gflownet("grid-8x8"))
    with pytest.raises(KeyError):
        gflownet("nothing")


def turn(seconds, cpu_seconds, transitions, device=None):
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "trajectories": 30,
        "transitions": transitions,
        "peak_resident_bytes": 5_000_000,
        "peak_device_bytes": device,
    }


OURS = [turn(1.0, 4.0, 40), turn(2.0, 2.0, 40), turn(4.0, 5.0, 40)]
THEIRS = [turn(3.0, 6.0, 60), turn(2.0, 4.0, 50), turn(10.0, 20.0, 90)]


def about(library, **more):
    return {
        "task": "grid-tb",
        "library": library,
        "version": "1.2",
        "num_parameters": 89_356,
        "batch_size": 16,
        "first_step_seconds": 3.21,
        "first_step_cpu_seconds": 4.56,
        **more,
    }


@pytest.mark.parametrize(
    ("key", "low", "middle", "high"),
    [
        ("iterations_per_second", 1.0, 10 / 3, 5.0),
        ("trajectories_per_second", 3.0, 10.0, 15.0),
        ("transitions_per_second", 9.0, 20.0, 25.0),
        ("cpu_seconds_per_step", 0.4, 0.6, 2.0),
        # 3 / 1, 2 / 2, 10 / 4; medians of all turns would say 3 / 2.
        ("ratio", 1.0, 2.5, 3.0),
        # 6 / 4, 4 / 2, 20 / 5
        ("cpu_ratio", 1.5, 2.0, 4.0),
        # 0.05 / 0.025, 0.04 / 0.05, 0.111 / 0.1
        ("ratio_by_transition", 0.8, 10 / 9, 2.0),
    ],
)
def test_numbers_of_a_record(key, low, middle, high):
    found = report.record(about("torchgfn"), THEIRS, OURS, 10)[key]
    assert found == pytest.approx({"min": low, "median": middle, "max": high})


def test_what_else_is_in_a_record():
    found = report.record(about("torchgfn"), THEIRS, OURS, 10)
    assert about("torchgfn").items() <= found.items()
    assert (found["steps_per_turn"], found["mean_length"]) == (10, 3.0)
    assert (found["turns"], found["peak_resident_bytes"]) == (THEIRS, 5_000_000)
    assert json.loads(json.dumps(found)) == found


def test_turns_without_a_partner_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        report.record(about("torchgfn"), THEIRS, OURS[:2], 10)


def test_records_as_a_table():
    on_gpu = [turn(1.0, 4.0, 40, 7_000_000_000)] * 3
    ours = report.record(about("gfnjax"), on_gpu, on_gpu, 10)
    theirs = report.record(about("torchgfn"), THEIRS, OURS, 10)

    empty, head, rule, *rows = report.table([ours, theirs]).split("\n")

    assert empty == ""
    assert head == f"| {' | '.join(report.COLUMNS)} |"
    assert rule.count("---") == len(report.COLUMNS)
    assert rows == [
        "| grid-tb | gfnjax 1.2 | 10 | 40 | - | - | 1.3 | 89,356 | 16 | 3.2 (4.6) | 7,000 |",
        "| grid-tb | torchgfn 1.2 | 3.33 | 20 | 2.50 (1.00 to 3.00) | 2.00 | 3.0 | 89,356 | 16 "
        "| 3.2 (4.6) | 5 |",
    ]


def test_records_as_a_picture(tmp_path):
    ours = report.record(about("gfnjax"), OURS, OURS, 10)
    theirs = report.record(about("torchgfn"), THEIRS, OURS, 10)
    report.plot([ours, theirs], tmp_path / "ratios.png")
    assert (tmp_path / "ratios.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.long
def test_a_worker_answers_until_it_is_stopped(tmp_path):
    given = "--seed 3 --batch-size 8 --log-z-start batch"
    worker = processes.start("gfnjax", "grid-8x8", *given.split())
    expected = {
        "library": "gfnjax",
        "task": "grid-8x8",
        "version": gfnjax.__version__,
        "framework": f"jax {jax.__version__}",
        "batch_size": 8,
        "objective": "tb",
        "network": "MLP 256-256",
        "num_parameters": mlp_size(*MLP_SIZES["grid-8x8"]),
        "log_z_start": "batch",
    }
    assert expected.items() <= worker.about.items()
    assert worker.about["first_step_seconds"] > worker.about["compile_seconds"] > 0

    first, again = (processes.ask(worker, run=5) for _ in range(2))
    more = processes.ask(worker, run=1_100, go_on=True)
    np.save(tmp_path / "states.npy", np.array([[0, 0], [7, 3]], np.int32))
    files = {name: str(tmp_path / f"{name}.npy") for name in ("states", "logits")}
    assert processes.ask(worker, **files) == {"logits": files["logits"]}
    logits = np.load(files["logits"])
    processes.stop(worker)

    assert worker.process.returncode == 0
    assert first["trajectories"] == 5 * 8
    assert more["trajectories"] == 1_100 * 8  # more than the capacity of a chunk
    for answer in (first, more):  # 7 steps either way and the stop
        assert answer["trajectories"] <= answer["transitions"] <= 15 * answer["trajectories"]
        assert answer["seconds"] > 0
        assert answer["cpu_seconds"] > 0
        assert answer["peak_resident_bytes"] > 10_000_000
    assert first["transitions"] == again["transitions"]
    assert logits.shape == (2, 3)
    np.testing.assert_array_equal(logits == -np.inf, [[False] * 3, [True, False, False]])
    assert not np.allclose(logits[0, 1:], logits[1, 1:])


@pytest.mark.long
def test_a_record_of_a_worker_that_has_trained(tmp_path, capsys, monkeypatch):
    path = tmp_path / "records.jsonl"
    given = f"run --task grid-8x8 --repeats 2 --seconds 0.1 --output {path}"
    monkeypatch.setattr(sys, "argv", ["benchmarks", *given.split()])

    assert command.main() == 0

    (record,) = map(json.loads, path.read_text().splitlines())
    one = {"min": 1.0, "median": 1.0, "max": 1.0}
    assert (record["ratio"], record["cpu_ratio"], len(record["turns"])) == (one, one, 2)
    assert record["turns"][0]["trajectories"] == 16 * record["steps_per_turn"]
    assert (record["seed"], record["preset"], record["task"]) == (0, False, "grid-8x8")
    assert "| grid-8x8 | gfnjax" in capsys.readouterr().out


def test_a_worker_that_ends_says_so(capfd):
    with pytest.raises(processes.WorkerError, match=r"gfnjax on nothing .* exit status 2"):
        processes.start("gfnjax", "nothing")
    assert "invalid choice: 'nothing'" in capfd.readouterr().err


def test_what_is_not_installed_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "ENVIRONMENTS", tmp_path)
    with pytest.raises(FileNotFoundError, match="python -m benchmarks peers"):
        processes.start("gfnx", "grid-tb")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("nothing", "there is no command 'nothing'"),
        ("run --task nothing", "invalid choice: 'nothing'"),
        ("run --repeats many", "invalid int value: 'many'"),
        ("quality --task bits", "invalid choice: 'bits'"),
        ("growth --only nothing", "invalid choice: 'nothing'"),
        ("growth --fast", "unrecognized arguments: --fast"),
    ],
)
def test_wrong_words_on_the_command_line(given, problem, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["benchmarks", *given.split()])
    try:
        status = command.main()
    except SystemExit as error:
        status = error.code
    assert status == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert problem in err


def test_the_commands_are_listed():
    given = [sys.executable, "-m", "benchmarks"]
    done = subprocess.run(given, cwd=processes.ROOT, capture_output=True, text=True, check=True)
    assert all(f"  {name} " in done.stdout for name in ("run", "quality", "growth", "peers"))


@pytest.mark.parametrize("power", [-0.5, 0.0, 1.0, 1.7])
def test_exponents_of_powers(power):
    sizes = np.array([16, 64, 100, 4096])
    found = growth.exponent(sizes, 3.0 * sizes**power)
    assert found == pytest.approx({"fitted": power, "last_two": power}, abs=1e-9)


def test_exponents_of_what_is_no_power():
    # Of (0, 0), (1, 1), (2, 3) the slope is ((-1)(-4/3) + 0 + (1)(5/3)) / 2.
    found = growth.exponent([1, 10, 100], [1.0, 10.0, 1000.0])
    assert found == pytest.approx({"fitted": 1.5, "last_two": 2.0})


def test_sizes_are_what_they_are_called():
    made = {name: [make(size) for size in up] for name, (up, make) in sizes.GROWTHS.items()}
    found = {
        "batch": [gfn.batch_size for gfn in made["batch"]],
        "horizon": [gfn.env.max_steps for gfn in made["horizon"]],
        "side": [gfn.env.side for gfn in made["side"]],
        "actions": [gfn.env.num_actions for gfn in made["actions"]],
    }
    assert found == {name: list(up) for name, (up, _) in sizes.GROWTHS.items()}
    assert {gfn.batch_size for name in ("horizon", "side", "actions") for gfn in made[name]} == {16}


@pytest.mark.long
def test_a_sweep_is_measured_beside_single_runs(monkeypatch, tmp_path, capsys):
    small = 4, 2, lambda: sizes.describe(gfnjax.Hypergrid(2, 3), 4, batch_size=2)
    monkeypatch.setattr(sweeps, "CASES", {"grid-tb": small})
    output = tmp_path / "sweeps.jsonl"
    given = f"--devices 2 --at-once 1 --repeats 2 --memory --output {output}"

    assert sweeps.main(given.split()) == 0

    record, memory = map(json.loads, output.read_text().splitlines())
    assert (record["members"], record["steps"], record["at_once"]) == (4, 2, 1)
    ratio = record["alone"]["median"] / record["together"]["median"]
    assert record["ratio"]["min"] <= ratio * 1.5
    assert list(memory["bytes"]) == ["2", "4", "8", "16", "32"]
    per_member = (memory["bytes"]["32"] - memory["bytes"]["16"]) / 16
    assert memory["per_member"] == pytest.approx(per_member, rel=0.2)
    assert "times (" in capsys.readouterr().out


@pytest.mark.slow
def test_growth_is_measured(monkeypatch, tmp_path, capsys):
    env = gfnjax.Hypergrid(2, 3)
    small = (2, 6), lambda n: sizes.describe(env, 4, batch_size=n)
    monkeypatch.setitem(growth.GROWTHS, "batch", small)
    output, picture = tmp_path / "growth.jsonl", tmp_path / "growth.png"
    given = f"--only batch --repeats 3 --seconds 0.01 --output {output} --plot {picture}"

    assert growth.main(given.split()) == 0

    (record,) = map(json.loads, output.read_text().splitlines())
    one, three = record["points"]
    assert (record["what"], one["size"], three["size"]) == ("batch", 2, 6)
    assert record["version"] == gfnjax.__version__
    assert {"framework", "jaxlib", "device", "machine", "cores", "time"} <= set(record)
    for point in (one, three):
        step = point["ms_per_step"]["median"]
        assert 1 <= point["mean_length"] <= env.max_steps
        assert point["num_parameters"] == mlp_size(6, 3, 3, (4,), 1)
        live = point["size"] * point["mean_length"]
        assert point["ms_per_transition"]["median"] == pytest.approx(step / live, rel=0.5)
    slope = np.log(three["ms_per_step"]["median"] / one["ms_per_step"]["median"]) / np.log(3)
    assert record["exponents"]["ms_per_step"] == pytest.approx(
        dict.fromkeys(("fitted", "last_two"), slope)
    )
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "| batch | 6 |" in capsys.readouterr().out
