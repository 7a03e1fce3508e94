"""Which XLA operations a chunk of training steps spends its time on: python benchmarks/topops.py

Every operation that the compiled program ran is traced, its time without what it waits for inside
(a loop without its body), and told by the line of source it came from. Tracing itself costs a few
microseconds an operation: compare shares, and take times from where nothing is traced.

    python benchmarks/topops.py TASK [--steps 50] [--warm 200] [--top 15] [--batch 16]
"""

import argparse
import glob
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.profiler import ProfileData

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from gfnjax import GFlowNet, TrainState, training
from gfnjax.compiled.hlo import Instruction, Module, Source, parse


class Cost(NamedTuple):
    """Of one operation in a trace: nanoseconds of its own, and how often it ran."""

    nanoseconds: float
    count: int


class Trace(NamedTuple):
    """Of a program: `costs` by operation, `rest` the executor's own time, `wall` all of it."""

    costs: dict[str, Cost]
    rest: float
    wall: float


def traced(fn: Callable[[], Any]) -> Trace:
    """The operations that `fn` runs; what it returns has been waited for."""
    with tempfile.TemporaryDirectory() as folder:
        options = jax.profiler.ProfileOptions()
        options.python_tracer_level = 0  # as many events as there are operations, and none for us
        with jax.profiler.trace(folder, profiler_options=options):
            start = time.perf_counter()
            jax.block_until_ready(fn())
            wall = time.perf_counter() - start
        (path,) = glob.glob(f"{folder}/plugins/profile/*/*.xplane.pb")
        costs, rest = own_times(ProfileData.from_file(path))
    return Trace(costs, rest, 1e9 * wall)


def own_times(data: ProfileData) -> tuple[dict[str, Cost], float]:
    """Nanoseconds by operation, without those of what ran inside of it on the same thread."""
    costs: dict[str, list[float]] = defaultdict(list)
    rest = 0.0
    for events in _events_by_thread(data):
        for op, nanoseconds in _without_inner(events):
            if op is None:
                rest += nanoseconds
            else:
                costs[str(op)].append(nanoseconds)
    return {op: Cost(sum(times), len(times)) for op, times in costs.items()}, rest


def _events_by_thread(data: ProfileData) -> Iterable[list[tuple[float, float, Any]]]:
    """Start, minus the duration, and the operation, which is None for the executor."""
    with warnings.catch_warnings():  # of Python 3.13, about a type in jaxlib; as an error it aborts
        warnings.simplefilter("ignore", DeprecationWarning)
        for line in (line for plane in data.planes for line in plane.lines):
            found = []
            for event in line.events:
                op = dict(event.stats).get("hlo_op")
                if op is not None or event.name == "ThunkExecutor::Execute":
                    found.append((event.start_ns, -event.duration_ns, op))
            yield found


def _without_inner(events: list[tuple[float, float, Any]]) -> Iterable[tuple[Any, float]]:
    """Events of one thread lie within each other, or apart."""
    open_events: list[list[Any]] = []  # end, operation, own time
    for start, minus_duration, op in sorted(events, key=lambda event: event[:2]):
        while open_events and open_events[-1][0] <= start:
            yield tuple(open_events.pop()[1:])
        if open_events:
            open_events[-1][2] += minus_duration
        open_events.append([start - minus_duration, op, -minus_duration])
    for _, op, own in open_events:
        yield op, own


def origin(module: Module, name: str) -> tuple[Instruction | None, Source | None]:
    """An operation and the innermost line of gfnjax behind it, or of another package's.

    The compiler's own rewrites carry no line: then the line of what they are computed from.
    """
    found = instruction = module.find(name)
    for _ in range(8):
        if found is None or found.sources:
            break
        computation = next(c for c in module.computations.values() if found.name in c)
        found = next((computation[x] for x in found.operands if x in computation), None)
    if found is None or not found.sources:
        return instruction, None
    own = (source for source in found.sources if source.file.startswith("gfnjax/"))
    return instruction, next(own, found.sources[0])


def print_table(trace: Trace, module: Module, num_steps: int, top: int = 15) -> None:
    """The costliest operations first."""
    total = sum(cost.nanoseconds for cost in trace.costs.values()) + trace.rest
    print("| operation | shape | us/step | share | runs/step | us/run | scope | source |")
    print("|---|---|---|---|---|---|---|---|")
    ranked = sorted(trace.costs.items(), key=lambda item: -item[1].nanoseconds)
    for name, (nanoseconds, count) in ranked[:top]:
        instruction, source = origin(module, name)
        shape = "?" if instruction is None else _brief(instruction.shape)
        scope = "" if instruction is None else instruction.scope
        scope = scope.partition("/while/body/")[2] or scope
        own = f"{1e-3 * nanoseconds / num_steps:.1f} | {nanoseconds / total:.1%}"
        each = f"{count / num_steps:.1f} | {1e-3 * nanoseconds / count:.2f}"
        print(f"| {name} | {shape} | {own} | {each} | {scope[-50:]} | {source or ''} |")
    others = sum(cost.nanoseconds for _, cost in ranked[top:])
    count = sum(cost.count for cost in trace.costs.values()) / num_steps
    rest = {f"{max(len(ranked) - top, 0)} others": others, "executor, between them": trace.rest}
    for label, nanoseconds in rest.items():
        print(
            f"| {label} | | {1e-3 * nanoseconds / num_steps:.1f} | {nanoseconds / total:.1%} "
            "| | | | |"
        )
    print(
        f"\n{count:.0f} operations a step; traced {1e-3 * total / num_steps:.0f} us a step in "
        f"{1e-3 * trace.wall / num_steps:.0f} us of wall time"
    )


def _brief(shape: str) -> str:
    short = shape.partition("{")[0]
    return short if len(short) <= 24 else short[:21] + "..."


def trained(gfn: GFlowNet, num_steps: int) -> TrainState:
    """A state after some steps: early trajectories are not as long as those that follow."""
    state = training.init(gfn, jax.random.key(0))
    return training.run_chunk(gfn, state, num_steps, num_steps)[0]


def top_operations(gfn: GFlowNet, state: TrainState, num_steps: int, top: int = 15) -> None:
    """Trace a chunk of steps as `train` runs it, and print the table."""
    program = training._run.lower(gfn, state, num_steps, num_steps).compile()

    def chunk() -> Any:
        return program(gfn, training.copy(state), num_steps)

    jax.block_until_ready(chunk())
    start = time.perf_counter()
    jax.block_until_ready(chunk())
    wall = time.perf_counter() - start
    print_table(traced(chunk), parse(program.as_text()), num_steps, top)
    print(f"Without tracing {1e6 * wall / num_steps:.0f} us a step.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task")
    parser.add_argument("--steps", type=int, default=50, help="steps that are traced")
    parser.add_argument("--warm", type=int, default=200, help="steps of training before")
    parser.add_argument("--top", type=int, default=15, help="rows of the table")
    parser.add_argument("--batch", type=int, default=None, help="trajectories per step")
    args = parser.parse_args()
    from benchmarks.tasks import gflownet

    gfn = gflownet(args.task, batch_size=args.batch)
    top_operations(gfn, trained(gfn, args.warm), args.steps, args.top)


if __name__ == "__main__":
    main()
