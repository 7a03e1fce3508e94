import math

import numpy as np
import pytest
from scipy import stats

from gfnjax.run.config import UsageError
from gfnjax.run.sweeps import judging, statistics
from gfnjax.run.sweeps.levels import Level, levels_of
from gfnjax.run.sweeps.statistics import analyse
from gfnjax.run.sweeps.table import Table

NAN = math.nan


def sweep(settings, values, metric="total_variation", diverged=()):
    """Two evaluations a member: the first one is 0.9, the last one as given by point and seed."""
    rows = []
    for point, (setting, seeds) in enumerate(zip(settings, values, strict=True)):
        for seed, value in enumerate(seeds):
            lost = (point, seed) in diverged
            first = {"member": len(rows) // 2, "point": point, "seed": seed, **setting}
            last = "diverged" if lost else "finished"
            rows.append({**first, "step": 0, "seconds": 0.0, "status": "running", metric: 0.9})
            value = NAN if lost else value
            rows.append({**first, "step": 9, "seconds": 1.0, "status": last, metric: value})
    return Table(tuple(settings[0]), rows)


GRID = [{"rate": r, "objective": o} for r in (0.1, 0.01) for o in ("tb", "db")]
VALUES = [[0.10, 0.12, 0.11, 0.50, 0.13], [0.2] * 5, [0.31, 0.3, 0.32, 0.3, 0.3], [0.4] * 5]


def test_settings_are_ranked_and_summarised():
    found = analyse(sweep(GRID, VALUES))
    assert [s.point for s in found.settings] == [0, 1, 2, 3]
    first = found.settings[0]
    assert first.values == {"rate": 0.1, "objective": "tb"}
    assert (first.summary.num, first.summary.num_diverged) == (5, 0)
    assert first.summary.mean == pytest.approx(0.192)
    assert first.summary.standard_error == pytest.approx(stats.sem(VALUES[0]))
    assert first.summary.iqm == pytest.approx(0.12)  # the mean of 0.11, 0.12 and 0.13
    assert (first.summary.best, first.summary.worst) == (0.10, 0.50)
    assert found.best is first
    assert found.most_robust.point == 1


def test_high_values_can_be_good():
    found = analyse(sweep(GRID, VALUES, "elbo"))
    assert [s.point for s in found.settings] == [3, 2, 1, 0]
    assert (found.settings[-1].summary.best, found.settings[-1].summary.worst) == (0.50, 0.10)
    assert found.best.point == found.most_robust.point == 3
    low = analyse(sweep(GRID, VALUES, "elbo"), "elbo:low")
    assert low.best.point == 0


def test_a_tie_of_the_worst_seed_goes_to_the_better_mean():
    found = analyse(sweep(GRID[:3], [[0.3, 0.2], [0.3, 0.1], [0.3, 0.3]]))
    assert found.most_robust.point == 1


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 13])
def test_the_interquartile_mean_is_a_trimmed_mean(count):
    values = np.random.default_rng(count).normal(size=(3, count))
    found = statistics.interquartile_mean(values)
    np.testing.assert_allclose(found, stats.trim_mean(values, 0.25, axis=1))
    if count < 4:
        np.testing.assert_allclose(found, values.mean(axis=1))


def test_the_interval_is_that_of_scipy():
    rng = np.random.default_rng(1)
    strata = [rng.normal(mean, 1.0, size=n) for mean, n in ((0, 5), (4, 6), (9, 12))]

    def trimmed(*samples, axis):
        return stats.trim_mean(np.concatenate(samples, axis=axis), 0.25, axis=axis)

    expected = stats.bootstrap(
        strata, trimmed, n_resamples=20_000, method="percentile", rng=0, vectorized=True
    ).confidence_interval
    found = statistics.bootstrap_interval(strata, 20_000)
    np.testing.assert_allclose(found, expected, atol=0.03)
    # Between settings there is far more variance than within one: resampling all alike is wider.
    low, high = statistics.bootstrap_interval([np.concatenate(strata)], 20_000)
    assert high - low > 1.5 * (found[1] - found[0])
    assert statistics.bootstrap_interval(strata) == statistics.bootstrap_interval(strata)


