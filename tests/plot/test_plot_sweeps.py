import math

import numpy as np
import pytest
from matplotlib.colors import to_hex

from gfnjax.plot import scales, sweep_curves, sweep_values, sweeps
from gfnjax.plot.curves import ORANGE
from gfnjax.plot.parallel import parallel, smooth_line
from gfnjax.plot.scales import Scale
from gfnjax.run.config import UsageError
from gfnjax.run.sweeps.statistics import analyse, interquartile_mean
from gfnjax.run.sweeps.table import Table

PNG = b"\x89PNG\r\n\x1a\n"
STEPS = 0, 10, 20


def value(point, seed, step):
    return 0.9 / (1 + step) + 0.02 * (point + 1) + 0.003 * seed


def sweep(settings, seeds=4, metric="total_variation", diverged=()):
    rows = []
    for point, setting in enumerate(settings):
        for seed in range(seeds):
            for step in STEPS:
                lost = (point, seed) in diverged and step == STEPS[-1]
                status = "diverged" if lost else "running" if step < STEPS[-1] else "finished"
                first = {"member": point * seeds + seed, "point": point, "seed": seed, **setting}
                found = math.nan if lost else value(point, seed, step)
                row = {"step": step, "seconds": step / 10, "status": status, metric: found}
                rows.append({**first, **row})
    return Table(tuple(settings[0]), rows)


def random_settings(count):
    rng = np.random.default_rng(0)
    rates = 10 ** rng.uniform(-4, -1, size=count)
    return [
        {
            "rate": float(rate),
            "sizes": [(8,), (8, 8)][i % 2],
            "objective": ["tb", "db", "fm"][i % 3],
        }
        for i, rate in enumerate(rates)
    ]


ONE = [{"rate": rate} for rate in (1e-3, 1e-2, 1e-1)]
TWO = [{"rate": rate, "epsilon": e} for rate in (1e-3, 1e-2, 1e-1) for e in (0.0, 0.1)]


@pytest.mark.parametrize(
    ("settings", "seeds", "names"),
    [
        ([{}], 3, ["curves"]),
        (ONE[:1], 1, ["curves"]),
        (ONE, 4, ["curves", "values"]),
        ([{"objective": o} for o in ("tb", "db")], 1, ["curves", "values"]),
        (TWO, 3, ["curves", "heatmap"]),
        (TWO[:-1], 1, ["curves", "heatmap"]),
        ([{k: s[k] for k in ("rate", "sizes")} for s in random_settings(12)], 2, None),
        (random_settings(10), 1, ["curves", "parallel"]),
    ],
)
def test_what_is_drawn_depends_on_what_is_varied(settings, seeds, names, tmp_path):
    table = sweep(settings, seeds, diverged={(0, 0)} if len(settings) > 1 else ())
    paths = sweeps.draw(table, None, tmp_path / "new" / "pictures")
    assert [path.stem for path in paths] == (names or ["curves", "parallel"])
    for path in paths:
        assert path.parent == tmp_path / "new" / "pictures"
        assert path.read_bytes().startswith(PNG)


@pytest.mark.parametrize("metric", ["elbo", "total_variation"])
def test_where_all_runs_are_alike_or_have_diverged(metric, tmp_path):
    table = sweep(TWO, 2, metric, diverged={(p, s) for p in range(6) for s in range(2)})
    for row in table.rows:
        row[metric] = row[metric] * 0  # zero, which has no logarithm, or NaN
    assert len(sweeps.draw(table, metric, tmp_path)) == 2
    alike = sweep(random_settings(9), 1, metric)
    assert parallel(analyse(Table(alike.varied, [{**r, metric: 0.5} for r in alike.rows])))


def test_there_must_be_something_to_draw(tmp_path):
    with pytest.raises(UsageError, match="nothing to report yet"):
        sweeps.draw(Table(("rate",), []), None, tmp_path / "pictures")
    with pytest.raises(UsageError, match="metric must be one of total_variation, got 'kl'"):
        sweeps.draw(sweep(ONE), "kl", tmp_path / "pictures")
    assert not (tmp_path / "pictures").exists()


