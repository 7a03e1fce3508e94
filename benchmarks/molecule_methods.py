"""What is compared on molecules, in words of `gfnjax train`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Published (2106.04399): mean proxy of the 10, 100 and 1,000 best of 1e5 molecules.
PUBLISHED_MOLECULES = 100_000
PUBLISHED = {
    "GFlowNet": {"top_10": 8.36, "top_100": 8.21, "top_1000": 7.98, "similarity_1000": 0.44},
    "MARS": {"top_10": 8.05, "top_100": 7.71, "top_1000": 7.13, "similarity_1000": 0.59},
    "PPO": {"top_10": 8.06, "top_100": 7.87, "top_1000": 7.52, "similarity_1000": 0.62},
}
COMMON: dict[str, Any] = {"condition": "none", "symmetry": "none", "root": "transposed"}
PUBLISHED_SETTINGS = "fm-paper"  # takes too long on a CPU to be run without being asked for
# Rates, batches and exploration are the best of few tried, 3,000 molecules and one seed each: five
# for TB, six for FL-DB, four for FM, two for PPO. MARS and the network were not tuned.
NETWORK = {"width": 64, "num_rounds": 3}


@dataclass(frozen=True)
class Method:
    """One of those that are compared.

    Attributes:
        name: on the command line and in tables.
        summary: one line.
        settings: for `gfnjax.run.choices.configure`.
        learns: whether its policy is trained; the uniform policy stays in its place without.
    """

    name: str
    summary: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    learns: bool = True


def _method(name: str, summary: str, learns: bool = True, **settings: Any) -> Method:
    return Method(name, summary, COMMON | {"fragments": NETWORK} | settings, learns)


_METHODS = (
    _method(
        "fm",
        "flow matching, R^10",
        objective="fm",
        fm={"epsilon": 2.5e-5, "terminal_weight": 10.0},
        beta=10.0,
        batch_size=4,
        learning_rate=2e-3,
        epsilon=0.01,
        regression="square",
    ),
    _method(
        "tb",
        "trajectory balance, R^10",
        objective="tb",
        beta=10.0,
        batch_size=4,
        learning_rate=3e-3,
        log_z_learning_rate=0.1,
        epsilon=0.01,
        regression="huber",
    ),
    _method(
        "fl-db",
        "forward-looking detailed balance, R^10",
        objective="fl-db",
        beta=10.0,
        batch_size=4,
        learning_rate=1e-3,
        epsilon=0.01,
        regression="huber",
    ),
    _method(
        "mars",
        "Markov chains with a proposal that learns, R^10",
        objective="mars",
        beta=10.0,
        batch_size=16,
        learning_rate=1e-3,
        epsilon=0.0,
        mars={"chain_back": 2},
    ),
    _method(
        "ppo",
        "proximal policy optimisation of R^4",
        objective="ppo",
        ppo={"returns": "reward", "entropy_weight": 1e-4},
        beta=4.0,
        batch_size=16,
        learning_rate=1e-4,
        epsilon=0.0,
        num_updates=4,
        regression="square",
    ),
    _method("random", "actions drawn uniformly", learns=False, objective="tb", batch_size=64),
    Method(PUBLISHED_SETTINGS, "flow matching with the published settings", {"variant": "paper"}),
)
METHODS: dict[str, Method] = {method.name: method for method in _METHODS}
