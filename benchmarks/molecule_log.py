"""All that a run has visited, of which only few molecules have to pass RDKit."""

import heapq
from typing import TYPE_CHECKING, Any

import numpy as np

from gfnjax.chemistry.building import to_smiles
from gfnjax.chemistry.states import MoleculeState
from gfnjax.chemistry.vocabulary import Vocabulary, published_vocabulary
from gfnjax.metrics.molecule_log import TOP, MoleculeLog
from gfnjax.metrics.molecules import mean_similarity

if TYPE_CHECKING:
    from benchmarks.molecule_runs import Run

THRESHOLDS = 7.0, 7.5, 8.0
NUM_POINTS = 20


def summary(run: "Run", molecules: int) -> dict[str, Any]:
    """Curves over the first visits of a run, and the best of them."""
    visited = Visited(published_vocabulary())
    visited.add(run.molecules, run.proxy, molecules)
    smiles, scores = visited.log.best(10)
    best = [[x, float(y)] for x, y in zip(smiles, scores, strict=True)]
    return {"curves": visited.curves(molecules), "best": best}


class Visited:
    """Distinct molecules in the order of their first visit.

    RDKit is asked about those that are above the lowest threshold, or among the `max(TOP)` best
    when they are first visited: no others matter to any curve.

    Attributes:
        vocabulary: what the molecules are made of.
        log: of those that RDKit has seen.
        num_visited: how many were added, repetitions included.
        values: the proxy of each visit, by chunk.
    """

    def __init__(self, vocabulary: Vocabulary):
        self.vocabulary = vocabulary
        self.log = MoleculeLog()
        self.num_visited = 0
        self.values: list[np.ndarray] = []
        self._known: set[bytes] = set()
        self._first: list[int] = []
        self._best: list[float] = []

    def add(self, molecules: MoleculeState, values: np.ndarray, most: int) -> None:
        """Canonical molecules `[n, ...]` and their proxy values `[n]`, up to `most` in all."""
        n = min(len(values), most - self.num_visited)
        parts = molecules.blocks, molecules.parent, molecules.position
        rows = np.ascontiguousarray(np.concatenate(parts, axis=1).astype(np.int8)[:n])
        self.values.append(np.asarray(values[:n], np.float32))
        for i, row in enumerate(rows):
            if (key := row.tobytes()) not in self._known:
                self._known.add(key)
                self._first.append(self.num_visited + i)
                self._consider(MoleculeState(*(x[i] for x in molecules)), values[i], i)
        self.num_visited += n

    def _consider(self, molecule: MoleculeState, value: float, i: int) -> None:
        full = len(self._best) == max(TOP)
        if full and value <= min(self._best[0], THRESHOLDS[0]):
            return
        # The log counts what it is given; here that is only some of the visits.
        self.log.num_visited = self.num_visited + i
        smiles = to_smiles(molecule, self.vocabulary)
        if self.log.add([smiles], [value], canonical=True):
            (heapq.heappushpop if full else heapq.heappush)(self._best, float(value))

    def curves(self, most: int) -> dict[str, list[Any]]:
        """All metrics against the number of molecules visited, lists of `NUM_POINTS` each."""
        at = np.unique(np.geomspace(max(most // 100, 1), most, NUM_POINTS).astype(int))
        self.log.num_visited = self.num_visited
        found: dict[str, np.ndarray] = self.log.curves(at, TOP, THRESHOLDS)
        found["distinct"] = np.searchsorted(self._first, at)
        found["similarity_1000"] = np.array([self._similarity(n) for n in at])
        means = np.cumsum(np.concatenate(self.values), dtype=np.float64)
        found["mean"] = np.diff(means[at - 1], prepend=0) / np.diff(at, prepend=0)
        return {name: curve.tolist() for name, curve in found.items()}

    def _similarity(self, visits: int) -> float:
        """Mean Tanimoto similarity of the `max(TOP)` best of the first visits."""
        known = np.searchsorted(self.log.visits, visits)
        best = np.argsort(-self.log.scores[:known], kind="stable")[: max(TOP)]
        return mean_similarity([self.log.smiles[i] for i in best])
