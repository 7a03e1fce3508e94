"""A training step over a whole vocabulary holds no array of batch x length x vocabulary."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax import GFlowNet, UniformBackward
from gfnjax.envs.text import PromptedText
from gfnjax.language.architectures import LlamaConfig
from gfnjax.objectives import ModifiedSubTrajectoryBalance
from gfnjax.policies.language import LanguageModel, language_policy
from gfnjax.rewards.language import Continuation
from gfnjax.rewards.tokens import prompt_table
from gfnjax.samplers.groups import Groups

VOCABULARY, BATCH, LENGTH = 49_152, 160, 30
SHAPE = re.compile(r"(?:f32|s32|u32|pred|bf16)\[([0-9,]+)\]")


@pytest.mark.long
@pytest.mark.optimised
def test_largest_array_and_memory_of_a_step():
    # Narrow, for the time to compile: what a vocabulary takes does not depend on the width.
    config = LlamaConfig(VOCABULARY, 32, 64, 1, 4, 2, 8, context=64)
    model = LanguageModel.random(config, jax.random.key(0))
    ids = jnp.asarray(np.r_[1:VOCABULARY, 0], jnp.int32)
    prompts = prompt_table([[5, 6, 7], [8, 9], [10, 11, 12, 13]])
    env = PromptedText(LENGTH, ids, Continuation(model), prompts)
    gfn = GFlowNet(
        env,
        language_policy(env, model),
        ModifiedSubTrajectoryBalance(),
        UniformBackward(),
        batch_size=BATCH,
        sampler=Groups(8),
    )
    state = jax.eval_shape(gfn.init, jax.random.key(1))
    compiled = jax.jit(lambda gfn, state: gfn.step(state), donate_argnums=1)
    compiled = compiled.lower(gfn, state).compile()
    sizes = [math.prod(map(int, dims.split(","))) for dims in SHAPE.findall(compiled.as_text())]
    assert BATCH * VOCABULARY in sizes  # the logits of one step of sampling
    assert max(sizes) <= 512 * VOCABULARY  # states that a reward is asked about at a time
    everything = 4 * BATCH * (LENGTH + 1) * VOCABULARY
    assert compiled.memory_analysis().temp_size_in_bytes < everything / 5
