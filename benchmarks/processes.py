"""Workers as the parent sees them: started, asked, stopped."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
ENVIRONMENTS = ROOT / "benchmarks" / ".venvs"


class Worker(NamedTuple):
    """`about` is what it says of itself after its first step."""

    process: subprocess.Popen
    about: dict[str, Any]


class WorkerError(RuntimeError):
    """A worker that has ended before it answered; its own words are on stderr."""


def python_of(library: str) -> Path:
    """The Python that has the library.

    Raises:
        FileNotFoundError: where the library has not been installed.
    """
    if library == "gfnjax":
        return Path(sys.executable)
    path = ENVIRONMENTS / library / "bin" / "python"
    if not path.exists():
        raise FileNotFoundError(f"{library} is not installed: python -m benchmarks peers")
    return path


def start(library: str, task: str, *flags: str) -> Worker:
    """A worker after its first step.

    Raises:
        FileNotFoundError, WorkerError: where it cannot be started, for want of the library or of
            a data file, for instance.
    """
    command = [str(python_of(library)), "-m", "benchmarks.worker", library, task, *flags]
    # What was compiled before would make the first step look fast.
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    environment["PYTHONPATH"] = str(ROOT)
    # Of a GPU: two libraries at a time set memory aside on it.
    environment.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.4")
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    about = _read(process, f"{library} on {task}")
    if "missing" in about:
        process.communicate()
        raise FileNotFoundError(about["missing"])
    return Worker(process, about)


def ask(worker: Worker, **question: Any) -> dict[str, Any]:
    """Raises a `WorkerError` where it ends instead of answering."""
    stdin = worker.process.stdin
    assert stdin is not None
    print(json.dumps(question), file=stdin, flush=True)
    about = worker.about
    return _read(worker.process, f"{about['library']} on {about['task']}")


def stop(worker: Worker) -> None:
    """It ends when there is nothing more to read."""
    worker.process.communicate()


def _read(process: subprocess.Popen, name: str) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        process.communicate()
        raise WorkerError(f"{name} has ended with exit status {process.returncode}")
    return json.loads(line)
