"""Where a step on molecules spends its time, by the number of molecules in it.

With the symmetry correction and a constant reward exponent, the network of `gfnjax train`. Each
part is compiled alone, see `benchmarks.parts`; the rollout is what drawing a batch needs beside
the proxy and the correction, scoring and gradient what is left of a step.
"""

import json
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from benchmarks import parts
from benchmarks.parts import Given, Part
from gfnjax.rollout import terminal_states
from gfnjax.run.build import describe
from gfnjax.run.choices import configure
from gfnjax.training import init
from gfnjax.types import Array, PyTree

SECONDS = 0.5
REPEATS = 3
SETTINGS: dict[str, Any] = {"objective": "tb", "condition": "none", "symmetry": "reward"}
SHARES = "rollout", "proxy", "symmetry", "scoring and gradient"


def proxy(i: Array, given: Given, last: Any) -> PyTree:
    """log R of the terminal states as they are."""
    env: Any = given.gfn.at(given.state).env
    reward = env.reward.replace(proxy=env.reward.proxy.replace(canonical=False))
    return jax.vmap(reward)(terminal_states(given.at(i)[1].trajectories))


def symmetry(i: Array, given: Given, last: Any) -> PyTree:
    """What the correction needs of the terminal states, and the states that are scored."""
    env: Any = given.gfn.env
    states = terminal_states(given.at(i)[1].trajectories)
    return jax.vmap(env.log_multiplicity)(states), jax.vmap(env.canonical)(states)


PARTS = (
    Part("draw", parts.draw),
    Part("proxy", proxy),
    Part("symmetry", symmetry),
    Part("step", parts.step, parts.state_and_info),
)


def seconds_of_parts(batch: int, settings: Mapping[str, Any]) -> dict[str, float]:
    """Medians over repetitions in turn; and what follows from them."""
    gfn: Any = describe(configure("molecules", **{**SETTINGS, **settings}, batch_size=batch))
    given = parts.drawn(gfn, init(gfn, jax.random.key(0)))
    calls = {part.name: parts.repeated(part, given) for part in PARTS}
    counts = {name: parts.enough(call, SECONDS) for name, call in calls.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(REPEATS):
        for name, call in calls.items():
            n = counts[name]
            times[name].append(parts.seconds_of(lambda call=call, n=n: call(n)) / n)
    found = {name: statistics.median(seconds) for name, seconds in times.items()}
    begin = time.process_time()
    jax.block_until_ready(calls["step"](counts["step"]))
    found["step, CPU"] = (time.process_time() - begin) / counts["step"]
    found["rollout"] = found["draw"] - found["proxy"] - found["symmetry"]
    found["scoring and gradient"] = found["step"] - found["draw"]
    return found


def measure(batches: Sequence[int], output: Path | None, settings: Mapping[str, Any]) -> int:
    """Print a row for each size of the batch, and append it to a file of the output's folder.

    Settings of `gfnjax train molecules` may take the place of the usual ones.
    """
    _print_row("batch", "molecules/s", "ms a step", "of CPU", *SHARES)
    _print_row(*["---"] * (4 + len(SHARES)))
    for batch in batches:
        found = seconds_of_parts(batch, settings)
        whole, busy = found["step"], found["step, CPU"]
        shares = [f"{found[name] / whole:.0%}" for name in SHARES]
        times = [f"{1e3 * x:.1f}" for x in (whole, busy)]
        _print_row(batch, f"{batch / whole:.1f}", *times, *shares)
        if output is not None:
            record = {"batch": batch, "settings": dict(settings), "seconds": found}
            record["device"] = jax.devices()[0].device_kind
            output.mkdir(parents=True, exist_ok=True)
            with (output / "throughput.jsonl").open("a") as file:
                file.write(json.dumps(record) + "\n")
    return 0


def _print_row(*cells: Any) -> None:
    print(f"| {' | '.join(map(str, cells))} |", flush=True)
