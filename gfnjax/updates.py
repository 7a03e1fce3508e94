"""From a batch to new parameters: the gradient steps of one training step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from gfnjax import ensemble
from gfnjax.hyperparameters import Hyperparameters
from gfnjax.objectives.base import loss_and_errors
from gfnjax.policies.backward import TrainedBackward
from gfnjax.policies.ensemble import EnsemblePolicy
from gfnjax.samplers.base import Batch
from gfnjax.state import Params, TrainState
from gfnjax.types import Array, PolicyOutput, PyTree, Scores, Trajectory

if TYPE_CHECKING:
    from gfnjax.training import GFlowNet

BACKWARD = Params._fields.index("backward")


class Fit(NamedTuple):
    """What the first update on a batch found: `errors` `[B]` is the loss of each trajectory."""

    loss: Array
    scores: Scores
    errors: Array
    grad_norm: Array


def init(gfn: GFlowNet, params: Params, values: Hyperparameters) -> tuple[PyTree, ...]:
    """An optimiser state for each group of parameters that is there."""
    pairs = zip(_rates(values), params, strict=True)
    return tuple(None if p is None else gfn.optimizer(rate).init(p) for rate, p in pairs)


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
        norm = optax.tree.norm(grads)
        if gfn.max_grad_norm is not None:
            scale = jnp.minimum(1.0, gfn.max_grad_norm / jnp.maximum(norm, 1e-12))
            grads = jax.tree.map(lambda g: g * scale, grads)
        params, opt_state = update(gfn, state, grads)
        state = state._replace(params=params, opt_state=opt_state)
        return state, Fit(value, scores, errors, norm)

    state, first = step(state, key, batch.outputs, None)
    if gfn.num_updates > 1:
        keys = jax.random.split(key, gfn.num_updates - 1)
        state, _ = lax.scan(lambda s, key: (step(s, key, None, before)[0], None), state, keys)
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
    scores = gfn.score(params, trajectories, key=key, members=True, **known)
    key = None if key is None else jax.random.fold_in(key, 0)
    value, errors = ensemble.mean_loss(gfn.policy, gfn.objective, gfn.regression, scores, key)
    return value, jax.tree.map(lambda x: x[0], scores), errors


def fit_backward(
    gfn: GFlowNet, state: TrainState, trajectories: Trajectory, key: Array
) -> TrainState:
    """The steps of a `TrainedBackward` on a loss of its own."""
    backward = gfn.backward
    assert isinstance(backward, TrainedBackward)
    rate = gfn.values(state.hyperparameters, state.step).backward_learning_rate
    observed = backward.observe(state.observed, trajectories)

    def loss(params: PyTree, batch: Trajectory) -> Array:
        network = backward.network(params)
        return backward.loss(network, gfn.env, batch, gfn.chunk_size_for(batch))

    def step(carry: tuple[PyTree, PyTree], key: Array) -> tuple[tuple[PyTree, PyTree], None]:
        params, opt_state = carry
        grads = jax.grad(loss)(params, backward.recall(observed, trajectories, key))
        return _move(gfn, rate, grads, opt_state, params), None

    start = state.params.backward, state.opt_state[BACKWARD]
    (params, moved), _ = lax.scan(step, start, jax.random.split(key, backward.num_updates))
    opt_state = (*state.opt_state[:BACKWARD], moved, *state.opt_state[BACKWARD + 1 :])
    params = state.params._replace(backward=backward.settle(params))
    return state._replace(params=params, opt_state=opt_state, observed=observed)


def update(gfn: GFlowNet, state: TrainState, grads: Params) -> tuple[Params, PyTree]:
    """New parameters and optimiser state; those of a `TrainedBackward` stay as they are."""
    rates = _rates(gfn.values(state.hyperparameters, state.step))
    groups = zip(rates, grads, state.opt_state, state.params, strict=True)
    moved = [
        (params, opt_state) if i == BACKWARD else _move(gfn, rate, grads, opt_state, params)
        for i, (rate, grads, opt_state, params) in enumerate(groups)
    ]
    params, opt_state = zip(*moved, strict=True)
    return Params(*params), opt_state


def _move(
    gfn: GFlowNet, rate: Array, grads: PyTree, opt_state: PyTree, params: PyTree
) -> tuple[PyTree, PyTree]:
    if params is None:
        return None, None
    # Optax promotes dtypes implicitly, like the schedules.
    with jax.numpy_dtype_promotion("standard"):
        updates, opt_state = gfn.optimizer(rate).update(grads, opt_state, params)
    return jax.tree.map(jnp.add, params, updates), opt_state


def _rates(values: Hyperparameters) -> Params:
    return Params(
        values.learning_rate,
        values.log_z_learning_rate,
        values.backward_learning_rate,
        values.learning_rate,
    )
