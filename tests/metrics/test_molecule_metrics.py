"""Metrics of molecules against definitions written out, and the log against all at once."""

import pickle
import sys

import numpy as np
import pytest

pytest.importorskip("rdkit")

from rdkit import Chem
from rdkit.Chem import AllChem
from rdkit.Chem.Scaffolds import MurckoScaffold

from gfnjax.metrics import molecules as metrics
from gfnjax.metrics.molecule_log import MoleculeLog

SMILES = [
    "c1ccccc1CC",
    "c1ccccc1CCC",
    "CCO",
    "OCC",  # the one before
    "C1CCCCC1N",
    "c1ccc(-c2ccccc2)cc1O",
    "C1CCCCC1NC",
    "CCCCO",
    "c1ccncc1C(=O)NC",
    "c1ccncc1C(=O)NCC",
]
SCORES = np.array([5.0, 6.0, 1.0, 1.0, 4.0, 8.0, 4.5, 2.0, 7.0, 3.0])


def bits(smiles, kind):
    """The bits of a fingerprint, by RDKit's older functions."""
    molecule = Chem.MolFromSmiles(smiles)
    if kind == "path":
        return set(Chem.RDKFingerprint(molecule).GetOnBits())
    return set(AllChem.GetMorganFingerprintAsBitVect(molecule, 2, nBits=2048).GetOnBits())


def similarity(one, other, kind="morgan"):
    one, other = bits(one, kind), bits(other, kind)
    return len(one & other) / len(one | other)


def greedy(order, limit, kind):
    kept = []
    for i in order:
        if all(similarity(SMILES[i], SMILES[j], kind) < limit for j in kept):
            kept.append(i)
    return kept


def test_top_k_mean_is_of_distinct_molecules():
    assert metrics.top_k_mean(SMILES, SCORES, 1) == 8.0
    assert metrics.top_k_mean(SMILES, SCORES, 3) == 7.0
    assert metrics.top_k_mean(SMILES, SCORES, 9) == pytest.approx(40.5 / 9)
    assert metrics.top_k_mean(SMILES, SCORES, 100) == pytest.approx(40.5 / 9)
    assert np.isnan(metrics.top_k_mean([], [], 10))
    read = [Chem.MolFromSmiles(each) for each in SMILES]
    assert metrics.top_k_mean(read, SCORES, 9) == metrics.top_k_mean(SMILES, SCORES, 9)


@pytest.mark.parametrize("limit", [0.2, 0.4, 0.7, 1.0])
@pytest.mark.parametrize("kind", ["path", "morgan"])
def test_diverse_best_written_out(kind, limit):
    kept = greedy(np.argsort(-SCORES, kind="stable"), limit, kind)
    assert metrics.diverse_best(SMILES, SCORES, 99, limit, kind).tolist() == kept
    assert metrics.diverse_best(SMILES, SCORES, 2, limit, kind).tolist() == kept[:2]
    assert metrics.diverse_top_k(SMILES, SCORES, 3, limit, kind) == SCORES[kept[:3]].mean()


def test_diverse_top_k_leaves_out_the_similar():
    # Methyl and ethyl amide are alike, so are the two alkyl benzenes.
    assert similarity(SMILES[8], SMILES[9], "path") > 0.7
    kept = metrics.diverse_best(SMILES, SCORES, 99)
    assert 8 in kept
    assert 9 not in kept
    assert np.isnan(metrics.diverse_top_k([], [], 5))


