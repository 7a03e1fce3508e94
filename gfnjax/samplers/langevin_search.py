"""Local search by the gradient of log R: parallel chains from the objects of a batch."""

import importlib
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from gfnjax import spread
from gfnjax.arguments import whole
from gfnjax.envs.base import Environment, Euclidean, log_reward_of
from gfnjax.errors import ArgumentError, MissingExtraError
from gfnjax.model import Model
from gfnjax.numbers import POSITIVE, check_number
from gfnjax.rollout import terminal_states
from gfnjax.state import Params
from gfnjax.types import Array, Trajectory

# The acceptance at which MALA explores fastest (Roberts & Rosenthal, 1998).
BEST_ACCEPTANCE = 0.574
ADAPTATION = 0.1


@dataclass(frozen=True)
class LangevinSearch:
    """The Metropolis-adjusted Langevin algorithm, started from each object (2402.05098).

    Each chain leaves R / Z invariant once its step size has settled: that is learned over the first
    half of the steps, where log epsilon moves by .1 times acceptance minus .574, and then stays.
    What chains end in is learned from by way of P_B, and replayed. Needs BlackJAX and an
    environment that is `Euclidean`.

    Attributes:
        num_steps: of each chain, at least 2.
        step_size: epsilon at first: x' ~ N(x + epsilon grad log R, 2 epsilon I) is proposed.

    Raises:
        ValueError: for numbers out of range.
        MissingExtraError: without BlackJAX.
    """

    num_steps: int = 200
    step_size: float = 0.01

    def __post_init__(self) -> None:
        object.__setattr__(self, "num_steps", whole("num_steps", self.num_steps, least=2))
        check_number("step_size", self.step_size, *POSITIVE)
        _mala()

    def check(self, env: Environment) -> None:
        """Raise an error if the objects of `env` are no points of R^d."""
        if not isinstance(env, Euclidean):
            problem = f"needs points of R^d, {type(env).__name__} has none"
            raise ArgumentError("local_search", problem, "use LocalSearch()", "LangevinSearch")

    @partial(jax.jit, static_argnums=0)
    def __call__(
        self, model: Model, params: Params, key: Array, trajectories: Trajectory
    ) -> Trajectory:
        """Trajectories `[B, ...]` of P_B into where the chains have come to.

        Args:
            model: gives environment, P_B and reward.
            params: current ones, of P_B.
            key: a typed PRNG key.
            trajectories: `[B, ...]` complete ones, to start from the objects they end in.
        """
        chain_key, path_key = jax.random.split(key)
        env: Any = model.env
        start = jax.vmap(env.point)(terminal_states(trajectories))
        keys = jax.random.split(chain_key, (self.num_steps, spread.whole(start.shape[0])))
        ends = self._chains(env, spread.rows(keys, axis=1), start)
        return model.sample_backward(params, path_key, jax.vmap(env.at_point)(ends))

    def _chains(self, env: Any, keys: Array, start: Array) -> Array:
        """`[B, d]` where chains from `start` `[B, d]` have come to."""
        mala = _mala()
        kernel = mala.build_kernel()

        def log_density(x: Array) -> Array:
            return log_reward_of(env, env.at_point(x))

        def move(chain: Any, log_step: Array, key: Array, rate: Array) -> tuple[Any, Array]:
            chain, info = kernel(key, chain, log_density, jnp.exp(log_step))
            return chain, log_step + rate * (info.acceptance_rate - BEST_ACCEPTANCE)

        def move_all(carry: tuple[Any, Array], given: tuple[Array, Array]) -> tuple[Any, None]:
            return jax.vmap(move, (0, 0, 0, None))(*carry, *given), None

        settling = jnp.arange(self.num_steps, dtype=jnp.int32) < self.num_steps // 2
        rate = jnp.where(settling, jnp.asarray(ADAPTATION, start.dtype), 0.0)
        chains = jax.vmap(lambda x: mala.init(x, log_density))(start)
        log_step = jnp.full(start.shape[0], jnp.log(self.step_size), start.dtype)
        (chains, _), _ = lax.scan(move_all, (chains, log_step), (keys, rate))
        return chains.position


def _mala() -> Any:
    """BlackJAX's kernel; it takes seconds to import, and few need it."""
    try:
        return importlib.import_module("blackjax.mcmc.mala")
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "LangevinSearch needs BlackJAX: pip install 'gfnjax[diffusion]'", name="blackjax"
        ) from error
