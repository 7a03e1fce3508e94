"""A sweep is a vmapped run; over several devices it gives what single runs give."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import gfnjax

NUM_STEPS = 4
NUM_RUNS = 4


@pytest.fixture(scope="module")
def gfn():
    env = gfnjax.Hypergrid(2, 4)
    return gfnjax.GFlowNet(
        env,
        gfnjax.mlp_policy(env, (8,)),
        gfnjax.TrajectoryBalance(),
        hyperparameters=gfnjax.Hyperparameters(learning_rate=0.01, epsilon=0.1),
        batch_size=4,
    )


@pytest.fixture(scope="module")
def step(gfn):
    return jax.jit(gfn.step)


@pytest.fixture(scope="module")
def sweep_step(gfn):
    return jax.jit(jax.vmap(gfn.step))


@pytest.fixture(scope="module")
def init(gfn):
    return jax.jit(gfn.init)


@pytest.fixture(scope="module")
def sweep_init(gfn):
    return jax.jit(jax.vmap(gfn.init))


@pytest.fixture
def keys():
    return jax.random.split(jax.random.key(5), NUM_RUNS)


def take_steps(step, state):
    infos = []
    for _ in range(NUM_STEPS):
        state, info = step(state)
        infos.append(info)
    return state.params, jax.tree.map(lambda *x: jnp.stack(x, axis=-1), *infos)


def assert_close(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5), a, b)


def row(tree, i):
    return jax.tree.map(lambda x: x[i], tree)


@pytest.mark.slow
def test_vmapped_seeds_equal_single_runs(init, step, sweep_init, sweep_step, keys):
    swept = take_steps(sweep_step, sweep_init(jax.random.clone(keys)))
    losses = swept[1].loss
    assert losses.shape == (NUM_RUNS, NUM_STEPS)
    assert len(set(losses[:, 0].tolist())) == NUM_RUNS
    for i in range(NUM_RUNS):
        assert_close(row(swept, i), take_steps(step, init(jax.random.clone(keys)[i])))


@pytest.mark.slow
def test_vmapped_hyperparameters_equal_single_runs(init, step, sweep_init, sweep_step, keys):
    def grid(rates, epsilons):
        return gfnjax.Hyperparameters.only(learning_rate=rates, epsilon=epsilons)

    rates, epsilons = jnp.array([1e-3, 1e-2, 3e-2, 1e-1]), jnp.array([0.0, 0.1, 0.5, 1.0])
    same_key = jax.random.clone(jnp.broadcast_to(jax.random.clone(keys)[0], keys.shape))
    swept = take_steps(sweep_step, sweep_init(same_key, grid(rates, epsilons)))
    for i in range(NUM_RUNS):
        single = init(jax.random.clone(keys)[0], grid(rates[i], epsilons[i]))
        assert_close(row(swept, i), take_steps(step, single))
    weights = swept[0].policy["params"]["heads"]["kernel"]
    assert np.abs(weights[0] - weights[3]).max() > 0.05  # the rates did make a difference


def test_a_sharded_sweep_equals_one_device(sweep_init, sweep_step, keys):
    devices = jax.devices()
    assert len(devices) >= 2, "the tests need several virtual devices"
    count = max(n for n in range(1, len(devices) + 1) if NUM_RUNS % n == 0)
    sharding = NamedSharding(Mesh(np.array(devices[:count]), ("run",)), PartitionSpec("run"))
    states = sweep_init(keys)
    sharded, info = take_steps(sweep_step, jax.device_put(states, sharding))
    for leaf in jax.tree.leaves(sharded):
        assert len({shard.device for shard in leaf.addressable_shards}) == count
        assert leaf.addressable_shards[0].data.shape[0] == NUM_RUNS // count
    assert_close((sharded, info), take_steps(sweep_step, states))
