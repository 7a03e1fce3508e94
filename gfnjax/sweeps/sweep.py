"""`gfnjax.sweep`: many runs as one compiled program."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from gfnjax.arguments import is_key, whole
from gfnjax.errors import ArgumentError
from gfnjax.sweeps.placement import Placement
from gfnjax.sweeps.points import Point, described, given_points, make_points
from gfnjax.sweeps.population import Member, Population, Status
from gfnjax.sweeps.rounds import make_rounds
from gfnjax.training import RunInfo, RunState, Trainable, as_dict
from gfnjax.types import Array

Row = dict[str, Any]


@dataclass(frozen=True)
class Sweep:
    """The runs of a sweep, by member: point by point, and in each seed by seed.

    Attributes:
        points: the values of each point.
        members: description and key of each member.
        states: the last state of each; before the step that failed, where one did.
        status: "finished"; "diverged" where a step was not finite; "reached" where `stop` said so.
        rows: a tidy table, a row a member and chunk: `member`, `point`, `seed`, the values, `step`,
            `status`, the chunk's mean `loss` and other diagnostics (`train_log_reward`, ...: those
            of batches that explore) and what `evaluate` found.
    """

    points: list[Point]
    members: list[Member]
    states: list[RunState]
    status: list[Status]
    rows: list[Row]

    @property
    def last(self) -> list[Row]:
        """The last row of each member."""
        return list({row["member"]: row for row in self.rows}.values())


def sweep(
    gfn: Trainable,
    keys: Array,
    num_steps: int,
    *,
    vary: Mapping[str, Any] | None = None,
    points: Sequence[Point] | Mapping[str, Any] | None = None,
    num_samples: int | None = None,
    sample_seed: int = 0,
    chunk_size: int = 500,
    evaluate: Callable[[Any, RunState], Any] | None = None,
    stop: Callable[[Row], bool] | None = None,
    placement: Placement | None = None,
) -> Sweep:
    """Train all combinations of values and seeds, in one program if they differ in numbers alone.

        gfnjax.sweep(gfn, jax.random.split(key, 5), 2_000, vary={"learning_rate": [1e-4, 1e-3]})

    Numbers (rates, exploration, `objective.lambda_`, `env.reward.r0`, ...) cost no compilation;
    a program is compiled for each set of the others (`batch_size`, `policy`, `objective`). A member
    is the run that `train` makes of the same description and key. One whose loss is not finite
    stops there, and no other one sees it.

    Args:
        gfn: what to train.
        keys: typed PRNG keys `[num_seeds]`, the same ones at each point; or one.
        num_steps: steps of each member.
        vary: names, see `gfnjax.sweeps.points.described`, to lists or arrays of values, whose
            combinations are the points; or to `uniform(low, high)`, `log_uniform(low, high)`.
        points: these points instead: dicts by name, or an array `[num_points]` for each name.
        num_samples: joint draws of the names that are drawn.
        sample_seed: of these draws.
        chunk_size: steps between two visits to the host.
        evaluate: `(gfn, state) -> NamedTuple or dict of scalars`, of each member after each chunk.
            What it needs of the description it must take from this `gfn`: the one that is given
            here is another one where the environment is varied.
        stop: whether a member need not go on, from its latest row.
        placement: devices and memory; all there are without.

    Raises:
        TypeError, ValueError: for names, values or a placement that cannot be, before anything is
            compiled.
    """
    if jax.process_count() > 1:
        problem = "must be that of one process; gfnjax.run.sweeps.session divides among several"
        raise ArgumentError("placement", problem)
    num_steps = whole("num_steps", num_steps, least=1)
    chunk_size = whole("chunk_size", chunk_size, least=1)
    keys = _check_keys(keys)
    placement = Placement() if placement is None else placement
    _check(gfn, vary, evaluate, stop, placement)
    chosen = _points(vary, points, num_samples, sample_seed)
    gfns = [described(gfn, point) for point in chosen]
    members = [Member(one, key) for one in gfns for key in keys]
    count = len(members)
    found = Sweep(chosen, members, [None] * count, ["running"] * count, [])
    for numbers, layout in make_rounds(members, placement, chunk_size):
        population = Population([members[i] for i in numbers], layout)
        while population.running:
            infos = population.advance(num_steps, chunk_size)
            moved = [(place, info) for place, info in enumerate(infos) if info is not None]
            for place, info in moved:
                row = _row(found, numbers[place], population, place, info, evaluate)
                if row["status"] != "diverged" and stop is not None and stop(row):
                    population.status[place] = row["status"] = "reached"
                found.rows.append(row)
        for place, i in enumerate(numbers):
            found.states[i] = _kept(population.state(place))
            found.status[i] = population.status[place]
        del population  # before the next one takes as much memory
    found.rows.sort(key=lambda row: row["member"])
    return found


def _row(
    found: Sweep,
    number: int,
    population: Population,
    place: int,
    info: RunInfo,
    evaluate: Callable[[Any, RunState], Any] | None,
) -> Row:
    """That of a member, by its number and its place in a population, after a chunk."""
    num_seeds = len(found.members) // len(found.points)
    point, seed = divmod(number, num_seeds)
    about = {"member": number, "point": point, "seed": seed, **found.points[point]}
    status = population.status[place]
    diverged = status == "diverged"
    known = {_named(name): x for name, x in info._asdict().items() if x is not None}
    numbers = {name: float(np.mean(x)) for name, x in known.items()}
    if diverged:
        numbers = dict.fromkeys(numbers, float("nan"))
    elif evaluate is not None:
        numbers |= as_dict(evaluate(found.members[number].gfn, population.state(place)))
        if taken := numbers.keys() & {*about, "step", "status"}:
            problem = f"must not call a metric {min(taken)!r}, as a column of every row is called"
            raise ArgumentError("evaluate", problem)
    step = int(population.steps[place]) + diverged  # the one that failed
    return {**about, "step": step, "status": status, **numbers}


def _named(diagnostic: str) -> str:
    """Apart from the loss they are of the batches, which explore: no measure of the policy."""
    return diagnostic if diagnostic in ("loss", "grad_norm") else f"train_{diagnostic}"


def _kept(state: RunState) -> RunState:
    """On the host, where it takes no device's memory; keys are small."""
    return jax.tree.map(lambda x: x if is_key(x) else np.asarray(x), state)


