"""Environments from their configurations, and their state graphs, which take a while."""

from functools import lru_cache
from typing import Any

import jax.numpy as jnp
import numpy as np

from gfnjax.envs.base import Environment
from gfnjax.envs.tempered import exponent_of, with_exponent
from gfnjax.metrics.state_graph import StateGraph, build_graph

LAST_STEP = np.iinfo(np.int32).max


def make_environment(env_config: Any) -> Environment:
    """What `make` of a configuration gives; a configuration without it is an environment itself.

    Raises:
        TypeError: if that is no environment.
        ValueError, OSError: as `make`.
    """
    env = env_config.make() if hasattr(type(env_config), "make") else env_config
    if not hasattr(type(env), "forward_mask"):
        raise TypeError(
            f"{type(env_config).__name__}.make() must return an environment, got "
            f"{type(env).__name__}"
        )
    return env


@lru_cache(maxsize=2)
def state_graph(env_config: Any) -> StateGraph:
    """The state graph of an enumerable environment; the last ones are kept.

    Where a reward has a schedule (`gfnjax.tempered`), it is as it ends.

    Raises:
        TypeError, ValueError: where `build_graph` does.
    """
    env = make_environment(env_config)
    exponent = exponent_of(env)
    if callable(exponent):
        env = with_exponent(env, exponent(jnp.asarray(LAST_STEP)))
    return build_graph(env)
