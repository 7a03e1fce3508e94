"""A graph network for DAGs: messages along the edges, then heads for pairs of nodes."""

from dataclasses import dataclass

import flax.linen as nn
import jax.numpy as jnp

from gfnjax import registry
from gfnjax.arguments import whole
from gfnjax.envs.dags import DAGs
from gfnjax.errors import ArgumentError
from gfnjax.policies.base import Policy, from_flax, sizes_of
from gfnjax.types import Array, PolicyOutput


class GraphNetwork(nn.Module):
    """Adjacency `[d, d]` -> logits of adding and of removing each edge, of stopping, and log F.

    The nodes h_u of `NeighbourSum` and their mean g give the logits of an edge, a perceptron of
    (h_u, h_v, g, is it there), and of stopping, one of g. The first layers are applied to nodes
    before pairs are formed, so a pair costs one addition.
    """

    width: int = 128

    @nn.compact
    def __call__(self, adjacency: Array) -> PolicyOutput:
        num_nodes = adjacency.shape[0]
        nodes = NeighbourSum(self.width, name="nodes")(adjacency)
        overall = nodes.mean(axis=0)
        pairs = (
            _dense(self.width, "source")(nodes)[:, None]
            + _dense(self.width, "target")(nodes)[None, :]
        )
        pairs = pairs + _dense(self.width, "overall")(overall)[None, None]
        pairs = pairs + _dense(self.width, "edge")(adjacency[..., None])
        edges = _dense(2, "edge_heads")(nn.relu(pairs)).reshape(num_nodes**2, 2)
        hidden = nn.relu(_dense(self.width, "summary")(overall))
        stop, resume, log_flow = _dense(3, "heads")(hidden)
        return PolicyOutput(
            jnp.append(edges[:, 0], stop), jnp.append(edges[:, 1], resume), log_flow
        )


class NeighbourSum(nn.Module):
    """Adjacency `[d, d]` -> `[d, width]` nodes that know their neighbours.

    Node u starts from an embedding e_u of its name. Messages relu(A e_u + B e_v) are summed over
    the edges u -> v, separately at u and at v.
    """

    width: int

    @nn.compact
    def __call__(self, adjacency: Array) -> Array:
        dtype = jnp.result_type(float)
        shape = adjacency.shape[0], self.width
        names = self.param("names", nn.initializers.normal(1.0), shape, dtype)
        sender, receiver = _dense(self.width, "sender"), _dense(self.width, "receiver")
        messages = nn.relu(sender(names)[:, None] + receiver(names)[None, :])
        messages = messages * adjacency[..., None]
        heard = jnp.concatenate([names, messages.sum(axis=0), messages.sum(axis=1)], axis=-1)
        hidden = nn.relu(_dense(self.width, "update")(heard))
        return nn.LayerNorm(dtype=dtype, param_dtype=dtype, name="norm")(names + hidden)


def _dense(width: int, name: str) -> nn.Dense:
    dtype = jnp.result_type(float)
    return nn.Dense(width, dtype=dtype, param_dtype=dtype, name=name)


def graph_policy(env: DAGs, width: int = 128) -> Policy:
    """A one-layer graph network that fits `env`.

    Raises:
        TypeError: if `env` is not a `DAGs`.
        ValueError: if `width` is not positive.
    """
    if not isinstance(env, DAGs):
        got = type(env).__name__
        raise ArgumentError("env", f"needs a DAGs environment, got {got}", subject="graph_policy")
    if width < 1:
        raise ArgumentError("width", f"must be at least 1, got {width}")
    made_for = sizes_of(env, "num_actions", "num_backward_actions")
    return from_flax(GraphNetwork(width), made_for=made_for)


@registry.network("graph")
@dataclass(frozen=True)
class GraphConfig:
    """messages along the edges of a DAG"""

    width: int = 64
    """of the embeddings"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "width", whole("width", self.width))

    def make(self, env: DAGs) -> Policy:
        return graph_policy(env, self.width)
