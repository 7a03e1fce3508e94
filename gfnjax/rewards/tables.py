"""Rewards of short sequences, read from a table of measured or computed scores."""

from importlib import resources

import jax.numpy as jnp
import numpy as np
from flax import struct

from gfnjax.data import published
from gfnjax.errors import ArgumentError
from gfnjax.types import Array


@struct.dataclass
class TableReward:
    """log R(x) = `log_rewards[x_1, ..., x_L]`.

    Attributes:
        log_rewards: `[m] * L` nats, an axis a position of the sequence.
    """

    log_rewards: Array

    def __call__(self, tokens: Array) -> Array:
        """log R of `tokens` `[L]` int32 in {0..m-1}; of some other sequence where one is -1.

        Raises:
            ValueError: if `tokens` is not of length L.
        """
        if tokens.shape != (self.log_rewards.ndim,):
            raise ArgumentError(
                "tokens", f"must be of shape ({self.log_rewards.ndim},), got {tokens.shape}"
            )
        return self.log_rewards[tuple(tokens)]


def tfbind8_reward() -> TableReward:
    """R = max(10 (y / y_max)^3, 1e-3), y the binding of SIX6 to 8 nucleotides ACGT (in [0, 1]).

    Barrera et al., Science 2016; the table is built into the package.
    """
    asset = resources.files("gfnjax") / "assets" / "tfbind8.npz"
    with asset.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        score = arrays["score"].astype(np.float64)
    return _table(np.maximum(10 * (score / score.max()) ** 3, 1e-3))


def qm9_small_reward() -> TableReward:
    """R = 100 (max(y, 1e-3) / y_max)^5, y the score of a molecule of 5 out of 11 blocks.

    Shen et al., 2305.07170. The table is the data file `qm9_small.npz`, see `gfnjax.data`.

    Raises:
        ValueError, FileNotFoundError: if the data file is missing or not of this shape.
    """
    score = published.load("qm9_small.npz")["score"].astype(np.float64)
    if score.shape != (11,) * 5:
        raise ValueError(f"qm9_small.npz: score must be of shape {(11,) * 5}, got {score.shape}")
    return _table(100 * (np.maximum(score, 1e-3) / score.max()) ** 5)


def _table(rewards: np.ndarray) -> TableReward:
    return TableReward(jnp.asarray(np.log(rewards), jnp.result_type(float)))
