"""Any finite pointed graph given by its edges: known answers for tests, random ones for fuzzing."""

import operator
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from gfnjax.arguments import whole
from gfnjax.errors import ArgumentError
from gfnjax.identity import Comparable
from gfnjax.types import Array


class TabularState(NamedTuple):
    """`index` `[]` int32."""

    index: Array


@struct.dataclass(eq=False)
class TabularDAG(Comparable):
    """States 0..N-1 with s_0 = 0; build one with `tabular_dag` or `random_dag`.

    Forward action a of a state leads to `children[state, a]`; backward action k leads to
    `parents[state, k]`. States without children are terminal. -1 marks what is not allowed.
    The observation is the one-hot vector of the state.

    Attributes:
        children: `[N, num_actions]` int32.
        parents: `[N, num_backward_actions]` int32.
        undo: `[N, num_actions]` int32, the backward action that undoes an action.
        redo: `[N, num_backward_actions]` int32, the action that redoes a backward action.
        log_rewards: `[N]` nats, read at terminal states.
        max_steps: transitions in the longest path.
    """

    children: Array
    parents: Array
    undo: Array
    redo: Array
    log_rewards: Array
    max_steps: int = struct.field(pytree_node=False)

    @property
    def num_states(self) -> int:
        return self.children.shape[0]

    @property
    def num_actions(self) -> int:
        return self.children.shape[1]

    @property
    def num_backward_actions(self) -> int:
        return self.parents.shape[1]

    def initial_state(self) -> TabularState:
        return TabularState(jnp.zeros((), jnp.int32))

    def step(self, state: TabularState, action: Array) -> TabularState:
        child = self.children[state.index, action]
        return TabularState(jnp.where(child < 0, state.index, child))

    def backward_step(self, state: TabularState, backward_action: Array) -> TabularState:
        parent = self.parents[state.index, backward_action]
        return TabularState(jnp.where(parent < 0, state.index, parent))

    def forward_mask(self, state: TabularState) -> Array:
        return self.children[state.index] >= 0

    def backward_mask(self, state: TabularState) -> Array:
        return self.parents[state.index] >= 0

    def backward_action(self, state: TabularState, action: Array) -> Array:
        return self.undo[state.index, action]

    def forward_action(self, state: TabularState, backward_action: Array) -> Array:
        return self.redo[state.index, backward_action]

    def is_terminal(self, state: TabularState) -> Array:
        return ~self.forward_mask(state).any()

    def observe(self, state: TabularState) -> Array:
        return jax.nn.one_hot(state.index, self.num_states)

    def log_reward(self, state: TabularState) -> Array:
        return self.log_rewards[state.index]

    def state_index(self, state: TabularState) -> Array:
        return state.index

    def state_at(self, index: Array) -> TabularState:
        return TabularState(index)


@struct.dataclass(eq=False)
class TabularGraph(TabularDAG):
    """A `TabularDAG` but for the order: states may come again. Build one with `tabular_graph`.

    Attributes:
        max_steps: transitions after which a trajectory is cut.
    """

    acyclic: ClassVar[bool] = False


def tabular_graph(
    children: Sequence[Sequence[int]], log_rewards: Sequence[float], max_steps: int = 256
) -> TabularGraph:
    """A graph that may have cycles, from the children of each state, s_0 = 0 first.

    Args:
        children: as in `tabular_dag`, in any order; none of them is s_0.
        log_rewards: as in `tabular_dag`.
        max_steps: transitions after which a trajectory is cut, at least 1.

    Raises:
        ValueError: if a child is no state or s_0, a state is not reached from s_0 or reaches no
            terminal one, s_0 has no children, or log R is not below infinity in every terminal
            state and finite in one.
    """
    max_steps = whole("max_steps", max_steps, least=1)
    listed = _listed(children, ordered=False)
    _check_reached(listed)
    tables = _tables(listed, _arrivals(listed))
    rewards = _checked_log_rewards(log_rewards, np.array([not below for below in listed]))
    return TabularGraph(
        **tables, log_rewards=jnp.asarray(rewards, jnp.result_type(float)), max_steps=max_steps
    )


def tabular_dag(children: Sequence[Sequence[int]], log_rewards: Sequence[float]) -> TabularDAG:
    """A DAG from the children of each state, in topological order with s_0 = 0 first.

    Args:
        children: a list of children a state; the a-th one is reached by action a. Two actions may
            lead to the same child.
        log_rewards: log R a state, read where it has no children; -inf where R = 0.

    Raises:
        ValueError: if a child does not come after its parent, a state is not reached, s_0 has no
            children, or log R is not below infinity in every terminal state and finite in one.
    """
    listed = _listed(children)
    depth = [0] * len(listed)
    for state, below in enumerate(listed):
        for child in below:
            depth[child] = max(depth[child], depth[state] + 1)
    tables = _tables(listed, _arrivals(listed))
    rewards = _checked_log_rewards(log_rewards, np.array([not below for below in listed]))
    return TabularDAG(
        **tables, log_rewards=jnp.asarray(rewards, jnp.result_type(float)), max_steps=max(depth)
    )


Edges = list[list[tuple[int, int]]]


