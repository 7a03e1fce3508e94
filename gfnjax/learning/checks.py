"""What is refused when a `GFlowNet` is described, before anything is compiled."""

from typing import Any, get_args

import optax

from gfnjax import hyperparameters
from gfnjax.actions import Categorical, actions_of, backward_actions_of
from gfnjax.envs.base import Conditioned, RandomSource, require_acyclic
from gfnjax.errors import ArgumentError, Use
from gfnjax.exploration import StopFlattening
from gfnjax.learning.pathwise import check_pathwise
from gfnjax.learning.starting import check_log_z_init
from gfnjax.model import Model
from gfnjax.numbers import POSITIVE, RATE, check_number
from gfnjax.objectives.base import LogZ, Objective, check_abilities, name_of
from gfnjax.policies.backward import (
    LearnedBackward,
    MaximumEntropyBackward,
    SourceBackward,
    TrainedBackward,
    UniformBackward,
)
from gfnjax.policies.base import check_made_for
from gfnjax.samplers.base import Sampler

# The numbers by which sampling departs from the policy, where it does not.
NO_EXPLORATION = {"epsilon": 0.0, "temperature": 1.0, "exploration_std": 0.0}
# What members of an ensemble can be trained with, each on its own.
FOR_MEMBERS = Use(
    "use TrajectoryBalance, DetailedBalance or SubTrajectoryBalance",
    objective=lambda other: _suits_members(other),
    without=("EnsemblePolicy.num_members",),
)


def check_learning(model: Model, learning: Any) -> None:
    """Raise a `TypeError` or `ValueError` that names the argument and what would do.

    Args:
        model: has been checked.
        learning: a `GFlowNet`: how it learns.
    """
    for name in ("optimizer", "log_z_optimizer"):
        check_optimizer(name, getattr(learning, name))
    check_log_z_init(learning.log_z_init)
    hyperparameters.check(learning.hyperparameters)
    sampler = learning.sampler
    if isinstance(sampler, type) or not isinstance(sampler, Sampler):
        raise ArgumentError(
            "sampler",
            "must be a Sampler such as OnPolicy(), Windows(8) or Mixed(Fifo(10_000)), "
            f"got {sampler!r}",
        )
    _check_numbers(learning)
    objective = learning.objective
    check_objective(objective, model, learning)
    _check_backward(model, objective)
    critic = getattr(objective, "critic", None)
    check_made_for(
        getattr(critic, "made_for", ()), model.env, "objective", "the objective's critic"
    )
    _check_exploration(learning, model)
    sampler.check(model, objective, learning.batch_size)


def _check_backward(model: Model, objective: Objective) -> None:
    """Raise an error for a backward policy that has no meaning where states come again."""
    env, backward = model.env, model.backward
    if isinstance(backward, TrainedBackward | MaximumEntropyBackward):
        remedy = Use("use LearnedBackward()", backward="learned")
        require_acyclic(env, type(backward).__name__, "backward", remedy)
    if isinstance(backward, UniformBackward | SourceBackward) and isinstance(env, RandomSource):
        raise ArgumentError(
            "backward",
            f"cannot be fixed where the first step is, as in {type(env).__name__}: flows would "
            "have to balance both",
            Use("use LearnedBackward()", backward="learned"),
            type(backward).__name__,
        )


def check_optimizer(name: str, optimizer: Any) -> None:
    """Raise a `TypeError` for anything but a function of the learning rate."""
    if not isinstance(optimizer, optax.GradientTransformation) and callable(optimizer):
        return
    if name == "optimizer":
        raise ArgumentError(
            "optimizer",
            "must be a function of the learning rate, such as optax.adam (not "
            "optax.adam(1e-3)): the rates are hyperparameters.learning_rate and "
            "hyperparameters.log_z_learning_rate",
        )
    raise ArgumentError(
        name,
        "must be a function of the learning rate, such as optax.adam: the rate "
        "is hyperparameters.log_z_learning_rate",
    )


def _check_numbers(learning: Any) -> None:
    for name in ("batch_size", "num_updates"):
        if getattr(learning, name) < 1:
            raise ArgumentError(name, f"must be at least 1, got {getattr(learning, name)}")
    for name, valid in (("max_grad_norm", POSITIVE), ("target_rate", RATE)):
        if (value := getattr(learning, name)) is not None:
            check_number(name, value, *valid)


