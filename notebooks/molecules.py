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
# # Molecules, one fragment at a time
#
# *Install:* `pip install -e ".[molecules]"`, which brings RDKit. No GPU is needed.
#
# A medicinal chemist rarely wants *the* best molecule. A model of binding, or of anything, is wrong
# in its own ways, so what goes to the lab should be many good candidates that do not all share one
# idea. A GFlowNet is trained for that: not to maximise a reward $R$, but to *sample* molecules $x$
# with probability $P(x) = R(x) / Z$. Good ones often, all of them sometimes.
#
# It builds a molecule as a chemist sketches one: put down a fragment, bond another one to a free
# position, stop when it is good. Every state on the way is a molecule.

# %%
import tempfile
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np

import gfnjax
from gfnjax import GFlowNet, Hyperparameters, UniformBackward
from gfnjax.chemistry.building import to_rdkit, to_smiles
from gfnjax.chemistry.vocabulary import vocabulary
from gfnjax.envs import molecules
from gfnjax.metrics import exact, state_graph
from gfnjax.metrics.molecule_probability import log_prob
from gfnjax.plot import style
from gfnjax.plot.molecules import draw_growth, draw_molecules
from gfnjax.policies import fragment_policy
from gfnjax.rewards.properties import property_reward

style.use()

# %% [markdown]
# ## A vocabulary
#
# An entry is a fragment and the atoms by which it is bonded: first the atom by which it is attached
# to what is there, then its *stems*, where it can be continued. Atoms are counted along the SMILES
# from 0. A fragment comes as often as there are ways to attach it: piperidine by its nitrogen or
# by its carbon. RDKit finds the symmetries of each fragment.

# %%
words = vocabulary(
    ["c1ccccc1", "C1CCNCC1", "C1CCNCC1", "CC(N)=O", "CC(N)=O", "CO", "FC(F)F", "c1ccncc1"],
    [[0, 2, 3], [3, 0], [0, 3], [0, 2], [2, 0], [0], [1], [0, 2]],
)
folder = Path(tempfile.mkdtemp())


def show(path):
    image = plt.imread(path)
    figure = plt.figure(figsize=(10, 10 * image.shape[0] / image.shape[1]))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(image)
    axes.axis("off")
    plt.show()


notes = [f"{i}: by atom {a[0]}, stems {list(a[1:])}" for i, a in enumerate(words.attachments)]
show(draw_molecules(folder / "vocabulary.png", words.smiles, notes))

# %% [markdown]
# ## Environment, reward, training
#
# The reward is QED, a number between 0 and 1 for how much a molecule is like known drugs, to the
# power of 8. The exponent is an inverse temperature: with 1 nearly everything is sampled, with 8 a
# QED of .9 is about a hundred times as likely as one of .5.
#
# The policy is a small graph network over fragments. *Trajectory balance* is its loss: along each
# trajectory $\tau$ that ends in $x$,
#
# $$\Big(\log Z + \sum_t \log P_F(s_{t+1}|s_t) - \log R(x) - \sum_t \log P_B(s_t|s_{t+1})\Big)^2 ,$$
#
# zero everywhere only where $P(x) = R(x)/Z$. $P_B$ takes fragments away again, uniformly.
#
# **With the published vocabulary and a proxy of binding instead**, which are downloaded once:
#
# ```python
# from gfnjax.chemistry.vocabulary import published_vocabulary
# from gfnjax.rewards.seh import SEHReward, seh_proxy
#
# words = published_vocabulary()
# reward = SEHReward(seh_proxy(words, canonical=True), 8.0)
# env = molecules(reward, words)  # up to 8 of 105 fragments
# ```
#
# or `gfnjax train molecules` in a shell, which writes tables and pictures by itself.

# %%
BETA, NUM_STEPS, BATCH = 8.0, 300, 32
reward = property_reward(words, "qed", BETA)


def model_of(symmetry):
    env = molecules(reward, words, max_blocks=3, symmetry=symmetry)
    return GFlowNet(
        env,
        fragment_policy(env, width=32, num_rounds=2),
        gfnjax.TrajectoryBalance(),
        backward=UniformBackward(),
        batch_size=BATCH,
        hyperparameters=Hyperparameters(learning_rate=3e-3, log_z_learning_rate=0.1, epsilon=0.05),
    )


def trained(symmetry):
    gfn = model_of(symmetry)
    state, history = gfnjax.train(gfn, jax.random.key(0), NUM_STEPS, chunk_size=100)
    return gfn, state, history.info


gfn, state, info = trained("reward")

# %%
figure, axes = plt.subplots(1, 3, figsize=(11, 3), layout="constrained")
curves = {"loss": info.loss, "mean log reward": info.log_reward, "log Z": info.log_z}
for ax, (name, values) in zip(axes, curves.items(), strict=True):
    ax.plot(np.asarray(values), linewidth=1)
    ax.set(title=name, xlabel="training steps")
axes[0].set_yscale("log")
plt.show()

# %% [markdown]
# ## The ten best of 1,000 samples
#
# Sampling is a few evaluations of a small network; molecules are told apart by canonical SMILES.

# %%
drawn = gfn.sample(state.params, jax.random.key(1), 1_000)
last = jax.tree.map(np.asarray, gfnjax.rollout.terminal_states(drawn))
log_rewards = np.asarray(jax.vmap(gfn.env.log_reward)(last))


