"""Files of molecules, read back."""

import csv
import math
import sys

import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("rdkit")

from rdkit import Chem

from gfnjax.chemistry import exports

SMILES = ["c1ccccc1CC", "CCO", "c1ccccc1C(=O)O", "C1CC1NC(=O)c1ccco1", "OC(C)C"]
SCORES = np.array([1.0, 3.5, 0.1 + 0.2, 2.0, 3.0])


def test_csv_is_read_back_exactly(tmp_path):
    path = tmp_path / "found.csv"
    log_p = jnp.asarray([-1.5, -2.25, -40.0, -jnp.inf, 0.1])
    exports.write_csv(path, SMILES, SCORES, log_p, note=["a", "b,c", 'd"', "", "é"], visit=range(5))
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["smiles", "reward", "log_p", "note", "visit"]
    assert [row["smiles"] for row in rows] == SMILES
    assert [float(row["reward"]) for row in rows] == SCORES.tolist()
    assert [float(row["log_p"]) for row in rows] == np.asarray(log_p).tolist()
    assert [row["note"] for row in rows] == ["a", "b,c", 'd"', "", "é"]
    assert [row["visit"] for row in rows] == ["0", "1", "2", "3", "4"]
    exports.write_csv(path, [], [])
    assert path.read_text() == "smiles,reward\n"


def test_sdf_is_read_back(tmp_path):
    path = tmp_path / "found.sdf"
    molecules = [Chem.MolFromSmiles(each) for each in SMILES]
    exports.write_sdf(path, molecules, {"reward": SCORES, "note": ["a", "b\n\nc", " ", "<d>", "e"]})
    assert all(each.GetNumConformers() == 0 for each in molecules)
    found = list(Chem.SDMolSupplier(str(path)))
    assert [Chem.MolToSmiles(each) for each in found] == [Chem.CanonSmiles(s) for s in SMILES]
    assert [each.GetProp("_Name") for each in found] == [Chem.CanonSmiles(s) for s in SMILES]
    assert [float(each.GetProp("reward")) for each in found] == SCORES.tolist()
    assert [each.GetProp("note") for each in found][:2] == ["a", "b c"]
    for each in found:
        x, y, z = each.GetConformer().GetPositions().T
        assert (z == 0).all()
        bonds = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in each.GetBonds()]
        lengths = [math.hypot(x[i] - x[j], y[i] - y[j]) for i, j in bonds]
        assert 1.2 < min(lengths) <= max(lengths) < 1.8
    exports.write_sdf(path, ["CCO"])
    assert len(Chem.SDMolSupplier(str(path))) == 1


def test_scaffold_table(tmp_path):
    table = exports.scaffold_table(SMILES, SCORES)
    last = Chem.CanonSmiles("C1CC1NC(=O)c1ccco1")
    assert table == [("", 2, 3.5, 1), (last, 1, 2.0, 3), ("c1ccccc1", 2, 1.0, 0)]
    path = tmp_path / "scaffolds.csv"
    exports.write_scaffolds(path, table)
    assert path.read_text().splitlines() == [
        "scaffold,count,best",
        ",2,3.5",
        f"{last},1,2.0",
        "c1ccccc1,2,1.0",
    ]
    assert exports.scaffold_table([], []) == []
    assert sum(row.count for row in table) == len(SMILES)


def test_wrong_arguments(tmp_path):
    path = tmp_path / "file"
    with pytest.raises(ValueError, match=r"^reward must be of shape \(5,\), one a molecule, got"):
        exports.write_csv(path, SMILES, SCORES[:2])
    with pytest.raises(ValueError, match=r"^smiles must be strings, got 3$"):
        exports.write_csv(path, [3], [1.0])
    with pytest.raises(ValueError, match=r"^mols\[1\] must be SMILES that RDKit"):
        exports.write_sdf(path, ["CC", "C(C"])
    with pytest.raises(ValueError, match=r"^properties must have names without <, > and line"):
        exports.write_sdf(path, ["CC"], {"a>": [1]})
    with pytest.raises(ValueError, match=r"^scores must be of shape"):
        exports.scaffold_table(["CC"], 1.0)
    assert not path.exists()


@pytest.mark.parametrize(
    "call",
    [
        lambda path: exports.write_sdf(path, SMILES),
        lambda path: exports.scaffold_table(SMILES, SCORES),
    ],
)
def test_without_rdkit(call, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "rdkit", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs? RDKit: install it with pip install"):
        call(tmp_path / "file")
    exports.write_csv(tmp_path / "file", SMILES, SCORES)
    exports.write_scaffolds(tmp_path / "file", [])
