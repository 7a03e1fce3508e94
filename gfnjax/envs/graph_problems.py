"""Combinatorial optimisation on graphs: choose one node after the other until none is left."""

from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax.arguments import is_traced, suggest, whole
from gfnjax.data.graphs import PaddedGraphs, pad
from gfnjax.envs.drawing import FAINT, INK, ORANGE, Panel, histogram
from gfnjax.envs.graph_drawing import Lines, draw_graph, spread_out
from gfnjax.envs.graph_rules import RULES, Rules
from gfnjax.errors import ArgumentError, require
from gfnjax.identity import Comparable
from gfnjax.numbers import NON_NEGATIVE, check_number
from gfnjax.pytree import pytree, static
from gfnjax.types import Array

MAX_LISTED_NODES = 20
MAX_LISTED_SETS = 200_000


class GraphState(NamedTuple):
    """Where a trajectory stands.

    Attributes:
        graph: `[]` int32, the number of its graph.
        chosen: `[N]` bool, the nodes chosen so far; of a dominating set those that have left it.
        stopped: `[]` bool; always False where objects are maximal.
    """

    graph: Array
    chosen: Array
    stopped: Array


class GraphView(NamedTuple):
    """What a graph network sees of a state.

    Attributes:
        status: `[N]` int32, 0 where a node cannot be chosen any more, 1 where it is, 2 undecided.
        there: `[N]` bool, False at padding.
        adjacency: `[N, N]` bool; of a single graph the same for all states.
    """

    status: Array
    there: Array
    adjacency: Array


