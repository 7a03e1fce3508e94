"""Any finite pointed DAG given by its edges: known answers for tests, random graphs for fuzzing."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

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


def tabular_dag(children: Sequence[Sequence[int]], log_rewards: Sequence[float]) -> TabularDAG:
    """A DAG from the children of each state, in topological order with s_0 = 0 first.

    Args:
        children: a list of children a state; the a-th one is reached by action a.
        log_rewards: log R a state, read where it has no children.

    Raises:
        ValueError: if a child does not come after its parent, or a state is not reached.
    """
    num_states = len(children)
    if len(log_rewards) != num_states:
        raise ValueError(f"log_rewards must have {num_states} entries, got {len(log_rewards)}")
    arrivals: list[list[tuple[int, int]]] = [[] for _ in children]
    depth = [0] * num_states
    for state, below in enumerate(children):
        if state > 0 and not arrivals[state]:
            raise ValueError(f"children: no edge leads to state {state}")
        for action, child in enumerate(below):
            if not state < child < num_states:
                raise ValueError(f"children: {state} -> {child} is not in topological order")
            arrivals[child].append((state, action))
            depth[child] = max(depth[child], depth[state] + 1)
    num_actions, num_undos = max(map(len, children)), max(map(len, arrivals))
    forward = np.full((2, num_states, num_actions), -1, np.int32)
    backward = np.full((2, num_states, num_undos), -1, np.int32)
    for child, edges in enumerate(arrivals):
        for k, (parent, action) in enumerate(edges):
            forward[:, parent, action] = child, k
            backward[:, child, k] = parent, action
    return TabularDAG(
        children=jnp.asarray(forward[0]),
        parents=jnp.asarray(backward[0]),
        undo=jnp.asarray(forward[1]),
        redo=jnp.asarray(backward[1]),
        log_rewards=jnp.asarray(log_rewards, jnp.result_type(float)),
        max_steps=max(depth),
    )


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
        raise ValueError(
            f"num_states must be at least 2 and max_parents at least 1, got {num_states} and "
            f"{max_parents}"
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
