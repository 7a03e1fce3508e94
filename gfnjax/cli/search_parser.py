"""`gfnjax search NAME`: the flags of a training, and `--vary` for the spaces of a search."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from gfnjax.cli.sweep_parser import (
    PARTS,
    Bases,
    find_varied,
    make_point,
    placement_of,
    take_vary,
    words_of,
)
from gfnjax.cli.wording import in_flags
from gfnjax.run import plugins
from gfnjax.run.config import Config, UsageError
from gfnjax.run.sweeps.search import Search
from gfnjax.run.sweeps.spelling import read_space
from gfnjax.run.sweeps.studies.directory import SearchDirectory
from gfnjax.run.sweeps.studies.sampling import PrunerName, SamplerName
from gfnjax.run.sweeps.studies.spaces import Space
from gfnjax.sweeps.placement import Placement


@dataclass(frozen=True)
class SearchFlags:
    """What a search has besides the flags of a training."""

    vary: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """NAME=SPACE, any flag, once or more: a list 1e-4,1e-3, start:stop:count, log:start:stop:count,
    uniform:low:high or log-uniform:low:high"""
    trials: int = 64
    """to be finished, in all processes that share the study"""
    population: int = 16
    """trials that are trained at once"""
    study: Path | None = None
    """SQLite file of Optuna, which others may share, each with an --output; study.db in the folder
    without"""
    seeds: int = 1
    """of each trial: --seed and those that follow"""
    sampler: SamplerName = "tpe"
    """says which values come next"""
    pruner: PrunerName = "median"
    """says which trials are given up"""
    metric: str | None = None
    """by which trials are judged"""
    devices: int | None = None
    """how many; all without, and on CPU one a core"""
    batch_devices: int = 1
    """devices that share the batch of one run"""
    members_at_once: int | None = None
    """runs that a device computes in one operation, at most; what suits it without"""
    memory: str | None = None
    """that a device may use, such as 16GB; what it reports without"""


@dataclass(frozen=True)
class Searched:
    """Search for good settings of an environment with Optuna, many at once."""

    search: Search
    study: Path
    output: Path
    placement: Placement
    words: tuple[str, ...]


def parse_search(
    name: str, arguments: Sequence[str], failures: Sequence[plugins.Failure]
) -> tuple[Searched | None, list[str]]:
    """The command, or None after a help text; and warnings.

    Raises:
        UsageError: for anything else, in one line.
    """
    words = name, *arguments
    asked, arguments = take_vary(arguments)
    bases = Bases(name, arguments, failures, "search", SearchFlags)
    kinds = {k: words_of(text) for k, text in asked.items() if k in PARTS}
    first = bases.at({kind: names[0] for kind, names in kinds.items()})
    if first is None:
        return None, []
    own: SearchFlags = first.parsed.search
    if not asked:
        raise UsageError(
            "--vary must say what is searched, such as learning_rate=log-uniform:1e-4:1e-1"
        )

    def make(values: dict[str, Any]) -> Config[Any]:
        try:
            return make_point(values, bases, kinds).config
        except (TypeError, ValueError, OverflowError) as error:
            raise UsageError(in_flags(error, first.parts)) from error

    for flag in ("trials", "population", "seeds"):
        if (number := getattr(own, flag)) < 1:
            raise UsageError(f"--{flag} must be at least 1, got {number}")
    seed = first.values["training"].get("seed", 0)
    seeds = tuple(range(seed, seed + own.seeds))
    given = own.trials, own.population, seeds, own.metric, own.sampler, own.pruner
    try:
        search = Search(make, _spaces(asked, bases, kinds), *given)
        placement = placement_of(own)
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(in_flags(error, first.parts)) from error
    places = _places(name, own.study, first.parsed.output)
    return Searched(search, *places, placement, words), list(map(str, failures))


def _spaces(asked: dict[str, str], bases: Bases, kinds: dict[str, list[str]]) -> dict[str, Space]:
    found: dict[str, Space] = {}
    for spelled, text in asked.items():
        if spelled in kinds:
            found[spelled] = list(kinds[spelled])
        else:
            flag = find_varied(spelled, bases, kinds)
            found[flag.column] = read_space(flag.option.field, flag.option.hint, text)
    return found


def _places(name: str, study: Path | None, output: Path | None) -> tuple[Path, Path]:
    """The study and the folder: each in or next to the other, so that the same words go on."""
    if output is None:
        named = f"{name}-search" if study is None else f"{study.stem}-search"
        output = (Path(SearchDirectory.home) if study is None else study.parent) / named
    return output / "study.db" if study is None else study, output
