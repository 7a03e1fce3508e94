"""How good and how different molecules are, on the host, by RDKit.

Molecules are lists of n SMILES or RDKit molecules, scores are `[n]` numbers, better where larger:
give R to get mean rewards. Molecules are told apart by RDKit's canonical SMILES; equal ones are
expected to have equal scores, and count once.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gfnjax.arguments import whole
from gfnjax.chemistry.rdkit import part, rdkit
from gfnjax.chemistry.reading import (
    FingerprintName,
    as_molecule,
    canonical_smiles,
    check_list,
    fingerprints,
    scaffold,
)
from gfnjax.errors import ArgumentError, require
from gfnjax.metrics.pareto import hypervolume, non_dominated
from gfnjax.metrics.sampled import correlation

__all__ = [
    "Modes",
    "Scaffolds",
    "correlation",
    "diverse_best",
    "diverse_top_k",
    "hypervolume",
    "internal_diversity",
    "mean_similarity",
    "non_dominated",
    "num_modes",
    "num_scaffolds",
    "top_k_mean",
]


class Modes:
    """Molecules unlike each other, found greedily: one is new if it is similar to none so far.

    Attributes:
        similarity: Tanimoto similarity from which two molecules are of one mode.
        fingerprint: "morgan" or "path", see `gfnjax.chemistry.reading.fingerprints`.
    """

    def __init__(self, similarity: float = 0.5, fingerprint: FingerprintName = "morgan"):
        rdkit("counting modes")
        require(0 < similarity <= 1, "similarity", "must be in (0, 1]", similarity)
        self.similarity = float(similarity)
        self.fingerprint: FingerprintName = fingerprint
        self._kept: list[Any] = []

    def add(self, molecule: Any) -> bool:
        """Whether a molecule is the first of its mode; if so it is kept."""
        [found] = fingerprints([molecule], self.fingerprint)
        new = max(_tanimoto(found, self._kept), default=0.0) < self.similarity
        if new:
            self._kept.append(found)
        return new

    def __len__(self) -> int:
        return len(self._kept)


class Scaffolds:
    """Distinct Bemis-Murcko scaffolds; a molecule without rings has none."""

    def __init__(self) -> None:
        rdkit("counting scaffolds")
        self._found: set[str] = set()

    def add(self, molecule: Any) -> bool:
        """Whether the scaffold of a molecule is new."""
        found = _scaffold(molecule) if isinstance(molecule, str) else scaffold(molecule)
        new = bool(found) and found not in self._found
        if new:
            self._found.add(found)
        return new

    def __len__(self) -> int:
        return len(self._found)


def top_k_mean(molecules: Sequence[Any], scores: ArrayLike, k: int) -> float:
    """Mean score of the k best distinct molecules, of all if there are fewer; NaN for none.

    Raises:
        ValueError: unless there is one score a molecule, and for what is no molecule.
        ModuleNotFoundError: without RDKit; so for all functions here.
    """
    values, k = _checked(molecules, scores), whole("k", k, 1)
    seen: set[str] = set()
    best: list[float] = []
    for i in _best_first(values):
        smiles = canonical_smiles(molecules[i], "molecules")
        if smiles not in seen:
            seen.add(smiles)
            best.append(values[i])
        if len(best) == k:
            break
    return mean_of(best)


def diverse_best(
    molecules: Sequence[Any],
    scores: ArrayLike,
    k: int,
    similarity: float = 0.7,
    fingerprint: FingerprintName = "path",
) -> np.ndarray:
    """`[<= k]` places of the k best molecules of which no two are similar, best first.

    From the best down, a molecule is kept if its Tanimoto similarity to all kept ones is less than
    `similarity`.

    Raises:
        ValueError: as `top_k_mean`; unless 0 < similarity <= 1, or for an unknown fingerprint.
    """
    values, k = _checked(molecules, scores), whole("k", k, 1)
    modes = Modes(similarity, fingerprint)
    kept: list[int] = []
    for i in _best_first(values):
        if modes.add(as_molecule(molecules[i], "molecules")):
            kept.append(int(i))
        if len(kept) == k:
            break
    return np.asarray(kept, np.int64)


def diverse_top_k(
    molecules: Sequence[Any],
    scores: ArrayLike,
    k: int,
    similarity: float = 0.7,
    fingerprint: FingerprintName = "path",
) -> float:
    """Mean score of `diverse_best`; NaN for none.

    Raises:
        ValueError: as `diverse_best`.
    """
    kept = diverse_best(molecules, scores, k, similarity, fingerprint)
    return mean_of(_checked(molecules, scores)[kept])


def num_modes(
    molecules: Sequence[Any],
    scores: ArrayLike,
    threshold: float,
    similarity: float = 0.5,
    fingerprint: FingerprintName = "morgan",
    best_first: bool = False,
) -> int:
    """How many molecules with a score above `threshold` are unlike each other, greedily.

    Args:
        molecules: n of them.
        scores: `[n]`.
        threshold: scores have to exceed it.
        similarity: a molecule counts if its Tanimoto similarity to all that count is less.
        fingerprint: "morgan", of radius 2, or "path".
        best_first: from the best down, else in the order given: that in which they were found,
            so that the number only grows with more of them.

    Raises:
        ValueError: as `diverse_best`.
    """
    values, modes = _checked(molecules, scores), Modes(similarity, fingerprint)
    order = _best_first(values) if best_first else range(len(values))
    return sum(modes.add(each) for each in _above(molecules, values, threshold, order))


def num_scaffolds(molecules: Sequence[Any], scores: ArrayLike, threshold: float) -> int:
    """How many Bemis-Murcko scaffolds the molecules with a score above `threshold` have.

    Raises:
        ValueError: as `top_k_mean`.
    """
    values, scaffolds = _checked(molecules, scores), Scaffolds()
    return sum(map(scaffolds.add, _above(molecules, values, threshold, range(len(values)))))


def mean_similarity(molecules: Sequence[Any], fingerprint: FingerprintName = "morgan") -> float:
    """Mean Tanimoto similarity of all n (n - 1) / 2 pairs; NaN for fewer than two molecules.

    Raises:
        ValueError: for what is no molecule, or an unknown fingerprint.
    """
    found = fingerprints(molecules, fingerprint)
    return mean_of([s for i, each in enumerate(found) for s in _tanimoto(each, found[:i])])


def internal_diversity(molecules: Sequence[Any], fingerprint: FingerprintName = "morgan") -> float:
    """1 - `mean_similarity`.

    Raises:
        ValueError: as `mean_similarity`.
    """
    return 1.0 - mean_similarity(molecules, fingerprint)


def mean_of(values: Any) -> float:
    """The mean in double precision, NaN of nothing."""
    return float(np.mean(np.asarray(values, np.float64))) if len(values) else float("nan")


def check_scores(scores: ArrayLike, num_molecules: int) -> np.ndarray:
    """`[n]` float64, if there is one a molecule and none is NaN, else a `ValueError`."""
    values = np.asarray(scores, np.float64)
    if values.shape != (num_molecules,):
        raise ArgumentError(
            "scores", f"must be of shape ({num_molecules},), one a molecule, got {values.shape}"
        )
    require(not np.isnan(values).any(), "scores", "must be numbers", "NaN")
    return values


def _checked(molecules: Sequence[Any], scores: ArrayLike) -> np.ndarray:
    rdkit("metrics of molecules")
    check_list(molecules, "molecules")
    return check_scores(scores, len(molecules))


def _best_first(values: np.ndarray) -> np.ndarray:
    return np.argsort(-values, kind="stable")


def _above(
    molecules: Sequence[Any], values: np.ndarray, threshold: float, order: Iterable[int]
) -> Iterator[Any]:
    return (molecules[i] for i in order if values[i] > threshold)


def _tanimoto(found: Any, others: list[Any]) -> list[float]:
    return part("DataStructs", "similarities").BulkTanimotoSimilarity(found, others)


@lru_cache(maxsize=2**17)
def _scaffold(smiles: str) -> str:
    # Asked for once a threshold.
    return scaffold(smiles)
