"""Networks for molecules: what they must not see, what they must."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from few_fragments import few_fragments

from gfnjax import Hypergrid, corners
from gfnjax.chemistry.states import MoleculeState
from gfnjax.envs import molecules, temperature_conditional, tempered
from gfnjax.policies import fragment_policy


def nothing(state):
    return jnp.zeros((), jnp.result_type(float))


def state_of(*rows):
    rows = [*rows, *[(-1, -1, -1)] * (4 - len(rows))]
    return MoleculeState(
        *(jnp.asarray(c, jnp.int32) for c in zip(*rows, strict=True)), jnp.array(False)
    )


@pytest.fixture(scope="module", params=["messages", "attention"])
def network(request):
    env = molecules(nothing, few_fragments(), max_blocks=4)
    policy = fragment_policy(env, 16, 2, trunk=request.param)
    params = policy.init(jax.random.key(0), policy.observe(env, env.initial_state()))
    keys = iter(jax.random.split(jax.random.key(1), len(jax.tree.leaves(params))))
    params = jax.tree.map(lambda x: x + jax.random.normal(next(keys), x.shape, x.dtype) / 4, params)
    return env, jax.jit(lambda state: policy.evaluate(params, env, state))


def probabilities(network, state):
    """Of the entries `[V]` by stem, and of stopping."""
    env, evaluate = network
    output = evaluate(state)
    logits = jnp.where(env.forward_mask(state), output.forward_logits, -jnp.inf)
    chances = np.asarray(jax.nn.softmax(logits))
    return chances[:-1].reshape(env.num_stems, -1), chances[-1], float(output.log_flow)


def test_atoms_that_automorphisms_exchange_look_alike(network):
    # Two ways to hang F beside CO on the ring, whose stems 0..3 its mirror image keeps.
    one = state_of((0, -1, -1), (3, 0, 1), (1, 0, 2))
    other = state_of((0, -1, -1), (1, 0, 1), (3, 0, 2))
    (first, stop, flow), (second, stop_2, flow_2) = (
        probabilities(network, s) for s in (one, other)
    )
    assert stop == pytest.approx(stop_2, abs=1e-6)
    assert flow == pytest.approx(flow_2, abs=1e-5)
    # Positions 3 and 0 of the ring change places.
    np.testing.assert_allclose(first[[0, 1, 2]], second[[1, 0, 2]], atol=1e-6)
    assert np.abs(first[0] - first[1]).max() > 1e-4


def test_positions_of_one_atom_look_alike(network):
    one, other = state_of((2, -1, -1), (3, 0, 1)), state_of((2, -1, -1), (3, 0, 2))
    (first, stop, flow), (second, stop_2, flow_2) = (
        probabilities(network, s) for s in (one, other)
    )
    np.testing.assert_allclose(first, second, atol=1e-6)
    assert (stop, flow) == (pytest.approx(stop_2, abs=1e-6), pytest.approx(flow_2, abs=1e-5))


def test_neighbours_and_opposites_differ(network):
    # Of the ring positions 0, 1 are neighbours, 0, 2 are not.
    near = state_of((0, -1, -1), (3, 0, 0), (3, 0, 1))
    far = state_of((0, -1, -1), (3, 0, 0), (3, 0, 2))
    (_, stop, flow), (_, stop_2, flow_2) = (probabilities(network, s) for s in (near, far))
    assert abs(flow - flow_2) > 1e-3
    assert stop != pytest.approx(stop_2, rel=1e-4)


def test_the_root_is_seen(network):
    one, other = state_of((0, -1, -1), (3, 0, 0)), state_of((3, -1, -1), (0, 0, 0))
    assert abs(probabilities(network, one)[2] - probabilities(network, other)[2]) > 1e-3


@pytest.mark.long
def test_the_condition_is_seen():
    env = temperature_conditional(molecules(nothing, few_fragments(), max_blocks=3), 1.0, 4.0)
    policy = fragment_policy(env, 16, 1)
    params = policy.init(jax.random.key(0), policy.observe(env, env.initial_state()))
    low, high = (policy.evaluate(params, env, env.at(x).initial_state()) for x in (1.0, 4.0))
    assert np.abs(low.forward_logits - high.forward_logits).max() > 0


def test_what_it_is_for():
    grid = Hypergrid(2, 3, corners("easy"))
    with pytest.raises(TypeError, match="env needs Molecules, got Hypergrid"):
        fragment_policy(grid)
    env = molecules(nothing, few_fragments(), max_blocks=3)
    assert fragment_policy(tempered(env, 2.0), 16, 1) is not None
    with pytest.raises(ValueError, match="trunk must be messages or attention, got both"):
        fragment_policy(env, trunk="both")
    with pytest.raises(ValueError, match="width must be a positive multiple"):
        fragment_policy(env, 10, trunk="attention")
