"""A network for forests that treats all species alike: trees attend to each other, pairs merge."""

from dataclasses import dataclass

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from gfnjax import registry
from gfnjax.envs.phylogeny import ForestView, Phylogeny
from gfnjax.errors import ArgumentError
from gfnjax.policies.base import Policy, from_flax, sizes_of
from gfnjax.policies.transformer import AttentionSizes, Block, check_sizes
from gfnjax.types import Array, PolicyOutput


class ForestNetwork(nn.Module):
    """Each tree is embedded from its size, its costs and its root's sets; no slot has a name.

    The logit of a merge is a symmetric function of the two trees, and of the changes it adds;
    relabelling the species therefore permutes the logits and leaves the flow as it is. At first
    P_F is about proportional to exp(-changes / temperature).
    """

    width: int
    num_heads: int
    num_layers: int
    read_sets: bool

    @nn.compact
    def __call__(self, forest: ForestView) -> PolicyOutput:
        num_slots = forest.size.size
        is_open = forest.size > 0
        progress = jnp.broadcast_to(forest.parsimony, (num_slots,))
        distance = forest.costs.sum(axis=1) / (1 + forest.costs.sum())
        x = self._dense(self.width)(jnp.stack([forest.size, progress, distance], axis=-1))
        if self.read_sets:
            x = x + self._dense(self.width)(forest.sets)
        mask = jnp.broadcast_to(is_open[None], (num_slots, num_slots))
        for _ in range(self.num_layers):
            x = Block(self.width, self.num_heads)(x, mask)
        x = nn.LayerNorm(dtype=x.dtype, param_dtype=x.dtype)(x)
        mean = jnp.where(is_open[:, None], x, 0.0).sum(axis=0) / is_open.sum().astype(x.dtype)
        return PolicyOutput(
            forward_logits=self._merges(x, forest.costs),
            backward_logits=self._dense(1)(x)[:-1, 0],
            log_flow=self._dense(1)(mean)[0],
        )

    def _merges(self, x: Array, costs: Array) -> Array:
        """`[n (n - 1) / 2]` logits of all pairs of slots, from `[n, width]` and `[n, n]`."""
        first, second = np.triu_indices(len(x), 1)
        each, product = self._dense(self.width)(x), self._dense(self.width)(x)
        pair = each[first] + each[second] + product[first] * product[second]
        trust = self.param("trust", nn.initializers.ones, (), x.dtype)
        return self._dense(1)(nn.gelu(pair))[:, 0] - trust * costs[first, second]

    def _dense(self, width: int) -> nn.Dense:
        dtype = jnp.result_type(float)
        return nn.Dense(width, dtype=dtype, param_dtype=dtype)


def forest_policy(
    env: Phylogeny,
    width: int = 64,
    num_heads: int = 4,
    num_layers: int = 2,
    read_sets: bool = True,
) -> Policy:
    """Attention among the trees of a forest, for `Phylogeny`.

    Args:
        env: the environment.
        width: of the embeddings, a multiple of `num_heads`.
        num_heads: of the attention.
        num_layers: at least 1.
        read_sets: look at the sets at the roots, which costs most of the time where columns are
            many; without, trees are told apart by their sizes and merge costs alone.

    Raises:
        TypeError: if `env` is not a `Phylogeny`.
        ValueError: if a size is out of range.
    """
    if not isinstance(env, Phylogeny):
        raise ArgumentError(
            "env", f"needs a Phylogeny, got {type(env).__name__}", subject="forest_policy"
        )
    check_sizes(width, num_heads, num_layers)
    made_for = sizes_of(env, "num_actions", "num_backward_actions")
    module = ForestNetwork(width, num_heads, num_layers, read_sets)
    return from_flax(module, made_for=made_for)


@registry.network("forest")
@dataclass(frozen=True)
class ForestConfig(AttentionSizes):
    """attention among the trees of a forest"""

    read_sets: bool = True
    """look at the characters at the roots; without, at sizes and merge costs alone, much faster"""

    def make(self, env: Phylogeny) -> Policy:
        return forest_policy(env, self.width, self.num_heads, self.num_layers, self.read_sets)
