"""Policies with a part that is not trained: in the description, not in the training state."""

import pickle

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gfnjax
from gfnjax import GFlowNet, Hypergrid, Hyperparameters, Params, TrajectoryBalance, from_flax
from gfnjax.algorithms import RewardSAC, Teacher, mars
from gfnjax.envs.amp import VariableSequence
from gfnjax.model import Model
from gfnjax.policies import LikelihoodBackward, UniformBackward
from gfnjax.policies.base import Parts
from gfnjax.policies.causal import CausalPolicy
from gfnjax.policies.ensemble import EnsemblePolicy
from gfnjax.types import PolicyOutput

GRID = Hypergrid(2, 4)
WORDS = VariableSequence(4, 3, lambda tokens: (tokens == 2).sum().astype(float))
WIDTH = 17  # of what is frozen: nothing else has this size
TB = TrajectoryBalance()
RATES = Hyperparameters(0.05, 0.05)


class Network(nn.Module):
    """A base, and heads on it."""

    num_members: int = 1

    @nn.compact
    def __call__(self, x):
        x = nn.tanh(nn.Dense(WIDTH, name="base")(x.astype(float)))
        heads = nn.Dense(3 * self.num_members + 4, name="heads")(x)
        return PolicyOutput(heads[:-4], heads[-4:-1], heads[-1])


def variables(num_members=1, seed=5):
    observation = GRID.observe(GRID.initial_state())
    return Network(num_members).init(jax.random.key(seed), observation)


def base(seed=5):
    return {"params": {"base": variables(seed=seed)["params"]["base"]}}


def states_policy(frozen=None):
    return from_flax(Network(), frozen=base() if frozen is None else frozen)


def causal_policy(frozen=None):
    """Logits are rows of a trained table, by the sum of the tokens, times frozen ones."""
    held = {"scales": jnp.linspace(0.5, 2.0, WIDTH)} if frozen is None else frozen

    def output(params, total):
        assert isinstance(params, Parts)
        scale = params.frozen["scales"][total % WIDTH]
        row = params.trained["table"][total % 5]
        return PolicyOutput(row[:4] * scale, jnp.zeros(1), row[4])

    def start(params, observation):
        assert isinstance(params, Parts)
        return jnp.zeros((), jnp.int32)

    return CausalPolicy(
        init=lambda key, seen: {"table": 0.1 * jax.random.normal(key, (5, 5))},
        start=start,
        step=lambda params, total, token, t: (total + token, output(params, total + token)),
        unroll=lambda params, observation, tokens: jax.vmap(lambda total: output(params, total))(
            jnp.cumsum(tokens)
        ),
        frozen=held,
    )


KINDS = {"states": (GRID, states_policy), "causal": (WORDS, causal_policy)}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


def describe(env, policy, **options):
    return GFlowNet(env, policy, TB, hyperparameters=RATES, batch_size=8, **options)


def of_width(tree):
    """Arrays that are frozen, by their size."""
    return [x for x in jax.tree.leaves(tree) if WIDTH in jnp.shape(x)]


def test_frozen_arrays_are_leaves_of_the_description_alone(kind, key):
    env, make = kind
    policy = make()
    gfn = describe(env, policy, target_rate=0.1, log_z_init=0.0)
    frozen = jax.tree.leaves(policy.frozen)
    assert frozen
    for tree in (gfn, gfn.model):
        held = {id(x) for x in jax.tree.leaves(tree)}
        assert all(id(x) in held for x in frozen)
    state = gfn.init(key)
    trained = state.params, state.opt_state, state.target
    # The heads have inputs of this width, and are trained.
    heads = [x for x in of_width(trained) if x.shape == (WIDTH, 7)]
    assert len(of_width(trained)) == len(heads)
    assert len(heads) == (4 if env is GRID else 0)  # parameters, two moments, target


@pytest.mark.slow
def test_the_rest_alone_is_trained_and_training_uses_the_frozen_part(kind, key):
    env, make = kind
    gfn = describe(env, make())
    state, history = gfnjax.train(gfn, key, 20)
    start = gfn.init(key)
    names = ["heads"] if env is GRID else ["table"]
    held = state.params.policy["params"] if env is GRID else state.params.policy
    assert list(held) == names
    for x, y in zip(
        jax.tree.leaves(start.params.policy), jax.tree.leaves(state.params.policy), strict=True
    ):
        assert float(jnp.abs(x - y).max()) > 1e-2
    assert np.isfinite(history.info.loss).all()
    # Other frozen arrays, another policy, with what has been compiled.
    other = gfn.replace(policy=make(jax.tree.map(lambda x: 2 * x, gfn.policy.frozen)))
    paths = gfn.sample(state.params, key, 8)
    ours, theirs = gfn.score(state.params, paths), other.score(state.params, paths)
    assert float(jnp.abs(ours.log_pf - theirs.log_pf).max()) > 1e-3


def test_it_is_the_whole_module_with_both_parts(key):
    whole = variables()
    policy = states_policy(base())
    rest = {"params": {"heads": whole["params"]["heads"]}}
    state = GRID.initial_state()
    expected = Network().apply(whole, GRID.observe(state))
    found = policy.evaluate(rest, GRID, state)
    for x, y in zip(found, expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-6)
    # Parts may be as small as one array.
    kernel = {"params": {"base": {"kernel": whole["params"]["base"]["kernel"]}}}
    fine = from_flax(Network(), frozen=kernel).init(key, GRID.observe(state))
    assert list(fine["params"]["base"]) == ["bias"]


