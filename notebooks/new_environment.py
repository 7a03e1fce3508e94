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
# # A new environment: folding a small protein
#
# In the HP model (Lau and Dill, 1989) a protein is a chain of hydrophobic (H) and polar (P)
# residues on a square lattice. It never crosses itself, and it likes its H residues side by side:
# every pair of them that are lattice neighbours, but not neighbours in the chain, is a *contact*.
# At temperature $1/\beta$ a fold $x$ has probability
#
# $$P(x) = R(x) / Z, \qquad R(x) = e^{\beta\, \mathrm{contacts}(x)} .$$
#
# We write this as an environment, let the library look for our mistakes, train a GFlowNet and
# compare it with the exact answer.

# %%
import contextlib
import sys
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from flax import struct

import gfnjax
from gfnjax import registry
from gfnjax.cli import main
from gfnjax.envs.drawing import Panel
from gfnjax.metrics import exact, state_graph
from gfnjax.plot import style

style.use()

# %% [markdown]
# ## What is a state, what is an action?
#
# The two residues in the middle lie on the lattice from the start: that is $s_0$. An action adds a
# residue to one of the two ends of the chain, to the left, straight on or to the right: six
# actions. Taking a residue off at one of the ends is a backward action: two of them. The same fold
# is reached in many orders, so the states form a graph, not a tree.
#
# An environment is a frozen pytree whose methods take *one* state; batches are the library's
# business. Sizes are static, numbers such as beta are leaves: they can be swept or differentiated.

# %%
# Outward from an end: left, straight on, right.
TURNS = jnp.array([[[0, -1], [1, 0]], [[1, 0], [0, 1]], [[0, 1], [-1, 0]]])


class Fold(NamedTuple):
    """`where` `[L, 2]` the residues from `first` to `last` are; 0 where they are not yet."""

    where: jax.Array
    first: jax.Array
    last: jax.Array


@struct.dataclass
class FirstTry:
    """A chain on the square lattice that grows at both ends."""

    is_h: jax.Array  # [L] which residues are hydrophobic
    beta: float = 2.0  # nats a contact
    num_actions = 6  # 3 * end + turn
    num_backward_actions = 2  # the end

    @property
    def length(self):
        return self.is_h.shape[0]

    @property
    def max_steps(self):
        return self.length - 2

    @property
    def middle(self):
        return (self.length - 2) // 2  # it and the next residue are always there

    def initial_state(self):
        where = jnp.zeros((self.length, 2), jnp.int32).at[self.middle + 1, 0].set(1)
        return Fold(where, jnp.int32(self.middle), jnp.int32(self.middle + 1))

    def is_there(self, state):
        residue = jnp.arange(self.length)
        return (state.first <= residue) & (residue <= state.last)

    def next_places(self, state):
        """`[6, 2]` where each action would put a residue."""
        ends = state.where[jnp.stack([state.first, state.last])]
        inner = state.where[jnp.stack([state.first + 1, state.last - 1])]
        return (ends[:, None] + jnp.einsum("tij,ej->eti", TURNS, ends - inner)).reshape(6, 2)

    def step(self, state, action):
        at_end = action >= 3
        grown = Fold(
            state.where.at[jnp.where(at_end, state.last + 1, state.first - 1)].set(
                self.next_places(state)[action]
            ),
            state.first - jnp.where(at_end, 0, 1),
            state.last + jnp.where(at_end, 1, 0),
        )
        allowed = self.forward_mask(state)[action]
        return jax.tree.map(lambda x, y: jnp.where(allowed, x, y), grown, state)

    def forward_mask(self, state):
        same = (self.next_places(state)[:, None] == state.where).all(axis=-1)
        is_free = ~(same & self.is_there(state)).any(axis=1)
        unfinished = jnp.stack([state.first > 0, state.last < self.length - 1])
        return jnp.repeat(unfinished, 3) & is_free

    def backward_mask(self, state):
        return jnp.stack([state.first < self.middle, state.last > self.middle + 1])

    def backward_step(self, state, backward_action):
        at_end = backward_action == 1
        shorter = Fold(
            state.where.at[jnp.where(at_end, state.last, state.first)].set(0),
            state.first + jnp.where(at_end, 0, 1),
            state.last - jnp.where(at_end, 1, 0),
        )
        allowed = self.backward_mask(state)[backward_action]
        return jax.tree.map(lambda x, y: jnp.where(allowed, x, y), shorter, state)

    def backward_action(self, state, action):  # undoes `action` taken in `state`
        return action // 3

    def forward_action(self, state, backward_action):  # redoes what it undoes in `state`
        removed = state.where[jnp.where(backward_action == 1, state.last, state.first)]
        places = self.next_places(self.backward_step(state, backward_action)).reshape(2, 3, 2)
        same = (places[backward_action] == removed).all(axis=-1)
        return 3 * backward_action + jnp.argmax(same).astype(jnp.int32)

    def is_complete(self, state):
        return (state.first == 0) & (state.last == self.length - 1)

    def is_terminal(self, state):
        return self.is_complete(state)

    def turns(self, state):
        """`[L - 2]` the turn at each residue but the ends: 1, 2 or 3, and 0 while unknown."""
        x, y = jnp.diff(state.where, axis=0).T
        residue = jnp.arange(1, self.length - 1)
        known = (state.first < residue) & (residue < state.last)
        return jnp.where(known, 2 + x[:-1] * y[1:] - y[:-1] * x[1:], 0)

    def observe(self, state):
        return jax.nn.one_hot(self.turns(state) - 1, 3).reshape(-1)

    def contacts(self, state):
        """`[L, L]` which pairs of residues are in contact."""
        apart = jnp.abs(state.where[:, None] - state.where).sum(axis=-1)
        residue = jnp.arange(self.length)
        in_chain = jnp.abs(residue[:, None] - residue) <= 1
        sticky = self.is_h & self.is_there(state)
        return (apart == 1) & ~in_chain & sticky[:, None] & sticky

    def log_reward(self, state):
        return self.beta * self.contacts(state).sum() / 2


