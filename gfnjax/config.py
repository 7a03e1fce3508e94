"""The description of a run from the command line: frozen dataclasses that round-trip to JSON."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

from gfnjax.envs.base import Environment


class UsageError(ValueError):
    """A request that cannot be carried out: one line that says what is wrong and what helps."""


class EnvironmentConfig(Protocol):
    """A frozen dataclass of plain values: the sizes of an environment and its reward."""

    def make(self) -> Environment:
        """The environment.

        Raises:
            ValueError: for sizes that are out of range, or data that do not fit.
            OSError: for a file that is missing or cannot be read.
        """
        ...


E = TypeVar("E", bound=EnvironmentConfig)

ObjectiveName = Literal["tb", "db", "target-db", "subtb", "fm", "vargrad"]
BackwardName = Literal["learned", "uniform", "maximum-entropy"]
RegressionName = Literal["square", "huber", "forward-kl", "hellinger", "chi-square"]
ActivationName = Literal["relu", "leaky_relu", "gelu", "tanh"]
NetworkName = Literal["mlp", "transformer", "causal", "graph", "forest"]


def _require(condition: bool, name: str, what: str, value: Any) -> None:
    if not condition:
        raise ValueError(f"{name} must be {what}, got {value}")


@dataclass(frozen=True)
class Training:
    """What is trained, how, and for how long."""

    # The string after a field is its help text on the command line.

    objective: ObjectiveName = "tb"
    """what the policy is trained with"""
    subtb_lambda: float = 0.9
    """lambda of the subtb objective"""
    backward: BackwardName = "learned"
    """backward policy"""
    regression: RegressionName = "square"
    """what a residual costs"""
    steps: int = 2_000
    """training steps"""
    batch_size: int = 16
    """trajectories per step"""
    seed: int = 0
    """of all randomness"""
    learning_rate: float = 1e-3
    """of the network (Adam)"""
    final_learning_rate: float | None = None
    """the network's rate falls to this by the last step, along a cosine; constant without"""
    log_z_learning_rate: float = 1e-1
    """of log Z (Adam)"""
    epsilon: float = 0.0
    """probability of a uniformly random action while exploring"""
    final_epsilon: float = 0.0
    """where epsilon falls to"""
    epsilon_share: float | None = None
    """share of the steps over which epsilon falls, linearly; constant without"""
    epsilon_steps: int | None = None
    """steps over which epsilon falls; overrides the share"""
    schedule_steps: int | None = None
    """steps that schedules are laid out for; all without, and as before when a run is extended"""
    temperature: float = 1.0
    """of the policy while exploring; above 1 is flatter"""
    network: NetworkName = "mlp"
    """what the policy is computed by"""
    hidden_sizes: tuple[int, ...] = (256, 256)
    """widths of the hidden layers of the mlp"""
    activation: ActivationName = "gelu"
    """of the hidden layers of the mlp"""
    width: int = 64
    """of the embeddings of any other network"""
    num_heads: int = 8
    """attention heads of a transformer or forest network"""
    num_layers: int = 3
    """of a transformer or forest network"""
    max_grad_norm: float | None = None
    """clip the gradient to this norm"""
    target_rate: float | None = None
    """keep a target network that moves by this share each step (for target-db)"""
    chunk_size: int = 250
    """steps between two evaluations and checkpoints; an interrupt loses at most these"""
    log_every: int = 10
    """steps averaged in one line of metrics.jsonl"""
    stop_at_tv: float | None = None
    """stop as soon as the exact total variation is this low"""

    @property
    def planned_steps(self) -> int:
        """The steps that schedules are laid out for."""
        return self.steps if self.schedule_steps is None else self.schedule_steps

    @property
    def has_schedule(self) -> bool:
        """Whether anything depends on `planned_steps`."""
        return self.epsilon_share is not None or self.final_learning_rate is not None

    @property
    def epsilon_decay(self) -> int | None:
        """Steps over which epsilon falls; None where it is constant."""
        if self.epsilon_steps is not None or self.epsilon_share is None:
            return self.epsilon_steps
        return max(round(self.epsilon_share * self.planned_steps), 1)

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "chunk_size", "log_every"):
            _require(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        for name in ("epsilon_steps", "schedule_steps"):
            value = getattr(self, name)
            _require(value is None or value >= 1, name, "at least 1", value)
        for name in ("learning_rate", "temperature", "subtb_lambda"):
            value = getattr(self, name)
            _require(0 < value < math.inf, name, "positive and finite", value)
        rate = self.log_z_learning_rate
        _require(0 <= rate < math.inf, "log_z_learning_rate", "finite and not negative", rate)
        _require(0 <= self.seed < 2**31, "seed", "in [0, 2^31)", self.seed)
        for name in ("epsilon", "final_epsilon"):
            _require(0 <= getattr(self, name) <= 1, name, "in [0, 1]", getattr(self, name))
        share, final = self.epsilon_share, self.final_learning_rate
        _require(share is None or 0 < share <= 1, "epsilon_share", "in (0, 1]", share)
        _require(
            final is None or 0 <= final <= self.learning_rate,
            "final_learning_rate",
            "between 0 and learning_rate",
            final,
        )
        if self.stop_at_tv is not None:
            _require(0 < self.stop_at_tv < 1, "stop_at_tv", "in (0, 1)", self.stop_at_tv)


@dataclass(frozen=True)
class Loggers:
    """Where metrics go besides metrics.jsonl."""

    tensorboard: bool = False
    """write TensorBoard files into the run (needs gfnjax[tensorboard])"""
    wandb: bool = False
    """log to Weights & Biases (needs gfnjax[wandb])"""


@dataclass(frozen=True)
class Config(Generic[E]):
    """One run. `environment` is the name of the preset that `env` is a variant of."""

    environment: str
    env: E
    training: Training = Training()
    loggers: Loggers = Loggers()


def to_dict(config: Config) -> dict[str, Any]:
    """Plain values, for JSON."""
    return dataclasses.asdict(config)


def from_dict(values: dict[str, Any], env_type: type[E]) -> Config[E]:
    """The inverse of `to_dict`.

    Raises:
        UsageError: for fields that do not exist, or values that are out of range.
    """
    try:
        return Config(
            environment=values["environment"],
            env=_dataclass(env_type, values["env"]),
            training=_dataclass(Training, values["training"]),
            loggers=_dataclass(Loggers, values["loggers"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"config does not fit this version of gfnjax: {error}") from error


def _dataclass(kind: type, values: dict[str, Any]) -> Any:
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
