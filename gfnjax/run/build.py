"""From a `Config` to a `GFlowNet`.

Equal settings give equal descriptions, so that compiled code is shared.
"""

from collections.abc import Callable
from dataclasses import fields
from typing import Any, Protocol, runtime_checkable

import jax

from gfnjax import registry, training
from gfnjax.algorithms.ebgfn import EnergyGFlowNet
from gfnjax.algorithms.markov_chains import MarkovChains
from gfnjax.algorithms.teacher import Teacher
from gfnjax.envs.base import Environment, RandomSource, State, source_state
from gfnjax.envs.conditional import Conditional
from gfnjax.errors import ArgumentError, MissingExtraError, Use
from gfnjax.exploration import EpsilonTempered, StopFlattening
from gfnjax.gflownet import GFlowNet
from gfnjax.hyperparameters import Hyperparameters
from gfnjax.objectives.base import Objective, Regression, as_objective, name_of
from gfnjax.objectives.regression import Huber
from gfnjax.policies.base import FrozenPolicy, Policy
from gfnjax.policies.causal import CausalPolicy
from gfnjax.policies.ensemble import EnsemblePolicy
from gfnjax.policies.language import LanguageModel, language_policy
from gfnjax.policies.mlp import mlp_policy
from gfnjax.policies.uniform import uniform_policy
from gfnjax.replay import Experience, PromptReplay
from gfnjax.run.backward import Setting, make_backward
from gfnjax.run.config import CHOICES, Choice, Config, UsageError
from gfnjax.run.schedules import hyperparameters_of
from gfnjax.run.settings import Training
from gfnjax.run.state_graphs import make_environment
from gfnjax.run.writing import judge_of, text_rules
from gfnjax.samplers import (
    Groups,
    LangevinSearch,
    Mixed,
    ModeCount,
    OnPolicy,
    Sampler,
    Subsampled,
    Windows,
)
from gfnjax.samplers.local_search import LocalSearch
from gfnjax.training import RunState, Trainable
from gfnjax.types import Array

# What a run trains.
Described = GFlowNet | Teacher | EnergyGFlowNet | MarkovChains

# A run must not share keys with the data it learns from, which may be drawn from the same seed.
RUN = 0x72756E
EXPLORATIONS: dict[str, Any] = {
    "epsilon": EpsilonTempered(),
    "stop-flattening": StopFlattening(),
}


@runtime_checkable
class LearnsReward(Protocol):
    """An `EnvironmentConfig` whose reward is learned from data, with the sampler."""

    def learn_reward(self, sampler: GFlowNet) -> EnergyGFlowNet:
        """The run that trains both; raises as `EnvironmentConfig.make`."""
        ...


@runtime_checkable
class MakesChains(Protocol):
    """Options of an objective that takes the place of a GFlowNet."""

    def make_chains(
        self, env: Environment, network: Callable[[], Policy], num_chains: int, learning_rate: Any
    ) -> MarkovChains:
        """The chains; raises as `EnvironmentConfig.make`."""
        ...


@runtime_checkable
class MakesReplayOfPrompts(Protocol):
    """Options of a replay buffer that belongs to groups of trajectories."""

    def make_for(self, env: Environment) -> PromptReplay:
        """The buffer; raises as `EnvironmentConfig.make`."""
        ...


@runtime_checkable
class Demonstrates(Protocol):
    """An `EnvironmentConfig` that has objects for a sampler to begin with."""

    def demonstrations(self, env: Any) -> State | None:
        """Terminal states `[n, ...]` of what `make` has made; None for none."""
        ...


@runtime_checkable
class MakesMembers(Protocol):
    """Options of a network that can have several heads, for an `EnsemblePolicy`."""

    def make_members(self, env: Environment, num_members: int) -> Policy:
        """The network; raises as `EnvironmentConfig.make`."""
        ...


def build(config: Config) -> Described:
    """What `config` describes, ready to train.

    Raises:
        ValueError, TypeError, OSError: for values that are out of range or do not go together,
            and files that are missing.
        UsageError: where something of a plug-in fails.
    """
    if isinstance(config.objective.options, MakesChains):
        return _chains(config, config.objective.options)
    gfn = _gflownet(config)
    if isinstance(config.env, LearnsReward):
        if config.sampling.teacher_share > 0:
            raise ArgumentError("teacher_share", "must be 0 where the reward is learned")
        return config.env.learn_reward(gfn)
    return gfn if config.sampling.teacher_share == 0 else _taught(gfn, config)


def _taught(gfn: GFlowNet, config: Config) -> Teacher:
    settings = config.training
    rates = Hyperparameters(settings.learning_rate, settings.log_z_learning_rate)
    network = _teacher_network(gfn.env, config)
    return Teacher(gfn, network, config.sampling.teacher_share, rates)


