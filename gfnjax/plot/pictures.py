"""Pictures of a run: learning curves, and the learned beside the target distribution.

Matplotlib is imported when something is drawn, and draws without a screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from gfnjax.envs.base import canonical_of
from gfnjax.envs.drawing import Drawable, Panel
from gfnjax.plot import curves, densities
from gfnjax.plot.curves import BLUE, ORANGE
from gfnjax.plot.found_molecules import draw_found
from gfnjax.plot.found_texts import draw_texts
from gfnjax.plot.frontier import draw_frontier
from gfnjax.plot.style import integers, new_figure, shades, styled
from gfnjax.run.config import UsageError
from gfnjax.run.directory import Record, RunDirectory
from gfnjax.run.evaluation import Distributions, Views
from gfnjax.run.frontier import find_frontier, write_frontier
from gfnjax.run.graphs import find_solutions, write_solutions
from gfnjax.run.molecules import find_molecules, write_tables
from gfnjax.run.session import Outcome
from gfnjax.run.texts import find_texts, write_texts
from gfnjax.run.trained import Contains, TrainedRun, load

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

NUM_OBJECTS = 4
# Names of bars stand side by side where there are no more letters in all of them.
MOST_LETTERS = 24
QUALITY = "total_variation", "elbo", "true_log_z", "sampled_tv", "log_reward"


def draw(source: str | Path | Outcome) -> list[Path]:
    """Draw all pictures of a run into its `pictures/`.

    Of molecules it writes tables beside them, into the folder of the run: `molecules.csv`,
    `molecules.sdf` and `scaffolds.csv`; a warning says what is missing without RDKit. Of texts
    `texts.csv` and, where a language model says how likely they are, `frontier.csv`. Of graph
    problems `solutions.csv` and `solutions.json`.

    Args:
        source: a folder, whose files have all it takes; or how a run has ended, from which nothing
            has to be built again.

    Returns:
        All files that were written, pictures first.

    Raises:
        UsageError: if a folder is not a run, or nothing has been logged yet.
        CheckpointError: if no checkpoint is good.
    """
    run = source.run if isinstance(source, Outcome) else RunDirectory(Path(source))
    if not isinstance(source, Outcome):
        run.read_config()  # is it a run at all?
    records = run.read_metrics()
    if not records:
        raise UsageError(f"nothing to draw yet: {run.metrics_file} is empty")
    trained = source if isinstance(source, Outcome) else load(source)
    figures = _figures(trained, records)
    run.pictures.mkdir(exist_ok=True)
    written = []
    for name, figure in figures:
        written.append(run.pictures / f"{name}.png")
        figure.savefig(written[-1])
    found = find_molecules(trained.gfn, trained.state)
    if found is not None:
        written += [*draw_found(run.pictures, found), *write_tables(run.path, found)]
    texts = find_texts(trained.gfn, trained.state)
    if texts is not None:
        written += [*draw_texts(run.pictures, texts), *write_texts(run.path, texts)]
    points = find_frontier(trained.gfn, trained.state)
    if points is not None:
        written += [*draw_frontier(run.pictures, points), *write_frontier(run.path, points)]
    env_config = trained.config.env
    solutions = find_solutions(env_config, trained.gfn, trained.state)
    if solutions is not None:
        written += write_solutions(run.path, solutions, env_config.num_solutions)
    return written


@styled
def learning_curves(records: Sequence[Record]) -> Figure:
    """Loss, log Z, total variation (or ELBO) and trajectory length against the step.

    Markov chains have no log Z: acceptance and reward instead of the first two.
    """
    figure = new_figure(10, 6)
    axes = figure.subplots(2, 2, sharex=True)
    first = curves.loss, curves.log_z
    if curves.is_of_chains(records):
        first = curves.acceptance, curves.log_reward
    for ax, draw_curve in zip(axes.flat, (*first, curves.quality, curves.length), strict=True):
        draw_curve(ax, records)
        ax.grid(True)
    for ax in axes[-1]:
        curves.step_axis(ax)
    return figure


@styled
def distributions(views: Views, title: str) -> Figure:
    """Target and learned side by side, or in two rows where there are several panels."""
    rows = {"target": views.target, "learned": views.learned}
    known = {name: panels for name, panels in rows.items() if panels is not None}
    count = len(views.learned)
    if count == 1:
        figure = new_figure(4.6 * len(known), 5.1)
        axes = figure.subplots(1, len(known), sharey=True, squeeze=False)
    else:
        alike = len({_kind(panel) for panel in views.learned}) == 1
        width, height = (2.4, 2.6) if alike else (4.2, 3.2)
        figure = new_figure(width * count + 0.8, height * len(known) + 0.5)
        axes = figure.subplots(len(known), count, squeeze=False)
    panels = [panel for row in known.values() for panel in row]
    names = [name for name, row in known.items() for _ in row]
    for i, (ax, panel, name) in enumerate(zip(axes.flat, panels, names, strict=True)):
        _panel(ax, panel, _scale(panel, panels))
        ax.set_title(name if i % count == 0 else "")
        if count == 1:
            ax.label_outer()
    _colorbars(figure, axes, panels)
    figure.suptitle(title, x=0.01, ha="left", weight="bold")
    return figure


@styled
def summary(records: Sequence[Record], views: Views) -> Figure:
    """One wide figure: target, learned, and the curves that tell whether they agree."""
    learned = f"learned, {_quality_text(records)}"
    rows = [("target", views.target), (learned, views.learned)]
    known = [(name, panels[0]) for name, panels in rows if panels is not None]
    figure = new_figure(4.4 + 3.9 * len(known), 4)
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(0.92 * len(known), 1))[0]
    axes = left.subplots(1, len(known), sharey=True, squeeze=False)[0]
    for ax, (name, panel) in zip(axes, known, strict=True):
        _panel(ax, panel, _scale(panel, [panel for _, panel in known]))
        ax.set_title(name)
        ax.label_outer()
    _colorbars(left, axes, [panel for _, panel in known])
    panels = right.subplots(2, 1, sharex=True)
    second = curves.log_reward if curves.is_of_chains(records) else curves.log_z
    for ax, draw_curve in zip(panels, (curves.quality, second), strict=True):
        draw_curve(ax, records)
        ax.grid(True)
    curves.step_axis(panels[-1])
    return figure


@styled
def objects(env: Any, found: Distributions, title: str) -> Figure:
    """Objects of a `Drawable` environment: the likeliest.

    Of samples the two fittest, and beside them two others as they came. Those that are drawn to
    scale stand in one row, others in two.
    """
    states, notes = _shown_objects(env, found)
    figure = new_figure(2.6 * max(len(notes), 2), 3.5)
    axes = figure.subplots(1, len(notes), squeeze=False)[0]
    for i, (ax, note) in enumerate(zip(axes, notes, strict=True)):
        env.draw(ax, jax.tree.map(lambda x, i=i: x[i], states))
        ax.set_title(f"{ax.get_title(loc='left')}\n{note}")
    if any(ax.get_aspect() == "auto" for ax in axes):
        rows, columns = -(-len(notes) // 2), min(len(notes), 2)
        figure.set_size_inches(5.4 * columns, 3.9 * rows + 0.4)
        grid = figure.add_gridspec(rows, columns)
        for i, ax in enumerate(axes):
            ax.set_subplotspec(grid[i // columns, i % columns])
    figure.suptitle(title, x=0.01, ha="left", weight="bold")
    return figure


def _shown_objects(env: Any, found: Distributions) -> tuple[Any, list[str]]:
    """Distinct objects, best first, and a note on each."""
    first, number = _distinct(env, found.states)
    if found.target is not None:
        learned, target = (np.bincount(number, x) for x in (found.learned, found.target))
        best = np.argsort(-learned, kind="stable")[:NUM_OBJECTS]
        notes = [f"P = {learned[i]:.2g} (target {target[i]:.2g})" for i in best]
        return jax.tree.map(lambda x: x[first[best]], found.states), notes
    log_reward = np.asarray(jax.jit(jax.vmap(env.log_reward))(found.states))
    order = np.argsort(-log_reward[first], kind="stable")
    best, others = first[order[: NUM_OBJECTS // 2]], np.sort(first[order[NUM_OBJECTS // 2 :]])
    kinds = [("fittest", best), ("a sample", others[: NUM_OBJECTS // 2])]
    rounded = [round(float(x), 4) + 0.0 for x in log_reward]  # not -0
    notes = [f"{kind}: log R = {rounded[i]:.6g}" for kind, some in kinds for i in some]
    shown = np.concatenate([some for _, some in kinds])
    return jax.tree.map(lambda x: x[shown], found.states), notes


def _distinct(env: Any, states: Any) -> tuple[np.ndarray, np.ndarray]:
    """Where each object comes first among states `[n, ...]`, and which one each state is `[n]`."""
    alike = jax.jit(jax.vmap(partial(canonical_of, env)))(states)
    leaves = [np.asarray(x) for x in jax.tree.leaves(alike)]
    rows = np.concatenate([x.reshape(len(x), -1) for x in leaves], axis=1)
    _, first, number = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    return first, number.reshape(-1)


def _figures(trained: TrainedRun | Outcome, records: Sequence[Record]) -> list[tuple[str, Figure]]:
    gfn, state, evaluator = trained.gfn, trained.state, trained.evaluator
    title = f"after {max(r['step'] for r in records):,} steps: {_quality_text(records)}"
    figures = [("curves", learning_curves(records))]
    views = evaluator.views(state)
    if views is not None:
        figures += [
            ("distribution", distributions(views, title)),
            ("summary", summary(records, views)),
        ]
    env = _environment(gfn, state)
    if isinstance(env, Drawable):
        figures.append(("objects", objects(env, evaluator.distributions(state), title)))
    return figures + densities.figures(gfn, state, title)


def _environment(gfn: Any, state: Any) -> Any:
    """That of what was trained, whose reward has the numbers in force; None if there is none."""
    if not isinstance(gfn, Contains):
        return getattr(gfn, "env", None)
    gfn, state = gfn.trained(state)
    return gfn.at(state).env


def _quality_text(records: Sequence[Record]) -> str:
    last = {name: curves.column(records, "evaluation", name)[1][-1:] for name in QUALITY}
    if last["total_variation"].size:
        return f"exact TV {last['total_variation'][0]:.4f}"
    if not last["elbo"].size:
        names = {"sampled_tv": "sampled TV", "log_reward": "mean log R"}
        known = [f"{label} {last[name][0]:.4g}" for name, label in names.items() if last[name].size]
        return ", ".join(known)
    truth = f" (log Z {last['true_log_z'][0]:.3f})" if last["true_log_z"].size else ""
    return f"ELBO {last['elbo'][0]:.4g}{truth}"


def _kind(panel: Panel) -> tuple[int, str]:
    """Panels of one kind share a scale: bars along one axis, heat maps of one quantity."""
    return panel.values.ndim, panel.x_label if panel.values.ndim == 1 else panel.quantity


def _scale(panel: Panel, panels: Sequence[Panel]) -> tuple[float, float]:
    """The range of all panels of the same kind, zero included."""
    alike = [p.values for p in panels if _kind(p) == _kind(panel)]
    return min(0.0, *(v.min() for v in alike)), max(0.0, *(v.max() for v in alike))


def _panel(ax: Axes, panel: Panel, scale: tuple[float, float]) -> None:
    """Bars, or a heat map on colours that span `scale`."""
    ax.set_xlabel(panel.x_label)
    if panel.values.ndim == 1:
        _bars(ax, panel, scale)
    else:
        _heat_map(ax, panel, scale)
    if panel.x_ticks:
        ax.set_xticks(range(len(panel.x_ticks)), panel.x_ticks)
        if sum(map(len, panel.x_ticks)) > MOST_LETTERS:
            slanted = {"rotation": 50, "ha": "right", "rotation_mode": "anchor", "fontsize": 8}
            for name in ax.get_xticklabels():
                name.set(**slanted, parse_math=False)
    if panel.y_ticks:
        ax.set_yticks(range(len(panel.y_ticks)), panel.y_ticks)


def _bars(ax: Axes, panel: Panel, scale: tuple[float, float]) -> None:
    low, high = scale
    left, right = panel.bounds or (-0.5, panel.values.size - 0.5)
    width = (right - left) / panel.values.size
    middle = left + width * (np.arange(panel.values.size) + 0.5)
    ax.bar(middle, panel.values, color=BLUE, width=0.85 * width)
    if left % 1 == 0.5 and width % 1 == 0:  # bars stand for whole numbers
        ax.xaxis.set_major_locator(integers())
    label = panel.y_label or panel.quantity
    ax.set(ylim=(1.08 * low, 1.08 * high or 1.0), ylabel=label)


def _heat_map(ax: Axes, panel: Panel, scale: tuple[float, float]) -> None:
    if panel.bounds is None:  # rows and columns are numbers
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(integers())
    ax.set_ylabel(panel.y_label)
    for side in ax.spines.values():
        side.set_visible(False)
    rows, columns = panel.values.shape
    aspect = "equal" if rows == columns else "auto"
    low, high = scale
    where: Any = {"origin": "lower", "aspect": aspect, "extent": panel.bounds}
    ax.imshow(panel.values, cmap=shades(), vmin=low, vmax=high, **where)
    if panel.points is not None:
        ax.plot(*panel.points.T, ".", color=ORANGE, markersize=2.5, markeredgewidth=0, alpha=0.7)


def _colorbars(figure: Figure | SubFigure, axes: np.ndarray, panels: Sequence[Panel]) -> None:
    """One bar for the heat maps of each kind: they share their colours."""
    drawn = list(zip(axes.flat, panels, strict=True))
    for quantity in dict.fromkeys(p.quantity for p in panels if p.values.ndim == 2):
        group = [ax for ax, p in drawn if _kind(p) == (2, quantity)]
        bar = figure.colorbar(group[0].images[0], ax=group, shrink=0.82, pad=0.02, aspect=30)
        bar.outline.set_visible(False)
        bar.set_label(quantity)
        bar.ax.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3), useMathText=True)
