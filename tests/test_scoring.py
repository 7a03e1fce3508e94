"""Scores against hand computation and brute force; the dense and the packed path agree."""

from functools import partial

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st
from path_enumeration import all_paths, all_trajectories, padded_dag

import gfnjax
from gfnjax import scoring
from gfnjax.policies.base import Behaviour
from gfnjax.testing import diamond

LEARNED = gfnjax.LearnedBackward()
CHUNK = 7
MODES = pytest.mark.parametrize("chunk_size", [None, CHUNK], ids=["dense", "packed"])


def tables(env, seed=0, **overrides):
    """Random parameters of `tabular_policy(env)`."""
    rng = np.random.default_rng(seed)
    sizes = {
        "forward_logits": (env.num_states, env.num_actions),
        "backward_logits": (env.num_states, env.num_backward_actions),
        "log_flow": (env.num_states,),
    }
    drawn = {name: jnp.asarray(rng.normal(size=size)) for name, size in sizes.items()}
    return {"params": drawn | overrides}


def log_softmax(logits, table):
    """`[N, n]` log-probabilities over the entries with table >= 0."""
    logits = np.where(np.asarray(table) >= 0, np.asarray(logits, np.float64), -np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def score_tables(env, params, trajectories, chunk_size, **kwargs):
    policy = gfnjax.tabular_policy(env)
    return scoring.score(
        env, policy, LEARNED, params, trajectories, chunk_size=chunk_size, **kwargs
    )


@MODES
def test_scores_of_the_diamond_by_hand(chunk_size):
    # P_F(1 | 0) = 3/4, P_F(3 | 1) = 1/5, P_B(1 | 3) = 2/3; F(0) = 7, F(1) = 5; R(3) = 1, R(4) = 2.
    env = diamond()
    params = tables(
        env,
        forward_logits=jnp.log(jnp.array([[3.0, 1], [1, 4], [6, 9], [9, 9], [9, 9]])),
        backward_logits=jnp.log(jnp.array([[9.0, 9], [2, 9], [2, 9], [2, 1], [7, 9]])),
        log_flow=jnp.log(jnp.array([7.0, 5, 3, 99, 99])),
    )
    trajectories = all_trajectories(env)
    np.testing.assert_array_equal(trajectories.states.index, [[0, 1, 3], [0, 1, 4], [0, 2, 3]])
    scores = jax.jit(partial(score_tables, chunk_size=chunk_size))(env, params, trajectories)
    log_pf = np.log([[3 / 4, 1 / 5], [3 / 4, 4 / 5], [1 / 4, 1]])
    log_pb = np.log([[1, 2 / 3], [1, 1], [1, 1 / 3]])
    np.testing.assert_allclose(scores.log_pf, log_pf, atol=1e-6)
    np.testing.assert_allclose(scores.log_pb, log_pb, atol=1e-6)
    np.testing.assert_allclose(
        scores.log_flow, np.log([[7, 5, 1], [7, 5, 2], [7, 3, 1]]), atol=1e-6
    )
    np.testing.assert_allclose(scores.log_reward, np.log([1, 2, 1]), atol=1e-6)
    assert scores.mask.all()


@MODES
def test_scores_of_all_paths_of_a_dag_by_enumeration(chunk_size):
    env = padded_dag(1)
    params = tables(env)
    log_pf = log_softmax(params["params"]["forward_logits"], env.children)
    log_pb = log_softmax(params["params"]["backward_logits"], env.parents)
    scores = jax.jit(partial(score_tables, chunk_size=chunk_size))(
        env, params, all_trajectories(env), log_z=1.5
    )
    undo, log_flow = np.asarray(env.undo), np.asarray(params["params"]["log_flow"])
    for b, path in enumerate(all_paths(env)):
        n = len(path) - 1
        states = [s for s, _ in path]
        expected_pb = [
            log_pb[child, undo[s, a]] for (s, a), child in zip(path, states[1:], strict=False)
        ]
        np.testing.assert_allclose(
            scores.log_pf[b, :n], [log_pf[s, a] for s, a in path[:-1]], atol=1e-5
        )
        np.testing.assert_allclose(scores.log_pb[b, :n], expected_pb, atol=1e-5)
        np.testing.assert_allclose(scores.log_flow[b, :n], log_flow[states[:-1]], atol=1e-6)
        assert scores.log_flow[b, n] == scores.log_reward[b] == env.log_rewards[states[-1]]
        assert scores.length[b] == scores.mask[b].sum() == n
        assert scores.mask[b, :n].all()
        for padded in (scores.log_pf[b, n:], scores.log_pb[b, n:], scores.log_flow[b, n + 1 :]):
            np.testing.assert_array_equal(padded, 0.0)
        assert scores.log_z[b] == 1.5


@jax.jit
def dense_and_packed(env, params, trajectories, cotangent):
    """Both paths: scores, log in-flows and the gradient of a random linear function of them."""

    def run(params, chunk_size):
        scores = score_tables(env, params, trajectories, chunk_size)
        policy = gfnjax.tabular_policy(env)
        inflow = scoring.log_inflow(env, policy, params, trajectories, chunk_size=chunk_size)
        outputs = scores.log_pf, scores.log_pb, scores.log_flow, inflow
        parts = jax.tree.map(lambda x, c: (x * c).sum(), outputs, cotangent)
        return sum(parts), outputs

    grad = jax.value_and_grad(run, has_aux=True)
    return grad(params, None), grad(params, CHUNK)


def random_cotangent(trajectories, seed):
    batch_size, horizon = trajectories.actions.shape
    rng = np.random.default_rng(seed)
    sizes = horizon, horizon, horizon + 1, horizon + 1
    return tuple(jnp.asarray(rng.normal(size=(batch_size, n))) for n in sizes)


def assert_close(a, b, tolerance=1e-5):
    jax.tree.map(partial(np.testing.assert_allclose, rtol=tolerance, atol=tolerance), a, b)


@hypothesis.given(st.integers(0, 99), st.integers(0, 2**31 - 1))
def test_dense_and_packed_agree_on_random_dags(graph_seed, seed):
    env = padded_dag(graph_seed)
    trajectories = all_trajectories(env, count=32)
    cotangent = random_cotangent(trajectories, seed)
    dense, packed = dense_and_packed(env, tables(env, seed), trajectories, cotangent)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(dense))
    assert_close(dense, packed)


