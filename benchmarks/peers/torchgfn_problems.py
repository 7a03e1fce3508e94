"""torchgfn's environments for the tasks it has, with estimators that fit them.

All of its environments end by an exit action of their own, so that trajectories of the spins, the
bits and the sets are one transition longer than the other libraries'. Its backward actions name
what is undone in full, so that a learned P_B has more outputs there.
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from gfn.estimators import DiscretePolicyEstimator, ScalarEstimator
from gfn.gym import DiscreteEBM, HyperGrid
from gfn.gym.bitSequenceNonAutoregressive import NonAutoregressiveBitSequence
from gfn.gym.discrete_ebm import IsingModel
from gfn.gym.set_addition import SetAddition
from gfn.preprocessors import IdentityPreprocessor, KHotPreprocessor
from gfn.utils.modules import MLP, DiscreteUniform
from torch import nn

from benchmarks.data import data_file
from benchmarks.settings import (
    ATTENTION,
    BITS,
    ISING_SIGMA,
    SETTINGS,
    Attention,
    grid,
    ising_side,
)


class Problem(NamedTuple):
    """An environment and what is trained."""

    env: Any
    pf: DiscretePolicyEstimator
    pb: DiscretePolicyEstimator
    log_flow: ScalarEstimator | None


def _mlp(name: str, env: Any, preprocessor: Any) -> Problem:
    """P_F, P_B and flows from one trunk."""
    settings = SETTINGS[name]
    num_inputs, num_actions = preprocessor.output_dim, env.n_actions
    forward = MLP(
        num_inputs,
        num_actions,
        settings.hidden_sizes[0],
        len(settings.hidden_sizes),
        activation_fn=settings.activation,
    )
    backward, flow = (MLP(num_inputs, n, trunk=forward.trunk) for n in (num_actions - 1, 1))
    return Problem(
        env,
        DiscretePolicyEstimator(forward, num_actions, preprocessor),
        DiscretePolicyEstimator(backward, num_actions, preprocessor, is_backward=True),
        None if settings.objective == "tb" else ScalarEstimator(flow, preprocessor),
    )


def hypergrid(name: str) -> Problem:
    num_dims, side, rewards = grid(name)
    reward = dict(zip(("R0", "R1", "R2"), rewards, strict=True))
    env = HyperGrid(num_dims, side, reward_fn_kwargs=reward)
    return _mlp(name, env, KHotPreprocessor(side, num_dims))


def ising(name: str) -> Problem:
    side = ising_side(name)
    site = np.arange(side**2).reshape(side, side)
    couplings = np.zeros((side**2, side**2), np.float32)
    for axis in (0, 1):
        there = np.roll(site, 1, axis)
        couplings[site, there] = couplings[there, site] = ISING_SIGMA
    # log R = -alpha energy = alpha x^T J x.
    env = DiscreteEBM(side**2, IsingModel(torch.tensor(couplings)))
    return _mlp(name, env, IdentityPreprocessor(side**2, torch.get_default_dtype()))


def set_medium(name: str) -> Problem:
    published = json.loads(data_file("set_energies.json").read_text())["medium"]
    energies, set_size = published["energies"], published["set_size"]
    weights = -torch.tensor(energies)
    env = SetAddition(
        len(energies), set_size, lambda chosen: torch.exp(chosen @ weights), fixed_length=True
    )
    return _mlp(name, env, IdentityPreprocessor(len(energies)))


class Words(nn.Module):
    """The transformer that the other libraries have: post-norm, one head for all positions."""

    def __init__(self, num_words: int, num_positions: int, sizes: Attention) -> None:
        super().__init__()
        self.num_words = num_words
        self.embed = nn.Embedding(num_words + 3, sizes.width)
        given = sizes.width, sizes.num_heads, sizes.feed_forward
        layer = nn.TransformerEncoderLayer(*given, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, sizes.num_layers)
        self.head = nn.Linear(sizes.width, num_words)
        rates = 10_000.0 ** (-torch.arange(0, sizes.width, 2) / sizes.width)
        angles = torch.arange(num_positions + 1)[:, None] * rates
        table = torch.stack([angles.sin(), angles.cos()], dim=-1)
        self.register_buffer("places", table.reshape(num_positions + 1, sizes.width))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        batch = tokens.shape[:-1]
        tokens = torch.where(tokens < 0, self.num_words, tokens).reshape(-1, tokens.shape[-1])
        start = torch.full_like(tokens[:, :1], self.num_words + 1)
        x = self.embed(torch.cat([start, tokens], dim=1)) + self.places
        logits = self.head(self.encoder(x)[:, 1:]).flatten(1)
        # The exit is the only action where it is allowed: its logit does not matter.
        return nn.functional.pad(logits, (0, 1)).reshape(*batch, -1)


def bits(name: str) -> Problem:
    env = NonAutoregressiveBitSequence(BITS.word_size, BITS.num_bits, BITS.num_modes, BITS.beta)
    network = Words(env.n_words, env.words_per_seq, ATTENTION)
    preprocessor = IdentityPreprocessor(env.words_per_seq)
    uniform = DiscreteUniform(env.n_actions - 1)
    pf = DiscretePolicyEstimator(network, env.n_actions, preprocessor)
    pb = DiscretePolicyEstimator(uniform, env.n_actions, preprocessor, is_backward=True)
    return Problem(env, pf, pb, None)


PROBLEMS: dict[str, Callable[[str], Problem]] = {
    "grid-tb": hypergrid,
    "grid-db": hypergrid,
    "grid-subtb": hypergrid,
    "grid-8x8": hypergrid,
    "bits": bits,
    "ising-6": ising,
    "ising-10": ising,
    "set-medium": set_medium,
}
