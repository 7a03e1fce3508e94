"""A sweep compiled ahead of time: for chips that are not here, and, to be quick, for CPUs."""

import dataclasses
import importlib.util
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from gfnjax.compiled import chips
from gfnjax.compiled.counts import collectives_of
from gfnjax.compiled.hlo import parse
from gfnjax.run.build import describe, run_key
from gfnjax.run.choices import configure
from gfnjax.run.config import UsageError
from gfnjax.run.sweeps import ahead
from gfnjax.run.sweeps.ahead import Ahead, Memory, examine, examine_on, prepare, text
from gfnjax.run.sweeps.capacity import Capacity, Curve, find
from gfnjax.sweeps.placement import Placement
from gfnjax.sweeps.population import Member

ALL_AT_ONCE = Placement(members_at_once=10**6)


def members(count, **settings):
    small = {"num_dims": 2, "side": 4, "batch_size": 4, "mlp": {"hidden_sizes": (8,)}}
    rates = [1e-3 * (1 + i) for i in range(count)]
    gfns = [describe(configure("hypergrid", **small, **settings, learning_rate=x)) for x in rates]
    return [Member(gfn, run_key(0)) for gfn in gfns]


def one(found):
    (found,) = found
    return found


@pytest.mark.long
def test_the_same_program_on_cpus():
    devices = jax.devices()
    found = {n: one(examine_on(members(n), ALL_AT_ONCE, 5, devices)) for n in (8, 16, 32)}
    small = found[8]
    assert (small.num_chips, small.num_chips_asked) == (4, 4)
    assert (small.members_per_chip, small.at_once) == (2, 2)
    assert small.members == tuple(range(8))
    assert small.collectives == small.collectives_in_loops == {}
    assert small.num_operations > 100
    assert small.num_loops > 0
    assert small.most is None
    memory = [found[n].memory for n in (8, 16, 32)]
    assert all(x.total == x.arguments + x.outputs + x.temporaries - x.alias for x in memory)
    grown = [b.total - a.total for a, b in itertools.pairwise(memory)]
    assert grown[0] > 0
    assert grown[1] == pytest.approx(2 * grown[0], rel=0.1)


@pytest.mark.long
def test_members_that_fit():
    devices = jax.devices()[:2]
    found = one(examine_on(members(4), ALL_AT_ONCE, 5, devices, memory=2**21))
    assert found.sure
    assert found.most == 2 * found.most_per_chip
    assert found.most_per_chip > 2
    full = one(examine_on(members(found.most), ALL_AT_ONCE, 5, devices, memory=2**21))
    assert 0.9 * 2**21 < full.memory.total <= 2**21
    # More than fit are trained in turn, and what a machine has is not what it is allowed.
    placement = dataclasses.replace(ALL_AT_ONCE, memory=2**18)
    more = one(examine_on(members(64), placement, 5, devices, memory=2**21))
    assert more.memory.total <= more.limit == 2**18
    assert more.members_per_chip < 32
    assert more.members_per_chip <= more.most_per_chip < 32
    assert f"64, {more.members_per_chip} a chip" in text([more])


@pytest.mark.long
def test_programs_are_told_apart():
    mixed = [*members(2), *members(1, objective="db"), *members(1)]
    found = examine_on(mixed, ALL_AT_ONCE, 5, jax.devices()[:1])
    assert [x.members for x in found] == [(0, 1, 3), (2,)]
    said = text(found)
    assert "program      1 of 2" in said
    assert said.count("chips  ") == 2


MEMORY = Memory(3 * 2**20, 3 * 2**20, 2**20, 3 * 2**20, 4 * 2**20)
FOUND = Ahead(
    chip="TPU v5 lite",
    num_chips=8,
    num_chips_asked=8,
    members=tuple(range(16)),
    members_per_chip=2,
    at_once=2,
    memory=MEMORY,
    limit=16 * 2**30,
    most_per_chip=5_000,
    most=40_000,
    sure=False,
    num_operations=1_234,
    num_loops=12,
    flops=2e6,
    bytes_accessed=96 * 2**20,
    collectives={},
    collectives_in_loops={},
    compile_seconds=9.26,
)


