"""A GFlowNet with a teacher: what counts is the student."""

from dataclasses import dataclass

from gfnjax.algorithms.teacher import TaughtState
from gfnjax.run.evaluation.base import Distributions, Evaluator, Views
from gfnjax.training import RunInfo


@dataclass(frozen=True)
class StudentEvaluator:
    """The evaluator of the student alone, on its part of the state."""

    student: Evaluator

    def evaluate(self, state: TaughtState, info: RunInfo | None) -> dict[str, float]:
        return self.student.evaluate(state.gfn, info)

    def distributions(self, state: TaughtState) -> Distributions:
        return self.student.distributions(state.gfn)

    def views(self, state: TaughtState) -> Views | None:
        return self.student.views(state.gfn)
