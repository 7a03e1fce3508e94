"""EB-GFN on the command line: the couplings of an Ising model, learned from samples of it."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import optax

from gfnjax import registry
from gfnjax.algorithms.ebgfn import EnergyGFlowNet
from gfnjax.envs.ising import Ising, IsingState
from gfnjax.errors import ArgumentError
from gfnjax.gflownet import GFlowNet
from gfnjax.rewards.ising import IsingReward, lattice, sample_ising


@registry.environment(
    "ising-learned",
    summary="EB-GFN: learn the couplings of a lattice from samples, with a GFlowNet as sampler",
    defaults={"backward": "uniform", "batch_size": 64, "mlp": {"hidden_sizes": (128, 128)}},
)
@dataclass(frozen=True)
class LearnedIsingConfig:
    """Couplings of an Ising model, learned from samples of it."""

    side: int = 4
    """of the lattice"""
    sigma: float = 0.2
    """coupling of neighbours behind the data"""
    num_data: int = 4_000
    """samples to learn from"""
    data_seed: int = 0
    """of the samples"""
    num_back: int | None = None
    """spins that a Metropolis-Hastings proposal sets anew; half of them without"""
    coupling_rate: float = 1e-3
    """learning rate of the couplings"""
    l1: float = 0.0
    """weight of the sum of their absolute values"""
    data_share: float = 0.5
    """share of the batch that is taken back from data"""

    # What the command line calls the arguments of what is made here.
    stands_for: ClassVar[dict[str, str]] = {"EnergyGFlowNet.learning_rate": "coupling_rate"}

    def make(self) -> Ising:
        return Ising(self.side, IsingReward(jnp.zeros((self.side**2,) * 2)))

    def learn_reward(self, sampler: GFlowNet) -> EnergyGFlowNet:
        """The run that learns the couplings with `sampler`; the truth is known for comparison."""
        numbers = sampler.hyperparameters
        if (numbers.epsilon, numbers.temperature) != (0.0, 1.0):
            raise ArgumentError(
                "epsilon" if numbers.epsilon else "temperature",
                "are not used here: data do the exploring",
                subject="{epsilon} and {temperature}",
            )
        truth = lattice(self.side, self.sigma)
        sample = jax.jit(sample_ising, static_argnums=2)
        key = jax.random.key(self.data_seed)
        return EnergyGFlowNet(
            sampler,
            IsingState(sample(key, truth.couplings, self.num_data)),
            num_back=self.side**2 // 2 if self.num_back is None else self.num_back,
            learning_rate=self.coupling_rate,
            l1=self.l1,
            data_share=self.data_share,
            optimizer=optax.adam,
            truth=truth,
        )
