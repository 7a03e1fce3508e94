"""What the compiler makes of training steps does not grow unnoticed.

The table holds what it was when it was last recorded: `python tests/test_compiled_programs.py
record`. Times depend on the machine and what else it does; these counts do not.
"""

import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

if __name__ == "__main__":
    import conftest  # noqa: F401 the settings of the tests

import jax
import jax.numpy as jnp
import jaxlib
import pytest
from jax import lax

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import networks, programs
from benchmarks.settings import ATTENTION
from benchmarks.tasks import gflownet
from gfnjax import GFlowNet
from gfnjax.compiled import counts, hlo
from gfnjax.exploration import EpsilonTempered

TABLE = Path(__file__).parent / "compiled_programs.json"
TASKS = "grid-tb", "grid-subtb", "bits", "bits-left-to-right", "dag", "set-medium"
TOLERANCE, BYTES = 0.1, 64 * 1024


class Change(NamedTuple):
    """A quantity that is not what the table says, None where it is not there."""

    task: str
    quantity: str
    committed: int | None
    now: int | None

    @property
    def row(self) -> str:
        change = ""
        if self.committed and self.now is not None:
            change = f"{self.now / self.committed - 1:+.0%}"
        return (
            f"{self.task:<20} {self.quantity:<56} {self.committed!s:>11} {self.now!s:>11} {change}"
        )


def changes(task: str, committed: dict[str, int], now: dict[str, int]) -> list[Change]:
    """All that is out of bounds: 10 % either way, of bytes 64 KiB more; of loops any."""
    found = []
    for quantity in dict.fromkeys((*committed, *now)):
        old, new = committed.get(quantity), now.get(quantity)
        slack = 0.0 if old is None or quantity == "loops" else TOLERANCE * old
        slack += BYTES if "bytes" in quantity else 0
        if old is None or new is None or abs(new - old) > slack:
            found.append(Change(task, quantity, old, new))
    return found


def line(task: str, quantity: str, committed: object, now: object, change: str) -> str:
    return f"{task:<20} {quantity:<32} {committed!s:>11} {now!s:>11} {change:>6}"


def report(found: list[Change], loops: Sequence[counts.Loop] = ()) -> str:
    """What is out of bounds, and which loop is which."""
    title = line("task", "quantity", "committed", "now", "change")
    names = [f"now loop {i}: {loop.scope}" for i, loop in enumerate(loops)]
    advice = "If this is meant, record: python tests/test_compiled_programs.py record"
    return "\n".join(["", title, *(change.row for change in found), *names, advice])


def versions() -> dict[str, str]:
    return {"jax": jax.__version__, "jaxlib": jaxlib.__version__, "machine": platform.machine()}


def describe(name: str) -> GFlowNet:
    """A task of the benchmarks, with one layer where there are several: they compile alike."""
    gfn, layer = gflownet(name), ATTENTION._replace(num_layers=1)
    if name == "bits":
        return replace(gfn, policy=networks.words_policy(gfn.env, layer))
    if name == "bits-left-to-right":
        return replace(gfn, policy=networks.causal_policy(gfn.env, layer))
    return gfn


def traced(gfn: GFlowNet) -> dict[str, int]:
    state = jax.eval_shape(gfn.init, jax.random.key(0))
    return programs.traced_of(gfn.step, state)._asdict()


def compiled(gfn: GFlowNet) -> counts.Program:
    state = jax.eval_shape(gfn.init, jax.random.key(0))
    return counts.program_of(jax.jit(gfn.step).lower(state).compile())


def record() -> None:
    jax.config.update("jax_disable_most_optimizations", False)
    tasks = {}
    for name in TASKS:
        gfn = describe(name)
        tasks[name] = {"traced": traced(gfn), "compiled": programs.quantities(compiled(gfn))}
    TABLE.write_text(json.dumps({"versions": versions(), "tasks": tasks}, indent=1) + "\n")


@pytest.fixture(scope="module")
def table():
    return json.loads(TABLE.read_text())


