"""What a run shows of itself: a progress bar, or plain lines."""

import math
import sys
import time
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from gfnjax.run.directory import Record


@dataclass(frozen=True)
class Status:
    """One visit to the host: where the run is, the chunk's mean loss, the last evaluation.

    `rate` is in steps per second, None before it is known; `note` comes first.
    """

    step: int
    num_steps: int
    loss: float | None
    evaluation: Record
    rate: float | None
    note: str = ""

    def __str__(self) -> str:
        return "  ".join(filter(None, (self.note, *self.numbers(), *self.speed())))

    def numbers(self) -> tuple[str, str, str]:
        """Loss, log Z and the quality of the policy; empty where unknown."""
        loss = "" if self.loss is None else f"loss {self.loss:.2e}"
        log_z = self.evaluation.get("log_z", math.nan)
        found = (name for name in QUALITY if name in self.evaluation)
        name = next(found, None)
        quality = "" if name is None else f"{QUALITY[name]} {self.evaluation[name]:.4f}"
        cut = self.evaluation.get("cut", 0.0)
        quality += f"  cut {cut:.1%}" if cut > 0 else ""
        return loss, f"log Z {log_z:.3f}" if math.isfinite(log_z) else "", quality

    def speed(self) -> tuple[str, str]:
        """Steps a second and the time left; empty where unknown."""
        if self.rate is None:
            return "", ""
        left = (self.num_steps - self.step) / self.rate
        rate = f"{self.rate:,.0f}" if self.rate >= 10 else f"{self.rate:.2g}"
        return f"{rate} steps/s", f"ETA {duration(left)}"


QUALITY = {
    "total_variation": "TV",
    "elbo": "ELBO",
    "sampled_tv": "sampled TV",
    "log_reward": "log R",
}


def duration(seconds: float) -> str:
    """`m:ss` or `h:mm:ss`."""
    minutes, seconds = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


class Display(Protocol):
    """Shows where a run is."""

    def update(self, status: Status) -> None: ...
    def close(self) -> None: ...


def make_display(console: Console | None = None) -> Display:
    """A progress bar on a terminal, plain lines anywhere else."""
    console = console or Console(file=sys.stdout)
    if console.is_terminal and not console.is_dumb_terminal:
        return ProgressBar(console)
    return PlainLines()


class Silent:
    """Shows nothing: another process does."""

    def update(self, status: Status) -> None:
        pass

    def close(self) -> None:
        pass


class ProgressBar:
    """A live line at the bottom of a terminal."""

    def __init__(self, console: Console):
        bar = BarColumn(None, complete_style="cyan", finished_style="cyan", pulse_style="cyan")
        steps = TextColumn("{task.description}", table_column=Column(no_wrap=True))
        text = TextColumn("{task.fields[text]}", table_column=Column(no_wrap=True))
        self._progress = Progress(steps, bar, text, console=console, expand=True)
        self._task = self._progress.add_task("starting", total=None, text="")
        self._progress.start()

    def update(self, status: Status) -> None:
        self._progress.update(
            self._task,
            total=status.num_steps,
            completed=status.step,
            description=f"{status.step:,}/{status.num_steps:,}",
            text=str(status) if status.loss is not None else "compiling ...",
        )

    def close(self) -> None:
        self._progress.stop()


class PlainLines:
    """A line a chunk, but no more than one a second."""

    def __init__(self) -> None:
        self._shown = -math.inf

    def update(self, status: Status) -> None:
        now = time.monotonic()
        if now - self._shown >= 1 or status.step == status.num_steps:
            self._shown = now
            print(f"step {status.step:,}/{status.num_steps:,}  {status}", flush=True)

    def close(self) -> None:
        pass
