"""A sweep on disk: start it, stop it, resume it; one member's trouble is no other's."""

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from gfnjax.errors import ArgumentError
from gfnjax.run import directory
from gfnjax.run.build import describe, run_key
from gfnjax.run.config import UsageError
from gfnjax.run.display import Display, Silent, make_display
from gfnjax.run.evaluation import Evaluator, make_evaluator
from gfnjax.run.processes import (
    are_several,
    check_same,
    first,
    gather,
    is_first,
    shared_work,
    together,
)
from gfnjax.run.session import Clock, Ending, Interrupts, rehearse
from gfnjax.run.sweeps.config import SweepConfig, sweep_to_dict
from gfnjax.run.sweeps.directory import SweepDirectory
from gfnjax.run.sweeps.kept import restored, save
from gfnjax.run.sweeps.table import Table, write
from gfnjax.run.sweeps.visit import Visit, Watch
from gfnjax.sweeps.placement import Placement, make_layout
from gfnjax.sweeps.population import Member, Population
from gfnjax.sweeps.rounds import Round, make_rounds
from gfnjax.sweeps.stack import kind_of

# A file system that processes share may show what one has written to the others later.
SIGHT_SECONDS = 30.0


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
    output: str | Path | None = None,
    placement: Placement | None = None,
    display: Display | None = None,
    watch: Watch | None = None,
    notes: Mapping[str, Any] | None = None,
) -> SweepOutcome:
    """Train all members from the beginning, in a new directory.

    Where there are several processes, each calls this with the same arguments. The members are
    divided among the devices of all of them, and process 0 alone writes and shows the results.

    Args:
        config: what to train.
        output: a new or empty directory; `sweeps/<environment>-<number>` without.
        placement: devices and memory; all there are without.
        display: shows progress; a bar on a terminal and plain lines elsewhere without.
        watch: after each chunk, sees the records of those that were in it; prunes members.
        notes: plain values to be kept in sweep.json, beside the placement.

    Raises:
        UsageError: for a configuration, a placement or a directory that cannot work.
        ProcessError: if another process has failed.
    """
    placement = placement or Placement()
    members, evaluators = _prepare(config, placement)
    rounds = [each.members for each in together(lambda: _rounds(members, placement, config))]
    sweep = SweepDirectory(Path(first(lambda: _created(config, output))))
    with _locked(sweep), Interrupts() as interrupts:
        asked = dataclasses.asdict(placement) | dict(notes or {})
        first(lambda: sweep.write_sweep(config, rounds, asked))
        together(lambda: _check_sight(sweep))
        parts = sweep, config, members, evaluators, rounds, placement
        others = _display(display), interrupts, Clock(0.0), watch
        return _train(_Session(*parts, *others))


def resume(
    path: str | Path,
    placement: Placement | None = None,
    display: Display | None = None,
    watch: Watch | None = None,
) -> SweepOutcome:
    """Go on where each round's newest good checkpoint is; what is finished stays.

    Args:
        path: of a sweep.
        placement: as in `start`; other devices than before will do. Without, as it was asked for,
            on whatever devices there are.
        display: as in `start`.
        watch: as in `start`; what came after the checkpoint it sees again.

    Raises:
        UsageError: if `path` is no sweep, or in use.
        CheckpointError: if a round has checkpoints and none is good.
        ProcessError: if another process has failed.
    """
    sweep = SweepDirectory(Path(path))
    config, rounds = together(sweep.read_sweep)
    placement = placement_of(sweep.read_asked()) if placement is None else placement
    members, evaluators = _prepare(config, placement)
    with _locked(sweep), Interrupts() as interrupts:
        seconds = max((record["seconds"] for record in sweep.read_metrics()), default=0.0)
        parts = sweep, config, members, evaluators, rounds, placement
        others = _display(display), interrupts, Clock(seconds), watch
        return _train(_Session(*parts, *others))


def placement_of(asked: Mapping[str, Any]) -> Placement:
    """What `start` was told, but for the number of devices, which may be another one now."""
    names = ("num_batch_devices", "members_at_once", "memory")
    return Placement(**{name: asked[name] for name in names if asked.get(name) is not None})