@pytest.fixture(scope="module")
def grid_run():
    """A hypergrid with an MLP, a mixed batch of short and long trajectories."""
    env = gfnjax.Hypergrid(2, 5)
    gfn = gfnjax.GFlowNet(
        env, gfnjax.mlp_policy(env, (16,)), gfnjax.TrajectoryBalance(), batch_size=12
    )
    params = gfn.init(jax.random.key(0)).params.policy
    act = Behaviour(lambda state, output: jnp.zeros(3), frozenset())

    @jax.jit
    def sample(key):
        return gfn.model.explore(gfnjax.Params(params), key, 12, act)

    trajectories, rows = sample(jax.random.key(1))
    assert len(set(trajectories.length.tolist())) > 3
    return env, gfn.policy, params, trajectories, rows


def test_dense_packed_and_reused_outputs_agree_on_the_hypergrid(grid_run):
    env, policy, params, trajectories, rows = grid_run
    cotangent = random_cotangent(trajectories, 0)[:3]

    def value(params, **kwargs):
        scores = scoring.score(env, policy, LEARNED, params, trajectories, **kwargs)
        seen = scores.log_pf, scores.log_pb, scores.log_flow
        return sum(jax.tree.leaves(jax.tree.map(lambda x, c: (x * c).sum(), seen, cotangent))), seen

    def grad(**kwargs):
        return jax.jit(jax.value_and_grad(partial(value, **kwargs), has_aux=True))(params)

    dense = grad(chunk_size=None)
    assert_close(grad(chunk_size=CHUNK), dense)
    assert_close(grad(chunk_size=1000), dense)
    assert_close(grad(chunk_size=CHUNK, rows=rows), dense)


