"""Scores of directed acyclic graphs: log P(data | G) + log P(G), a sum of one term a node.

A likelihood gives log P(x_j | x_parents) for a node and a mask of its parents, with everything
else integrated out; a prior gives log P(G) up to a constant, from the same mask. A change of one
edge changes one term: `ModularReward.delta_score`.
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from gfnjax.arguments import is_known
from gfnjax.errors import ArgumentError
from gfnjax.identity import Comparable
from gfnjax.pytree import pytree
from gfnjax.rewards.gaussian_networks import subsets
from gfnjax.shapes import check_shape
from gfnjax.types import Array

# Up to here d * 2^d local scores fit easily, and up to there where a likelihood lists them itself.
MAX_TABULATED_NODES, MAX_LISTED_NODES = 8, 16


@struct.dataclass
class UniformPrior:
    """Every DAG alike: log P(G) = 0 up to a constant."""

    def __call__(self, parents: Array) -> Array:
        return jnp.zeros((), jnp.result_type(float))


@pytree
class EdgePrior(Comparable):
    """P(G) ~ (p / (1 - p))^edges: each edge present with probability p, given acyclicity."""

    probability: float

    def __post_init__(self) -> None:
        if is_known(self.probability) and not 0 < self.probability < 1:
            raise ArgumentError("probability", f"must be between 0 and 1, got {self.probability}")

    def __call__(self, parents: Array) -> Array:
        check_shape("parents", parents, (None,), "[d]")
        log_odds = jnp.log(self.probability) - jnp.log1p(-self.probability)
        return parents.sum().astype(jnp.result_type(float)) * log_odds


Prior = Callable[[Array], Array]
UNIFORM = UniformPrior()


class Likelihood(Protocol):
    """A callable pytree: log P(x_node | x_parents) in nats, and the number of nodes."""

    @property
    def num_nodes(self) -> int: ...

    def __call__(self, node: Array, parents: Array) -> Array: ...


@runtime_checkable
class ListedLikelihood(Protocol):
    """A likelihood that gives differences without cancellation, and all of them on the host."""

    @property
    def num_nodes(self) -> int: ...

    def __call__(self, node: Array, parents: Array) -> Array: ...

    def empty_score(self, node: Array) -> Array:
        """log P(x_node) without parents."""
        ...

    def gain(self, node: Array, parents: Array) -> Array:
        """log P(x_node | x_parents) - log P(x_node)."""
        ...

    def gain_table(self) -> np.ndarray:
        """`[d, 2^d]` float64 gains of all sets of parents, node 0 the lowest bit."""
        ...


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
        self._check(adjacency)
        source, target = edge // self.num_nodes, edge % self.num_nodes
        parents = adjacency[:, target]
        more = parents | (jnp.arange(self.num_nodes, dtype=jnp.int32) == source)
        return self.gain(target, more) - self.gain(target, parents)

    def score(self, adjacency: Array) -> Array:
        """log P(data | G) + log P(G), up to the prior's constant. `adjacency` is `[d, d]` bool."""
        self._check(adjacency)
        return jax.vmap(self.empty_score)(self._nodes).sum() + self(adjacency)

    def __call__(self, adjacency: Array) -> Array:
        self._check(adjacency)
        return jax.vmap(self.gain)(self._nodes, adjacency.T).sum()

    def _check(self, adjacency: Array) -> None:
        check_shape("adjacency", adjacency, (self.num_nodes, self.num_nodes), "[d, d]")

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
        if isinstance(self.likelihood, ListedLikelihood):
            gain = self.likelihood.gain(node, parents)
        else:
            nobody = jnp.zeros(self.num_nodes, bool)
            gain = self.likelihood(node, parents) - self.likelihood(node, nobody)
        return gain + self.prior_gain(parents)

    def prior_gain(self, parents: Array) -> Array:
        """log prior of these parents less that of none."""
        return self.prior(parents) - self.prior(jnp.zeros(self.num_nodes, bool))


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
        check_shape("parents", parents, (self.num_nodes,), "[d]")
        place = jnp.asarray(1 << np.arange(self.num_nodes), jnp.int32)
        return self.gains[node, jnp.where(parents, place, 0).sum(dtype=jnp.int32)]


def tabulate(reward: ModularReward) -> TabulatedReward:
    """All local scores of a reward, computed in double precision and rounded once."""
    dtype = jnp.result_type(float)
    num_nodes = reward.num_nodes
    masks = subsets(num_nodes)
    with jax.enable_x64(True):
        nodes = jnp.arange(num_nodes, dtype=jnp.int32)
        if isinstance(reward, ComputedReward) and isinstance(reward.likelihood, ListedLikelihood):
            gains = reward.likelihood.gain_table()
            gains = gains + np.asarray(jax.vmap(reward.prior_gain)(jnp.asarray(masks)))
        else:
            over_masks = jax.vmap(reward.gain, (None, 0))
            gains = jax.jit(jax.vmap(over_masks, (0, None)))(nodes, jnp.asarray(masks))
        empty = np.asarray(jax.vmap(reward.empty_score)(nodes))
        # A node is never its own parent; the entry is kept finite.
        gains = np.where(masks.T, 0.0, np.asarray(gains))
    return TabulatedReward(jnp.asarray(gains, dtype), jnp.asarray(empty, dtype))


def posterior(likelihood: Likelihood, prior: Prior = UNIFORM) -> ModularReward:
    """The reward whose distribution is P(G | data).

    A table up to 8 nodes, up to 16 for `bge` and `linear_gaussian`; computed beyond.
    """
    reward = ComputedReward(likelihood, prior)
    listed = isinstance(likelihood, ListedLikelihood)
    limit = MAX_LISTED_NODES if listed else MAX_TABULATED_NODES
    return tabulate(reward) if reward.num_nodes <= limit else reward
