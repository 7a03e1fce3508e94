"""Curves of a run against its steps: one function a panel, from the records of metrics.jsonl."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gfnjax.envs.drawing import BLUE as BLUE
from gfnjax.envs.drawing import FAINT as FAINT
from gfnjax.envs.drawing import INK as INK
from gfnjax.envs.drawing import ORANGE as ORANGE
from gfnjax.run.directory import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def column(records: Sequence[Record], kind: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values `[n]` of one metric; what is not finite is left out."""
    found = [(r["step"], r[name]) for r in records if r["kind"] == kind and name in r]
    pairs = np.array(found, float).reshape(-1, 2)
    steps, values = pairs[np.isfinite(pairs[:, 1])].T
    return steps, values


def smooth(values: np.ndarray, width: int) -> np.ndarray:
    """Moving average `[n]` over `width` entries around each, fewer at the ends."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(values.size)
    low = np.maximum(index - width // 2, 0)
    high = np.minimum(index + (width + 1) // 2, values.size)
    return (total[high] - total[low]) / (high - low)


def _raw_and_smooth(ax: Axes, steps: np.ndarray, values: np.ndarray) -> None:
    ax.plot(steps, values, color=FAINT, linewidth=0.8)
    ax.plot(steps, smooth(values, max(values.size // 40, 1)), color=BLUE, linewidth=1.8)


def loss(ax: Axes, records: Sequence[Record]) -> None:
    """The mean loss of every few steps."""
    steps, values = column(records, "train", "loss")
    _raw_and_smooth(ax, steps, values)
    if (values > 0).any():
        log_axis(ax)
    ax.set_title("loss")


def log_z(ax: Axes, records: Sequence[Record]) -> None:
    """The estimate, beside the truth where it is known."""
    ax.plot(*column(records, "train", "log_z"), color=BLUE, linewidth=1.8, label="estimate")
    _truth(ax, records)
    ax.set_title("log Z")


def is_of_chains(records: Sequence[Record]) -> bool:
    """Whether Markov chains made the records: they have no log Z."""
    return not any("log_z" in r for r in records if r["kind"] == "train")


def acceptance(ax: Axes, records: Sequence[Record]) -> None:
    """The share of Markov chains that move."""
    _raw_and_smooth(ax, *column(records, "train", "acceptance"))
    ax.set_title("acceptance")


def log_reward(ax: Axes, records: Sequence[Record]) -> None:
    """The mean log R of the batches, or of where chains are."""
    _raw_and_smooth(ax, *column(records, "train", "log_reward"))
    ax.set_title("mean log reward")


def _truth(ax: Axes, records: Sequence[Record], name: str = "truth") -> None:
    """The true log Z, where it is known."""
    truth = column(records, "evaluation", "true_log_z")[1]
    if truth.size:
        ax.axhline(truth[-1], color=ORANGE, linestyle=(0, (4, 2)), label=f"{name} {truth[-1]:.3f}")
        ax.legend(loc="best")


def quality(ax: Axes, records: Sequence[Record]) -> None:
    """Exact total variation, or what stands in for it."""
    steps, values = column(records, "evaluation", "total_variation")
    if values.size:
        ax.plot(steps, values, color=BLUE, linewidth=1.8, marker="o", markersize=3.5)
        log_axis(ax)
        ax.set_title("exact total variation")
    elif is_of_chains(records):
        _visits(ax, records)
    else:
        ax.plot(*column(records, "evaluation", "elbo"), color=BLUE, linewidth=1.8, label="ELBO")
        _truth(ax, records, "log Z")
        ax.set_title("ELBO")


def _visits(ax: Axes, records: Sequence[Record]) -> None:
    """How far the frequencies of what chains visit are from the target, or its mean reward."""
    steps, values = column(records, "evaluation", "sampled_tv")
    if not values.size:
        ax.plot(*column(records, "evaluation", "log_reward"), color=BLUE, linewidth=1.8)
        ax.set_title("mean log reward of objects visited")
        return
    floor = column(records, "evaluation", "noise_floor")
    ax.plot(steps, values, color=BLUE, linewidth=1.8, marker="o", markersize=3.5, label="chains")
    ax.plot(*floor, color=ORANGE, linestyle=(0, (4, 2)), label="independent draws")
    log_axis(ax)
    ax.legend(loc="best")
    ax.set_title("total variation of objects visited")


def length(ax: Axes, records: Sequence[Record]) -> None:
    """The length of trajectories; their reward, where all are equally long."""
    steps, values = column(records, "train", "length")
    title = "mean trajectory length"
    if values.size and (values == values[0]).all():
        rewards = column(records, "train", "log_reward")
        if rewards[1].size:
            (steps, values), title = rewards, "mean log reward"
    _raw_and_smooth(ax, steps, values)
    ax.set_title(title)


def step_axis(ax: Axes) -> None:
    """The axis below the lowest panels."""
    ax.set_xlabel("training step")
    ax.xaxis.set_major_formatter("{x:,.0f}")


def log_axis(ax: Axes) -> None:
    """Make the values of a panel logarithmic where they span more than a factor of two."""
    low, high = ax.dataLim.intervaly
    if low > 0 and high < 2 * low:
        return  # too little to tell apart on a logarithmic axis
    ax.set_yscale("log", nonpositive="mask")
    low, high = ax.get_ylim()
    if high < 100 * low:
        from matplotlib.ticker import LogLocator, NullFormatter

        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.yaxis.set_major_formatter("{x:g}")