# %% [markdown]
# ## Is it right?
#
# `check_environment` walks random trajectories and holds every method against the contract: each
# step must be undone by one backward step, masks must say exactly what is possible, and so on. The
# first promise that is broken is told in words.


# %%
def residues(sequence):
    return jnp.array([letter == "H" for letter in sequence])


SEQUENCE = "HPPHPPHPPH"
try:
    gfnjax.testing.check_environment(FirstTry(residues(SEQUENCE)), jax.random.key(0), 1_000)
except gfnjax.testing.ConformanceError as error:
    print(error)

# %% [markdown]
# A real mistake: the mask is all False in a state that is not terminal. An end can be walled in by
# the chain around it while residues are still missing. A rollout that got there could neither go on
# nor stop. It takes seven residues around the end, so it is rare, and a few hand-made tests would
# not have met it.
#
# What should happen is for us to decide. Here a chain that is stuck is terminal as well, with a
# reward so small that it does not matter. (Not zero: log R has to be a number.)
#
# ## Everything countable, and pictures
#
# The same class gets three more abilities, each one method or a few:
#
# - `num_states`, `state_index`, `state_at` make it `Enumerable`: exact metrics apply. States are
#   listed once, in plain Python, and found again by a code of two bits a turn.
# - `log_partial_reward` says what an unfinished chain is worth, for forward-looking objectives.
# - `render` (`Renderable`) turns a distribution into panels and `draw` (`Drawable`) draws one fold:
#   `gfnjax plot` uses both.

# %%
STUCK = -8.0  # nats


