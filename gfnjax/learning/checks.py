"""What is refused when a `GFlowNet` is described, before anything is compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import jax
import optax

from gfnjax import hyperparameters
from gfnjax.exploration import StopFlattening
from gfnjax.learning.starting import check_log_z_init
from gfnjax.objectives.base import LogZ, check_abilities, name_of
from gfnjax.policies.backward import LearnedBackward, TrainedBackward
from gfnjax.policies.base import Policy, check_made_for
from gfnjax.policies.causal import CausalPolicy, check_causal
from gfnjax.policies.ensemble import EnsemblePolicy
from gfnjax.samplers.base import Sampler

if TYPE_CHECKING:
    from gfnjax.gflownet import GFlowNet


def check_gflownet(gfn: GFlowNet) -> None:
    """Raise a `TypeError` or `ValueError` that names the argument and what would do."""
    if not isinstance(gfn.policy, Policy | CausalPolicy | EnsemblePolicy):
        raise TypeError(
            "policy must be a gfnjax.Policy (or a CausalPolicy, an EnsemblePolicy), "
            f"got {type(gfn.policy).__name__}"
        )
    if not is_placeholder(gfn.env) and jax.tree_util.all_leaves([gfn.env]):
        raise TypeError(
            f"env must be a pytree: decorate {type(gfn.env).__name__} with flax.struct.dataclass, "
            "sizes as struct.field(pytree_node=False)"
        )
    if isinstance(gfn.policy, CausalPolicy):
        check_causal(gfn.env)
    if isinstance(gfn.optimizer, optax.GradientTransformation) or not callable(gfn.optimizer):
        raise TypeError(
            "optimizer must be a function of the learning rate, such as optax.adam (not "
            "optax.adam(1e-3)): the rates are hyperparameters.learning_rate and "
            "hyperparameters.log_z_learning_rate"
        )
    if isinstance(gfn.log_z_optimizer, optax.GradientTransformation) or not callable(
        gfn.log_z_optimizer
    ):
        raise TypeError(
            "log_z_optimizer must be a function of the learning rate, such as optax.adam: the rate "
            "is hyperparameters.log_z_learning_rate"
        )
    check_log_z_init(gfn.log_z_init)
    hyperparameters.check(gfn.hyperparameters)
    if isinstance(gfn.sampler, type) or not isinstance(gfn.sampler, Sampler):
        raise TypeError(
            "sampler must be a Sampler such as OnPolicy(), Windows(8) or Mixed(Fifo(10_000)), "
            f"got {gfn.sampler!r}"
        )
    _check_numbers(gfn)
    _check_objective(gfn)
    if not is_placeholder(gfn.env):
        _check_backward(gfn)
        _check_networks(gfn)
    if isinstance(gfn.exploration, StopFlattening) and not is_placeholder(gfn.env):
        _require_stop(gfn)
    gfn.sampler.check(gfn)


def _check_numbers(gfn: GFlowNet) -> None:
    for name in ("batch_size", "num_updates"):
        if getattr(gfn, name) < 1:
            raise ValueError(f"{name} must be at least 1, got {getattr(gfn, name)}")
    if gfn.chunk_size is not None and gfn.chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1 or None, got {gfn.chunk_size}")
    if gfn.max_grad_norm is not None and not gfn.max_grad_norm > 0:
        raise ValueError(f"max_grad_norm must be positive, got {gfn.max_grad_norm}")
    if gfn.target_rate is not None and not 0 < gfn.target_rate <= 1:
        raise ValueError(f"target_rate must be in (0, 1], got {gfn.target_rate}")


def _check_networks(gfn: GFlowNet) -> None:
    """Every network must have been made for an environment of this size."""
    networks = {
        "policy": gfn.policy,
        "prior": getattr(gfn.prior, "policy", None),
        "backward": getattr(gfn.backward, "policy", None),
        "the objective's critic": getattr(gfn.objective, "critic", None),
        "the teacher's policy": getattr(gfn.sampler, "policy", None),
    }
    for argument, network in networks.items():
        check_made_for(getattr(network, "made_for", ()), gfn.env, argument)
    counts = getattr(gfn.backward, "log_path_counts", None)
    if hasattr(counts, "shape"):
        check_made_for((("num_states", counts.shape[-1]),), gfn.env, "backward")


def _check_backward(gfn: GFlowNet) -> None:
    backward, objective = gfn.backward, gfn.objective
    if isinstance(backward, type) or not (
        callable(backward) or isinstance(backward, TrainedBackward)
    ):
        raise TypeError(
            "backward must be a backward policy such as UniformBackward() or LearnedBackward(), "
            f"got {backward!r}"
        )
    untrained = type(backward) is LearnedBackward and not objective.trains_backward
    # Off-policy ones without P_B in the loss (flow matching) may leave it as it is.
    if untrained and objective.on_policy and gfn.env.num_backward_actions > 1:
        raise ValueError(
            f"{name_of(objective)} does not train P_B: backward must not be LearnedBackward(), "
            "take UniformBackward() or one with a training of its own"
        )


def _check_objective(gfn: GFlowNet) -> None:
    objective, name = gfn.objective, name_of(gfn.objective)
    if objective.log_z not in get_args(LogZ):
        raise ValueError(
            f"{name}: log_z must be one of {', '.join(get_args(LogZ))}, got {objective.log_z!r}"
        )
    if gfn.batch_size < objective.least_batch:
        raise ValueError(
            f"{name} compares the trajectories of a batch: batch_size must be at least "
            f"{objective.least_batch}, got {gfn.batch_size}"
        )
    if "target" in objective.needs and gfn.target_rate is None:
        raise ValueError(f"{name} needs a target network: set target_rate")
    if is_placeholder(gfn.env):
        return
    check_abilities(objective, gfn.env)
    if "log_prior" in objective.needs and gfn.prior is None:
        raise ValueError(f"{name} needs a prior: set prior=FrozenPolicy(policy, params)")
    if isinstance(gfn.policy, EnsemblePolicy) and "log_value" in objective.needs:
        raise ValueError(
            f"{name} reads values off logits, of which the members of an EnsemblePolicy have one "
            "set each: use TrajectoryBalance, DetailedBalance or SubTrajectoryBalance"
        )
    if isinstance(gfn.policy, EnsemblePolicy) and "log_inflow" in objective.needs:
        raise ValueError(
            f"{name} looks at all parents of a state, which is not done for each member of an "
            "EnsemblePolicy: use TrajectoryBalance, DetailedBalance or SubTrajectoryBalance"
        )
    if objective.on_policy:
        if gfn.num_updates > 1 and "previous" not in objective.needs:
            raise ValueError(
                f"{name} takes one update a batch: num_updates must be 1, got {gfn.num_updates}; "
                "EntropyPPO takes more"
            )
        if isinstance(gfn.policy, EnsemblePolicy):
            raise ValueError(
                f"{name} learns from the policy's own trajectories; those of an EnsemblePolicy "
                "are built by single members"
            )
        for field, plain in (("epsilon", 0.0), ("temperature", 1.0)):
            value = getattr(gfn.hyperparameters, field, plain)
            if callable(value) or (isinstance(value, int | float) and value != plain):
                raise ValueError(
                    f"{name} learns from the policy's own trajectories: {field} must be {plain}"
                )


def _require_stop(gfn: GFlowNet) -> None:
    if not hasattr(type(gfn.env), "stop_action"):
        raise TypeError(
            "StopFlattening needs a Stoppable environment, with log_partial_reward and "
            f"stop_action; {type(gfn.env).__name__} is not one"
        )


def is_placeholder(env: object) -> bool:
    """JAX maps trees with placeholders for leaves, sometimes for the whole environment."""
    return not hasattr(type(env), "step")
