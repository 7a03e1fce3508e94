"""RDKit, where it is installed: the one place that imports it."""

from importlib import import_module
from typing import Any

from gfnjax.errors import ArgumentError, MissingExtraError

REMEDY = 'install it with pip install "gfnjax[molecules]"'


def rdkit(purpose: str) -> Any:
    """`rdkit.Chem`, its complaints about odd molecules silenced.

    Raises:
        ModuleNotFoundError: naming the `purpose` and the remedy where RDKit is not installed.
    """
    try:
        from rdkit import Chem
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{purpose} needs RDKit: {REMEDY}", name="rdkit") from error
    import_module("rdkit.RDLogger").DisableLog("rdApp.*")
    return Chem


def part(name: str, purpose: str) -> Any:
    """The module `rdkit.<name>`: `part("Chem.QED", "the QED")`.

    Raises:
        ModuleNotFoundError: as `rdkit`.
    """
    rdkit(purpose)
    return import_module(f"rdkit.{name}")


def parse(smiles: str, argument: str = "smiles") -> Any:
    """The RDKit molecule of a SMILES string.

    Raises:
        ValueError: if RDKit does not understand it.
        ModuleNotFoundError: without RDKit.
    """
    molecule = rdkit("reading SMILES").MolFromSmiles(smiles) if isinstance(smiles, str) else None
    if molecule is None or molecule.GetNumAtoms() == 0:
        raise ArgumentError(argument, f"must be SMILES that RDKit understands, got {smiles!r}")
    return molecule
