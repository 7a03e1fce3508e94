"""Molecules at equal numbers of them: python -m benchmarks molecules [--methods ...] [--plot FILE]

The comparison of the first GFlowNet paper (Bengio et al., 2106.04399): the published vocabulary
and sEH proxy, each state of a molecule as likely as any other (symmetry "none", as there). A
molecule counts when its reward is computed: one a trajectory, or a proposal of a Markov chain;
what forward-looking objectives compute of unfinished molecules is counted apart. All is counted
from the first step, exploration included. A run is a line of JSON in --output; those that are
there already are not repeated, so that a comparison can be added to method by method.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.molecule_methods import METHODS, Method
from benchmarks.molecule_report import TOPS, plot, table

RECORDS = "molecules.jsonl"


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

        return measure(options.throughput, options.output)
    compare(options)
    return 0


def compare(options: argparse.Namespace) -> None:
    """Run what has not been run, then show all of it."""
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / RECORDS
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for name in options.methods:
            method = chosen(name, options)
            if _find(path, wanted := _identity(method, seed, options.molecules)) is None:
                _run(method, seed, options.molecules, path, wanted)
    records = [record for record in read(path) if record["molecules"] == options.molecules]
    print(table(records), flush=True)
    if options.plot:
        plot(records, options.plot)


def chosen(name: str, options: argparse.Namespace) -> Method:
    """A method with the settings that were given in place of its own."""
    given = dict(_setting(word) for word in options.set)
    method = METHODS[name]
    label = options.label or name
    return replace(method, name=label, settings=method.settings | given)


def _setting(word: str) -> tuple[str, Any]:
    name, _, value = word.partition("=")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def _run(method: Method, seed: int, molecules: int, path: Path, wanted: dict[str, Any]) -> None:
    from benchmarks.molecule_runs import run

    record = run(method, seed, molecules)
    with path.open("a") as file:
        file.write(json.dumps(wanted | record) + "\n")
    found = {name: curve[-1] for name, curve in record["curves"].items()}
    best = "/".join(f"{found[name]:.2f}" for name in TOPS)
    print(
        f"{method.name}, seed {seed}: top 10/100/1000 {best}, mean {found['mean']:.2f}, "
        f"{found['modes_above_7.5']} modes above 7.5, {found['distinct']:,} distinct, "
        f"{molecules / record['seconds']['training']:.0f} molecules/s",
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
        "--methods", nargs="+", choices=METHODS, default=list(METHODS), metavar="NAME", help=names
    )
    parser.add_argument("--molecules", type=int, default=10_000, help="visited by each")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("results"), help="folder of records")
    parser.add_argument("--plot", type=Path, help="draw all metrics against molecules visited")
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="settings of `gfnjax train molecules` in place of a method's own",
    )
    parser.add_argument("--label", help="another name for the method, with --set")
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
