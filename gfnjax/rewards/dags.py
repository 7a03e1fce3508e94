"""Scores of directed acyclic graphs: log P(data | G) + log P(G), a sum of one term a node.

A likelihood gives log P(x_j | x_parents) for a node and a mask of its parents, with everything
else integrated out; a prior gives log P(G) up to a constant, from the same mask. A change of one
edge changes one term: `ModularReward.delta_score`.
"""

from collections.abc import Callable
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from gfnjax.types import Array

# Up to here d * 2^d local scores fit easily.
MAX_TABULATED_NODES = 8


@struct.dataclass
class UniformPrior:
    """Every DAG alike: log P(G) = 0 up to a constant."""

    def __call__(self, parents: Array) -> Array:
        return jnp.zeros((), jnp.result_type(float))


@struct.dataclass
class EdgePrior:
    """P(G) ~ (p / (1 - p))^edges: each edge present with probability p, given acyclicity."""

    probability: float

    def __post_init__(self) -> None:
        if isinstance(self.probability, float) and not 0 < self.probability < 1:
            raise ValueError(f"probability must be between 0 and 1, got {self.probability}")

    def __call__(self, parents: Array) -> Array:
        log_odds = jnp.log(self.probability) - jnp.log1p(-self.probability)
        return parents.sum().astype(jnp.result_type(float)) * log_odds


Prior = Callable[[Array], Array]
UNIFORM = UniformPrior()


class Likelihood(Protocol):
    """A callable pytree: log P(x_node | x_parents) in nats, and the number of nodes."""

    @property
    def num_nodes(self) -> int: ...

    def __call__(self, node: Array, parents: Array) -> Array: ...


class ModularReward:
    """log R(G) = sum_j gain(j, parents of j), relative to the empty graph: log R(empty) = 0.

    A posterior does not change with the constant, and flows stay near zero at the start. The
    absolute log P(data, G) is `score`.
    """

    @property
    def num_nodes(self) -> int:
        raise NotImplementedError

    def gain(self, node: Array, parents: Array) -> Array:
        """`local_score(node, parents) - local_score(node, no parents)`, nats."""
        raise NotImplementedError

    def empty_score(self, node: Array) -> Array:
        """The local score of a node without parents, nats."""
        raise NotImplementedError

    def local_score(self, node: Array, parents: Array) -> Array:
        """log P(x_node | x_parents) + log prior of these parents; `parents` is `[d]` bool."""
        return self.empty_score(node) + self.gain(node, parents)

    def delta_score(self, adjacency: Array, edge: Array) -> Array:
        """score(G + edge) - score(G) for an absent edge u * d + v: one local score changes."""
        source, target = edge // self.num_nodes, edge % self.num_nodes
        parents = adjacency[:, target]
        more = parents | (jnp.arange(self.num_nodes, dtype=jnp.int32) == source)
        return self.gain(target, more) - self.gain(target, parents)

    def score(self, adjacency: Array) -> Array:
        """log P(data | G) + log P(G), up to the prior's constant. `adjacency` is `[d, d]` bool."""
        return jax.vmap(self.empty_score)(self._nodes).sum() + self(adjacency)

    def __call__(self, adjacency: Array) -> Array:
        return jax.vmap(self.gain)(self._nodes, adjacency.T).sum()

    @property
    def _nodes(self) -> Array:
        return jnp.arange(self.num_nodes, dtype=jnp.int32)


@struct.dataclass
class ComputedReward(ModularReward):
    """Local scores computed when they are asked for, one Cholesky factor each."""

    likelihood: Likelihood
    prior: Prior = UNIFORM

    @property
    def num_nodes(self) -> int:
        return self.likelihood.num_nodes

    def empty_score(self, node: Array) -> Array:
        nobody = jnp.zeros(self.num_nodes, bool)
        return self.likelihood(node, nobody) + self.prior(nobody)

    def gain(self, node: Array, parents: Array) -> Array:
        score = self.likelihood(node, parents) + self.prior(parents)
        return score - self.empty_score(node)


@struct.dataclass
class TabulatedReward(ModularReward):
    """All d 2^d local scores in a table; build one with `tabulate`.

    Attributes:
        gains: `[d, 2^d]`, the parents' mask as a binary number with node 0 lowest.
        empty_scores: `[d]`.
    """

    gains: Array
    empty_scores: Array

    @property
    def num_nodes(self) -> int:
        return self.gains.shape[0]

    def empty_score(self, node: Array) -> Array:
        return self.empty_scores[node]

    def gain(self, node: Array, parents: Array) -> Array:
        place = jnp.asarray(1 << np.arange(self.num_nodes), jnp.int32)
        return self.gains[node, jnp.where(parents, place, 0).sum(dtype=jnp.int32)]


def tabulate(reward: ModularReward) -> TabulatedReward:
    """All local scores of a reward, computed in double precision and rounded once."""
    dtype = jnp.result_type(float)
    num_nodes = reward.num_nodes
    masks = np.arange(2**num_nodes)[:, None] >> np.arange(num_nodes) & 1 == 1
    with jax.enable_x64(True):
        nodes = jnp.arange(num_nodes, dtype=jnp.int32)
        over_masks = jax.vmap(reward.gain, (None, 0))
        gains = jax.jit(jax.vmap(over_masks, (0, None)))(nodes, jnp.asarray(masks))
        empty = np.asarray(jax.vmap(reward.empty_score)(nodes))
        # A node is never its own parent; the entry is kept finite.
        own = masks.T
        gains = np.where(own, 0.0, np.asarray(gains))
    return TabulatedReward(jnp.asarray(gains, dtype), jnp.asarray(empty, dtype))


def posterior(likelihood: Likelihood, prior: Prior = UNIFORM) -> ModularReward:
    """The reward whose distribution is P(G | data): a table up to 8 nodes, computed beyond."""
    reward = ComputedReward(likelihood, prior)
    return tabulate(reward) if reward.num_nodes <= MAX_TABULATED_NODES else reward