def _created(config: SweepConfig, output: str | Path | None) -> str:
    path = directory.create(output, config.points[0].config.environment, SweepDirectory).path
    return str(path.absolute() if are_several() else path)


@contextmanager
def _locked(sweep: SweepDirectory) -> Iterator[None]:
    """Process 0 holds the lock for all."""
    with ExitStack() as stack:
        first(lambda: stack.enter_context(sweep.locked()))
        yield


def _check_sight(sweep: SweepDirectory) -> None:
    deadline = time.monotonic() + SIGHT_SECONDS
    while not sweep.config_file.exists():
        if time.monotonic() > deadline:
            raise UsageError(
                f"output must be on a file system that all processes share: {sweep.path} of "
                "process 0 is not there"
            )
        time.sleep(0.1)


def _display(display: Display | None) -> Display:
    return (display or make_display()) if is_first() else Silent()


def _prepare(config: SweepConfig, placement: Placement) -> tuple[list[Member], list[Evaluator]]:
    """What to train and to measure it with, the same in all processes."""
    description = together(lambda: sweep_to_dict(config))
    check_same(sweep=description, placement=repr(placement))
    return together(lambda: _described(config))


def members_of(config: SweepConfig) -> list[Member]:
    """Descriptions and keys of all members; raises as `describe`."""
    gfns = [describe(point.config) for point in config.points]
    return [Member(gfn, run_key(seed)) for gfn in gfns for seed in config.seeds]


def _described(config: SweepConfig) -> tuple[list[Member], list[Evaluator]]:
    """All members, and the evaluators of all points; what cannot work is refused."""
    members = members_of(config)
    gfns = [member.gfn for member in members[:: len(config.seeds)]]
    evaluators: list[Any] = [None] * len(gfns)
    # One environment after the other: the graphs of the last ones alone are kept.
    for i in sorted(range(len(gfns)), key=lambda i: repr(config.points[i].config.env)):
        evaluators[i] = make_evaluator(config.points[i].config, gfns[i])
    if config.plugins:
        rehearse(config.plugins, gfns[0])
    return members, evaluators


def _rounds(members: Sequence[Member], placement: Placement, config: SweepConfig) -> list[Round]:
    try:
        return make_rounds(members, placement, config.training.chunk_size)
    except (TypeError, ValueError) as error:
        raise UsageError.of(error) from error


def _train(session: _Session) -> SweepOutcome:
    ending: Ending = "nothing to do"
    signal = None
    try:
        for number in range(len(session.rounds)):
            if _train_round(session, number):
                ending = "finished"
            if (signal := _signal(session)) is not None:
                ending = "interrupted"
                break
    finally:
        session.display.close()
    table = session.sweep.table(session.config)
    first(lambda: write(table, session.sweep.table_file()))
    seconds = max((row["seconds"] for row in table.rows), default=0.0)
    ended = ending, signal, seconds, len(session.rounds)
    return SweepOutcome(session.sweep, session.config, table, *ended)


def _signal(session: _Session) -> int | None:
    """The signal that is to stop all processes, of whichever got one; the same in all."""
    found = gather(session.interrupts.signal)
    return next((number for number in found if number is not None), None)


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
    first(
        lambda: session.sweep.keep_records(
            lambda r: r["member"] not in numbers or r["step"] <= last
        )
    )
    count = len(session.rounds)
    visit.about = f"round {number + 1} of {count}, " if count > 1 else ""
    if step is None:
        step = 0
        session.display.update(visit.start(clock))
        save(checkpoints, population, step)
    while population.running and _signal(session) is None:
        with shared_work():
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
        # One program for all rounds of a kind, the smaller ones too.
        alike = kind_of(members[0].gfn)
        firsts = [(each, session.members[each[0]].gfn) for each in session.rounds]
        most = max(len(each) for each, gfn in firsts if kind_of(gfn) == alike)
        layout = make_layout(session.placement, state, most)
        return restored(session.sweep.round_checkpoints(number), members, layout)
    except ArgumentError as error:
        raise UsageError.of(error) from error
