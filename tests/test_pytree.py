"""Frozen dataclasses as pytrees: checked where one is constructed, not where JAX rebuilds it."""

import dataclasses
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax.identity import Comparable
from gfnjax.pytree import pytree, static, unchecked

CHECKED = []


@pytree
class Line(Comparable):
    """slope x + offset, to a power."""

    slope: jax.Array | float
    power: int = static(default=1)
    offset: jax.Array | float = 0.0

    def __post_init__(self) -> None:
        CHECKED.append(self.slope)
        if self.power < 1:
            raise ValueError(f"power must be at least 1, got {self.power}")
        object.__setattr__(self, "slope", jnp.asarray(self.slope, float))

    def __call__(self, x):
        return (self.slope * x + self.offset) ** self.power


@pytree
class Bent(Line):
    """With a field of its own, and the checks it inherits."""

    bend: jax.Array | float = 0.5


@pytree
class Plain:
    """Without checks, and compared by identity."""

    value: jax.Array


@pytest.fixture
def line():
    CHECKED.clear()
    made = Line(2.0, 3, offset=jnp.ones(()))
    assert len(CHECKED) == 1
    CHECKED.clear()
    return made


def test_children_and_structure(line):
    leaves, structure = jax.tree.flatten(line)
    assert [float(x) for x in leaves] == [2.0, 1.0]  # in the order of the fields, no power
    assert structure == jax.tree.structure(line.replace(slope=5.0))
    assert structure != jax.tree.structure(line.replace(power=2))
    assert structure != jax.tree.structure(Bent(2.0, 3))
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(line)]
    assert paths == [".slope", ".offset"]
    back = jax.tree.unflatten(structure, leaves)
    assert type(back) is Line
    assert (float(back.slope), back.power, float(back.offset)) == (2.0, 3, 1.0)


def test_what_jax_rebuilds_is_not_checked(line):
    shapes = jax.eval_shape(lambda x: x, line)
    assert shapes.slope.shape == ()
    assert jax.tree.map(lambda _: "anything", line).slope == "anything"
    assert jax.tree.map(lambda _: None, line).offset is None
    axes = jax.tree.map(lambda _: 0, line)
    many = jax.tree.map(lambda x: jnp.stack([x, 10 * x]), line)
    found = jax.jit(jax.vmap(lambda one: one(1.0), (axes,)))(many)
    np.testing.assert_allclose(found, [3.0**3, 30.0**3])
    grads = jax.grad(lambda one: one(1.0))(line)
    np.testing.assert_allclose(grads.slope, 3 * 3.0**2)
    assert isinstance(grads, Line)
    assert not CHECKED


def test_what_a_user_constructs_is_checked(line):
    with pytest.raises(ValueError, match="power must be at least 1, got 0"):
        Line(1.0, 0)
    with pytest.raises(ValueError, match="power must be at least 1, got 0"):
        line.replace(power=0)
    with pytest.raises(ValueError, match="power must be at least 1, got -1"):
        dataclasses.replace(line, power=-1)
    with pytest.raises(ValueError, match="power must be at least 1, got 0"):
        Bent(1.0, 0)
    assert len(CHECKED) == 4
    moved = line.replace(slope=7)
    assert isinstance(moved.slope, jax.Array)
    assert (float(line.slope), float(moved.slope), moved.power) == (2.0, 7.0, 3)


def test_nothing_can_be_assigned(line):
    with pytest.raises(dataclasses.FrozenInstanceError):
        line.slope = 1.0
    with pytest.raises(TypeError, match="wrong"):
        line.replace(wrong=1.0)
    with pytest.raises(TypeError, match="slope"):
        Line()


def test_subclasses_have_all_fields_and_compare_by_kind():
    bent = Bent(2.0, bend=3.0)
    assert [float(x) for x in jax.tree.leaves(bent)] == [2.0, 0.0, 3.0]
    assert bent == Bent(2.0, bend=3.0)
    assert bent != Bent(2.0, bend=4.0)
    assert bent != Line(2.0)


def test_equality_is_that_of_the_class(line):
    assert (line == Line(2.0, 3, offset=jnp.ones(()))) is True
    assert hash(line) == hash(Line(2.0, 3, offset=jnp.ones(())))
    assert (line == line.replace(offset=jnp.zeros(()))) is False
    assert pickle.loads(pickle.dumps(line)) == line
    value = jnp.ones(2)
    assert Plain(value) != Plain(value)
    assert len({Plain(value), Plain(value)}) == 2


def test_unchecked_holds_what_it_is_given():
    CHECKED.clear()
    one = unchecked(Line, slope=1, power=0)
    assert (one.slope, one.power) == (1, 0)
    assert not CHECKED
    assert "offset" not in vars(one)  # no default is filled in


def test_other_numbers_share_what_is_compiled():
    traces = []

    @jax.jit
    def call(one, x):
        traces.append(1)
        return one(x)

    assert float(call(Line(2.0), 3.0)) == 6.0
    assert float(call(Line(3.0, offset=1.0), 3.0)) == 10.0
    assert len(traces) == 1
    assert float(call(Line(3.0, 2), 1.0)) == 9.0
    assert len(traces) == 2
