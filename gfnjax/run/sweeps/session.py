"""A sweep on disk: start it, stop it, resume it; one member's trouble is no other's."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from gfnjax.run import directory
from gfnjax.run.build import describe, run_key
from gfnjax.run.config import UsageError
from gfnjax.run.display import Display, make_display
from gfnjax.run.evaluation import Evaluator, make_evaluator
from gfnjax.run.session import Clock, Ending, Interrupts, rehearse
from gfnjax.run.sweeps.config import SweepConfig, sweep_to_dict
from gfnjax.run.sweeps.directory import SweepDirectory
from gfnjax.run.sweeps.kept import restored, save
from gfnjax.run.sweeps.table import Table, write
from gfnjax.run.sweeps.visit import Visit, Watch
from gfnjax.sweeps.placement import Placement, make_layout
from gfnjax.sweeps.population import Member, Population
from gfnjax.sweeps.rounds import Round, make_rounds


@dataclass(frozen=True)
class SweepOutcome:
    """How a sweep ended.

    Attributes:
        sweep: its directory.
        config: what was trained.
        table: all results.
        ending: as of `gfnjax.run.Outcome`.
        signal: the number of the signal, if one stopped it.
        seconds: wall-clock time, earlier sessions included.
        num_rounds: programs, one after another.
    """

    sweep: SweepDirectory
    config: SweepConfig
    table: Table
    ending: Ending
    signal: int | None
    seconds: float
    num_rounds: int


@dataclass(frozen=True)
class _Session:
    sweep: SweepDirectory
    config: SweepConfig
    members: list[Member]
    evaluators: list[Evaluator]
    rounds: list[list[int]]
    placement: Placement
    display: Display
    interrupts: Interrupts
    clock: Clock
    watch: Watch | None = None


def start(
    config: SweepConfig,
    output: Path | None = None,
    placement: Placement | None = None,
    display: Display | None = None,
    watch: Watch | None = None,
) -> SweepOutcome:
    """Train all members from the beginning, in a new directory.

    Args:
        config: what to train.
        output: a new or empty directory; `sweeps/<environment>-<number>` without.
        placement: devices and memory; all there are without.
        display: shows progress; a bar on a terminal and plain lines elsewhere without.
        watch: after each chunk, sees the records of those that were in it; prunes members.

    Raises:
        UsageError: for a configuration, a placement or a directory that cannot work.
    """
    placement = placement or Placement()
    members, evaluators = _prepare(config)
    rounds = [each.members for each in _rounds(members, placement, config)]
    name = config.points[0].config.environment
    sweep = directory.create(output, name, SweepDirectory)
    with sweep.locked(), Interrupts() as interrupts:
        sweep.write_sweep(config, rounds)
        parts = sweep, config, members, evaluators, rounds, placement
        others = display or make_display(), interrupts, Clock(0.0), watch
        return _train(_Session(*parts, *others))


def resume(
    path: Path,
    placement: Placement | None = None,
    display: Display | None = None,
    watch: Watch | None = None,
) -> SweepOutcome:
    """Go on where each round's newest good checkpoint is; what is finished stays.

    Args:
        path: of a sweep.
        placement: as in `start`; other devices than before will do.
        display: as in `start`.
        watch: as in `start`; what came after the checkpoint it sees again.

    Raises:
        UsageError: if `path` is no sweep, or in use.
        CheckpointError: if a round has checkpoints and none is good.
    """
    sweep = SweepDirectory(path)
    config, rounds = sweep.read_sweep()
    members, evaluators = _prepare(config)
    with sweep.locked(), Interrupts() as interrupts:
        seconds = max((record["seconds"] for record in sweep.read_metrics()), default=0.0)
        parts = sweep, config, members, evaluators, rounds, placement or Placement()
        others = display or make_display(), interrupts, Clock(seconds), watch
        return _train(_Session(*parts, *others))


def _prepare(config: SweepConfig) -> tuple[list[Member], list[Evaluator]]:
    """Descriptions of all members and evaluators of all points; what cannot work is refused."""
    sweep_to_dict(config)
    gfns = [describe(point.config) for point in config.points]
    evaluators: list[Any] = [None] * len(gfns)
    # One environment after the other: the graphs of the last ones alone are kept.
    for i in sorted(range(len(gfns)), key=lambda i: repr(config.points[i].config.env)):
        evaluators[i] = make_evaluator(config.points[i].config, gfns[i])
    if config.plugins:
        rehearse(config.plugins, gfns[0])
    return [Member(gfn, run_key(seed)) for gfn in gfns for seed in config.seeds], evaluators


def _rounds(members: Sequence[Member], placement: Placement, config: SweepConfig) -> list[Round]:
    try:
        return make_rounds(members, placement, config.training.chunk_size)
    except (TypeError, ValueError) as error:
        raise UsageError.of(error) from error


def _train(session: _Session) -> SweepOutcome:
    ending: Ending = "nothing to do"
    try:
        for number in range(len(session.rounds)):
            if _train_round(session, number):
                ending = "finished"
            if session.interrupts.signal is not None:
                ending = "interrupted"
                break
    finally:
        session.display.close()
    table = session.sweep.table(session.config)
    write(table, session.sweep.table_file())
    seconds = max((row["seconds"] for row in table.rows), default=0.0)
    ended = ending, session.interrupts.signal, seconds, len(session.rounds)
    return SweepOutcome(session.sweep, session.config, table, *ended)


def _train_round(session: _Session, number: int) -> bool:
    """Train the members of a round to their ends; whether there was anything left to do."""
    settings, numbers = session.config.training, session.rounds[number]
    checkpoints = session.sweep.round_checkpoints(number)
    population, step = _population(session, number)
    if step is not None and not population.running:
        return False
    parts = session.sweep, session.config, session.evaluators, numbers, population
    visit = Visit(*parts, watch=session.watch)
    clock = Clock(session.clock.tick(0))  # whose rate is that of this round
    last = -1 if step is None else step
    session.sweep.keep_records(lambda r: r["member"] not in numbers or r["step"] <= last)
    visit.about = f"round {number + 1} of {len(session.rounds)}, " if number else ""
    if step is None:
        step = 0
        session.display.update(visit.start(clock))
        save(checkpoints, population, step)
    while population.running and session.interrupts.signal is None:
        infos = population.advance(settings.steps, settings.chunk_size)
        step = min(step - step % settings.chunk_size + settings.chunk_size, settings.steps)
        session.display.update(visit.after(infos, step, clock))
        save(checkpoints, population, step)
    return True


def _population(session: _Session, number: int) -> tuple[Population, int | None]:
    """The members of a round as its newest checkpoint has them, and its step; None without one."""
    members = [session.members[i] for i in session.rounds[number]]
    state = jax.eval_shape(members[0].gfn.init, members[0].key)
    try:
        layout = make_layout(session.placement, state, len(members))
    except ValueError as error:
        raise UsageError.of(error) from error
    return restored(session.sweep.round_checkpoints(number), members, layout)
