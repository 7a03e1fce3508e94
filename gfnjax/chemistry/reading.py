"""Molecules that users give, as SMILES or from RDKit; what is compared of them."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

from gfnjax.chemistry.rdkit import parse, part, rdkit
from gfnjax.errors import ArgumentError, require

FingerprintName = Literal["morgan", "path"]


def as_molecule(given: Any, argument: str = "molecule") -> Any:
    """An RDKit molecule, as it is, or of a SMILES string.

    Raises:
        ValueError: for anything else, unknown SMILES, or a molecule without atoms.
        ModuleNotFoundError: without RDKit.
    """
    chem = rdkit("reading molecules")
    if isinstance(given, str):
        return parse(given, argument)
    if not isinstance(given, chem.Mol) or given.GetNumAtoms() == 0:
        got = "no atoms" if isinstance(given, chem.Mol) else repr(given)
        raise ArgumentError(argument, f"must be SMILES or an RDKit molecule, got {got}")
    return given


def as_molecules(given: Sequence[Any], argument: str = "molecules") -> list[Any]:
    """RDKit molecules of a list of them, or of SMILES.

    Raises:
        ValueError: as `as_molecule`, naming which, and for a single molecule.
        ModuleNotFoundError: without RDKit.
    """
    rdkit("reading molecules")
    check_list(given, argument)
    return [_numbered(each, argument, i) for i, each in enumerate(given)]


def _numbered(given: Any, argument: str, i: int) -> Any:
    try:
        return as_molecule(given, argument)
    except ArgumentError as error:
        raise ArgumentError(argument, error.problem, subject=f"{argument}[{i}]") from None


def check_list(given: Any, argument: str) -> None:
    """Raise a `ValueError` if molecules are no list of them."""
    listed = hasattr(given, "__len__") and hasattr(given, "__iter__") and not isinstance(given, str)
    require(listed, argument, "must be a list of SMILES or RDKit molecules", repr(given))


def canonical_smiles(given: Any, argument: str = "molecule") -> str:
    """RDKit's canonical SMILES: equal for equal molecules.

    Raises:
        ValueError, ModuleNotFoundError: as `as_molecule`.
    """
    chem = rdkit("writing SMILES")
    return chem.MolToSmiles(as_molecule(given, argument))


def scaffold(given: Any, argument: str = "molecule") -> str:
    """SMILES of the Bemis-Murcko scaffold: rings and what links them; empty without a ring.

    Raises:
        ValueError, ModuleNotFoundError: as `as_molecule`.
    """
    murcko = part("Chem.Scaffolds.MurckoScaffold", "scaffolds")
    return murcko.MurckoScaffoldSmiles(mol=as_molecule(given, argument))


def fingerprints(given: Sequence[Any], kind: FingerprintName = "morgan") -> list[Any]:
    """RDKit bit vectors, 2048 bits each, for `rdkit.DataStructs.BulkTanimotoSimilarity`.

    Args:
        given: SMILES or RDKit molecules.
        kind: "morgan", circles of radius 2, or "path", RDKit's own: paths of up to 7 bonds.

    Raises:
        ValueError: for another kind, or as `as_molecules`.
        ModuleNotFoundError: without RDKit.
    """
    generators = part("Chem.rdFingerprintGenerator", "fingerprints")
    known = get_args(FingerprintName)
    require(kind in known, "fingerprint", f"must be one of {', '.join(known)}", repr(kind))
    if kind == "morgan":
        generator = generators.GetMorganGenerator(radius=2, fpSize=2048)
    else:
        generator = generators.GetRDKitFPGenerator(fpSize=2048)
    return [generator.GetFingerprint(each) for each in as_molecules(given)]
