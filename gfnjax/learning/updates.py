"""From a batch to new parameters: the gradient steps of one training step."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from gfnjax.hyperparameters import Hyperparameters
from gfnjax.objectives.base import loss_and_errors
from gfnjax.policies import ensemble
from gfnjax.policies.backward import TrainedBackward
from gfnjax.policies.ensemble import EnsemblePolicy
from gfnjax.samplers.base import Batch
from gfnjax.state import Params, TrainState
from gfnjax.types import Array, PolicyOutput, PyTree, Scores, Trajectory

if TYPE_CHECKING:
    from gfnjax.gflownet import GFlowNet

REMEMBERING = optax.InjectHyperparamsState, optax.InjectStatefulHyperparamsState


class OptStates(NamedTuple):
    """What there is for each group of parameters: an optimiser or its state; None for no group."""

    policy: PyTree
    log_z: PyTree
    backward: PyTree
    objective: PyTree


class Fit(NamedTuple):
    """What the first update on a batch found: `errors` `[B]` is the loss of each trajectory."""

    loss: Array
    scores: Scores
    errors: Array
    grad_norm: Array


def init(gfn: GFlowNet, params: Params, values: Hyperparameters) -> OptStates:
    """An optimiser state for each group of parameters that is there.

    Raises:
        ValueError: if an optimiser cannot be used on a group of parameters, with the reason.
    """
    if isinstance(gfn.backward, TrainedBackward):  # of an average, the network alone is trained
        params = params._replace(backward=gfn.backward.network(params.backward))
    optimizers = _optimizers(gfn, params, values)
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
        raise ValueError(
            f"{argument} cannot train the {name} parameters: it must need nothing but gradients "
            "(L-BFGS needs the loss itself), and labels or masks must be a function of the "
            f"parameters or fit theirs ({type(error).__name__}: {str(error).splitlines()[0]})"
        ) from error
    return state


def fit(gfn: GFlowNet, state: TrainState, batch: Batch, key: Array) -> tuple[TrainState, Fit]:
    """`gfn.num_updates` steps on the objective."""
    before = state.params.policy

    def loss(params: Params, key: Array, outputs: PolicyOutput | None, previous: PyTree) -> Any:
        known: Any = {"target": state.target, "previous": previous, "outputs": outputs}
        value, scores, errors = judge(gfn, params, batch.trajectories, key=key, **known)
        return value, (scores, errors)

    def step(
        state: TrainState, key: Array, outputs: PolicyOutput | None, previous: PyTree
    ) -> tuple[TrainState, Fit]:
        grad = jax.value_and_grad(loss, has_aux=True)
        (value, (scores, errors)), grads = grad(state.params, key, outputs, previous)
        with jax.numpy_dtype_promotion("standard"):  # parameters may differ in precision
            norm = optax.tree.norm(grads).astype(value.dtype)
        if gfn.max_grad_norm is not None:
            scale = jnp.minimum(1.0, gfn.max_grad_norm / jnp.maximum(norm, 1e-12))
            grads = jax.tree.map(lambda g: g * scale.astype(g.dtype), grads)
        params, opt_state = update(gfn, state, grads)
        state = state._replace(params=params, opt_state=opt_state)
        return state, Fit(value, scores, errors, norm)

    keys = jax.random.split(key, gfn.num_updates)
    state, first = step(state, keys[0], batch.outputs, None)
    if gfn.num_updates > 1:
        state, _ = lax.scan(lambda s, key: (step(s, key, None, before)[0], None), state, keys[1:])
    return state, first


def judge(
    gfn: GFlowNet, params: Params, trajectories: Trajectory, *, key: Array | None, **known: Any
) -> tuple[Array, Scores, Array]:
    """What trajectories `[B, ...]` cost: the loss, scores `[B, ...]` and each one's error `[B]`.

    Of an ensemble: means over its members, and the scores of the first one.
    """
    if not isinstance(gfn.policy, EnsemblePolicy):
        scores = gfn.score(params, trajectories, key=key, **known)
        value, errors = loss_and_errors(gfn.objective, gfn.regression, scores)
        return value, scores, errors
    score_key, keep_key = (None, None) if key is None else jax.random.split(key)
    scores = gfn.score(params, trajectories, key=score_key, members=True, **known)
    value, errors = ensemble.mean_loss(gfn.policy, gfn.objective, gfn.regression, scores, keep_key)
    return value, jax.tree.map(lambda x: x[0], scores), errors


def fit_backward(
    gfn: GFlowNet, state: TrainState, trajectories: Trajectory, key: Array
) -> TrainState:
    """The steps of a `TrainedBackward` on a loss of its own."""
    backward = gfn.backward
    assert isinstance(backward, TrainedBackward)
    values = gfn.values(state.hyperparameters, state.step)
    optimizer = _optimizers(gfn, state.params, values).backward
    observed = backward.observe(state.observed, trajectories)

    def loss(network: PyTree, batch: Trajectory) -> Array:
        return backward.loss(network, gfn.env, batch, gfn.chunk_size_for(batch))

    def step(carry: tuple[PyTree, PyTree], key: Array) -> tuple[tuple[PyTree, PyTree], None]:
        network, opt_state = carry
        grads = jax.grad(loss)(network, backward.recall(observed, trajectories, key))
        return move(optimizer, grads, opt_state, network), None

    start = backward.network(state.params.backward), state.opt_state.backward
    (network, moved), _ = lax.scan(step, start, jax.random.split(key, backward.num_updates))
    params = state.params._replace(backward=backward.settle(state.params.backward, network))
    opt_state = state.opt_state._replace(backward=moved)
    return state._replace(params=params, opt_state=opt_state, observed=observed)


def update(gfn: GFlowNet, state: TrainState, grads: Params) -> tuple[Params, OptStates]:
    """New parameters and optimiser state; those of a `TrainedBackward` stay as they are."""
    params, opt_state = state.params, state.opt_state
    values = gfn.values(state.hyperparameters, state.step)
    optimizers = _optimizers(gfn, params, values)
    for name in ("policy", "log_z", "objective"):
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


def _optimizers(gfn: GFlowNet, params: Params, values: Hyperparameters) -> OptStates:
    """The optimiser of each group of parameters, at the rate in force."""

    own = following(gfn.optimizer, values.learning_rate)
    if params.objective is not None:
        own = _on(own, gfn.objective.trained(params.objective))
    return OptStates(
        policy=following(gfn.optimizer, values.learning_rate),
        log_z=following(gfn.log_z_optimizer, values.log_z_learning_rate),
        backward=following(gfn.optimizer, values.backward_learning_rate),
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
    optimizer = make(rate)
    if not isinstance(optimizer, optax.GradientTransformation):
        raise TypeError(
            "an optimizer must be a function of the learning rate that returns an "
            f"optax.GradientTransformation, such as optax.adam, got {type(optimizer).__name__}"
        )

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


def _remembers(node: Any) -> bool:
    return isinstance(node, REMEMBERING)


def _numbers_from_rate(make: Callable[[Any], Any], rate: Array, params: PyTree) -> list[set[str]]:
    """Which numbers that the nodes of a state remember depend on the rate."""
    with jax.ensure_compile_time_eval():  # what comes from a rate of NaN is NaN
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), params)
        state = make(jnp.full((), jnp.nan, rate.dtype)).init(zeros)
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