def uniform_by_the_output(env, state, output):
    """As `UniformBackward`, but it does not say that it goes by the state alone."""
    return 0.0 * output.backward_logits


@pytest.mark.long
@pytest.mark.parametrize("window", [False, True], ids=["whole", "windows"])
def test_terminal_states_are_not_asked_about_unless_p_b_is_read_there(grid_run, window):
    env, policy, params, trajectories, _ = grid_run
    if window:  # some come to their end in three steps, some do not
        states = jax.tree.map(lambda x: x[:, :4], trajectories.states)
        length = jnp.minimum(trajectories.length, 3)
        actions = trajectories.actions[:, :3]
        trajectories = trajectories._replace(states=states, length=length, actions=actions)
        assert len(set(states.stopped[:, -1].tolist())) == 2

    def poisoned(params, observation):
        output, stopped = policy.apply(params, observation[:-1]), observation[-1]
        return jax.tree.map(lambda x: jnp.where(stopped > 0, jnp.nan, x), output)

    def observe(env, state):
        seen = policy.observe(env, state)
        return jnp.append(seen, state.stopped.astype(seen.dtype))

    dead_at_the_end = gfnjax.Policy(policy.init, poisoned, observe)
    needs = frozenset({"log_stop", "log_value"})

    @partial(jax.jit, static_argnums=(0, 1, 2))
    def value_and_grad(policy, backward, chunk_size):
        def value(params):
            given = env, policy, backward, params, trajectories
            scores = scoring.score(*given, chunk_size=chunk_size, needs=needs)
            seen = scores.log_pf, scores.log_flow, scores.log_value
            return sum((x**2).sum() for x in seen), scores

        return jax.value_and_grad(value, has_aux=True)(params)

    expected = value_and_grad(policy, uniform_by_the_output, None)
    for chunk_size in (None, CHUNK, 1000):
        found = value_and_grad(dead_at_the_end, gfnjax.UniformBackward(), chunk_size)
        assert_close(found, expected)
    assert not np.isfinite(value_and_grad(dead_at_the_end, LEARNED, CHUNK)[0][1].log_pb).all()


def test_batch_of_one_and_vmapped_parameters(grid_run):
    env, policy, params, trajectories, _ = grid_run

    @jax.jit
    def run(params, trajectories):
        return scoring.score(env, policy, LEARNED, params, trajectories, chunk_size=CHUNK)

    whole = run(params, trajectories)
    one = run(params, jax.tree.map(lambda x: x[3:4], trajectories))
    assert_close(one, jax.tree.map(lambda x: x[3:4], whole))
    seeds = jax.tree.map(lambda x: jnp.stack([x, -x]), params)
    swept = jax.jit(jax.vmap(run, (0, None)))(seeds, trajectories)
    assert_close(jax.tree.map(lambda x: x[0], swept), whole)


def test_exploration_is_not_scored():
    # Two leaves, P_F = (0.9, 0.1), R = 1, log Z = 0: the loss of one trajectory is (log P_F)^2
    # whatever the behaviour policy, here the uniform one.
    env = gfnjax.tabular_dag([[1, 2], [], []], [0.0, 0.0, 0.0])
    gfn = gfnjax.GFlowNet(
        env,
        gfnjax.tabular_policy(env),
        gfnjax.TrajectoryBalance(),
        hyperparameters=gfnjax.Hyperparameters(epsilon=1.0, temperature=3.0),
        log_z_init=0.0,
        batch_size=1,
    )
    state = gfn.init(jax.random.key(0))
    logits = jnp.zeros((3, 2)).at[0].set(jnp.log(jnp.array([0.9, 0.1])))
    table = state.params.policy["params"] | {"forward_logits": logits}
    state = state._replace(params=state.params._replace(policy={"params": table}))
    step = jax.jit(gfn.step)
    losses = [float(step(state._replace(step=jnp.asarray(i)))[1].loss) for i in range(40)]
    rare = np.isclose(losses, np.log(0.1) ** 2, rtol=1e-5)
    np.testing.assert_allclose(np.array(losses)[~rare], np.log(0.9) ** 2, rtol=1e-4)
    assert 8 <= rare.sum() <= 32  # half of them, as the uniform behaviour has it


