"""What is kept of the members of a round between two chunks.

One process writes a single file, several write shards; either can be read by any number of them.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax import spread
from gfnjax.run import checkpoint
from gfnjax.run.processes import are_several, first, together
from gfnjax.run.sweeps import shards
from gfnjax.sweeps.placement import Layout
from gfnjax.sweeps.population import STATUSES, Member, Population, shapes
from gfnjax.training import RunState

KEEP = 2  # the older one, should the newer one be damaged


class Kept(NamedTuple):
    """What a checkpoint has: states `[n, ...]` of n members, their status `[n]`, and the step.

    Nothing in it depends on the devices: slots that only fill these up are left out.
    """

    states: Any
    status: Any
    step: Any


def save(checkpoints: Path, population: Population, step: int) -> None:
    """Store the members as they are at a step; called by all processes."""
    first(lambda: checkpoints.mkdir(parents=True, exist_ok=True))
    status = np.array([STATUSES.index(x) for x in population.status], np.int32)
    if are_several():
        path = checkpoints / f"step-{step:09d}{shards.SUFFIX}"
        about = {"status": status.tolist(), "step": step}
        shards.write(path, population.states, about)
    else:
        kept = Kept(population.kept(), status, np.int32(step))
        path = checkpoint.save(checkpoints, kept, keep=KEEP)
    first(lambda: _forget(checkpoints, path))


def restored(
    checkpoints: Path, members: Sequence[Member], layout: Layout
) -> tuple[Population, int | None]:
    """The members as the newest good checkpoint has them, and its step; None where none was made.

    Raises:
        CheckpointError: if there are checkpoints and none is good.
    """
    paths = [checkpoints / name for name in first(lambda: _names(checkpoints))]
    if not paths:
        return Population(members, layout), None
    template = Kept(shapes(members, layout), _shape(jnp.int32, len(members)), _shape(jnp.int32))
    kept, _ = checkpoint.first_good(
        checkpoints, reversed(paths), lambda path: together(lambda: _read(path, template))
    )
    population = Population(members, layout, kept.states)
    population.status = [STATUSES[i] for i in np.asarray(kept.status)]
    return population, int(kept.step)


def template_of(gfn: Any, key: Any, num_parts: int) -> RunState:
    """The shapes of one member's state, whose batch `num_parts` devices have shared."""
    whole = jax.eval_shape(gfn.init, key)
    if num_parts == 1:
        return whole
    keys = jax.eval_shape(lambda: jax.random.split(key, num_parts))
    init = jax.vmap(lambda _: gfn.init(key), axis_name=spread.BATCH)
    apart = jax.eval_shape(init, keys)
    return jax.tree.map(lambda d, one, x: x if d else one, spread.divided(whole), whole, apart)


def read_member(
    checkpoints: Path, template: RunState, count: int, place: int, step: int | None = None
) -> RunState:
    """The state of one member, from the newest good checkpoint or that of a step.

    Args:
        checkpoints: of its round.
        template: a state of one member.
        count: members of the round.
        place: which of them.
        step: of the checkpoint; the newest good one without.

    Raises:
        CheckpointError: if there is none, or none that is good.
    """
    names = _names(checkpoints)
    wanted = [name for name in names if step is None or name.startswith(f"step-{step:09d}.")]
    if not wanted:
        known = ", ".join(str(int(name[5:14])) for name in names)
        problem = "no checkpoint" if step is None else f"step must be one of {known or 'none'}"
        raise checkpoint.CheckpointError(f"{problem}, in {checkpoints}")
    states = jax.tree.map(lambda x: _shape(x.dtype, count, *x.shape), template)
    whole = Kept(states, _shape(jnp.int32, count), _shape(jnp.int32))
    paths = [checkpoints / name for name in reversed(wanted)]
    kept, _ = checkpoint.first_good(checkpoints, paths, lambda path: _read(path, whole))
    return jax.tree.map(lambda x: x[place], kept.states)


def _read(path: Path, template: Kept) -> Kept:
    if path.suffix != shards.SUFFIX:
        return checkpoint.read(path, template)
    states, about = shards.read(path, template.states)
    return Kept(states, about["status"], about["step"])


def _names(checkpoints: Path) -> list[str]:
    """Those of all checkpoints that are complete, the newest last."""
    files = list(checkpoints.glob("step-*.ckpt"))
    folders = [x for x in checkpoints.glob(f"step-*{shards.SUFFIX}") if shards.is_sealed(x)]
    return sorted(path.name for path in (*files, *folders))


def _forget(checkpoints: Path, saved: Path) -> None:
    """Drop all but the last ones, and what processes that were killed have left of some."""
    # Another one of this step, or a later one, was refused: this one takes its place.
    older = [name for name in _names(checkpoints) if name.partition(".")[0] < saved.stem]
    newest = *older[1 - KEEP :], saved.name
    for path in checkpoints.iterdir():
        if path.name in newest or not path.name.lstrip(".").startswith("step-"):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _shape(dtype: Any, *shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype)
