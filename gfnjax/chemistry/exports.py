"""Molecules in files that other programs read: CSV, SDF, and tables of scaffolds."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from gfnjax.chemistry.rdkit import part, rdkit
from gfnjax.chemistry.reading import as_molecules, check_list, scaffold
from gfnjax.errors import ArgumentError, require


class ScaffoldRow(NamedTuple):
    """A Bemis-Murcko scaffold, empty for molecules without rings.

    Attributes:
        scaffold: its SMILES.
        count: how many molecules have it.
        best: the best of their scores.
        example: the place of the molecule that has it, the first one.
    """

    scaffold: str
    count: int
    best: float
    example: int


def write_csv(
    path: str | Path,
    smiles: Sequence[str],
    rewards: ArrayLike,
    log_p: ArrayLike | None = None,
    **columns: ArrayLike,
) -> None:
    """Write one line a molecule: smiles, reward, log_p if given, and what else is named.

    Numbers are written so that they are read back exactly. Needs no RDKit.

    Args:
        path: the file, written anew.
        smiles: n strings.
        rewards: `[n]` numbers.
        log_p: `[n]` log-likelihoods in nats.
        columns: further `[n]` numbers or strings, by the name of their column.

    Raises:
        ValueError: unless there is one of each a molecule, or for SMILES that are no strings.
    """
    check_list(smiles, "smiles")
    for each in smiles:
        require(isinstance(each, str), "smiles", "must be strings", repr(each))
    given = {"reward": rewards, "log_p": log_p, **columns}
    table = {name: _column(name, each, smiles) for name, each in given.items() if each is not None}
    write_table(path, {"smiles": smiles, **table})


def write_table(path: str | Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write columns of one length as CSV, under their names; None is empty. Needs no RDKit."""
    _write_rows(path, list(columns), zip(*columns.values(), strict=True))


def write_sdf(
    path: str | Path,
    mols: Sequence[Any],
    properties: Mapping[str, ArrayLike] | None = None,
) -> None:
    """Write molecules with 2-D coordinates, and properties as data fields.

    Args:
        path: the file, written anew.
        mols: n SMILES or RDKit molecules, which stay as they are; each is named by its SMILES.
        properties: `[n]` numbers or strings, by the name of their field.

    Raises:
        ValueError: unless there is one of each a molecule, for a field that SDF cannot name, or
            for what is no molecule.
        ModuleNotFoundError: without RDKit.
    """
    chem = rdkit("SDF files")
    depictor = part("Chem.rdDepictor", "SDF files")
    molecules = as_molecules(mols, "mols")
    for name in properties or {}:
        wrong = not name or any(mark in name for mark in "<>\r\n")
        require(not wrong, "properties", "must have names without <, > and line breaks", repr(name))
    fields = {name: _column(name, each, mols) for name, each in (properties or {}).items()}
    with Path(path).open("w", encoding="utf-8", newline="\n") as file:
        writer = chem.SDWriter(file)
        for i, each in enumerate(molecules):
            molecule = chem.Mol(each)
            molecule.SetProp("_Name", chem.MolToSmiles(molecule))
            depictor.Compute2DCoords(molecule)
            for name, column in fields.items():
                # A blank line ends a field.
                molecule.SetProp(name, " ".join(str(column[i]).split()))
            writer.write(molecule)
        writer.close()


def scaffold_table(molecules: Sequence[Any], scores: ArrayLike) -> list[ScaffoldRow]:
    """The scaffolds of n molecules, that of the best molecule first.

    Args:
        molecules: SMILES or RDKit molecules; equal ones are counted as often as they come.
        scores: `[n]`, better where larger.

    Raises:
        ValueError: unless there is one score a molecule, or for what is no molecule.
        ModuleNotFoundError: without RDKit.
    """
    rdkit("scaffolds")
    check_list(molecules, "molecules")
    values = [float(score) for score in _column("scores", scores, molecules)]
    rows: dict[str, ScaffoldRow] = {}
    for i, (molecule, value) in enumerate(zip(molecules, values, strict=True)):
        name = scaffold(molecule, "molecules")
        row = rows.get(name, ScaffoldRow(name, 0, -np.inf, i))
        if value > row.best:
            row = row._replace(best=value, example=i)
        rows[name] = row._replace(count=row.count + 1)
    return sorted(rows.values(), key=lambda row: -row.best)


def write_scaffolds(path: str | Path, table: Sequence[ScaffoldRow]) -> None:
    """Write a `scaffold_table` as CSV: scaffold, count, best. Needs no RDKit."""
    _write_rows(path, ["scaffold", "count", "best"], (row[:3] for row in table))


def _write_rows(path: str | Path, header: list[str], rows: Any) -> None:
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _column(name: str, values: Any, molecules: Sequence[Any]) -> list[Any]:
    """One Python number or string for each molecule; Python's are written so as to be read back."""
    array = np.asarray(values)
    if array.shape != (len(molecules),):
        raise ArgumentError(
            name, f"must be of shape ({len(molecules)},), one a molecule, got {array.shape}"
        )
    return array.tolist()
