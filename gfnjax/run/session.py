"""A run on disk: start it, stop it, resume it bit for bit."""

import dataclasses
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal, Self

import jax

from gfnjax import training
from gfnjax.errors import ArgumentError, Words
from gfnjax.run import checkpoint, directory
from gfnjax.run.build import Described, describe, initial_state
from gfnjax.run.config import Config, UsageError, to_dict
from gfnjax.run.directory import Record, RunDirectory
from gfnjax.run.display import Display, Status, make_display
from gfnjax.run.evaluation import Evaluator, make_evaluator
from gfnjax.run.loggers import Logger, check_loggers, make_loggers
from gfnjax.run.plugins import one_line
from gfnjax.training import RunInfo, RunState

Ending = Literal["finished", "reached", "interrupted", "nothing to do"]


REPEAT_SECONDS = 1.0


class RunFailedError(RuntimeError):
    """Training could not go on; the message says at which step and where the state is."""

    def __init__(self, reason: str, where: str):
        super().__init__(reason, where)
        self.reason, self.where = Words(reason), where

    def __str__(self) -> str:
        return self.said(str)

    def said(self, say: Callable[[Words], str]) -> str:
        """As `gfnjax.errors.ArgumentError.said`."""
        return f"{say(self.reason)}; {self.where}"


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        run: its directory.
        config: what was asked for.
        state: the last training state, as in the last checkpoint.
        evaluation: the last evaluation.
        gfn: what was trained.
        evaluator: what has measured it.
        ending: all steps taken, the wanted total variation reached, stopped by a signal, or
            nothing left to do.
        signal: the number of the signal, if one stopped the run.
        seconds: wall-clock time, earlier sessions included.
        rate: steps a second after compilation, None for a single chunk.
    """

    run: RunDirectory
    config: Config
    state: RunState
    evaluation: Record
    gfn: Described
    evaluator: Evaluator
    ending: Ending
    signal: int | None = None
    seconds: float = 0.0
    rate: float | None = None


@dataclass(frozen=True)
class _Session:
    run: RunDirectory
    config: Config
    gfn: Described
    evaluator: Evaluator
    display: Display | None
    interrupts: "Interrupts"


def start(
    config: Config, output: str | Path | None = None, display: Display | None = None
) -> Outcome:
    """Train from the beginning, in a new directory.

    Args:
        config: what to train.
        output: a new or empty directory; `runs/<environment>-<number>` without.
        display: shows progress; a bar on a terminal and plain lines elsewhere without.

    Raises:
        UsageError: for a configuration or a directory that cannot work.
        RunFailedError: at the first reward, loss or gradient that is not finite.
    """
    gfn, evaluator = _prepare(config)
    run = directory.create(output, config.environment)
    session = _Session(run, config, gfn, evaluator, display, Interrupts())
    with run.locked(), session.interrupts:
        run.write_config(config)
        return _begin(session)


def resume(
    directory: str | Path, steps: int | None = None, display: Display | None = None
) -> Outcome:
    """Go on from the newest good checkpoint, as if the run had never been interrupted.

    Args:
        directory: of a run.
        steps: a new total number of steps; the run's `stop_at_tv` then no longer applies.
        display: as in `start`.

    Raises:
        UsageError: if `directory` is not a run, or in use.
        CheckpointError: if it has checkpoints and none is good.
        RunFailedError: as in `start`.
    """
    run = RunDirectory(Path(directory))
    config = run.read_config()
    if steps is not None:
        config = _extended(config, steps)
    gfn, evaluator = _prepare(config)
    session = _Session(run, config, gfn, evaluator, display, Interrupts())
    with run.locked(), session.interrupts:
        if not run.read_metrics() and not any(run.checkpoints.glob("*.ckpt")):
            return _begin(session)
        state, _ = checkpoint.load_latest(run.checkpoints, initial_state(config, gfn))
        step = int(state.step)
        if steps is not None and steps < step:
            problem = f"must be at least {step:,}, which the run has taken, got {steps}"
            raise UsageError.of(ArgumentError("steps", problem))
        records = run.read_metrics(last_step=step)
        known = [r for r in records if r["kind"] == "evaluation" and r["step"] == step]
        evaluation = known[-1] if known else _evaluate(session, state)
        if _ending(session, evaluation) in ("finished", "reached"):
            if not known:  # a line that was lost
                evaluation["seconds"] = records[-1]["seconds"] if records else 0.0
                run.append_metrics([evaluation])
            return _outcome(session, state, evaluation, "nothing to do")
        run.write_config(config)
        run.write_metrics(records)
        return _train(session, state, evaluation)


def _prepare(config: Config) -> tuple[Described, Evaluator]:
    """What to train and to measure it with; all that cannot work is refused here."""
    to_dict(config)
    check_loggers(config)
    gfn = describe(config)
    evaluator = make_evaluator(config, gfn)
    if config.plugins:
        rehearse(config.plugins, gfn)
    return gfn, evaluator


def rehearse(plugins: Sequence[str], gfn: Described) -> None:
    """Trace a step, before anything is written: mistakes in what users register show there.

    Raises:
        UsageError: for any of them.
    """
    try:
        jax.eval_shape(gfn.step, jax.eval_shape(gfn.init, jax.random.key(0)))
    except Exception as error:
        where = ", ".join(plugins)
        raise UsageError(f"what {where} registers fails: {one_line(error)}") from error


def _extended(config: Config, steps: int) -> Config:
    try:
        training = dataclasses.replace(config.training, steps=steps, stop_at_tv=None)
        if training.has_schedule:
            # Schedules go on from where they are; laid out anew they would jump.
            planned = config.training.planned_steps
            training = dataclasses.replace(training, schedule_steps=planned)
    except ValueError as error:
        raise UsageError.of(error) from error
    return dataclasses.replace(config, training=training)


def _evaluate(session: _Session, state: RunState, info: RunInfo | None = None) -> Record:
    values = session.evaluator.evaluate(state, info)
    return {"kind": "evaluation", "step": int(state.step), "seconds": 0.0, **values}


def _begin(session: _Session) -> Outcome:
    # A copy, for its memory is given up: a start may share some with what is trained.
    state = training.copy(initial_state(session.config, session.gfn))
    evaluation = _evaluate(session, state)
    session.run.write_metrics([evaluation])
    checkpoint.save(session.run.checkpoints, state)
    return _train(session, state, evaluation)


def _train(session: _Session, state: RunState, evaluation: Record) -> Outcome:
    """The one loop that every run goes through, from whatever state it is in."""
    loggers = make_loggers(session.config, session.run, int(state.step))
    display = session.display or make_display()
    try:
        return _visit_chunks(session, state, evaluation, display, loggers)
    except training.NonFiniteError as error:
        path = session.run.checkpoints / f"nan-before-step-{error.step}.ckpt"
        checkpoint.write(path, error.state)
        where = f"the state right before step {error.step} is in {path}"
        raise RunFailedError(error.reason, where) from error
    finally:
        display.close()
        for logger in loggers:
            logger.close()


def _visit_chunks(
    session: _Session,
    state: RunState,
    evaluation: Record,
    display: Display,
    loggers: list[Logger],
) -> Outcome:
    run, settings = session.run, session.config.training
    clock = Clock(evaluation["seconds"])
    plan = settings.steps, settings.chunk_size
    # Apart from the description's arrays, with which a reward that is learned starts.
    visits = training.chunks(session.gfn, training.copy(state), *plan, donate=True)
    display.update(Status(int(state.step), settings.steps, None, evaluation, None))
    while (ending := _ending(session, evaluation)) is None:
        state, info = next(visits)
        evaluation = _evaluate(session, state, info)
        step = evaluation["step"]
        evaluation["seconds"] = clock.tick(step)
        records = [*_step_records(info, evaluation, settings.log_every), evaluation]
        for logger in loggers:
            for record in records:
                logger.write(record)
        # The order matters: a checkpoint vouches for all metrics up to its step.
        run.append_metrics(records)
        checkpoint.save(run.checkpoints, state)
        loss = float(info.loss.mean())
        display.update(Status(step, settings.steps, loss, evaluation, clock.rate))
    return _outcome(session, state, evaluation, ending, clock.rate)


def _outcome(
    session: _Session,
    state: RunState,
    evaluation: Record,
    ending: Ending,
    rate: float | None = None,
) -> Outcome:
    return Outcome(
        run=session.run,
        config=session.config,
        state=state,
        evaluation=evaluation,
        gfn=session.gfn,
        evaluator=session.evaluator,
        ending=ending,
        signal=session.interrupts.signal,
        seconds=evaluation["seconds"],
        rate=rate,
    )


def _ending(session: _Session, evaluation: Record) -> Ending | None:
    """Why to stop after an evaluation; None to go on."""
    settings = session.config.training
    goal = settings.stop_at_tv
    if goal is not None and evaluation["total_variation"] <= goal:
        return "reached"
    if evaluation["step"] >= settings.steps:
        return "finished"
    return None if session.interrupts.signal is None else "interrupted"


def _step_records(info: RunInfo, evaluation: Record, log_every: int) -> list[Record]:
    """Means over `log_every` steps of the chunk that ended where `evaluation` was made."""
    num_steps = info.loss.shape[0]
    first = evaluation["step"] - num_steps
    records = []
    for begin in range(0, num_steps, log_every):
        end = min(begin + log_every, num_steps)
        known = {name: x for name, x in info._asdict().items() if x is not None}
        means = {name: float(x[begin:end].mean()) for name, x in known.items()}
        about = {"kind": "train", "step": first + end, "seconds": evaluation["seconds"]}
        records.append({**about, **means})
    return records


class Clock:
    """Wall-clock time of a run, over all its sessions, and its speed after compilation."""

    def __init__(self, seconds: float):
        self._origin = time.perf_counter() - seconds
        self._first: tuple[int, float] | None = None
        self._last = 0, seconds

    def tick(self, step: int) -> float:
        """Note that `step` is done; the seconds so far."""
        self._last = step, round(time.perf_counter() - self._origin, 3)
        self._first = self._first or self._last
        return self._last[1]

    @property
    def rate(self) -> float | None:
        """Steps a second since the first tick, which had to wait for the compiler."""
        if self._first is None or self._first == self._last:
            return None
        steps, seconds = (b - a for a, b in zip(self._first, self._last, strict=True))
        return steps / max(seconds, 1e-3)


class Interrupts:
    """Ctrl-C and SIGTERM stop the run after its current chunk; a second one, at once.

    Off the main thread, where Python allows no signal handlers, nothing changes.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._since = 0.0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            # Wrappers such as `timeout` deliver one request twice, to the process and its group.
            if time.monotonic() - self._since > REPEAT_SECONDS:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            return
        self.signal, self._since = number, time.monotonic()
        # Not print: the signal may have come in the middle of one.
        os.write(2, b"\nstopping after this chunk; once more to stop at once\n")
