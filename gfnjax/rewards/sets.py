"""Rewards of sets: a product over the elements, whose normalising constant is exact at any size.

With weights w_i = exp(-e_i), the sum of R over all sets of k elements is the elementary symmetric
polynomial e_k(w). The functions below compute it, and what follows from it, on the host in
double precision.
"""

from math import comb
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import struct

from gfnjax.errors import ArgumentError
from gfnjax.types import Array

# Ten energies a variant, each repeated; with the number of elements n and of chosen ones k: those
# of "Better Training of GFlowNets with Local Credit and Incomplete Trajectories" (2302.01687).
# fmt: off
PUBLISHED = {
    "small": (30, 20, (
        -0.4381397850674522, -0.40046449111789073, -0.2745059751263419, 0.013149744911117978,
        0.4110535720923896, 0.6261749162235306, 0.6961474461702144, 0.7442282139370466,
        0.8206350287761408, 0.883494921538938,
    )),
    "medium": (80, 60, (
        -0.7866830411595669, -0.7837872949891345, -0.5230497555411129, -0.41860806745880197,
        -0.3855205729595568, 0.2961218224370139, 0.5731802451199923, 0.6009291618806774,
        0.6881812517688572, 0.7396350970666805,
    )),
    "large": (100, 80, (
        -0.8596854107736154, -0.5938789622812419, -0.5596177369051512, -0.4589997720511263,
        -0.15382957507887518, 0.13832182722858843, 0.3925029176153736, 0.7231982581431591,
        0.7326989860019331, 0.9244538380742333,
    )),
}
# fmt: on


@struct.dataclass
class SetEnergy:
    """log R(x) = - sum of e_i over the elements i of x, defined on sets of any size.

    Attributes:
        energies: `[n]` nats.
    """

    energies: Array

    def __call__(self, members: Array) -> Array:
        """log R of the set with `members` `[n]` bool.

        Raises:
            ValueError: if there are not as many energies.
        """
        if members.shape != self.energies.shape:
            raise ArgumentError(
                "members", f"must be of shape {self.energies.shape}, got {members.shape}"
            )
        return -jnp.where(members, self.energies, 0.0).sum()


class SetTruth(NamedTuple):
    """What is exact about sets of k elements under R / Z; NumPy, nats.

    Attributes:
        log_z: log of the sum of R.
        marginals: `[n]` probability that each element is in the set.
        mean_log_reward: E[log R].
        log_mean_reward: log E[R].
    """

    log_z: float
    marginals: np.ndarray
    mean_log_reward: float
    log_mean_reward: float


def set_truth(energies: np.ndarray, set_size: int) -> SetTruth:
    """log Z, marginals and moments of R on sets of `set_size` elements.

    P(i in x) = w_i e_{k-1}(w without i) / e_k(w), and E[R] = e_k(w^2) / e_k(w).

    Raises:
        ValueError: if `energies` is not a vector of at least `set_size` finite numbers.
    """
    log_weights = -check_energies(energies, set_size)
    size = log_weights.size
    log_z = _log_symmetric(log_weights[None])[0, set_size]
    others = log_weights[None].repeat(size, axis=0)[~np.eye(size, dtype=bool)]
    log_without = _log_symmetric(others.reshape(size, size - 1))[:, set_size - 1]
    marginals = np.exp(log_weights + log_without - log_z)
    log_square = _log_symmetric(2 * log_weights[None])[0, set_size]
    return SetTruth(
        float(log_z), marginals, float(marginals @ log_weights), float(log_square - log_z)
    )


def best_log_rewards(energies: np.ndarray, set_size: int, count: int = 100) -> np.ndarray:
    """log R of the `count` best sets of `set_size` elements, best first; fewer if there are fewer.

    Element by element, the best sets of j elements are among the best of j without it and the
    best of j - 1 with it.

    Raises:
        ValueError: as `set_truth`, or if `count` is not positive.
    """
    log_weights = -check_energies(energies, set_size)
    if count < 1:
        raise ArgumentError("count", f"must be at least 1, got {count}")
    best = np.full((set_size + 1, count), -np.inf)
    best[0, 0] = 0.0
    for log_weight in log_weights:
        with_it = np.vstack([np.full(count, -np.inf), best[:-1] + log_weight])
        best = -np.sort(-np.hstack([best, with_it]), axis=1)[:, :count]
    return best[set_size, : comb(log_weights.size, set_size)]


def draw_sets(
    energies: np.ndarray, set_size: int, num_samples: int, rng: np.random.Generator
) -> np.ndarray:
    """Independent draws from R / Z: members `[num_samples, n]` bool.

    Element by element: where j more are needed, P(i in x) = w_i e_{j-1}(after i) / e_j(from i on).

    Raises:
        ValueError: as `set_truth`, or if `num_samples` is not positive.
    """
    log_weights = -check_energies(energies, set_size)
    if num_samples < 1:
        raise ArgumentError("num_samples", f"must be at least 1, got {num_samples}")
    members = np.zeros((num_samples, log_weights.size), bool)
    needed = np.full(num_samples, set_size)
    after = [np.concatenate([[0.0], np.full(set_size, -np.inf)])]
    for log_weight in log_weights[::-1]:
        after.append(np.logaddexp(after[-1], np.append(-np.inf, after[-1][:-1] + log_weight)))
    for i, log_weight in enumerate(log_weights):
        rest, all_of_them = after[-2 - i], after[-1 - i]
        log_p = log_weight + rest[np.maximum(needed - 1, 0)] - all_of_them[needed]
        members[:, i] = (needed > 0) & (rng.random(num_samples) < np.exp(log_p))
        needed -= members[:, i]
    return members


def published_energies(variant: str) -> tuple[np.ndarray, int]:
    """Energies `[n]` and set size k of the "small", "medium" or "large" published sets.

    Raises:
        ValueError: for another name.
    """
    if variant not in PUBLISHED:
        raise ArgumentError("variant", f"must be one of {', '.join(PUBLISHED)}, got {variant!r}")
    num_elements, set_size, values = PUBLISHED[variant]
    return np.repeat(values, num_elements // len(values)), set_size


def check_energies(energies: np.ndarray, set_size: int) -> np.ndarray:
    """`energies` as a finite float64 vector of at least `set_size` >= 1 numbers, or ValueError."""
    energies = np.asarray(energies, np.float64)
    if energies.ndim != 1 or not np.isfinite(energies).all():
        raise ArgumentError("energies", f"must be a vector of finite numbers, got {energies!r}")
    if not 1 <= set_size <= energies.size:
        raise ArgumentError(
            "set_size",
            f"must be between 1 and the number of elements {energies.size}, got {set_size}",
        )
    return energies


def _log_symmetric(log_weights: np.ndarray) -> np.ndarray:
    """log e_0 ... log e_n of each row of weights: `[B, n] -> [B, n + 1]`.

    e_j(w_1..w_i) = e_j(w_1..w_{i-1}) + w_i e_{j-1}(w_1..w_{i-1}): sums of positive terms only.
    """
    rows, size = log_weights.shape
    log_e = np.full((rows, size + 1), -np.inf)
    log_e[:, 0] = 0.0
    for log_weight in log_weights.T:
        log_e[:, 1:] = np.logaddexp(log_e[:, 1:], log_e[:, :-1] + log_weight[:, None])
    return log_e