def row(tree, i):
    return jax.tree.map(lambda x: x[i], tree)


found = {}
for i in np.argsort(-log_rewards, kind="stable"):
    found.setdefault(to_smiles(row(last, i), words), int(i))
best = list(found.items())[:10]
notes = [f"QED {np.exp(log_rewards[i] / BETA):.3f}" for _, i in best]
show(draw_molecules(folder / "best.png", [smiles for smiles, _ in best], notes, columns=5))
print(f"{len(found)} distinct molecules among {len(log_rewards):,}")

# %% [markdown]
# How the first one was built: new atoms are coloured.

# %%
first = best[0][1]
path = [row(row(drawn.states, first), t) for t in range(1, int(drawn.length[first]) + 1)]
steps = [to_rdkit(state, words) for state in path if not state.stopped]
show(draw_growth(folder / "growth.png", steps))

# %% [markdown]
# ## How likely is it, exactly?
#
# `log_prob` adds up *all* ways to build all states of a molecule, for vocabularies of any size.
# Here there are few enough states to list them all, so that it can be checked: by dynamic
# programming over the whole state graph. Beside it is the target $R(x)/Z$, and how often the
# molecule was among the 1,000 samples.


# %%
def probabilities(gfn, state):
    """SMILES -> its probability to be sampled, number of states, and log R."""
    graph = state_graph.build_graph(gfn.env)
    table = exact.policy_table(gfn.model, state.params)
    log_p = np.asarray(exact.terminating_distribution(graph, table.log_pf))
    ends = np.flatnonzero(np.asarray(graph.terminal))
    states = jax.tree.map(np.asarray, jax.vmap(gfn.env.state_at)(ends.astype(np.int32)))
    log_r = np.asarray(jax.vmap(gfn.env.log_reward)(states))
    known = {}
    for k, i in enumerate(ends):
        smiles = to_smiles(row(states, k), words)
        p, number, _ = known.get(smiles, (0.0, 0, 0.0))
        known[smiles] = p + float(np.exp(log_p[i])), number + 1, float(log_r[k])
    return known


known = probabilities(gfn, state)
total = sum(np.exp(log_r) for _, _, log_r in known.values())
counts = dict.fromkeys(known, 0)
for i in range(len(log_rewards)):
    counts[to_smiles(row(last, i), words)] += 1
trees = log_prob(gfn.model, state.params, row(last, np.array([i for _, i in best[:3]])))
for (smiles, _), log_p in zip(best, trees, strict=False):
    p, number, log_r = known[smiles]
    print(
        f"{smiles}\n  log p {log_p:.4f}, by listing {np.log(p):.4f}, "
        f"target {log_r - np.log(total):.4f}, "
        f"{counts[smiles]} of {len(log_rewards):,} samples, {number} states"
    )
tv = sum(abs(p - np.exp(log_r) / total) for p, _, log_r in known.values()) / 2
print(f"{len(known):,} molecules in all; total variation to R / Z {tv:.3f}")

# %% [markdown]
# ## Symmetry: what is it that is sampled in proportion?
#
# The last number of each line above is how many *states* a molecule has. A state is a tree with a
# root, and the same molecule can be rooted at any of its fragments, and attached by one of several
# equivalent atoms. Trained on the reward of the state alone, a GFlowNet samples a molecule with
# $N$ states $N$ times as often as its reward deserves: $P(x) = R(x) N(x) / Z'$. It loves what can
# be written down in many ways. Published implementations do; here it is `symmetry="none"`. The
# default, `"reward"`, trains each state on $R/N$.
#
# Below, the log-ratio of what is sampled to $R$, averaged over molecules with the same $N$: flat
# if molecules are sampled in proportion to $R$, a line of slope 1 in $\log N$ if not.

# %%
sampled = {"none": probabilities(*trained("none")[:2]), "reward": known}
colours = {"none": "#d1603d", "reward": "#1f6f8b"}
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
for name, made in sampled.items():
    rows = np.array([(n, p, np.exp(r)) for p, n, r in made.values()])
    target = rows[:, 2] / rows[:, 2].sum()
    left.loglog(target, rows[:, 1], ".", color=colours[name], alpha=0.5, markersize=4)
    numbers = np.unique(rows[:, 0])
    sums = [(rows[rows[:, 0] == n, 1].sum(), target[rows[:, 0] == n].sum()) for n in numbers]
    ratio = np.log([p / q for p, q in sums])
    slope = np.polyfit(np.log(numbers), ratio, 1, w=np.sqrt([p for p, _ in sums]))[0]
    label = f'symmetry="{name}": slope {slope:.2f}'
    right.plot(numbers, ratio, "o-", color=colours[name], label=label, markersize=5)
left.loglog(target, target, color="#22303c", linewidth=1)
left.set(xlabel="R(x) / Z", ylabel="P(x), learned", title=f"each of {len(known):,} molecules")
right.axhline(0, color="#22303c", linewidth=1)
right.set(xlabel="states of a molecule, N", ylabel="log of P(x) to R(x) / Z")
right.set(title="by how many ways there are to write it down", xscale="log")
right.set_xticks(ticks := [1, 2, 3, 4, 6, 8], [str(n) for n in ticks], minor=False)
right.minorticks_off()
right.legend()
plt.show()

# %% [markdown]
# *What is sampled in proportion to the reward: molecules, where each state has its share of the
# reward (blue), or states (orange), which favours what can be written down in many ways.*
