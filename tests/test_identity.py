"""Descriptions compare to one bool, hash, and come back from a pickle to train the same bytes."""

import pickle
import subprocess
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gfnjax
from gfnjax.algorithms import Teacher, mars
from gfnjax.identity import same
from gfnjax.policies.ensemble import ensemble_mlp_policy
from gfnjax.policies.likelihood import LikelihoodBackward
from gfnjax.replay import Fifo
from gfnjax.run.build import build
from gfnjax.run.choices import configure
from gfnjax.samplers import Mixed
from gfnjax.testing import diamond

GRID = gfnjax.Hypergrid(2, 3)


def describe(env=GRID, policy=None, objective=None, **options):
    policy = gfnjax.mlp_policy(env, (4,)) if policy is None else policy
    objective = gfnjax.TrajectoryBalance() if objective is None else objective
    return gfnjax.GFlowNet(env, policy, objective, **{"batch_size": 4, **options})


def numbers(**entries):
    return {"hyperparameters": gfnjax.Hyperparameters(**entries)}


class Network(nn.Module):
    """A user's own."""

    @nn.compact
    def __call__(self, x):
        heads = nn.Dense(7)(x.astype(float))
        return gfnjax.PolicyOutput(heads[:3], heads[3:6], heads[6])


BITS = {"num_bits": 8, "word_size": 4, "num_modes": 3}
SMALL = {"mlp": {"hidden_sizes": (4,)}, "graph": {"width": 8}}
SMALL |= {name: {"width": 8, "num_heads": 2} for name in ("causal", "transformer")}


def named(environment, **settings):
    return build(configure(environment, **{"batch_size": 4, **SMALL, **settings}))


def tabular():
    return describe(diamond(), gfnjax.tabular_policy(diamond()))


def maximum_entropy():
    table = jnp.zeros(diamond().num_states)
    backward = gfnjax.MaximumEntropyBackward(table)
    return describe(diamond(), gfnjax.tabular_policy(diamond()), backward=backward)


