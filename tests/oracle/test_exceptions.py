"""Every objective with a name vanishes at the exact optimum, or is here with a reason not to."""

from test_optimum import OBJECTIVES

import gfnjax.algorithms  # noqa: F401 which have some of the names
from gfnjax import registry
from gfnjax.objectives.base import as_objective

ELSEWHERE = {
    "rtb": "its target is prior times R: tests/objectives/test_relative_trajectory_balance.py",
    "rtb-group": "the same: tests/objectives/test_group_balance.py",
    "raptb": "biased where prefixes are silent: tests/objectives/test_rooted_absorbed_prefix.py",
    "flowrl": "a target of its own, per token: tests/objectives/test_flow_rl.py",
    "likelihood": "learns the data: tests/objectives/test_maximum_likelihood.py",
    "ga-tb": "intrinsic rewards: tests/objectives/test_generative_augmented.py",
    "ga-db": "the same",
    "led-db": "a learned potential: tests/objectives/test_learned_decomposition.py",
    "led-subtb": "the same",
    "reinforce": "an expectation alone vanishes: tests/oracle/test_policy_gradients.py",
    "reward-to-go": "the same",
    "ppo": "looks for the best object",
    "ppo-plain": "the same",
    "sac": "the same",
    "pis": "through the sampling, of real numbers: tests/objectives/test_path_integral.py",
    "mh": "a Markov chain",
    "mars": "a Markov chain that learns its moves",
}


def test_each_name_is_somewhere():
    checked = {type(as_objective(objective)) for objective in OBJECTIVES.values()}
    made = {}
    for entry in registry.entries("objective"):
        if not entry.is_plugin and entry.name not in ELSEWHERE:
            one = entry.make()
            made[entry.name] = type(one.make() if hasattr(one, "make") else one)
    assert {name for name, kind in made.items() if kind not in checked} == set()
    assert set(ELSEWHERE) <= set(registry.names("objective"))
