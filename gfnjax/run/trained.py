"""A run on disk as a value: `run = gfnjax.load("runs/hypergrid-1")`, `run.sample(1000)`."""

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

from gfnjax.arguments import check_key, whole
from gfnjax.errors import ArgumentError
from gfnjax.gflownet import GFlowNet
from gfnjax.run import checkpoint
from gfnjax.run.build import Described, describe, initial_state, run_key
from gfnjax.run.config import Config, UsageError
from gfnjax.run.directory import Record, RunDirectory
from gfnjax.run.evaluation import Evaluator, make_evaluator
from gfnjax.run.sweeps import kept
from gfnjax.run.sweeps.directory import SweepDirectory
from gfnjax.run.writing import ReadsPrompts, WrittenText, after_new, text_rules, written
from gfnjax.training import RunInfo, RunState
from gfnjax.types import Array, Trajectory


@runtime_checkable
class _Samples(Protocol):
    """A `Trainable` that can be sampled from in the state of a run."""

    def sample(self, state: RunState, key: Array, num_samples: int) -> Trajectory: ...


@runtime_checkable
class Contains(Protocol):
    """A `Trainable` that is, or contains, a GFlowNet."""

    def trained(self, state: RunState) -> tuple[Any, Any]: ...


@dataclass(frozen=True)
class TrainedRun:
    """A run as its folder has it, at one of its checkpoints; nothing here changes the folder.

    Training goes on in memory with `gfnjax.train(run.gfn, run.state, num_steps)`, and in the folder
    with `gfnjax resume`.

    Attributes:
        path: the folder.
        config: what was asked for.
        gfn: what was trained: a `GFlowNet`, for EB-GFN an `EnergyGFlowNet`, or `MarkovChains`.
        state: of the training, `state.params` among it.
        metrics: the lines of `metrics.jsonl` up to that state, oldest first.
    """

    path: Path
    config: Config
    gfn: Described
    state: RunState
    metrics: list[Record]

    @cached_property
    def evaluator(self) -> Evaluator:
        """What measures the run between its chunks."""
        return make_evaluator(self.config, self.gfn)

    def sample(self, num_samples: int, key: Array | int = 0) -> Trajectory:
        """Trajectories `[num_samples, ...]` of the trained policy, without exploration.

        Of EB-GFN those of its GFlowNet, on the reward learned so far; of Markov chains ways to the
        objects that they visit from here on.

        Args:
            num_samples: how many.
            key: a typed PRNG key, or a seed; equal ones give equal samples.

        Raises:
            TypeError: for another kind of key, or a kind of run that has no `sample`.
            ValueError: for a number below 1.
        """
        num_samples = whole("num_samples", num_samples, least=1)
        return sampled(self.gfn, self.state, check_key("key", key, seeds=True), num_samples)

    def write(
        self,
        num_texts: int,
        prompt: str | None = None,
        key: Array | int = 0,
        temperature: float | None = None,
    ) -> list[WrittenText]:
        """Texts of a run of texts, each with its prompt and log-probability: `gfnjax sample`.

            load("runs/text-1").write(5, "The ferry left the island.")

        Args:
            num_texts: how many.
            prompt: what they follow, as a line of a file of prompts; a language model reads any.
                Without, each follows one of the run's own prompts.
            key: as in `sample`.
            temperature: at which each token is sampled; log-probabilities are at 1.

        Raises:
            ValueError: for a run of anything else, a prompt that is empty or too long, or a
                network that does not read prompts.
        """
        gfn, state = self.gfn, self.state
        if isinstance(gfn, Contains):
            gfn, state = gfn.trained(state)
        if not isinstance(gfn, GFlowNet) or text_rules(gfn.env) is None:
            about = f"{self.path}, a run of {self.config.environment},"
            raise ArgumentError("run", "writes no texts: only a run of texts does", subject=about)
        model = gfn.at(state).model
        if prompt is not None:
            env = self.config.env
            seen = env.prompt_of(prompt) if isinstance(env, ReadsPrompts) else prompt
            model = after_new(model, seen)
        num_texts = whole("num_texts", num_texts, least=1)
        key = check_key("key", key, seeds=True)
        return written(model, state.params, key, num_texts, temperature)

    def evaluate(self) -> dict[str, float]:
        """What the run itself reported at this step, computed again: metrics by name."""
        return self.evaluator.evaluate(self.state, self._chunk())

    def _chunk(self) -> RunInfo | None:
        """The diagnostics of the last chunk, as far as its evaluation had to do with them.

        Batch estimates of log Z and acceptance rates cannot be told from a state.
        """
        step = int(self.state.step)
        found = [r for r in self.metrics if r["kind"] == "evaluation" and r["step"] == step > 0]
        if not found:
            return None
        numbers = {k: v for k, v in found[-1].items() if isinstance(v, int | float)}
        return SimpleNamespace(**{k: np.asarray([v], np.float64) for k, v in numbers.items()})