def _check(gfn: Any, vary: Any, evaluate: Any, stop: Any, placement: Any) -> None:
    if isinstance(gfn, type) or not isinstance(gfn, Trainable):
        problem = f"must be a GFlowNet or the like, with init and step, got {type(gfn).__name__}"
        raise ArgumentError("gfn", problem)
    if not isinstance(vary, Mapping | None):
        problem = f"must be a dict of names and values, got {type(vary).__name__}"
        raise ArgumentError("vary", problem)
    for name, function in (("evaluate", evaluate), ("stop", stop)):
        if function is not None and not callable(function):
            raise ArgumentError(name, f"must be a function, got {type(function).__name__}")
    if not isinstance(placement, Placement):
        problem = f"must be a gfnjax.sweeps.Placement, got {type(placement).__name__}"
        raise ArgumentError("placement", problem)


def _points(vary: Any, points: Any, num_samples: int | None, seed: int) -> list[Point]:
    if points is None:
        return make_points(vary or {}, num_samples, seed)
    for name, value in (("vary", vary), ("num_samples", num_samples)):
        if value is not None:
            raise ArgumentError(
                name, "does nothing where points are given", f"leave out {{{name}}}"
            )
    if isinstance(points, str) or not hasattr(points, "__len__"):
        raise ArgumentError("points", f"must be dicts by name, at least one, got {points!r}")
    found = given_points(points) if isinstance(points, Mapping) else list(points)
    if not found or not all(isinstance(point, Mapping) for point in found):
        raise ArgumentError("points", f"must be dicts by name, at least one, got {points!r}")
    names = {tuple(point) for point in found}
    if len(names) > 1:
        raise ArgumentError("points", f"must all have the same names, got {sorted(names)}")
    return [dict(point) for point in found]


def _check_keys(keys: Any) -> Array:
    if not is_key(keys) or keys.ndim > 1 or not keys.size:
        shape = f" of shape {keys.shape}" if is_key(keys) else ""
        problem = (
            f"must be a typed PRNG key, or [num_seeds] of them, got {type(keys).__name__}{shape}"
        )
        raise ArgumentError("keys", problem, "use jax.random.split(jax.random.key(0), num_seeds)")
    return keys.reshape(-1) if keys.ndim else jax.numpy.expand_dims(keys, 0)
