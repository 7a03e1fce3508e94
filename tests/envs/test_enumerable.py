"""What counts as enumerable: environments whose states int32 indices tell apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

import gfnjax
from gfnjax.envs import temperature_conditional
from gfnjax.envs.amp import VariableSequence
from gfnjax.envs.bits import BitSequence
from gfnjax.envs.dags import DAGs
from gfnjax.envs.ising import Ising
from gfnjax.envs.sequences import FixedSequence
from gfnjax.envs.sets import Set
from gfnjax.metrics.exact import policy_table
from gfnjax.metrics.state_graph import build_graph
from gfnjax.model import Model
from gfnjax.run.evaluation.make import is_exact
from gfnjax.state import Params
from gfnjax.testing import check_environment


def _zero(_):
    return jnp.zeros(())


# Counted by hand: 2 H^D; sums of binomials; 1 + m + ... + m^L (twice, from the shortest that may
# stop on); (m + 1)^L; 3^n; twice the labelled DAGs over 7 nodes (A003024).
TOO_LARGE = [
    (gfnjax.Hypergrid(7, 20), 2_560_000_000),
    (gfnjax.Hypergrid(30, 2), 2**31),
    (Set(33, 33, _zero), 2**33),
    (FixedSequence(31, 2, _zero), 2**32 - 1),
    (VariableSequence(30, 2, _zero), 2 * (2**31 - 1) - 1),
    (BitSequence(20, 1, _zero), 3**20),
    (Ising(5, _zero), 3**25),
    (DAGs(7, _zero), 2 * 1_138_779_265),
]


@pytest.mark.parametrize(("env", "num_states"), TOO_LARGE, ids=lambda x: type(x).__name__)
def test_too_many_states_for_int32_are_not_enumerable(env, num_states):
    assert env.num_states == num_states
    assert not isinstance(env, gfnjax.Enumerable)
    assert not is_exact(env)
    for use in (
        lambda: env.state_index(env.initial_state()),
        lambda: env.state_at(jnp.zeros((), jnp.int32)),
        lambda: jax.eval_shape(jax.vmap(env.state_at), jnp.zeros(3, jnp.int32)),
        lambda: build_graph(env),
        lambda: gfnjax.tabular_policy(env),
        lambda: policy_table(Model(env, gfnjax.mlp_policy(env, (4,))), Params(None)),
    ):
        with pytest.raises(ValueError, match=f"has {num_states:,} states|must be at most"):
            use()


def test_double_precision_does_not_change_what_is_enumerable(x64):
    assert not isinstance(gfnjax.Hypergrid(7, 20), gfnjax.Enumerable)
    with pytest.raises(ValueError, match="Hypergrid has 2,560,000,000 states, more than the 2,147"):
        gfnjax.Hypergrid(7, 20).state_at(jnp.zeros((), jnp.int64))


@pytest.mark.parametrize(
    "env",
    [
        gfnjax.Hypergrid(29, 2),
        gfnjax.Hypergrid(6, 31),
        Set(31, 30, _zero),
        FixedSequence(30, 2, _zero),
        VariableSequence(29, 2, _zero),
        BitSequence(19, 1, _zero),
        Ising(4, _zero),
    ],
    ids=lambda x: type(x).__name__,
)
def test_indices_up_to_the_last_one(env):
    assert isinstance(env, gfnjax.Enumerable)
    last = env.num_states - 1
    assert 2**25 < last < 2**31
    index = jnp.asarray([0, 1, last // 2, last - 1, last], jnp.int32)
    found = jax.jit(jax.vmap(lambda i: env.state_index(env.state_at(i))))(index)
    np.testing.assert_array_equal(found, index)


def test_a_condition_changes_nothing():
    small, large = (
        temperature_conditional(env, 0.5, 2.0).at(1.0)
        for env in (gfnjax.Hypergrid(2, 8), gfnjax.Hypergrid(7, 20))
    )
    assert isinstance(small, gfnjax.Enumerable)
    assert not isinstance(large, gfnjax.Enumerable)


@struct.dataclass
class Ladder(gfnjax.Hypergrid):
    """A user's environment with a number of states of its own."""

    count: int = struct.field(pytree_node=False, default=2**31)

    @property
    def num_states(self) -> int:
        return self.count


def test_environments_of_users(key):
    assert not isinstance(Ladder(), gfnjax.Enumerable)
    check_environment(Ladder(), key, num_trajectories=2)
    with pytest.raises(ValueError, match="Ladder has 2,147,483,648 states, more than the 20,000"):
        build_graph(Ladder())
    # Python refuses to print integers as long as these.
    with pytest.raises(ValueError, match=r"Ladder has about 10\^9000 states"):
        build_graph(Ladder(count=10**9000))
    assert isinstance(Ladder(count=2**31 - 1), gfnjax.Enumerable)
    assert not isinstance(object(), gfnjax.Enumerable)
