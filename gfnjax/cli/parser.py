"""From arguments to a command."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from gfnjax import registry
from gfnjax.cli.form import with_tyro
from gfnjax.cli.reading import read_training, take
from gfnjax.cli.search_parser import Searched, parse_search
from gfnjax.cli.sweep_parser import Sweep, parse_sweep
from gfnjax.cli.wording import in_flags
from gfnjax.options import one_of
from gfnjax.run import plugins
from gfnjax.run.choices import assemble
from gfnjax.run.config import Config, UsageError

DESCRIPTION = (
    "Train, evaluate and draw GFlowNets: networks that sample objects x with p(x) ~ R(x). "
    "--import MODULE, anywhere, adds what a module of your own registers."
)
HELP = ("-h", "--help")


@dataclass(frozen=True)
class Train:
    """Train on an environment; without flags, on its default size."""

    config: Config
    output: Path | None


@dataclass(frozen=True)
class Resume:
    """Go on with a run, a sweep or a search that was interrupted, as if it had not been."""

    run: tyro.conf.Positional[Path]
    """folder of the run"""
    steps: int | None = None
    """new total number of steps, to extend the run; its --stop-at-tv no longer applies"""
    devices: int | None = None
    """of a sweep: how many; all without, and on CPU one a core"""
    batch_devices: int | None = None
    """of a sweep: devices that share the batch of one run; as many as before without"""
    coordinator: str | None = None
    """of a sweep of several processes: host:port of the first of them"""
    num_processes: int | None = None
    """how many processes there are"""
    process_id: int | None = None
    """of this process, from 0 on"""
    distributed: bool = False
    """ask SLURM, Open MPI, a TPU pod or Kubernetes for the last three"""


@dataclass(frozen=True)
class Plot:
    """Draw the pictures of a run or a sweep, from its metrics and newest checkpoint."""

    run: tyro.conf.Positional[Path]
    """folder of the run"""


@dataclass(frozen=True)
class Report:
    """Say what a sweep has found, draw it, and write its table again."""

    sweep: tyro.conf.Positional[Path]
    """folder of the sweep"""
    metric: str | None = None
    """by which settings are judged"""
    table: Literal["csv", "parquet"] = "csv"
    """form of the results"""


@dataclass(frozen=True)
class Sample:
    """Write texts with the policy of a run of texts, one a line, after any prompt."""

    run: tyro.conf.Positional[Path]
    """folder of the run"""
    prompt: str | None = None
    """what the texts follow; without, the run's own prompts, which are then shown where several"""
    num: int = 10
    """how many texts"""
    seed: int = 0
    """of the sampling"""
    temperature: float = 1.0
    """of the policy: below 1 it keeps to what is likely"""
    log_probs: bool = False
    """put the log-probability of each text in front, in nats at temperature 1, and a tab"""
    member: int | None = None
    """of a sweep, as results.csv counts them"""


@dataclass(frozen=True)
class Reproduce:
    """Repeat a table of the literature; without a name, list what there is."""

    name: tyro.conf.Positional[str | None] = None
    """which table"""
    output: Path | None = None
    """folder of its runs, to go on with or new; runs/reproduce-NAME without"""
    rows: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """a row alone, or all that fit a pattern such as 'medium-*'; may be given more than once"""
    seeds: int | None = None
    """of each row, instead of its own number"""
    steps: int | None = None
    """of each run, for a small budget: what comes out is then not judged"""
    report: bool = False
    """train nothing: print the table of the runs that are there"""
    list: bool = False
    """list the rows, and what trains each"""


@dataclass(frozen=True)
class List:
    """List environments, objectives, networks and all else that has a name, with their flags."""


Command = Train | Sweep | Searched | Resume | Plot | Report | Sample | Reproduce | List


def _commands() -> Any:
    """All commands, for their help; trainings and sweeps have parsers of their own."""
    names = Annotated[
        one_of(registry.names("environment")),  # type: ignore
        tyro.conf.arg(help="the environment, see gfnjax list"),
    ]
    train = make_dataclass("TrainName", [("name", tyro.conf.Positional[names])])  # type: ignore
    train.__doc__ = "Train on an environment; gfnjax train NAME --help has all flags."
    sweep = make_dataclass("SweepName", [("name", tyro.conf.Positional[names])])  # type: ignore
    sweep.__doc__ = f"{Sweep.__doc__} gfnjax sweep NAME --help has all flags."
    search = make_dataclass("SearchName", [("name", tyro.conf.Positional[names])])  # type: ignore
    search.__doc__ = f"{Searched.__doc__} gfnjax search NAME --help has all flags."
    return (
        Annotated[train, tyro.conf.subcommand("train")]
        | Annotated[sweep, tyro.conf.subcommand("sweep")]
        | Annotated[search, tyro.conf.subcommand("search")]
        | Annotated[Resume, tyro.conf.subcommand("resume")]
        | Annotated[Plot, tyro.conf.subcommand("plot")]
        | Annotated[Report, tyro.conf.subcommand("report")]
        | Annotated[Sample, tyro.conf.subcommand("sample")]
        | Annotated[Reproduce, tyro.conf.subcommand("reproduce")]
        | Annotated[List, tyro.conf.subcommand("list")]
    )


def parse(arguments: Sequence[str]) -> tuple[Command | None, list[str]]:
    """The command, or None after a help text; and warnings of plug-ins that nothing is used of.

    Raises:
        UsageError: for anything else, in one line.
    """
    modules, arguments = take(arguments, "import")
    if modules or arguments[:1] in (["resume"], ["plot"], ["report"], ["sample"]):
        plugins.look_here()
    for module in modules:
        plugins.import_module(module)
    command, name = "".join(arguments[:1]), "".join(arguments[1:2])
    if command not in (*PARSERS, "list"):
        return with_tyro(_commands(), arguments or ["--help"], "gfnjax", DESCRIPTION), []
    failures = plugins.import_entry_points()
    if command == "list" or name in HELP:
        return with_tyro(_commands(), arguments, "gfnjax", DESCRIPTION), list(map(str, failures))
    if not name or name.startswith("-"):
        names = ", ".join(registry.names("environment"))
        raise UsageError(f"{command} needs the name of an environment first, one of {names}")
    return PARSERS[command](name, arguments[2:], failures)


def _parse_train(
    name: str, arguments: Sequence[str], failures: Sequence[plugins.Failure]
) -> tuple[Train | None, list[str]]:
    read = read_training(name, arguments, failures, "train")
    if read is None:
        return None, []
    try:
        config = assemble(read.parts, read.values)
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(in_flags(error, read.parts)) from error
    return Train(config, read.parsed.output), list(map(str, failures))


PARSERS: dict[str, Callable[..., tuple[Any, list[str]]]] = {
    "train": _parse_train,
    "sweep": parse_sweep,
    "search": parse_search,
}
