"""From a batch to new parameters: the gradient steps of one training step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from gfnjax import spread
from gfnjax.errors import ArgumentError
from gfnjax.hyperparameters import Hyperparameters
from gfnjax.model import Model
from gfnjax.objectives.base import Objective
from gfnjax.policies.backward import TrainedBackward
from gfnjax.policies.base import Behaviour
from gfnjax.samplers.base import Sampler
from gfnjax.scoring import VisitScores
from gfnjax.state import Params, StepInfo, TrainState
from gfnjax.types import Array, PyTree, Scores, Trajectory

# Groups of parameters that the objective's gradient moves.
TRAINED = "policy", "log_z", "objective"
REMEMBERING = optax.InjectHyperparamsState, optax.InjectStatefulHyperparamsState


class OptStates(NamedTuple):
    """What there is for each group of parameters: an optimiser or its state; None for no group."""

    policy: PyTree
    log_z: PyTree
    backward: PyTree
    objective: PyTree


class Seen(NamedTuple):
    """What a step reports of its batch, `[]` each: means, but sums of `complete` trajectories.

    `cut` is None where there are no cycles.
    """

    log_z: Array
    log_reward: Array
    complete: Array
    length: Array
    cut: Array | None


def seen_in(scores: Scores, dtype: Any) -> Seen:
    """What this device's scores `[b, ...]` contribute to what is reported of the whole batch."""
    cut = None
    if scores.from_source is not None:
        cut = spread.share((~scores.whole).astype(dtype).mean())
    return Seen(
        log_z=spread.share(scores.log_z.mean()),
        # No product: 0 * inf of a window that has not ended would be NaN.
        log_reward=jnp.where(scores.complete, scores.log_reward, 0.0).sum(),
        complete=scores.complete.astype(dtype).sum(),
        length=spread.share(scores.length.astype(dtype).mean()),
        cut=cut,
    )


class Fit(NamedTuple):
    """What the first update on a batch found: `errors` `[B]` is the loss of each trajectory."""

    loss: Array
    scores: Scores
    errors: Array
    grad_norm: Array
    seen: Seen

    def info(self, log_z: Array | None, windows: bool = False) -> StepInfo:
        """What a step reports; the mean of the scores' log Z where none is given."""
        seen = self.seen
        return StepInfo(
            loss=self.loss,
            log_z=seen.log_z if log_z is None else log_z,
            log_reward=seen.log_reward / jnp.maximum(seen.complete, 1),
            length=seen.length,
            grad_norm=self.grad_norm,
            cut=None if windows else seen.cut,
        )


# An optimiser from a learning rate, such as `optax.adam`.
MakeOptimizer = Callable[[Any], optax.GradientTransformation]
# Parameters, a key, what a rollout has computed, policy parameters before the updates on the batch.
Loss = Callable[[Params, Array, VisitScores | None, PyTree], tuple[Array, tuple[Scores, Array]]]


def init(optimizers: OptStates, backward: Any, params: Params) -> OptStates:
    """An optimiser state for each group of parameters that is there.

    Raises:
        ValueError: if an optimiser cannot be used on a group of parameters, with the reason.
    """
    if isinstance(backward, TrainedBackward):  # of an average, the network alone is trained
        params = params._replace(backward=backward.network(params.backward))
    return OptStates(*(_init_group(name, optimizers, params) for name in OptStates._fields))


def _init_group(name: str, optimizers: OptStates, params: Params) -> PyTree:
    optimizer, group = getattr(optimizers, name), getattr(params, name)
    if group is None:
        return None
    argument = "log_z_optimizer" if name == "log_z" else "optimizer"
    try:
        # Optax promotes dtypes implicitly, like the schedules.
        with jax.numpy_dtype_promotion("standard"):
            state = optimizer.init(_full(group))
            jax.eval_shape(optimizer.update, _full(group), state, _full(group))
    except Exception as error:
        raise ArgumentError(
            argument,
            f"cannot train the {name} parameters: it must need nothing but gradients "
            "(L-BFGS needs the loss itself), and labels or masks must be a function of the "
            f"parameters or fit theirs ({type(error).__name__}: {str(error).splitlines()[0]})",
        ) from error
    return state


