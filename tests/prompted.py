"""Short texts after a few prompts: the smallest conditional environment whose states are a tree."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from gfnjax.envs.amp import VariableSequence, VariableSequenceState
from gfnjax.pytree import pytree
from gfnjax.types import Array

NUM_PROMPTS = 3


class PromptedState(NamedTuple):
    inner: VariableSequenceState
    prompt: Array


def score(tokens):
    """Something that differs from text to text."""
    place = jnp.arange(1, tokens.size + 1, dtype=jnp.int32)
    number = ((tokens + 1) * place).sum(dtype=jnp.int32).astype(jnp.result_type(float))
    return jnp.sin(number)


def text_rules(max_length=3, num_letters=2):
    return VariableSequence(max_length, num_letters, score, min_length=0)


@struct.dataclass
class Prompted:
    """log R(z | i) = (i + 1) sin(..): texts of 0 to `max_length` letters, after one of 3 prompts.

    `prompt` of the environment is that of every trajectory; -1 draws one for each.
    """

    rules: Any
    prompt: int = struct.field(default=-1, pytree_node=False)

    @property
    def num_actions(self):
        return self.rules.num_actions

    @property
    def num_backward_actions(self):
        return 1

    @property
    def max_steps(self):
        return self.rules.max_steps

    @property
    def stop_action(self):
        return self.rules.alphabet_size

    def initial_state(self):
        prompt = jnp.asarray(max(self.prompt, 0), jnp.int32)
        return PromptedState(self.rules.initial_state(), prompt)

    def draw_initial_state(self, key):
        if self.prompt >= 0:
            return self.initial_state()
        prompt = jax.random.randint(key, (), 0, NUM_PROMPTS, jnp.int32)
        return PromptedState(self.rules.initial_state(), prompt)

    def step(self, state, action):
        return state._replace(inner=self.rules.step(state.inner, action))

    def backward_step(self, state, action):
        return state._replace(inner=self.rules.backward_step(state.inner, action))

    def forward_mask(self, state):
        return self.rules.forward_mask(state.inner)

    def backward_mask(self, state):
        return self.rules.backward_mask(state.inner)

    def backward_action(self, state, action):
        return self.rules.backward_action(state.inner, action)

    def forward_action(self, state, action):
        return self.rules.forward_action(state.inner, action)

    def is_terminal(self, state):
        return state.inner.stopped

    def observe(self, state):
        prompt = jax.nn.one_hot(state.prompt, NUM_PROMPTS)
        return jnp.concatenate([self.rules.observe(state.inner), prompt])

    def log_reward(self, state):
        value = self.rules.log_reward(state.inner)
        return (state.prompt + 1).astype(value.dtype) * value

    def log_partial_reward(self, state):
        return self.log_reward(state)


@pytree
class StoppingTexts(VariableSequence):
    """The rules alone, which say what stops and what it is worth: all states can be listed."""

    @property
    def stop_action(self):
        return self.alphabet_size

    def log_partial_reward(self, state):
        return self.log_reward(state)
