"""The molecules that a run has visited: how good and how many, against how many were looked at."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gfnjax.arguments import whole
from gfnjax.chemistry.rdkit import rdkit
from gfnjax.chemistry.reading import FingerprintName, canonical_smiles, check_list
from gfnjax.errors import require
from gfnjax.metrics.molecules import Modes, Scaffolds, check_scores, mean_of

TOP = 10, 100, 1000


class MoleculeLog:
    """Distinct molecules in the order in which they were first visited; on the host.

        log = MoleculeLog()
        log.add(smiles, scores)  # batch after batch
        log.curves(thresholds=(7.5, 8.0))["top_10"]

    Its numbers are those of `gfnjax.metrics.molecules` of all that was visited. What has been
    found is kept, so that curves may be asked for again and again; it can be pickled.

    Attributes:
        num_visited: how many were added, repetitions included.
        smiles: canonical, of the distinct ones.
    """

    def __init__(self) -> None:
        rdkit("a log of molecules")
        self.num_visited = 0
        self.smiles: list[str] = []
        self._scores: list[float] = []
        self._visits: list[int] = []
        self._known: set[str] = set()
        self._searches: dict[tuple, _Search] = {}

    def __len__(self) -> int:
        return len(self.smiles)

    @property
    def scores(self) -> np.ndarray:
        """`[len(self)]` float64, of the first visit."""
        return np.asarray(self._scores, np.float64)

    @property
    def visits(self) -> np.ndarray:
        """`[len(self)]` int64, how many were visited before each of them."""
        return np.asarray(self._visits, np.int64)

    def add(self, molecules: Sequence[Any], scores: ArrayLike, *, canonical: bool = False) -> int:
        """Add a batch of n visits.

        Args:
            molecules: SMILES or RDKit molecules.
            scores: `[n]`, better where larger.
            canonical: the SMILES are RDKit's canonical ones, and need not be read again.

        Returns:
            How many of them are new.

        Raises:
            ValueError: as `metrics.molecules.top_k_mean`; nothing has been added then.
        """
        check_list(molecules, "molecules")
        values = check_scores(scores, len(molecules))
        if not canonical:
            molecules = [canonical_smiles(each, "molecules") for each in molecules]
        before = len(self)
        for i, (smiles, value) in enumerate(zip(molecules, values, strict=True)):
            if smiles not in self._known:
                self._known.add(smiles)
                self.smiles.append(smiles)
                self._scores.append(float(value))
                self._visits.append(self.num_visited + i)
        self.num_visited += len(values)
        return len(self) - before

    def curves(
        self,
        at: ArrayLike | None = None,
        top: Sequence[int] = TOP,
        thresholds: Sequence[float] = (),
        similarity: float = 0.5,
        fingerprint: FingerprintName = "morgan",
    ) -> dict[str, np.ndarray]:
        """Curves `[p]` over the number of molecules visited.

        Args:
            at: `[p]` numbers of visits; without, now.
            top: k of the curves "top_<k>", the mean score of the k best distinct molecules.
            thresholds: t of the curves "modes_above_<t>" and "scaffolds_above_<t>".
            similarity: of modes, as in `metrics.molecules.num_modes`.
            fingerprint: of modes.

        Returns:
            "visited", "distinct" and the curves asked for, by name.

        Raises:
            ValueError: for numbers of visits that are not in 0..num_visited, or k < 1.
        """
        points = np.atleast_1d(np.asarray(self.num_visited if at is None else at, np.int64))
        inside = (points >= 0) & (points <= self.num_visited)
        require(inside.all(), "at", f"must be in 0..{self.num_visited}", points[~inside])
        # A molecule that was visited after m others is among the first m + 1.
        distinct = np.searchsorted(self.visits, points)
        curves: dict[str, np.ndarray] = {"visited": points, "distinct": distinct}
        scores = self.scores
        for k in top:
            k = whole("top", k, 1)
            curves[f"top_{k}"] = np.array([_top(scores[:n], k) for n in distinct], np.float64)
        for threshold in thresholds:
            modes = self._found(float(threshold), similarity, fingerprint)
            curves[f"modes_above_{threshold:g}"] = np.searchsorted(modes, points)
            scaffolds = self._found(float(threshold))
            curves[f"scaffolds_above_{threshold:g}"] = np.searchsorted(scaffolds, points)
        return curves

    def best(self, k: int) -> tuple[list[str], np.ndarray]:
        """The k best molecules and their scores, best first; fewer if there are not as many."""
        order = np.argsort(-self.scores, kind="stable")[: whole("k", k, 1)]
        return [self.smiles[i] for i in order], self.scores[order]

    def _found(self, threshold: float, *modes: Any) -> np.ndarray:
        """At which visits modes, or scaffolds, were found above a threshold."""
        key = (threshold, *modes)
        if key not in self._searches:
            self._searches[key] = _Search(Modes(*modes) if modes else Scaffolds())
        search = self._searches[key]
        for i in range(search.reached, len(self)):
            if self._scores[i] > threshold and search.kinds.add(self.smiles[i]):
                search.visits.append(self._visits[i])
        search.reached = len(self)
        return np.asarray(search.visits, np.int64)


class _Search:
    """How far a log has been searched for modes or scaffolds; the visits that had new ones."""

    def __init__(self, kinds: Modes | Scaffolds):
        self.kinds = kinds
        self.reached = 0
        self.visits: list[int] = []


def _top(values: np.ndarray, k: int) -> float:
    """Mean of the k greatest, added from the best down as `top_k_mean` does."""
    if len(values) > k:
        values = np.partition(values, len(values) - k)[-k:]
    return mean_of(np.sort(values)[::-1])