def observed(
    model: Model, sampler: Sampler, params: Params, memory: PyTree, batch_size: int
) -> PyTree:
    """What a `TrainedBackward` remembers before the first step; None of others."""
    backward = model.backward
    if not isinstance(backward, TrainedBackward):
        return None
    key = jax.random.key(0)  # for the shapes alone
    given = model, params, memory, key, Behaviour(), batch_size
    batch, _ = jax.eval_shape(lambda: sampler.draw(*given))
    return backward.start(batch.trajectories)


def fit(
    loss: Loss,
    update: Callable[[TrainState, Params], tuple[Params, OptStates]],
    state: TrainState,
    rows: VisitScores | None,
    key: Array,
    num_updates: int,
    max_grad_norm: Array | None,
) -> tuple[TrainState, Fit]:
    """`num_updates` steps on the loss of one batch.

    Args:
        loss: the loss, the batch's scores and errors; differentiated in its first argument.
        update: gradients to new parameters and optimiser state.
        state: before.
        rows: what the policy of `state` says in the batch, where a rollout has computed that.
        key: a typed PRNG key.
        num_updates: updates.
        max_grad_norm: clip the gradient to this norm; None leaves it alone.
    """
    before = state.params.policy

    def step(
        state: TrainState, key: Array, rows: VisitScores | None, previous: PyTree
    ) -> tuple[TrainState, Fit]:
        grad = jax.value_and_grad(loss, has_aux=True)
        (value, (scores, errors)), grads = grad(state.params, key, rows, previous)
        moving = {name: getattr(grads, name) for name in TRAINED}  # the others' gradients are zero
        moving, seen = spread.total((moving, seen_in(scores, value.dtype)))
        grads = grads._replace(**moving)
        with jax.numpy_dtype_promotion("standard"):  # parameters may differ in precision
            norm = optax.tree.norm(grads).astype(value.dtype)
        if max_grad_norm is not None:
            scale = jnp.minimum(1.0, max_grad_norm.astype(norm.dtype) / jnp.maximum(norm, 1e-12))
            grads = jax.tree.map(lambda g: g * scale.astype(g.dtype), grads)
        params, opt_state = update(state, grads)
        state = state._replace(params=params, opt_state=opt_state)
        return state, Fit(value, scores, errors, norm, seen)

    keys = jax.random.split(key, num_updates)
    state, first = step(state, keys[0], rows, None)
    if num_updates > 1:
        state, _ = lax.scan(lambda s, key: (step(s, key, None, before)[0], None), state, keys[1:])
    return state, first


def fit_backward(
    model: Model,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    trajectories: Trajectory,
    key: Array,
) -> TrainState:
    """The steps of a `TrainedBackward` on a loss of its own."""
    backward = model.backward
    assert isinstance(backward, TrainedBackward)
    observed = backward.observe(state.observed, trajectories)

    def loss(network: PyTree, batch: Trajectory) -> Array:
        return backward.loss(network, model.env, batch, model.chunk_size_for(batch))

    def step(carry: tuple[PyTree, PyTree], key: Array) -> tuple[tuple[PyTree, PyTree], None]:
        network, opt_state = carry
        # A memory is each device's own, and so is what it recalls.
        batch = backward.recall(observed, trajectories, spread.own_key(key))
        grads = spread.total(spread.share(jax.grad(loss)(network, batch)))
        return move(optimizer, grads, opt_state, network), None

    start = backward.network(state.params.backward), state.opt_state.backward
    (network, moved), _ = lax.scan(step, start, jax.random.split(key, backward.num_updates))
    params = state.params._replace(backward=backward.settle(state.params.backward, network))
    opt_state = state.opt_state._replace(backward=moved)
    return state._replace(params=params, opt_state=opt_state, observed=observed)


def update(optimizers: OptStates, state: TrainState, grads: Params) -> tuple[Params, OptStates]:
    """New parameters and optimiser state; those of a `TrainedBackward` stay as they are."""
    params, opt_state = state.params, state.opt_state
    for name in TRAINED:
        group = getattr(params, name)
        if group is not None:
            held = getattr(grads, name), getattr(opt_state, name)
            group, moved = move(getattr(optimizers, name), *held, group)
            params = params._replace(**{name: group})
            opt_state = opt_state._replace(**{name: moved})
    return params, opt_state