def check_objective(objective: Objective, model: Model, learning: Any) -> None:
    """Raise an error for an objective that does not go with the model, or the way it learns."""
    name = name_of(objective)
    if objective.log_z not in get_args(LogZ):
        raise ArgumentError(
            "objective",
            f"must be one of {', '.join(get_args(LogZ))}, got {objective.log_z!r}",
            subject=f"{name}: log_z",
        )
    if learning.batch_size < objective.least_batch:
        raise ArgumentError(
            "batch_size",
            f"must be at least {objective.least_batch}, got {learning.batch_size}",
            subject=f"{name} compares the trajectories of a batch: {{batch_size}}",
        )
    if "target" in objective.needs and learning.target_rate is None:
        raise ArgumentError("target_rate", "needs a target network", "set {target_rate}", name)
    check_abilities(objective, model.env)
    _check_groups(objective, model.env, learning, name)
    if "log_prior" in objective.needs and model.prior is None:
        raise ArgumentError(
            "prior", "needs a prior", "set prior=FrozenPolicy(policy, params)", name
        )
    if model.policy.num_members is not None:
        _check_members(objective, name)
    if objective.on_policy:
        _check_on_policy(objective, name, learning)
    if objective.pathwise:
        check_pathwise(model, name)
    untrained = type(model.backward) is LearnedBackward and not objective.trains_backward
    # Off-policy ones without P_B in the loss (flow matching) may leave it as it is.
    choice = backward_actions_of(model.env) != Categorical(1)
    if untrained and objective.on_policy and choice:
        raise ArgumentError(
            "backward",
            "must not be LearnedBackward()",
            Use(
                "take UniformBackward() or one with a training of its own",
                joint=", ",
                backward=None,
            ),
            f"{name} does not train P_B: {{backward}}",
        )


def _check_groups(objective: Objective, env: Any, learning: Any, name: str) -> None:
    """Raise an error where a condition seldom has two trajectories to be compared in a batch.

    Each would then be its own log Z: a loss of 0 that teaches nothing.
    """
    compares = objective.log_z == "group" and objective.least_batch > 1
    if not (compares and isinstance(env, Conditioned)):
        return
    if getattr(learning.sampler, "draws_groups", False):
        return
    if learning.batch_size < 2 * getattr(env, "num_prompts", learning.batch_size):
        raise ArgumentError(
            "sampler",
            "compares trajectories of one condition, of which a batch has hardly ever two",
            Use("use sampler=Groups(8), of gfnjax.samplers", group_size=None),
            name,
        )


def _suits_members(objective: Objective) -> bool:
    return not (objective.on_policy or objective.needs & {"log_value", "log_inflow"})


def _check_members(objective: Objective, name: str) -> None:
    """What the members of an ensemble cannot be trained with, each on its own."""
    if "log_value" in objective.needs:
        raise ArgumentError(
            "objective",
            "reads values off logits, of which the members of an EnsemblePolicy have one set each",
            FOR_MEMBERS,
            name,
        )
    if "log_inflow" in objective.needs:
        raise ArgumentError(
            "objective",
            "looks at all parents of a state, which is not done for each member of an "
            "EnsemblePolicy",
            FOR_MEMBERS,
            name,
        )
    if objective.on_policy:
        raise ArgumentError(
            "policy",
            "learns from the policy's own trajectories; those of an "
            "EnsemblePolicy are built by single members",
            Use("use a Policy", without=("EnsemblePolicy.num_members",)),
            name,
        )


def _check_on_policy(objective: Objective, name: str, learning: Any) -> None:
    if learning.num_updates > 1 and "previous" not in objective.needs:
        raise ArgumentError(
            "num_updates",
            f"must be 1, got {learning.num_updates}",
            Use("EntropyPPO takes more", objective=lambda other: "previous" in other.needs),
            f"{name} takes one update a batch: {{num_updates}}",
        )
    for field in _exploring(learning):
        subject = f"{name} learns from the policy's own trajectories: {{{field}}}"
        raise ArgumentError(field, f"must be {NO_EXPLORATION[field]}", subject=subject)


def _exploring(learning: Any) -> list[str]:
    """The numbers by which sampling departs from the policy, or may."""
    given = {name: getattr(learning.hyperparameters, name) for name in NO_EXPLORATION}

    def departs(name: str, value: Any) -> bool:
        plain = NO_EXPLORATION[name]
        return callable(value) or (isinstance(value, int | float) and value != plain)

    return [name for name, value in given.items() if departs(name, value)]


def _check_exploration(learning: Any, model: Model) -> None:
    """Raise an error for exploration that the kind of action, or the environment, has none of."""
    actions, exploration = actions_of(model.env), learning.exploration
    heeded = getattr(actions, "explores_by", ("epsilon", "temperature"))
    for name in _exploring(learning):
        if name not in heeded:
            kind = type(actions).__name__
            problem = f"must be {NO_EXPLORATION[name]}: {kind} actions explore by "
            raise ArgumentError(name, problem + (" and ".join(heeded) or "nothing"))
    if isinstance(exploration, StopFlattening) and not hasattr(type(model.env), "stop_action"):
        raise ArgumentError(
            "exploration",
            "needs a Stoppable environment, with log_partial_reward and stop_action; "
            f"{type(model.env).__name__} is not one",
            subject="StopFlattening",
        )
