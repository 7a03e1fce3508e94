"""The first 50 training steps of every named environment, and of many ways to train one.

    python tests/test_golden.py record [NAME ...]

writes them down anew, where random numbers are meant to change. With GFNJAX_GOLDEN=exact the
tests ask for the same bits, parameters included, on the machine that has recorded them; without,
for the first losses, up to rounding, with the version of JAX that they were recorded with.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import gfnjax
from gfnjax.run.build import describe, initial_state
from gfnjax.run.choices import configure
from gfnjax.run.config import UsageError

FILE = Path(__file__).parent / "golden.json"
EXACT = os.environ.get("GFNJAX_GOLDEN") == "exact"
NUM_STEPS = 50
# Elsewhere a rounding error may lead to another action, sooner or later.
NUM_COMPARED = 3

ENVIRONMENTS = (
    "amp",
    "bits",
    "bits-left-to-right",
    "dag",
    "hypergrid",
    "hypergrid-20x4",
    "ising",
    "ising-learned",
    "phylogeny",
    "qm9-small",
    "set",
    "tfbind8",
)
GRID = {"environment": "hypergrid", "side": 8, "batch_size": 16, "hidden_sizes": (32, 32)}
WAYS = {
    "fm": {"objective": "fm"},
    "munchausen": {"objective": "munchausen"},
    "ent-ppo": {"objective": "ent-ppo", "backward": "uniform", "num_updates": 4},
    "sac": {"objective": "sac"},
    "ga-db": {"objective": "ga-db"},
    "mars": {"objective": "mars"},
    "tlm": {"backward": "tlm"},
    "pessimistic": {"backward": "pessimistic"},
    "windows": {"objective": "db", "window": 4, "replay": "fifo", "capacity": 100},
    "search": {"local_search": 2, "replay": "prioritised", "capacity": 100},
    "terminal": {"replay": "terminal", "capacity": 100},
    "thompson": {"thompson": 3, "thompson_keep": 0.5},
    "teacher": {"teacher_share": 0.25},
    "condition": {"objective": "tb-flow", "condition": "temperature"},
    "exploration": {"epsilon": 0.2, "temperature": 2.0, "epsilon_share": 0.5},
}
SET = {"environment": "set", "objective": "fl-subtb", "window": 8}
CASES = (
    {name: {"environment": name} for name in ENVIRONMENTS}
    | {f"grid, {name}": GRID | way for name, way in WAYS.items()}
    | {"set, windows": SET}
)


def steps(name, num_steps):
    """The losses and log Z of the first steps, and a checksum of the parameters after them."""
    config = configure(**CASES[name])
    gfn = describe(config)
    state, history = gfnjax.train(gfn, initial_state(config, gfn), num_steps, chunk_size=NUM_STEPS)
    params = state.gfn.params if hasattr(state, "gfn") else state.params
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(params):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    log_z = getattr(history.info, "log_z", np.zeros(0))
    return {
        "loss": [float(x) for x in history.info.loss],
        "log_z": [float(x) for x in log_z],
        "params": digest.hexdigest()[:16],
    }


@pytest.mark.long
@pytest.mark.parametrize("name", CASES)
def test_the_first_steps_are_as_they_were(name):
    recorded = json.loads(FILE.read_text())
    if jax.__version__ != recorded["jax"]:
        pytest.skip(f"recorded with jax {recorded['jax']}")
    expected = recorded["steps"][name]
    try:
        found = steps(name, NUM_STEPS if EXACT else NUM_COMPARED)
    except UsageError as error:
        pytest.skip(str(error))  # a data file that is not there
    if EXACT:
        assert found == expected
        return
    for field in ("loss", "log_z"):
        first = expected[field][:NUM_COMPARED]
        np.testing.assert_allclose(found[field], first, rtol=1e-3, atol=1e-4)


def record(names):
    known = json.loads(FILE.read_text())["steps"] if FILE.exists() else {}
    for name in CASES:
        if not names or name in names:
            known[name] = steps(name, NUM_STEPS)
            print(name, known[name]["loss"][-1], flush=True)
            jax.clear_caches()
    rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(known[name])}" for name in CASES)
    FILE.write_text(f'{{"jax": "{jax.__version__}", "steps": {{\n{rows}\n}}}}\n')


if __name__ == "__main__":
    record(sys.argv[2:])
