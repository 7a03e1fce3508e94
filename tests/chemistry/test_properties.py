"""Properties of known molecules, and the rewards made of them."""

import math
import sys

import pytest

pytest.importorskip("rdkit")

from rdkit import Chem, RDConfig

from gfnjax.chemistry import properties, reading

LARGE = "O=C(NCc1cc(CCc2cccc(N3CCC(c4cc(-c5cc(-c6cncnc6)[nH]n5)ccn4)CC3)c2)ccn1)c1cccc2ccccc12"
ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"
VALUES = properties.qed, properties.sa_score, properties.molecular_weight, properties.log_p


def test_values_of_a_large_molecule():
    # From another installation of RDKit.
    assert properties.molecular_weight(LARGE) == pytest.approx(670.82, abs=0.01)
    assert properties.qed(LARGE) == pytest.approx(0.1543, abs=1e-4)
    assert properties.sa_score(LARGE) == pytest.approx(3.143, abs=1e-3)
    assert properties.log_p(LARGE) == pytest.approx(7.576, abs=1e-3)


def test_values_by_hand():
    # Aspirin is C9H8O4.
    weight = 9 * 12.011 + 8 * 1.008 + 4 * 15.999
    assert properties.molecular_weight(ASPIRIN) == pytest.approx(weight, abs=0.01)
    # Benzene: six aromatic CH of Crippen's types C18 and H1.
    assert properties.log_p("c1ccccc1") == pytest.approx(6 * (0.1581 + 0.1230))
    # What the literature gives.
    assert properties.qed(ASPIRIN) == pytest.approx(0.55, abs=0.005)
    assert 1 <= properties.sa_score(ASPIRIN) < 2


@pytest.mark.parametrize("value", VALUES)
def test_the_writing_of_a_molecule_changes_nothing(value):
    other = Chem.MolToSmiles(Chem.MolFromSmiles(ASPIRIN), rootedAtAtom=5, canonical=False)
    assert other != ASPIRIN
    assert value(Chem.MolFromSmiles(other)) == pytest.approx(value(ASPIRIN), abs=1e-12)


@pytest.mark.parametrize("smiles", ["C", "O", "[Na+].[Cl-]", "C" * 120, "[2H]C"])
@pytest.mark.parametrize("name", properties.PROPERTIES)
def test_rewards_of_odd_molecules_are_in_range(name, smiles):
    assert 0 <= properties.scaled_property(name, smiles) <= 1


def test_rewards():
    assert properties.seh_reward(4.0) == 0.5
    assert properties.seh_reward(-1.0) == 1e-4
    assert properties.sa_reward(1.0) == 1.0
    assert properties.sa_reward(10.0) == 0.0
    assert [properties.weight_reward(x) for x in (100, 300, 650, 1000, 2000)] == [1, 1, 0.5, 0, 0]
    assert properties.log_p_reward(2.5) == 1.0
    assert properties.log_p_reward(4.5) == pytest.approx(math.exp(-2))
    expected = (10 - properties.sa_score(LARGE)) / 9
    assert properties.scaled_property("sa", LARGE) == expected


def test_other_names_and_no_molecules():
    with pytest.raises(ValueError, match=r"^name must be one of qed, sa, mw, logp, got 'quod'$"):
        properties.scaled_property("quod", "C")
    with pytest.raises(ValueError, match="did you mean logp"):
        properties.check_property("logP")
    with pytest.raises(ValueError, match=r"molecule must be SMILES that RDKit .*, got 'C\(C'"):
        properties.qed("C(C")
    with pytest.raises(ValueError, match=r"molecule must be SMILES or an RDKit molecule, got 3"):
        properties.log_p(3)
    with pytest.raises(ValueError, match=r"molecules\[1\] must be SMILES .*, got no atoms"):
        reading.as_molecules(["C", Chem.Mol()])
    with pytest.raises(ValueError, match=r"molecules must be a list .*, got 'CC'"):
        reading.as_molecules("CC")
    with pytest.raises(ValueError, match=r"fingerprint must be one of morgan, path, got 'maccs'"):
        reading.fingerprints(["C"], "maccs")


def test_scaffolds_and_canonical_smiles():
    assert reading.scaffold(ASPIRIN) == "c1ccccc1"
    assert reading.scaffold("c1ccccc1CCCC1CCNCC1CC") == reading.canonical_smiles(
        "c1ccccc1CCCC1CCNCC1"
    )
    assert reading.scaffold("CCCO") == ""
    assert reading.canonical_smiles("OCC") == reading.canonical_smiles(Chem.MolFromSmiles("C(O)C"))


def test_an_installation_without_contrib(monkeypatch, tmp_path):
    properties._sa_scorer.cache_clear()
    monkeypatch.setattr(RDConfig, "RDContribDir", str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match=r"^the SA score needs .*sascorer.py, which this"):
        properties.sa_score("CC")


@pytest.mark.parametrize(
    "call",
    [
        *(lambda f=f: f("CC") for f in VALUES),
        lambda: properties.scaled_property("qed", "CC"),
        lambda: reading.as_molecule("CC"),
        lambda: reading.as_molecules([]),
        lambda: reading.canonical_smiles("CC"),
        lambda: reading.scaffold("CC"),
        lambda: reading.fingerprints(["CC"]),
    ],
)
def test_without_rdkit(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "rdkit", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs RDKit: install it with pip install"):
        call()
