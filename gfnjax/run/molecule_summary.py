"""What chemists ask of a sample of molecules, in numbers."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from gfnjax.metrics.molecules import (
    correlation,
    diverse_top_k,
    hypervolume,
    internal_diversity,
    mean_of,
    mean_similarity,
    num_modes,
    num_scaffolds,
)

TOP = 10, 100
# Of a single reward: from where molecules are good. Of any other, all of them are counted.
THRESHOLDS = {"seh": (7.0, 7.5, 8.0)}
# What a reward is divided by before it is compared with others: all are between 0 and 1 then.
SCALES = {"seh": 8.0}


def summarise(
    smiles: Sequence[str] | None,
    values: Mapping[str, np.ndarray],
    log_r: np.ndarray,
    log_p: np.ndarray | None,
) -> dict[str, float | None]:
    """Numbers by name of n distinct molecules, best first; None where one does not exist.

    Args:
        smiles: of each, empty where there is none; None without RDKit, and then all is left out
            that needs it.
        values: `[n]` of each reward by its name. A single one is the score; of several, log R is.
        log_r: `[n]` nats.
        log_p: `[n]` nats, NaN where it is not known.
    """
    name = next(iter(values)) if len(values) == 1 else "log_r"
    scores = values.get(name, log_r)
    found: dict[str, float] = {"num_distinct": len(scores)}
    found |= {f"top_{k}": mean_of(np.sort(scores)[::-1][:k]) for k in TOP}
    if smiles is not None:
        good = [i for i, each in enumerate(smiles) if each]
        thresholds = THRESHOLDS.get(name, ())
        found |= _of_molecules([smiles[i] for i in good], scores[good], thresholds)
    if len(values) > 1:
        points = [value / SCALES.get(name, 1.0) for name, value in values.items()]
        found["hypervolume"] = hypervolume(np.stack(points, axis=1))
    known = np.isfinite(log_p) if log_p is not None else np.zeros(len(log_r), bool)
    if log_p is not None and known.sum() > 1:
        agreement = correlation(*(np.asarray(x[known], np.float32) for x in (log_p, log_r)))
        found |= {f"log_p_log_r_{way}": float(x) for way, x in agreement._asdict().items()}
    return {name: value if math.isfinite(value) else None for name, value in found.items()}


def _of_molecules(
    smiles: list[str], scores: np.ndarray, thresholds: Sequence[float]
) -> dict[str, float]:
    found = {
        "diverse_top_10": diverse_top_k(smiles, scores, 10),
        "mean_similarity": mean_similarity(smiles),
        "internal_diversity": internal_diversity(smiles),
    }
    for suffix, threshold in [("", -math.inf), *((f"_above_{x:g}", x) for x in thresholds)]:
        found[f"num_modes{suffix}"] = num_modes(smiles, scores, threshold)
        found[f"num_scaffolds{suffix}"] = num_scaffolds(smiles, scores, threshold)
    return found
