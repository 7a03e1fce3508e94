"""What an objective is, and the one reduction every loss goes through."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp

from gfnjax import groups, masking, spread
from gfnjax.actions import require_categorical
from gfnjax.envs.base import Environment, is_acyclic, require_acyclic, source_state
from gfnjax.errors import ArgumentError, Use
from gfnjax.numbers import Numbered
from gfnjax.shapes import check_batch, check_one, check_shape
from gfnjax.types import Array, Number, PyTree, Residuals, Scores, Trajectory

Regression = Callable[[Array], Array]
LogZ = Literal["learned", "flow", "batch", "pair", "group"]
Cycles = Literal["refused", "complete", "all"]

# What an objective may need to have scored, and the ability of an environment that takes: the
# name of a protocol in `gfnjax.envs.base` and what it adds to `Environment`.
NEEDS: dict[str, tuple[str, str] | None] = {
    "log_inflow": None,
    "log_partial_reward": ("PartialReward", "log_partial_reward"),
    "log_stop": ("Stoppable", "stop_action"),
    "log_value": None,
    "raw_flow": None,
    "log_policy": None,
    "log_prior": None,
    "target": None,
    "previous": None,
    "group": None,
    "group_reward": None,
    "from_source": None,
}

# What takes a sum over all actions, or one of them by its number.
OVER_ALL_ACTIONS = {"log_inflow", "log_stop", "log_value", "log_policy"}


@dataclass(frozen=True)
class Objective(Numbered):
    """Maps one trajectory's scores to residuals and their weights.

    A plain function `Scores -> Residuals` is an objective as well; subclass to say more. What
    takes scores takes those of one trajectory, and refuses a batch with a `ValueError`: vmap it.

    Fields of a subclass, a frozen dataclass, that hold floats are its numbers, as are those of an
    objective in a field. They may be swept and scheduled: each may be given as an optax schedule
    of the step, and while a run is compiled each is a `[]` array, which no Python `if` can look
    at (`gfnjax.numbers.check_number` leaves such ones alone). All other fields are fixed.

    Attributes:
        log_z: where `scores.log_z` comes from: "learned", a scalar trained with its own rate;
            "flow", log F(s_0); "batch", the batch mean of log R + sum log P_B - sum log P_F;
            "pair", that quantity of the next trajectory of the batch; "group", its mean over the
            trajectories of the batch with the same condition, relative to the prior if there is
            one. These need not be many: one alone has nothing to compare with.
        needs: fields of `Scores` to fill besides, keys of `NEEDS`.
        incomplete: whether windows of unfinished trajectories are enough to learn from.
        on_policy: whether it is only meant for trajectories of the current policy.
        pathwise: whether its gradient goes through the sampling too; the scores it sees are then
            functions of the noise behind the trajectories (`gfnjax.learning.pathwise`).
        trains_backward: whether a `LearnedBackward` learns from it; others take P_B as given, or
            do not look at it.
        least_batch: trajectories that it takes to compare them with each other.
        stops_everywhere: whether it reads log Z off the stop in s_0, which must then be allowed.
        cycles: what it learns from where states can come again and `max_steps` cuts trajectories:
            "all" of them, "complete" ones alone (the others weigh nothing), or "refused".
        value_scale: log F = value_scale * logsumexp(forward logits) at the optimum, for
            objectives that read values off the logits; None for the others.
        log_z_power: which mean of the batch's weights w = R P_B / P_F the log Z "batch" is: 0 for
            the mean of log w, else (1 / power) log of the mean of w^power, without gradient.
        looks_forward: whether the network holds log F minus the partial reward.
        bootstraps: whether the flow of a state is learned from the flows of those that come next,
            and from log R at the end, where all flows then start. True of what is `incomplete`,
            unless a subclass says otherwise.
        relative_to_prior: whether the target is prior(x) R(x) / Z. True of what needs `log_prior`,
            unless a subclass with another use for the prior says otherwise.
    """

    log_z: ClassVar[LogZ] = "learned"
    needs: ClassVar[frozenset[str]] = frozenset()
    incomplete: ClassVar[bool] = False
    on_policy: ClassVar[bool] = False
    pathwise: ClassVar[bool] = False
    trains_backward: ClassVar[bool] = True
    least_batch: ClassVar[int] = 1
    stops_everywhere: ClassVar[bool] = False
    cycles: ClassVar[Cycles] = "refused"

    @property
    def value_scale(self) -> Number | None:
        return None

    @property
    def log_z_power(self) -> Number:
        return 0.0

    @property
    def looks_forward(self) -> bool:
        return False

    @property
    def bootstraps(self) -> bool:
        return self.incomplete

    @property
    def relative_to_prior(self) -> bool:
        return "log_prior" in self.needs

    def residuals(self, scores: Scores) -> Residuals:
        """Residuals `[R]` and weights `[R]` of one trajectory."""
        raise NotImplementedError(
            f"{type(self).__name__} must define residuals(self, scores) -> Residuals"
        )

    def log_scale(self, scores: Scores) -> Array:
        """`[]` log of a factor of all weights of one trajectory that `residuals` left out.

        Where weights of different trajectories differ by more than floats hold.
        """
        check_one(scores)
        return jnp.zeros((), jnp.result_type(float))

    def extra_loss(self, scores: Scores) -> Array:
        """`[]` a loss of one trajectory that g does not apply to, averaged over the batch.

        The surrogate of a policy gradient, for instance.
        """
        check_one(scores)
        return jnp.zeros((), jnp.result_type(float))

    def penalties(self, scores: Scores) -> Array:
        """`[R]` what each residual costs besides g(residual), averaged with the same weights.

        A regulariser of the flows of visited states, for instance.
        """
        check_one(scores)
        return jnp.zeros((), jnp.result_type(float))

    def adapt(self, scores: Scores) -> Scores:
        """Scores of one trajectory with the flows as this objective parametrises them."""
        check_one(scores)
        return scores

    def first_log_z(self, scores: Scores) -> Array:
        """`[]` what a trajectory of the untrained policy says of log Z, before any learning.

        The mean over a batch is where the learned log Z starts, and all flows do that are not
        bootstrapped. They have not been adapted; of the fields that are there on demand only
        `log_prior` is.
        """
        check_one(scores)
        return scores.log_reward + scores.log_pb.sum() - scores.log_pf.sum()

    def init(self, key: Array, env: Environment) -> PyTree:
        """Parameters of a network of the objective's own, trained with the policy's; or None."""
        return None

    def trained(self, params: PyTree) -> PyTree:
        """Which of those the optimiser may touch: a tree of bools, or one for a whole branch."""
        return True

    def assist(
        self, params: PyTree, env: Environment, path: Trajectory, key: Array | None
    ) -> PyTree:
        """What that network says of one trajectory: `scores.auxiliary`. No key, no randomness."""
        return None


@dataclass(frozen=True)
class FunctionObjective(Objective):
    """A plain function as an objective, with the learned log Z at its disposal."""

    cycles: ClassVar[Cycles] = "complete"
    function: Callable[[Scores], Residuals]

    def residuals(self, scores: Scores) -> Residuals:
        check_one(scores)
        return self.function(scores)


def as_objective(objective: Objective | Callable[[Scores], Residuals]) -> Objective:
    """An `Objective` as it is, a function wrapped; anything else is a `TypeError`."""
    if isinstance(objective, Objective):
        return objective
    if isinstance(objective, type) or not callable(objective):
        raise ArgumentError(
            "objective",
            "must be an Objective such as TrajectoryBalance() or a function from "
            f"Scores to Residuals, got {objective!r}",
        )
    return FunctionObjective(objective)


def name_of(objective: Objective) -> str:
    """For messages: the class, or the user's function."""
    return getattr(getattr(objective, "function", None), "__name__", type(objective).__name__)


