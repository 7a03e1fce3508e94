"""What a library's runner hands to the worker; nothing is imported that a peer might lack."""

import os
import platform
import resource
import sys
from collections.abc import Callable
from typing import Any, Literal, NamedTuple


class Request(NamedTuple):
    """What to train; only gfnjax has presets, and starts of log Z but 0."""

    task: str
    preset: bool = False
    batch_size: int | None = None
    seed: int = 0
    log_z_start: Literal["batch", "zero"] | None = None


class Counts(NamedTuple):
    """What some steps have sampled; a transition is live where it belongs to a trajectory."""

    trajectories: int
    transitions: int


class Trainer(NamedTuple):
    """One library's run of a task.

    Attributes:
        about: version, framework, device, batch size, network, parameters: for the records.
        run: train from the start for some steps and wait for it; from where the last call ended,
            if its second argument is true.
        logits: where the policy can be measured, `[S, actions]` in states `[S, ...]` as
            `benchmarks.measures` writes them; -inf where an action is not allowed.
    """

    about: dict[str, Any]
    run: Callable[[int, bool], Counts]
    logits: Callable[[Any], Any] | None = None


def num_cores() -> int:
    """That this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def peak_resident_bytes() -> int:
    """The largest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def host() -> dict[str, Any]:
    return {
        "machine": platform.machine(),
        "cores": num_cores(),
        "python": platform.python_version(),
    }
