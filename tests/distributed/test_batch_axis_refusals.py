"""What a batch cannot be spread over is refused in a sentence, when it is traced."""

from dataclasses import dataclass

import jax
import numpy as np
import pytest
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

import gfnjax
from gfnjax import GFlowNet, Hypergrid, mlp_policy, spread
from gfnjax.algorithms import Teacher, metropolis_hastings
from gfnjax.policies import PessimisticBackward
from gfnjax.replay import Fifo
from gfnjax.samplers import LocalSearch, Mixed, OnPolicy

ENV = Hypergrid(2, 4)
SMALL = mlp_policy(ENV, (8,))
AXIS = {"in_axes": None, "axis_size": 4, "axis_name": spread.BATCH}


def describe(batch_size=8, **options):
    return GFlowNet(ENV, SMALL, gfnjax.TrajectoryBalance(), batch_size=batch_size, **options)


@pytest.mark.parametrize("batch_size", [6, 10])
def test_a_batch_that_cannot_be_divided_is_refused(batch_size):
    words = f"^batch_size must be a multiple of the 4 devices .* got {batch_size}"
    gfn = describe(batch_size=batch_size)
    with pytest.raises(gfnjax.errors.ArgumentError, match=words):
        trace(gfn.init)


def trace(function):
    jax.eval_shape(jax.vmap(function, **AXIS), jax.random.key(0))


@dataclass(frozen=True)
class Other(OnPolicy):
    """A sampler that says nothing of devices."""

    def draw(self, *given):
        return super().draw(*given)


@dataclass(frozen=True)
class Declared(Other):
    """One that does."""

    divides = True


class Forgetful:
    """A buffer that cannot be divided."""

    room, whole_only = 100, False
    start = recall = refresh = store = lambda self, *args: None


REFUSED = {
    "search_share = 0.25 of a batch of 8 must be .* 4 devices .* got 2": lambda: describe(
        sampler=Mixed(None, 0.5, LocalSearch(), 0.25)
    ),
    "replay_share = 0.25 of a batch of 8 must be .* 4 devices .* got 2": lambda: describe(
        sampler=Mixed(Fifo(32), 0.25)
    ),
    "capacity must be a multiple of the 4 devices .* got 30": lambda: describe(
        sampler=Mixed(Fifo(30))
    ),
    "capacity must be a multiple of the 4 devices .* got 18": lambda: describe(
        backward=PessimisticBackward(SMALL, capacity=18)
    ),
    "^share = 0.25 of a batch of 8 must be .* got 2": lambda: Teacher(describe(), SMALL, 0.25),
    "Other cannot spread a batch over the 4 devices": lambda: describe(sampler=Other()),
    "Other cannot spread": lambda: describe(sampler=Mixed(Fifo(32), fresh=Other())),
    "Forgetful cannot spread": lambda: describe(sampler=Mixed(Forgetful())),
    "MarkovChains cannot spread": lambda: metropolis_hastings(ENV),
}


def test_a_sampler_that_says_it_divides_is_taken_at_its_word():
    gfn = describe(sampler=Mixed(Fifo(32), fresh=Declared()))
    trace(lambda key: gfn.step(gfn.init(key)))


@pytest.mark.parametrize("words", REFUSED)
def test_what_cannot_be_divided_is_refused_in_a_sentence(words):
    gfn = REFUSED[words]()
    with pytest.raises(gfnjax.errors.ArgumentError, match=words):
        trace(lambda key: gfn.step(gfn.init(key)))


@pytest.mark.parametrize(("count", "talks"), [(1, False), (4, True)])
def test_one_device_talks_to_nobody(count, talks):
    gfn = describe(sampler=Declared() if talks else Other())
    mesh = Mesh(np.array(jax.devices()[:count]), (spread.BATCH,))
    options = {"mesh": mesh, "in_specs": P(), "out_specs": P(), "check_vma": False}
    step = jax.shard_map(lambda key: gfn.step(gfn.init(key)), **options)
    program = str(jax.make_jaxpr(step)(jax.random.key(0)))
    assert ("psum" in program) == ("axis_index" in program) == talks


def test_three_devices_start_from_a_few_more():
    gfn = describe(batch_size=6)
    init = jax.vmap(gfn.init, in_axes=None, axis_size=3, axis_name=spread.BATCH)
    states = jax.eval_shape(init, jax.random.key(0))
    assert states.params.log_z.shape == (3,)
