import json
import os
import re
import signal
import subprocess
import sys
import time

import jax.numpy as jnp
import pytest

from gfnjax import registry
from gfnjax.cli import commands, form
from gfnjax.data import published
from gfnjax.envs.hypergrid import HypergridConfig

TINY = "train hypergrid --side 4 --batch-size 4 --hidden-sizes 8 --chunk-size 4 --steps 8"


def run(*arguments):
    return commands.main([word for a in arguments for word in str(a).split()])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli") / "run"
    assert run(TINY, "--output", path) == 0
    return path


@pytest.mark.long
def test_training_ends_with_a_summary_and_pictures(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert run(TINY) == 0

    out, err = capsys.readouterr()
    assert err == ""
    lines = (tmp_path / "runs" / "hypergrid-1" / "metrics.jsonl").read_text().splitlines()
    evaluations = [json.loads(line) for line in lines]
    last = [e for e in evaluations if e["kind"] == "evaluation"][-1]
    tv, log_z = last["total_variation"], last["log_z"]
    assert f"exact TV   {tv:.4f}" in out
    assert f"log Z      {log_z:.4f}  (truth {last['true_log_z']:.4f}, error " in out
    assert re.search(r"steps      8 in 0:\d\d", out)
    assert "pictures   runs/hypergrid-1/pictures: curves.png, distribution.png, summary.png" in out
    assert len(list(tmp_path.glob("runs/hypergrid-1/pictures/*.png"))) == 3


@pytest.mark.long
def test_graph_problems_end_with_their_solutions(tmp_path, capsys):
    flags = "--family path --num-nodes 4 --width 4 --num-layers 1 --num-solutions 3"
    assert run("train independent-set --steps 2", flags, "--output", tmp_path / "run") == 0
    out, _ = capsys.readouterr()
    assert "solutions  best of 3 2.00 (mean 2.00, " in out
    assert "0.0% below the optimum where proven (1 of 1)" in out
    assert (tmp_path / "run" / "solutions.csv").exists()


@pytest.mark.long
def test_flags_reach_the_configuration(tmp_path):
    flags = "--num-dims 3 --variant easy --objective subtb --subtb-lambda 0.5 --backward uniform"
    more = "--regression huber --steps 1 --log-every 2 --hidden-sizes 8 4 --epsilon 0.5 --seed 7"
    assert run(TINY, flags, more, "--output", tmp_path / "run") == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["env"] == {
        "num_dims": 3,
        "side": 4,
        "reward": "corners",
        "variant": "easy",
        "r0": None,
        "condition": "none",
        "beta_low": 0.5,
        "beta_high": 2.0,
    }
    assert config["objective"] == {"name": "subtb", "options": {"lambda_": 0.5}}
    mlp = {"hidden_sizes": [8, 4], "activation": "gelu"}
    assert config["network"] == {"name": "mlp", "options": mlp}
    given = {"backward": "uniform", "epsilon": 0.5, "regression": "huber", "steps": 1, "seed": 7}
    assert config["training"].items() >= {**given, "log_every": 2}.items()
    assert config["plugins"] == []


@pytest.mark.long
def test_baselines_by_name(tmp_path, capsys):
    assert run(TINY, "--objective mh --chain-back 3", "--output", tmp_path / "run") == 0
    out = capsys.readouterr().out
    assert re.search(r"log R      -?\d\.\d{4} on average over objects visited", out)
    assert re.search(r"their TV 0\.\d{4} \(independent draws 0\.\d{4}\)", out)
    assert "log Z" not in out
    assert re.search(r"acceptance \d\.\d{3}", out)
    assert run(TINY, "--objective mh --stop-at-tv .1", "--output", tmp_path / "no") == 2
    assert "--stop-at-tv needs exact evaluation" in capsys.readouterr().err


@pytest.mark.long
def test_a_grid_too_large_to_enumerate_says_so(tmp_path, capsys):
    flags = "--num-dims 5 --side 16 --steps 1"
    assert run(TINY, flags, "--output", tmp_path / "run") == 0
    out = capsys.readouterr().out
    assert "from samples: too many states to enumerate" in out
    assert "exact" not in out
    assert (tmp_path / "run" / "pictures" / "distribution.png").exists()


SMALL = "--batch-size 4 --hidden-sizes 8 --chunk-size 2"


@pytest.mark.long
def test_dags_of_a_users_data(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rain.csv").write_text("rain,grass\n0.1,0.3\n1.2,0.9\n-0.4,-0.2\n")
    assert run("train dag --data rain.csv --network mlp --steps 2", SMALL, "--output run") == 0
    out = capsys.readouterr().out
    assert re.search(r"exact TV   0\.\d+", out)
    assert re.search(r"also       largest error of a marginal 0\.\d{4}", out)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["env"]["data"] == str(tmp_path / "rain.csv")
    assert (tmp_path / "run" / "pictures" / "objects.png").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_raw_data_of_a_data_frame(tmp_path, capsys):
    file = tmp_path / "frame.csv"
    file.write_text(",rain,grass\n0,1e6,0.3\n1,2e6,0.9\n2,-4e6,-0.2\n", encoding="utf-16")
    flags = f"train dag --data {file} --score linear-gaussian --standardise --network mlp --steps 2"
    assert run(flags, SMALL, "--output", tmp_path / "run") == 0
    captured = capsys.readouterr()
    assert "exact TV" in captured.out
    assert "warning: " in captured.err
    assert "column 1 has no name: left out as an index" in captured.err


@pytest.mark.long
def test_trees_of_a_users_sequences(tmp_path, capsys):
    file = tmp_path / "four.json"
    file.write_text('{"a": "ACGT", "b": "ACGA", "c": "TCTA", "d": "TGTT"}')
    flags = f"train phylogeny --sequences {file} --offset 5 --steps 2 --batch-size 4 --chunk-size 2"
    sizes = "--width 8 --num-heads 2 --num-layers 1"
    assert run(flags, sizes, "--output", tmp_path / "run") == 0
    assert "objects.png" in capsys.readouterr().out
    assert (tmp_path / "run" / "pictures" / "objects.png").exists()


@pytest.mark.long
def test_learned_couplings_can_be_resumed_bit_for_bit(tmp_path, capsys):
    flags = f"train ising-learned --side 2 --num-data 40 --log-every 1 {SMALL}"
    assert run(flags, "--steps 4 --output", tmp_path / "whole") == 0
    assert "-log RMSE of the couplings" in capsys.readouterr().out
    assert run(flags, "--steps 2 --output", tmp_path / "parts") == 0
    assert run("resume", tmp_path / "parts", "--steps 4") == 0
    whole, parts = (
        (tmp_path / name / "checkpoints" / "step-000000004.ckpt").read_bytes()
        for name in ("whole", "parts")
    )
    assert whole == parts


def test_a_finished_run_says_so_and_can_be_extended(trained, capsys):
    assert run("resume", trained) == 0
    out = capsys.readouterr().out
    assert f"{trained} is finished; to extend it: gfnjax resume {trained} --steps N" in out
    assert run("resume", trained, "--steps", 12) == 0
    assert "steps      12 in" in capsys.readouterr().out


def test_plot_draws_again(trained, capsys):
    picture = trained / "pictures" / "summary.png"
    picture.unlink()
    assert run("plot", trained) == 0
    assert picture.exists()
    assert str(picture.parent) in capsys.readouterr().out


def test_list_names_everything_there_is(capsys):
    assert run("list") == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 100
    for name in [name for kind in registry.KINDS for name in registry.names(kind)]:
        assert re.search(rf"^  {re.escape(name)} ", out, re.MULTILINE), name
    assert "--side 32  --reward corners|cosine|deceptive|sparse" in out
    assert re.search(r"^  subtb +sub-trajectory balance\n +--lambda 0\.9$", out, re.MULTILINE)
    assert "--fm.epsilon 0.0  --terminal-weight 1.0" in out


@pytest.mark.parametrize("arguments", [[], ["--help"], ["train", "--help"], ["resume", "-h"]])
def test_help(capsys, arguments):
    assert run(*arguments) == 0
    assert capsys.readouterr().out.startswith("usage: gfnjax")


def test_every_environment_has_its_help(capsys):
    for entry in registry.entries("environment"):
        assert run("train", entry.name, "--help") == 0
        out = capsys.readouterr().out
        assert entry.summary.split()[0] in out
        assert "--objective" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "bogus",
            "subcommands: train, sweep, search, resume, plot, report, sample, reproduce, list",
        ),
        ("train", "train needs the name of an environment first, one of amp, bits"),
        ("train --steps 3 hypergrid", "train needs the name of an environment first"),
        ("train chess", "chess"),
        ("train hypergrid --objective nope", "there is no objective 'nope' (see gfnjax list)"),
        ("train hypergrid --colour red", "--colour"),
        ("train hypergrid --side x", "--side"),
        ("train hypergrid --side 1", "--side must be at least 2, got 1"),
        ("train hypergrid --num-dims 0", "--num-dims must be at least 1, got 0"),
        ("train hypergrid --batch-size -1", "--batch-size must be at least 1, got -1"),
        ("train hypergrid --steps 0", "gfnjax: --steps must be at least 1, got 0"),
        ("train hypergrid --learning-rate nan", "--learning-rate must be positive"),
        ("train hypergrid --hidden-sizes 0", "--hidden-sizes must be positive widths"),
        ("train hypergrid --max-grad-norm -1", "--max-grad-norm must be positive"),
        ("train hypergird --steps 3", "no environment 'hypergird'; did you mean hypergrid?"),
        ("train hypergrid --objective fl-dbb", "no objective 'fl-dbb'; did you mean fl-db?"),
        ("train hypergrid --network mpl", "no network 'mpl'; did you mean mlp?"),
        ("train hypergrid --replay fido", "no replay 'fido'; did you mean fifo?"),
        ("train hypergrid --logger wand", "no logger 'wand'; did you mean wandb?"),
        ("train hypergrid --objective", "--objective must be followed by a name"),
        ("train hypergrid --step 3", "no flag --step; did you mean --steps?"),
        ("train hypergrid --wandb", "no flag --wandb; did you mean --logger wandb?"),
        ("train hypergrid --lambda 1", "--lambda is a flag of objective ent-ppo, fl-subtb, gae"),
        ("train hypergrid --objective subtb --lambda 0", "--lambda must be positive and finite"),
        (
            "train hypergrid --capacity 9",
            "a flag of replay fifo, prioritised, prompts, ranked, resid",
        ),
        ("train hypergrid --width 9", "--width is a flag of network causal, drift, forest, fra"),
        ("train set --num-dims 9", "--num-dims is a flag of environment cyclic-grid, hypergrid or"),
        ("train hypergrid --no-side", "there is no flag --no-side; did you mean --side?"),
        ("train hypergrid --replay-share .1", "--replay-share does nothing without --replay"),
        ("train hypergrid --backward uniforn", "no backward 'uniforn'; did you mean uniform?"),
        (
            "train hypergrid --objective gae --backward learned",
            "use --backward maximum-entropy, path",
        ),
        (
            "train hypergrid --condition temperature",
            "tb-flow, vargrad-group or wdb, or use --condition none",
        ),
        ("train hypergrid --objective gae --replay fifo", "; leave out --replay\n"),
        ("train hypergrid --objective gae --thompson 3", "leave out --thompson"),
        ("train hypergrid --objective gae --teacher-share .5", "leave out --teacher-share"),
        (
            "train hypergrid --objective gae --num-updates 4",
            "use --objective ent-ppo, flowrl, ppo or",
        ),
        ("train hypergrid --objective fm --thompson 3", "use --objective contrastive, db"),
        ("train hypergrid --window 4", "or leave out --window"),
        (
            "train hypergrid --objective db --window 4 --local-search 2",
            "--local-search need whole ones, leave out --window",
        ),
        ("train hypergrid --reward cosine --variant hard", "--variant must be standard"),
        ("train hypergrid --num-dims 9 --stop-at-tv 0.1", "--stop-at-tv needs exact evaluation"),
        ("train hypergrid --num-dims 9 --backward maximum-entropy", "use path-counts"),
        (
            "train hypergrid --network graph",
            "network graph does not fit: graph_policy needs a DAGs",
        ),
        ("train bits --network causal", "network causal does not fit"),
        ("train dag --data nowhere.csv", "no such file"),
        ("train dag --data nan.csv", "line 2, column 1 is missing"),
        ("train dag --data short.csv", "data must have at least 2 rows"),
        ("train dag --data file", "data must be a .npy, .npz, .csv, .tsv,"),
        (
            "train dag --data raw.csv --score linear-gaussian",
            "--data must be standardised",
        ),
        ("train dag --num-nodes 0", "--num-nodes must be at least 1, got 0"),
        ("train phylogeny --dataset DS9", "invalid choice 'DS9'"),
        ("train phylogeny --sequences nowhere.json", "no such file"),
        ("train phylogeny --sequences unequal.json", "b must have length 3 as a has, got 2"),
        ("train qm9-small", "qm9_small.npz was not found in GFNJAX_DATA (not set)"),
        ("train amp", "amp/proxy_weights.npz was not found"),
        ("train phylogeny", "phylo/DS1.json was not found"),
        ("train ising --side 1", "--side must be at least 2, got 1"),
        ("train ising-learned --num-back 99", "--num-back must be between 1 and max_steps = 16"),
        ("train ising-learned --max-grad-norm 1", "--max-grad-norm is not supported here"),
        ("train ising-learned --epsilon 0.1", "--epsilon and --temperature are not used"),
        ("train hypergrid --side 4 --output file", "cannot write to file"),
        ("train hypergrid --output file/run", "cannot write to file/run"),
        ("train hypergrid --output full", "new or empty"),
        ("resume", "folder of the run"),
        ("resume nowhere", "no such run: nowhere"),
        ("resume full", "full is not a run"),
        ("resume file", "no such run: file"),
        ("plot nowhere", "no such run: nowhere"),
    ],
)
def test_a_bad_request_is_one_line_and_code_2(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GFNJAX_DATA", raising=False)
    monkeypatch.setattr(published, "cache_directory", lambda: tmp_path / "cache")
    (tmp_path / "full" / "folder").mkdir(parents=True)
    (tmp_path / "file").touch()
    (tmp_path / "nan.csv").write_text("1,2\n,3\n")
    (tmp_path / "short.csv").write_text("1,2\n")
    (tmp_path / "raw.csv").write_text("1e6,2\n3e6,4\n")
    (tmp_path / "unequal.json").write_text('{"a": "ACG", "b": "AC"}')
    before = sorted(tmp_path.rglob("*"))

    assert run(arguments) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("gfnjax: ")
    assert err.count("\n") == 1
    assert "dummy" not in err
    assert message in err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_holds_a_run_is_left_alone(trained, capsys):
    before = (trained / "metrics.jsonl").read_bytes()
    assert run(TINY, "--output", trained) == 2
    assert f"already holds a run: go on with `gfnjax resume {trained}`" in capsys.readouterr().err
    assert (trained / "metrics.jsonl").read_bytes() == before


def test_a_missing_logger_is_noticed_before_anything_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert run(TINY, "--logger wandb", "--output", tmp_path / "run") == 2
    assert 'pip install "gfnjax[wandb]"' in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_divergence_is_code_1_with_the_step_and_the_file(tmp_path, capsys):
    assert run(TINY, "--learning-rate", "1e30", "--output", tmp_path / "run") == 1
    err = capsys.readouterr().err
    found = re.search(r"at step (\d+)\b.*try a smaller --learning-rate or .* is in (\S+)\n", err)
    assert found[2].endswith(f"nan-before-step-{found[1]}.ckpt")
    assert os.path.exists(found[2])
    assert err.count("\n") == 1


@pytest.mark.slow
def test_a_reward_of_zero_is_code_1_and_named(tmp_path, capsys, monkeypatch):
    def reward(position, side):
        return jnp.where(position[0] == 1, -jnp.inf, 0.0)

    monkeypatch.setattr(HypergridConfig, "_reward", lambda self: reward)
    assert run(TINY, "--side 3 --batch-size 16 --output", tmp_path / "run") == 1
    err = capsys.readouterr().err
    assert re.fullmatch(
        r"gfnjax: log R is -inf at step (\d+) in \d+ of 16 trajectories; floor the reward; the "
        r"state right before step \1 is in \S+/nan-before-step-\1\.ckpt\n",
        err,
    )


@pytest.mark.long
def test_a_damaged_checkpoint_is_a_warning_and_none_left_an_error(tmp_path, capsys, recwarn):
    assert run(TINY, "--output", tmp_path / "run") == 0
    capsys.readouterr()
    files = sorted((tmp_path / "run" / "checkpoints").iterdir())
    files[-1].write_bytes(files[-1].read_bytes()[:100])
    assert run("resume", tmp_path / "run") == 0
    err = capsys.readouterr().err
    assert err.startswith(f"gfnjax: warning: refused a checkpoint: {files[-1]} is damaged")
    assert err.count("\n") == 1
    for file in files:
        file.write_bytes(b"")
    assert run("resume", tmp_path / "run") == 2
    assert "no good checkpoint" in capsys.readouterr().err


def test_long_messages_of_the_parser_become_one_line():
    box = (
        "╭─ Value error ──────╮\n│ Error parsing __tyro-dummy-inner__.x: side   │\n"
        "│ must be 2.         │\n│ ──────────── │\n│ Argument helptext: │\n│  --side  │\n"
        "│ ──────────── │\n│ For full helptext, see x --help │\n╰──────────────╯\n"
    )
    plain = (
        " Value error   \n ------------- \n  Error parsing __tyro-dummy-inner__.x: side \n"
        "  must be 2.  \n  --------------\n  For full helptext, see x --help \n \n"
    )
    for text in (box, f"\x1b[31m{box}\x1b[0m", plain):
        assert form.one_line(text) == "side must be 2 (see gfnjax --help)"


@pytest.mark.long
def test_sigterm_stops_a_real_process_cleanly(tmp_path):
    command = [sys.executable, "-m", "gfnjax", *TINY.split(), "--steps", "1000000"]
    process = subprocess.Popen(
        [*command, "--output", str(tmp_path / "run")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 300
        first = tmp_path / "run" / "checkpoints" / "step-000000000.ckpt"
        # Only the newest few are kept: any but the first, so that a second chunk is under way.
        while not set(tmp_path.glob("run/checkpoints/step-*.ckpt")) - {first}:
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGTERM
    assert f"go on with: gfnjax resume {tmp_path / 'run'}" in out.splitlines()[-1]
    assert "Traceback" not in err