def test_resampling_stays_within_strata():
    index = statistics.resample([2, 1, 4], 500, np.random.default_rng(0))
    assert index.shape == (500, 7)
    strata = np.searchsorted([2, 3, 7], index, side="right")
    np.testing.assert_array_equal(strata, np.broadcast_to([0, 0, 1, 2, 2, 2, 2], (500, 7)))
    assert np.bincount(index.ravel()).tolist()[2] == 500
    assert set(np.unique(index)) == set(range(7))


def test_what_has_diverged_counts_as_the_worst_of_the_sweep():
    found = analyse(sweep(GRID, VALUES, diverged={(0, 0), (0, 1)}))
    first = next(s for s in found.settings if s.point == 0)
    assert (first.summary.num, first.summary.num_diverged) == (5, 2)
    assert first.summary.mean == pytest.approx(np.mean([0.9, 0.9, 0.11, 0.5, 0.13]))
    assert first.summary.worst == 0.9
    assert found.best.point == 1
    objectives = next(e for e in found.effects if e.name == "objective")
    assert [x.num_diverged for x in objectives.summaries] == [2, 0]
    high = analyse(sweep(GRID, [[2.0], [3.0], [4.0], [5.0]], "elbo", diverged={(3, 0)}))
    assert [s.summary.iqm for s in high.settings] == [4.0, 3.0, 2.0, 0.9]


def test_infinite_values_count_as_the_worst_too():
    found = analyse(sweep(GRID, [[math.inf], [0.2], [0.3], [0.4]]))
    assert [s.point for s in found.settings] == [1, 2, 3, 0]
    assert found.settings[-1].summary.iqm == 0.9
    assert found.settings[-1].summary.num_diverged == 0


def test_where_all_have_diverged_nothing_is_best():
    everything = {(p, s) for p in range(4) for s in range(5)}
    found = analyse(sweep(GRID, VALUES, diverged=everything))
    assert found.best is None
    assert found.most_robust is None
    assert [s.summary.iqm for s in found.settings] == [0.9] * 4
    assert all(math.isnan(effect.share) for effect in found.effects)
    lost = sweep(GRID, VALUES, diverged=everything)
    with pytest.raises(UsageError, match="nothing to report yet"):
        analyse(Table(lost.varied, [r for r in lost.rows if r["status"] == "diverged"]))


def test_a_setting_that_is_lost_is_behind_one_that_is_as_bad():
    found = analyse(sweep(GRID[:2], [[0.1], [0.9]], diverged={(0, 0)}))
    assert [s.point for s in found.settings] == [1, 0]
    assert found.best.point == 1


def test_one_seed_has_no_interval():
    found = analyse(sweep(GRID, [[0.4], [0.1], [0.2], [0.3]]))
    summary = found.best.summary
    assert (found.best.point, summary.num, summary.mean, summary.iqm) == (1, 1, 0.1, 0.1)
    assert all(map(math.isnan, (summary.standard_error, summary.low, summary.high)))
    assert all(math.isnan(each.low) for each in found.effects[0].summaries)


def test_one_point():
    found = analyse(sweep([{"rate": 0.1}], [[0.1, 0.2, 0.3]]))
    assert found.best.summary.iqm == pytest.approx(0.2)
    assert 0.1 <= found.best.summary.low < 0.2 < found.best.summary.high <= 0.3
    (effect,) = found.effects
    assert math.isnan(effect.share)
    assert len(effect.summaries) == 1
    nothing = analyse(sweep([{}], [[0.1, 0.2]]))
    assert nothing.effects == ()
    assert nothing.best.values == {}


def test_main_effects_are_eta_squared():
    # y = 3 a + b over a 2 x 2 grid: variances 9 and 1.
    grid = [{"a": a, "b": b} for b in (0, 1) for a in (0, 1)]
    found = analyse(sweep(grid, [[3 * s["a"] + s["b"]] * 2 for s in grid], "kl"))
    assert [(e.name, e.share) for e in found.effects] == [("a", 0.9), ("b", pytest.approx(0.1))]
    assert [e.chance for e in found.effects] == [1 / 3, 1 / 3]
    # Levels of other sizes, against the F statistic of an analysis of variance.
    rng = np.random.default_rng(0)
    groups = [rng.normal(m, size=n) for m, n in ((0, 4), (1, 7), (0.3, 5))]
    f = stats.f_oneway(*groups).statistic
    assert statistics.explained(groups) == pytest.approx(2 * f / (2 * f + 13))