def _arrivals(listed: list[list[int]]) -> Edges:
    """Parent and action of each edge into each state."""
    arrivals: Edges = [[] for _ in listed]
    for state, below in enumerate(listed):
        for action, child in enumerate(below):
            arrivals[child].append((state, action))
    for state, edges in enumerate(arrivals):
        if state > 0 and not edges:
            problem = f"no edge leads to state {state}"
            raise ArgumentError("children", problem, subject="{children}:")
    return arrivals


def _check_reached(listed: list[list[int]]) -> None:
    """Raise a `ValueError` where s_0 does not lead to a state, or that to no end."""
    above: list[list[int]] = [[] for _ in listed]
    for state, below in enumerate(listed):
        for child in below:
            above[child].append(state)
    ends = [state for state, below in enumerate(listed) if not below]
    for seen, problem in (
        (_closure(listed, [0]), "cannot be reached from s_0"),
        (_closure(above, ends), "reaches no terminal state"),
    ):
        missing = sorted(set(range(len(listed))) - seen)
        if missing:
            raise ArgumentError("children", f"state {missing[0]} {problem}", subject="{children}:")


def _closure(edges: list[list[int]], first: list[int]) -> set[int]:
    """Where edges lead to from the first states on, these included."""
    seen, left = set(first), list(first)
    while left:
        new = set(edges[left.pop()]) - seen
        seen |= new
        left.extend(new)
    return seen


def _tables(listed: list[list[int]], arrivals: Edges) -> dict[str, Array]:
    forward = np.full((2, len(listed), max(map(len, listed))), -1, np.int32)
    backward = np.full((2, len(listed), max(map(len, arrivals))), -1, np.int32)
    for child, edges in enumerate(arrivals):
        for k, (parent, action) in enumerate(edges):
            forward[:, parent, action] = child, k
            backward[:, child, k] = parent, action
    return {
        "children": jnp.asarray(forward[0]),
        "parents": jnp.asarray(backward[0]),
        "undo": jnp.asarray(forward[1]),
        "redo": jnp.asarray(backward[1]),
    }


def _listed(children: Sequence[Sequence[int]], ordered: bool = True) -> list[list[int]]:
    """The children as integers, `ordered` topologically, or a `ValueError` with what they are."""
    try:
        listed = [[operator.index(child) for child in below] for below in children]
    except TypeError as error:
        raise ArgumentError(
            "children", f"must be a list of lists of state numbers, one a state ({error})"
        ) from error
    if not listed or not listed[0]:
        problem = "s_0, the first state, must have at least one child"
        raise ArgumentError("children", problem, subject="{children}:")
    for state, below in enumerate(listed):
        for child in below:
            if not ordered and not 0 < child < len(listed):
                problem = f"{state} -> {child} must lead to one of states 1 to {len(listed) - 1}"
                raise ArgumentError("children", problem, subject="{children}:")
            if ordered and not state < child < len(listed):
                raise ArgumentError(
                    "children",
                    f"{state} -> {child} is not in topological order: number the states "
                    f"0 to {len(listed) - 1} so that each comes after its parents",
                    subject="{children}:",
                )
    return listed


def _checked_log_rewards(log_rewards: Sequence[float], terminal: np.ndarray) -> np.ndarray:
    """`[N]` log R, 0 where it is not read and not finite; else a `ValueError`."""
    try:
        values = np.asarray(log_rewards, float)
    except (TypeError, ValueError) as error:
        raise ArgumentError("log_rewards", f"must be numbers, one a state ({error})") from error
    if values.shape != terminal.shape:
        found = values.size if values.ndim == 1 else f"an array of shape {values.shape}"
        raise ArgumentError("log_rewards", f"must have {terminal.size} entries, got {found}")
    wrong = terminal & ~(values < np.inf)
    if wrong.any():
        state = int(np.argmax(wrong))
        raise ArgumentError(
            "log_rewards",
            f"{values[state]} of terminal state {state} must be a number, or -inf where R = 0",
            subject="{log_rewards}:",
        )
    if not np.isfinite(values[terminal]).any():
        raise ArgumentError("log_rewards", "must be finite in at least one terminal state")
    return np.where(terminal | np.isfinite(values), values, 0.0)


def random_dag(
    seed: int, num_states: int = 12, max_parents: int = 3, terminal_share: float = 0.4
) -> TabularDAG:
    """A random connected DAG with normal log rewards, for property-based tests.

    Args:
        seed: of the NumPy generator.
        num_states: at least 2.
        max_parents: largest number of parents drawn for a state.
        terminal_share: share of the states kept without children, about.

    Raises:
        ValueError: if a size is out of range.
    """
    if num_states < 2 or max_parents < 1:
        raise ArgumentError(
            "num_states" if num_states < 2 else "max_parents",
            f"must be at least 2 and max_parents at least 1, got {num_states} and {max_parents}",
            subject="{num_states}",
        )
    rng = np.random.default_rng(seed)
    interior = [0]
    children: list[list[int]] = [[] for _ in range(num_states)]
    for state in range(1, num_states):
        count = min(int(rng.integers(1, max_parents + 1)), len(interior))
        for parent in rng.choice(interior, size=count, replace=False):
            children[int(parent)].append(state)
        if rng.random() > terminal_share:
            interior.append(state)
    return tabular_dag(children, rng.normal(size=num_states).tolist())
