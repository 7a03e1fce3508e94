"""gfnjax: generative flow networks in JAX."""

from gfnjax import (
    algorithms,
    envs,
    metrics,
    objectives,
    policies,
    registry,
    samplers,
    testing,
)
from gfnjax.envs.base import Enumerable, Environment, PartialReward
from gfnjax.envs.hypergrid import Hypergrid
from gfnjax.envs.tabular import TabularDAG, random_dag, tabular_dag
from gfnjax.errors import ArgumentError
from gfnjax.gflownet import GFlowNet
from gfnjax.hyperparameters import Hyperparameters
from gfnjax.model import Model
from gfnjax.objectives import regression
from gfnjax.objectives.base import Objective
from gfnjax.objectives.detailed_balance import DetailedBalance, TargetDetailedBalance
from gfnjax.objectives.flow_matching import FlowMatching
from gfnjax.objectives.forward_looking import ForwardLooking
from gfnjax.objectives.subtrajectory_balance import SubTrajectoryBalance
from gfnjax.objectives.trajectory_balance import LogPartitionVariance, TrajectoryBalance
from gfnjax.policies.backward import LearnedBackward, MaximumEntropyBackward, UniformBackward
from gfnjax.policies.base import Policy, from_flax
from gfnjax.policies.mlp import mlp_policy
from gfnjax.policies.nnx import from_nnx
from gfnjax.policies.tabular import tabular_policy
from gfnjax.rewards.hypergrid import Corners, Cosine, Deceptive, Sparse, corners
from gfnjax.rollout import terminal_states
from gfnjax.run.trained import TrainedRun, load
from gfnjax.state import Params, StepInfo, TrainState
from gfnjax.sweeps import sweep
from gfnjax.training import History, NonFiniteError, train
from gfnjax.types import PolicyOutput, Residuals, Scores, Trajectory

__version__ = "0.2.0"

__all__ = [
    "ArgumentError",
    "Corners",
    "Cosine",
    "Deceptive",
    "DetailedBalance",
    "Enumerable",
    "Environment",
    "FlowMatching",
    "ForwardLooking",
    "GFlowNet",
    "History",
    "Hypergrid",
    "Hyperparameters",
    "LearnedBackward",
    "LogPartitionVariance",
    "MaximumEntropyBackward",
    "Model",
    "NonFiniteError",
    "Objective",
    "Params",
    "PartialReward",
    "Policy",
    "PolicyOutput",
    "Residuals",
    "Scores",
    "Sparse",
    "StepInfo",
    "SubTrajectoryBalance",
    "TabularDAG",
    "TargetDetailedBalance",
    "TrainState",
    "TrainedRun",
    "Trajectory",
    "TrajectoryBalance",
    "UniformBackward",
    "algorithms",
    "corners",
    "envs",
    "from_flax",
    "from_nnx",
    "load",
    "metrics",
    "mlp_policy",
    "objectives",
    "policies",
    "random_dag",
    "registry",
    "regression",
    "samplers",
    "sweep",
    "tabular_dag",
    "tabular_policy",
    "terminal_states",
    "testing",
    "train",
]
