"""What a GFlowNet is compared with: Markov chains over objects, and reward maximisation."""

from gfnjax.baselines.mcmc import ChainInfo, MarkovChains, mars, metropolis_hastings
from gfnjax.baselines.ppo import RewardPPO
from gfnjax.baselines.sac import RewardSAC

__all__ = [
    "ChainInfo",
    "MarkovChains",
    "RewardPPO",
    "RewardSAC",
    "mars",
    "metropolis_hastings",
]
