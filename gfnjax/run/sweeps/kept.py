"""What is kept of the members of a round between two chunks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax.run import checkpoint
from gfnjax.sweeps.placement import Layout
from gfnjax.sweeps.population import STATUSES, Member, Population


class Kept(NamedTuple):
    """What a checkpoint has: states `[n, ...]` of n members, their status `[n]`, and the step.

    Nothing in it depends on the devices: slots that only fill these up are left out.
    """

    states: Any
    status: Any
    step: Any


def save(checkpoints: Path, population: Population, step: int) -> None:
    """Store the members as they are at a step."""
    status = np.array([STATUSES.index(x) for x in population.status], np.int32)
    # Two: the older one, should the newer one be damaged.
    checkpoint.save(checkpoints, Kept(population.kept(), status, np.int32(step)), keep=2)


def restored(
    checkpoints: Path, members: Sequence[Member], layout: Layout
) -> tuple[Population, int | None]:
    """The members as the newest good checkpoint has them, and its step; None where none was made.

    Raises:
        CheckpointError: if there are checkpoints and none is good.
    """
    checkpoints.mkdir(parents=True, exist_ok=True)
    if not any(checkpoints.glob("*.ckpt")):
        return Population(members, layout), None
    one = jax.eval_shape(members[0].gfn.init, members[0].key)
    states = jax.tree.map(lambda x: _shape(x.dtype, len(members), *x.shape), one)
    template = Kept(states, _shape(jnp.int32, len(members)), _shape(jnp.int32))
    kept, _ = checkpoint.load_latest(checkpoints, template)
    population = Population(members, layout, kept.states)
    population.status = [STATUSES[i] for i in np.asarray(kept.status)]
    return population, int(kept.step)


def _shape(dtype: Any, *shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype)