def require_flows(base: Objective, *, adapted: bool = False) -> None:
    """Raise a `ValueError` if `base` does more than balance the flows of a trajectory.

    Args:
        base: what another objective is to be built on.
        adapted: whether flows that look forward will do.
    """
    own = (
        method
        for method in ("extra_loss", "penalties", "init", "assist", "adapt")
        if getattr(type(base), method) is not getattr(Objective, method)
    )
    allowed = {"adapt"} if adapted and base.looks_forward else set()
    reads_more = base.needs & {"log_inflow", "log_prior", "log_value"}
    if set(own) - allowed or reads_more or base.least_batch > 1 or base.on_policy:
        raise ArgumentError(
            "base",
            "must balance flows along a trajectory and nothing else, as DetailedBalance(), "
            f"SubTrajectoryBalance() and TrajectoryBalance() do, got {base!r}",
        )


def suits(objective: Objective, env: Environment, **wanted: Any) -> bool:
    """Whether `objective` can be had in `env` and has attributes of these values."""
    try:
        check_abilities(objective, env)
    except ArgumentError:
        return False
    return all(getattr(objective, name) == value for name, value in wanted.items())


def check_abilities(objective: Objective, env: Environment) -> None:
    """Raise an error that names what `objective` asks for and `env` lacks."""
    name = name_of(objective)
    if objective.cycles == "refused":
        words = "use DetailedBalance(), SubTrajectoryBalance() or TrajectoryBalance()"
        remedy = Use(words, objective=partial(suits, env=env))
        require_acyclic(env, name, "objective", remedy)
    if objective.needs & OVER_ALL_ACTIONS:
        require_categorical(env, name)
    for need in sorted(objective.needs):
        if need not in NEEDS:
            problem = f"must be among {', '.join(NEEDS)}, got {need!r}"
            raise ArgumentError("objective", problem, subject=f"{name}: needs")
        ability = NEEDS[need]
        if ability is not None and not hasattr(type(env), ability[1]):
            problem = f"needs a {ability[0]} environment, one with {ability[1]}"
            problem = f"{problem}; {type(env).__name__} has none"
            raise ArgumentError("objective", problem, subject=name)
    if objective.stops_everywhere:
        _check_stops(env, name)
    if hasattr(type(env), "draw_initial_state") and objective.log_z not in ("flow", "group"):
        words = 'use an objective whose log_z is "flow", such as TrajectoryBalance(log_z="flow")'
        raise ArgumentError(
            "objective",
            f"takes log Z to be one number, but {type(env).__name__} has one for each condition",
            Use(words, objective=partial(suits, env=env), condition="none"),
            name,
        )


