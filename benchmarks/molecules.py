"""Molecules at equal numbers of them: python -m benchmarks molecules [--methods ...] [--plot FILE]

The comparison of the first GFlowNet paper (Bengio et al., 2106.04399): the published vocabulary
and sEH proxy, each state of a molecule as likely as any other (symmetry "none", as there). A
molecule counts when its reward is computed: one a trajectory, or a proposal of a Markov chain;
what forward-looking objectives compute of unfinished molecules is counted apart. All is counted
from the first step, exploration included. The seeds of a method run together in one program. What
a run has visited is kept in --output/visits, what follows from it is a line of JSON in --output;
what is there already is not repeated, so that a comparison can be added to method by method, and
RDKit is needed only where the lines are written.
"""

import argparse
import json
import math
import sys
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.molecule_log import summary
from benchmarks.molecule_methods import METHODS, PUBLISHED_SETTINGS, Method
from benchmarks.molecule_report import TOPS, plot, table
from benchmarks.molecule_runs import Run, run

RECORDS = "molecules.jsonl"
COUNTED_ON = {
    "blocks", "condition", "local_search", "replay", "reward", "teacher_share", "window"
}  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    try:
        from gfnjax.rewards.seh import seh_proxy

        seh_proxy()
    except (FileNotFoundError, ModuleNotFoundError) as error:
        print(f"molecules are left out: {error}", file=sys.stderr)
        return 0
    if options.throughput:
        from benchmarks.molecule_throughput import measure

        return measure(options.throughput, options.output, _given(options))
    compare(options)
    return 0


def compare(options: argparse.Namespace) -> None:
    """Run what has not been run, then show all of it."""
    path = options.output / RECORDS
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    for name in options.methods:
        method = chosen(name, options)
        missing = [seed for seed in seeds if not _long_enough(method, seed, options)]
        if missing:
            _visit(method, missing, options)
        for seed in seeds:
            wanted = _identity(method, seed, options.molecules)
            if not options.visits_only and _find(path, wanted) is None:
                _record(wanted, _visits(method, seed, options.output), path)
    records = [record for record in read(path) if record["molecules"] == options.molecules]
    print(table(records), flush=True)
    if options.plot:
        plot(records, options.plot)


def _visits(method: Method, seed: int, output: Path) -> Path:
    """Where the visits of a run are kept; other settings have another place."""
    settings = zlib.crc32(json.dumps(method.settings, sort_keys=True).encode())
    return output / "visits" / f"{method.name}-{settings:08x}-{seed}.npz"


def _long_enough(method: Method, seed: int, options: argparse.Namespace) -> bool:
    path = _visits(method, seed, options.output)
    return path.exists() and len(Run.load(path).proxy) >= options.molecules


def _visit(method: Method, seeds: list[int], options: argparse.Namespace) -> None:
    runs = run(method, seeds, options.molecules, options.seconds)
    for seed, found in zip(seeds, runs, strict=True):
        path = _visits(method, seed, options.output)
        if not path.exists() or len(Run.load(path).proxy) < len(found.proxy):
            found.save(path)
    took = runs[0].facts["seconds"]["training"]
    number = len(runs[0].proxy)
    print(f"{method.name}: {len(seeds)} x {number:,} molecules in {took:.0f} s", flush=True)


def chosen(name: str, options: argparse.Namespace) -> Method:
    """A method with the settings that were given in place of its own."""
    method = METHODS[name]
    label = options.label or name
    return replace(method, name=label, settings=method.settings | _given(options))


def _given(options: argparse.Namespace) -> dict[str, Any]:
    given = dict(_setting(word) for word in options.set)
    if not options.throughput and (others := COUNTED_ON & given.keys()):
        # Molecules would be counted that are not new, not whole, or not of the proxy.
        raise SystemExit(f"--set: not possible with {', '.join(sorted(others))}")
    return given


def _setting(word: str) -> tuple[str, Any]:
    name, _, value = word.partition("=")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def _record(wanted: dict[str, Any], visits: Path, path: Path) -> None:
    """Append what follows from the visits of a run; nothing, if they are too few."""
    found, molecules = Run.load(visits), wanted["molecules"]
    if len(found.proxy) < molecules:
        print(f"{visits.name}: stopped after {len(found.proxy):,} molecules", flush=True)
        return
    ahead = found.facts["proxy_calls_ahead"] * molecules // len(found.proxy)
    facts = found.facts | {"proxy_calls_ahead": ahead, "visited": len(found.proxy)}
    record = wanted | facts | summary(found, molecules)
    with path.open("a") as file:
        file.write(json.dumps(record) + "\n")
    last = {name: curve[-1] for name, curve in record["curves"].items()}
    best = "/".join(f"{last[name]:.2f}" for name in TOPS)
    print(
        f"{wanted['method']}, seed {wanted['seed']}: top 10/100/1000 {best}, "
        f"mean {last['mean']:.2f}, {last['modes_above_7.5']} modes above 7.5, "
        f"{last['distinct']:,} distinct",
        flush=True,
    )


def _identity(method: Method, seed: int, molecules: int) -> dict[str, Any]:
    settings = json.loads(json.dumps(method.settings))
    return {"method": method.name, "seed": seed, "molecules": molecules, "settings": settings}


def _find(path: Path, wanted: dict[str, Any]) -> dict[str, Any] | None:
    return next((x for x in read(path) if all(x.get(k) == v for k, v in wanted.items())), None)


def read(path: Path) -> list[dict[str, Any]]:
    """The records of a file, none where there is none."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m benchmarks molecules", description=__doc__.splitlines()[0]
    )
    names = "; ".join(f"{name}: {method.summary}" for name, method in METHODS.items())
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=METHODS,
        default=[name for name in METHODS if name != PUBLISHED_SETTINGS],
        metavar="NAME",
        help=names,
    )
    parser.add_argument("--molecules", type=int, default=10_000, help="visited by each")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument(
        "--seconds", type=float, default=math.inf, help="after which a method stops anyway"
    )
    parser.add_argument("--output", type=Path, default=Path("results"), help="folder of records")
    parser.add_argument(
        "--visits-only", action="store_true", help="run, and leave the records to another time"
    )
    parser.add_argument("--plot", type=Path, help="draw all metrics against molecules visited")
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="settings of `gfnjax train molecules` in place of those of all methods",
    )
    parser.add_argument("--label", help="another name for the methods, with --set")
    parser.add_argument(
        "--throughput",
        nargs="*",
        type=int,
        metavar="BATCH",
        help="molecules a second and the parts of a step instead, at batch 4, 64 and 256",
    )
    options = parser.parse_args(arguments)
    if options.throughput == []:
        options.throughput = [4, 64, 256]
    return options
