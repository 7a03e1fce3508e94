"""Which values come next, and who is given up: samplers and pruners of Optuna."""

import importlib
import warnings
from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np

from gfnjax.errors import ArgumentError, MissingExtraError
from gfnjax.run.sweeps.studies.spaces import Space, on_grid

SamplerName = Literal["tpe", "random"]
PrunerName = Literal["median", "hyperband", "none"]


def optuna() -> Any:
    """The library.

    Raises:
        MissingExtraError: if it is not installed.
    """
    try:
        return importlib.import_module("optuna")
    except ImportError as error:
        raise MissingExtraError(
            'a search needs Optuna: pip install "gfnjax[optuna]"', name="optuna"
        ) from error


def make_sampler(name: str, seed: int, spaces: Mapping[str, Space]) -> Any:
    """A sampler whose draws depend on the study and the number of the trial alone.

    A search that was interrupted goes on as if it had not been, and processes that share a study
    and a seed draw different values.

    Raises:
        ArgumentError: for a name that is none of `SamplerName`.
    """
    if name not in get_args(SamplerName):
        choices = " or ".join(get_args(SamplerName))
        raise ArgumentError("sampler", f"must be {choices}, got {name!r}")
    base: Any = optuna().samplers.BaseSampler

    class Repeatable(base):
        def infer_relative_search_space(self, study: Any, trial: Any) -> Any:
            return _sampler(name, 0).infer_relative_search_space(study, trial)

        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> Any:
            # Within a trial there are draws of all names together, then of those left over.
            sampler = _sampler(name, _seed(seed, trial.number, 0))
            found = sampler.sample_relative(study, trial, search_space)
            return {name: on_grid(value, spaces[name]) for name, value in found.items()}

        def sample_independent(
            self, study: Any, trial: Any, param_name: str, param_distribution: Any
        ) -> Any:
            place = list(spaces).index(param_name) + 1
            sampler = _sampler(name, _seed(seed, trial.number, place))
            given = study, trial, param_name, param_distribution
            return on_grid(sampler.sample_independent(*given), spaces[param_name])

    return Repeatable()


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def _sampler(name: str, seed: int) -> Any:
    samplers = optuna().samplers
    if name == "random":
        return samplers.RandomSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna().exceptions.ExperimentalWarning)
        # Trials under way count as bad ones, so that a population is not sixteen times the same.
        return samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)


def make_pruner(name: str, chunk_size: int, steps: int) -> Any:
    """A pruner that is asked after every chunk.

    Raises:
        ArgumentError: for a name that is none of `PrunerName`.
    """
    pruners = optuna().pruners
    match name:
        case "median":
            return pruners.MedianPruner()
        case "hyperband":
            first = min(chunk_size, steps)
            return pruners.HyperbandPruner(min_resource=first, max_resource=steps)
        case "none":
            return pruners.NopPruner()
    choices = ", ".join(get_args(PrunerName))
    raise ArgumentError("pruner", f"must be one of {choices}, got {name!r}")