def move(
    optimizer: optax.GradientTransformation, grads: PyTree, opt_state: PyTree, params: PyTree
) -> tuple[PyTree, PyTree]:
    """One step of an optimiser: new parameters, in their own precision, and its new state."""
    # Optax promotes dtypes implicitly, like the schedules.
    with jax.numpy_dtype_promotion("standard"):
        updates, opt_state = optimizer.update(_full(grads), opt_state, _full(params))
        return optax.apply_updates(params, updates), opt_state


def _full(tree: PyTree) -> PyTree:
    """Half precision as single: squares of small gradients vanish there, as Adam's 1e-8 does."""

    def full(x: Array) -> Array:
        half = jnp.issubdtype(x.dtype, jnp.floating) and x.dtype.itemsize < 4
        return x.astype(jnp.float32) if half else x

    return jax.tree.map(full, tree)


def optimizers(
    optimizer: MakeOptimizer,
    log_z_optimizer: MakeOptimizer,
    objective: Objective,
    params: Params,
    values: Hyperparameters,
) -> OptStates:
    """The optimiser of each group of parameters, at the rates in force."""
    own = following(optimizer, values.learning_rate)
    if params.objective is not None:
        own = _on(own, objective.trained(params.objective))
    return OptStates(
        policy=following(optimizer, values.learning_rate),
        log_z=following(log_z_optimizer, values.log_z_learning_rate),
        backward=following(optimizer, values.backward_learning_rate),
        objective=own,
    )


def _on(optimizer: optax.GradientTransformation, trained: PyTree) -> optax.GradientTransformation:
    """The optimiser for the parameters marked True; the others stay, weight decay or not."""
    fixed = jax.tree.map(lambda one: not one, trained)
    if not any(jax.tree.leaves(fixed)):
        return optimizer
    return optax.chain(optax.masked(optimizer, trained), optax.masked(optax.set_to_zero(), fixed))


def following(make: Callable[[Any], Any], rate: Array) -> optax.GradientTransformationExtraArgs:
    """`make(rate)`, whose state does not hold on to the rate it was made with.

    The states of `optax.inject_hyperparams` remember numbers: those that come from the rate are
    replaced by what `make` says of the rate in force.
    """
    optimizer = _made(make, rate)

    def update(
        updates: PyTree, state: PyTree, params: PyTree = None, **extra: Any
    ) -> tuple[PyTree, PyTree]:
        nodes, structure = jax.tree.flatten(state, is_leaf=_remembers)
        if any(map(_remembers, nodes)):
            fresh = jax.tree.leaves(optimizer.init(params), is_leaf=_remembers)
            moving = _numbers_from_rate(make, rate, params)
            nodes = [_renewed(*row) for row in zip(nodes, fresh, moving, strict=True)]
            state = structure.unflatten(nodes)
        return optimizer.update(updates, state, params, **extra)

    return optax.GradientTransformationExtraArgs(optimizer.init, update)


def _made(make: Callable[[Any], Any], rate: Array) -> optax.GradientTransformation:
    """The transformation of a rate; `optax.MultiSteps` is one in all but its class."""
    optimizer = make(rate)
    if isinstance(optimizer, optax.MultiSteps):
        return optimizer.gradient_transformation()
    if not isinstance(optimizer, optax.GradientTransformation):
        raise ArgumentError(
            "optimizer",
            "must be a function of the learning rate that returns an "
            f"optax.GradientTransformation, such as optax.adam, got {type(optimizer).__name__}",
            subject="an {optimizer}",
        )
    return optimizer


def _remembers(node: Any) -> bool:
    return isinstance(node, REMEMBERING)


def _numbers_from_rate(make: Callable[[Any], Any], rate: Array, params: PyTree) -> list[set[str]]:
    """Which numbers that the nodes of a state remember depend on the rate."""
    with jax.ensure_compile_time_eval():  # what comes from a rate of NaN is NaN
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), params)
        state = _made(make, jnp.full((), jnp.nan, rate.dtype)).init(zeros)
        return [
            {k for k, x in node.hyperparams.items() if np.isnan(np.asarray(x, np.float32)).any()}
            if _remembers(node)
            else set()
            for node in jax.tree.leaves(state, is_leaf=_remembers)
        ]


def _renewed(held: Any, fresh: Any, moving: set[str]) -> Any:
    if not moving:
        return held
    numbers = {k: fresh.hyperparams[k] if k in moving else x for k, x in held.hyperparams.items()}
    return held._replace(hyperparams=numbers)
