"""From a `Config` to a `GFlowNet`. Equal settings give equal descriptions: compiled code is shared.

The tables here are what the names on the command line mean.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import optax

from gfnjax.config import Config, EnvironmentConfig, Training
from gfnjax.envs.base import Environment
from gfnjax.hyperparameters import Hyperparameters
from gfnjax.metrics.exact import log_path_counts
from gfnjax.metrics.graph import StateGraph, build_graph
from gfnjax.objectives import regression
from gfnjax.objectives.base import Objective, Regression
from gfnjax.objectives.detailed_balance import DetailedBalance, TargetDetailedBalance
from gfnjax.objectives.flow_matching import FlowMatching
from gfnjax.objectives.subtrajectory_balance import SubTrajectoryBalance
from gfnjax.objectives.trajectory_balance import LogPartitionVariance, TrajectoryBalance
from gfnjax.policies.backward import (
    BackwardPolicy,
    LearnedBackward,
    MaximumEntropyBackward,
    UniformBackward,
)
from gfnjax.policies.mlp import mlp_policy
from gfnjax.training import GFlowNet

OBJECTIVES: dict[str, tuple[str, Callable[[Training], Objective]]] = {
    "tb": ("trajectory balance", lambda t: TrajectoryBalance()),
    "db": ("detailed balance", lambda t: DetailedBalance()),
    "target-db": ("detailed balance against a target network", lambda t: TargetDetailedBalance()),
    "subtb": ("sub-trajectory balance", lambda t: SubTrajectoryBalance(t.subtb_lambda)),
    "fm": ("flow matching through all parents", lambda t: FlowMatching()),
    "vargrad": ("trajectory balance with the batch's log Z", lambda t: LogPartitionVariance()),
}

BACKWARDS: dict[str, tuple[str, Callable[[EnvironmentConfig], BackwardPolicy]]] = {
    "learned": ("a head of the network", lambda env: LearnedBackward()),
    "uniform": ("all parents alike", lambda env: UniformBackward()),
    "maximum-entropy": ("all trajectories alike", lambda env: _maximum_entropy(env)),
}

REGRESSIONS: dict[str, tuple[str, Regression]] = {
    "square": ("the residual squared", regression.square),
    "huber": ("squared, then linear from 1 on", regression.huber),
    "forward-kl": ("gradients of KL(target || policy)", regression.forward_kl),
    "hellinger": ("gradients of the Hellinger distance", regression.hellinger),
    "chi-square": ("gradients of chi^2(policy || target)", regression.chi_square),
}


def build(config: Config) -> GFlowNet:
    """What `config` describes, ready to train.

    Raises:
        ValueError, TypeError: for values that are out of range or do not go together.
    """
    settings = config.training
    env = config.env.make()
    return GFlowNet(
        env=env,
        policy=mlp_policy(env, settings.hidden_sizes, settings.activation),
        objective=OBJECTIVES[settings.objective][1](settings),
        backward=BACKWARDS[settings.backward][1](config.env),
        hyperparameters=_hyperparameters(settings),
        regression=REGRESSIONS[settings.regression][1],
        batch_size=settings.batch_size,
        max_grad_norm=settings.max_grad_norm,
        target_rate=settings.target_rate,
    )


@lru_cache(maxsize=2)
def state_graph(env_config: EnvironmentConfig) -> StateGraph:
    """The state graph of an enumerable environment; the last ones are kept.

    Raises:
        TypeError, ValueError: where `build_graph` does.
    """
    env: Environment = env_config.make()
    return build_graph(env)


def _maximum_entropy(env_config: EnvironmentConfig) -> Any:
    return MaximumEntropyBackward(log_path_counts(state_graph(env_config)))


def _hyperparameters(settings: Training) -> Hyperparameters:
    epsilon = settings.epsilon
    if settings.epsilon_steps is not None and epsilon > 0:
        epsilon = _linear_decay(epsilon, settings.epsilon_steps)
    return Hyperparameters(
        settings.learning_rate, settings.log_z_learning_rate, epsilon, settings.temperature
    )


@lru_cache(maxsize=256)
def _linear_decay(start: float, num_steps: int) -> optax.Schedule:
    # A schedule is a closure, equal only to itself; a second one would be compiled again.
    return optax.linear_schedule(start, 0.0, num_steps)