@pytest.mark.parametrize("task", TASKS)
def test_the_traced_step_is_what_it_was(table, task):
    found = changes(task, table["tasks"][task]["traced"], traced(describe(task)))
    assert not found, report(found)


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize("task", TASKS)
def test_the_compiled_step_is_what_it_was(table, task):
    then, here = table["versions"], versions()
    other = [f"{x} {here[x]} for {then[x]}" for x in ("jaxlib", "machine") if here[x] != then[x]]
    if other:
        pytest.skip(f"recorded with another compiler: {', '.join(other)}; traced steps compare")
    program = compiled(describe(task))
    found = changes(task, table["tasks"][task]["compiled"], programs.quantities(program))
    assert not found, report(found, program.loops)


@dataclass(frozen=True)
class Laborious(EpsilonTempered):
    """Explores as usual, after computing something for nothing in every state."""

    def __call__(self, env, logits, mask, values):
        for _ in range(5):
            logits = logits + 1e-9 * jnp.flip(jnp.sort(logits))
        return super().__call__(env, logits, mask, values)


@pytest.mark.optimised
def test_more_operations_in_a_rollout_are_noticed():
    gfn = gflownet("grid-8x8")
    program = compiled(gfn)
    heavier = compiled(replace(gfn, exploration=Laborious()))
    before, after = programs.quantities(program), programs.quantities(heavier)
    found = changes("grid-8x8", before, after)
    (rollout,) = [x for x in found if x.quantity.startswith("operations in loop")]
    assert rollout.now >= rollout.committed + 5
    assert rollout.quantity in report(found, heavier.loops)
    assert changes("grid-8x8", before, before) == []


def test_what_counts_as_a_change():
    committed = {"loops": 20, "fusions": 100, "temporary bytes": 1_000_000}
    assert (
        changes("t", committed, {"loops": 20, "fusions": 110, "temporary bytes": 1_165_000}) == []
    )
    now = {"loops": 21, "fusions": 89, "temporary bytes": 1_166_000, "collectives": 1}
    found = changes("t", committed, now)
    assert [x.quantity for x in found] == ["loops", "fusions", "temporary bytes", "collectives"]
    assert "-11%" in report(found)