KINDS = {
    "plain": describe,
    "linear": lambda: describe(**numbers(epsilon=optax.linear_schedule(1.0, 0.0, 5))),
    "cosine": lambda: describe(**numbers(learning_rate=optax.cosine_decay_schedule(1e-2, 9))),
    "joined": lambda: describe(
        **numbers(learning_rate=optax.warmup_cosine_decay_schedule(0.0, 1e-2, 2, 9))
    ),
    "lambda schedule": lambda: describe(**numbers(learning_rate=lambda step: 1e-2)),
    "array": lambda: describe(**numbers(learning_rate=jnp.float32(1e-2))),
    "tabular": tabular,
    "maximum entropy": maximum_entropy,
    "lambda reward": lambda: describe(
        gfnjax.Hypergrid(2, 3, lambda x, side: 0.1 * x.sum(dtype=float))
    ),
    "lambda objective": lambda: describe(
        objective=lambda s: gfnjax.Residuals(s.log_z + s.log_pf - s.log_pb, s.mask * 1.0)
    ),
    "optimizer": lambda: describe(optimizer=lambda rate: optax.adamw(rate, weight_decay=0.0)),
    "user network": lambda: describe(policy=gfnjax.from_flax(Network())),
    "ensemble": lambda: describe(policy=ensemble_mlp_policy(GRID, 2, (4,))),
    "replay": lambda: describe(sampler=Mixed(Fifo(20))),
    "teacher": lambda: Teacher(describe(), gfnjax.mlp_policy(GRID, (4,)), 0.5),
    "taught on a schedule": lambda: Teacher(
        describe(),
        gfnjax.mlp_policy(GRID, (4,)),
        **numbers(learning_rate=optax.cosine_decay_schedule(1e-2, 9)),
    ),
    "tlm": lambda: describe(backward=LikelihoodBackward(gfnjax.mlp_policy(GRID, (4,)))),
    "chains": lambda: mars(GRID, gfnjax.mlp_policy(GRID, (4,)), 4),
    "sets": lambda: named("set"),
    "causal": lambda: named("bits-left-to-right", **BITS),
    "transformer": lambda: named("bits", **BITS),
    "graph": lambda: named("dag", num_nodes=3, network="graph"),
    "ising-learned": lambda: named("ising-learned", side=2, num_data=8),
    "condition": lambda: named("hypergrid", side=3, condition="temperature", objective="db"),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_pickle_is_equal_and_so_is_another_of_the_same(name):
    gfn = KINDS[name]()
    again = pickle.loads(pickle.dumps(gfn))
    for other in (gfn, again, KINDS[name]()):
        assert (gfn == other) is True
        assert (gfn != other) is False
        assert hash(gfn) == hash(other)
    assert (gfn == describe(batch_size=5)) is False
    assert (gfn == None) is False  # noqa: E711
    assert len({gfn, again}) == 1


@pytest.mark.long
@pytest.mark.parametrize("name", ["joined", "lambda reward", "maximum entropy", "causal"])
def test_a_pickle_trains_the_same_bytes(name, key):
    gfn = KINDS[name]()
    again = pickle.loads(pickle.dumps(gfn))
    (first, _), (second, _) = (gfnjax.train(g, key, 3, chunk_size=3) for g in (gfn, again))
    for x, y in zip(jax.tree.leaves(first.params), jax.tree.leaves(second.params), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.long
def test_a_pickle_in_a_fresh_process(tmp_path):
    gfn = KINDS["joined"]()
    path = tmp_path / "gfn.pkl"
    path.write_bytes(pickle.dumps(gfn))
    code = f"""
import pickle, jax, gfnjax
gfn = pickle.load(open({str(path)!r}, "rb"))
print(float(gfnjax.train(gfn, jax.random.key(0), 3, chunk_size=3)[0].params.log_z))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    state, _ = gfnjax.train(gfn, jax.random.key(0), 3, chunk_size=3)
    assert float(done.stdout) == pytest.approx(float(state.params.log_z), rel=1e-6)


ENVIRONMENTS = {
    "tabular": diamond,
    "sets": lambda: named("set").env,
    "bits": lambda: named("bits", **BITS).env,
    "left to right": lambda: named("bits-left-to-right", **BITS).env,
    "dag": lambda: named("dag", num_nodes=3).env,
    "ising": lambda: named("ising", side=2).env,
    "condition": lambda: named("set", condition="temperature", objective="db").env,
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_environments_with_tables_compare_too(name):
    env, other = ENVIRONMENTS[name](), ENVIRONMENTS[name]()
    assert (env == other) is True
    assert (env == GRID) is False
    assert hash(env) == hash(other)
    assert pickle.loads(pickle.dumps(env)) == env
    moved = jax.tree.map(lambda x: jnp.asarray(x) + jnp.ones((), jnp.asarray(x).dtype), env)
    assert (env == moved) is False


DIFFERENT = {
    "schedule": lambda n: describe(**numbers(epsilon=optax.linear_schedule(1.0, 0.0, n))),
    "lambda": lambda n: describe(**numbers(epsilon=lambda step: n / 10)),
    "default": lambda n: describe(**numbers(epsilon=lambda step, n=n: n / 10)),
    "number": lambda n: describe(**numbers(epsilon=n / 10)),
    "table": lambda n: describe(diamond().replace(log_rewards=jnp.full(5, float(n)))),
    "reward": lambda n: describe(gfnjax.Hypergrid(2, 3, gfnjax.Corners(r0=float(n)))),
    "side": lambda n: describe(gfnjax.Hypergrid(2, n)),
    "policy": lambda n: describe(policy=gfnjax.mlp_policy(GRID, (n,))),
    "sampler": lambda n: describe(sampler=Mixed(Fifo(n))),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_differs_is_not_equal(name):
    assert DIFFERENT[name](4) == DIFFERENT[name](4)
    assert DIFFERENT[name](4) != DIFFERENT[name](5)


def test_values_all_the_way_down():
    assert same({"a": [1, (2.0, np.arange(3))]}, {"a": [1, (2.0, np.arange(3))]})
    assert not same([1, 2], (1, 2))
    assert not same([1, 2], [1, 2, 3])
    assert same(np.array([np.nan, 1.0]), np.array([np.nan, 1.0]))
    assert not same(np.zeros(2), np.zeros(2, np.float32))
    assert not same(np.zeros(2), np.zeros((2, 1)))
    assert same(jax.random.key(1), jax.random.key(1))
    assert not same(jax.random.key(1), jax.random.key(2))

    def recursive(n):
        return recursive(n - 1)

    assert same(recursive, recursive)


def test_equal_numbers_have_equal_hashes():
    a, b = describe(max_grad_norm=1), describe(max_grad_norm=1.0)
    assert a == b
    assert hash(a) == hash(b)
