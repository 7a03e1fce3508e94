"""Policies and backward policies."""

from gfnjax.policies.backward import (
    LearnedBackward,
    MaximumEntropyBackward,
    SourceBackward,
    TrainedBackward,
    UniformBackward,
)
from gfnjax.policies.base import FrozenPolicy, Policy, from_flax
from gfnjax.policies.causal import CausalPolicy, causal_transformer_policy
from gfnjax.policies.diffusion import diffusion_policy
from gfnjax.policies.ensemble import (
    EnsemblePolicy,
    ensemble_mlp_policy,
    ensemble_tabular_policy,
)
from gfnjax.policies.forest import forest_policy
from gfnjax.policies.fragments import fragment_policy
from gfnjax.policies.graph_network import graph_policy
from gfnjax.policies.language import LanguageModel, language_policy, load_language_model
from gfnjax.policies.likelihood import LikelihoodBackward, PessimisticBackward
from gfnjax.policies.mlp import mlp_policy
from gfnjax.policies.nnx import from_nnx
from gfnjax.policies.node_network import node_policy
from gfnjax.policies.path_counts import LearnedMaximumEntropyBackward
from gfnjax.policies.tabular import tabular_policy
from gfnjax.policies.transformer import transformer_policy
from gfnjax.policies.uniform import uniform_policy

__all__ = [
    "CausalPolicy",
    "EnsemblePolicy",
    "FrozenPolicy",
    "LanguageModel",
    "LearnedBackward",
    "LearnedMaximumEntropyBackward",
    "LikelihoodBackward",
    "MaximumEntropyBackward",
    "PessimisticBackward",
    "Policy",
    "SourceBackward",
    "TrainedBackward",
    "UniformBackward",
    "causal_transformer_policy",
    "diffusion_policy",
    "ensemble_mlp_policy",
    "ensemble_tabular_policy",
    "forest_policy",
    "fragment_policy",
    "from_flax",
    "from_nnx",
    "graph_policy",
    "language_policy",
    "load_language_model",
    "mlp_policy",
    "node_policy",
    "tabular_policy",
    "transformer_policy",
    "uniform_policy",
]