@pytree
class GraphProblem(Comparable):
    """Independent sets, cliques, dominating sets or cuts of graphs (Zhang et al., 2305.17010).

    Action v chooses node v, and backward action v takes it back; what cannot be chosen any more
    follows from the chosen set. Terminal where nothing is undecided:

        independent-set   all maximal independent sets        score |S|
        clique            all maximal cliques                 score |S|
        dominating-set    all minimal ones, nodes leave V     score -|D|
        max-cut           sets that no node may join without  score: the cut
                          lowering the cut

    log R = beta * score in nats; the partial reward is alike. Any order of choices leads to an
    object but for cuts, of which only nodes with at most half of their neighbours in S may have
    been the last: `backward_mask` says which. Uniform P_B over all of S would train a sampler of
    another distribution.

    With several graphs each trajectory draws one (`Conditioned`): log Z is log F(s_0) then.
    `graph_problem` makes one; that of a single small graph is `Enumerable`, and without `maximal`
    it is `Stoppable`: action N stops, on any independent set (the hard-core model, R =
    e^(beta |S|)), clique or dominating set.

    Attributes:
        rules: of the problem.
        maximal: whether objects end where nothing is left, or anywhere.
        max_steps: choices at most, of all graphs.
        adjacency: `[G, N, N]` bool; graphs are padded to N nodes.
        num_nodes: `[G]` int32.
        beta: inverse temperature, a number or `[]`.
        codes: `[S]` int32 sorted bit codes of the sets that can be reached; None if not listed.
    """

    rules: Rules = static()
    maximal: bool = static()
    max_steps: int = static()
    adjacency: Array
    num_nodes: Array
    beta: Any
    codes: Array | None = None

    def at(self, graph: int) -> "GraphProblem":
        """The problem of one of the graphs: same actions and observations of a graph network.

        `dataclasses.replace(gfn, env=gfn.env.at(3))` samples and evaluates on graph 3.

        Raises:
            ValueError: for a graph that is not there.
        """
        number = whole("graph", graph)
        there = 0 <= number < self.num_graphs
        require(there, "graph", f"must be in 0..{self.num_graphs - 1}", number)
        one = PaddedGraphs(*(np.asarray(x[number][None]) for x in (self.adjacency, self.num_nodes)))
        return _listed(self.rules, self.maximal, self.max_steps, one, self.beta)

    def source(self, graph: Array | int) -> GraphState:
        """s_0 of a graph."""
        nothing = jnp.zeros(self.adjacency.shape[-1], bool)
        return GraphState(jnp.asarray(graph, jnp.int32), nothing, jnp.zeros((), bool))

    @property
    def num_graphs(self) -> int:
        return self.adjacency.shape[0]

    @property
    def num_actions(self) -> int:
        return self.adjacency.shape[-1] + (not self.maximal)

    @property
    def num_backward_actions(self) -> int:
        return self.num_actions

    def initial_state(self) -> GraphState:
        return self.source(0)

    def step(self, state: GraphState, action: Array) -> GraphState:
        added = self._node(action) & self.undecided(state)
        stopped = state.stopped if self.maximal else state.stopped | (action == added.size)
        return state._replace(chosen=state.chosen | added, stopped=stopped)

    def backward_step(self, state: GraphState, backward_action: Array) -> GraphState:
        removed = self._node(backward_action) & ~state.stopped
        stopped = state.stopped
        if not self.maximal:
            stopped = stopped & (backward_action != removed.size)
        return state._replace(chosen=state.chosen & ~removed, stopped=stopped)

    def forward_mask(self, state: GraphState) -> Array:
        nodes = self.undecided(state)
        return nodes if self.maximal else jnp.append(nodes, ~state.stopped)

    def backward_mask(self, state: GraphState) -> Array:
        nodes = self.rules.undoable(*self._graph(state), state.chosen)
        return nodes if self.maximal else jnp.append(nodes & ~state.stopped, state.stopped)

    def backward_action(self, state: GraphState, action: Array) -> Array:
        return action

    def forward_action(self, state: GraphState, backward_action: Array) -> Array:
        return backward_action

    def is_terminal(self, state: GraphState) -> Array:
        return ~self.undecided(state).any() if self.maximal else state.stopped

    def observe(self, state: GraphState) -> Array:
        """`[3 N]` the status of each node, one-hot.

        Of several graphs `[3 N + N + N^2]`: then which nodes are there, and the edges.
        """
        view = self.view(state)
        seen = jax.nn.one_hot(view.status, 3).reshape(-1)
        if self.num_graphs == 1:
            return seen
        graph = jnp.append(view.there, view.adjacency.reshape(-1))
        return jnp.append(seen, graph.astype(seen.dtype))

    def view(self, state: GraphState) -> GraphView:
        """What a graph network sees of a state."""
        adjacency, there = self._graph(state)
        undecided = self.undecided(state)
        status = state.chosen.astype(jnp.int32) + 2 * undecided.astype(jnp.int32)
        return GraphView(status, there, adjacency)

    def undecided(self, state: GraphState) -> Array:
        """`[N]` bool: the nodes that may be chosen."""
        return self.rules.undecided(*self._graph(state), state.chosen) & ~state.stopped

    def parts(self, state: GraphState) -> Array:
        """`[N]` bool: the nodes of the set; of a cut those of one side."""
        return self.rules.parts(self._graph(state)[1], state.chosen)

    def score(self, state: GraphState) -> Array:
        """`[]` int32: log R at beta = 1, of a terminal state."""
        return self.rules.score(*self._graph(state), state.chosen)

    def log_reward(self, state: GraphState) -> Array:
        return self._beta() * self.score(state).astype(jnp.result_type(float))

    def log_partial_reward(self, state: GraphState) -> Array:
        if not self.maximal:
            return self.log_reward(state)
        score = self.rules.partial_score(*self._graph(state), state.chosen)
        return self._beta() * score.astype(jnp.result_type(float))

    def measure(self, states: GraphState) -> dict[str, Array]:
        score = jax.vmap(self.score)(states).astype(jnp.result_type(float))
        if self.num_graphs > 1:
            return {"score": score.mean()}
        return {"score": score.mean(), "best_score": score.max()}

    def render(self, states: GraphState, weights: np.ndarray) -> tuple[Panel, ...]:
        """How likely each score is, and of a single graph each node."""
        score = np.asarray(jax.vmap(self.score)(states))
        panels = [histogram(score, weights, "score")]
        if self.num_graphs == 1:
            there = np.arange(self.adjacency.shape[-1]) < np.asarray(self.num_nodes)[0]
            mass = np.asarray(weights) @ np.asarray(jax.vmap(self.parts)(states), float)
            panels.append(Panel(mass[there], "node"))
        return tuple(panels)

    def draw(self, axes: Any, state: GraphState) -> None:
        """Draw a set of nodes in its graph on a matplotlib axes, with the edges it is about."""
        number = int(state.graph) if self.num_graphs > 1 else 0
        size = int(np.asarray(self.num_nodes)[number])
        adjacency = np.asarray(self.adjacency)[number, :size, :size]
        parts = np.asarray(self.parts(state))[:size]
        marked = self.rules.marked(adjacency, parts)
        others = Lines(np.argwhere(np.triu(adjacency & ~marked)), FAINT, 1.0)
        lines = [others, Lines(np.argwhere(np.triu(marked)), INK)]
        draw_graph(axes, spread_out(adjacency), lines, np.where(parts, ORANGE, "white").tolist())
        which = f"graph {number}: " if self.num_graphs > 1 else ""
        axes.set_title(f"{which}score {int(self.score(state))}")

    def __reduce__(self) -> tuple[Any, ...]:  # its class may have been made at run time
        held = self.rules, self.maximal, self.max_steps, self.adjacency, self.num_nodes
        return _build, (*held, self.beta, self.codes)

    def _node(self, action: Array) -> Array:
        return jnp.arange(self.adjacency.shape[-1], dtype=jnp.int32) == action

    def _beta(self) -> Array:
        return jnp.asarray(self.beta, jnp.result_type(float))

    def _graph(self, state: GraphState) -> tuple[Array, Array]:
        """Adjacency `[N, N]` and which nodes are there `[N]`, of the graph of a state."""
        # Of a single graph the same array for all states, which `vmap` need not copy.
        index = 0 if self.num_graphs == 1 else state.graph
        adjacency, size = jnp.asarray(self.adjacency)[index], jnp.asarray(self.num_nodes)[index]
        return adjacency, jnp.arange(adjacency.shape[-1], dtype=jnp.int32) < size