def test_the_whole_text():
    assert (
        text([FOUND])
        == """\
chips        8 TPU v5 lite, 16.00 GiB each
members      16, 2 a chip, all at once
memory       4 MiB a chip, 0.0%: arguments 3 MiB, outputs 3 MiB (3 MiB of them in place), \
temporaries 1 MiB
room for     about 40,000 members, 5,000 a chip
operations   1,234, 12 of them loops
a chip does  2,000,000 flops, 96 MiB read and written (each loop counted once)
collectives  none: no chip waits for another
compiled in  9.3 s"""
    )


def test_other_lines_of_the_text():
    other = dataclasses.replace(
        FOUND,
        num_chips=6,
        at_once=1,
        limit=None,
        most=None,
        flops=None,
        bytes_accessed=None,
        collectives={"all-reduce": 3, "all-gather": 1},
        collectives_in_loops={"all-reduce": 2},
    )
    said = text([other])
    assert "6 of 8 TPU v5 lite\n" in said
    assert "2 a chip, 1 at once" in said
    assert "3 all-reduce (2 in loops), 1 all-gather (0 in loops)" in said
    assert "it does not say" in said
    assert "nothing that the compiler tells" in said
    assert [ahead.size(x) for x in (12, 1010, 2**20, 3 * 2**31)] == [
        *("12 B", "1010 B", "1 MiB", "6.00 GiB")
    ]


@pytest.mark.parametrize("name", ["v5e", "v5e:", "v5e:2", "v9:2x2", "v5e:0x2", "v5e:2x2x2x2", ""])
def test_names_of_topologies(name):
    with pytest.raises(UsageError, match=r"must be a kind of TPU \(v4, .* such as v5e:2x4, got"):
        prepare(name)


