"""Environments as plain values: what the flags of `gfnjax train NAME` can say about each.

A task is a frozen dataclass with a `make` method (`gfnjax.run.config.EnvironmentConfig`). The
string after a field is its help text. To put one on the command line, add it to
`gfnjax.run.presets`.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gfnjax.algorithms.ebgfn import EnergyGFlowNet
from gfnjax.data import absolute, read_matrix, read_sequences
from gfnjax.envs.amp import VariableSequence, antimicrobial_peptides
from gfnjax.envs.bits import BitSequence, bit_sequence
from gfnjax.envs.conditional import (
    Conditional,
    preference_conditional,
    temperature_conditional,
)
from gfnjax.envs.dags import DAGs
from gfnjax.envs.hypergrid import Hypergrid
from gfnjax.envs.ising import Ising, IsingState
from gfnjax.envs.phylogeny import Phylogeny, phylogeny, phylogeny_benchmark
from gfnjax.envs.sequences import FixedSequence, left_to_right_bits, qm9_small, tfbind8
from gfnjax.envs.sets import Set, published_set
from gfnjax.gflownet import GFlowNet
from gfnjax.rewards.dag_data import erdos_renyi_dag, linear_gaussian_data
from gfnjax.rewards.dags import UNIFORM, EdgePrior, posterior
from gfnjax.rewards.gaussian_networks import bge, linear_gaussian
from gfnjax.rewards.hypergrid import Corners, Cosine, Deceptive, Sparse, corners
from gfnjax.rewards.ising import IsingReward, lattice, sample_ising
from gfnjax.rewards.sets import SetEnergy

ConditionName = Literal["none", "temperature", "preferences"]


@dataclass(frozen=True)
class HypergridConfig:
    """The hypergrid {0..side-1}^num_dims."""

    num_dims: int = 2
    """dimensions D"""
    side: int = 32
    """cells H along each dimension"""
    reward: Literal["corners", "cosine", "deceptive", "sparse"] = "corners"
    """reward function"""
    preset: Literal["standard", "easy", "hard"] = "standard"
    """parameters of the corners reward"""
    r0: float | None = None
    """replaces the reward of the plain cells (for sparse: of all but the modes)"""
    condition: ConditionName = "none"
    """drawn once a trajectory: a reward temperature, or preferences between reward and cosine"""
    beta_low: float = 0.5
    """lowest reward temperature"""
    beta_high: float = 2.0
    """highest reward temperature"""

    def make(self) -> Hypergrid | Conditional:
        if self.preset != "standard" and self.reward != "corners":
            raise ValueError(
                f"preset must be standard with reward {self.reward}, got {self.preset}"
            )
        if self.r0 is not None and not self.r0 > 0:
            raise ValueError(f"r0 must be positive, got {self.r0}")
        env = Hypergrid(self.num_dims, self.side, self._reward())
        return _conditional(self, env, Cosine())

    def _reward(self) -> Corners | Cosine | Deceptive | Sparse:
        if self.reward == "sparse":
            return Sparse() if self.r0 is None else Sparse(floor=self.r0)
        if self.reward == "corners":
            reward = corners(self.preset)
        else:
            reward = {"cosine": Cosine, "deceptive": Deceptive}[self.reward]()
        return reward if self.r0 is None else replace(reward, r0=self.r0)


@dataclass(frozen=True)
class SetConfig:
    """Sets of k out of n elements, with the published energies."""

    task: Literal["small", "medium", "large"] = "small"
    """20 of 30, 60 of 80 or 80 of 100 elements"""
    condition: ConditionName = "none"
    """drawn once a trajectory: a reward temperature, or preferences between two sets of energies"""
    beta_low: float = 0.5
    """lowest reward temperature"""
    beta_high: float = 2.0
    """highest reward temperature"""

    def make(self) -> Set | Conditional:
        env = published_set(self.task)
        assert isinstance(env.reward, SetEnergy)
        # The second objective values the elements in the opposite order.
        return _conditional(self, env, SetEnergy(env.reward.energies[::-1]))


def _conditional(task: Any, env: Any, other_reward: Any) -> Any:
    """`env` with the condition that a task asks for, if any."""
    if task.condition == "temperature":
        return temperature_conditional(env, task.beta_low, task.beta_high)
    if task.condition == "preferences":
        return preference_conditional(env, env.reward, other_reward)
    return env


@dataclass(frozen=True)
class BitsConfig:
    """Bit strings near hidden modes, words written in any order."""

    num_bits: int = 120
    """length of the string"""
    word_size: int = 8
    """bits written at once"""
    num_modes: int = 60
    """hidden modes"""
    beta: float = 3.0
    """log R = -beta x distance to the nearest mode / num_bits"""
    mode_seed: int = 0
    """of the modes"""

    def make(self) -> BitSequence | FixedSequence:
        return bit_sequence(
            self.num_bits, self.word_size, self.num_modes, self.beta, self.mode_seed
        )


@dataclass(frozen=True)
class LeftToRightBitsConfig(BitsConfig):
    """Bit strings near hidden modes, words appended."""

    def make(self) -> FixedSequence:
        return left_to_right_bits(
            self.num_bits, self.word_size, self.num_modes, self.beta, self.mode_seed
        )


@dataclass(frozen=True)
class TFBind8Config:
    """DNA of 8 nucleotides that binds a transcription factor."""

    both_ends: bool = False
    """nucleotides may be prepended as well as appended"""

    def make(self) -> FixedSequence:
        return tfbind8(self.both_ends)


@dataclass(frozen=True)
class QM9SmallConfig:
    """Molecules of 5 out of 11 blocks."""

    def make(self) -> FixedSequence:
        return qm9_small()


@dataclass(frozen=True)
class AMPConfig:
    """Antimicrobial peptides of up to 60 amino acids."""

    def make(self) -> VariableSequence:
        return antimicrobial_peptides()


@dataclass(frozen=True)
class DAGConfig:
    """The posterior over Bayesian networks, given data."""

    num_nodes: int = 5
    """variables of the synthetic data; with --data, its columns count"""
    score: Literal["bge", "linear-gaussian"] = "bge"
    """marginal likelihood of the data given a graph"""
    prior: Literal["uniform", "edge"] = "uniform"
    """every graph alike, or every edge with probability edge_probability"""
    edge_probability: float = 0.2
    """of the edge prior"""
    data: str | None = None
    """.npy, .npz, .csv, .tsv or .parquet file, a row a sample and a column a variable;
    synthetic without"""
    standardise: bool = False
    """give every variable mean 0 and variance 1 first"""
    edges_per_node: float = 1.0
    """expected edges of the random graph behind synthetic data"""
    num_samples: int = 100
    """rows of synthetic data"""
    data_seed: int = 0
    """of synthetic data"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", absolute(self.data))

    def make(self) -> DAGs:
        rows = self._synthetic() if self.data is None else read_matrix(self.data)
        likelihood = {"bge": bge, "linear-gaussian": linear_gaussian}[self.score](
            rows, standardise=self.standardise
        )
        prior = UNIFORM if self.prior == "uniform" else EdgePrior(self.edge_probability)
        return DAGs(rows.shape[1], posterior(likelihood, prior))

    def _synthetic(self) -> np.ndarray:
        graph_key, data_key = jax.random.split(jax.random.key(self.data_seed))
        graph = erdos_renyi_dag(graph_key, self.num_nodes, self.edges_per_node)
        return np.asarray(linear_gaussian_data(data_key, graph, self.num_samples).data)


