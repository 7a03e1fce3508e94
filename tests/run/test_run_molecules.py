"""What a run of molecules leaves behind: a sample of them, best first, in tables."""

import csv
import dataclasses
import json
import sys

import jax
import numpy as np
import pytest

pytest.importorskip("rdkit")

from rdkit import Chem

from gfnjax import run
from gfnjax.chemistry.building import to_smiles
from gfnjax.chemistry.properties import qed
from gfnjax.cli import commands
from gfnjax.errors import ArgumentError
from gfnjax.plot import pictures
from gfnjax.run.build import build, describe, initial_state
from gfnjax.run.choices import configure
from gfnjax.run.molecules import FoundMolecules, find_molecules, write_tables

# c1ccncc1 has its second stem at the nitrogen: RDKit does not admit what is bonded there.
BLOCKS = {
    "block_smi": ["c1ccccc1", "C1CCNCC1", "C1CCNCC1", "CO", "c1ccncc1"],
    "block_r": [[0, 2, 3], [0, 3], [3, 0], [0], [0, 3]],
}
TINY = {
    "steps": 2,
    "chunk_size": 2,
    "batch_size": 4,
    "log_every": 1,
    "evaluation_samples": 16,
    "width": 8,
    "num_rounds": 1,
    "max_blocks": 3,
}
PICTURES = ["curves.png", "distribution.png", "summary.png"]
TABLES = ["molecules.json", "molecules.csv", "molecules.sdf", "scaffolds.csv"]


class Quiet:
    def update(self, status):
        pass

    def close(self):
        pass


def refuse(*_):
    raise ArgumentError("states", "cannot be told")


def trained(folder, **settings):
    (folder / "blocks.json").write_text(json.dumps(BLOCKS))
    config = configure("molecules", blocks=str(folder / "blocks.json"), **TINY, **settings)
    return run.start(config, folder / "run", Quiet())


@pytest.fixture
def blocks(tmp_path):
    (tmp_path / "blocks.json").write_text(json.dumps(BLOCKS))
    return str(tmp_path / "blocks.json")


@pytest.mark.long
@pytest.mark.parametrize(("variant", "objective"), [("mars", "mars"), ("ppo", "ppo")])
def test_baselines_are_variants(variant, objective, blocks):
    config = configure("molecules", variant=variant, reward=("qed",), blocks=blocks, **TINY)
    assert config.objective.name == objective
    trained = build(config)
    before = jax.eval_shape(trained.init, jax.random.key(0))
    after, _ = jax.eval_shape(trained.step, before)
    assert jax.tree.structure(after) == jax.tree.structure(before)


@pytest.mark.parametrize("objective", ["tb", "mars", "mh"])
def test_what_needs_one_reward_says_how_to_have_it(objective, blocks, tmp_path, capsys):
    words = f"train molecules --reward qed --blocks {blocks} --epsilon 0 --objective {objective}"
    assert commands.main([*words.split(), "--output", str(tmp_path / "run")]) == 2
    assert "use --condition none" in capsys.readouterr().err


def table(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("molecules"), reward=("qed",))


@pytest.mark.long
def test_the_best_of_a_sample(outcome):
    found = find_molecules(outcome.gfn, outcome.state)
    assert (np.diff(found.log_r) <= 0).all()
    good = [i for i, smiles in enumerate(found.smiles) if smiles]
    assert 20 < len(good) < len(found.smiles)
    assert len({found.smiles[i] for i in good}) == len(good)
    for i in good[:5]:
        state = jax.tree.map(lambda x, i=i: x[i], found.states)
        assert to_smiles(state, found.vocabulary) == found.smiles[i]
        assert found.values["qed"][i] == pytest.approx(qed(found.smiles[i]), rel=1e-5)
    # The sharpest of the conditions that are evaluated: 95% of the way from 1 to 16.
    np.testing.assert_allclose(found.log_r, 15.25 * np.log(found.values["qed"]), rtol=1e-4)
    np.testing.assert_array_equal(found.scores, found.values["qed"])
    assert found.log_p.shape == found.log_r.shape
    known = np.isfinite(found.log_p)
    assert known[:12].all()
    assert known[-1]
    assert known.sum() == min(len(known), 64)
    assert np.exp(found.log_p[known]).sum() < 1
    for whole, path in zip(found.states[:3], found.paths[:3], strict=True):
        assert (path[:, 0] == -1).all()
        np.testing.assert_array_equal(path[:, -1], whole)
    again = find_molecules(outcome.gfn, outcome.state)
    assert again.smiles == found.smiles


