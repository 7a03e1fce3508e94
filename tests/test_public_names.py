"""What may be imported: `docs/imports.md` lists it, and nothing comes or goes unnoticed.

    python tests/test_public_names.py

writes the page anew, where names are meant to change.
"""

import importlib
import inspect
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "imports.md"
# Module by module, in the order in which a reader meets them.
MODULES = {
    "gfnjax": "the names that most programs need",
    "gfnjax.envs": "environments, and what they may be able to do",
    "gfnjax.envs.base": "the contract of an environment and its abilities",
    "gfnjax.envs.drawing": "what an environment shows of its objects",
    "gfnjax.envs.graph_drawing": "graphs, drawn on matplotlib axes",
    "gfnjax.envs.conditional": "conditions, drawn once a trajectory",
    "gfnjax.envs.condition_distributions": "how they are drawn",
    "gfnjax.envs.strata": "classes of objects, each learned by a component of its own",
    "gfnjax.rewards": "rewards written in NumPy",
    "gfnjax.rewards.hypergrid": "rewards of grids",
    "gfnjax.rewards.sets": "energies of sets",
    "gfnjax.rewards.dags": "posteriors over DAGs",
    "gfnjax.rewards.gaussian_networks": "their marginal likelihoods",
    "gfnjax.rewards.dag_data": "data to learn DAGs from",
    "gfnjax.rewards.ising": "couplings of spins",
    "gfnjax.rewards.seh": "binding of molecules to a protein",
    "gfnjax.rewards.properties": "properties of molecules",
    "gfnjax.rewards.graph_building": "rewards of graphs that are built",
    "gfnjax.rewards.densities": "densities with a known log Z",
    "gfnjax.rewards.box": "densities on the box and the torus",
    "gfnjax.envs.text": "texts after prompts",
    "gfnjax.envs.bigram": "a language model of which all is known",
    "gfnjax.envs.arithmetic": "sums, thought through in words",
    "gfnjax.rewards.text": "what makes a text good",
    "gfnjax.rewards.language": "what a language model says of a text",
    "gfnjax.policies.language": "language models as policies",
    "gfnjax.metrics.texts": "exact distances between distributions over texts, and diversity",
    "gfnjax.chemistry.vocabulary": "fragments that molecules are made of",
    "gfnjax.chemistry.building": "molecules for RDKit, and from lists of blocks",
    "gfnjax.chemistry.exports": "tables and files of molecules",
    "gfnjax.plot.molecules": "pictures of molecules",
    "gfnjax.plot.flows": "flows on a state graph, drawn",
    "gfnjax.plot.networks": "directed graphs whose edges have weights, drawn",
    "gfnjax.plot.style": "the look of all pictures",
    "gfnjax.actions": "what an action is",
    "gfnjax.distributions": "kinds of actions over real numbers",
    "gfnjax.policies": "policies and backward policies",
    "gfnjax.policies.base": "what a policy is",
    "gfnjax.model": "what samples and scores",
    "gfnjax.objectives": "objectives",
    "gfnjax.objectives.regression": "what a residual costs",
    "gfnjax.sweeps": "many runs as one program",
    "gfnjax.sweeps.points": "what is varied, and over what",
    "gfnjax.run.sweeps": "sweeps on disk, and their results",
    "gfnjax.run.sweeps.search": "search: what is tried depends on what was found",
    "gfnjax.run.hosts": "several processes as one program",
    "gfnjax.spread": "one batch on several devices",
    "gfnjax.plot.sweeps": "pictures of sweeps",
    "gfnjax.samplers": "where the trajectories of a step come from",
    "gfnjax.samplers.local_search": "local search",
    "gfnjax.samplers.back_and_forth": "one move of it, and of Markov chains",
    "gfnjax.replay": "replay buffers",
    "gfnjax.exploration": "how sampling departs from the policy",
    "gfnjax.algorithms": "what contains a GFlowNet, or is compared with one",
    "gfnjax.algorithms.mixtures": "mixtures of what is learned of strata",
    "gfnjax.algorithms.ebgfn": "rewards that are learned from data",
    "gfnjax.training": "the loop over compiled chunks of steps",
    "gfnjax.metrics": "metrics, by module",
    "gfnjax.metrics.exact": "by dynamic programming",
    "gfnjax.metrics.sampled": "from samples",
    "gfnjax.metrics.flow_consistency": "on sets of objects, where none can list all",
    "gfnjax.metrics.modes": "coverage",
    "gfnjax.metrics.distances": "between distributions",
    "gfnjax.metrics.state_graph": "lists of all states",
    "gfnjax.metrics.directed_graphs": "marginals of graphs",
    "gfnjax.metrics.molecules": "what chemists look at",
    "gfnjax.metrics.molecule_log": "of all molecules visited",
    "gfnjax.metrics.molecule_probability": "exact likelihoods of molecules",
    "gfnjax.metrics.pareto": "several objectives",
    "gfnjax.metrics.densities": "distances between clouds of points",
    "gfnjax.metrics.transport": "how short walks can be at least",
    "gfnjax.data.graphs": "graphs: read, named and random",
    "gfnjax.metrics.graph_solutions": "what is found on graphs",
    "gfnjax.metrics.graph_baselines": "what is found without learning",
    "gfnjax.metrics.graph_optimum": "and what is proven",
    "gfnjax.testing": "checks for authors of environments and objectives",
    "gfnjax.rollout": "rollouts",
    "gfnjax.scoring": "scores of trajectories",
    "gfnjax.masking": "masked logits",
    "gfnjax.packing": "evaluate live rows only",
    "gfnjax.pytree": "frozen dataclasses whose numbers JAX sees",
    "gfnjax.registry": "names on the command line",
    "gfnjax.run": "runs on disk",
    "gfnjax.cli": "the command line, as a function",
    "gfnjax.data": "data files",
}


def names(module):
    """What `__all__` says, else what is defined there under a public name."""
    if hasattr(module, "__all__"):
        return sorted(module.__all__)
    own = (inspect.isclass, inspect.isfunction)
    return sorted(
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and any(kind(inspect.unwrap(value)) for kind in own)
        and getattr(inspect.unwrap(value), "__module__", None) == module.__name__
    )


def page():
    lines = [
        "# What may be imported",
        "",
        "Everything listed here is supported; anything else is internal and may move. The names of",
        "the first section are the ones that most programs need: `import gfnjax`. Signatures and",
        "docstrings are in the reference of the site.",
        "",
    ]
    for name, what in MODULES.items():
        found = names(importlib.import_module(name))
        lines += [f"## `{name}`", "", f"{what[0].upper()}{what[1:]}.", ""]
        lines += [", ".join(f"`{each}`" for each in found), ""]
    return "\n".join(lines)


def test_the_page_lists_every_supported_import():
    assert page() == PAGE.read_text(), "names have changed: python tests/test_public_names.py"


@pytest.mark.parametrize("name", MODULES)
def test_listed_names_are_there_and_documented(name):
    module = importlib.import_module(name)
    assert (module.__doc__ or "").strip()
    for each in names(module):
        value = getattr(module, each)
        assert inspect.ismodule(value) or (value.__doc__ or "").strip(), each


if __name__ == "__main__":
    PAGE.write_text(page())
