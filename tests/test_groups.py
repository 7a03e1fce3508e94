"""Equal rows are found and evaluated once; their means are those of NumPy."""

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax import equality, groups

ROWS = (
    jnp.array([3, 1, 3, 2, 1, 3, 0], jnp.int32),
    jnp.array([[0.5], [1], [0.5], [2], [1], [7], [0]]),
)
LEADER = [0, 1, 0, 3, 1, 5, 6]


def test_leaders_are_the_first_of_equal_rows():
    assert groups.leaders(ROWS).tolist() == LEADER
    first = [True, True, False, True, False, True, True]
    assert groups.lead(jnp.array(LEADER, jnp.int32)).tolist() == first


def test_rows_that_only_look_alike_stay_apart(monkeypatch):
    monkeypatch.setattr(equality, "fingerprint", lambda x: jnp.zeros(7, jnp.uint32))
    assert groups.leaders(ROWS).tolist() == [0, 1, 0, 3, 4, 5, 6]


def test_once_looks_at_the_first_of_equal_rows_only():
    seen = []

    def square(row):
        jax.debug.callback(lambda x: seen.append(int(x)), row)
        return row * row

    rows = jnp.array([3, 1, 3, 2, 1, 3, 3, 3, 1], jnp.int32)
    leader = groups.leaders(rows)
    found = jax.jit(lambda rows, leader: groups.once(square, rows, leader))(rows, leader)
    jax.effects_barrier()
    assert found.tolist() == [9, 1, 9, 4, 1, 9, 9, 9, 1]
    assert set(seen) == {1, 2, 3}


def test_means_of_groups_and_their_gradient():
    leader = jnp.array(LEADER, jnp.int32)
    values = jnp.array([1.0, 2, 4, 8, 16, 32, 64])
    np.testing.assert_allclose(groups.means(values, leader), [2.5, 9, 2.5, 8, 9, 32, 64])
    slope = jax.grad(lambda x: (groups.means(x, leader) * values).sum())(values)
    np.testing.assert_allclose(slope, [2.5, 9, 2.5, 8, 9, 32, 64])
