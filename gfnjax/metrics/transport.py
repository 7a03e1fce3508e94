"""The shortest trajectories that a sampler of R / Z can have: a transport problem.

Of all flows that end in R / Z the least in total is found by a linear programme over edges,

    min sum_e f(e)   such that   in(s) = out(s) on the way, in(x) = R(x) / Z, f >= 0,

the sum over all edges into states that are not terminal: that is E[n]. Where s_1 is drawn from a
fixed mu, E[n] - 1 is the Wasserstein-1 distance between mu and R / Z in the metric of the graph,
and the policy is an optimal plan (2606.06272). On the host, in double precision.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_array

from gfnjax.errors import ArgumentError
from gfnjax.metrics.state_graph import StateGraph


class EdgeFlow(NamedTuple):
    """A flow of total 1 from s_0 to R / Z.

    Attributes:
        flow: `[N, num_actions]` probability that flows along each edge; 0 where there is none.
            Where s_1 is drawn that of s_0 stands for the step to its s_1, whichever that is.
        expected_length: E[n], the states of a trajectory between s_0 and its end on average.
    """

    flow: np.ndarray
    expected_length: float


def least_flow(graph: StateGraph, least: np.ndarray | float = 0.0) -> EdgeFlow:
    """The flow with the shortest trajectories on average.

    Args:
        graph: of the environment.
        least: `[N, num_actions]` or a number, what must flow along each edge whose head is not
            terminal, so that no probability is zero.

    Raises:
        ValueError: if there is no such flow.
    """
    mask, terminal = np.asarray(graph.forward_mask).copy(), np.asarray(graph.terminal)
    num_states, source = terminal.size, int(graph.source)
    target = np.where(terminal, np.asarray(graph.log_reward, np.float64), -np.inf)
    # What enters a state less what leaves it.
    wanted = np.exp(target - np.logaddexp.reduce(target))
    if graph.log_source is None:
        wanted[source] -= 1.0
    else:
        mask[source] = False
        first = np.exp(np.asarray(graph.log_source, np.float64))
        wanted -= first / first.sum()  # of float32 it need not sum to 1
    tails, actions = np.nonzero(mask)
    heads = np.asarray(graph.children)[mask]
    edges = np.arange(heads.size)
    signs = np.concatenate([np.ones(heads.size), -np.ones(heads.size)])
    place = np.concatenate([heads, tails]), np.concatenate([edges, edges])
    balance = coo_array((signs, place), (num_states, heads.size)).tocsr()
    kept = np.arange(num_states) != source  # which follows from the others
    inside = ~terminal[heads]
    bound = np.where(inside, np.broadcast_to(least, mask.shape)[mask], 0.0)
    options = {"primal_feasibility_tolerance": 1e-10}
    found = linprog(
        inside.astype(float),
        A_eq=balance[kept],
        b_eq=wanted[kept],
        bounds=np.stack([bound, np.full(heads.size, np.inf)], axis=1),
        options=options,
    )
    if found.x is None:
        raise ArgumentError("graph", f"has no such flow: {found.message}")
    flow = np.zeros(mask.shape)
    flow[tails, actions] = found.x
    length = float(found.x[inside].sum())
    if graph.log_source is not None:
        flow[source, np.asarray(graph.forward_mask)[source]] = 1.0
        length += 1.0
    return EdgeFlow(flow, length)


def least_length(graph: StateGraph) -> float:
    """The lower bound of E[n] over all samplers of R / Z: 1 + W_1(mu, R / Z) where s_1 is drawn."""
    return least_flow(graph).expected_length