HLO = """\
HloModule jit_f, is_scheduled=true, entry_computation_layout={(f32[4]{0})->f32[4]{0}}

FileNames
1 "/home/someone/gfnjax/rollout.py"
2 "/env/lib/python3.11/site-packages/jax/numpy.py"

FunctionNames
1 "rollout"

FileLocations
1 {file_name_id=1 function_name_id=1 line=7 end_line=7 column=1 end_column=2}
2 {file_name_id=2 function_name_id=1 line=9 end_line=9 column=1 end_column=2}

StackFrames
1 {file_location_id=1 parent_frame_id=1}
2 {file_location_id=2 parent_frame_id=2}

%fused_product (a: f32[8,4], b: f32[4,2]) -> f32[8,2] {
  %a = f32[8,4]{1,0} parameter(0)
  %b = f32[4,2]{1,0} parameter(1)
  ROOT %p = f32[8,2]{1,0} dot(%a, %b), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

%inner_body (x: (s32[], f32[8,2])) -> (s32[], f32[8,2]) {
  %x = (s32[], f32[8,2]{1,0:T(8,128)}) parameter(0)
  %i = s32[] get-tuple-element(%x), index=0
  %m = f32[8,2]{1,0:T(8,128)} get-tuple-element(%x), index=1
  %twice = f32[8,2]{1,0:T(8,128)S(1)} add(%m, /*index=1*/%m), metadata={op_name="f(a)/{b}"}
  ROOT %next = (s32[], f32[8,2]{1,0}) tuple(%i, %twice)
}

%condition (c: (s32[], f32[8,2])) -> pred[] {
  %c = (s32[], f32[8,2]{1,0}) parameter(0)
  %n = s32[] get-tuple-element(%c), index=0
  %three = s32[] constant(3)
  ROOT %less = pred[] compare(%n, %three), direction=LT
}

%called (y: f32[8,4]) -> f32[8,2] {
  %y = f32[8,4]{1,0} parameter(0)
  %k = f32[4,2]{1,0} constant({...})
  ROOT %product = f32[8,2]{1,0} fusion(%y, %k), kind=kOutput, calls=%fused_product
}

%body (z: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  %z = (s32[], f32[8,4]{1,0}) parameter(0)
  %j = s32[] get-tuple-element(%z), index=0
  %w = f32[8,4]{1,0} get-tuple-element(%z), index=1
  %small = f32[8,2]{1,0} call(%w), to_apply=%called
  %start = (s32[], f32[8,2]{1,0}) tuple(%j, %small)
  %inner = (s32[], f32[8,2]{1,0}) while(%start), condition=%condition, body=%inner_body, \
backend_config={"known_trip_count":{"n":"3"}}
  %sum = f32[8,4]{1,0} all-reduce(%w), to_apply=%add
  ROOT %after = (s32[], f32[8,4]{1,0}) tuple(%j, %sum)
}

ENTRY %main (q: f32[8,4]) -> f32[8,4] {
  %q = f32[8,4]{1,0} parameter(0)
  %zero = s32[] constant(0)
  %flat = f32[32]{0} bitcast(%q)
  %root = f32[8,4]{1,0} sqrt(%q), metadata={op_name="jit(f)/sqrt" stack_frame_id=2}
  %called.1 = f32[] custom-call(%flat), custom_call_target="there"
  %first = (s32[], f32[8,4]{1,0}) tuple(%zero, %root)
  %outer = (s32[], f32[8,4]{1,0}) while(%first), condition=%condition, body=%body
  ROOT %out = f32[8,4]{1,0} get-tuple-element(%outer), index=1
}
"""


def test_a_program_is_read_from_its_text():
    program = counts.read_program(HLO)
    assert program.outside == counts.Work(operations=3, custom_calls=1)
    outer, inner = program.loops
    assert (outer.depth, outer.trips, inner.depth, inner.trips) == (0, None, 1, 3)
    # The product of the call, the inner loop, the sum over devices and the condition.
    expected = counts.Work(operations=4, fusions=1, products=1, collectives=1, flops=128)
    assert outer.work == expected
    assert inner.work == counts.Work(operations=2)
    assert programs.quantities(program)["loops"] == 2


def test_operations_know_their_source():
    module = hlo.parse(HLO)
    root = module.find("root")
    assert root.sources == (hlo.Source("jax/numpy.py", 9), hlo.Source("gfnjax/rollout.py", 7))
    twice = module.find("twice")
    assert (twice.scope, twice.operands, twice.sources) == ("f(a)/{b}", ("m", "m"), ())
    assert hlo.size_in_bytes(twice.shape) == 64
    assert hlo.size_in_bytes("(s32[], pred[3]{0})") == 7
    older = HLO.replace("stack_frame_id=2", 'source_file="/x/gfnjax/a.py" source_line=3')
    assert hlo.parse(older).find("root").sources == (hlo.Source("gfnjax/a.py", 3),)


def test_text_without_a_program_is_refused():
    with pytest.raises(ValueError, match="no ENTRY"):
        hlo.parse("HloModule jit_f")


@pytest.mark.optimised
def test_a_small_loop_is_counted():
    weights = jnp.ones((16, 16))

    def loop(x):
        return lax.while_loop(lambda x: x.sum() < 9.0, lambda x: jnp.tanh(x @ weights), x)

    x = jnp.zeros((8, 16))
    program = counts.program_of(jax.jit(loop).lower(x).compile())
    (found,) = program.loops
    assert (found.work.products, found.work.flops) == (1, 2 * 8 * 16 * 16)
    assert program.outside.products == 0
    assert 2 <= found.work.operations <= 8
    assert programs.traced_of(loop, x) == programs.Traced(primitives=5, loops=1, products=1)


if __name__ == "__main__":
    record()
