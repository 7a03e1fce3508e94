"""The values that flow through the library: trajectories, policy outputs, scores, residuals.

Shapes are written for *one* trajectory or state; batches carry one more leading axis.
T is `env.max_steps`; a trajectory of length L <= T is padded after its end.
"""

from typing import Any, NamedTuple

import jax

Array = jax.Array
PyTree = Any


class Trajectory(NamedTuple):
    """A path s_0 -> ... -> s_L through the state graph, forward or backward sampled alike.

    Attributes:
        states: `[T + 1, ...]` pytree, s_0 to s_L, then s_L repeated.
        actions: `[T]` int32, the forward action taken in `states[t]`; 0 after the end.
        length: `[]` int32, the number of transitions L.
        log_reward: `[]` log R(s_L) in nats.
    """

    states: PyTree
    actions: Array
    length: Array
    log_reward: Array


class PolicyOutput(NamedTuple):
    """What a policy says about one state, before masking.

    Attributes:
        forward_logits: `[num_actions]`.
        backward_logits: `[num_backward_actions]`.
        log_flow: `[]` log F(s) in nats.
    """

    forward_logits: Array
    backward_logits: Array
    log_flow: Array


class Scores(NamedTuple):
    """One trajectory seen by the current policy, without exploration. Differentiable; in nats.

    Everything after the end is zero, so `scores.log_pf.sum()` is the log-probability of the
    trajectory without further masking.

    Attributes:
        log_pf: `[T]` log P_F(s_{t+1} | s_t).
        log_pb: `[T]` log P_B(s_t | s_{t+1}).
        log_flow: `[T + 1]` log F(s_t), and log R at the terminal state.
        log_reward: `[]` log R(s_L).
        log_z: `[]` log Z, as the objective's `log_z` attribute says: the learned scalar, the
            flow of s_0, or the batch's own estimate.
        mask: `[T]` True on the L live transitions.
        length: `[]` int32, L.
        log_inflow: `[T + 1]` log of the flow entering s_t from all its parents, zero at s_0;
            None unless the objective needs `"log_inflow"`.
        target: the same trajectory scored by the target network, without gradient; None
            unless the objective needs `"target"`.
    """

    log_pf: Array
    log_pb: Array
    log_flow: Array
    log_reward: Array
    log_z: Array
    mask: Array
    length: Array
    log_inflow: Array | None = None
    target: "Scores | None" = None


class Residuals(NamedTuple):
    """What an objective returns for one trajectory.

    The loss of a batch is `sum(weights * g(values)) / sum(weights)` over all trajectories.

    Attributes:
        values: `[R]` residuals, log(model flow) - log(target flow), in nats.
        weights: `[R]` non-negative; zero on padding.
    """

    values: Array
    weights: Array
