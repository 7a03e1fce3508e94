"""The `gfnjax` command: train, resume, plot, list.

Exit codes: 0 done, 1 training failed, 2 a request that cannot work (one line on stderr says why),
130 and 143 stopped by Ctrl-C and SIGTERM.
"""

import contextlib
import io
import os
import re
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, get_args, get_origin, get_type_hints

import tyro
from jax.errors import JaxRuntimeError

from gfnjax import run
from gfnjax.plot import pictures
from gfnjax.run.catalogue import BACKWARDS, CHAINS, NETWORKS, OBJECTIVES, REGRESSIONS, REPLAYS
from gfnjax.run.checkpoint import CheckpointError
from gfnjax.run.config import Config, E, Loggers, Sampling, Training, UsageError
from gfnjax.run.display import duration
from gfnjax.run.flags import suggest
from gfnjax.run.presets import PRESETS

LIST_WIDTH, NAME_WIDTH = 100, 18
# What some environments measure besides, and how it is printed.
OTHERS = {
    "part_error": ("largest error of a marginal", ".4f"),
    "modes_found": ("modes found", ".0f"),
    "mode_distance": ("bits from the nearest mode", ".1f"),
    "best_parsimony": ("fewest changes", ".0f"),
    "parsimony": ("changes on average", ".1f"),
    "neg_log_rmse": ("-log RMSE of the couplings", ".3f"),
    "acceptance": ("acceptance", ".3f"),
    "worst_total_variation": ("at the worst condition TV", ".4f"),
}
DESCRIPTION = "Train, evaluate and draw GFlowNets: networks that sample objects x with p(x) ~ R(x)."


@dataclass(frozen=True)
class TrainPreset(Generic[E]):
    """The flags of `gfnjax train <environment>`."""

    environment: tyro.conf.Suppress[str]
    env: E
    training: Training
    sampling: Sampling = Sampling()
    loggers: Loggers = Loggers()
    output: Path | None = None
    """folder of the run, new or empty; runs/<environment>-<number> without"""

    def __call__(self) -> int:
        config = Config(self.environment, self.env, self.training, self.loggers, self.sampling)
        return _conclude(run.start(config, self.output))


def _train_preset(name: str) -> Any:
    preset = PRESETS[name]
    default = TrainPreset(name, preset.env, preset.training, preset.sampling)
    command = tyro.conf.subcommand(name, default=default, description=preset.summary)
    generic: Any = TrainPreset  # a type that depends on a value, for the parser alone
    return Annotated[generic[type(preset.env)], command]


AnyPreset: Any = reduce(or_, map(_train_preset, PRESETS))


@dataclass(frozen=True)
class Train:
    """Train on an environment; without flags, on its default size."""

    preset: AnyPreset

    def __call__(self) -> int:
        return self.preset()


@dataclass(frozen=True)
class Resume:
    """Go on with a run that was interrupted, as if it had not been."""

    run: tyro.conf.Positional[Path]
    """folder of the run"""
    steps: int | None = None
    """new total number of steps, to extend the run; its --stop-at-tv no longer applies"""

    def __call__(self) -> int:
        return _conclude(run.resume(self.run, self.steps))


@dataclass(frozen=True)
class Plot:
    """Draw the pictures of a run, from its metrics and newest checkpoint."""

    run: tyro.conf.Positional[Path]
    """folder of the run"""

    def __call__(self) -> int:
        print(f"pictures: {_names(pictures.draw(self.run))}")
        return 0


@dataclass(frozen=True)
class List:
    """List environments, objectives, backward policies and regressions."""

    def __call__(self) -> int:
        print("environments: gfnjax train NAME, with these and other flags")
        for name, preset in PRESETS.items():
            print(_entry(name, preset.summary.split()))
            if flags := _flags(preset.env):
                print(_entry("", flags, gap="  "))
            print(_entry("", [_settings(preset.training)]))
        tables = {"objective": {**OBJECTIVES, **CHAINS}, "network": NETWORKS}
        tables |= {"backward": BACKWARDS, "replay": REPLAYS, "regression": REGRESSIONS}
        for flag, table in tables.items():
            print(f"\n--{flag}")
            for name, (summary, _) in table.items():
                print(_entry(name, summary.split()))
        return 0


Command = (
    Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Resume, tyro.conf.subcommand("resume")]
    | Annotated[Plot, tyro.conf.subcommand("plot")]
    | Annotated[List, tyro.conf.subcommand("list")]
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: _say(f"warning: {message}")
        try:
            command = _parse(arguments or ["--help"])
            return 0 if command is None else command()
        except (UsageError, CheckpointError) as error:
            return _fail(2, error)
        except BrokenPipeError:
            # Whoever read our output has gone; closing it must not complain as well.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except (run.RunFailedError, JaxRuntimeError, OSError) as error:
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


def _parse(arguments: Sequence[str]) -> Any:
    """The command, or None after a help text; a `UsageError` of one line for anything else."""
    if arguments[0] == "train" and len(arguments) > 1:
        name = arguments[1]
        if not name.startswith("-") and name not in PRESETS:
            hint = suggest(name, PRESETS)
            raise UsageError(f"there is no environment {name!r}{hint} (see gfnjax list)")
    errors = io.StringIO()
    flat = tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes, tyro.conf.FlagCreatePairsOff
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(
                Command, prog="gfnjax", description=DESCRIPTION, args=arguments, config=flat
            )
    except SystemExit as stop:
        if not stop.code:
            return None
        raise UsageError(one_line(errors.getvalue())) from None


