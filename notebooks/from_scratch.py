# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # GFlowNets from scratch, on a grid small enough to see everything
#
# There are objects $x$, each with a reward $R(x) > 0$, and we want to *draw* them, each with
# probability $P(x) = R(x)/Z$, where $Z = \sum_x R(x)$. Real objects, molecules say, are too many to
# list, so nobody knows $Z$. A *generative flow network* builds an object step by step and learns
# the probability of each step, so that what comes out at the end comes in proportion to its reward.
#
# Here the objects are the 16 cells of a 4 x 4 grid. Everything can be computed exactly and drawn.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import gfnjax
from gfnjax import GFlowNet, Hyperparameters, Residuals, Scores, UniformBackward
from gfnjax.metrics import exact, state_graph
from gfnjax.plot import flows, style

style.use()

# %% [markdown]
# ## The game
#
# | noun | symbol | here |
# |---|---|---|
# | state | $s$ | a cell, and whether we have stopped there |
# | source | $s_0$ | the cell (0, 0), not stopped |
# | action | $a$ | 0: go right, 1: go up, 2: stop |
# | mask | | which actions a state allows: at the right edge one cannot go right |
# | trajectory | $\tau$ | $s_0 \to s_1 \to \dots \to s_n = x$ |
# | terminal state | $x$ | a cell in which we have stopped: an object |
# | reward | $R(x)$ | below: two corners with 4, one with 8, all others 1 |
#
# Different trajectories lead to the same cell, so the states form a graph, not a tree. There are no
# cycles: every step leads away from $s_0$.

# %%
REWARD = jnp.ones((4, 4)).at[0, 3].set(4.0).at[3, 0].set(4.0).at[3, 3].set(8.0)


def log_reward(position, side):
    return jnp.log(REWARD[position[0], position[1]])


env = gfnjax.Hypergrid(num_dims=2, side=4, reward=log_reward)
state = env.step(env.initial_state(), 0)  # right
state = env.step(env.step(state, 0), 0)  # right, right: at the edge
print("position", state.position, "may go right, up, stop:", env.forward_mask(state))

graph = state_graph.build_graph(env)
print(graph.num_states, "states,", int(graph.forward_mask.sum()), "edges, Z =", REWARD.sum())

# %% [markdown]
# ## Flow
#
# Think of water. $Z$ litres a second enter at $s_0$ and run along the edges to the terminal states,
# where they leave. $F(s \to s')$ is what runs along an edge, $F(s)$ what runs through a state.
# Nothing is lost on the way:
#
# $$\sum_{s \to s'} F(s \to s') = F(s) = \sum_{s'' \to s} F(s'' \to s), \qquad
# F(s_0) = Z, \qquad F(x) = R(x).$$
#
# A drop that follows the water leaves $s$ along an edge with probability
# $P_F(s'|s) = F(s \to s') / F(s)$, the *forward policy*, and it ends in $x$ with probability
# $F(x) / F(s_0) = R(x) / Z$. **That is the whole idea: find such a flow, follow it, and you draw
# from $R / Z$.**
#
# There are many flows. Which one is fixed by the *backward policy*
# $P_B(s|s') = F(s \to s') / F(s')$: where the water in $s'$ came from. We may choose it, for
# instance all parents alike, and then the flow follows from the rewards, from the last states to
# the first:
#
# $$F(s) = \sum_{s \to s'} F(s')\, P_B(s|s').$$
#
# In NumPy these are five lines:


# %%
def flow_of(log_pb):
    """F(s) `[N]` for a backward policy `[N, num_backward_actions]`."""
    flow = np.where(graph.terminal, np.exp(graph.log_reward), 0.0)
    for level in np.asarray(graph.levels)[::-1]:  # far from s_0 first
        for child in level[level < graph.num_states]:
            for b in np.flatnonzero(graph.backward_mask[child]):
                flow[graph.parents[child, b]] += flow[child] * np.exp(log_pb[child, b])
    return flow


def backward_policy(preference):
    """log P_B in proportion to a preference for each backward action (undo right, up, stop)."""
    weights = jnp.where(graph.backward_mask, jnp.asarray(preference), 0.0)
    return jnp.log(weights / jnp.maximum(weights.sum(axis=1, keepdims=True), 1e-9))


uniform = backward_policy([1.0, 1.0, 1.0])
log_flow, log_pf = exact.optimal_flow(graph, uniform)  # the same, for graphs of any size
np.testing.assert_allclose(flow_of(uniform), np.exp(log_flow), rtol=1e-5)
print("F(s_0) =", flow_of(uniform)[int(graph.source)])

# %% [markdown]
# Two backward policies, two flows. Circles are states with $F(s)$ written on them, orange squares
# are terminal states with $R(x)$, arrows are as wide as the flow along them. Pick any circle: what
# arrives in it leaves it. On the left a drop comes from below or from the left with equal
# probability, on the right nine times out of ten from the left. The squares are the same.

