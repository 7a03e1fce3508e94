"""What a GFlowNet is compared with: Markov chains over objects, and reward maximisation."""

from gfnjax.algorithms.learned_ising import LearnedIsingConfig
from gfnjax.algorithms.markov_chains import ChainInfo, MarkovChains, mars, metropolis_hastings
from gfnjax.algorithms.reward_ppo import RewardPPO
from gfnjax.algorithms.reward_sac import RewardSAC
from gfnjax.algorithms.teacher import TaughtState, Teacher

__all__ = [
    "ChainInfo",
    "LearnedIsingConfig",
    "MarkovChains",
    "RewardPPO",
    "RewardSAC",
    "TaughtState",
    "Teacher",
    "mars",
    "metropolis_hastings",
]
