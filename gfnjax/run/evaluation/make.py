"""Which evaluator a run gets."""

import dataclasses
from typing import Any

import numpy as np

from gfnjax.algorithms.ebgfn import EnergyGFlowNet
from gfnjax.algorithms.markov_chains import MarkovChains
from gfnjax.algorithms.teacher import Teacher
from gfnjax.envs.base import Conditioned, Enumerable, Environment
from gfnjax.envs.conditional import Conditional
from gfnjax.envs.drawing import KnownTarget, Target
from gfnjax.envs.text import Text
from gfnjax.errors import ArgumentError
from gfnjax.gflownet import GFlowNet
from gfnjax.metrics.state_graph import build_graph
from gfnjax.run.build import Described
from gfnjax.run.config import Config, UsageError
from gfnjax.run.evaluation.base import Evaluator
from gfnjax.run.evaluation.chains import ChainEvaluator
from gfnjax.run.evaluation.conditional import ConditionalEvaluator
from gfnjax.run.evaluation.densities import DensityEvaluator, is_known
from gfnjax.run.evaluation.energy import EnergyEvaluator
from gfnjax.run.evaluation.exact import ExactEvaluator
from gfnjax.run.evaluation.samples import SampledEvaluator
from gfnjax.run.evaluation.student import StudentEvaluator
from gfnjax.run.evaluation.texts import MAX_PROMPTS, JudgesTexts, TextEvaluator, listing_of
from gfnjax.run.state_graphs import state_graph
from gfnjax.run.writing import after, text_rules

# Larger state spaces can be enumerated as well, but not after every chunk.
MAX_STATES = 500_000


def make_evaluator(config: Config, gfn: Described) -> Evaluator:
    """Exact evaluation where the environment is enumerable and small enough, else by samples.

    Raises:
        UsageError: if the run is to stop at a total variation that cannot be computed, or the
            environment has a list of states that is wrong.
    """
    try:
        evaluator = _make(config, gfn)
    except (TypeError, ValueError) as error:  # of a user's environment
        place = f"the states of environment {config.environment} cannot be listed"
        raise UsageError.of(error, place) from error
    if config.training.stop_at_tv is not None and not _measures_exactly(evaluator, gfn):
        error = ArgumentError(
            "stop_at_tv",
            f"needs exact evaluation, which is limited to {MAX_STATES:,} states and to policies: "
            f"{config.environment} is too large, cannot be enumerated, learns its reward, or is "
            "sampled by Markov chains",
        )
        raise UsageError.of(error)
    return evaluator


def _measures_exactly(evaluator: Evaluator, gfn: Described) -> bool:
    if isinstance(evaluator, StudentEvaluator):
        return _measures_exactly(evaluator.student, gfn)
    if isinstance(evaluator, ConditionalEvaluator):
        return _measures_exactly(evaluator.evaluators[0], gfn)
    return isinstance(evaluator, ExactEvaluator) or getattr(evaluator, "is_exact", False)


def is_exact(env: Environment) -> bool:
    """Whether the environment is small enough to be enumerated after every chunk."""
    if isinstance(env, Conditional):
        env = env.at(env.conditions.centre())
    return isinstance(env, Enumerable) and env.num_states <= MAX_STATES


def _make(config: Config, gfn: Described) -> Evaluator:
    env, num_samples = gfn.env, config.training.evaluation_samples
    if isinstance(gfn, EnergyGFlowNet):
        return EnergyEvaluator(gfn, num_samples)
    if isinstance(gfn, MarkovChains):
        graph = state_graph(config.env) if is_exact(env) else None
        return ChainEvaluator(gfn, graph, _known(env))
    if isinstance(gfn, Teacher):
        return StudentEvaluator(_make(config, gfn.student))
    rules = text_rules(env)
    if rules is not None and rules.model is not None:
        return _of_texts(config, gfn, rules)
    if isinstance(env, Conditional):
        # Conditions are evaluated one by one, each as an environment without any.
        spread = (env.at(condition) for condition in np.asarray(env.conditions.spread()))
        fixed = [dataclasses.replace(gfn, env=one) for one in spread]
        evaluators = tuple(_of_policy(one, None, num_samples, i) for i, one in enumerate(fixed))
        return ConditionalEvaluator(evaluators, gfn.objective.log_z == "flow")
    return _of_policy(gfn, config, num_samples)


def _of_texts(config: Config, gfn: GFlowNet, rules: Text) -> Evaluator:
    """Of texts of a language model, to which a state costs as much as a whole text."""
    judge = config.env.judge if isinstance(config.env, JudgesTexts) else None
    given: Any = {"num_samples": config.training.evaluation_samples, "judge": judge}
    if not isinstance(rules, Conditioned):
        return TextEvaluator(gfn, listing_of(gfn.env), **given)
    found = []
    for number in range(min(rules.num_prompts, MAX_PROMPTS)):
        one = dataclasses.replace(gfn, env=after(gfn.env, number))
        found.append(TextEvaluator(one, listing_of(one.env), number, **given))
    return ConditionalEvaluator(tuple(found), gfn.objective.log_z == "flow")


def _of_policy(
    gfn: GFlowNet, config: Config | None, num_samples: int, number: int = 0
) -> ExactEvaluator | SampledEvaluator:
    if not is_exact(gfn.env):
        kind = DensityEvaluator if is_known(gfn.env) else SampledEvaluator
        return kind(gfn, _known(gfn.env), number, num_samples)
    assert isinstance(gfn.env, Enumerable)
    graph = build_graph(gfn.env) if config is None else state_graph(config.env)
    return ExactEvaluator(gfn, graph, _known(gfn.env))


def _known(env: Environment) -> Target | None:
    return env.target() if isinstance(env, KnownTarget) else None
