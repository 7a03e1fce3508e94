"""What is measured between chunks."""

from gfnjax.evaluation.base import Distributions, Evaluator, Views
from gfnjax.evaluation.chains import ChainEvaluator
from gfnjax.evaluation.conditions import ConditionalEvaluator
from gfnjax.evaluation.energy import EnergyEvaluator
from gfnjax.evaluation.exact import ExactEvaluator
from gfnjax.evaluation.make import make_evaluator
from gfnjax.evaluation.samples import SampledEvaluator

__all__ = [
    "ChainEvaluator",
    "ConditionalEvaluator",
    "Distributions",
    "EnergyEvaluator",
    "Evaluator",
    "ExactEvaluator",
    "SampledEvaluator",
    "Views",
    "make_evaluator",
]
