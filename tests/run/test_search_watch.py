"""What a study sees of a population, and whom it gives up."""

import math

import pytest

from gfnjax.run.choices import configure
from gfnjax.run.sweeps.config import Point, SweepConfig
from gfnjax.run.sweeps.judging import METRICS
from gfnjax.run.sweeps.studies.watch import Watch

optuna = pytest.importorskip("optuna")

TV = METRICS["total_variation"]


class Asked(optuna.pruners.BasePruner):
    """Prunes some trials, and notes whom it has been asked about."""

    def __init__(self, *pruned):
        self.pruned, self.asked = pruned, []

    def prune(self, study, trial):
        self.asked.append(trial.number)
        return trial.number in self.pruned


def begin(pruner, count=2, seeds=(0, 1)):
    study = optuna.create_study(pruner=pruner)
    trials = [study.ask() for _ in range(count)]
    config = SweepConfig((Point({}, configure("hypergrid", side=4)),) * count, seeds)
    return study, trials, Watch(trials, config, TV, ())


def visit(step, *values, status="running"):
    about = {"kind": "evaluation", "step": step, "status": status}
    return [
        {**about, "member": i, "total_variation": x} for i, x in enumerate(values) if x is not None
    ]


def reported(study):
    return [trial.intermediate_values for trial in study.trials]


def test_all_have_been_reported_before_the_first_is_asked_about():
    seen = []

    class Looks(Asked):
        def prune(self, study, trial):
            seen.append([t.intermediate_values for t in study.trials])
            return super().prune(study, trial)

    pruner = Looks()
    _, _, watch = begin(pruner, count=3, seeds=(0,))
    assert watch(visit(4, 0.5, 0.1, 0.3)) == set()
    assert pruner.asked == [0, 1, 2]
    assert seen == [[{4: 0.5}, {4: 0.1}, {4: 0.3}]] * 3


def test_all_seeds_of_a_pruned_trial_stop():
    study, _, watch = begin(Asked(1))
    assert watch(visit(4, 0.1, 0.2, 0.3, 0.5)) == {2, 3}
    assert reported(study) == [{4: pytest.approx(0.15)}, {4: pytest.approx(0.4)}]


def test_hyperband_prunes_within_a_population():
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=4, reduction_factor=3)
    _, _, watch = begin(pruner, count=9, seeds=(0,))
    values = [0.5, 0.4, 0.1, 0.3, 0.6, 0.2, 0.9, 0.8, 0.7]
    # A third of those that it has been asked about so far go on, or the best one.
    assert watch(visit(4, *values)) == {3, 4, 6, 7, 8}


def test_what_has_been_pruned_stays_so_where_a_visit_is_repeated():
    records = visit(4, 0.1, 0.2, 0.3, 0.5)
    study, trials, watch = begin(Asked(1))
    assert watch(records) == {2, 3}
    study.pruner = Asked()  # as Hyperband, which answers a question once
    again = [optuna.trial.Trial(study, trial._trial_id) for trial in trials]
    config = SweepConfig((Point({}, configure("hypergrid", side=4)),) * 2, (0, 1))
    assert Watch(again, config, TV, visit(0, 0.4, 0.4, 0.4, 0.4))(records) == {2, 3}


def test_a_seed_that_diverges_counts_as_the_worst_there_has_been():
    study, _, watch = begin(Asked())
    watch(visit(4, 0.1, 0.2, 0.3, 0.7))
    lost = {"kind": "evaluation", "member": 1, "step": 6, "status": "diverged"}
    watch([lost, *visit(8, 0.1, None, 0.3, 0.5)])
    assert reported(study)[0] == {4: pytest.approx(0.15), 8: pytest.approx((0.1 + 0.7) / 2)}
    watch(visit(12, math.nan, None, 0.3, 0.5))
    assert reported(study)[0][12] == pytest.approx(0.7)


def test_nothing_is_said_before_all_seeds_are_that_far():
    study, _, watch = begin(Asked(0))
    assert watch(visit(4, 0.1)) == set()
    assert reported(study) == [{}, {}]
    watch(visit(8, 0.1, status="finished"))
    # The other seed, in a later round.
    assert watch(visit(4, None, 0.3)) == {1}
    assert reported(study)[0] == {4: pytest.approx(0.2)}


def test_who_has_reached_what_was_wanted_stays_there():
    study, _, watch = begin(Asked(), count=1)
    watch([*visit(4, 0.05, status="reached"), *visit(4, None, 0.3)])
    watch(visit(8, None, 0.1))
    assert reported(study) == [{4: pytest.approx(0.175), 8: pytest.approx(0.075)}]


def test_trials_that_others_have_given_up_stop():
    _, trials, _ = begin(Asked())
    config = SweepConfig((Point({}, configure("hypergrid", side=4)),) * 2, (0, 1))
    assert Watch([None, trials[1]], config, TV, ())(visit(4, 0.1, 0.1, 0.2, 0.2)) == {0, 1}
