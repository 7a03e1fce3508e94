"""The updates of a backward policy with a training of its own, apart from the rest of a step."""

import jax

from gfnjax.learning import updates


@jax.jit
def fit_backward(gfn, state, trajectories, key):
    """The state after its updates on a batch."""
    values = gfn.values(state.hyperparameters, state.step)
    optimizer = updates.following(gfn.optimizer, values.backward_learning_rate)
    return updates.fit_backward(gfn.model, optimizer, state, trajectories, key)
