"""The backward policies by name: `--backward NAME`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gfnjax import registry
from gfnjax.errors import ArgumentError
from gfnjax.metrics.exact import log_path_counts
from gfnjax.policies.backward import (
    BackwardPolicy,
    LearnedBackward,
    MaximumEntropyBackward,
    SourceBackward,
    TrainedBackward,
    UniformBackward,
)
from gfnjax.policies.base import Policy
from gfnjax.policies.likelihood import LikelihoodBackward, PessimisticBackward
from gfnjax.policies.path_counts import LearnedMaximumEntropyBackward
from gfnjax.run.state_graphs import state_graph


@dataclass(frozen=True)
class Setting:
    """What a backward policy can be made from.

    Attributes:
        env_config: of the environment.
        network: makes another network of the kind that the policy has.
        num_updates: steps a training step of one with a training of its own.
        target_rate: of the moving average that the objective sees of it, if any.
    """

    env_config: Any
    network: Callable[[], Policy]
    num_updates: int
    target_rate: float | None


def make_backward(name: str, setting: Setting) -> BackwardPolicy | TrainedBackward:
    """The backward policy of a name.

    Raises:
        ValueError: for a name that is not registered, or a policy that does not fit.
    """
    return registry.find("backward", name).cls(setting)


@registry.backward("learned", summary="a head of the network")
def _learned(setting: Setting) -> BackwardPolicy:
    return LearnedBackward()


@registry.backward("uniform", summary="all parents alike")
def _uniform(setting: Setting) -> BackwardPolicy:
    return UniformBackward()


@registry.backward("source", summary="to s_0 wherever that is a parent, for cycles")
def _source(setting: Setting) -> BackwardPolicy:
    return SourceBackward()


@registry.backward("maximum-entropy", summary="all trajectories alike")
def _maximum_entropy(setting: Setting) -> BackwardPolicy:
    try:
        counts = log_path_counts(state_graph(setting.env_config))
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            "backward",
            "maximum-entropy counts paths through a list of all states, and there is none here "
            f"({error})",
            "use path-counts, which learns to count",
        ) from error
    policy: Any = MaximumEntropyBackward(counts)
    return policy


@registry.backward("tlm", summary="a network that makes sampled trajectories likely")
def _likelihood(setting: Setting) -> TrainedBackward:
    return LikelihoodBackward(setting.network(), setting.num_updates, setting.target_rate)


@registry.backward("pessimistic", summary="the same for the trajectories of many steps")
def _pessimistic(setting: Setting) -> TrainedBackward:
    return PessimisticBackward(setting.network(), setting.num_updates, setting.target_rate)


@registry.backward("path-counts", summary="maximum entropy by a network that counts paths")
def _path_counts(setting: Setting) -> TrainedBackward:
    network = setting.network()
    return LearnedMaximumEntropyBackward(network, setting.num_updates, setting.target_rate)
