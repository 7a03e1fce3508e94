"""`check_objective`: does an objective vanish at the exact optimum, and only there?"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from gfnjax import masking
from gfnjax.arguments import check_key
from gfnjax.envs.base import Environment, log_partial_reward_of
from gfnjax.envs.tabular import random_dag
from gfnjax.gflownet import GFlowNet
from gfnjax.metrics import exact
from gfnjax.metrics.state_graph import StateGraph, build_graph
from gfnjax.metrics.transport import least_flow
from gfnjax.objectives.base import Objective, as_objective, loss_and_errors
from gfnjax.policies.backward import LearnedBackward
from gfnjax.policies.tabular import tabular_policy
from gfnjax.state import Params
from gfnjax.testing.claims import require
from gfnjax.types import Array, Number, Residuals, Scores


def exact_optimum(
    env: Environment, key: Array, value_scale: Number | None = None, looks_forward: bool = False
) -> Params:
    """Parameters of `tabular_policy(env)` at the optimum for a random positive P_B.

    P_B is drawn, F and P_F follow from R by dynamic programming, log Z is exact. The forward
    logits are log P_F, plus log F / value_scale where there is one, as soft Q-learning wants;
    with `looks_forward` the flows of states that are not terminal are log F minus the partial
    reward, as forward-looking objectives want. An objective's attributes say which it is.

    Where s_1 is drawn (`envs.base.RandomSource`) few P_B fit to it: F is then the least flow that
    leaves some, drawn at random, on every edge.
    """
    graph = build_graph(env)
    log_flow, log_pf, log_pb = _optimal_tables(graph, key)
    logits = log_pf if value_scale is None else log_pf + (log_flow / value_scale)[:, None]
    if looks_forward:
        log_flow = log_flow - jnp.where(graph.terminal, 0.0, _log_partial_rewards(env))
    table = {"forward_logits": logits, "backward_logits": log_pb, "log_flow": log_flow}
    return Params({"params": table}, exact.target_distribution(graph)[1])


def _optimal_tables(graph: StateGraph, key: Array) -> tuple[Array, Array, Array]:
    """log F `[N]`, log P_F `[N, num_actions]` and log P_B `[N, num_backward_actions]`."""
    dtype = graph.log_reward.dtype
    if graph.log_source is None:
        logits = jax.random.normal(key, graph.parents.shape, dtype)
        log_pb = masking.log_softmax(logits, graph.backward_mask)
        log_flow, log_pf = exact.optimal_flow(graph, log_pb)
        return log_flow, log_pf, log_pb
    some = jax.random.uniform(key, graph.children.shape, minval=0.1, maxval=1.0)
    edges = jnp.asarray(least_flow(graph, np.asarray(some) / graph.num_states).flow, dtype)
    log_z = exact.target_distribution(graph)[1]
    leaving = jnp.where(graph.forward_mask, jnp.log(jnp.maximum(edges, 0.0)), masking.FILL)
    arriving = leaving[graph.parents, graph.parent_actions]
    first = graph.parents == graph.source
    arriving = jnp.where(first, graph.log_source[:, None], arriving)
    log_flow = log_z + masking.logsumexp(leaving, graph.forward_mask)
    log_flow = jnp.where(graph.terminal, graph.log_reward, log_flow)
    log_pf = masking.log_softmax(leaving, graph.forward_mask)
    return log_flow, log_pf, masking.log_softmax(arriving, graph.backward_mask)


def _log_partial_rewards(env: Any) -> Array:
    """`[num_states]` of an environment with partial rewards."""
    index = jnp.arange(env.num_states, dtype=jnp.int32)
    return jax.vmap(lambda i: log_partial_reward_of(env, env.state_at(i)))(index)


@struct.dataclass
class _GivenBackward(LearnedBackward):
    """P_B as the table has it, whether or not the objective would train it."""


def check_objective(
    objective: Objective | Callable[[Scores], Residuals],
    key: Array,
    env: Environment | None = None,
    batch_size: int = 256,
    tolerance: float = 1e-4,
) -> None:
    """Check that an objective is zero, with zero gradient, at the exact optimum and only there.

    Args:
        objective: what to check.
        key: a typed PRNG key.
        env: an `Enumerable` environment; a random DAG by default.
        batch_size: trajectories of the uniform policy the loss is taken over.
        tolerance: for the square root of the loss and for each gradient entry, and ten times
            that for an `extra_loss`; the default is for single precision.

    Raises:
        ConformanceError: with the loss or gradient that should have been zero, or was.
    """
    check_key("key", key)
    env = random_dag(seed=0) if env is None else env
    objective = as_objective(objective)
    name = getattr(objective, "function", type(objective)).__name__
    keys = jax.random.split(key, 3)
    gfn = GFlowNet(env, tabular_policy(env), objective, _GivenBackward(), target_rate=1.0)
    optimum = exact_optimum(env, keys[0], objective.value_scale, objective.looks_forward)
    uniform = jax.tree.map(jnp.zeros_like, optimum)
    trajectories = gfn.sample(uniform, keys[1], batch_size)

    def loss(params: Params) -> tuple[Array, Array]:
        """The loss, and its part that is no mean of g(residual)."""
        target = jax.lax.stop_gradient(params.policy)
        scores = gfn.score(params, trajectories, target=target)
        extra = jax.vmap(objective.extra_loss)(scores).mean()
        # Of what was cut, where there are cycles, some learn nothing.
        counts = scores.from_source is None or objective.cycles == "all"
        keep = None if counts else scores.whole
        return loss_and_errors(objective, gfn.regression, scores, keep)[0], extra

    value_and_grad = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (total, extra), grads = value_and_grad(optimum)
    zero = (jnp.sqrt(jnp.abs(total - extra)) < tolerance) & (jnp.abs(extra) < 10 * tolerance)
    require(zero, f"{name}: must be 0 at the exact optimum, got {total:.3g}")
    worst = max(float(jnp.abs(g).max()) for g in jax.tree.leaves(grads))
    require(
        worst < tolerance,
        f"{name}: its gradient must be 0 at the exact optimum, got an entry of {worst:.3g}",
    )
    leaves, structure = jax.tree.flatten(optimum)
    noise = [
        jax.random.normal(k, x.shape, x.dtype)
        for k, x in zip(jax.random.split(keys[2], len(leaves)), leaves, strict=True)
    ]
    perturbed = jax.tree.map(jnp.add, optimum, structure.unflatten(noise))
    (total, _), _ = value_and_grad(perturbed)
    # The surrogate of a policy gradient may have either sign.
    away = jnp.abs(total) > 1e-2
    require(away, f"{name}: must be positive away from the optimum, got {total:.3g}")