def test_levels_are_aggregated_over_the_rest():
    found = {e.name: e for e in analyse(sweep(GRID, VALUES)).effects}
    assert [str(level) for level in found["rate"].levels] == ["0.01", "0.1"]
    assert [str(level) for level in found["objective"].levels] == ["tb", "db"]
    summary = found["rate"].summaries[1]
    together = np.array([VALUES[0], VALUES[1]])
    assert (summary.num, summary.best, summary.worst) == (10, 0.10, 0.50)
    assert summary.iqm == pytest.approx(stats.trim_mean(together.ravel(), 0.25))
    assert (summary.low, summary.high) == statistics.bootstrap_interval(together)


def test_many_numbers_become_ranges():
    rng = np.random.default_rng(0)
    values = list(10 ** rng.uniform(-4, -1, size=30))
    levels = levels_of(values)
    assert [len(level.values) for level in levels] == [8, 8, 7, 7]
    assert sorted(values) == [v for level in levels for v in level.values]
    assert str(levels[0]) == f"{min(values):.3g} to {levels[0].values[-1]:.3g}"
    assert len(levels_of(values, alone=True)) == 30
    assert levels_of([1, 2, 1, 2]) == [Level((1,)), Level((2,))]
    assert [len(level.values) for level in levels_of([1.0, 2.0, 3.0])] == [2, 1]


def test_values_that_are_no_numbers():
    assert [str(x) for x in levels_of([(8, 8), (4,), None, (8, 8)])] == ["none", "4", "8 8"]
    assert [str(x) for x in levels_of([True, False, True])] == ["True", "False"]
    assert [str(x) for x in levels_of(["tb", "db", "tb"])] == ["tb", "db"]
    settings = [{"sizes": s, "flag": f} for s in ((8,), (8, 8)) for f in (True, False)]
    found = analyse(sweep(settings, VALUES))
    assert found.best.values == {"sizes": (8,), "flag": True}


def test_the_last_value_counts_even_where_the_last_row_lacks_it():
    table = sweep(GRID[:2], [[0.1], [0.2]])
    del table.rows[1]["total_variation"]
    table.rows[3]["total_variation"] = NAN
    found = analyse(table)
    assert [s.summary.iqm for s in found.settings] == [0.9, 0.9]
    del table.rows[0]["total_variation"]
    found = analyse(table)
    assert [s.point for s in found.settings] == [1]  # point 0 has nothing to judge
    assert [x.num for x in found.effects[0].summaries] == [1]


def test_which_metric_is_judged():
    rows = [{"elbo": 1.0, "total_variation": 0.1, "fun": 2.0, "log_z": 1.0, "kl": NAN}]
    first = {"member": 0, "point": 0, "seed": 0, "step": 0, "seconds": 0.0, "status": "running"}
    table = Table((), [{**first, **row} for row in rows])
    assert judging.judge(table).name == "total_variation"
    assert judging.judge(table, "elbo").high
    assert judging.judge(table, "fun:high").high
    assert not judging.judge(table, "fun:low").high
    with pytest.raises(
        UsageError, match=r"^metric must say what is good, fun:high or fun:low, or be one of"
    ):
        judging.judge(table, "fun")
    known = "elbo, total_variation, fun, log_z"
    for name in ("kl", "elb", "step"):
        with pytest.raises(UsageError, match=f"^metric must be one of {known}, got '{name}'"):
            judging.judge(table, name)
    with pytest.raises(UsageError, match="metric must be named, with what is good: fun:high"):
        judging.judge(Table((), [{**first, "fun": 2.0}]))


def test_histories_end_as_the_members_do():
    table = sweep([{}], [[0.1, 0.3, 0.2, 0.4]], diverged={(0, 3)})
    for row in table.rows:
        row["step"] = row["step"] // 9 * [10, 10, 5, 5][row["seed"]]
    table.rows[5]["status"] = "reached"
    table.rows[3]["step"] = 5
    metric = judging.judge(table)
    steps, values, points = judging.histories(table, metric)
    assert steps.tolist() == [0, 5, 10]
    assert points == [0] * 4
    np.testing.assert_allclose(
        values, [[0.9, 0.5, 0.1], [0.9, 0.3, NAN], [0.9, 0.2, 0.2], [0.9, 0.9, 0.9]]
    )
    assert judging.histories(table, metric, 2)[0].tolist() == [0, 10]