# %%
states = jax.vmap(env.state_at)(jnp.arange(env.num_states, dtype=jnp.int32))
places = np.asarray(states.position) + 0.4 * np.asarray(states.stopped)[:, None]

figure, axes = plt.subplots(1, 2, figsize=(11, 5.2), layout="constrained")
choices = {"uniform $P_B$": uniform, "$P_B$ undoes right first": backward_policy([9.0, 1.0, 1.0])}
for ax, (name, log_pb) in zip(axes, choices.items(), strict=True):
    flows.draw(ax, graph, *exact.optimal_flow(graph, log_pb), positions=places)
    ax.set_title(name)
plt.show()

# %% [markdown]
# ## Learning it
#
# The sum over children needs all states, and of real problems there are too many. What can be done
# is to draw a trajectory and look at it. Multiply $F(s)P_F(s'|s) = F(s')P_B(s|s')$ along it: all
# flows between the ends cancel, and what is left is *trajectory balance* (Malkin et al., 2022),
#
# $$Z \prod_t P_F(s_{t+1}|s_t) = R(x) \prod_t P_B(s_t|s_{t+1}).$$
#
# If it holds for every trajectory, $P_F$ is the policy of a flow. So let a network say the logits
# of $P_F$, let $\log Z$ be a number that is learned as well, and make the squared difference of the
# logarithms small on trajectories that the policy itself draws. This is the loss, for one of them:


# %%
def trajectory_balance(scores: Scores) -> Residuals:
    forward = scores.log_z + scores.log_pf.sum()
    backward = scores.log_reward + scores.log_pb.sum()
    return Residuals(forward - backward, jnp.ones(()))


gfn = GFlowNet(
    env,
    gfnjax.mlp_policy(env, (64, 64)),
    trajectory_balance,
    backward=UniformBackward(),
    batch_size=16,
    hyperparameters=Hyperparameters(learning_rate=3e-3, log_z_learning_rate=0.1),
    log_z_init=0.0,
)

# %% [markdown]
# `gfn.init` makes the parameters, `gfn.step` draws a batch and improves them. We stop after some
# steps and compute the flow that the policy has by then: $Z$ as it was learned, times how often a
# trajectory visits each state. *Total variation*, $\frac12\sum_x |P(x) - R(x)/Z|$, is 0 if what is
# drawn is exactly in proportion to the reward, and 1 if it has nothing to do with it.


# %%
def flow_now(params):
    """log F, log P_F and the total variation of the policy."""
    table = exact.policy_table(gfn.model, params)
    log_flow = params.log_z + jnp.log(exact.expected_visits(graph, table.log_pf))
    return log_flow, table.log_pf, exact.evaluate(graph, table.log_pf).total_variation


@jax.jit
def advance(state, num_steps):
    return jax.lax.fori_loop(0, num_steps, lambda _, s: gfn.step(s)[0], state)


state = gfn.init(jax.random.key(0))
pictures, curve = {}, []
for step in range(0, 301, 20):
    found = flow_now(state.params)
    curve.append((step, float(found[2]), float(state.params.log_z)))
    if step in (0, 60, 300):
        pictures[f"after {step} steps: total variation {found[2]:.2g}"] = found[:2]
    state = advance(state, 20)

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 2.8), layout="constrained")
steps, variation, log_z = np.array(curve).T
axes[0].plot(steps, variation, color="#1f6f8b")
axes[0].set(title="exact total variation", xlabel="training steps", yscale="log")
axes[1].plot(steps, log_z, color="#1f6f8b", label="learned")
axes[1].axhline(np.log(REWARD.sum()), color="#d1603d", linestyle="--", label="truth")
axes[1].set(title="log Z", xlabel="training steps")
axes[1].legend()
plt.show()

# %% [markdown]
# ## What was learned, beside the truth
#
# Widths are on one scale. The untrained network thinks $Z = 1$ and goes anywhere. After 60 steps it
# has found the corners, after 300 the flow is the exact one, edge by edge, although nobody ever
# told it a flow: only rewards of the cells in which it stopped.

# %%
pictures["exact"] = log_flow, log_pf
figure, axes = plt.subplots(2, 2, figsize=(11, 10), layout="constrained")
for ax, (name, found) in zip(axes.flat, pictures.items(), strict=True):
    numbers = [f"{x:.1f}" for x in np.exp(found[0])]
    scale = float(log_flow[graph.source])
    flows.draw(ax, graph, *found, positions=places, labels=numbers, log_scale=scale)
    ax.set_title(name)
plt.show()
assert variation[-1] < 0.05

# %% [markdown]
# *A GFlowNet at work: flow on the state graph of a 4 x 4 grid before, during and after training
# with trajectory balance, and the exact flow. Circles: $F(s)$; orange squares: what ends there.*