def _check_stops(env: Environment, name: str) -> None:
    """Raise an error where log Z is read off a stop that s_0 does not allow."""
    stoppable: Any = env
    may_stop = env.forward_mask(source_state(env))[stoppable.stop_action]
    if not isinstance(may_stop, jax.core.Tracer) and not may_stop:
        words = "use ModifiedSubTrajectoryBalance(), or let the environment stop anywhere, "
        words += "min_length = 0"
        if not is_acyclic(env):
            words = "use RegularisedDetailedBalance()"
        raise ArgumentError(
            "objective",
            f"reads flows off the stop in every state, and s_0 of this {type(env).__name__} may "
            "not stop",
            words,
            name,
        )


def resolve_log_z(log_z: LogZ, scores: Scores, power: Number = 0.0) -> Scores:
    """Put the log Z an objective asks for into a batch of scores `[B, ...]`.

    Scores without groups are one group; `power` is its `log_z_power`.

    Raises:
        ValueError: for scores that are not those of a batch.
    """
    check_batch(scores)
    if log_z == "learned":
        return scores
    if log_z == "flow":
        return scores._replace(log_z=scores.log_flow[:, 0])
    log_weight = scores.log_reward + scores.log_pb.sum(axis=1) - scores.log_pf.sum(axis=1)
    if log_z == "pair":
        return scores._replace(log_z=spread.following(log_weight))
    if log_z == "group" and scores.group is not None:
        if scores.log_prior is not None:  # in the place of P_B
            log_weight += (scores.log_prior - scores.log_pb).sum(axis=1)
        return scores._replace(log_z=groups.means(log_weight, scores.group))
    plain = isinstance(power, float) and power == 0
    mean = spread.mean(log_weight) if plain else spread.log_power_mean(log_weight, power)
    return scores._replace(log_z=jnp.broadcast_to(mean, log_weight.shape))


def weighted_loss(objective: Objective, regression: Regression, scores: Scores) -> Array:
    """sum w (g(r) + penalty) / sum w of a batch of scores `[B, ...]`, plus the mean `extra_loss`.

    Raises:
        TypeError, ValueError: for scores that are not those of a batch, and for an objective that
            does not return `Residuals` of one shape.
    """
    return loss_and_errors(objective, regression, scores)[0]


def loss_and_errors(
    objective: Objective, regression: Regression, scores: Scores, keep: Array | None = None
) -> tuple[Array, Array]:
    """`weighted_loss`, and `[B]` the weighted mean of g(residual) of each trajectory on its own.

    The loss is over the trajectories for which `keep` `[B]` is True; over all of them without.
    """
    check_batch(scores)
    if keep is not None:
        check_shape("keep", keep, scores.length.shape, "[B]")
    residuals = jax.vmap(objective.residuals)(scores)
    if not isinstance(residuals, Residuals):
        problem = f"must return Residuals, got {type(residuals).__name__}"
        raise ArgumentError("objective", problem, subject="an objective")
    values, weights = residuals
    if values.shape != weights.shape:
        problem = f"must have the same shape, got {values.shape[1:]} and {weights.shape[1:]}"
        raise ArgumentError("objective", problem, subject="an objective's residuals and weights")
    # Padding must not reach g: an overflow there would turn 0 * inf into NaN.
    losses = weights * regression(jnp.where(weights > 0, values, 0.0))
    if type(objective).penalties is not Objective.penalties:
        losses += weights * jax.vmap(objective.penalties)(scores)
    tiny = jnp.finfo(values.dtype).tiny
    axes = tuple(range(1, values.ndim))
    totals, sizes = losses.sum(axis=axes), weights.sum(axis=axes)
    extra = jax.vmap(objective.extra_loss)(scores)
    kept = jnp.ones_like(totals) if keep is None else keep.astype(totals.dtype)
    # Relative to the trajectory that counts most.
    log_scale = jnp.where(kept > 0, jax.vmap(objective.log_scale)(scores), masking.FILL)
    top = log_scale.max()
    if type(objective).log_scale is not Objective.log_scale:  # of others it is 0 on all devices
        top = spread.largest(top)
    scale = kept * jnp.exp(log_scale - top).astype(totals.dtype)
    sums = (scale * totals).sum(), (scale * sizes).sum(), (kept * extra).sum(), kept.sum()
    cost, size, more, count = spread.total(sums)
    loss = cost / jnp.maximum(size, tiny) + more / jnp.maximum(count, 1)
    return loss, totals / jnp.maximum(sizes, tiny)
