"""Several processes, on one host or many, as one JAX program: how they find each other."""

from dataclasses import dataclass
from typing import Any

import jax

from gfnjax.arguments import whole
from gfnjax.errors import ArgumentError
from gfnjax.run.config import UsageError
from gfnjax.run.meeting import address_of, meet

WAIT_SECONDS = 60.0
# After so long without a sign of life a process counts as dead, and all others end.
HEARTBEAT_SECONDS = 100


@dataclass(frozen=True)
class Hosts:
    """Where a process belongs; without any of it, a process is alone.

    Attributes:
        coordinator: "host:port" of process 0, as all others reach it; the port must be free.
        num_processes: how many there are.
        process_id: of this one, from 0 on.
        detect: ask SLURM, Open MPI, a TPU pod or Kubernetes instead, as JAX knows them.

    Raises:
        UsageError: for values that are not whole or not in range.
    """

    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None
    detect: bool = False

    def __post_init__(self) -> None:
        try:
            self._check()
        except ArgumentError as error:
            raise UsageError.of(error) from error

    @property
    def given(self) -> dict[str, Any]:
        """What has been said, by name."""
        found = {name: getattr(self, name) for name in PARTS}
        return {name: value for name, value in found.items() if value is not None}

    def _check(self) -> None:
        given = self.given
        if self.detect and given:
            problem = "is detected with {distributed|detect=True}: leave out one of them"
            raise ArgumentError(next(iter(given)), problem)
        if missing := [name for name in PARTS if given and name not in given]:
            raise ArgumentError(missing[0], f"must be given with {{{next(iter(given))}}}")
        if not given:
            return
        address_of(str(self.coordinator))
        count = whole("num_processes", self.num_processes, least=1)
        number = whole("process_id", self.process_id, least=0)
        if number >= count:
            problem = f"must be below {{num_processes}}, which is {count}, got {number}"
            raise ArgumentError("process_id", problem)


PARTS = ("coordinator", "num_processes", "process_id")


def connect(
    hosts: Hosts, timeout: float = WAIT_SECONDS, heartbeat: int = HEARTBEAT_SECONDS
) -> None:
    """Join the other processes; before anything is computed, and in each of them.

    Does nothing for a process that is alone, or has joined before.

    Args:
        hosts: where this process belongs.
        timeout: seconds to wait for the others.
        heartbeat: seconds after which a process that is silent counts as dead. JAX then ends the
            others; it leaves them no way to go on.

    Raises:
        UsageError: if they do not come, were told something else, or nothing is detected.
    """
    alone = not hosts.detect and hosts.num_processes in (None, 1)
    if alone or jax.distributed.is_initialized():
        return
    # It would take SIGTERM for itself, which is to stop all processes after the same chunk.
    jax.config.update("jax_enable_preemption_service", False)
    if not hosts.detect:
        # JAX ends a process in which it cannot connect; what keeps it from it is found before.
        meet(**hosts.given, timeout=timeout)
    try:
        jax.distributed.initialize(
            hosts.coordinator,
            hosts.num_processes,
            hosts.process_id,
            cluster_detection_method=None if hosts.detect else "deactivate",
            initialization_timeout=max(round(timeout), 1),
            heartbeat_timeout_seconds=heartbeat,
        )
    except (RuntimeError, TypeError, ValueError) as error:
        raise _refused(hosts, error) from error


def _refused(hosts: Hosts, error: Exception) -> UsageError:
    reason = str(error).splitlines()[0]
    if type(error) is RuntimeError:  # JAX's own word for being too late
        return UsageError("hosts must be connected before JAX computes anything")
    if hosts.detect:
        problem = (
            f"finds nothing that JAX knows, SLURM, Open MPI, a TPU pod or Kubernetes ({reason}): "
            "say {coordinator}, {num_processes} and {process_id}"
        )
        subject = "{distributed|detect=True}"
        return UsageError.of(ArgumentError("detect", problem, subject=subject))
    return UsageError.of(ArgumentError("coordinator", f"cannot be used: {reason}"))
