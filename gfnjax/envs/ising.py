"""The Ising model on a torus: set one spin at a time, in any order."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax import registry
from gfnjax.arguments import settle
from gfnjax.envs.drawing import BLUE, Panel, Target
from gfnjax.errors import ArgumentError
from gfnjax.identity import Comparable
from gfnjax.pytree import as_node, pytree, static
from gfnjax.rewards.ising import (
    IsingReward,
    lattice,
    lattice_adjacency,
    lattice_log_z,
    sample_ising,
)
from gfnjax.types import Array

# 3^19 is the last power of three below 2^31.
MAX_INDEXED_SPINS = 19
# The transfer matrix has 2^side rows.
MAX_TRANSFER_SIDE = 10
NUM_REFERENCES = 2_000
# Of spins that are down.
BRIGHT = "#c3e0e2"


class IsingState(NamedTuple):
    """`spins` `[side^2]` int32, row by row: -1, 0 (not set yet) or +1."""

    spins: Array


@pytree
class Ising(Comparable):
    """Configurations of n = side^2 spins on a square lattice (Zhang et al., 2202.01361).

    Action i < n sets spin i to -1, action n + i to +1, where it is not set yet; backward action i
    unsets spin i. All n spins set is terminal, there is no stop. The observation is the spins as
    floats `[n]`. The reward is defined on unfinished configurations too: there, with 0 for what
    is not set, it is the partial reward.

    Args:
        side: of the lattice, at least 2.
        reward: callable pytree `spins [n] -> log R`, or a plain function of the same form; see
            `gfnjax.rewards.ising`.

    Raises:
        ValueError: if `side` is out of range.
    """

    side: int = static()
    reward: Callable[[Array], Array]

    def __post_init__(self) -> None:
        settle(self, side=2)
        object.__setattr__(self, "reward", as_node(self.reward))

    @property
    def num_spins(self) -> int:
        return self.side**2

    @property
    def num_actions(self) -> int:
        return 2 * self.num_spins

    @property
    def num_backward_actions(self) -> int:
        return self.num_spins

    @property
    def max_steps(self) -> int:
        return self.num_spins

    def initial_state(self) -> IsingState:
        return IsingState(jnp.zeros(self.num_spins, jnp.int32))

    def step(self, state: IsingState, action: Array) -> IsingState:
        here = self._site(action % self.num_spins) & (state.spins == 0)
        return IsingState(jnp.where(here, jnp.where(action < self.num_spins, -1, 1), state.spins))

    def backward_step(self, state: IsingState, backward_action: Array) -> IsingState:
        return IsingState(jnp.where(self._site(backward_action), 0, state.spins))

    def forward_mask(self, state: IsingState) -> Array:
        return jnp.tile(state.spins == 0, 2)

    def backward_mask(self, state: IsingState) -> Array:
        return state.spins != 0

    def backward_action(self, state: IsingState, action: Array) -> Array:
        return action % self.num_spins

    def forward_action(self, state: IsingState, backward_action: Array) -> Array:
        up = state.spins[backward_action] > 0
        return backward_action + jnp.where(up, self.num_spins, 0)

    def is_terminal(self, state: IsingState) -> Array:
        return (state.spins != 0).all()

    def observe(self, state: IsingState) -> Array:
        return state.spins.astype(jnp.result_type(float))

    def log_reward(self, state: IsingState) -> Array:
        return self.reward(state.spins)

    def log_partial_reward(self, state: IsingState) -> Array:
        return self.reward(state.spins)

    @property
    def num_states(self) -> int:
        return 3**self.num_spins

    def state_index(self, state: IsingState) -> Array:
        return (state.spins % 3 * self._places()).sum(dtype=jnp.int32)

    def state_at(self, index: Array) -> IsingState:
        digits = index // self._places() % 3
        return IsingState(jnp.where(digits == 2, -1, digits).astype(jnp.int32))

    def target(self) -> Target | None:
        """log Z where all neighbours are coupled alike, on lattices that are not too wide."""
        if not isinstance(self.reward, IsingReward) or self.side > MAX_TRANSFER_SIDE:
            return None
        couplings, adjacency = np.asarray(self.reward.couplings), lattice_adjacency(self.side)
        sigma = float(couplings[0, 1])
        if not np.allclose(couplings, sigma * adjacency, rtol=1e-6):
            return None
        return Target(lattice_log_z(self.side, sigma))

    def render_target(self) -> tuple[Panel, ...] | None:
        """What samples by parallel tempering show."""
        if not isinstance(self.reward, IsingReward):
            return None
        couplings = jnp.asarray(self.reward.couplings)
        sample = jax.jit(sample_ising, static_argnums=2)
        spins = sample(jax.random.key(0), couplings, NUM_REFERENCES)
        return self.render(IsingState(spins), np.full(NUM_REFERENCES, 1 / NUM_REFERENCES))

    def render(self, states: IsingState, weights: np.ndarray) -> tuple[Panel, ...]:
        """How many spins are up, and how all of them go with the first."""
        spins = np.asarray(states.spins, float)
        magnetisation = np.zeros(self.num_spins + 1)
        np.add.at(magnetisation, (np.asarray(states.spins) == 1).sum(axis=1), weights)
        correlation = (weights[:, None] * spins[:, :1] * spins).sum(axis=0)
        shape = self.side, self.side
        return (
            Panel(magnetisation, "spins up"),
            Panel(correlation.reshape(shape), "column", "row", "correlation with spin 0"),
        )

    def draw(self, axes: Any, state: IsingState) -> None:
        """Draw the lattice on a matplotlib axes: up is dark, down bright, not set yet white."""
        spins = np.asarray(state.spins).reshape(self.side, self.side)
        colours = ("#ffffff", BLUE, BRIGHT)  # of 0, 1 and -1
        rgb = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in colours], np.uint8)
        axes.imshow(rgb[spins], interpolation="nearest")
        for draw_lines in (axes.hlines, axes.vlines):
            draw_lines(np.arange(1, self.side) - 0.5, -0.5, self.side - 0.5, "white", linewidth=1)
        axes.axis("off")
        axes.set_title(f"{(spins == 1).sum()} of {self.num_spins} spins up")

    def _site(self, index: Array) -> Array:
        """`[n]` True at one site."""
        return jnp.arange(self.num_spins, dtype=jnp.int32) == index

    def _places(self) -> Array:
        if self.num_spins > MAX_INDEXED_SPINS:
            raise ArgumentError(
                "side", f"must be at most 4 to number all states with int32, got {self.side}"
            )
        return jnp.asarray(3 ** np.arange(self.num_spins), jnp.int32)


# The literature trains four layers for 20,000 steps at rates of 1e-2 and 1e-3 for log Z, which then
# moves by 2 nats in 2,000 steps.
@registry.environment(
    "ising",
    summary="spins on a square lattice; log Z is known to side 10",
    defaults={
        "steps": 3_000,
        "batch_size": 64,
        "learning_rate": 3e-3,
        "final_learning_rate": 3e-5,
    },
)
@dataclass(frozen=True)
class IsingConfig:
    """Spins on a square lattice that wraps around, all neighbours coupled alike."""

    side: int = 4
    """of the lattice"""
    sigma: float = 0.2
    """coupling of neighbours; below 0 they prefer to differ"""

    def make(self) -> Ising:
        return Ising(self.side, lattice(self.side, self.sigma))
