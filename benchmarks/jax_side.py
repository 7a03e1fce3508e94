"""What both libraries that run on JAX report about it."""

from typing import Any

import jax

COMPILING = "/jax/core/compile/"


def watch_compilation() -> dict[str, float]:
    """Seconds of tracing, lowering and compiling from now on, under the key "seconds"."""
    total = {"seconds": 0.0}

    def listen(event: str, seconds: float, **_: Any) -> None:
        if event.startswith(COMPILING):
            total["seconds"] += seconds

    jax.monitoring.register_event_duration_secs_listener(listen)
    return total


def about() -> dict[str, Any]:
    device = jax.devices()[0]
    return {
        "framework": f"jax {jax.__version__}",
        "device": device.device_kind,
        "platform": device.platform,
    }


def peak_device_bytes() -> int | None:
    """Where the device counts it; CPUs do not."""
    stats = jax.devices()[0].memory_stats() or {}
    return stats.get("peak_bytes_in_use")
