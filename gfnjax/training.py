"""The host loop: jitted chunks of training steps, and whatever happens between them."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gfnjax.arguments import check_key, whole
from gfnjax.errors import ArgumentError, Words
from gfnjax.learning import diagnosis
from gfnjax.state import is_finite, settle
from gfnjax.types import Array

# What a run carries, a pytree with the number of `step`s taken; and the diagnostics of one step, a
# NamedTuple of scalars, `loss`, `grad_norm` and the batch's mean `log_reward` among them:
# `TrainState` and `StepInfo`, or another model's own.
RunState = Any
RunInfo = Any


@runtime_checkable
class Trainable(Protocol):
    """All the loop asks for: pure `init` and `step`, of a `GFlowNet` or another frozen pytree."""

    def init(self, key: Array) -> RunState:
        """The state at step 0, from a typed PRNG key."""
        ...

    def step(self, state: RunState) -> tuple[RunState, RunInfo]:
        """One step of training."""
        ...


@runtime_checkable
class Diagnosable(Protocol):
    """A `Trainable` that can say why a step failed."""

    def diagnose(self, state: RunState) -> str | None:
        """One sentence on what is not finite in the step from `state`; None for the loss alone."""
        ...


class NonFiniteError(FloatingPointError):
    """A step met a reward, a loss or a gradient that is NaN or infinite; the message says which.

    Attributes:
        step: the step that failed.
        state: the training state right before it.
        reason: one sentence on what is not finite, and the remedy; it knows the arguments it names.
    """

    def __init__(self, step: int, state: RunState, reason: str):
        super().__init__(f"{reason} (the state before step {step} is in the error's `state`)")
        self.step = step
        self.state = state
        self.reason = Words(reason)


class Chunk(NamedTuple):
    """What a callback sees: the state after the chunk and the infos of its steps `[n]`.

    The state is a copy, the callback's to keep: training goes on in the memory of its own.
    """

    state: RunState
    info: RunInfo
    evaluation: dict[str, float]


class History(NamedTuple):
    """`info`: diagnostics of every step, NumPy `[num_steps]`; `evaluations`: one dict a chunk."""

    info: RunInfo
    evaluations: list[dict[str, float]]


def train(
    gfn: Trainable,
    start: RunState,
    num_steps: int,
    *,
    chunk_size: int = 500,
    evaluate: Callable[[Any, RunState], Any] | None = None,
    callback: Callable[[Chunk], bool | None] | None = None,
) -> tuple[RunState, History]:
    """Train for `num_steps` steps, in compiled chunks.

    One program serves every chunk, the last and shorter one too, and every later run of the same
    shapes. Nothing is stored on disk; `gfnjax.run` does that.

    Args:
        gfn: what to train.
        start: a typed PRNG key to start afresh, or the state to go on from, which is copied.
        num_steps: steps to take.
        chunk_size: steps between two visits to the host, which fall on its multiples.
        evaluate: `(gfn, state) -> NamedTuple or dict of scalars`, called after every chunk.
        callback: called after every chunk; returning True stops the run.

    Returns:
        The final state and the history of this call.

    Raises:
        TypeError: for a start that is neither a typed key nor a state, or no whole number.
        ValueError: for a step count that is not positive.
        NonFiniteError: at the first reward, loss or gradient that is NaN or infinite.
    """
    num_steps = whole("num_steps", num_steps, least=1)
    chunk_size = whole("chunk_size", chunk_size, least=1)
    state = copy(_first_state(gfn, start))
    infos, evaluations = [], []
    visits = chunks(gfn, state, int(state.step) + num_steps, chunk_size, donate=True)

    def visit(state: RunState, info: RunInfo) -> bool:
        if evaluate is not None or callback is not None:
            state = copy(state)
        result = {} if evaluate is None else as_dict(evaluate(gfn, state))
        infos.append(info)
        evaluations.append({"step": int(state.step), **result})
        return callback is not None and bool(callback(Chunk(state, info, evaluations[-1])))

    for state, info in visits:
        if visit(state, info):
            break
    return state, History(jax.tree.map(lambda *x: np.concatenate(x), *infos), evaluations)


def copy(state: RunState) -> RunState:
    """The same values in memory of their own, each array's apart from all others'."""
    return jax.tree.map(jnp.copy, state)


def _first_state(gfn: Trainable, start: Any) -> RunState:
    if not isinstance(gfn, Trainable):
        raise ArgumentError(
            "gfn", f"must be a GFlowNet or the like, with init and step, got {type(gfn).__name__}"
        )
    if hasattr(start, "step"):
        return start
    if isinstance(start, jax.Array | np.ndarray):
        return init(gfn, check_key("start", start))
    raise ArgumentError(
        "start",
        "must be a typed PRNG key, such as jax.random.key(0), or the state to go on from, "
        f"got {type(start).__name__}",
    )


def chunks(
    gfn: Trainable, state: RunState, last_step: int, chunk_size: int, *, donate: bool = False
) -> Iterator[tuple[RunState, RunInfo]]:
    """Train to `last_step`, yielding the state and the infos `[n]` after every chunk.

    Chunks end at multiples of `chunk_size`, so a run that starts anew from one of these states
    visits the same steps as one that was never interrupted.

    Args:
        gfn: what to train.
        state: to start from.
        last_step: where to stop.
        chunk_size: steps between two visits to the host.
        donate: each chunk takes over the memory of the state it starts from, the first one
            included (a `copy`, then, of one that others use): there is only ever one, and none
            may be used once the next has been asked for. False copies each one first.

    Raises:
        NonFiniteError: with the state right before the step that failed.
    """
    step = int(state.step)
    while step < last_step:
        size = min(chunk_size - step % chunk_size, last_step - step)
        state = state if donate else copy(state)
        state, info = _run_chunk(gfn, state, size, chunk_size)
        step += size
        yield state, info


def run_chunk(
    gfn: Trainable, state: RunState, num_steps: int, capacity: int
) -> tuple[RunState, RunInfo]:
    """`num_steps` <= `capacity` steps; NumPy infos `[num_steps]`. `state` can be used again.

    Raises:
        NonFiniteError: with the state right before the step that failed.
    """
    return _run_chunk(gfn, copy(state), num_steps, capacity)


def _run_chunk(
    gfn: Trainable, state: RunState, num_steps: int, capacity: int
) -> tuple[RunState, RunInfo]:
    """As `run_chunk`, but `state` is gone afterwards."""
    # Blocking here keeps signal handlers responsive; a conversion to NumPy alone would not.
    state, infos, taken, finite = jax.block_until_ready(_run(gfn, state, num_steps, capacity))
    if not finite:  # and the last step was taken back
        info = jax.tree.map(lambda x: np.asarray(x)[int(taken) - 1], infos)
        raise NonFiniteError(int(state.step), state, _reason(gfn, state, info))
    return state, jax.tree.map(lambda x: np.asarray(x)[:num_steps], infos)


def _reason(gfn: Trainable, before: RunState, info: RunInfo) -> str:
    """Why the step from the state `before` failed, in words."""
    found = gfn.diagnose(before) if isinstance(gfn, Diagnosable) else None
    if found is not None:
        return found
    numbers = (float(x) for x in (info.loss, info.grad_norm, info.log_reward))
    return diagnosis.of_numbers(int(before.step), *numbers)


@jax.jit
def init(gfn: Trainable, key: Array) -> RunState:
    """`gfn.init(key)`, compiled."""
    return gfn.init(key)


def as_dict(metrics: Any) -> dict[str, float]:
    """Scalars by name, on the host, from a NamedTuple or a dict."""
    items = metrics if isinstance(metrics, dict) else metrics._asdict()
    return {name: float(value) for name, value in items.items()}


def advance(
    gfn: Trainable, state: RunState, num_steps: Array, capacity: int
) -> tuple[RunState, RunInfo, Array, Array]:
    """`num_steps` <= `capacity` steps, fewer where one is not finite: that one is taken back.

    Returns:
        The state; the infos `[capacity]`, zero past the last step; the number of steps tried; and
        whether all were finite.
    """
    shapes = jax.eval_shape(gfn.step, state)[1]
    infos = jax.tree.map(lambda s: jnp.zeros((capacity, *s.shape), s.dtype), shapes)

    def body(carry: Any) -> Any:
        i, _, before, infos = carry
        after, info = gfn.step(before)
        infos = jax.tree.map(lambda buffer, x: buffer.at[i].set(x), infos, info)
        finite = is_finite(info)
        # In place: whoever wants the state before a failed step finds nothing older than this one.
        return i + 1, finite, settle(gfn, before, after, finite), infos

    carry = jnp.zeros((), jnp.int32), jnp.ones((), bool), state, infos
    taken, finite, state, infos = lax.while_loop(
        lambda carry: (carry[0] < num_steps) & carry[1], body, carry
    )
    return state, infos, taken, finite


@partial(jax.jit, static_argnames="capacity", donate_argnames="state")
def _run(
    gfn: Trainable, state: RunState, num_steps: Array, capacity: int
) -> tuple[RunState, RunInfo, Array, Array]:
    return advance(gfn, state, num_steps, capacity)
