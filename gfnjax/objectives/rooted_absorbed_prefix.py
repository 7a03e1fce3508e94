"""RapTB: trajectory balance, and beside it that of all prefixes with a reward backed up to them."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jax import lax

from gfnjax import masking, registry
from gfnjax.arguments import settle
from gfnjax.errors import ArgumentError
from gfnjax.numbers import NON_NEGATIVE, POSITIVE, UNIT, check_number
from gfnjax.objectives.base import LogZ, Objective
from gfnjax.objectives.trajectory_balance import trajectory_balance
from gfnjax.scoring import terminal_step
from gfnjax.shapes import check_one
from gfnjax.types import Array, Residuals, Scores


def absorbed(values: Array, wanted: Array, sharpness: float | Array) -> Array:
    """(max + soft max) / 2 of what comes from each place on: `[n]`, without gradient.

    The soft max of u_k, .., u_h is (1 / b) log mean exp(b u).

    Args:
        values: `[n]` u.
        wanted: `[n]` bool, which of them count; where none do any more, the result is arbitrary.
        sharpness: b.
    """
    values = lax.stop_gradient(values)
    low = jnp.where(wanted, values, masking.FILL)
    best = lax.cummax(low, reverse=True)
    count = jnp.cumsum(wanted[::-1]).astype(values.dtype)[::-1]
    total = lax.cumlogsumexp(sharpness * low, reverse=True)
    soft = (total - jnp.log(jnp.maximum(count, 1))) / sharpness
    return jnp.where(count > 0, (best + soft) / 2, 0.0)


@registry.objective(
    "raptb", summary="trajectory balance with backed-up rewards of prefixes: biased, not R / Z"
)
@dataclass(frozen=True)
class RapTB(Objective):
    """TB^2 + prefix_weight * mean_k (r_k + alpha_k (u_k - u~_k))^2 (2603.00454, in our reading).

    Of a text of h letters, for the prefixes k = min_prefix .. h - 1 that may stop,

        r_k     = log Z + sum of log P_F up to k + log P_F(stop | k) - log R(k stop), the stop
                  without gradient: trajectory balance had the text ended there,
        u_k     = log R(k stop) - log prior(k stop), what the task adds to the prior,
        u~_k    = (max + soft max) / 2 of u_k .. u_h, as in `absorbed`,
        alpha_k = gamma^(h - k) where |u_k| <= tolerance: where the task is silent; else 0.

    So prefixes are told of what comes after them, against a collapse to a few, short ones. The
    price is a bias: a prefix is balanced as if its own reward were that of the best that follows,
    and unless alpha is 0 everywhere the loss does not vanish at R / Z. With prefix_weight = 0 it is
    trajectory balance. The regression g applies to the first term.

    Attributes:
        prefix_weight: of the prefixes, not negative.
        gamma: in [0, 1].
        sharpness: b of the soft max, positive.
        tolerance: in nats, not negative.
        min_prefix: letters of the shortest prefix that counts.
        log_z: "flow" for log F(s_0), or "learned".

    Raises:
        ValueError: if a number is out of range, or for another `log_z`.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"log_stop", "log_partial_reward", "log_prior"})
    prefix_weight: float = 0.25
    gamma: float = 0.99
    sharpness: float = 5.0
    tolerance: float = 1e-3
    min_prefix: int = 2
    log_z: LogZ = "flow"  # pyrefly: ignore[bad-override]

    def __post_init__(self) -> None:
        check_number("prefix_weight", self.prefix_weight, *NON_NEGATIVE)
        check_number("gamma", self.gamma, *UNIT)
        check_number("sharpness", self.sharpness, *POSITIVE)
        check_number("tolerance", self.tolerance, *NON_NEGATIVE)
        settle(self, min_prefix=0)
        if self.log_z not in ("flow", "learned"):
            raise ArgumentError("log_z", f'must be "flow" or "learned", got {self.log_z!r}')

    @property
    def relative_to_prior(self) -> bool:
        return False  # which only says where the task is silent

    def residuals(self, scores: Scores) -> Residuals:
        return trajectory_balance(scores)

    def extra_loss(self, scores: Scores) -> Array:
        values, wanted = self.prefix_residuals(scores)
        count = jnp.maximum(wanted.sum(), 1).astype(values.dtype)
        return self.prefix_weight * (values**2).sum() / count

    def prefix_residuals(self, scores: Scores) -> tuple[Array, Array]:
        """r_k + alpha_k (u_k - u~_k) of one trajectory `[T + 1]`, and which k count `[T + 1]`."""
        check_one(scores)
        assert scores.log_stop is not None  # promised by `needs`
        assert scores.log_partial_reward is not None
        assert scores.log_prior is not None
        assert scores.log_prior_stop is not None
        step = jnp.arange(scores.log_flow.size, dtype=jnp.int32)
        letters = scores.length - 1
        may_stop = (scores.log_stop > masking.FILL / 2) & ~terminal_step(scores)
        may_stop &= step <= letters
        wanted = may_stop & (step >= self.min_prefix) & (step < letters)

        def up_to(log_p: Array) -> Array:
            return jnp.pad(jnp.cumsum(log_p), (1, 0))

        log_reward = jnp.where(may_stop, scores.log_partial_reward, 0.0)
        stop, prior_stop = (
            jnp.where(may_stop, lax.stop_gradient(x), 0.0)
            for x in (scores.log_stop, scores.log_prior_stop)
        )
        rooted = scores.log_z + up_to(scores.log_pf) + stop - log_reward
        gain = log_reward - up_to(scores.log_prior) - prior_stop
        silent = jnp.abs(gain) <= self.tolerance
        left = jnp.maximum(letters - step, 0).astype(gain.dtype)
        alpha = jnp.where(silent, jnp.asarray(self.gamma, gain.dtype) ** left, 0.0)
        values = rooted + alpha * (gain - absorbed(gain, may_stop, self.sharpness))
        return jnp.where(wanted, values, 0.0), wanted
