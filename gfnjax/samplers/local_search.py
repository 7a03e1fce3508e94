"""Local search: sampled objects are taken apart a little and built again, a few times."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from gfnjax.arguments import whole
from gfnjax.envs.base import Environment
from gfnjax.model import Model
from gfnjax.rollout import terminal_states
from gfnjax.samplers.back_and_forth import Acceptance, back_and_forth, check
from gfnjax.state import Params
from gfnjax.types import Array, Trajectory


@dataclass(frozen=True)
class LocalSearch:
    """`num_rounds` times: K steps back with P_B, forth again with P_F, accept or stay.

    "greedy" accepts what has a higher reward and finds modes; "metropolis" leaves R / Z
    invariant (Kim et al., 2310.02710; the rule is in `gfnjax.samplers.back_and_forth`).

    Attributes:
        num_rounds: at least 1.
        back_share: K as a share of the trajectory, rounded up, in (0, 1].
        num_back: K itself, at least 1; where given, `back_share` is not used.
        acceptance: "greedy" or "metropolis".

    Raises:
        ValueError: for numbers out of range.
    """

    num_rounds: int = 4
    back_share: float = 0.5
    num_back: int | None = None
    acceptance: Acceptance = "greedy"

    def __post_init__(self) -> None:
        object.__setattr__(self, "num_rounds", whole("num_rounds", self.num_rounds, least=1))
        if self.num_back is not None:
            object.__setattr__(self, "num_back", whole("num_back", self.num_back))
        check(None, self.num_back, self._share, self.acceptance)

    def check(self, env: Environment) -> None:
        """Raise a `ValueError` if `env` has no trajectories as long as `num_back`."""
        check(env.max_steps, self.num_back, self._share, self.acceptance)

    @property
    def _share(self) -> float | None:
        return self.back_share if self.num_back is None else None

    @partial(jax.jit, static_argnums=0)
    def __call__(
        self, model: Model, params: Params, key: Array, trajectories: Trajectory
    ) -> Trajectory:
        """Trajectories `[B, ...]` into the objects that search led to.

        An accepted one goes the way of P_B into the object it started from as far as that was
        kept, then the way it was built; the others are paths of P_B into where they have stayed.

        Args:
            model: gives environment, policies and reward.
            params: current ones; there is no exploration.
            key: a typed PRNG key.
            trajectories: `[B, ...]` complete ones, to start from the objects they end in.
        """

        def search(trajectories: Trajectory, key: Array) -> tuple[Trajectory, None]:
            states = terminal_states(trajectories)
            move = back_and_forth(
                model,
                params,
                key,
                states,
                self.num_back,
                back_share=self._share,
                acceptance=self.acceptance,
            )
            return move.trajectories, None

        uncut = jnp.zeros(trajectories.length.shape, bool)
        trajectories = trajectories._replace(cut=uncut, log_path_reward=None)
        return lax.scan(search, trajectories, jax.random.split(key, self.num_rounds))[0]
