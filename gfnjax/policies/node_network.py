"""A graph network for graph problems: messages along the edges, then a logit for every node.

No node has a name: relabelled graphs get relabelled logits and the same log F, and the same
parameters fit graphs of any size.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax import lax

from gfnjax import registry
from gfnjax.arguments import whole
from gfnjax.envs.base import State
from gfnjax.envs.conditional import Conditional
from gfnjax.envs.graph_problems import GraphProblem, GraphView
from gfnjax.envs.tempered import Tempered, exponent_in_force
from gfnjax.errors import ArgumentError
from gfnjax.policies.base import Policy, from_flax
from gfnjax.rewards.scalarisation import Temperature
from gfnjax.types import Array, PolicyOutput

NUM_STATUSES = 3
UNDECIDED = 2


class Observation(NamedTuple):
    """What the network sees.

    Attributes:
        view: the graph and the status of its nodes.
        beta: `[]` the inverse temperature in force.
        condition: `[k]` the encoded condition, k = 0 without.
    """

    view: GraphView
    beta: Array
    condition: Array


class NodeNetwork(nn.Module):
    """A graph and the status of its nodes -> a logit of each node forward and backward, and log F.

    A graph isomorphism network (Xu et al., 1810.00826) as `Trunk`; what its layers say of a node is
    read out together. log F is a sum over undecided nodes, so that it grows with the graph, and a
    function of the mean over all nodes and of log n:

        log F(s) = beta h(s) + c(s),  each a sum and a function of the mean.

    At low temperature h does most: it need not move while beta is annealed.

    Attributes:
        width: of the embeddings.
        num_layers: of messages.
        separate_flow: whether log F has a trunk of its own, as in 2305.17010.
        stops: whether there is an action that stops.
    """

    width: int
    num_layers: int
    separate_flow: bool
    stops: bool

    @nn.compact
    def __call__(self, observation: Observation) -> PolicyOutput:
        view, beta, condition = observation
        nodes = Trunk(self.width, self.num_layers, name="trunk")(view, condition)
        logits = self._small(2, "node_logits")(nodes)
        forward, backward = logits[:, 0], logits[:, 1]
        if self.stops:
            stop, resume = self._small(2, "stop_logits")(self._summary(nodes, view, "stop"))
            forward, backward = jnp.append(forward, stop), jnp.append(backward, resume)
        if self.separate_flow:
            nodes = Trunk(self.width, self.num_layers, name="flow_trunk")(view, condition)
        each = self._small(2, "node_flows")(nodes)
        total = jnp.where((view.status == UNDECIDED)[:, None], each, 0.0).sum(axis=0)
        total = total + self._small(2, "flows")(self._summary(nodes, view, "flow"))
        return PolicyOutput(forward, backward, beta * total[0] + total[1])

    def _summary(self, nodes: Array, view: GraphView, name: str) -> Array:
        """`[width]` of the mean over the nodes, and how many there are."""
        undecided = (view.status == UNDECIDED).sum(dtype=jnp.int32)
        numbers = jnp.stack([view.there.sum(dtype=jnp.int32), undecided]).astype(nodes.dtype)
        found = jnp.append(_mean(nodes, view.there), jnp.log1p(numbers))
        return nn.relu(_dense(self.width, f"{name}_summary")(found))

    def _small(self, width: int, name: str) -> nn.Dense:
        """A head that starts near zero: training starts from near-uniform policies."""
        dtype = jnp.result_type(float)
        small = nn.initializers.variance_scaling(1e-4, "fan_in", "truncated_normal")
        return nn.Dense(width, dtype=dtype, param_dtype=dtype, kernel_init=small, name=name)


class Trunk(nn.Module):
    """`[N, width]` what the nodes know of the graph around them; zero at padding.

    h_v <- h_v + MLP((1 + epsilon) h_v + sum over neighbours of h_u, mean over all nodes).
    """

    width: int
    num_layers: int

    @nn.compact
    def __call__(self, view: GraphView, condition: Array) -> Array:
        dtype = jnp.result_type(float)
        there = view.there[:, None]
        adjacency = view.adjacency.astype(dtype)
        status = (view.status[:, None] == jnp.arange(NUM_STATUSES, dtype=jnp.int32)[None]).astype(
            dtype
        )
        # How many neighbours there are of each kind: a mean alone would not tell.
        features = jnp.concatenate([status, jnp.log1p(adjacency @ status)], axis=-1)
        nodes = _dense(self.width, "status")(features)
        if condition.size > 0:
            nodes = nodes + _dense(self.width, "condition")(condition)[None]
        nodes = jnp.where(there, nodes, 0.0)
        layers = [nodes]
        for i in range(self.num_layers):
            epsilon = self.param(f"epsilon_{i}", nn.initializers.zeros, (), dtype)
            heard = (1 + epsilon) * nodes + adjacency @ nodes
            overall = _dense(self.width, f"overall_{i}")(_mean(nodes, view.there))
            hidden = _dense(self.width, f"hear_{i}")(heard) + overall[None]
            hidden = nn.relu(Norm(name=f"norm_{i}")(hidden))
            nodes = nodes + _dense(self.width, f"update_{i}")(hidden)
            nodes = jnp.where(there, nodes, 0.0)
            layers.append(nodes)
        read = nn.relu(_dense(self.width, "read")(jnp.concatenate(layers, axis=-1)))
        return jnp.where(there, read, 0.0)


class Norm(nn.Module):
    """`[..., width]` with mean 0 and variance 1 along the last axis, then scaled and shifted.

    Of a node alone, unlike batch normalisation: the policy that is scored is the one that samples.
    """

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = x.shape[-1:]
        scale = self.param("scale", nn.initializers.ones, shape, x.dtype)
        bias = self.param("bias", nn.initializers.zeros, shape, x.dtype)
        x = x - x.mean(axis=-1, keepdims=True)
        x = x * lax.rsqrt((x**2).mean(axis=-1, keepdims=True) + 1e-5)
        ones = (1,) * (x.ndim - 1)
        return x * scale.reshape(*ones, -1) + bias.reshape(*ones, -1)


def _mean(nodes: Array, there: Array) -> Array:
    """`[width]` over what is no padding, where `nodes` are zero."""
    return nodes.sum(axis=0) / there.sum().astype(nodes.dtype)


def _dense(width: int, name: str) -> nn.Dense:
    dtype = jnp.result_type(float)
    return nn.Dense(width, dtype=dtype, param_dtype=dtype, name=name)


def problem_view(env: Any, state: State) -> Observation:
    """What the network sees of a state of a graph problem, however tempered and conditional."""
    beta, conditions = jnp.ones((), jnp.result_type(float)), []
    while isinstance(env, Conditional | Tempered):
        if isinstance(env, Tempered):
            env, beta = env.env, beta * exponent_in_force(env)
            continue
        conditions.append(env.conditions.encode(state.condition))
        if isinstance(env.reward, Temperature):
            beta = beta * state.condition[0]
        env, state = env.rules, state.inner
    condition = jnp.concatenate([jnp.zeros(0, beta.dtype), *conditions])
    return Observation(env.view(state), beta * jnp.asarray(env.beta, beta.dtype), condition)


def problem_of(env: Any) -> GraphProblem:
    """The `GraphProblem` under a condition or an exponent.

    Raises:
        TypeError: if there is none.
    """
    inner = env
    while isinstance(inner, Conditional | Tempered):
        inner = inner.rules if isinstance(inner, Conditional) else inner.env
    if not isinstance(inner, GraphProblem):
        raise ArgumentError("env", f"needs a GraphProblem, got {type(inner).__name__}")
    return inner


def node_policy(
    env: Any, width: int = 64, num_layers: int = 3, *, separate_flow: bool = False
) -> Policy:
    """A graph network for a `GraphProblem`, a conditional or tempered one too.

    It fits problems on other graphs as well, of any size.

    Args:
        env: the environment.
        width: of the embeddings.
        num_layers: of messages.
        separate_flow: whether log F has a trunk of its own.

    Raises:
        TypeError: if `env` is no graph problem.
        ValueError: if a size is not positive.
    """
    stops = not problem_of(env).maximal
    sizes = whole("width", width, 1), whole("num_layers", num_layers, 1)
    return from_flax(NodeNetwork(*sizes, separate_flow, stops), problem_view)


@registry.network("gin")
@dataclass(frozen=True)
class NodeConfig:
    """messages between the nodes of a graph problem"""

    width: int = 64
    """of the embeddings"""
    num_layers: int = 3
    """of messages"""
    separate_flow: bool = False
    """let log F have a trunk of its own"""

    def __post_init__(self) -> None:
        for name in ("width", "num_layers"):
            object.__setattr__(self, name, whole(name, getattr(self, name), 1))

    def make(self, env: Any) -> Policy:
        return node_policy(env, self.width, self.num_layers, separate_flow=self.separate_flow)
