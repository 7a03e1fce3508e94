"""Properties of molecules from RDKit, and how they become rewards between 0 and 1."""

import importlib.util
import math
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from gfnjax.arguments import suggest
from gfnjax.chemistry.rdkit import part
from gfnjax.chemistry.reading import as_molecule
from gfnjax.errors import ArgumentError

SEH_SCALE = 8.0
SEH_FLOOR = 1e-4
LOGP_TARGET = 2.5


def qed(molecule: Any) -> float:
    """Quantitative estimate of drug-likeness, in (0, 1) (Bickerton et al., 2012).

    Args:
        molecule: SMILES, or from RDKit; so for all properties.

    Raises:
        ValueError: for what is no molecule.
        ModuleNotFoundError: without RDKit.
    """
    return float(part("Chem.QED", "the QED").qed(as_molecule(molecule)))


def sa_score(molecule: Any) -> float:
    """Synthetic accessibility, from 1, easy, to 10 (Ertl and Schuffenhauer, 2009).

    By the script that RDKit brings in its folder Contrib.

    Raises:
        ValueError: for what is no molecule.
        ModuleNotFoundError: without RDKit, or if it was installed without that folder.
    """
    return float(_sa_scorer().calculateScore(as_molecule(molecule)))


def molecular_weight(molecule: Any) -> float:
    """Mean molecular weight in g/mol, hydrogens included."""
    descriptors = part("Chem.Descriptors", "the molecular weight")
    return float(descriptors.MolWt(as_molecule(molecule)))


def log_p(molecule: Any) -> float:
    """log10 of the octanol-water partition coefficient (Wildman and Crippen, 1999)."""
    return float(part("Chem.Crippen", "logP").MolLogP(as_molecule(molecule)))


def seh_reward(score: float) -> float:
    """max(1e-4, score / 8) of the score of the sEH proxy."""
    return max(SEH_FLOOR, score / SEH_SCALE)


def qed_reward(value: float) -> float:
    """QED as it is."""
    return value


def sa_reward(score: float) -> float:
    """(10 - SA) / 9: 1 for molecules that are easy to make."""
    return (10.0 - score) / 9.0


def weight_reward(weight: float) -> float:
    """clip((300 - MW) / 700 + 1, 0, 1): 1 up to 300, then falls to 0 at 1000 g/mol."""
    return min(max((300.0 - weight) / 700.0 + 1.0, 0.0), 1.0)


def log_p_reward(value: float) -> float:
    """exp(-(logP - 2.5)^2 / 2): a target of 2.5, where most oral drugs are."""
    return math.exp(-((value - LOGP_TARGET) ** 2) / 2.0)


# Of each name on the command line: the property, and its reward.
PROPERTIES: dict[str, tuple[Callable[[Any], float], Callable[[float], float]]] = {
    "qed": (qed, qed_reward),
    "sa": (sa_score, sa_reward),
    "mw": (molecular_weight, weight_reward),
    "logp": (log_p, log_p_reward),
}


def check_property(name: str) -> None:
    """Raise a `ValueError` unless `name` is one of `PROPERTIES`."""
    if name not in PROPERTIES:
        known = ", ".join(PROPERTIES)
        near = suggest(str(name), PROPERTIES)
        raise ArgumentError("name", f"must be one of {known}, got {name!r}{near}")


def scaled_property(name: str, molecule: Any) -> float:
    """The reward, between 0 and 1, of a property by its name: qed, sa, mw or logp.

    Raises:
        ValueError: for another name, or what is no molecule.
        ModuleNotFoundError: without RDKit.
    """
    check_property(name)
    value, reward = PROPERTIES[name]
    return reward(value(molecule))


@lru_cache(maxsize=1)
def _sa_scorer() -> ModuleType:
    """The module that RDKit ships as a file outside its package."""
    path = Path(part("RDConfig", "the SA score").RDContribDir) / "SA_Score" / "sascorer.py"
    spec = importlib.util.spec_from_file_location("sascorer", path) if path.is_file() else None
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(
            f"the SA score needs {path}, which this RDKit lacks: install it from PyPI",
            name="sascorer",
        )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