# Abilities are those of a class, and `_kind` puts together the class that has the right ones.


class _Draw:
    def draw_initial_state(self: Any, key: Array) -> GraphState:
        return self.source(jax.random.randint(key, (), 0, self.num_graphs, jnp.int32))


class _Stop:
    @property
    def stop_action(self: Any) -> int:
        return self.adjacency.shape[-1]


class _List:
    @property
    def num_states(self: Any) -> int:
        return self.codes.shape[0] * (1 if self.maximal else 2)

    def state_index(self: Any, state: GraphState) -> Array:
        place = jnp.asarray(1 << np.arange(state.chosen.size), jnp.int32)
        code = jnp.where(state.chosen, place, 0).sum(dtype=jnp.int32)
        index = jnp.searchsorted(jnp.asarray(self.codes), code).astype(jnp.int32)
        return index + jnp.where(state.stopped, self.codes.shape[0], 0)

    def state_at(self: Any, index: Array) -> GraphState:
        count = self.codes.shape[0]
        code = jnp.asarray(self.codes)[index % count]
        bits = (code >> jnp.arange(self.adjacency.shape[-1], dtype=jnp.int32)) & 1
        return self.source(0)._replace(chosen=bits == 1, stopped=index >= count)


@lru_cache(maxsize=8)
def _kind(abilities: tuple[type, ...]) -> Any:
    return pytree(type("GraphProblem", (*abilities, GraphProblem), {"__doc__": None}))


