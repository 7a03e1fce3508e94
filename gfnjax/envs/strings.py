"""What environments have in common that write a string from the left until it is stopped."""

from typing import Any

import jax
import jax.numpy as jnp

from gfnjax.envs.base import check_indexable
from gfnjax.types import Array


class Writing:
    """The rules, of a dataclass with the attributes below.

    States are NamedTuples with `tokens` `[max_length]` int32, -1 past the last, and `stopped` `[]`.

    Action a < m appends letter a, action m stops; a full string may only stop, and one of fewer
    than `min_length` letters may not. The one backward action takes back whatever came last.

    Attributes:
        max_length: letters at most.
        alphabet_size: m.
        min_length: letters needed before stopping.
    """

    @property
    def num_actions(self: Any) -> int:
        return self.alphabet_size + 1

    @property
    def num_backward_actions(self: Any) -> int:
        return 1

    @property
    def max_steps(self: Any) -> int:
        return self.max_length + 1

    def step(self: Any, state: Any, action: Array) -> Any:
        stop = action == self.alphabet_size
        here = (self._positions() == self._size(state)) & ~state.stopped & ~stop
        return state._replace(
            tokens=jnp.where(here, action, state.tokens), stopped=state.stopped | stop
        )

    def backward_step(self: Any, state: Any, backward_action: Array) -> Any:
        last = (self._positions() == self._size(state) - 1) & ~state.stopped
        return state._replace(tokens=jnp.where(last, -1, state.tokens), stopped=jnp.zeros((), bool))

    def forward_mask(self: Any, state: Any) -> Array:
        size = self._size(state)
        grow = jnp.full(self.alphabet_size, size < self.max_length)
        return jnp.append(grow, size >= self.min_length) & ~state.stopped

    def backward_mask(self: Any, state: Any) -> Array:
        return ((self._size(state) > 0) | state.stopped)[None]

    def backward_action(self: Any, state: Any, action: Array) -> Array:
        return jnp.zeros((), jnp.int32)

    def forward_action(self: Any, state: Any, backward_action: Array) -> Array:
        last = state.tokens[jnp.maximum(self._size(state) - 1, 0)]
        return jnp.where(state.stopped, self.alphabet_size, jnp.maximum(last, 0))

    def is_terminal(self: Any, state: Any) -> Array:
        return state.stopped

    def observe(self: Any, state: Any) -> Array:
        return jax.nn.one_hot(state.tokens + 1, self.alphabet_size + 1).reshape(-1)

    @property
    def num_features(self: Any) -> int:
        return self.max_length * (self.alphabet_size + 1)

    def active_features(self: Any, state: Any) -> Array:
        return self._positions() * (self.alphabet_size + 1) + state.tokens + 1

    def _positions(self: Any) -> Array:
        return jnp.arange(self.max_length, dtype=jnp.int32)

    def _size(self: Any, state: Any) -> Array:
        return (state.tokens >= 0).sum(dtype=jnp.int32)


class Listed(Writing):
    """Numbers for the states: every string of up to `max_length` letters is one that s_0 leads to.

    Growing strings come by size, then in base m; stopped ones follow in the same order.
    `initial_state` says what else a state consists of.
    """

    @property
    def num_states(self: Any) -> int:
        powers = [self.alphabet_size**n for n in range(self.max_length + 1)]
        return sum(powers) + sum(powers[self.min_length :])

    def state_index(self: Any, state: Any) -> Array:
        check_indexable(self)

        def digit(value: Array, token: Array) -> tuple[Array, None]:
            return jnp.where(token < 0, value, value * self.alphabet_size + token), None

        value, _ = jax.lax.scan(digit, jnp.zeros((), jnp.int32), state.tokens)
        offsets = self._offsets()
        shift = offsets[-1] - offsets[self.min_length]
        return offsets[self._size(state)] + value + jnp.where(state.stopped, shift, 0)

    def state_at(self: Any, index: Array) -> Any:
        check_indexable(self)
        offsets = self._offsets()
        stopped = index >= offsets[-1]
        index = jnp.where(stopped, index - offsets[-1] + offsets[self.min_length], index)
        size = (index >= offsets).sum(dtype=jnp.int32) - 1
        powers = jnp.array([self.alphabet_size**i for i in range(self.max_length)], jnp.int32)
        from_the_end = size - 1 - self._positions()
        letters = (index - offsets[size]) // powers[jnp.maximum(from_the_end, 0)]
        tokens = jnp.where(from_the_end >= 0, letters % self.alphabet_size, -1)
        return self.initial_state()._replace(tokens=tokens, stopped=stopped)

    def _offsets(self: Any) -> Array:
        """`[max_length + 2]` the number of strings shorter than each size."""
        sizes = range(self.max_length + 2)
        return jnp.array([sum(self.alphabet_size**i for i in range(n)) for n in sizes], jnp.int32)
