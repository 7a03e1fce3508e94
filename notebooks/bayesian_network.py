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
# # Learning a Bayesian network from a CSV file
#
# Which variable influences which? A *Bayesian network* answers with a directed acyclic graph $G$. A
# few dozen rows of data never decide for one graph: many explain them about equally well, and some
# cannot be told apart by any amount of observations. So the answer is a distribution,
#
# $$P(G \mid D) \propto P(D \mid G)\, P(G),$$
#
# and the questions are about its marginals: how probable is the edge from smoking to tar?
#
# A GFlowNet samples from it by adding one edge at a time (Deleu et al., 2022). With five variables
# there are 29,281 graphs, and all of it can be checked.

# %%
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import gfnjax
from gfnjax.data import read_matrix
from gfnjax.envs import DAGs
from gfnjax.metrics import directed_graphs, exact, state_graph
from gfnjax.objectives import ModifiedDetailedBalance
from gfnjax.plot import networks, style
from gfnjax.rewards.dags import posterior
from gfnjax.rewards.gaussian_networks import bge

style.use()

# %% [markdown]
# ## Data
#
# Sixty rows, drawn from a network that we know, so that we can see what the data give away. Smoking
# and bad air both cause tar, tar causes cough, and smokers drink more coffee.

# %%
NAMES = ["smoking", "coffee", "air", "tar", "cough"]
TRUTH = np.zeros((5, 5), bool)
for cause, effect in ((0, 1), (0, 3), (2, 3), (3, 4)):
    TRUTH[cause, effect] = True

rng = np.random.default_rng(3)
rows = rng.normal(size=(60, 5)) * [1.0, 0.8, 1.0, 0.6, 0.8]
for node in range(5):  # causes come first
    rows[:, node] += 0.7 * rows[:, TRUTH[:, node]].sum(axis=1)

path = Path(tempfile.mkdtemp()) / "health.csv"
np.savetxt(path, rows, delimiter=",", header=",".join(NAMES), comments="", fmt="%.3f")
print("\n".join(path.read_text().splitlines()[:4]))

# %% [markdown]
# ## The posterior as a reward
#
# Each variable is a linear function of its parents plus Gaussian noise. The *BGe* score (Geiger and
# Heckerman, 1994) integrates all coefficients and variances out, so that $\log P(D|G)$ is a sum of
# one term a node, given its parents. It also gives graphs that say the same about independence the
# same score. The reward is $R(G) = P(D|G)\,P(G)$; every graph is as probable as any other before
# the data.

# %%
env = DAGs(len(NAMES), posterior(bge(read_matrix(path))))
graph = state_graph.build_graph(env)
adjacency = jax.vmap(env.state_at)(jnp.arange(env.num_states, dtype=jnp.int32)).adjacency
log_target, _ = exact.target_distribution(graph)
best = float(jnp.exp(log_target.max()))
print(f"{int(graph.terminal.sum()):,} graphs; the most probable one has probability {best:.3f}")

# %% [markdown]
# ## Training
#
# A state is a graph; an action adds an edge that closes no cycle, or stops. Every state is an
# object as well, so the flow of $s$ is known where it stops: $F(s) = R(s) / P_F(\mathrm{stop}|s)$.
# Put into detailed balance, $F(s)\,P_F(s'|s) = F(s')\,P_B(s|s')$, no flow is left to be learned:
#
# $$\log \frac{R(s')\, P_B(s|s')\, P_F(\mathrm{stop}|s)}
# {R(s)\, P_F(s'|s)\, P_F(\mathrm{stop}|s')} = 0 ,$$
#
# the *modified* detailed balance. It needs only a difference of scores, in which all nodes but one
# cancel. We start with uniformly random actions and explore less and less.

# %%
NUM_STEPS = 2_000
gfn = gfnjax.GFlowNet(
    env,
    gfnjax.mlp_policy(env, (128, 128)),
    ModifiedDetailedBalance(),
    backward=gfnjax.UniformBackward(),
    batch_size=32,
    hyperparameters=gfnjax.Hyperparameters(
        learning_rate=optax.cosine_decay_schedule(5e-3, NUM_STEPS, alpha=0.02),
        epsilon=optax.linear_schedule(1.0, 0.1, NUM_STEPS // 2),
    ),
    regression=gfnjax.regression.huber,
)
state, history = gfnjax.train(gfn, jax.random.key(0), NUM_STEPS)

table = exact.policy_table(gfn.model, state.params)
found = exact.evaluate(graph, table.log_pf)
print(f"total variation {found.total_variation:.3f}, Jensen-Shannon {found.jsd:.4f} nats")

# %% [markdown]
# ## What the data say
#
# With more variables nobody can list the graphs, and one draws samples. So do we; beside them is
# the exact posterior, by adding up all graphs. *Path* is the probability that $u$ has any influence
# on $v$, however many steps away.

# %%
samples = gfnjax.terminal_states(gfn.sample(state.params, jax.random.key(1), 4_000)).adjacency
learned = {
    "edge": np.asarray(directed_graphs.edge_marginals(samples)),
    "path": np.asarray(directed_graphs.path_marginals(samples)),
}
truth = {
    "edge": np.asarray(directed_graphs.edge_marginals(adjacency, log_target)),
    "path": np.asarray(directed_graphs.path_marginals(adjacency, log_target)),
}
for u, v in np.argwhere(truth["edge"] > 0.25):
    print(
        f"{NAMES[u]:>8} -> {NAMES[v]:8} learned {learned['edge'][u, v]:.2f}, "
        f"exact {truth['edge'][u, v]:.2f}{'' if TRUTH[u, v] else '   (not in the true graph)'}"
    )
for kind in learned:
    assert np.abs(learned[kind] - truth[kind]).max() < 0.1

# %% [markdown]
# Smoking and air are independent until tar is known: that gives the direction of their edges away,
# and of the one to cough. Nothing that can be observed tells whether smoking leads to coffee or
# coffee to smoking, and the posterior says so: an arrow each way, at about one half.
#
# In a shell the same is `gfnjax train dag --data health.csv`, which also writes a picture of the
# edges; it has other scores and priors, and a graph network for more variables.

# %%
PLACES = np.array([[0.6, 2.0], [0.0, 1.0], [2.0, 2.0], [1.3, 1.0], [1.3, 0.0]])
figure, axes = plt.subplots(1, 3, figsize=(13, 4.4), layout="constrained")
networks.draw(axes[0], TRUTH, NAMES, positions=PLACES)
axes[0].set_title("the network behind the data")
networks.draw(axes[1], learned["edge"], NAMES, positions=PLACES, highlight=TRUTH)
axes[1].set_title(f"posterior of the edges, {len(rows)} rows")
off_diagonal = ~np.eye(5, dtype=bool)
for kind, marker, colour in (("path", "s", "#d1603d"), ("edge", "o", "#1f6f8b")):
    pairs = truth[kind][off_diagonal], learned[kind][off_diagonal]
    axes[2].plot(*pairs, marker, label=kind, color=colour, alpha=0.8, markeredgecolor="white")
axes[2].plot([0, 1], [0, 1], color="#b8c4cc", linewidth=1, zorder=0)
axes[2].set(xlabel="exact posterior", ylabel="4,000 samples", title="marginals", aspect="equal")
axes[2].legend()
plt.show()

# %% [markdown]
# *A posterior over Bayesian networks, learned from 60 rows: arrows are as wide as the edge is
# probable, blue where it is in the true network; on the right all marginals, beside the exact
# ones.*
