"""From a `Config` to a `GFlowNet`.

Equal settings give equal descriptions, so that compiled code is shared.
"""

from dataclasses import fields
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import jax
import optax

from gfnjax import training
from gfnjax.algorithms.ebgfn import EnergyGFlowNet
from gfnjax.algorithms.markov_chains import MarkovChains
from gfnjax.algorithms.teacher import Teacher
from gfnjax.envs.base import Environment, source_state
from gfnjax.envs.conditional import Conditional
from gfnjax.exploration import EpsilonTempered, StopFlattening
from gfnjax.gflownet import GFlowNet
from gfnjax.hyperparameters import Hyperparameters
from gfnjax.objectives.base import Objective
from gfnjax.policies.base import FrozenPolicy, Policy
from gfnjax.policies.causal import CausalPolicy
from gfnjax.policies.ensemble import EnsemblePolicy, ensemble_mlp_policy
from gfnjax.policies.mlp import mlp_policy
from gfnjax.policies.uniform import uniform_policy
from gfnjax.run.catalogue import (
    BACKWARDS,
    CHAINS,
    OBJECTIVES,
    REGRESSIONS,
    REPLAYS,
    TARGET_RATES,
    make_network,
)
from gfnjax.run.config import Config, Sampling, Training, UsageError
from gfnjax.run.flags import in_flags
from gfnjax.samplers import Mixed, OnPolicy, Sampler, Windows
from gfnjax.samplers.local_search import LocalSearch
from gfnjax.training import RunState, Trainable

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


def build(config: Config) -> GFlowNet | Teacher | EnergyGFlowNet | MarkovChains:
    """What `config` describes, ready to train.

    Raises:
        ValueError, TypeError, OSError: for values that are out of range or do not go together,
            and files that are missing.
    """
    if config.training.objective in CHAINS:
        return _chains(config)
    if config.sampling.chain_back != Sampling.chain_back:
        raise ValueError(f"chain_back does nothing without objective {' or '.join(CHAINS)}")
    gfn = _gflownet(config)
    if isinstance(config.env, LearnsReward):
        if config.sampling.teacher_share > 0:
            raise ValueError("teacher_share must be 0 where the reward is learned")
        return config.env.learn_reward(gfn)
    return gfn if config.sampling.teacher_share == 0 else _taught(gfn, config)


def _taught(gfn: GFlowNet, config: Config) -> Teacher:
    settings = config.training
    network = mlp_policy(gfn.env, settings.hidden_sizes, settings.activation)
    rates = Hyperparameters(settings.learning_rate, settings.log_z_learning_rate)
    return Teacher(gfn, network, config.sampling.teacher_share, rates)


def describe(config: Config) -> GFlowNet | Teacher | EnergyGFlowNet | MarkovChains:
    """`build(config)`, with a `UsageError` for everything that cannot work."""
    require_device()
    try:
        return build(config)
    except (TypeError, ValueError, OverflowError, OSError) as error:
        raise UsageError(in_flags(str(error))) from error


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
    return training.init(gfn, jax.random.fold_in(jax.random.key(config.training.seed), RUN))


def _gflownet(config: Config) -> GFlowNet:
    settings = config.training
    env = config.env.make()
    objective = OBJECTIVES[settings.objective][1](settings)
    return GFlowNet(
        env=env,
        policy=_policy(env, config),
        objective=objective,
        backward=BACKWARDS[_backward(settings, objective)][1](config.env, settings),
        hyperparameters=_hyperparameters(settings),
        prior=_prior(env, objective),
        log_z_init=settings.log_z_init,
        regression=REGRESSIONS[settings.regression][1],
        sampler=_sampler(env, config.sampling, settings),
        exploration=EXPLORATIONS[config.sampling.exploration],
        batch_size=settings.batch_size,
        num_updates=settings.num_updates,
        max_grad_norm=settings.max_grad_norm,
        target_rate=_target_rate(settings, objective),
    )


def _chains(config: Config) -> MarkovChains:
    settings, sampling = config.training, config.sampling
    what = f"objective {settings.objective} samples by Markov chains"
    for field in fields(sampling):
        if field.name != "chain_back" and getattr(sampling, field.name) != field.default:
            raise ValueError(f"{what}: {field.name} must be {field.default}")
    if settings.backward not in (None, "uniform"):
        raise ValueError(f"{what} and takes steps back uniformly: backward must be uniform")
    env = config.env.make()
    if isinstance(env, Conditional) or isinstance(config.env, LearnsReward):
        raise ValueError(f"{what}, which need one fixed reward: leave out condition and learning")
    if not 1 <= sampling.chain_back <= env.max_steps:
        raise ValueError(
            f"chain_back must be between 1 and {env.max_steps}, the steps of the longest "
            f"trajectory, got {sampling.chain_back}"
        )
    rate = _hyperparameters(settings).learning_rate
    return CHAINS[settings.objective][1](env, settings, sampling.chain_back, rate)


def _backward(settings: Training, objective: Objective) -> str:
    return settings.backward or ("learned" if objective.trains_backward else "uniform")


def _target_rate(settings: Training, objective: Objective) -> float | None:
    if settings.target_rate is None and "target" in objective.needs:
        return TARGET_RATES.get(settings.objective)
    return settings.target_rate


def _policy(env: Environment, config: Config) -> Policy | CausalPolicy | EnsemblePolicy:
    settings, members = config.training, config.sampling.thompson
    if members == 1:
        return make_network(env, settings)
    if settings.network != "mlp":
        raise ValueError(f"thompson needs network mlp, got {settings.network}")
    keep = config.sampling.thompson_keep
    return ensemble_mlp_policy(env, members, settings.hidden_sizes, settings.activation, keep)


def _prior(env: Environment, objective: Objective) -> FrozenPolicy | None:
    """The uniform policy, for objectives that are relative to one."""
    if "log_prior" not in objective.needs:
        return None
    policy = uniform_policy(env)
    observation = policy.observe(env, source_state(env))
    return FrozenPolicy(policy, policy.init(jax.random.key(0), observation))


def _sampler(env: Environment, sampling: Sampling, settings: Training) -> Sampler:
    fresh = OnPolicy() if sampling.window is None else Windows(sampling.window)
    replay = REPLAYS[sampling.replay][1](sampling.replay_capacity, sampling.replay_unique)
    search = None
    if sampling.local_search > 0:
        search = LocalSearch(
            sampling.local_search, sampling.search_back, acceptance=sampling.acceptance
        )
    if replay is None and search is None:
        return fresh
    return Mixed(replay, sampling.replay_share, search, sampling.search_share, fresh)


def _hyperparameters(settings: Training) -> Hyperparameters:
    learning_rate, epsilon = settings.learning_rate, settings.epsilon
    if settings.final_learning_rate is not None:
        learning_rate = _cosine_decay(
            learning_rate, settings.final_learning_rate, settings.planned_steps
        )
    if settings.epsilon_decay is not None and epsilon > 0:
        epsilon = _linear_decay(epsilon, settings.final_epsilon, settings.epsilon_decay)
    return Hyperparameters(
        learning_rate,
        settings.log_z_learning_rate,
        epsilon,
        settings.temperature,
        settings.backward_learning_rate,
    )


# A schedule is a closure, equal only to itself; a second one would be compiled again.
@lru_cache(maxsize=256)
def _linear_decay(start: float, end: float, num_steps: int) -> optax.Schedule:
    return optax.linear_schedule(start, end, num_steps)


@lru_cache(maxsize=256)
def _cosine_decay(start: float, end: float, num_steps: int) -> optax.Schedule:
    return optax.cosine_decay_schedule(start, num_steps, alpha=end / start)