@pytest.mark.slow
def test_tables(outcome, tmp_path):
    found = find_molecules(outcome.gfn, outcome.state)
    log_p = np.full(len(found.log_r), np.nan)
    log_p[:2] = -1.5, -2.0
    found = found._replace(log_p=log_p)
    paths = write_tables(tmp_path, found)
    assert [path.name for path in paths] == TABLES
    rows = table(paths[1])
    assert list(rows[0]) == ["smiles", "blocks", "parent", "position", "qed", "log_r", "log_p"]
    assert [row["smiles"] for row in rows] == found.smiles
    assert [float(row["qed"]) for row in rows] == found.values["qed"].tolist()
    assert [row["log_p"] for row in rows[:3]] == ["-1.5", "-2.0", ""]
    sizes = [[len(row[name].split()) for name in ("blocks", "parent", "position")] for row in rows]
    assert all(blocks == parent + 1 == position + 1 for blocks, parent, position in sizes)
    good = [smiles for smiles in found.smiles if smiles]
    written = list(Chem.SDMolSupplier(str(paths[2])))
    assert [Chem.MolToSmiles(each) for each in written] == good
    assert float(written[0].GetProp("qed")) == found.values["qed"][0]
    scaffolds = table(paths[3])
    assert sum(int(row["count"]) for row in scaffolds) == len(good)
    assert float(scaffolds[0]["best"]) == found.values["qed"].max()


@pytest.mark.long
def test_a_run_is_drawn_with_its_molecules(outcome):
    folder = outcome.run.path
    paths = pictures.draw(outcome)
    assert [path.name for path in paths] == [*PICTURES, "best.png", "growth.png", *TABLES]
    assert {path.parent for path in paths[:5]} == {folder / "pictures"}
    assert {path.parent for path in paths[5:]} == {folder}
    assert all(path.stat().st_size > 100 for path in paths)


@pytest.mark.long
def test_without_rdkit(outcome, monkeypatch):
    known = find_molecules(outcome.gfn, outcome.state)
    assert isinstance(known, FoundMolecules)
    monkeypatch.setitem(sys.modules, "rdkit", None)
    monkeypatch.setattr("gfnjax.run.molecules.log_prob", refuse)
    # The reward itself would ask for it.
    env = outcome.gfn.env
    one = dataclasses.replace(env, envs=(dataclasses.replace(env.rules, reward=_size),))
    gfn = dataclasses.replace(outcome.gfn, env=one)
    bare = dataclasses.replace(outcome, gfn=gfn, evaluator=_Blind())
    with pytest.warns(UserWarning, match=r'need RDKit; install it with pip install "gfnjax\[mol'):
        paths = pictures.draw(bare)
    assert [path.name for path in paths] == ["curves.png", "molecules.json", "molecules.csv"]
    rows = table(paths[2])
    assert list(rows[0]) == ["blocks", "parent", "position", "reward", "log_r"]
    # Without SMILES molecules are told apart as trees.
    trees = [(row["blocks"], row["parent"], row["position"]) for row in rows]
    assert len(set(trees)) == len(trees) >= len({s for s in known.smiles if s})


@pytest.mark.long
def test_several_rewards(tmp_path, monkeypatch):
    monkeypatch.setattr("gfnjax.run.molecules.log_prob", refuse)
    settings = {"reward": ("qed", "mw"), "condition": "preferences"}
    found = find_molecules(*_described(tmp_path, **settings))
    assert list(found.values) == ["qed", "mw"]
    mean = (found.values["qed"] + found.values["mw"]) / 2
    np.testing.assert_allclose(found.log_r, 10 * np.log(mean), rtol=1e-4)
    np.testing.assert_array_equal(found.scores, found.log_r)
    assert found.log_p is None


@pytest.mark.long
def test_markov_chains_and_an_exponent_that_is_taken_off(tmp_path):
    settings = {"objective": "mh", "reward": ("mw",), "condition": "none", "beta": 4.0}
    found = find_molecules(*_described(tmp_path, **settings))
    assert (found.values["mw"] > 0).sum() > 3
    np.testing.assert_allclose(found.log_r, 4 * np.log(found.values["mw"]), rtol=1e-4)


def test_other_runs_have_none():
    config = configure("hypergrid", side=4, hidden_sizes=(8,))
    gfn = describe(config)
    assert find_molecules(gfn, initial_state(config, gfn)) is None


def _size(state):
    return -(state.blocks >= 0).sum().astype(float)


class _Blind:
    def views(self, state):
        return None


def _described(folder, **settings):
    (folder / "blocks.json").write_text(json.dumps(BLOCKS))
    config = configure("molecules", blocks=str(folder / "blocks.json"), **TINY, **settings)
    gfn = describe(config)
    return gfn, initial_state(config, gfn)
