"""Pictures of samplers of densities: where samples are, and how they came there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from gfnjax.envs.diffusion import Diffusion
from gfnjax.plot.curves import BLUE, INK, ORANGE
from gfnjax.plot.style import integers, new_figure, shades, styled
from gfnjax.rewards.densities import KnownDensity, ManyWell

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NUM_DRAWN = 1_000
NUM_PATHS = 40
GRID = 160
NUM_BINS = 60
# Contours at log R below its top by these, in nats.
LEVELS = (16.0, 8.0, 4.0, 2.0, 1.0, 0.5)


@styled
def samples(env: Any, learned: np.ndarray, paths: np.ndarray, title: str) -> Figure:
    """Samples `[n, d]` over contours of log R, and paths `[k, T + 1, d]` from the origin.

    In more than two dimensions contours are those through exact samples' mean, of the first two
    coordinates, and paths show the first coordinate against the time.
    """
    figure = new_figure(10, 4.8)
    left, right = figure.subplots(1, 2)
    exact = _exact(env, len(learned))
    bounds = _bounds(learned if exact is None else exact, paths)
    if env.dim == 1:
        _bars(left, learned, exact)
    else:
        _contours(left, env, bounds)
        left.scatter(*learned[:, :2].T, s=4, color=ORANGE, alpha=0.6, linewidth=0)
        left.set(xlabel="first coordinate", ylabel="second coordinate", xlim=bounds[0])
        left.set(ylim=bounds[1])
    left.set_title(f"{len(learned):,} samples")
    if env.dim == 2:
        _contours(right, env, bounds)
        for path in paths:
            right.plot(*path.T, color=BLUE, alpha=0.35, linewidth=0.7)
        right.scatter(*paths[:, -1].T, s=10, color=ORANGE, zorder=3)
        right.set(xlabel="first coordinate", xlim=bounds[0], ylim=bounds[1])
    else:
        time = np.linspace(0, 1, paths.shape[1])
        right.plot(time, paths[:, :, 0].T, color=BLUE, alpha=0.35, linewidth=0.7)
        right.set(xlabel="time", ylabel="first coordinate")
    right.set_title(f"{len(paths)} trajectories")
    figure.suptitle(title, x=0.01, ha="left", weight="bold")
    return figure


@styled
def wells(env: Any, learned: np.ndarray, title: str) -> Figure:
    """First coordinates of the pairs of a `ManyWell`, and how often each is in the left well."""
    figure = new_figure(10, 3.8)
    left, right = figure.subplots(1, 2)
    exact = _exact(env, 20_000)
    assert exact is not None
    bins = np.linspace(-3, 3, NUM_BINS + 1)
    options: Any = {"bins": bins, "density": True}
    left.hist(learned[:, ::2].ravel(), color=BLUE, alpha=0.7, label="learned", **options)
    step = {"histtype": "step", "color": ORANGE, "linewidth": 1.6, "label": "target"}
    left.hist(exact[:, ::2].ravel(), **options, **step)
    left.legend(loc="upper left")
    left.set(xlabel="x, the first of a pair", ylabel="density")
    left.set_title("marginal, all pairs together")
    share = (learned[:, ::2] < 0).mean(axis=0)
    right.bar(np.arange(1, share.size + 1), share, color=BLUE)
    truth = (exact[:, ::2] < 0).mean()
    right.axhline(truth, color=ORANGE, linestyle=(0, (4, 2)), label=f"target {truth:.3f}")
    right.set(xlabel="pair", ylabel="share of samples", ylim=(0, 1.3 * max(truth, share.max())))
    right.xaxis.set_major_locator(integers())
    right.legend(loc="upper left")
    right.set_title("in the left, lighter well")
    figure.suptitle(title, x=0.01, ha="left", weight="bold")
    return figure


def figures(gfn: Any, state: Any, title: str) -> list[tuple[str, Figure]]:
    """What there is to draw of a run whose environment is a `Diffusion`; else nothing."""
    env = getattr(gfn, "env", None)
    if not isinstance(env, Diffusion):
        return []
    found = gfn.sample(state.params, jax.random.key(0), NUM_DRAWN)
    x = np.asarray(found.states.x)
    drawn = [("samples", samples(env, x[:, -1], x[:NUM_PATHS], title))]
    if isinstance(env.reward, ManyWell):
        drawn.append(("wells", wells(env, x[:, -1], title)))
    return drawn


def _exact(env: Any, count: int) -> np.ndarray | None:
    if not isinstance(env.reward, KnownDensity):
        return None
    return np.asarray(env.reward.sample(jax.random.key(0), count))


def _bounds(points: np.ndarray, paths: np.ndarray) -> list[tuple[float, float]]:
    """Of the first two coordinates: where points are, the origin among them."""
    found = []
    for d in range(min(points.shape[1], 2)):
        low, high = np.quantile(np.append(points[:, d], 0.0), (0.002, 0.998))
        margin = 0.1 * max(high - low, 1e-3)
        found.append((low - margin, high + margin))
    return found


def _contours(ax: Axes, env: Any, bounds: list[tuple[float, float]]) -> None:
    """log R of the first two coordinates, the others where exact samples are in the mean."""
    x, y = (np.linspace(*ends, GRID) for ends in bounds)
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    exact = _exact(env, NUM_DRAWN)
    rest = np.zeros(env.dim - 2) if exact is None else exact[:, 2:].mean(axis=0)
    points = np.concatenate([grid, np.tile(rest, (len(grid), 1))], axis=1)
    dtype = jax.dtypes.canonicalize_dtype(float)
    values = np.asarray(jax.vmap(env.reward)(points.astype(dtype))).reshape(GRID, GRID)
    top = np.max(values[np.isfinite(values)], initial=-1e30)
    levels = [top - level for level in LEVELS]
    ax.contourf(x, y, values, levels=[*levels, top + 1e-3], cmap=shades(), extend="min", alpha=0.7)
    ax.contour(x, y, values, levels=levels, colors=INK, linewidths=0.3)


def _bars(ax: Axes, learned: np.ndarray, exact: np.ndarray | None) -> None:
    ax.hist(learned[:, 0], bins=NUM_BINS, density=True, color=BLUE, alpha=0.7, label="learned")
    if exact is not None:
        options: Any = {"histtype": "step", "color": ORANGE, "linewidth": 1.6, "label": "target"}
        ax.hist(exact[:, 0], bins=NUM_BINS, density=True, **options)
    ax.legend(loc="best")
    ax.set(xlabel="x", ylabel="density")
