"""A CPU as as many devices as it has cores."""

import contextlib
import os

import jax


def use_cores(num_devices: int | None = None) -> None:
    """Let JAX see a device a core on a CPU, or `num_devices`; other hardware is as it was.

    Small operations keep no more than one core busy: members of a sweep on a device each keep all.
    Nothing changes where the user has said how many there are, or JAX has begun already.
    """
    asked = getattr(jax.config, "jax_num_cpu_devices", -1)
    if asked > 0 or "host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", num_devices or count or 1)
