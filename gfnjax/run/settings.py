"""The settings of every run: frozen dataclasses whose fields are flags."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

from gfnjax.arguments import whole
from gfnjax.errors import ArgumentError, require

ExplorationName = Literal["epsilon", "stop-flattening"]
AcceptanceName = Literal["greedy", "metropolis"]


WITHOUT_TEACHER = "must be 0 with {replay}, {local_search} or {window}"


def _require(condition: bool, name: str, what: str, value: Any) -> None:
    require(condition, name, f"must be {what}", value)


def _settle(settings: Any, name: str, least: int | None = None) -> None:
    """Keep a whole number as a Python int, whichever way it was written."""
    if (value := getattr(settings, name)) is not None:
        object.__setattr__(settings, name, whole(name, value, least))


@dataclass(frozen=True)
class Training:
    """How it is trained, and for how long; what is trained is chosen by name."""

    # The string after a field is its help text on the command line.

    num_updates: int = 1
    """updates a batch serves for (for ent-ppo and ppo)"""
    backward: str | None = None
    """backward policy; without, learned, or uniform where the objective does not train it"""
    regression: str = "square"
    """what a residual costs"""
    huber_delta: float = 1.0
    """where the square ends (huber)"""
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
    """where log Z and the flows start: a number, or what a batch before training says of them"""
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
    exploration_std: float = 0.0
    """standard deviation of noise on top of each step while exploring (Gaussian actions)"""
    exploration_share: float | None = None
    """share of the steps over which that noise falls to 0, linearly; constant without"""
    max_grad_norm: float | None = None
    """clip the gradient to this norm"""
    target_rate: float | None = None
    """keep a target network that moves by this share each step; objectives that need one have it"""
    chunk_size: int = 250
    """steps between two evaluations and checkpoints; an interrupt loses at most these"""
    evaluation_samples: int = 2_000
    """objects an evaluation samples, at each condition, where there are too many to list"""
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
        return any(
            x is not None
            for x in (self.epsilon_share, self.exploration_share, self.final_learning_rate)
        )

    @property
    def epsilon_decay(self) -> int | None:
        """Steps over which epsilon falls; None where it is constant."""
        if self.epsilon_steps is not None or self.epsilon_share is None:
            return self.epsilon_steps
        return max(round(self.epsilon_share * self.planned_steps), 1)

    @property
    def exploration_decay(self) -> int | None:
        """Steps over which `exploration_std` falls; None where it is constant."""
        share = self.exploration_share
        return None if share is None else max(round(share * self.planned_steps), 1)

    def __post_init__(self) -> None:
        counts = "steps", "batch_size", "chunk_size", "log_every", "num_updates", "backward_updates"
        for name in (*counts, "evaluation_samples", "epsilon_steps", "schedule_steps"):
            _settle(self, name, least=1)
        _settle(self, "seed")
        if self.regression != "huber" and self.huber_delta != Training.huber_delta:
            raise ArgumentError(
                "huber_delta", "does nothing without regression huber", "set {regression}"
            )
        for name in ("learning_rate", "temperature", "huber_delta"):
            value = getattr(self, name)
            _require(0 < value < math.inf, name, "positive and finite", value)
        rate = self.log_z_learning_rate
        _require(0 <= rate < math.inf, "log_z_learning_rate", "finite and not negative", rate)
        start = self.log_z_init
        _require(start == "batch" or math.isfinite(start), "log_z_init", "batch or finite", start)
        _require(0 <= self.seed < 2**31, "seed", "in [0, 2^31)", self.seed)
        for name in ("epsilon", "final_epsilon"):
            _require(0 <= getattr(self, name) <= 1, name, "in [0, 1]", getattr(self, name))
        std, final = self.exploration_std, self.final_learning_rate
        _require(0 <= std < math.inf, "exploration_std", "finite and not negative", std)
        for name in ("epsilon_share", "exploration_share"):
            share = getattr(self, name)
            _require(share is None or 0 < share <= 1, name, "in (0, 1]", share)
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
    """Where the trajectories of a training step come from, besides a replay buffer."""

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
    replay_share: float = 0.5
    """share of a batch that is replayed"""
    local_search: int = 0
    """rounds of local search"""
    search_share: float = 0.25
    """share of a batch that is searched"""
    search_back: float = 0.5
    """share of a trajectory that a round takes back"""
    langevin_search: int = 0
    """steps of a local search by the gradient of log R (MALA), where objects are points"""
    acceptance: AcceptanceName = "greedy"
    """when a round of local search accepts"""
    group_size: int | None = None
    """trajectories from each source, prompt or condition, that is drawn; drawn for each without"""
    tempered_share: float = 0.5
    """share of a group that acts at temperatures of its own"""
    lowest_temperature: float = 0.5
    """of these, drawn uniformly for each trajectory"""
    highest_temperature: float = 2.0
    """of these"""
    gradient_states: int | None = None
    """visited states of a batch whose gradient is computed, drawn at random; all of them without"""

    count_modes: bool = False
    """measure how many modes training has come near to so far, where the environment knows them"""

    def __post_init__(self) -> None:
        for name in ("thompson", "window", "group_size", "gradient_states"):
            _settle(self, name, least=1)
        for name in ("local_search", "langevin_search"):
            _settle(self, name)
        keep = self.thompson_keep
        _require(0 < keep <= 1, "thompson_keep", "in (0, 1]", keep)
        _require(self.local_search >= 0, "local_search", "at least 0", self.local_search)
        chain = self.langevin_search
        _require(chain == 0 or chain >= 2, "langevin_search", "0, or at least 2", chain)
        if chain > 0 and self.local_search > 0:
            problem = "cannot be used together with {local_search}"
            raise ArgumentError("langevin_search", problem)
        self._require_use()
        share = self.teacher_share
        _require(0 <= share < 1, "teacher_share", "in [0, 1)", share)
        searches = self.local_search > 0 or self.langevin_search > 0
        if share > 0 and (searches or self.window is not None):
            raise ArgumentError("teacher_share", WITHOUT_TEACHER)
        if share > 0 and self.count_modes:
            raise ArgumentError("count_modes", "cannot be used together with {teacher_share}")
        self._check_groups()

    def _check_groups(self) -> None:
        """Raise a `ValueError` for groups that cannot be, or another sampler beside one."""
        share, low, high = self.tempered_share, self.lowest_temperature, self.highest_temperature
        _require(0 <= share <= 1, "tempered_share", "in [0, 1]", share)
        _require(0 < low < math.inf, "lowest_temperature", "positive and finite", low)
        what = "finite, and lowest_temperature at least"
        _require(low <= high < math.inf, "highest_temperature", what, high)
        others = {
            "teacher_share": self.teacher_share > 0,
            "local_search": self.local_search > 0,
            "langevin_search": self.langevin_search > 0,
            "window": self.window is not None,
        }
        for name, used in others.items():
            own = {"group_size": self.group_size}
            if name != "window":  # of windows rollouts record as much
                own["gradient_states"] = self.gradient_states
            for option, value in own.items():
                if value is not None and used:
                    raise ArgumentError(option, f"cannot be used together with {{{name}}}")

    def _require_use(self) -> None:
        """Raise a `ValueError` for an option of something that is switched off."""
        local, chains = self.local_search > 0, self.langevin_search > 0
        groups = "tempered_share", "lowest_temperature", "highest_temperature"
        switches = (
            ("local_search", local, ("search_back", "acceptance")),
            ("local_search", local or chains, ("search_share",)),
            ("thompson", self.thompson > 1, ("thompson_keep",)),
            ("group_size", self.group_size is not None, groups),
        )
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        for switch, on, names in switches:
            for name in names:
                if not on and getattr(self, name) != defaults[name]:
                    raise ArgumentError(name, f"does nothing without {{{switch}}}")
