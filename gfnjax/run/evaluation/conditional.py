"""A conditional environment: several conditions, each like an environment of its own."""

from dataclasses import dataclass

import numpy as np

from gfnjax.run.evaluation.base import Distributions, Evaluator, Views
from gfnjax.state import TrainState
from gfnjax.training import RunInfo

OF_LOG_Z = {"log_z", "log_z_error"}


@dataclass(frozen=True)
class ConditionalEvaluator:
    """Means over some conditions, and `worst_total_variation`, where it is exact, of the worst.

    Attributes:
        evaluators: one a condition; pictures show the first.
        has_log_z: whether there is an estimate of log Z for each. The mean over a batch is one of
            none of them: `log_z` and `log_z_error` are then left out.
    """

    evaluators: tuple[Evaluator, ...]
    has_log_z: bool = True

    def evaluate(self, state: TrainState, info: RunInfo | None) -> dict[str, float]:
        rows = [evaluator.evaluate(state, info) for evaluator in self.evaluators]
        found = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        if not self.has_log_z:
            found = {k: x for k, x in found.items() if k not in OF_LOG_Z}
        if "total_variation" in found:
            found["worst_total_variation"] = max(row["total_variation"] for row in rows)
        return found

    def distributions(self, state: TrainState) -> Distributions:
        return self.evaluators[0].distributions(state)

    def views(self, state: TrainState) -> Views | None:
        return self.evaluators[0].views(state)
