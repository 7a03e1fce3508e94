"""The table of a reproduction: what was published, ours, the spread, and the verdict."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gfnjax.reproduce.base import Reproduction, Row
from gfnjax.reproduce.training import Run

NOTHING = "-"


@dataclass(frozen=True)
class Line:
    """One row and its runs."""

    row: Row
    runs: tuple[Run, ...]

    @property
    def finished(self) -> tuple[Run, ...]:
        return tuple(run for run in self.runs if run.status == "finished")

    @property
    def count(self) -> str:
        """How many are finished, of how many, and what became of others."""
        found = [run.status for run in self.runs]
        others = [f"{found.count(s)} {s}" for s in ("under way", "failed") if s in found]
        text = f"{len(self.finished)} of {len(found)}"
        return f"{text} ({', '.join(others)})" if others else text

    @property
    def small_budget(self) -> int | None:
        """The steps of its runs, where these are not those of the row."""
        usual = self.row.config(0).training.steps
        return next((run.steps for run in self.finished if run.steps != usual), None)


def lines(reproduction: Reproduction, runs: Sequence[Run]) -> list[Line]:
    """The runs by row."""
    return [Line(row, tuple(r for r in runs if r.row is row)) for row in reproduction.rows]


def values(reproduction: Reproduction, line: Line) -> list[np.ndarray]:
    """`[n]` of each measure: one a finished run that tells it."""
    found = []
    for measure in reproduction.measures:
        numbers = np.array([measure.of(run.evaluations) for run in line.finished], float)
        found.append(numbers[~np.isnan(numbers)])
    return found


def verdict(reproduction: Reproduction, line: Line) -> str:
    """Whether what is judged is where it should be, and if not, why."""
    judged = values(reproduction, line)[0]
    row, lost = line.row, len(line.finished) - judged.size
    if lost:
        return f"not finite in {lost} of {len(line.finished)}"
    if not judged.size:
        return "not run"
    if (steps := line.small_budget) is not None:
        return f"small budget: {steps:,} steps"
    if row.expected is None:
        return "nothing expected yet"
    so_far = "" if len(line.finished) == len(line.runs) else " so far"
    middle = reproduction.measures[0].middle(judged)
    same = middle == row.expected or abs(middle - row.expected) <= row.tolerance
    never = math.isinf(row.expected)
    wanted = "not reached" if never else f"{row.expected:g} ± {row.tolerance:g}"
    if same:
        return f"within tolerance{so_far} ({wanted})"
    return f"differs{so_far} (expected {wanted}): {row.why or 'see the note'}"


def claim(reproduction: Reproduction, line: Line, others: Sequence[Line]) -> str:
    """Whether what a paper claims holds here, by the seeds of both rows."""
    published = line.row.published
    if published is None or not published.better_than:
        return NOTHING
    rivals = [other for other in others if other.row.name in published.better_than]
    by = published.by
    told = [(values(reproduction, each)[by].size, len(each.runs)) for each in (line, *rivals)]
    if any(number < wanted for number, wanted in told) or len(rivals) < len(published.better_than):
        return "not all there"
    if any(each.small_budget is not None for each in (line, *rivals)):
        return "small budget"
    found = [_against(*(values(reproduction, x)[by] for x in (line, rival))) for rival in rivals]
    return "; ".join(f"{found[i]} {rival.row.name}" for i, rival in enumerate(rivals))


def _against(ours: np.ndarray, theirs: np.ndarray) -> str:
    if ours.max() < theirs.min():
        return "better than"
    return "worse than" if ours.min() > theirs.max() else "seeds overlap with"


def cells(
    reproduction: Reproduction, runs: Sequence[Run], others: Sequence[Line] | None = None
) -> list[list[str]]:
    """Head and rows, as text; claims are about `others`, where these are not all lines."""
    labels = [measure.label for measure in reproduction.measures]
    found = [["row", "n", "published", "here", *labels, "verdict"]]
    own = lines(reproduction, runs)
    for line in own:
        published = NOTHING if line.row.published is None else line.row.published.text
        numbers = zip(reproduction.measures, values(reproduction, line), strict=True)
        ours = [measure.cell(x) if x.size else NOTHING for measure, x in numbers]
        name = line.row.name
        held = claim(reproduction, line, own if others is None else others)
        found.append([name, line.count, published, held, *ours, verdict(reproduction, line)])
    return found


def notes(reproduction: Reproduction) -> list[str]:
    """What stands below the table: where published numbers are from, and where ours differ."""
    sources = dict.fromkeys(r.published.source for r in reproduction.rows if r.published)
    found = [f"Published: {'; '.join(sources)}."] if sources else ["No published number is known."]
    return [*found, f"Where they differ, and why: {reproduction.note}"]


def markdown(reproduction: Reproduction, runs: Sequence[Run]) -> str:
    """The table with its title and notes."""
    head, *rows = cells(reproduction, runs)
    table = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
    papers = ", ".join(f"arXiv {paper}" for paper in reproduction.papers)
    title = f"# {reproduction.title} ({papers})"
    shown = [title, "\n".join(table), *notes(reproduction)]
    return "\n\n".join(shown) + "\n"


def spreadsheet(reproduction: Reproduction, runs: Sequence[Run]) -> str:
    """CSV: a line a run, with every measure; `inf` where a goal was not reached."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    labels = [measure.label for measure in reproduction.measures]
    writer.writerow(["row", "seed", "status", "steps", "published", "expected", *labels])
    for run in runs:
        published = "" if run.row.published is None else run.row.published.text
        expected = "" if run.row.expected is None else run.row.expected
        found = [measure.of(run.evaluations) for measure in reproduction.measures]
        ended = run.status == "finished"
        numbers = [x if ended and not math.isnan(x) else "" for x in found]
        first = run.row.name, run.seed, run.status, run.steps or "", published, expected
        writer.writerow([*first, *numbers])
    return text.getvalue()