@struct.dataclass
class LatticeProtein(FirstTry):
    """`FirstTry` without dead ends, with a list of all states."""

    states: Fold = None  # [num_states, ...] all of them, by their codes
    codes: jax.Array = None  # [num_states]

    def is_terminal(self, state):
        return ~self.forward_mask(state).any()

    def log_reward(self, state):
        return jnp.where(self.is_complete(state), super().log_reward(state), STUCK)

    def log_partial_reward(self, state):
        stuck = self.is_terminal(state) & ~self.is_complete(state)
        return jnp.where(stuck, STUCK, super().log_reward(state))

    @property
    def num_states(self):
        return self.codes.shape[0]

    def code(self, state):
        return (self.turns(state) * 4 ** jnp.arange(self.length - 2)).sum()

    def state_index(self, state):
        return jnp.searchsorted(self.codes, self.code(state))

    def state_at(self, index):
        return jax.tree.map(lambda x: x[index], self.states)

    def render(self, states, weights):
        touching = np.asarray(jax.vmap(self.contacts)(states))
        count = np.bincount(touching.sum(axis=(1, 2)) // 2, weights)
        pairs = np.einsum("n,nuv->uv", weights, touching)
        return Panel(count, "contacts"), Panel(pairs, "residue", "residue", "P(contact)")

    def draw(self, axes, state):
        where, is_h = np.asarray(state.where), np.asarray(self.is_h)
        for pair in np.argwhere(np.triu(self.contacts(state))):
            axes.plot(*where[pair].T, ":", color="#d1603d", linewidth=2.5)
        there = np.asarray(self.is_there(state))
        axes.plot(*where[there].T, color="#22303c", linewidth=3, zorder=2)
        colours = np.where(is_h[there], "#d1603d", "#c3e0e2")
        axes.scatter(*where[there].T, s=130, c=colours, edgecolor="#22303c", zorder=3)
        axes.set(aspect="equal", title=f"{int(self.contacts(state).sum()) // 2} contacts")
        axes.margins(0.15)
        axes.axis("off")


def list_folds(length, middle):
    """All states as (first, path of places), in plain Python: a second account of the rules."""
    level = {(middle, ((0, 0), (1, 0)))}
    while level:
        yield from level
        longer = set()
        for first, path in level:
            for x, y in ((1, 0), (0, 1), (-1, 0), (0, -1)):
                before, after = (path[0][0] + x, path[0][1] + y), (path[-1][0] + x, path[-1][1] + y)
                if first > 0 and before not in path:
                    longer.add((first - 1, (before, *path)))
                if first + len(path) < length and after not in path:
                    longer.add((first, (*path, after)))
        level = longer


def lattice_protein(sequence, beta=2.0):
    env = LatticeProtein(residues(sequence), beta)
    folds = list(list_folds(env.length, env.middle))
    where = np.zeros((len(folds), env.length, 2), np.int32)
    for row, (first, path) in zip(where, folds, strict=True):
        row[first : first + len(path)] = path
    first, size = np.array([(first, len(path)) for first, path in folds], np.int32).T
    states = Fold(where, first, first + size - 1)
    codes = np.asarray(jax.jit(jax.vmap(env.code))(states))
    order = np.argsort(codes)
    states = jax.tree.map(lambda x: jnp.asarray(x[order]), states)
    return env.replace(states=states, codes=jnp.asarray(codes[order]))


env = lattice_protein(SEQUENCE)
gfnjax.testing.check_environment(env, jax.random.key(0), 1_000)
graph = state_graph.build_graph(env)
ends = jax.vmap(env.state_at)(jnp.flatnonzero(graph.terminal))
complete = jax.vmap(env.is_complete)(ends)
print(f"{env.num_states:,} states, {complete.sum():,} folds, {(~complete).sum()} dead ends")

# %% [markdown]
# The check passes, and building the graph confirms it: every state is reached from $s_0$.
#
# ## Training
#
# Nothing here knows about proteins. Every 500 steps the distribution of the policy is computed
# exactly, over all states, and compared with $R/Z$.

# %%
NUM_STEPS = 1_500
gfn = gfnjax.GFlowNet(
    env,
    gfnjax.mlp_policy(env, (256, 256)),
    gfnjax.TrajectoryBalance(),
    backward=gfnjax.UniformBackward(),
    batch_size=32,
    hyperparameters=gfnjax.Hyperparameters(
        learning_rate=optax.cosine_decay_schedule(3e-3, NUM_STEPS), log_z_learning_rate=0.1
    ),
)


@jax.jit
def measure(gfn, state):
    table = exact.policy_table(gfn.model, state.params)
    return exact.evaluate(graph, table.log_pf, state.params.log_z)


state, history = gfnjax.train(gfn, jax.random.key(1), NUM_STEPS, chunk_size=500, evaluate=measure)
for row in history.evaluations:
    print(f"step {row['step']:5}: total variation {row['total_variation']:.3f}")

# %% [markdown]
# ## A name on the command line
#
# A frozen dataclass with `make` under a decorator is all it takes; its fields become flags. With
# the classes and this dataclass in a file of your own, `folding.py`,
#
# ```bash
# gfnjax --import folding train fold --sequence HHPPHPPHPH --objective fl-db
# gfnjax plot runs/fold-1
# ```
#
# trains with checkpoints and exact evaluation and draws the panels and folds of above.
# Forward-looking balance works because there is a `log_partial_reward`. An installed package with
# an entry point needs no `--import`; the page on plug-ins has the details.


# %%
@registry.environment("fold", defaults={"steps": 1_000, "batch_size": 32, "backward": "uniform"})
@dataclass(frozen=True)
class FoldConfig:
    """folds of a chain of H and P residues on the square lattice"""

    sequence: str = SEQUENCE
    """letters H and P"""
    beta: float = 2.0
    """nats a contact"""

    def __post_init__(self):
        if set(self.sequence) != set("HP"):
            raise gfnjax.ArgumentError("sequence", f"must be of H and P, got {self.sequence!r}")

    def make(self):
        return lattice_protein(self.sequence, self.beta)


with contextlib.redirect_stderr(sys.stdout):
    main(["train", "fold", "--sequence", "HELP"])  # in a shell: gfnjax train fold --sequence HELP

# %% [markdown]
# ## What it learned
#
# Of this sequence there is one best fold (and its mirror image), with four contacts. It is two in
# 4,067, yet at this temperature one in six samples.

# %%
log_p = exact.terminating_distribution(graph, exact.policy_table(gfn.model, state.params).log_pf)
log_q, _ = exact.target_distribution(graph)
learned, target = (np.exp(x[graph.terminal]) for x in (log_p, log_q))
codes = jax.vmap(env.code)(ends)
mirrored = jax.vmap(lambda s: env.code(s._replace(where=s.where * jnp.array([1, -1]))))(ends)
best = [i for i in np.argsort(-target, kind="stable") if codes[i] < mirrored[i]][:6]

COLOURS = {"exact": "#d1603d", "learned": "#1f6f8b"}
figure = plt.figure(figsize=(13, 5), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=(1, 1.1))
for ax, i in zip(left.subplots(2, 3).flat, best, strict=True):
    env.draw(ax, jax.tree.map(lambda x, i=i: x[i], ends))
    ax.set_title(
        f"{ax.get_title(loc='left')}\nP {learned[i]:.4f}, exact {target[i]:.4f}", fontsize=9
    )
first, second = right.subplots(1, 2)
count = np.asarray(jax.vmap(env.contacts)(ends)).sum(axis=(1, 2)) // 2
for values, shift, name in ((target, -0.2, "exact"), (learned, 0.2, "learned")):
    bars = np.bincount(count, values)
    first.bar(np.arange(bars.size) + shift, bars, width=0.4, label=name, color=COLOURS[name])
first.set(xlabel="contacts", ylabel="probability", title="all folds together")
first.legend()
folds = np.asarray(complete)
spread = 0.5 * (np.random.default_rng(0).random(folds.sum()) - 0.5)
dots = {"markersize": 3, "alpha": 0.3, "color": COLOURS["learned"], "markeredgewidth": 0}
second.semilogy(count[folds] + spread, learned[folds], "o", **dots)
for n in np.unique(count[folds]):
    exact_one = target[folds & (count == n)][0]
    second.plot([n - 0.4, n + 0.4], [exact_one] * 2, color=COLOURS["exact"], linewidth=2)
second.set(xlabel="contacts", ylabel="probability", title=f"each of {folds.sum():,} folds")
plt.show()
assert history.evaluations[-1]["total_variation"] < 0.2

# %% [markdown]
# *Folding HPPHPPHPPH on the square lattice: the six most probable folds (H orange, contacts
# dotted), the number of contacts, and the probability of every fold, learned and exact.*
