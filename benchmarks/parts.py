"""A training step in parts: each of the library's own pure functions, repeated in one program.

Compiled alone, parts are not what they are within a step, where the compiler joins what it can:
their times add up to more than a step's, or to less where the step has more to do.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.topops import traced
from benchmarks.traffic import Executed, Product, executed
from gfnjax import GFlowNet, TrainState, training
from gfnjax.actions import actions_of
from gfnjax.compiled.hlo import parse
from gfnjax.envs.base import log_reward_of
from gfnjax.learning import scores
from gfnjax.rollout import terminal_states
from gfnjax.samplers.base import Batch
from gfnjax.state import step_keys
from gfnjax.types import Array, PyTree

NUM_BATCHES = 16
MEMORY, CACHE = 2**24, 2**16  # numbers: more than a cache holds, and what each core's own does


class Given(NamedTuple):
    """What parts start from: a state, batches `[NUM_BATCHES, B, ...]` it drew, one gradient."""

    gfn: GFlowNet
    state: TrainState
    batches: Batch
    grads: PyTree = None

    def at(self, i: Array) -> tuple[TrainState, Batch]:
        """The state with the keys of the i-th step from here, and one of the batches."""
        batch = jax.tree.map(lambda x: x[i % NUM_BATCHES], self.batches)
        return self.state._replace(step=self.state.step + i), batch


class Part(NamedTuple):
    """`run(i, given, last)` does a part of a step for the i-th time.

    What it depends on must differ from time to time, or the compiler does it once for all. `first`
    is what the first run goes on from, where one run follows from the last.
    """

    name: str
    run: Callable[[Array, Any, Any], PyTree]
    first: Callable[[Any], PyTree] | None = None


class Measured(NamedTuple):
    """Seconds a run, the median of some, and what was executed; see `Executed`."""

    seconds: float
    done: Executed


class Repeated(NamedTuple):
    """A compiled program that runs a part n times."""

    program: Any
    given: Any

    def __call__(self, n: int) -> PyTree:
        return self.program(self.given, jnp.int32(n))


def noise(i: Array, given: Given, last: Any) -> PyTree:
    """The random numbers of a rollout."""
    env, (state, _) = given.gfn.env, given.at(i)
    key = step_keys(state.key, state.step).draw
    return actions_of(env).noise(key, (env.max_steps + 1, given.gfn.batch_size))


def draw(i: Array, given: Given, last: Any) -> PyTree:
    return given.gfn.draw(given.at(i)[0])


def reward(i: Array, given: Given, last: Any) -> PyTree:
    env = given.gfn.at(given.state).env
    return jax.vmap(partial(log_reward_of, env))(terminal_states(given.at(i)[1].trajectories))


def afresh(i: Array, given: Given, last: Any) -> PyTree:
    """Scores without what the rollout has computed of them."""
    state, batch = given.at(i)
    return given.gfn.at(state).score(state.params, batch.trajectories, target=state.target)


def _loss(gfn: GFlowNet, state: TrainState, batch: Batch, params: PyTree) -> Array:
    given = gfn.model, gfn.objective, gfn.regression, params, batch.trajectories
    known: Any = {"target": state.target, "previous": None, "rows": batch.rows}
    return scores.loss(*given, key=step_keys(state.key, state.step).fit, **known)[0]


def loss(i: Array, given: Given, last: Any) -> PyTree:
    state, batch = given.at(i)
    return _loss(given.gfn.at(state), state, batch, state.params)


def gradient(i: Array, given: Given, last: Any) -> PyTree:
    state, batch = given.at(i)
    return jax.value_and_grad(partial(_loss, given.gfn.at(state), state, batch))(state.params)


def update(i: Array, given: Given, last: TrainState) -> TrainState:
    params, opt_state = given.gfn.at(last).update(last, given.grads)
    return last._replace(params=params, opt_state=opt_state, step=last.step + 1)


def step(i: Array, given: Given, last: tuple[TrainState, Any]) -> PyTree:
    return given.gfn.step(last[0])


def state_and_info(given: Given) -> PyTree:
    info = jax.eval_shape(given.gfn.step, given.state)[1]
    return given.state, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), info)


TRAIN = "step as train() takes it"
PARTS = (
    Part("noise", noise),
    Part("draw: noise, rollout, rewards", draw),
    Part("rewards", reward),
    Part("loss", loss),
    Part("loss and gradient", gradient),
    Part("optimiser", update, lambda given: given.state),
    Part("step", step, state_and_info),
    Part("(scores without a rollout's)", afresh),
)


def at_rest(state: TrainState) -> TrainState:
    """Learning at a rate of zero: every step from here costs what this one does."""
    zeros = {x: jnp.zeros(()) for x in state.hyperparameters._fields if x.endswith("learning_rate")}
    held = {k: x for k, x in zeros.items() if getattr(state.hyperparameters, k) is not None}
    held.setdefault("learning_rate", zeros["learning_rate"])
    return state._replace(hyperparameters=state.hyperparameters._replace(**held))


def start(gfn: GFlowNet, state: TrainState) -> Given:
    """What the parts of a step from `state` need."""
    given = drawn(gfn, state)
    return given._replace(grads=jax.jit(gradient)(0, given, None)[1])


def drawn(gfn: GFlowNet, state: TrainState) -> Given:
    """The same without the gradient, which the optimiser alone needs."""
    batches = []
    for i in range(NUM_BATCHES):
        batch, _ = training_draw(gfn, state._replace(step=state.step + i))
        batches.append(batch._replace(note=None))
    return Given(gfn, at_rest(state), jax.tree.map(lambda *x: jnp.stack(x), *batches))


@jax.jit
def training_draw(gfn: GFlowNet, state: TrainState) -> PyTree:
    return gfn.draw(state)


def repeated(part: Part, given: Any) -> Repeated:
    """The part in a loop of one program, so that nothing but the part is timed."""

    @jax.jit
    def many(given: Any, n: Array) -> PyTree:
        if part.first is None:
            shapes = jax.eval_shape(part.run, 0, given, None)
            first = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        else:
            first = part.first(given)
        return lax.fori_loop(0, n, lambda i, last: part.run(i, given, last), first)

    return Repeated(many.lower(given, jnp.int32(1)).compile(), given)


def seconds_of(fn: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    jax.block_until_ready(fn())
    return time.perf_counter() - begin


def enough(call: Callable[[int], PyTree], seconds: float) -> int:
    """How many runs take about that long."""
    call(1)
    return max(int(seconds / max(seconds_of(lambda: call(2)) / 2, 1e-7)), 2)


def measure(given: Given, repeats: int = 7, seconds: float = 0.08) -> dict[str, Measured]:
    """All parts in turn, again and again; the last is a step as `train` takes it."""
    calls: dict[str, Callable[[int], PyTree]] = {}
    texts: dict[str, str] = {}
    for part in PARTS:
        calls[part.name] = call = repeated(part, given)
        texts[part.name] = call.program.as_text()
    counts = {name: enough(call, seconds) for name, call in calls.items()}
    size = counts[TRAIN] = max(counts["step"], NUM_BATCHES)
    program = training._run.lower(given.gfn, given.state, size, size).compile()
    # Copied before the call: the program takes over the memory of the state.
    states = iter([training.copy(given.state) for _ in range(repeats + 2)])
    calls[TRAIN] = lambda n: program(given.gfn, next(states), n)
    texts[TRAIN] = program.as_text()
    found: dict[str, Executed] = {}
    for name, call in calls.items():
        jax.block_until_ready(call(NUM_BATCHES))
        trace = traced(lambda call=call: call(NUM_BATCHES))
        found[name] = executed(parse(texts[name]), trace, NUM_BATCHES)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            n = counts[name]
            times[name].append(seconds_of(lambda call=call, n=n: call(n)) / n)
    return {name: Measured(statistics.median(times[name]), found[name]) for name in calls}


def product_rate(product: Product, repeats: int = 5) -> float:
    """Floating-point operations per second in products of these shapes alone."""
    left = jnp.ones((product.rows, product.inner))
    right = jnp.full((product.inner, product.columns), 1.0 / product.inner)

    def run(i: Array, given: PyTree, last: PyTree) -> PyTree:
        if last.shape == given[0].shape:
            return last @ given[1]
        return (given[0] + 0.0 * last[:, :1]) @ given[1]

    part = Part("product", run, lambda given: jnp.ones((product.rows, product.columns)))
    call = repeated(part, (left, right))
    n = enough(call, 0.05)
    times = [seconds_of(lambda: call(n)) / n for _ in range(repeats)]
    return 2.0 * product.rows * product.inner * product.columns / statistics.median(times)


def copy_rate(size: int, repeats: int = 5) -> float:
    """Bytes per second, read and written together, of an array of so many numbers."""
    part = Part("copy", lambda i, given, last: last + 1.0, lambda given: given)
    call = repeated(part, jnp.ones(size))
    n = enough(call, 0.05)
    times = [seconds_of(lambda: call(n)) / n for _ in range(repeats)]
    return 2 * 4 * size / statistics.median(times)