def test_a_line_a_setting():
    table = sweep(ONE, 4, diverged={(2, 0), (2, 1)})
    (ax,) = sweep_curves.curves_of(table, analyse(table)).axes
    for point in (0, 1):
        every = np.array([[value(point, seed, step) for step in STEPS] for seed in range(4)])
        expected = every[1:3].mean(axis=0)  # the middle two of four
        np.testing.assert_allclose(ax.lines[point].get_xydata(), list(zip(STEPS, expected)))  # noqa: B905
    worst = value(2, 3, 0)  # of the whole sweep, that of the last seed of all
    lost = [value(2, 2, 20), value(2, 3, 20), worst, worst]
    assert ax.lines[2].get_ydata()[-1] == pytest.approx(np.mean(lost[1:3]))
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["0.001", "0.01", "0.1 (2 of 4 diverged)"]
    assert ax.get_yscale() == "log"
    assert len({line.get_color() for line in ax.lines}) == 3


def test_a_panel_for_all_that_is_varied_where_settings_are_many():
    table = sweep(random_settings(20), 1)
    found = analyse(table)
    axes = {ax.get_legend().get_title().get_text(): ax for ax in used(found, table)}
    assert list(axes) == ["rate", "sizes", "objective"]
    assert [len(ax.lines) for ax in axes.values()] == [4, 2, 3]
    last = np.array([value(point, 0, 20) for point in range(0, 20, 2)])
    drawn = axes["sizes"].lines[0].get_ydata()[-1]
    assert drawn == pytest.approx(float(interquartile_mean(last)))
    assert "middle half" in axes["rate"].figure.get_suptitle()


def used(found, table):
    return [ax for ax in sweep_curves.curves_of(table, found).axes if ax.lines]


def test_high_values_have_a_linear_axis_without_a_steep_start():
    table = sweep(ONE, 3, "elbo")
    for row in table.rows:
        row["elbo"] = -500.0 if row["step"] == 0 else -row["elbo"]
    # A quarter of three steps is none: nothing may be left out.
    (ax,) = sweep_curves.curves_of(table, analyse(table)).axes
    assert ax.get_yscale() == "linear"
    assert ax.get_ylim()[0] < -500
    later = [{**row, "step": row["step"] + shift} for row in table.rows for shift in (0, 1, 2)]
    table = Table(table.varied, [row for row in later if row["step"] not in (1, 2)])
    (ax,) = sweep_curves.curves_of(table, analyse(table)).axes
    assert -2 < ax.get_ylim()[0] < -0.1


def test_a_trend_needs_half_of_the_members():
    nan = math.nan
    values = np.array([[1.0, 2.0, nan], [3.0, 4.0, nan], [5.0, nan, nan], [7.0, nan, 9.0]])
    found = sweep_curves.trend(values, np.array([0, 0, 1, 1]))
    np.testing.assert_allclose(found.middle, [4.0, 3.0, nan])
    assert found.low[0] < 4.0 < found.high[0]
    alone = sweep_curves.trend(values, np.arange(4))
    np.testing.assert_allclose(
        (alone.low[0], alone.high[0]), np.quantile([1, 3, 5, 7], (0.25, 0.75))
    )
    single = sweep_curves.trend(values[:1], np.zeros(1))
    assert np.isnan(single.low).all()


def test_the_heat_map_has_each_setting_in_its_cell():
    table = sweep([s for s in TWO if s != {"rate": 1e-3, "epsilon": 0.1}], 4, diverged={(1, 0)})
    figure = sweep_values.heat_map(analyse(table))
    ax, bar = figure.axes
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("rate", "epsilon")
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0.001", "0.01", "0.1"]
    image = ax.images[0].get_array()
    iqm = [np.mean([value(p, s, 20) for s in (1, 2)]) for p in range(5)]
    np.testing.assert_allclose(image[0].filled(math.nan)[[0, 2]], [iqm[0], iqm[3]])
    np.testing.assert_allclose(image[1].filled(math.nan), [math.nan, iqm[2], iqm[4]])
    texts = {
        (t.get_position()[0], round(t.get_position()[1])): t.get_text() for t in ax.texts[::-1]
    }
    assert texts[0, 1] == "-"
    assert texts[0, 0] == f"{iqm[0]:.3g}"
    assert sum("1 of 4 diverged" in t.get_text() for t in ax.texts) == 1
    (frame,) = ax.patches
    assert (round(frame.get_x()), round(frame.get_y())) == (0, 0)
    assert bar.get_ylabel() == "exact total variation"
    with pytest.raises(ValueError, match="must be a sweep over most pairs"):
        sweep_values.heat_map(analyse(sweep(ONE)))


def test_good_is_dark():
    for metric, best in (("total_variation", 0), ("elbo", 5)):
        norm, colors = sweep_values.coloring(analyse(sweep(TWO, 2, metric)))
        darkness = [sum(colors(norm(value(p, 0.5, 20)))[:3]) for p in range(6)]
        assert int(np.argmin(darkness)) == best


