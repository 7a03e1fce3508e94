"""What the profiles of `benchmarks/` are made of: traces, and what operations move."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax import lax

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import accelerators, topops, traffic
from gfnjax.compiled import hlo

HLO = """\
HloModule jit_f

%write (buffer: f32[9,4], row: f32[1,4], at: s32[]) -> f32[9,4] {
  %buffer = f32[9,4]{1,0} parameter(0)
  %row = f32[1,4]{1,0} parameter(1)
  %at = s32[] parameter(2)
  %zero = s32[] constant(0)
  ROOT %put = f32[9,4]{1,0} dynamic-update-slice(%buffer, %row, %at, %zero)
}

ENTRY %main (a: f32[9,4], i: s32[]) -> f32[9,4] {
  %a = f32[9,4]{1,0} parameter(0)
  %i = s32[] parameter(1)
  %zero.1 = s32[] constant(0)
  %one = f32[1,4]{1,0} dynamic-slice(%a, %i, %zero.1), dynamic_slice_sizes={1,4}
  %more = f32[1,4]{1,0} add(%one, %one)
  ROOT %out = f32[9,4]{1,0} fusion(%a, %more, %i), kind=kLoop, calls=%write
}
"""


def test_operations_move_what_they_touch():
    module = hlo.parse(HLO)
    main = module.computations["main"]
    moved = {name: traffic.bytes_of(module, main, main[name]) for name in ("one", "more", "out")}
    # A row and two indices; two rows for one; a row read, one written, and an index.
    assert moved == {"one": 16 + 16 + 8, "more": 16 + 32, "out": 16 + 16 + 4}


def test_time_within_other_operations_is_theirs():
    events = [(0.0, -100.0, "loop"), (10.0, -30.0, "a"), (15.0, -5.0, "b"), (50.0, -10.0, "a")]
    own = sorted(topops._without_inner(events))
    assert own == [("a", 10.0), ("a", 25.0), ("b", 5.0), ("loop", 60.0)]


@pytest.mark.slow
@pytest.mark.optimised
def test_a_trace_counts_what_ran():
    weights = jnp.eye(32)

    @jax.jit
    def program(x, n):
        return lax.fori_loop(0, n, lambda i, x: jnp.tanh(x @ weights), x)

    x, n = jnp.ones((8, 32)), jnp.int32(7)
    compiled = program.lower(x, n).compile()
    jax.block_until_ready(compiled(x, n))
    trace = topops.traced(lambda: compiled(x, n))
    module = hlo.parse(compiled.as_text())
    done = traffic.executed(module, trace, 7)
    assert done.product == traffic.Product(8, 32, 32)
    assert done.flops == 2 * 8 * 32 * 32
    assert 2 <= done.operations <= 8
    assert trace.wall > 0


def test_what_is_lowered_for_another_platform_is_counted():
    def f(x):
        return lax.fori_loop(0, x.shape[0], lambda i, x: jnp.tanh(x @ x), x) + jnp.sin(x)

    x = jax.ShapeDtypeStruct((4, 4), jnp.float32)
    lowered = jax.jit(f).trace(x).lower(lowering_platforms=("cuda",))
    program = accelerators.stablehlo(lowered.compiler_ir("stablehlo"))
    (loop,) = program.loops
    # A product, its tanh, the counter; the condition.
    assert (loop.work.operations, loop.work.products) == (4, 1)
    assert (program.outside.operations, program.outside.products) == (3, 0)
