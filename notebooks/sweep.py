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
# # What matters? A sweep as one program
#
# A training run of this library is a pure function of a description and a key, and every number of
# the description, a learning rate, how much is explored, the lambda of an objective, is data for
# the compiled program, not part of it. So two hundred runs that differ in numbers are *one* program
# that is compiled once. It is divided among all devices there are (on a laptop: the cores of the
# CPU), and no device waits for another.
#
# Here we ask of sub-trajectory balance on a 16 x 16 grid: which of three numbers matters, and where
# should they be? Every run is measured **exactly**, so there is no noise but that of training.

# %%
import gfnjax

# Each core a device. Before JAX computes anything; on other hardware it changes nothing.
gfnjax.sweeps.use_cores()

# %%
import jax
import numpy as np

from gfnjax.metrics import exact, state_graph
from gfnjax.plot import sweeps as pictures
from gfnjax.run.sweeps import analyse, table_of
from gfnjax.sweeps import log_uniform, uniform

# %% [markdown]
# ## One description
#
# This is what is trained. Nothing in it says that there will be a sweep.

# %%
env = gfnjax.Hypergrid(num_dims=2, side=16, reward=gfnjax.corners("standard"))
gfn = gfnjax.GFlowNet(
    env,
    gfnjax.mlp_policy(env, (64, 64)),
    gfnjax.SubTrajectoryBalance(0.9),
    hyperparameters=gfnjax.Hyperparameters(learning_rate=1e-3, epsilon=0.0),
    backward=gfnjax.UniformBackward(),
)
states = state_graph.build_graph(env)


# All members have this environment. Were its reward varied, `states` would have to come from
# `gfn.env`: the description of the member that is measured.
def evaluate(gfn, state):
    table = exact.policy_table(gfn.model, state.params)
    found = exact.evaluate(states, table.log_pf, gfn.log_z(state.params))
    return {"total_variation": found.total_variation, "kl": found.kl}


evaluate = jax.jit(evaluate)

# %% [markdown]
# ## A first look: thirty settings, drawn at random
#
# Names are fields: `learning_rate`, `objective.lambda_`, `env.reward.r0`, ... A few joint draws say
# more about several numbers than a grid of as many points, where most runs repeat the same values.

# %%
keys = jax.random.split(jax.random.key(0), 2)
found = gfnjax.sweep(
    gfn,
    keys,
    num_steps=400,
    vary={
        "learning_rate": log_uniform(1e-4, 3e-2),
        "epsilon": uniform(0.0, 0.3),
        "objective.lambda_": uniform(0.5, 1.0),
    },
    num_samples=30,
    chunk_size=100,
    evaluate=evaluate,
)
print(len(found.members), "runs,", found.status.count("diverged"), "of which diverged")

# %% [markdown]
# `found.rows` is a tidy table, one row a member and chunk: `polars.DataFrame(found.rows)` if you
# like. Here is what it says.

# %%
table = table_of(found)
figure = pictures.figures(table, "total_variation")["parallel"]
figure

# %%
statistics = analyse(table, "total_variation")
for effect in statistics.effects:
    print(f"{effect.name:18} explains {effect.share:4.0%} (by chance {effect.chance:.0%})")
print("best:", statistics.best.values)

# %% [markdown]
# One number decides nearly everything. That is a common finding, and worth the look before a grid
# of three is begun: the others can be left alone, and what is there to spend goes into seeds.
#
# ## A second look: one number, more seeds
#
# Four seeds a setting, for an interquartile mean with a bootstrap interval instead of a lucky run.

# %%
rates = np.geomspace(1e-3, 3e-2, 6)
fine = gfnjax.sweep(
    gfn,
    jax.random.split(jax.random.key(1), 4),
    num_steps=400,
    vary={"learning_rate": rates},
    chunk_size=100,
    evaluate=evaluate,
)
made = pictures.figures(table_of(fine), "total_variation")
made["curves"]

# %% [markdown]
# ## Is a member really that run?
#
# Yes: bit for bit where members are computed one after another, and to rounding where several
# share an operation. Here is one of them, trained alone from its description and key.

# %%
member, state = fine.members[7], fine.states[7]
alone, _ = gfnjax.train(member.gfn, jax.random.clone(member.key), 400, chunk_size=100)
difference = max(
    float(abs(x - y).max())
    for x, y in zip(jax.tree.leaves(alone.params), jax.tree.leaves(state.params), strict=True)
)
print("largest difference of a parameter:", difference)
assert difference < 1e-3

# %% [markdown]
# ## From the command line
#
# The same, kept on disk, resumed after an interrupt, and with everything `gfnjax train` can do:
#
# ```bash
# gfnjax sweep hypergrid --side 16 --objective subtb --steps 400 --seeds 2 --samples 30 \
#     --vary learning_rate=log-uniform:1e-4:3e-2 --vary epsilon=uniform:0:0.3 \
#     --vary lambda=uniform:0.5:1
# gfnjax report sweeps/hypergrid-1
# ```

# %%
made["values"]

# %% [markdown]
# *Exact total variation after 400 steps of sub-trajectory balance on a 16 x 16 grid, against the
# learning rate: every seed, and the interquartile mean with its bootstrap interval.*