def load(path: str | Path, step: int | None = None, member: int | None = None) -> TrainedRun:
    """A trained run, from the folder that `gfnjax train` or `gfnjax.run.start` has made.

    Args:
        path: the folder; that of a sweep has many runs.
        step: of the checkpoint to read, one of those that are kept; the newest good one without.
        member: of a sweep, as results.csv counts them.

    Raises:
        UsageError: if it is no folder of a run, or what it was made from (data, say) is gone.
        CheckpointError: if there is no checkpoint, none of that step, or no good one.
    """
    run = RunDirectory(Path(path).expanduser())
    sweep = SweepDirectory(run.path)
    if sweep.config_file.is_file():
        return _load_member(sweep, step, member)
    if member is not None:
        raise UsageError(f"member does nothing for {run.path}, which is a single run: leave it out")
    config = run.read_config()
    gfn = describe(config)
    template = initial_state(config, gfn)
    if step is None:
        state, _ = checkpoint.load_latest(run.checkpoints, template)
    else:
        state = checkpoint.load_step(run.checkpoints, whole("step", step), template)
    return TrainedRun(run.path, config, gfn, state, run.read_metrics(last_step=int(state.step)))


def _load_member(sweep: SweepDirectory, step: int | None, member: int | None) -> TrainedRun:
    config, rounds = sweep.read_sweep()
    number = -1 if member is None else whole("member", member)
    if not 0 <= number < config.num_members:
        last = config.num_members - 1
        raise UsageError(
            f"member must be one of 0 to {last} of the sweep {sweep.path}, got {member}"
        )
    alone = config.config_of(number)
    gfn = describe(alone)
    each = next(i for i, members in enumerate(rounds) if number in members)
    among = len(rounds[each]), rounds[each].index(number)
    num_parts = sweep.read_asked().get("num_batch_devices", 1)
    template = kept.template_of(gfn, run_key(alone.training.seed), num_parts)
    given = sweep.round_checkpoints(each), template, *among
    state = kept.read_member(*given, None if step is None else whole("step", step))
    records = [r for r in sweep.read_metrics(last_step=int(state.step)) if r["member"] == number]
    return TrainedRun(sweep.path, alone, gfn, state, records)


def sampled(gfn: Any, state: RunState, key: Array, num_samples: int) -> Trajectory:
    """`TrainedRun.sample` of what was trained, in a state of it.

    Raises:
        TypeError: for a kind of run that has no `sample`.
    """
    start: Any = state
    if isinstance(gfn, Contains):
        gfn, start = gfn.trained(start)
        start = start.params
    if not isinstance(gfn, _Samples):
        name = type(gfn).__name__
        raise TypeError(f"{name} must define sample(state, key, num_samples)")
    return _sample(gfn, start, key, num_samples)


@partial(jax.jit, static_argnames="num_samples")
def _sample(gfn: Any, start: Any, key: Array, num_samples: int) -> Trajectory:
    return gfn.sample(start, key, num_samples)
