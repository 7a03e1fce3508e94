"""The `gfnjax` command: train, sweep, search, resume, report, plot, sample, reproduce, list.

Exit codes: 0 done, 1 training failed, 2 a request that cannot work (one line on stderr says why),
130 and 143 stopped by Ctrl-C and SIGTERM.
"""

import os
import sys
import warnings
from collections.abc import Sequence

from jax.errors import JaxRuntimeError

from gfnjax import run
from gfnjax.cli import reproduce_commands, sampling, search_commands, sweep_commands
from gfnjax.cli.beginning import begin
from gfnjax.cli.listing import listing
from gfnjax.cli.parser import Command, List, Plot, Report, Reproduce, Resume, Sample, Train, parse
from gfnjax.cli.reports import conclude, names
from gfnjax.cli.search_parser import Searched
from gfnjax.cli.sweep_parser import Sweep
from gfnjax.cli.wording import Told, speaking_of
from gfnjax.plot import pictures
from gfnjax.run.checkpoint import CheckpointError
from gfnjax.run.config import UsageError
from gfnjax.run.directory import RunDirectory
from gfnjax.run.processes import ProcessError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: _say(f"warning: {message}")
        try:
            command, notes = parse(begin(arguments))
            for note in notes:
                _say(f"warning: {note}")
            return 0 if command is None else _carry_out(command)
        except Told as told:
            return _fail(1 if isinstance(told.__cause__, run.RunFailedError) else 2, told)
        except (UsageError, CheckpointError) as error:
            return _fail(2, error)
        except BrokenPipeError:
            # Whoever read our output has gone; closing it must not complain as well.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except (run.RunFailedError, ProcessError, JaxRuntimeError, OSError) as error:
            return _fail(1, error)
        except KeyboardInterrupt:
            return _fail(130, "interrupted")


def _fail(code: int, reason: object) -> int:
    lines = str(reason).splitlines() or [type(reason).__name__]
    # What a function on the host raises comes with the traceback in front of the message.
    _say(lines[-1] if "Traceback" in lines[0] else lines[0])
    return code


def _say(text: str) -> None:
    print(f"gfnjax: {text}", file=sys.stderr, flush=True)


def _carry_out(command: Command) -> int:
    match command:
        case Train(config, output):
            with speaking_of(lambda: config):
                return conclude(run.start(config, output))
        case Sweep():
            return sweep_commands.carry_out(command)
        case Searched():
            return search_commands.carry_out(command)
        case Resume(path) if search_commands.is_search(path):
            return search_commands.go_on(command)
        case Plot(path) | Report(path) if search_commands.is_search(path):
            return search_commands.tell(path, getattr(command, "metric", None))
        case Resume(path) if sweep_commands.is_sweep(path):
            return sweep_commands.go_on(command)
        case Plot(path) if sweep_commands.is_sweep(path):
            return sweep_commands.tell(Report(path))
        case Report():
            return sweep_commands.tell(command)
        case Resume(path, steps):
            with speaking_of(RunDirectory(path).read_config):
                return conclude(run.resume(path, steps))
        case Plot(path):
            print(f"pictures: {names(pictures.draw(path))}")
        case Sample():
            print("\n".join(sampling.lines(command)))
        case Reproduce():
            return reproduce_commands.carry_out(command)
        case List():
            print(listing())
    return 0
