"""Two classes with the same fields never share compiled code."""

import jax
import jax.numpy as jnp
import pytest
from flax import struct

import gfnjax
from gfnjax import training
from gfnjax.metrics.state_graph import build_graph


def made(value):
    """A reward class like all others of this function, but for what it computes."""

    @struct.dataclass
    class Constant:
        scale: float = 1.0

        def __call__(self, position, side):
            return jnp.asarray(self.scale * value)

    return Constant


def description(value):
    env = gfnjax.Hypergrid(2, 3, made(value)())
    return gfnjax.GFlowNet(env, gfnjax.tabular_policy(env), gfnjax.TrajectoryBalance())


def test_classes_of_the_same_form_are_told_apart():
    # JAX takes the tree structures of two dataclasses with the same fields for equal.
    a, b = description(1.0), description(2.0)
    assert jax.tree.structure(a) != jax.tree.structure(b)
    assert jax.tree.structure(a) == jax.tree.structure(a.replace(env=a.env.replace()))
    moved = a.replace(env=b.env)
    assert jax.tree.structure(moved) != jax.tree.structure(a)
    leaves, structure = jax.tree.flatten(a)
    assert jax.tree.structure(structure.unflatten(leaves)) == structure
    assert jax.tree.structure(structure.unflatten([object()] * len(leaves))) == structure
    for one, other in ((gfnjax.Corners(), gfnjax.Deceptive()), (gfnjax.Corners(), gfnjax.Sparse())):
        first, second = (
            gfnjax.GFlowNet(gfnjax.Hypergrid(2, 3, reward), a.policy, gfnjax.TrajectoryBalance())
            for reward in (one, other)
        )
        assert jax.tree.structure(first) != jax.tree.structure(second)


@pytest.mark.long
def test_no_reward_is_taken_for_another():
    # Without a mark of the classes about one in five of 300 was.
    found = jax.jit(lambda gfn: gfn.env.log_reward(gfn.env.initial_state()))
    kept = [description(float(n)) for n in range(200)]
    assert [float(found(gfn)) for gfn in kept] == [float(n) for n in range(200)]


@pytest.mark.long
def test_state_graphs_are_not_taken_for_each_other():
    for value in range(40):
        env = gfnjax.Hypergrid(1, 2, made(float(value))())
        assert float(build_graph(env).log_reward[0]) == value


@pytest.mark.long
def test_chains_and_overrides_keep_the_mark(key):
    gfn = description(1.0)
    mapped = jax.tree.map(lambda x: x, gfn)
    assert jax.tree.structure(mapped) == jax.tree.structure(gfn)
    state = training.init(gfn, key)
    states = jax.vmap(gfn.init)(jax.random.split(key, 2))
    assert jax.tree.structure(states) == jax.tree.structure(state)
