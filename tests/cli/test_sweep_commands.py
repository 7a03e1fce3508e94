import csv
import json

import pytest

from gfnjax.cli import commands

TINY = "--side 4 --batch-size 4 --hidden-sizes 8 --chunk-size 4 --steps 8"


def run(*arguments):
    return commands.main([word for a in arguments for word in str(a).split()])


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli") / "sweep"
    vary = "--vary learning_rate=1e-3,1e-2 --vary epsilon=0:0.2:2 --seeds 2 --seed 3"
    assert run("sweep hypergrid", TINY, vary, "--output", path) == 0
    return path


def rows(path):
    with open(path / "results.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_sweep_ends_with_a_report_a_table_and_pictures(swept, capsys):
    found = rows(swept)
    assert len(found) == 2 * 2 * 2 * 3
    settings = {(row["learning_rate"], row["epsilon"], row["seed"]) for row in found}
    assert settings == {(a, b, c) for a in ("0.001", "0.01") for b in ("0.0", "0.2") for c in "34"}
    assert {p.name for p in (swept / "pictures").iterdir()} == {"curves.png", "heatmap.png"}
    assert run("report", swept) == 0
    out = capsys.readouterr().out
    assert "8 runs of 4 settings, judged by exact total variation" in out
    assert "best         --learning-rate 0.01" in out
    assert run("plot", swept) == 0
    assert run("report", swept, "--metric log_z_error") == 0
    assert "log Z" in capsys.readouterr().out


def test_a_finished_sweep_has_nothing_to_do(swept, capsys):
    assert run("resume", swept) == 0
    assert "is finished" in capsys.readouterr().out


@pytest.mark.slow
def test_settings_of_other_programs_and_of_a_file(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "points.csv").write_text("hidden_sizes,r0\n8,0.1\n8 4,0.01\n")
    assert run("sweep hypergrid", TINY, "--steps 4 --points points.csv") == 0
    found = rows(tmp_path / "sweeps" / "hypergrid-1")
    assert {(row["hidden_sizes"], row["r0"]) for row in found} == {("8", "0.1"), ("8 4", "0.01")}
    assert "2 runs" in capsys.readouterr().out
    described = json.loads((tmp_path / "sweeps" / "hypergrid-1" / "sweep.json").read_text())
    assert described["rounds"] == [[0], [1]]
    assert described["points"][1]["config"]["network"]["options"]["hidden_sizes"] == [8, 4]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epsilon,r0\n0.1\n", "line 2 has 1 values, there are 2 names"),
        ("epsilon,epsilon\n0.1,0.2\n", "it has epsilon twice"),
        ("epsilon\n", "it has no row"),
    ],
)
def test_files_of_settings_are_whole(text, message, tmp_path, capsys):
    (tmp_path / "points.csv").write_text(text)
    assert run("sweep hypergrid", TINY, "--points", tmp_path / "points.csv") == 2
    assert message in capsys.readouterr().err


@pytest.mark.long
def test_resume_is_as_it_was_asked_for(tmp_path, capsys):
    path = tmp_path / "sweep"
    given = "--vary epsilon=0,0.1 --metric log_z_error --members-at-once 1 --batch-devices 2"
    assert run("sweep hypergrid", TINY, given, "--output", path) == 0
    (path / "results.csv").unlink()
    capsys.readouterr()
    assert run("resume", path) == 0
    assert "judged by error of log Z" in capsys.readouterr().out
    assert (path / "results.csv").exists()


@pytest.mark.long
def test_settings_with_different_targets_ask_for_a_metric(tmp_path, capsys):
    flags = "--num-bits 32 --word-size 4 --num-modes 2 --steps 2 --evaluation-samples 20"
    vary = "--vary beta=1,3 --network mlp --hidden-sizes 8 --batch-size 4"
    assert run("sweep bits", flags, vary, "--output", tmp_path / "sweep") == 0
    assert "settings have different targets" in capsys.readouterr().out
    assert run("report", tmp_path / "sweep", "--metric length:low") == 0