def _build(*fields: Any) -> Any:
    maximal, adjacency, codes = fields[1], fields[3], fields[-1]
    found = (_Stop, not maximal), (_Draw, adjacency.shape[0] > 1), (_List, codes is not None)
    return _kind(tuple(ability for ability, has in found if has))(*fields)


def graph_problem(problem: str, graphs: Any, beta: Any = 1.0, *, maximal: bool = True) -> Any:
    """A `GraphProblem` on one graph, or on one of several that each trajectory draws.

        graph_problem("independent-set", networkx.petersen_graph(), beta=2.0)
        graph_problem("max-cut", draw_graphs(lambda rng: barabasi_albert(60, 4, rng), 200, seed=0))

    Up to 20 nodes and 200,000 sets the states of a single graph can be listed.

    Args:
        problem: "independent-set", "clique", "dominating-set" or "max-cut".
        graphs: one or several, see `gfnjax.data.graphs.pad`: matrices of zeros and ones, lists of
            edges, graphs of networkx.
        beta: not negative; a leaf, that may be swept. See `tempered` for schedules and
            `temperature_conditional` for one network for all.
        maximal: whether objects are the maximal (minimal dominating) sets, or all of them.

    Raises:
        ValueError: for an unknown problem, something that is no undirected graph, a negative beta,
            cuts without `maximal`, and dominating sets of a graph without edges.
    """
    if problem not in RULES:
        known, hint = ", ".join(RULES), suggest(problem, RULES)
        raise ArgumentError("problem", f"must be one of {known}, got {problem!r}{hint}")
    check_number(
        "beta", beta, lambda x: NON_NEGATIVE[0](x) and np.isfinite(x), "be finite and not negative"
    )
    if callable(beta):
        raise ArgumentError("beta", "must be a number", "wrap the problem with gfnjax.tempered")
    if np.shape(beta) != ():
        problem = f"must be one number, got shape {np.shape(beta)}"
        raise ArgumentError("beta", problem, "use jax.vmap over several")
    if not maximal and problem == "max-cut":
        raise ArgumentError("maximal", "must be True for max-cut, whose sets are not all reached")
    rules, found = RULES[problem], pad(graphs)
    each = [found.adjacency[g, :n, :n] for g, n in enumerate(found.num_nodes)]
    most_steps = max(rules.most_steps(adjacency) for adjacency in each)
    if problem == "dominating-set" and maximal and not all(graph.any() for graph in each):
        raise ArgumentError("graphs", "must have edges: of a graph without, all nodes must stay")
    return _listed(rules, bool(maximal), most_steps + (not maximal), found, beta)


def _listed(rules: Rules, maximal: bool, max_steps: int, graphs: PaddedGraphs, beta: Any) -> Any:
    """The problem, its sets listed where they can be."""
    num_graphs, num_nodes = graphs.adjacency.shape[:2]
    codes = None
    if num_graphs == 1 and num_nodes <= MAX_LISTED_NODES and not is_traced(graphs):
        codes = reachable_sets(rules, graphs)
    # Read-only NumPy, as importing or describing a problem should start no device.
    leaves = graphs.adjacency, graphs.num_nodes.astype(np.int32)
    return _build(rules, maximal, max_steps, *leaves, beta, codes)


def reachable_sets(rules: Rules, graphs: PaddedGraphs) -> np.ndarray | None:
    """`[S]` int32 sorted bit codes of all sets that a single graph has; None if too many."""
    adjacency, size = graphs.adjacency[0], int(graphs.num_nodes[0])
    place = np.arange(len(adjacency), dtype=np.int32)
    there, reached = place < size, [np.zeros(1, np.int32)]
    while len(reached[-1]):
        codes = reached[-1]
        chosen = (codes[:, None] >> place & 1).astype(bool)
        row, node = np.nonzero(rules.undecided(adjacency, there, chosen))
        reached.append(np.unique(codes[row] | np.int32(1) << place[node]))
        if sum(map(len, reached)) > MAX_LISTED_SETS:
            return None
    return np.sort(np.concatenate(reached))