def test_lost_settings_do_not_make_the_others_look_alike():
    found = analyse(sweep(TWO, 2, "elbo", diverged={(5, 0), (5, 1)}))
    low, high = sweep_values.bounds(found)
    assert (low, high) == pytest.approx((value(0, 0.5, 20), value(4, 0.5, 20)))
    norm, colors = sweep_values.coloring(found)
    assert colors(norm(-100.0)) == colors(norm(low))
    figure = parallel(analyse(sweep(random_settings(9), 2, diverged={(8, 0)})))
    assert any(text.get_text().endswith("\nor worse") for text in figure.axes[0].texts)
    heat = sweep_values.heat_map(found)
    assert heat.axes[1].get_ylim() == pytest.approx((low, high))


def test_values_are_drawn_with_their_runs():
    table = sweep(ONE, 4, diverged={(2, 0)})
    (ax,) = sweep_values.values_of(analyse(table)).axes
    runs, lost, ring = ax.collections[0], ax.collections[1], ax.collections[-1]
    expected = sorted((p / 2, value(p, s, 20)) for p in range(3) for s in range(4))
    expected.remove((1.0, value(2, 0, 20)))
    np.testing.assert_allclose(sorted(map(tuple, runs.get_offsets())), expected)
    np.testing.assert_allclose(lost.get_offsets(), [(1.0, value(2, 3, 0))])
    assert ring.get_offsets()[0][0] == 0.0
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "diverged, counted as the worst" in labels


def test_the_best_polyline_is_on_top():
    found = analyse(sweep(random_settings(9), 2, "elbo"))
    (ax,) = parallel(found).axes
    lines = [line for line in ax.lines if len(line.get_xdata()) > 2]
    assert len(lines) == 9
    top = max(lines, key=lambda line: line.get_zorder())
    assert to_hex(top.get_color()) == ORANGE
    assert top.get_ydata()[-1] == pytest.approx(1.0)  # good is up
    low = analyse(sweep(random_settings(9), 2))
    lines = [line for line in parallel(low).axes[0].lines if len(line.get_xdata()) > 2]
    assert max(lines, key=lambda x: x.get_zorder()).get_ydata()[-1] == pytest.approx(1.0)


def test_a_smooth_line_goes_through_its_heights():
    x, y = smooth_line([0.2, 1.0, 0.0])
    for at, height in enumerate((0.2, 1.0, 0.0)):
        np.testing.assert_allclose(y[x == at], height, atol=1e-12)
    assert np.diff(y[: y.size // 2]).min() >= 0


def test_scales():
    log = Scale.of([1e-3, 1e-1, 1e-2])
    assert log.is_log
    assert [log.place(v) for v in (1e-3, 1e-2, 1e-1)] == pytest.approx([0, 0.5, 1])
    linear = Scale.of([0, 30, 10, 20, 40])
    assert not linear.is_log
    assert linear.ticks() == {0.0: "0", 0.25: "10", 0.5: "20", 0.75: "30", 1.0: "40"}
    names = Scale.of(["tb", "db", "tb", "fm"])
    assert names.ticks() == {0.0: "tb", 0.5: "db", 1.0: "fm"}
    assert Scale.of([None, 1.0]).ticks() == {0.0: "none", 1.0: "1"}
    assert Scale.of([5.0]).ticks() == {0.5: "5"}
    close = Scale.of([0.0, 0.01, 0.5, 0.99, 1.0]).ticks()
    assert list(close.values()) == ["0", "0.5", "1"]
    many = Scale.of(list(np.geomspace(3e-4, 0.2, 30))).ticks()
    round_ones = ["0.0005", "0.001", "0.002", "0.005", "0.01", "0.02", "0.05", "0.1"]
    assert list(many.values()) == ["0.0003", *round_ones, "0.2"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 10], True),
        ([1, 9], False),
        ([0.0, 1.0, 100.0], False),
        ([-1.0, 100.0], False),
        ([1e-4, 1e-3, 1e-2], True),
        (list(range(1, 30)), False),
        (list(np.random.default_rng(0).uniform(0.01, 0.5, 40)), False),
        (list(10 ** np.random.default_rng(0).uniform(-4, -1, 40)), True),
    ],
)
def test_logarithms_where_they_spread_numbers(values, expected):
    assert scales.suits_logarithms(values) == expected