@pytest.mark.long
def test_objectives_are_varied_with_what_each_has_by_itself(tmp_path):
    vary = "--vary objective=tb,subtb --vary learning_rate=log-uniform:1e-3:1e-2 --samples 2"
    path = tmp_path / "sweep"
    assert run("sweep hypergrid", TINY, "--steps 4", vary, "--output", path) == 0
    points = json.loads((path / "sweep.json").read_text())["points"]
    assert [p["config"]["objective"]["name"] for p in points] == ["tb", "tb", "subtb", "subtb"]
    rates = [p["config"]["training"]["learning_rate"] for p in points]
    assert rates[:2] == rates[2:]
    assert all(1e-3 <= rate <= 1e-2 for rate in rates)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--vary lerning_rate=1,2", "no flag --lerning-rate; did you mean --learning-rate"),
        ("--vary learning_rate", "--vary must say NAME=VALUES"),
        ("--vary learning_rate=", "--learning-rate must be given values"),
        ("--vary learning_rate=fast", "--learning-rate must be a number, got 'fast'"),
        ("--vary learning_rate=0:1", "--learning-rate cannot be varied over '0:1'"),
        ("--vary learning_rate=-1,1", "--learning-rate must be positive and finite, got -1"),
        ("--vary learning_rate=log:0:1:3", "--learning-rate must be positive on a logarithmic"),
        ("--vary epsilon=0.1 --vary epsilon=0.2", "--vary names something twice"),
        ("--vary epsilon=0.1,0.1", "--epsilon must be varied over different values"),
        ("--vary r0=0.1 --vary hypergrid.r0=0.2", "--vary names --r0 twice"),
        ("--vary output=a,b", "--output cannot be varied"),
        ("--vary epsilon=uniform:1:0 --samples 2", "--epsilon cannot be drawn from uniform:1:0"),
        ("--vary steps=1,2", "--vary steps: it is one for all members"),
        ("--vary seed=1,2", "use --seeds N"),
        ("--vary batch_size=uniform:1:4 --samples 2", "--batch-size is fixed in a compiled"),
        ("--vary epsilon=uniform:0:1", "--samples must say how many"),
        ("--samples 2", "--samples does nothing"),
        ("--vary objective=tb,xx", "there is no objective 'xx'"),
        ("--vary objective=tb,subtb --vary subtb.lambda=1", "--subtb.lambda is a flag of objec"),
        ("--seeds 0", "--seeds must be at least 1"),
        ("--devices 99", "--devices must be at most 4"),
        ("--devices 4 --batch-devices 3", "--batch-devices must divide the 4 devices"),
        ("--batch-size 6 --batch-devices 4", "--batch-size must be a multiple of the 4 devices"),
        ("--memory much", "--memory must be a number of bytes such as 16GB"),
        ("--memory 1kB", "--memory must be at least"),
        ("--points nothing.csv", "points cannot be read from nothing.csv"),
        ("--points x.csv --vary epsilon=0,1", "--points has all settings"),
        ("--logger tensorboard", "--logger has nothing to log in a sweep"),
        ("--metric nothing", "metric must say what is good"),
    ],
)
def test_what_cannot_work_is_said_in_one_line(flags, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("sweep hypergrid", TINY, flags) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "sweeps").exists()


def test_folders_that_are_no_sweeps(tmp_path, swept, capsys):
    for command in ("report", "resume"):
        assert run(command, tmp_path / "nothing") == 2
        assert "no such" in capsys.readouterr().err
    assert run("resume", swept, "--steps 30") == 2
    assert "--steps extends a run, not a sweep" in capsys.readouterr().err


def test_help_names_what_a_sweep_has(capsys):
    assert run("sweep hypergrid --help") == 0
    out = capsys.readouterr().out
    for flag in ("--vary", "--seeds", "--batch-devices", "--learning-rate", "--num-dims"):
        assert flag in out
    assert run("sweep") == 2
    assert "sweep needs the name of an environment" in capsys.readouterr().err
