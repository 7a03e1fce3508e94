"""What happens between two chunks of a sweep: members are measured, and what was found is noted."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gfnjax.learning import diagnosis
from gfnjax.run.directory import Record
from gfnjax.run.display import Status
from gfnjax.run.evaluation import Evaluator
from gfnjax.run.processes import first, gather, together
from gfnjax.run.session import Clock
from gfnjax.run.sweeps.config import SweepConfig
from gfnjax.run.sweeps.directory import SweepDirectory
from gfnjax.sweeps.population import Population
from gfnjax.training import RunInfo

# Sees the records of a visit, and says which members need not go on.
Watch = Callable[[Sequence[Record]], Collection[int]]


@dataclass
class Visit:
    """Visits to the members of one round.

    Attributes:
        sweep: where records go.
        config: of the sweep.
        evaluators: one a point.
        numbers: of the members.
        population: the members, in this order.
        about: what a display says first.
        watch: prunes members, if there is one.
    """

    sweep: SweepDirectory
    config: SweepConfig
    evaluators: Sequence[Evaluator]
    numbers: Sequence[int]
    population: Population
    about: str = ""
    watch: Watch | None = None

    def start(self, clock: Clock) -> Status:
        """Measure all before the first step."""
        return self._note(self._records([(i, None) for i in range(len(self.numbers))]), 0, clock)

    def after(self, infos: Sequence[RunInfo | None], step: int, clock: Clock) -> Status:
        """Measure whoever has moved; who has reached what was wanted need not go on."""
        moved = [(i, info) for i, info in enumerate(infos) if info is not None]
        records = self._records(moved)
        self._prune([i for i, _ in moved], records)
        return self._note(records, step, clock)

    def _prune(self, places: Sequence[int], records: Sequence[Record]) -> None:
        given_up = () if self.watch is None else self.watch(records)
        for place, record in zip(places, records, strict=True):
            if record["member"] in given_up and record["status"] == "running":
                self.population.status[place] = record["status"] = "pruned"

    def _records(self, moved: list[tuple[int, RunInfo | None]]) -> list[Record]:
        """Those of all processes; each measures the members that it has."""
        here = [(i, info) for i, info in moved if self.population.is_here(i)]
        own = together(lambda: {i: self._record(i, info) for i, info in here})
        found = {int(i): record for part in gather(own) for i, record in part.items()}
        for i, record in found.items():
            self.population.status[i] = record["status"]
        return [found[i] for i in sorted(found)]

    def _note(self, records: list[Record], step: int, clock: Clock) -> Status:
        seconds = clock.tick(step)
        # The order matters: a checkpoint vouches for all records up to its step.
        timed = [{**record, "seconds": seconds} for record in records]
        first(lambda: self.sweep.append_metrics(timed))
        return self._shown(records, step, clock)

    def _record(self, place: int, info: RunInfo | None) -> Record:
        number, step = self.numbers[place], int(self.population.steps[place])
        about: Record = {"kind": "evaluation", "member": number, "step": step, "seconds": 0.0}
        if info is not None and self.population.status[place] == "diverged":
            last = (float(x[-1]) for x in (info.loss, info.grad_norm, info.log_reward))
            reason = str(diagnosis.of_numbers(step, *last))
            # That of the step that failed, so that it is later than all that went well.
            return {**about, "step": step + 1, "status": "diverged", "reason": reason}
        evaluator = self.evaluators[number // len(self.config.seeds)]
        values = evaluator.evaluate(self.population.state(place), info)
        if info is not None:
            values |= {name: float(getattr(info, name).mean()) for name in ("loss", "grad_norm")}
        goal = self.config.training.stop_at_tv
        if goal is not None and values["total_variation"] <= goal:
            self.population.status[place] = "reached"
        return {**about, "status": self.population.status[place], **values}

    def _shown(self, records: Sequence[Record], step: int, clock: Clock) -> Status:
        """The middle of all that were measured."""
        measured = [record for record in records if record["status"] != "diverged"]
        names = {name for record in measured for name, x in record.items() if isinstance(x, float)}
        middle: dict[str, Any] = {
            name: float(np.median([record[name] for record in measured if name in record]))
            for name in names
        }
        status = self.population.status
        note = f"{self.about}{status.count('running')} of {len(status)} running; medians:"
        loss = middle.get("loss")
        return Status(step, self.config.training.steps, loss, middle, clock.rate, note)