@pytest.mark.parametrize("limit", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("threshold", [0.0, 4.0, 100.0])
def test_num_modes_written_out(threshold, limit):
    above = [i for i in range(len(SMILES)) if SCORES[i] > threshold]
    best = sorted(above, key=lambda i: -SCORES[i])
    assert metrics.num_modes(SMILES, SCORES, threshold, limit) == len(
        greedy(above, limit, "morgan")
    )
    got = metrics.num_modes(SMILES, SCORES, threshold, limit, best_first=True)
    assert got == len(greedy(best, limit, "morgan"))


def test_num_scaffolds():
    # Benzene, cyclohexane, biphenyl, pyridine; the alcohols have none.
    assert metrics.num_scaffolds(SMILES, SCORES, 0.0) == 4
    assert metrics.num_scaffolds(SMILES, SCORES, 4.0) == 4
    assert metrics.num_scaffolds(SMILES, SCORES, 4.5) == 3
    assert metrics.num_scaffolds(SMILES, SCORES, 8.0) == 0
    found = {MurckoScaffold.MurckoScaffoldSmiles(each) for each in SMILES} - {""}
    assert metrics.num_scaffolds([Chem.MolFromSmiles(s) for s in SMILES], SCORES, 0) == len(found)


@pytest.mark.parametrize("kind", ["path", "morgan"])
def test_mean_similarity(kind):
    pairs = [similarity(a, b, kind) for i, a in enumerate(SMILES) for b in SMILES[:i]]
    assert metrics.mean_similarity(SMILES, kind) == pytest.approx(np.mean(pairs), abs=1e-12)
    assert metrics.internal_diversity(SMILES, kind) == pytest.approx(1 - np.mean(pairs))
    assert metrics.mean_similarity(["CCO", "OCC"], kind) == 1.0
    assert np.isnan(metrics.mean_similarity(["CCO"], kind))


def test_correlation_is_that_of_all_metrics():
    found = metrics.correlation(SCORES, np.exp(SCORES))
    assert float(found.spearman) == pytest.approx(1.0, abs=1e-6)
    assert float(found.pearson) == pytest.approx(
        np.corrcoef(SCORES, np.exp(SCORES))[0, 1], abs=1e-5
    )


@pytest.mark.parametrize("canonical", [False, True])
def test_the_log_says_what_all_at_once_says(canonical):
    rng = np.random.default_rng(0)
    order = rng.integers(0, len(SMILES), 40)
    given = [Chem.CanonSmiles(SMILES[i]) if canonical else SMILES[i] for i in order]
    scores = SCORES[order]
    log = MoleculeLog()
    for start, stop in ((0, 7), (7, 7), (7, 8), (8, 40)):
        before = len(log)
        new = log.add(given[start:stop], scores[start:stop], canonical=canonical)
        assert new == len(log) - before
        log.curves(thresholds=(4.0,))  # asked for early, it has to go on from there
    points = [0, 1, 2, 5, 13, 40]
    curves = log.curves(points, (1, 3, 10), (0.0, 4.0), 0.4)
    for p, n in enumerate(points):
        seen = given[:n], scores[:n]
        assert curves["visited"][p] == n
        assert curves["distinct"][p] == len({Chem.CanonSmiles(s) for s in given[:n]})
        for k in (1, 3, 10):
            np.testing.assert_equal(curves[f"top_{k}"][p], metrics.top_k_mean(*seen, k))
        for threshold in (0.0, 4.0):
            modes = metrics.num_modes(*seen, threshold, 0.4)
            assert curves[f"modes_above_{threshold:g}"][p] == modes
            scaffolds = metrics.num_scaffolds(*seen, threshold)
            assert curves[f"scaffolds_above_{threshold:g}"][p] == scaffolds
    assert log.num_visited == 40
    assert (np.diff(log.visits) > 0).all()
    again = pickle.loads(pickle.dumps(log))
    np.testing.assert_equal(
        again.curves(points, thresholds=(4.0,)), log.curves(points, thresholds=(4.0,))
    )
    best, values = log.best(2)
    assert best == [Chem.CanonSmiles(SMILES[5]), Chem.CanonSmiles(SMILES[8])]
    assert values.tolist() == [8.0, 7.0]


def test_a_log_now_and_empty():
    log = MoleculeLog()
    now = log.curves(thresholds=(1.0,))
    assert now["distinct"].tolist() == [0]
    assert np.isnan(now["top_10"]).all()
    log.add(SMILES, SCORES)
    now = log.curves(thresholds=(7.5,))
    assert {name: values.tolist() for name, values in now.items()} == {
        "visited": [10],
        "distinct": [9],
        "top_10": [4.5],
        "top_100": [4.5],
        "top_1000": [4.5],
        "modes_above_7.5": [1],
        "scaffolds_above_7.5": [1],
    }


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"^scores must be of shape \(10,\), one a molecule, got"):
        metrics.top_k_mean(SMILES, SCORES[:3], 1)
    with pytest.raises(ValueError, match=r"^scores must be numbers, got NaN$"):
        metrics.num_scaffolds(["C"], [np.nan], 0.0)
    with pytest.raises(ValueError, match=r"^k must be at least 1, got 0$"):
        metrics.top_k_mean(SMILES, SCORES, 0)
    with pytest.raises(ValueError, match=r"^similarity must be in \(0, 1\], got 0$"):
        metrics.num_modes(SMILES, SCORES, 0.0, 0)
    with pytest.raises(ValueError, match=r"^molecules must be SMILES that .*, got 'C\(C'$"):
        metrics.top_k_mean(["C(C"], [1.0], 1)
    log = MoleculeLog()
    with pytest.raises(ValueError, match=r"^molecules must be SMILES that"):
        log.add(["CC", "C(C"], [1.0, 2.0])
    assert len(log) == log.num_visited == 0
    with pytest.raises(ValueError, match=r"^at must be in 0\.\.0, got \[3\]$"):
        log.curves([0, 3])


@pytest.mark.parametrize(
    "call",
    [
        lambda: metrics.top_k_mean(SMILES, SCORES, 1),
        lambda: metrics.diverse_best(SMILES, SCORES, 1),
        lambda: metrics.diverse_top_k(SMILES, SCORES, 1),
        lambda: metrics.num_modes(SMILES, SCORES, 0.0),
        lambda: metrics.num_scaffolds(SMILES, SCORES, 0.0),
        lambda: metrics.mean_similarity(SMILES),
        lambda: metrics.internal_diversity(SMILES),
        lambda: metrics.Modes(),
        lambda: metrics.Scaffolds(),
        lambda: MoleculeLog(),
    ],
)
def test_without_rdkit(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "rdkit", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs? RDKit: install it with pip install"):
        call()