def one_line(box: str) -> str:
    """A framed message of the argument parser as one line, without its help texts."""
    sections: list[list[str]] = [[]]
    for line in re.sub(r"\x1b\[[0-9;]*m", "", box).splitlines():
        text = line.strip("│ ")
        if re.fullmatch(r"[─-]{9,}|[╭╰].*", text):  # the frame, and rules within
            sections.append([])
        else:
            sections[-1].append(text)
    if "╭" not in box:  # without box-drawing characters the title comes first, on its own
        del sections[0]
    sentences = [" ".join(filter(None, lines)).rstrip(".") for lines in sections]
    hints = "For full helptext", "Argument helptext"
    message = "; ".join(s for s in sentences if s and not s.startswith(hints))
    # Values that do not go together are reported under the parser's internal name.
    message = re.sub(r"Error parsing \S*dummy\S*: ", "", message)
    return f"{message} (see gfnjax --help)"


def _conclude(outcome: run.Outcome) -> int:
    directory, step = outcome.run.path, int(outcome.state.step)
    if outcome.ending == "interrupted":
        print(f"stopped at step {step:,}; go on with: gfnjax resume {directory}", flush=True)
        return 128 + (outcome.signal or 0)
    if outcome.ending == "nothing to do":
        print(f"{directory} is finished; to extend it: gfnjax resume {directory} --steps N")
        print(_results(step, outcome))
        return 0
    print(_results(step, outcome), flush=True)
    print(f"pictures   {_names(pictures.draw(directory))}")
    return 0


def _results(step: int, outcome: run.Outcome) -> str:
    found = outcome.evaluation
    speed = "" if outcome.rate is None else f", {outcome.rate:,.0f} steps/s once compiled"
    truth = ""  # Markov chains have no log Z
    reached = " (stopped at the wanted total variation)" if outcome.ending == "reached" else ""
    if "total_variation" in found:
        # Divergences below rounding errors can come out negative.
        kl, reverse, jsd = (max(found[k], 0.0) for k in ("kl", "reverse_kl", "jsd"))
        quality = (
            f"exact TV   {found['total_variation']:.4f}  "
            f"(KL {kl:.2g}, reverse KL {reverse:.2g}, JSD {jsd:.2g} nats)"
        )
        truth = f"truth {found['true_log_z']:.4f}, error {found['log_z_error']:.4f}"
    elif "elbo" not in found:
        quality = f"log R      {found['log_reward']:.4f} on average over objects visited"
        if "sampled_tv" in found:
            tv, floor = found["sampled_tv"], found["noise_floor"]
            quality += f"; their TV {tv:.4f} (independent draws {floor:.4f})"
    else:
        quality = f"ELBO       {found['elbo']:.4f} nats, from samples: too many states to enumerate"
        truth = f"by importance sampling {found['importance_log_z']:.4f}"
        if "true_log_z" in found:
            truth = f"truth {found['true_log_z']:.4f}, {truth}"
    lines = [f"steps      {step:,}{reached} in {duration(outcome.seconds)}{speed}", quality]
    if truth:
        lines.append(f"log Z      {found['log_z']:.4f}  ({truth})")
    others = [
        f"{label} {found[name]:{form}}" for name, (label, form) in OTHERS.items() if name in found
    ]
    return "\n".join([*lines, *([f"also       {', '.join(others)}"] if others else [])])


def _entry(name: str, words: Sequence[str], gap: str = " ") -> str:
    """A name and what belongs to it, on lines of at most 100 characters."""
    lines = [""]
    for word in words:
        longer = lines[-1] + gap + word if lines[-1] else word
        if len(longer) > LIST_WIDTH - NAME_WIDTH - 3:
            lines.append(word)
        else:
            lines[-1] = longer
    names = [name, *[""] * (len(lines) - 1)]
    return "\n".join(f"  {n:<{NAME_WIDTH}} {x}" for n, x in zip(names, lines, strict=True))


def _settings(training: Training) -> str:
    names = (
        training.objective,
        training.network,
        f"{training.backward or 'learned'} backward policy",
    )
    return f"({', '.join(names)}, batch {training.batch_size}, {training.steps:,} steps)"


def _flags(env: Any) -> list[str]:
    """`--flag default`, or the alternatives of every field."""
    hints = get_type_hints(type(env))
    return [_flag(f.name, hints[f.name], getattr(env, f.name)) for f in fields(env)]


def _flag(name: str, hint: Any, value: Any) -> str:
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return f"[{flag}]"
    if value is None:
        kind = next(t for t in get_args(hint) if t is not type(None))
        return f"[{flag} {'FILE' if kind is str else 'NUMBER'}]"
    alternatives = get_args(hint) if get_origin(hint) is Literal else ()
    return f"{flag} {'|'.join(map(str, alternatives)) or value}"


def _names(paths: Sequence[Path]) -> str:
    return f"{paths[0].parent}: {', '.join(path.name for path in paths)}"