def describe(config: Config) -> Described:
    """`build(config)`, with a `UsageError` for everything that cannot work."""
    require_device()
    try:
        return build(config)
    except (TypeError, ValueError, OverflowError, OSError) as error:
        raise UsageError.of(error) from error
    except MissingExtraError as error:
        raise UsageError(str(error)) from error


def require_device() -> None:
    """Raise a `UsageError` where JAX has been asked for hardware that is not there."""
    try:
        jax.devices()
    except (AssertionError, RuntimeError) as error:
        asked = getattr(jax.config, "jax_platforms", None)
        said = "" if asked else f" ({str(error).splitlines()[0]})"
        raise UsageError(
            f"JAX finds no device for JAX_PLATFORMS={asked or ''}{said}: install the jax that fits "
            "the hardware, or unset JAX_PLATFORMS"
        ) from error


def initial_state(config: Config, gfn: Trainable) -> RunState:
    """The state that a run of `config` starts from; every checkpoint of it has this form."""
    return training.init(gfn, run_key(config.training.seed))


def run_key(seed: int) -> Array:
    """The key of a run with this seed."""
    return jax.random.fold_in(jax.random.key(seed), RUN)


def _gflownet(config: Config) -> GFlowNet:
    settings = config.training
    env = _environment(config)
    objective = _objective(config)
    return GFlowNet(
        env=env,
        policy=_policy(env, config),
        objective=objective,
        backward=_backward(env, config, objective),
        hyperparameters=hyperparameters_of(settings),
        prior=_prior(env, objective),
        log_z_init=settings.log_z_init,
        regression=_regression(settings),
        sampler=_sampler(env, config),
        exploration=EXPLORATIONS[config.sampling.exploration],
        batch_size=settings.batch_size,
        num_updates=settings.num_updates,
        max_grad_norm=settings.max_grad_norm,
        target_rate=_target_rate(config, objective),
    )


def _chains(config: Config, options: MakesChains) -> MarkovChains:
    settings, sampling = config.training, config.sampling
    what = f"objective {config.objective.name} samples by Markov chains"
    for field in fields(sampling):
        if getattr(sampling, field.name) != field.default:
            raise ArgumentError(field.name, f"must be {field.default}").inside(what)
    if config.replay.name != CHOICES["replay"]:
        raise ArgumentError("replay", f"must be {CHOICES['replay']}").inside(what)
    if settings.backward not in (None, "uniform"):
        what = f"{what} and takes steps back uniformly"
        raise ArgumentError("backward", "must be uniform").inside(what)
    env = _environment(config)
    if isinstance(env, Conditional) or isinstance(config.env, LearnsReward):
        remedy = Use("leave out conditions and learning", condition="none")
        raise ArgumentError("environment", "which need one fixed reward", remedy, f"{what},")

    def network() -> Policy:
        return _state_network(env, config, f"objective {config.objective.name}")

    rate = hyperparameters_of(settings).learning_rate
    return options.make_chains(env, network, settings.batch_size, rate)


def _environment(config: Config) -> Environment:
    return _guarded("environment", config.environment, make_environment, config.env)


def _objective(config: Config) -> Objective:
    try:
        return as_objective(_made("objective", config.objective))
    except ArgumentError as error:
        raise error.inside(f"objective {config.objective.name}") from error


def _made(kind: str, choice: Choice, *arguments: Any) -> Any:
    """What the options of a choice make; options that make nothing are it themselves."""
    if not hasattr(type(choice.options), "make"):
        return choice.options
    return _guarded(kind, choice.name, choice.options.make, *arguments)


def _guarded(kind: str, name: str, make: Callable[..., Any], *arguments: Any) -> Any:
    """`make(*arguments)`; what only a mistake in a plug-in can raise is said in one line."""
    try:
        return make(*arguments)
    except (TypeError, ValueError, OverflowError, OSError, MemoryError) as error:
        if isinstance(error, ArgumentError):
            error.owner = kind
        raise
    except MissingExtraError as error:
        raise UsageError(str(error)) from error
    except Exception as error:
        raise UsageError(f"{kind} {name} fails: {type(error).__name__}: {error}") from error


def _network(env: Environment, config: Config) -> Policy | CausalPolicy:
    name = config.network.name
    try:
        return _made("network", config.network, env)
    except UsageError:
        raise
    except ArgumentError as error:
        raise error.inside(f"network {name} does not fit") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"network {name} does not fit: {error}") from error


def _state_network(env: Environment, config: Config, what: str) -> Policy:
    network = _network(env, config)
    if not isinstance(network, Policy):
        raise ArgumentError("network", f"must be another one than {config.network.name}").inside(
            f"{what} needs a network that looks at one state at a time"
        )
    return network


