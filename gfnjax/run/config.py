"""The description of a run from the command line: frozen dataclasses that round-trip to JSON."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

from gfnjax.arguments import whole
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

ObjectiveName = Literal[
    "tb",
    "tb-flow",
    "db",
    "target-db",
    "subtb",
    "fm",
    "vargrad",
    "contrastive",
    "mdb",
    "fl-tb",
    "fl-db",
    "fl-subtb",
    "led-db",
    "led-subtb",
    "soft-dqn",
    "munchausen",
    "reinforce",
    "reward-to-go",
    "baseline",
    "gae",
    "ent-ppo",
    "rtb",
    "ga-tb",
    "ga-db",
    "ppo",
    "sac",
    "mh",
    "mars",
]
BackwardName = Literal["learned", "uniform", "maximum-entropy", "tlm", "pessimistic", "path-counts"]
ExplorationName = Literal["epsilon", "stop-flattening"]
ReplayName = Literal["none", "fifo", "prioritised", "residual", "terminal"]
AcceptanceName = Literal["greedy", "metropolis"]
RegressionName = Literal["square", "huber", "forward-kl", "hellinger", "chi-square"]
ActivationName = Literal["relu", "leaky_relu", "gelu", "tanh"]
NetworkName = Literal["mlp", "transformer", "causal", "graph", "forest"]


def _require(condition: bool, name: str, what: str, value: Any) -> None:
    if not condition:
        raise ValueError(f"{name} must be {what}, got {value}")


def _settle(settings: Any, name: str, least: int | None = None) -> None:
    """Keep a whole number as a Python int, whichever way it was written."""
    if (value := getattr(settings, name)) is not None:
        object.__setattr__(settings, name, whole(name, value, least))


@dataclass(frozen=True)
class Training:
    """What is trained, how, and for how long."""

    # The string after a field is its help text on the command line.

    objective: ObjectiveName = "tb"
    """what the policy is trained with"""
    subtb_lambda: float = 0.9
    """lambda of the subtb objectives"""
    munchausen_alpha: float = 0.15
    """alpha of the munchausen objective"""
    gae_lambda: float = 0.95
    """lambda of the advantages of gae, ent-ppo and ppo"""
    num_updates: int = 1
    """updates a batch serves for (for ent-ppo and ppo)"""
    anchor_terminal: bool = True
    """forward-looking flows are 1 at terminal states; without, the target is not identified"""
    backward: BackwardName | None = None
    """backward policy; without, learned, or uniform where the objective does not train it"""
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
    log_z_init: float | Literal["batch"] = "batch"
    """where log Z and the flows start: a number, or the estimate of a batch before training"""
    backward_learning_rate: float = 1e-3
    """of a backward policy with a training of its own (Adam)"""
    backward_updates: int = 1
    """its updates a step"""
    backward_target_rate: float | None = None
    """the objective sees a moving average of it that moves by this share each step"""
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
    """keep a target network that moves by this share each step; objectives that need one have it"""
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
        counts = "steps", "batch_size", "chunk_size", "log_every", "num_updates", "backward_updates"
        for name in (*counts, "epsilon_steps", "schedule_steps"):
            _settle(self, name, least=1)
        for name in ("width", "num_heads", "num_layers", "seed"):
            _settle(self, name)
        sizes = tuple(whole("hidden_sizes", size) for size in self.hidden_sizes)
        object.__setattr__(self, "hidden_sizes", sizes)
        for name in ("learning_rate", "temperature", "subtb_lambda"):
            value = getattr(self, name)
            _require(0 < value < math.inf, name, "positive and finite", value)
        rate = self.log_z_learning_rate
        _require(0 <= rate < math.inf, "log_z_learning_rate", "finite and not negative", rate)
        start = self.log_z_init
        _require(start == "batch" or math.isfinite(start), "log_z_init", "batch or finite", start)
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
class Sampling:
    """Where the trajectories of a training step come from."""

    exploration: ExplorationName = "epsilon"
    """what the temperature acts on: the whole policy, or whether to stop"""
    thompson: int = 1
    """members of an ensemble of heads, one of which acts in each trajectory (mlp)"""
    thompson_keep: float = 1.0
    """probability with which a member learns from a trajectory (the bootstrap)"""
    teacher_share: float = 0.0
    """share of a batch that an off-policy teacher samples"""
    window: int | None = None
    """learn from every so many steps of rollouts under way, instead of complete trajectories"""
    replay: ReplayName = "none"
    """kind of replay buffer"""
    replay_share: float = 0.5
    """share of a batch that is replayed"""
    replay_capacity: int = 10_000
    """trajectories in the buffer"""
    replay_unique: bool = False
    """keep one trajectory an object"""
    local_search: int = 0
    """rounds of local search"""
    search_share: float = 0.25
    """share of a batch that is searched"""
    search_back: float = 0.5
    """share of a trajectory that a round takes back"""
    acceptance: AcceptanceName = "greedy"
    """when a round of local search accepts"""
    chain_back: int = 2
    """steps that the Markov chains of mh and mars take back at most"""

    def __post_init__(self) -> None:
        for name in ("thompson", "replay_capacity", "chain_back", "window"):
            _settle(self, name, least=1)
        _settle(self, "local_search")
        keep = self.thompson_keep
        _require(0 < keep <= 1, "thompson_keep", "in (0, 1]", keep)
        _require(self.local_search >= 0, "local_search", "at least 0", self.local_search)
        self._require_use()
        share = self.teacher_share
        _require(0 <= share < 1, "teacher_share", "in [0, 1)", share)
        mixed = self.replay != "none" or self.local_search > 0
        if share > 0 and (mixed or self.window is not None):
            raise ValueError("teacher_share must be 0 with replay, local_search or window")

    def _require_use(self) -> None:
        """Raise a `ValueError` for an option of something that is switched off."""
        switches = {
            "replay": (self.replay != "none", ("replay_share", "replay_capacity", "replay_unique")),
            "local_search": (self.local_search > 0, ("search_share", "search_back", "acceptance")),
            "thompson": (self.thompson > 1, ("thompson_keep",)),
        }
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        for switch, (on, names) in switches.items():
            for name in names:
                if not on and getattr(self, name) != defaults[name]:
                    raise ValueError(f"{name} does nothing without {switch}")


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
    sampling: Sampling = Sampling()


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
            sampling=_dataclass(Sampling, values["sampling"]),
            loggers=_dataclass(Loggers, values["loggers"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"config does not fit this version of gfnjax: {error}") from error


def _dataclass(kind: type, values: dict[str, Any]) -> Any:
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
