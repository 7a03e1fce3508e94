"""The values that flow through the library: trajectories, policy outputs, scores, residuals.

Shapes are written for *one* trajectory or state; batches carry one more leading axis.
T is `env.max_steps`; a trajectory of length L <= T is padded after its end. Where there are cycles
one that is longer is cut there.
"""

from typing import Any, NamedTuple

import jax

Array = jax.Array
PyTree = Any
# Of an algorithm: a float where a user writes it, a `[]` array once it is in force.
Number = float | Array


class Trajectory(NamedTuple):
    """A path s_0 -> ... -> s_L through the state graph, forward or backward sampled alike.

    A window of an unfinished rollout has the same form: it starts in any state, and s_L need not
    be terminal.

    Attributes:
        states: `[T + 1, ...]` pytree, s_0 to s_L, then s_L repeated.
        actions: `[T]` int32, the forward action taken in `states[t]`; 0 after the end.
        length: `[]` int32, the number of transitions L.
        log_reward: `[]` log R(s_L) in nats; meaningless where s_L is not terminal.
        cut: `[]` bool, whether `max_steps` came before its end: before a terminal state or, of one
            that was sampled backward, before s_0, so that it starts in the middle. Only
            environments with cycles have such; None where nobody has looked.
        log_path_reward: `[T + 1]` log R of stopping in each state, nats, where the environment
            tells that of whole paths (`PathReward`) and the sampler has asked; else None.
    """

    states: PyTree
    actions: Array
    length: Array
    log_reward: Array
    cut: Array | None = None
    log_path_reward: Array | None = None


class PolicyOutput(NamedTuple):
    """What a policy says about one state, before masking.

    Attributes:
        forward_logits: `[num_actions]`; of actions that are not numbered whatever their kind
            takes for parameters (`gfnjax.actions.Actions.neutral`).
        backward_logits: `[num_backward_actions]`, or alike.
        log_flow: `[]` log F(s) in nats.
    """

    forward_logits: PyTree
    backward_logits: PyTree
    log_flow: Array


class Scores(NamedTuple):
    """One trajectory seen by the current policy, without exploration. Differentiable; in nats.

    Everything after the end is zero, so `scores.log_pf.sum()` is the log-probability of the
    trajectory without further masking. The fields from `log_inflow` on are None unless the
    objective `needs` them by that name.

    Attributes:
        log_pf: `[T]` log P_F(s_{t+1} | s_t).
        log_pb: `[T]` log P_B(s_t | s_{t+1}).
        log_flow: `[T + 1]` log F(s_t), and log R at the terminal state; `Objective.adapt` may
            replace what the network says by another parametrisation of the flow.
        log_reward: `[]` log R(s_L).
        log_z: `[]` log Z, as the objective's `log_z` attribute says: the learned scalar, the
            flow of s_0, or an estimate of the batch or of the trajectory's group.
        mask: `[T]` True on the L live transitions.
        length: `[]` int32, L.
        complete: `[]` bool, whether s_L is terminal; only windows of rollouts and, where there are
            cycles, trajectories that were cut need not be.
        log_inflow: `[T + 1]` log of the flow entering s_t from all its parents, zero at s_0.
        log_partial_reward: `[T + 1]` log partial reward of s_t, log R at the terminal state.
        log_stop: `[T + 1]` log P_F(stop | s_t), zero at the terminal state.
        log_value: `[T + 1]` logsumexp of the forward logits in s_t, log R at the terminal state.
        raw_flow: `[T + 1]` the network's own log flow, at the terminal state too.
        log_policy: `[T + 1, num_actions]` log P_F(. | s_t), `masking.FILL` where not allowed.
        log_prior: `[T]` log P_F(s_{t+1} | s_t) of the prior policy, without gradient.
        log_prior_stop: `[T + 1]` `log_stop` of the prior policy, where both are needed.
        target: the same trajectory scored by the target network, without gradient.
        previous: the same trajectory scored before any update on it, without gradient.
        auxiliary: what the objective's own network says, see `Objective.assist`.
        group: `[]` int32, the first trajectory of the batch that starts from the same source: from
            the same condition or prompt.
        group_reward: `[]` log R less its mean over the group, divided by its standard deviation
            there; 0 where all are alike.
        from_source: `[]` bool, whether the first state is s_0, which it need not be of trajectories
            that were sampled backward and cut, nor of windows. None in environments without
            cycles, of windows there unless it is needed.
    """

    log_pf: Array
    log_pb: Array
    log_flow: Array
    log_reward: Array
    log_z: Array
    mask: Array
    length: Array
    complete: Array
    log_inflow: Array | None = None
    log_partial_reward: Array | None = None
    log_stop: Array | None = None
    log_value: Array | None = None
    raw_flow: Array | None = None
    log_policy: Array | None = None
    log_prior: Array | None = None
    target: "Scores | None" = None
    previous: "Scores | None" = None
    auxiliary: PyTree = None
    group: Array | None = None
    log_prior_stop: Array | None = None
    group_reward: Array | None = None
    from_source: Array | None = None

    @property
    def whole(self) -> Array:
        """`[]` bool, whether it goes all the way from s_0 to a terminal state; `[B]` of a batch."""
        start = self.from_source
        return self.complete if start is None else self.complete & start


class Residuals(NamedTuple):
    """What an objective returns for one trajectory.

    The loss of a batch is `sum(weights * g(values)) / sum(weights)` over all trajectories.

    Attributes:
        values: `[R]` residuals, log(model flow) - log(target flow), in nats.
        weights: `[R]` non-negative; zero on padding.
    """

    values: Array
    weights: Array