def _backward(env: Environment, config: Config, objective: Objective) -> Any:
    settings = config.training
    free = objective.trains_backward or isinstance(env, RandomSource)
    name = settings.backward or ("learned" if free else "uniform")
    setting = Setting(
        env_config=config.env,
        network=lambda: _state_network(env, config, f"backward {name}"),
        num_updates=settings.backward_updates,
        target_rate=settings.backward_target_rate,
    )
    return make_backward(name, setting)


def _target_rate(config: Config, objective: Objective) -> float | None:
    given = config.training.target_rate
    if given is None and "target" in objective.needs:
        return registry.find("objective", config.objective.name).target_rate
    return given


def _policy(env: Environment, config: Config) -> Policy | CausalPolicy | EnsemblePolicy:
    members = config.sampling.thompson
    if members == 1:
        return _network(env, config)
    options = config.network.options
    if not isinstance(options, MakesMembers):
        raise ArgumentError("thompson", f"needs {{network}} mlp, got {config.network.name}")
    network = options.make_members(env, members)
    return EnsemblePolicy(network, members, config.sampling.thompson_keep)


def _prior(env: Environment, objective: Objective) -> FrozenPolicy | None:
    """For objectives relative to a policy: the language model of texts, else the uniform one."""
    if "log_prior" not in objective.needs:
        return None
    model = getattr(env, "model", None)
    given = isinstance(model, LanguageModel)
    if given and objective.relative_to_prior and _is_judged(env):
        raise ArgumentError(
            "objective",
            "is relative to the language model, which is in the reward of these texts already",
            "use vargrad-group or msubtb",
            name_of(objective),
        )
    policy: Any = language_policy(env, model, rank=0) if given else uniform_policy(env)
    observation = policy.observe(env, source_state(env))
    return FrozenPolicy(policy, policy.init(jax.random.key(0), observation))


def _is_judged(env: Environment) -> bool:
    """Whether the reward of texts is what their own language model says of them."""
    rules = text_rules(env)
    judge = None if rules is None else judge_of(rules)
    return judge is not None and judge.model is getattr(rules, "model", None)


def _sampler(env: Environment, config: Config) -> Sampler:
    sampler, number = _all_of(env, config), config.sampling.gradient_states
    if number is not None:
        sampler = Subsampled(number, sampler)
    return ModeCount(sampler) if config.sampling.count_modes else sampler


def _all_of(env: Environment, config: Config) -> Sampler:
    sampling = config.sampling
    if sampling.group_size is not None:
        return _groups(env, config, sampling.group_size)
    if isinstance(config.replay.options, MakesReplayOfPrompts):
        problem = f"{config.replay.name} needs groups of trajectories of one prompt"
        raise ArgumentError("replay", problem, Use("set group_size", group_size=None))
    fresh = OnPolicy() if sampling.window is None else Windows(sampling.window)
    replay = _made("replay", config.replay)
    if not isinstance(replay, Experience | None):
        problem = f"must be a gfnjax.replay.Replay or make one, got {type(replay).__name__}"
        raise ArgumentError("replay", problem, subject=f"replay {config.replay.name}")
    search: LocalSearch | LangevinSearch | None = None
    if sampling.local_search > 0:
        search = LocalSearch(
            sampling.local_search, sampling.search_back, acceptance=sampling.acceptance
        )
    if sampling.langevin_search > 0:
        search = LangevinSearch(sampling.langevin_search)
    if replay is None and search is None:
        return fresh
    return Mixed(replay, sampling.replay_share, search, sampling.search_share, fresh)


def _groups(env: Environment, config: Config, size: int) -> Groups:
    sampling, options = config.sampling, config.replay.options
    temperatures = sampling.lowest_temperature, sampling.highest_temperature
    given: dict[str, Any] = {"tempered_share": sampling.tempered_share}
    given["temperatures"] = temperatures
    if isinstance(options, MakesReplayOfPrompts):
        given |= {"replay": options.make_for(env), "replay_share": sampling.replay_share}
        if isinstance(config.env, Demonstrates):
            given["demonstrations"] = config.env.demonstrations(env)
    elif config.replay.name != CHOICES["replay"]:
        problem = f"must be prompts or none with {{group_size}}, got {config.replay.name}"
        raise ArgumentError("replay", problem)
    return Groups(size, **given)


def _teacher_network(env: Environment, config: Config) -> Policy:
    """Of the kind that the student has, unless that reads histories: a teacher reads states."""
    network = _network(env, config)
    return network if isinstance(network, Policy) else mlp_policy(env)


def _regression(settings: Training) -> Regression:
    entry = registry.find("regression", settings.regression)
    return entry.make(delta=settings.huber_delta) if entry.cls is Huber else entry.make()