@pytest.mark.slow
def test_a_sweep_holds_them_once(kind, key):
    env, make = kind
    gfn = describe(env, make())
    one = jax.eval_shape(gfn.init, key)
    many = jax.vmap(gfn.init)(jax.random.split(key, 3))
    for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(many), strict=True):
        assert y.shape == (3, *x.shape)
    copies = [x for x in of_width(many) if x.shape[1:] != (WIDTH, 7)]
    assert not copies
    states, _ = jax.vmap(gfn.step)(many)
    assert len(set(np.asarray(states.params.log_z).tolist())) == 3


@pytest.mark.parametrize("dense", [False, True])
def test_no_gradient_reaches_them(kind, dense, key):
    env, make = kind
    gfn = describe(env, make())
    params = gfn.init(key).params
    paths = gfn.sample(params, key, 8)

    def total(frozen, policy):
        moved = gfn.replace(policy=gfn.policy.replace(frozen=frozen))
        scores = moved.score(params._replace(policy=policy), paths, dense=dense)
        return scores.log_pf.sum() + scores.log_flow.sum()

    frozen, trained = jax.grad(total, (0, 1))(gfn.policy.frozen, params.policy)
    assert all(float(jnp.abs(x).max()) == 0 for x in jax.tree.leaves(frozen))
    assert all(float(jnp.abs(x).max()) > 1e-3 for x in jax.tree.leaves(trained))


def test_another_base_is_no_other_code(key):
    gfns = [describe(GRID, states_policy(base(seed))) for seed in (5, 6)]
    assert gfns[0] != gfns[1]
    assert gfns[0] == describe(GRID, states_policy(base(5)))
    assert hash(gfns[0]) == hash(describe(GRID, states_policy(base(5))))
    traces = []

    @jax.jit
    def flow(gfn, params):
        traces.append(1)
        return gfn.model.log_z(params)

    params = gfns[0].init(key).params
    assert len({float(flow(gfn, params)) for gfn in gfns}) == 2
    assert len(traces) == 1


def test_pickles_bring_them_along(kind, key):
    env, make = kind
    gfn = describe(env, make())
    again = pickle.loads(pickle.dumps(gfn))
    assert again == gfn
    params = gfn.init(key).params
    np.testing.assert_array_equal(again.model.log_z(params), gfn.model.log_z(params))


def test_members_of_an_ensemble_share_a_frozen_base(key):
    network = from_flax(Network(2), frozen=base())
    gfn = describe(GRID, EnsemblePolicy(network, 2))
    state, _ = gfnjax.train(gfn, key, 3)
    assert list(state.params.policy["params"]) == ["heads"]
    assert np.isfinite(state.params.log_z)


def test_a_causal_policy_scores_what_it_samples(key):
    model = Model(WORDS, causal_policy())
    params = Params(model.policy.init(key, None))
    paths = model.sample(params, key, 64)
    scores = model.score(params, paths)
    table, scales = np.asarray(params.policy["table"]), np.linspace(0.5, 2.0, WIDTH)
    totals = np.cumsum(np.asarray(paths.actions) + 1, axis=1)
    for i in range(8):
        # The second action: all four are allowed.
        total = totals[i, 0]
        logits = table[total % 5, :4] * scales[total % WIDTH]
        expected = logits[paths.actions[i, 1]] - np.log(np.exp(logits).sum())
        np.testing.assert_allclose(scores.log_pf[i, 1], expected, rtol=1e-4)


def test_a_proposal_of_markov_chains_has_them_too(key):
    chains = mars(GRID, states_policy(), 4, learning_rate=0.1)
    state, info = jax.jit(chains.step)(chains.init(key))
    assert list(state.params.policy["params"]) == ["heads"]
    assert np.isfinite(info.loss)


def second_networks():
    """Runs in which a network other than the policy has a frozen part."""
    plain = gfnjax.mlp_policy(GRID, (8,))
    gfn = GFlowNet(GRID, plain, TB, hyperparameters=RATES, batch_size=8)
    critic = RewardSAC(critic=states_policy())
    return {
        "teacher": Teacher(gfn, states_policy()),
        "backward": gfn.replace(backward=LikelihoodBackward(states_policy())),
        "critic": gfn.replace(objective=critic, backward=UniformBackward(), target_rate=0.1),
    }


@pytest.mark.parametrize("name", ["teacher", "backward", "critic"])
def test_other_networks_may_have_them(name, key):
    run = second_networks()[name]
    state = jax.jit(run.init)(key)
    heads = of_width(state)
    assert len(heads) == 3  # of the network and its two moments
    assert all(x.shape[-2:] == (WIDTH, 7) for x in heads)
    after, info = jax.jit(run.step)(state)
    assert np.isfinite(info.loss)
    assert any(float(jnp.abs(x - y).max()) > 0 for x, y in zip(heads, of_width(after), strict=True))


@pytest.mark.parametrize(
    ("frozen", "words"),
    [
        ({"params": {"bass": {"kernel": jnp.ones(2)}}}, r"params\.bass\.kernel, which Network"),
        ({"base": {"kernel": jnp.ones(2)}}, r"base\.kernel, which Network lacks"),
        ({"params": {"base": jnp.ones(2)}}, r"params\.base, which Network lacks"),
    ],
)
def test_a_name_that_the_module_lacks_is_refused(frozen, words, key):
    gfn = describe(GRID, states_policy(frozen))
    with pytest.raises(ValueError, match=f"frozen holds {words}"):
        gfn.init(key)