@MODES
def test_log_inflow_by_enumeration_over_parents(chunk_size):
    env = padded_dag(4)
    params = tables(env, seed=2)
    log_pf = log_softmax(params["params"]["forward_logits"], env.children)
    log_flow = np.asarray(params["params"]["log_flow"], np.float64)
    edges = [(s, a, int(c)) for (s, a), c in np.ndenumerate(np.asarray(env.children)) if c >= 0]
    expected = np.zeros(env.num_states)
    for child in range(1, env.num_states):
        flows = [np.exp(log_flow[s] + log_pf[s, a]) for s, a, c in edges if c == child]
        expected[child] = np.log(sum(flows))
    assert max(sum(c == child for _, _, c in edges) for child in range(env.num_states)) > 1
    trajectories = all_trajectories(env)
    run = partial(scoring.log_inflow, env, gfnjax.tabular_policy(env), chunk_size=chunk_size)
    inflow = jax.jit(run)(params, trajectories)
    for row, states, n in zip(inflow, trajectories.states.index, trajectories.length, strict=True):
        np.testing.assert_allclose(row[1 : n + 1], expected[states[1 : n + 1]], atol=1e-5)
        assert row[0] == 0
        np.testing.assert_array_equal(row[n + 1 :], 0.0)


def counting_policy(calls):
    """A policy that appends the number of states of every evaluation to `calls`."""

    def apply(params, observation):
        def host(x):
            calls.append(np.size(x[..., 0]))
            return np.asarray(x)

        shape = jax.ShapeDtypeStruct(observation.shape, observation.dtype)
        seen = jax.pure_callback(host, shape, observation, vmap_method="expand_dims")
        return gfnjax.PolicyOutput(params["w"] @ seen, params["v"] @ seen, seen.sum())

    return gfnjax.Policy(lambda key, observation: None, apply)


def test_work_follows_live_transitions_at_a_fixed_horizon():
    env = gfnjax.Hypergrid(2, 8)
    params = {"w": jnp.ones((3, 16)), "v": jnp.ones((3, 16))}
    calls = []
    policy = counting_policy(calls)

    @partial(jax.jit, static_argnames="steps")
    def trajectories(steps):
        """Eight trajectories of `steps` moves and a stop; the horizon is always 15."""

        def behaviour(state):
            walking = state.position.sum() < steps
            go, stop = jnp.array([0.0, 0.0, -1e4]), jnp.array([0.0, 0.0, 1e4])
            return gfnjax.rollout.Decision(jnp.where(walking, go, stop))

        return gfnjax.rollout.sample_forward(env, behaviour, jax.random.key(0), 8)[0]

    @partial(jax.jit, static_argnames="chunk_size")
    def run(trajectories, chunk_size):
        def total(params):
            scores = scoring.score(
                env, policy, LEARNED, params, trajectories, chunk_size=chunk_size
            )
            return scores.log_pf.sum() + scores.log_pb.sum()

        return jax.value_and_grad(total)(params)

    def evaluated(steps, chunk_size):
        batch = trajectories(steps)
        np.testing.assert_array_equal(batch.length, steps + 1)
        calls.clear()
        jax.block_until_ready(run(batch, chunk_size))
        return sum(calls)

    # Value and gradient evaluate each of the 8 (steps + 2) visited states once, in chunks of 8.
    for steps in (0, 3, 14):
        assert evaluated(steps, 8) == 2 * 8 * (steps + 2)
    assert evaluated(0, None) == evaluated(14, None) >= 8 * 16


@pytest.mark.usefixtures("x64")
def test_double_precision():
    env = padded_dag(1)
    trajectories = all_trajectories(env)
    params, cotangent = tables(env), random_cotangent(trajectories, 0)
    dense, packed = dense_and_packed(env, params, trajectories, cotangent)
    assert dense[0][0].dtype == jnp.float64
    assert_close(dense, packed, 1e-12)