@dataclass(frozen=True)
class PhylogenyConfig:
    """Phylogenetic trees by parsimony."""

    dataset: Literal["DS1", "DS2", "DS3", "DS4", "DS5", "DS6", "DS7", "DS8"] = "DS1"
    """published alignment, with its offset"""
    sequences: str | None = None
    """alignment of your own, FASTA, PHYLIP, NEXUS or a .json object from species to sequences;
    replaces the dataset"""
    offset: float = 0.0
    """of your own sequences: about the changes of a good tree"""
    reward_temperature: float = 4.0
    """of your own sequences: R = exp((offset - changes) / reward_temperature)"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sequences", absolute(self.sequences))

    def make(self) -> Phylogeny:
        if self.sequences is None:
            return phylogeny_benchmark(self.dataset)
        return phylogeny(read_sequences(self.sequences), self.offset, self.reward_temperature)


@dataclass(frozen=True)
class IsingConfig:
    """Spins on a square lattice that wraps around, all neighbours coupled alike."""

    side: int = 4
    """of the lattice"""
    sigma: float = 0.2
    """coupling of neighbours; below 0 they prefer to differ"""

    def make(self) -> Ising:
        return Ising(self.side, lattice(self.side, self.sigma))


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

    def make(self) -> Ising:
        return Ising(self.side, IsingReward(jnp.zeros((self.side**2,) * 2)))

    def learn_reward(self, sampler: GFlowNet) -> EnergyGFlowNet:
        """The run that learns the couplings with `sampler`; the truth is known for comparison."""
        numbers = sampler.hyperparameters
        if (numbers.epsilon, numbers.temperature) != (0.0, 1.0):
            raise ValueError("epsilon and temperature are not used here: data do the exploring")
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
