"""What a policy finds on each of several graphs, and how good and how different that is."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax.arguments import check_key, whole
from gfnjax.envs.base import State
from gfnjax.envs.conditional import Conditional, ConditionalState
from gfnjax.envs.graph_problems import GraphState
from gfnjax.envs.tempered import Tempered
from gfnjax.model import Model
from gfnjax.policies.base import Behaviour
from gfnjax.policies.node_network import problem_of
from gfnjax.rollout import terminal_states
from gfnjax.state import Params
from gfnjax.types import Array


class Summary(NamedTuple):
    """Of K objects of one graph.

    Attributes:
        best: score.
        mean: score.
        distinct: different objects.
        distinct_best: different ones with the best score.
    """

    best: int
    mean: float
    distinct: int
    distinct_best: int


def sample_solutions(
    model: Model, params: Params, key: Array, num: int
) -> tuple[np.ndarray, np.ndarray]:
    """`num` objects of each graph of a `GraphProblem`, from the policy without exploration.

    Args:
        model: such as `gfn.model`; its environment may be one on other graphs than were trained on.
            Of a conditional one all trajectories have the condition it is `at`, else a typical one.
        params: of the policies.
        key: a typed PRNG key.
        num: K.

    Returns:
        `[G, K, N]` bool, their nodes, and `[G, K]` int32, their scores.

    Raises:
        TypeError: for another environment.
    """
    problem = problem_of(model.env)
    parts, scores = _sample(model, params, check_key("key", key), whole("num", num, 1))
    shape = problem.num_graphs, num
    return np.asarray(parts).reshape(*shape, -1), np.asarray(scores).reshape(shape)


@partial(jax.jit, static_argnames="num")
def _sample(model: Model, params: Params, key: Array, num: int) -> tuple[Array, Array]:
    problem = problem_of(model.env)
    each = jnp.repeat(jnp.arange(problem.num_graphs, dtype=jnp.int32), num)
    given: Any = {"sources": jax.vmap(partial(_source, model.env))(each)}
    trajectories, _ = model.explore(params, key, each.size, Behaviour(), **given)
    states = _of_problem(model.env, terminal_states(trajectories))
    return jax.vmap(problem.parts)(states), jax.vmap(problem.score)(states)


def _source(env: Any, graph: Array) -> State:
    """s_0 of a graph, with a condition for each one in `env`."""
    if isinstance(env, Conditional):
        return ConditionalState(_source(env.rules, graph), env.initial_state().condition)
    return _source(env.env, graph) if isinstance(env, Tempered) else env.source(graph)


def _of_problem(env: Any, state: Any) -> GraphState:
    """The state of the `GraphProblem` in one of `env`."""
    if isinstance(env, Conditional):
        return _of_problem(env.rules, state.inner)
    return _of_problem(env.env, state) if isinstance(env, Tempered) else state


def summarise(parts: np.ndarray, scores: np.ndarray) -> Summary:
    """Of objects `[K, N]` of one graph and their scores `[K]`."""
    best = scores.max()
    different = len(np.unique(parts, axis=0))
    return Summary(
        int(best), float(scores.mean()), different, len(np.unique(parts[scores == best], axis=0))
    )


def gap(scores: Any, reference: Any) -> float:
    """How far `[n]` scores fall short of the reference, as a share of it, on average.

    0 where nothing is missing, negative where the reference is not the best.
    """
    score, best = np.asarray(scores, float), np.asarray(reference, float)
    return float(((best - score) / np.maximum(np.abs(best), 1.0)).mean())
