"""Objectives: one idea a file, which registers what it has for the command line."""

import importlib
import pkgutil

from gfnjax.objectives.base import Objective
from gfnjax.objectives.cyclic_balance import (
    RegularisedDetailedBalance,
    StableDetailedBalance,
)
from gfnjax.objectives.detailed_balance import DetailedBalance, TargetDetailedBalance
from gfnjax.objectives.entropy_ppo import EntropyPPO
from gfnjax.objectives.f_trajectory_balance import FTrajectoryBalance
from gfnjax.objectives.flow_matching import FlowMatching
from gfnjax.objectives.flow_rl import FlowRL
from gfnjax.objectives.forward_looking import ForwardLooking
from gfnjax.objectives.generative_augmented import GAFlowNet
from gfnjax.objectives.learned_decomposition import LEDGFN
from gfnjax.objectives.maximum_likelihood import MaximumLikelihood
from gfnjax.objectives.modified_detailed_balance import ModifiedDetailedBalance
from gfnjax.objectives.modified_subtrajectory_balance import ModifiedSubTrajectoryBalance
from gfnjax.objectives.path_integral import PathIntegral
from gfnjax.objectives.policy_gradient import PolicyGradient
from gfnjax.objectives.prefix_balance import PrefixTrajectoryBalance
from gfnjax.objectives.relative_trajectory_balance import RelativeTrajectoryBalance
from gfnjax.objectives.rooted_absorbed_prefix import RapTB
from gfnjax.objectives.soft_q_learning import SoftDQN
from gfnjax.objectives.subtrajectory_balance import SubTrajectoryBalance
from gfnjax.objectives.trajectory_balance import (
    ContrastiveBalance,
    LogPartitionVariance,
    TrajectoryBalance,
)
from gfnjax.objectives.weighted_balance import WeightedDetailedBalance

__all__ = [
    "LEDGFN",
    "ContrastiveBalance",
    "DetailedBalance",
    "EntropyPPO",
    "FTrajectoryBalance",
    "FlowMatching",
    "FlowRL",
    "ForwardLooking",
    "GAFlowNet",
    "LogPartitionVariance",
    "MaximumLikelihood",
    "ModifiedDetailedBalance",
    "ModifiedSubTrajectoryBalance",
    "Objective",
    "PathIntegral",
    "PolicyGradient",
    "PrefixTrajectoryBalance",
    "RapTB",
    "RegularisedDetailedBalance",
    "RelativeTrajectoryBalance",
    "SoftDQN",
    "StableDetailedBalance",
    "SubTrajectoryBalance",
    "TargetDetailedBalance",
    "TrajectoryBalance",
    "WeightedDetailedBalance",
]

# A file is on the command line by being here.
for _module in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(_module.name)
