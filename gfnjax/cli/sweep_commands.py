"""What the commands of sweeps do."""

import dataclasses
from pathlib import Path

from gfnjax.cli.parser import Report, Resume
from gfnjax.cli.sweep_parser import Sweep
from gfnjax.cli.sweep_report import report
from gfnjax.cli.wording import speaking_of
from gfnjax.run.config import UsageError
from gfnjax.run.display import duration
from gfnjax.run.processes import is_first
from gfnjax.run.sweeps import session
from gfnjax.run.sweeps.ahead import examine, text
from gfnjax.run.sweeps.directory import SweepDirectory
from gfnjax.run.sweeps.judging import check_metric
from gfnjax.run.sweeps.session import SweepOutcome, members_of
from gfnjax.run.sweeps.table import check_path, write
from gfnjax.sweeps.cores import use_cores


def is_sweep(path: Path) -> bool:
    """Whether a folder is that of a sweep."""
    return SweepDirectory(path).config_file.is_file()


def carry_out(command: Sweep) -> int:
    """`gfnjax sweep`: train, then report; the exit code."""
    if command.compile_for is not None:
        return _compile(command, command.compile_for)
    suffix = command.table
    check_path(SweepDirectory(Path()).table_file(suffix))
    use_cores(command.placement.num_devices)
    notes = {"table": command.table, "metric": command.metric}
    with speaking_of(lambda: command.config.points[0].config):
        outcome = session.start(command.config, command.output, command.placement, notes=notes)
    return _conclude(outcome, command.metric, suffix)


def _compile(command: Sweep, topology: str) -> int:
    with speaking_of(lambda: command.config.points[0].config):
        members = members_of(command.config)
        chunk_size = command.config.training.chunk_size
        print(text(examine(members, command.placement, chunk_size, topology)))
    return 0


def go_on(command: Resume) -> int:
    """`gfnjax resume` of a sweep; the exit code."""
    if command.steps is not None:
        raise UsageError("--steps extends a run, not a sweep: start one with more steps")
    use_cores(command.devices)
    sweep = SweepDirectory(command.run)
    config, _ = sweep.read_sweep()
    asked = sweep.read_asked()
    with speaking_of(lambda: config.points[0].config):
        given = {"num_devices": command.devices, "num_batch_devices": command.batch_devices}
        own = {name: value for name, value in given.items() if value is not None}
        placement = dataclasses.replace(session.placement_of(asked), **own)
        outcome = session.resume(command.run, placement)
    return _conclude(outcome, asked.get("metric"), asked.get("table", "csv"))


def tell(command: Report) -> int:
    """`gfnjax report`; the exit code."""
    check_path(Path(f"results.{command.table}"))
    check_metric(command.metric)
    sweep = SweepDirectory(command.sweep)
    config, _ = sweep.read_sweep()
    table = sweep.table(config)
    if not table.rows:
        raise UsageError(f"nothing to report yet: {sweep.metrics_file} is empty")
    write(table, sweep.table_file(command.table))
    print(report(table, command.metric, sweep.pictures))
    return 0


def _conclude(outcome: SweepOutcome, metric: str | None, suffix: str) -> int:
    path = outcome.sweep.path
    if not is_first():
        return 0 if outcome.signal is None else 128 + outcome.signal
    if suffix != "csv":
        write(outcome.table, outcome.sweep.table_file(suffix))
    if outcome.ending == "interrupted":
        print(f"stopped; go on with: gfnjax resume {path}", flush=True)
        return 128 + (outcome.signal or 0)
    if outcome.ending == "nothing to do":
        print(f"{path} is finished")
    rounds = outcome.num_rounds
    programs = f", in {rounds} rounds" if rounds > 1 else ""
    print(f"{outcome.config.num_members} runs in {duration(outcome.seconds)}{programs}: {path}\n")
    try:
        print(report(outcome.table, metric, outcome.sweep.pictures))
    except UsageError as error:  # of what could not be known before: the results are there
        print(f"{error}: gfnjax report {path} --metric NAME")
    return 0
