"""Environments: one file each, and the functions that build the published ones."""

from gfnjax.envs import diffusion_tasks as diffusion_tasks
from gfnjax.envs.amp import VariableSequence, antimicrobial_peptides
from gfnjax.envs.base import (
    Conditioned,
    Enumerable,
    Environment,
    Measurable,
    PartialReward,
    PathReward,
    RandomSource,
    SparselyObserved,
    Stoppable,
)
from gfnjax.envs.bits import BitSequence, bit_sequence
from gfnjax.envs.box import Box
from gfnjax.envs.conditional import (
    Conditional,
    preference_conditional,
    temperature_conditional,
)
from gfnjax.envs.cyclic_hypergrid import CyclicHypergrid, UniformSourceHypergrid
from gfnjax.envs.dags import DAGs
from gfnjax.envs.diffusion import Diffusion
from gfnjax.envs.drawing import Drawable, Renderable
from gfnjax.envs.graph_building import GraphBuilding
from gfnjax.envs.graph_problems import GraphProblem, graph_problem
from gfnjax.envs.graph_tasks import GraphConfig
from gfnjax.envs.hypergrid import Hypergrid
from gfnjax.envs.ising import Ising
from gfnjax.envs.molecule_tasks import molecules
from gfnjax.envs.molecules import Molecules
from gfnjax.envs.permutations import Permutations
from gfnjax.envs.phylogeny import Phylogeny, phylogeny, phylogeny_benchmark
from gfnjax.envs.sequences import FixedSequence, left_to_right_bits, qm9_small, tfbind8
from gfnjax.envs.sets import Set, additive_set, published_set
from gfnjax.envs.tabular import TabularDAG, TabularGraph, random_dag, tabular_dag, tabular_graph
from gfnjax.envs.tempered import tempered
from gfnjax.envs.text import ListedText, PromptedText, Text
from gfnjax.envs.torus import Torus

__all__ = [
    "BitSequence",
    "Box",
    "Conditional",
    "Conditioned",
    "CyclicHypergrid",
    "DAGs",
    "Diffusion",
    "Drawable",
    "Enumerable",
    "Environment",
    "FixedSequence",
    "GraphBuilding",
    "GraphConfig",
    "GraphProblem",
    "Hypergrid",
    "Ising",
    "ListedText",
    "Measurable",
    "Molecules",
    "PartialReward",
    "PathReward",
    "Permutations",
    "Phylogeny",
    "PromptedText",
    "RandomSource",
    "Renderable",
    "Set",
    "SparselyObserved",
    "Stoppable",
    "TabularDAG",
    "TabularGraph",
    "Text",
    "Torus",
    "UniformSourceHypergrid",
    "VariableSequence",
    "additive_set",
    "antimicrobial_peptides",
    "bit_sequence",
    "graph_problem",
    "left_to_right_bits",
    "molecules",
    "phylogeny",
    "phylogeny_benchmark",
    "preference_conditional",
    "published_set",
    "qm9_small",
    "random_dag",
    "tabular_dag",
    "tabular_graph",
    "temperature_conditional",
    "tempered",
    "tfbind8",
]
