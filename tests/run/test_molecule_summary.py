"""Numbers about a sample of molecules, against those worked out by hand."""

import math

import numpy as np
import pytest

from gfnjax.run.molecule_summary import summarise


def test_without_rdkit_and_one_reward():
    scores = np.array([3.0, 2.0, 1.0])
    found = summarise(None, {"mine": scores}, np.log(scores), None)
    assert found == {"num_distinct": 3, "top_10": 2, "top_100": 2}


def test_several_rewards_span_a_volume():
    values = {"seh": np.array([4.0, 8.0]), "qed": np.array([0.5, 0.25])}
    log_r = np.array([-1.0, -2.0])
    found = summarise(None, values, log_r, np.array([-3.0, -7.0]))
    # Two boxes, .5 x .5 and 1 x .25, that share .5 x .25.
    assert found["hypervolume"] == pytest.approx(0.25 + 0.25 - 0.125)
    assert found["top_10"] == -1.5
    assert found["log_p_log_r_pearson"] == pytest.approx(1.0)
    assert found["log_p_log_r_spearman"] == pytest.approx(1.0)


def test_agreement_is_of_those_whose_probability_is_known():
    log_r = np.array([3.0, 2.0, 1.0])
    found = summarise(None, {"mine": np.exp(log_r)}, log_r, np.array([-5.0, np.nan, -4.0]))
    assert found["log_p_log_r_pearson"] == pytest.approx(-1.0)
    equal = summarise(None, {"mine": np.exp(log_r)}, log_r, np.array([-5.0, np.nan, -5.0]))
    assert equal["log_p_log_r_pearson"] is None


def test_molecules():
    pytest.importorskip("rdkit")
    # Benzene and toluene share a scaffold; ethane and ethanol have none; one is no molecule.
    smiles = ["c1ccccc1", "Cc1ccccc1", "", "CC", "CCO"]
    scores = np.array([8.5, 7.6, 7.2, 7.1, 1.0])
    found = summarise(smiles, {"seh": scores}, np.log(scores), None)
    assert found["num_distinct"] == 5
    assert found["num_scaffolds"] == found["num_scaffolds_above_8"] == 1
    assert found["num_modes_above_8"] == 1
    assert found["num_modes_above_7"] >= 2
    assert found["mean_similarity"] + found["internal_diversity"] == pytest.approx(1.0)
    assert found["diverse_top_10"] == pytest.approx(scores[[0, 1, 3, 4]].mean())
    assert "hypervolume" not in found


def test_no_molecule_at_all():
    pytest.importorskip("rdkit")
    found = summarise([""], {"qed": np.array([0.1])}, np.array([-2.0]), None)
    assert found["mean_similarity"] is None
    assert found["num_modes"] == 0
    assert not any(value is not None and math.isnan(value) for value in found.values())