def test_without_the_compiler(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.delenv("TPU_LIBRARY_PATH", raising=False)
    for refused in (lambda: prepare("v5e:2x2"), lambda: examine([], Placement(), 5, "v5e:2x2")):
        with pytest.raises(UsageError, match=r'not installed: pip install "gfnjax\[tpu\]"'):
            refused()


@pytest.mark.parametrize(
    ("name", "accelerator"),
    [
        ("v5e:2x4", "v5litepod-8"),
        ("v4:2x2x1", "v4-8"),
        ("v5p:4x4x4", "v5p-128"),
        ("v6e:1x1", "v6e-1"),
    ],
)
def test_the_environment_of_the_compiler(monkeypatch, name, accelerator):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    monkeypatch.setattr(os, "environ", {"TPU_WORKER_ID": "3"})
    chips.set_environment(name)
    assert os.environ["TPU_ACCELERATOR_TYPE"] == accelerator
    assert os.environ["TPU_SKIP_MDS_QUERY"] == "1"
    assert os.environ["TPU_WORKER_ID"] == "3"  # what is set stays


def test_more_devices_than_chips():
    with pytest.raises(UsageError, match="num_batch_devices must be at most 2"):
        examine_on(members(1), Placement(num_batch_devices=3), 5, jax.devices()[:2])
    with pytest.raises(UsageError, match="num_devices must be at most 2"):
        examine_on(members(1), Placement(num_devices=3), 5, jax.devices()[:2])


@pytest.mark.slow
def test_a_member_that_does_not_fit():
    with pytest.raises(UsageError, match="one member does not fit into the 1,000 bytes of a chip"):
        examine_on(members(4), ALL_AT_ONCE, 5, jax.devices()[:2], memory=1_000)


class Memories:
    """Bytes by number of members; above what the compiler looks at, there are none."""

    def __init__(self, bytes_of, refused=10**9):
        self.bytes_of, self.refused, self.asked = bytes_of, refused, []

    def __call__(self, number):
        self.asked.append(number)
        found = self.bytes_of(number)
        return None if found > self.refused else found

    def most(self, limit, start=2, patient=lambda number: True):
        curve = Curve(self, limit)
        curve.bytes[start] = self.bytes_of(start)
        return find(curve, start, patient)


@pytest.mark.parametrize(
    ("memories", "limit", "start", "expected"),
    [
        (Memories(lambda n: 100 + 10 * n), 50_100, 2, Capacity(5_000, True)),
        (Memories(lambda n: 100 + 10 * n, refused=400), 400, 2, Capacity(30, True)),
        (Memories(lambda n: 100 + 10 * n), 139, 2, Capacity(3, True)),
        (Memories(lambda n: 100 + 10 * n, refused=125), 125, 2, Capacity(2, True)),
        (Memories(lambda n: 100 + 10 * n, refused=115), 115, 1, Capacity(1, True)),
        (Memories(lambda n: 100 + 10 * n), 50_100, 600, Capacity(5_000, True)),
    ],
    ids=["line", "refused", "few", "no more", "one", "many"],
)
def test_the_line_is_followed(memories, limit, start, expected):
    assert memories.most(limit, start) == expected
    assert len(memories.asked) <= 5


def test_what_bends_is_compiled_again():
    memories = Memories(lambda n: 10 * n if n <= 100 else 30 * n)
    found = memories.most(30_000)
    assert found.sure
    assert 900 <= found.count <= 1_000


def test_without_patience_it_is_about_so_many():
    memories = Memories(lambda n: 100 + 10 * n)
    assert memories.most(50_100, patient=lambda number: number < 1_000) == Capacity(4_750, False)
    assert memories.asked == [64]


HLO = """\
HloModule jit_f

%sum (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %add = f32[] add(%a, %b)
}

%body (x: f32[4]) -> f32[4] {
  %x = f32[4]{0} parameter(0)
  %start = f32[4]{0} all-reduce-start(%x), replica_groups={{0,1}}, to_apply=%sum
  ROOT %done = f32[4]{0} all-reduce-done(%start)
}

%condition (x: f32[4]) -> pred[] {
  %x.1 = f32[4]{0} parameter(0)
  ROOT %yes = pred[] constant(true)
}

ENTRY %main (p: f32[4]) -> f32[8] {
  %p = f32[4]{0} parameter(0)
  %all = f32[4]{0} all-reduce(%p), replica_groups={{0,1}}, to_apply=%sum
  %loop = f32[4]{0} while(%all), condition=%condition, body=%body
  ROOT %out = f32[8]{0} all-gather(%loop), dimensions={0}
}
"""


def test_collectives_are_counted_by_kind():
    everywhere, in_loops = collectives_of(parse(HLO))
    assert everywhere == {"all-reduce": 2, "all-gather": 1}
    assert in_loops == {"all-reduce": 1}


PROGRAM = """\
import dataclasses, json
from gfnjax.compiled import chips
from gfnjax.run.sweeps import ahead
from gfnjax.sweeps.placement import Placement
from gfnjax.tuning import suited_to
ahead.prepare("v5e:2x2")
from test_sweep_ahead import members
found = [ahead.examine(members(4), Placement(memory=2**28), 5, "v5e:2x2")]
with suited_to("tpu"):  # as examine, without looking for what fits
    devices = chips.find("v5e:2x2").devices
    for n in (1_024, 2_048, 4_096):
        found.append(ahead.examine_on(n * members(4), Placement(), 5, devices))
print(json.dumps([dataclasses.asdict(x) for (x,) in found]))
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs libtpu")
def test_a_sweep_on_tpus_that_are_not_here():
    # Of what tests tell the compiler of CPUs, that of TPUs must not know.
    env = {k: x for k, x in os.environ.items() if not k.startswith(("XLA", "JAX"))}
    env["PYTHONPATH"] = os.pathsep.join(sys.path)
    command, folder = [sys.executable, "-c", PROGRAM], Path(__file__).parent
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    small, *larger = json.loads(done.stdout)
    assert (small["chip"], small["num_chips"], small["limit"]) == ("TPU v5 lite", 4, 2**28)
    for one in (small, *larger):
        # No chip waits for another: members are on the axis `run`, and there is no other one.
        assert one["collectives"] == one["collectives_in_loops"] == {}
        assert one["at_once"] == one["members_per_chip"]
    assert small["most"] == 4 * small["most_per_chip"] > 4
    first, second, third = (one["memory"]["total"] for one in larger)
    assert third - second == pytest.approx(2 * (second - first), rel=0.25)
