"""What is measured between chunks."""

from gfnjax.run.evaluation.base import Distributions, Evaluator, Views
from gfnjax.run.evaluation.chains import ChainEvaluator
from gfnjax.run.evaluation.conditional import ConditionalEvaluator
from gfnjax.run.evaluation.densities import DensityEvaluator
from gfnjax.run.evaluation.energy import EnergyEvaluator
from gfnjax.run.evaluation.exact import ExactEvaluator
from gfnjax.run.evaluation.make import make_evaluator
from gfnjax.run.evaluation.samples import SampledEvaluator
from gfnjax.run.evaluation.texts import TextEvaluator

__all__ = [
    "ChainEvaluator",
    "ConditionalEvaluator",
    "DensityEvaluator",
    "Distributions",
    "EnergyEvaluator",
    "Evaluator",
    "ExactEvaluator",
    "SampledEvaluator",
    "TextEvaluator",
    "Views",
    "make_evaluator",
]
