"""Processes meet before JAX connects them, for JAX ends a process instead of saying what is wrong.

Process 0 listens where its coordinator will; each other one says what it was told, and all get the
same verdict. Nothing is left open afterwards.
"""

import json
import socket
import time
from contextlib import ExitStack
from importlib.metadata import version
from typing import Any

import jax

from gfnjax.errors import ArgumentError
from gfnjax.run.config import UsageError

GREETING = "gfnjax"
MOST_BYTES = 10_000
PATIENCE = 5.0  # seconds, for a single answer
RETRY_SECONDS = 0.1


def address_of(coordinator: str) -> tuple[str, int]:
    """Host and port.

    Raises:
        ArgumentError: for anything but "host:port".
    """
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 2**16:
        raise ArgumentError("coordinator", f"must be host:port, got {coordinator!r}")
    return host.strip("[]"), int(port)


def meet(coordinator: str, num_processes: int, process_id: int, timeout: float) -> None:
    """Wait until all processes are there, and agree on what they were told.

    Raises:
        UsageError: if they do not; in all that have come, with the same words.
    """
    said = {
        "greeting": GREETING,
        "num_processes": num_processes,
        "process_id": process_id,
        "versions": {"gfnjax": version("gfnjax"), "jax": jax.__version__},
    }
    deadline = time.monotonic() + timeout
    if process_id == 0:
        problem = _receive(coordinator, said, deadline, timeout)
    else:
        problem = _report(coordinator, said, deadline, timeout)
    if problem:
        raise UsageError.of(ArgumentError(*problem))


def _receive(coordinator: str, own: Any, deadline: float, timeout: float) -> list[str] | None:
    """Wait for all others, and tell them what was found."""
    port, count = address_of(coordinator)[1], own["num_processes"]
    present: dict[int, Any] = {0: own}
    problem: list[str] | None = None
    try:
        server = _listen(port, count)
    except OSError as error:
        return ["coordinator", f"cannot use port {port} of this machine: {error.strerror}"]
    with ExitStack() as stack:
        stack.enter_context(server)
        others = []
        while problem is None and len(present) < count:
            server.settimeout(max(deadline - time.monotonic(), 1e-3))
            try:
                connection = stack.enter_context(server.accept()[0])
            except TimeoutError:
                missing = ", ".join(str(i) for i in range(count) if i not in present)
                found = f"has met {len(present)} of {count} processes within {timeout:g} s"
                problem = ["coordinator", f"{found}: {missing} did not come"]
                break
            if (said := _read(connection)) is None:
                continue  # whoever looks for open ports
            others.append(connection)
            problem = _conflict(own, said, present)
            present[said["process_id"]] = said
        for connection in others:
            _write(connection, {"greeting": GREETING, "problem": problem})
    return problem


def _report(coordinator: str, own: Any, deadline: float, timeout: float) -> list[str] | None:
    """Tell process 0, and wait for what it has found."""
    reason = "no answer"
    while (left := deadline - time.monotonic()) > 0:
        try:
            with socket.create_connection(address_of(coordinator), min(left, PATIENCE)) as server:
                _write(server, own)
                # Process 0 may have come later, and waits as long.
                server.settimeout(timeout + PATIENCE)
                if (verdict := _read(server, None)) is not None:
                    return verdict["problem"]
                reason = "what answers there is no process of gfnjax"
        except OSError as error:
            reason = error.strerror or str(error)
        time.sleep(RETRY_SECONDS)
    problem = (
        f"{coordinator} cannot be reached within {timeout:g} s ({reason}): is process 0 there?"
    )
    return ["coordinator", problem]


def _conflict(own: Any, said: Any, present: dict[int, Any]) -> list[str] | None:
    number, count = said["process_id"], own["num_processes"]
    if said["num_processes"] != count:
        problem = f"is {count} for process 0 and {said['num_processes']} for process {number}"
        return ["num_processes", f"{problem}: it must be the same for all"]
    if number in present:
        return ["process_id", f"must differ between processes, got {number} from two of them"]
    for name, ours in own["versions"].items():
        if said["versions"].get(name) != ours:
            problem = f"has {name} {ours}, process {number} has {said['versions'].get(name)}"
            return ["coordinator", f"{problem}: install the same version for all"]
    return None


def _listen(port: int, count: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        options: Any = {"family": socket.AF_INET6, "dualstack_ipv6": True}
        return socket.create_server(("", port), backlog=count, **options)
    return socket.create_server(("", port), backlog=count)


def _write(connection: socket.socket, value: Any) -> None:
    try:
        connection.sendall(json.dumps(value).encode() + b"\n")
    except OSError:
        return  # has gone; nobody is left to be told


def _read(connection: socket.socket, patience: float | None = PATIENCE) -> Any:
    """A line as JSON; None for anything else than what `meet` writes."""
    if patience is not None:
        connection.settimeout(patience)
    try:
        with connection.makefile("rb") as file:
            value = json.loads(file.readline(MOST_BYTES))
    except (OSError, ValueError):
        return None
    known = isinstance(value, dict) and value.get("greeting") == GREETING
    return value if known else None
