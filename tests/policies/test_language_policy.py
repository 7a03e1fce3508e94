"""Policies that start from a language model: their steps, prompts, low-rank parts and errors."""

import pickle
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from letters import Letters

from gfnjax.envs.amp import VariableSequence
from gfnjax.envs.tempered import tempered
from gfnjax.envs.text import text
from gfnjax.errors import ArgumentError
from gfnjax.gflownet import GFlowNet
from gfnjax.language import GPT2Config, LlamaConfig
from gfnjax.model import Model
from gfnjax.objectives.trajectory_balance import TrajectoryBalance
from gfnjax.policies.base import with_frozen
from gfnjax.policies.language import LanguageModel, language_policy
from gfnjax.pytree import pytree
from gfnjax.state import Params
from gfnjax.tuning import CPU, suited_to

LLAMA = LlamaConfig(13, 8, 12, 2, 4, 2, 4, 32)
GPT2 = GPT2Config(13, 8, 16, 2, 2, 32)
CONFIGS = {"llama": LLAMA, "gpt2": GPT2}
# Tokens that may be written, and what stops.
IDS = [7, 2, 12, 5]
PROMPTS = [[3, 1, 4, 1], [9, 2], [6]]


class Prompts(NamedTuple):
    tokens: Any
    length: Any


class PromptedState(NamedTuple):
    tokens: Any
    stopped: Any
    prompt: Any


def no_reward(tokens):
    return jnp.zeros(())


@pytree
class Written(VariableSequence):
    """Letters that are tokens, after one of some prompts."""

    token_ids: Any = None
    prompts: Any = None

    def initial_state(self):
        state = VariableSequence.initial_state(self)
        return PromptedState(*state, jnp.zeros((), jnp.int32))


@pytree
class Drawn(Written):
    """A prompt for each trajectory."""

    def draw_initial_state(self, key):
        prompt = jax.random.randint(key, (), 0, len(PROMPTS), jnp.int32)
        return self.initial_state()._replace(prompt=prompt)


def padded(prompts, more=0):
    size = max(map(len, prompts)) + more
    rows = [[*prompt, *[0] * (size - len(prompt))] for prompt in prompts]
    return Prompts(jnp.array(rows, jnp.int32), jnp.array([*map(len, prompts)], jnp.int32))


def written(kind=Written, ids=IDS, prompts=PROMPTS, more=0, max_length=4):
    return kind(
        max_length,
        len(ids) - 1,
        no_reward,
        token_ids=jnp.array(ids, jnp.int32),
        prompts=padded(prompts, more),
    )


ENV = written()
MODELS = {name: LanguageModel.random(c, jax.random.key(5)) for name, c in CONFIGS.items()}


@pytest.fixture(params=CONFIGS)
def model(request):
    return MODELS[request.param]


def drawn_params(policy, key, size=0.3):
    """Parameters of a policy that has learned something."""
    params = policy.init(key, policy.observe(ENV, ENV.initial_state()))
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.fold_in(key, 1), len(leaves))
    moved = [
        x + size * jax.random.normal(k, x.shape, x.dtype) for x, k in zip(leaves, keys, strict=True)
    ]
    return structure.unflatten(moved)


@jax.jit
def outputs(policy, params, env, prompt, tokens):
    """What `unroll` says after each of the tokens of a policy."""
    held = with_frozen(params, policy.frozen)
    source = env.initial_state()._replace(prompt=jnp.asarray(prompt, jnp.int32))
    context = policy.prefill(held, policy.look(env, source))
    features = policy.unroll(held, context, tokens)
    return jax.vmap(lambda row: policy.head(held, row))(features)


TOKENS = jnp.array([0, 2, 1, 3, 2, 4], jnp.int32)


def log_softmax(x):
    x = np.asarray(x, np.float64)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


@pytest.mark.parametrize("prompt", range(3))
def test_unroll_is_a_scan_of_step(prompt, model, key):
    policy = language_policy(ENV, model, rank=2)
    params = drawn_params(policy, key)
    held = with_frozen(params, policy.frozen)
    source = ENV.initial_state()._replace(prompt=jnp.int32(prompt))
    context = policy.prefill(held, policy.look(ENV, source))
    memory, found = policy.start(held, context), []
    step = jax.jit(policy.step)
    for t, token in enumerate(TOKENS):
        memory, hidden = step(held, memory, token, jnp.int32(t))
        found.append(policy.head(held, hidden))
    expected = outputs(policy, params, ENV, prompt, TOKENS)
    for name in ("forward_logits", "log_flow"):
        steps = np.array([getattr(output, name) for output in found])
        np.testing.assert_allclose(steps, getattr(expected, name), atol=1e-5)
    assert float(jnp.abs(expected.log_flow).max()) > 0.1


@pytest.mark.parametrize("prompt", range(3))
def test_at_first_it_writes_as_the_model_does(prompt, model, key):
    """The model reads the prompt and what has been written, token by token, in one pass."""
    policy = language_policy(ENV, model, rank=2)
    params = policy.init(key, policy.observe(ENV, ENV.initial_state()))
    said = outputs(policy, params, ENV, prompt, TOKENS)
    before = PROMPTS[prompt]
    ids = jnp.array([*before, *(IDS[a - 1] for a in TOKENS[1:].tolist())], jnp.int32)
    nothing = model.read(ids[:0], jnp.int32(0))
    hidden = model.unroll(nothing, ids)[len(before) - 1 :]
    every = jnp.broadcast_to(jnp.arange(13, dtype=jnp.int32), (len(hidden), 13))
    log_probs = np.asarray(model.log_probs(hidden, every))
    np.testing.assert_allclose(np.exp(log_probs).sum(axis=1), 1.0, atol=1e-5)
    ours = log_softmax(said.forward_logits)
    np.testing.assert_allclose(ours, log_softmax(log_probs[:, IDS]), atol=1e-5)
    np.testing.assert_array_equal(said.log_flow, 0.0)


def test_at_first_additions_change_no_bit(model, key):
    added, plain = (language_policy(ENV, model, rank=rank) for rank in (2, 0))
    said = [
        outputs(p, p.init(key, p.observe(ENV, ENV.initial_state())), ENV, 0, TOKENS)
        for p in (added, plain)
    ]
    np.testing.assert_array_equal(said[0].forward_logits, said[1].forward_logits)


def test_padding_of_prompts_changes_nothing(model, key):
    policy = language_policy(ENV, model, rank=2)
    params = drawn_params(policy, key)
    for prompt in range(3):
        one, other = (
            outputs(policy, params, written(more=more), prompt, TOKENS) for more in (0, 3)
        )
        np.testing.assert_allclose(one.forward_logits, other.forward_logits, atol=1e-5)


def test_gradients_reach_what_is_trained_alone(model, key):
    policy = language_policy(ENV, model, rank=2, targets=("q", "up"))
    params = drawn_params(policy, key)
    layers = params["network"]["params"]
    assert {name for layer in layers.values() for name in layer} == {"q", "up"}

    def loss(params, frozen):
        said = outputs(policy.replace(frozen=frozen), params, ENV, 0, TOKENS)
        return jnp.square(said.forward_logits).sum() + jnp.square(said.log_flow).sum()

    ours = jax.grad(loss)(params, policy.frozen)
    assert all(float(jnp.abs(x).max()) > 0 for x in jax.tree.leaves(ours))
    theirs = jax.grad(loss, 1, allow_int=True)(params, policy.frozen)
    weights = jax.tree.leaves(theirs.weights)
    assert weights
    assert all(float(jnp.abs(x).max()) == 0 for x in weights)


def test_additions_are_a_product_of_low_rank(model, key):
    """As a model whose matrices have been added to by hand."""
    policy = language_policy(ENV, model, rank=2, alpha=3.0, targets=model.config.projections)
    params = drawn_params(policy, key)
    merged = jax.tree.map(lambda x: x, model.weights)
    for layer, projections in params["network"]["params"].items():
        for name, pair in projections.items():
            merged["base"][layer][name]["kernel"] += 1.5 * pair["a"] @ pair["b"]
    plain = language_policy(ENV, model.replace(weights=merged), rank=0)
    alone = {"network": {"params": {}}, "flow": params["flow"]}
    ours = outputs(policy, params, ENV, 1, TOKENS)
    theirs = outputs(plain, alone, ENV, 1, TOKENS)
    np.testing.assert_allclose(ours.forward_logits, theirs.forward_logits, rtol=1e-4, atol=1e-4)


def test_fine_tuning_trains_a_copy_of_all_weights(model, key):
    policy = language_policy(ENV, model, fine_tune=True)
    params = policy.init(key, policy.observe(ENV, ENV.initial_state()))
    assert policy.frozen.weights is None
    for ours, theirs in zip(
        jax.tree.leaves(params["network"]), jax.tree.leaves(model.weights), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
        assert ours is not theirs
    added = language_policy(ENV, model, rank=0)
    alone = added.init(key, added.observe(ENV, ENV.initial_state()))
    for prompt in range(3):
        one = outputs(policy, params, ENV, prompt, TOKENS)
        other = outputs(added, alone, ENV, prompt, TOKENS)
        np.testing.assert_allclose(one.forward_logits, other.forward_logits, atol=1e-5)


def test_most_of_the_vocabulary_is_no_copy(key):
    model = MODELS["llama"]
    ids = [*(i for i in range(13) if i != 4), 4]
    env = written(ids=ids)
    policy = language_policy(env, model)
    assert policy.frozen.rows is None
    assert language_policy(ENV, model).frozen.rows.shape == (4, 8)
    assert (
        policy.frozen.weights["base"]["embedding"]["table"]
        is (model.weights["base"]["embedding"]["table"])
    )
    params = policy.init(key, policy.observe(env, env.initial_state()))
    tokens = jnp.array([0, 3, 8, 2], jnp.int32)
    said = outputs(policy, params, env, 0, tokens)
    text = jnp.array([*PROMPTS[0], *(ids[a - 1] for a in (3, 8, 2))], jnp.int32)
    hidden = model.unroll(model.read(text[:0], jnp.int32(0)), text)[3:]
    expected = model.log_probs(hidden, jnp.broadcast_to(jnp.array(ids, jnp.int32), (4, 13)))
    np.testing.assert_allclose(log_softmax(said.forward_logits), expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Written, Drawn])
@pytest.mark.parametrize("fine_tune", [False, True])
def test_samples_are_scored_as_each_state_on_its_own(kind, fine_tune, key):
    env = written(kind)
    policy = language_policy(env, MODELS["llama"], rank=2, fine_tune=fine_tune)
    model, params = Model(env, policy), Params(drawn_params(policy, key))
    sample, score = jax.jit(model.sample, static_argnums=2), jax.jit(model.score)
    trajectories = sample(params, key, 12)
    if kind is Drawn:
        assert set(trajectories.states.prompt[:, 0].tolist()) == {0, 1, 2}
    scores = score(params, trajectories)
    one_by_one = jax.jit(jax.vmap(jax.vmap(lambda s: policy.evaluate(params.policy, env, s))))
    said = one_by_one(trajectories.states)
    masks = jax.vmap(jax.vmap(env.forward_mask))(trajectories.states)
    logits = np.where(masks, said.forward_logits, -np.inf)[:, :-1]
    for row, length in enumerate(trajectories.length.tolist()):
        for t in range(length):
            log_pf = log_softmax(logits[row, t])[trajectories.actions[row, t]]
            assert scores.log_pf[row, t] == pytest.approx(log_pf, abs=1e-4)
            assert scores.log_flow[row, t] == pytest.approx(float(said.log_flow[row, t]), abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Written, Drawn])
def test_gradient_of_scores_is_that_of_one_pass_over_everything(kind, x64, key):
    env = written(kind)
    half = LanguageModel.random(replace(LLAMA, num_layers=1), jax.random.key(5))
    double = half.replace(weights=jax.tree.map(lambda x: x.astype(jnp.float64), half.weights))
    policy = language_policy(env, double, rank=2)
    model, params = Model(env, policy), Params(drawn_params(policy, key))
    trajectories = jax.jit(model.sample, static_argnums=2)(params, key, 6)

    def ours(params):
        return model.score(params, trajectories).log_pf.sum()

    def log_pf(params, trajectory):
        tokens = jnp.append(jnp.zeros(1, jnp.int32), trajectory.actions + 1)
        prompt = trajectory.states.prompt[0]
        said = outputs(policy, params.policy, env, prompt, tokens)
        allowed = jax.vmap(env.forward_mask)(trajectory.states)
        logs = jax.nn.log_softmax(jnp.where(allowed, said.forward_logits, -1e9))[:-1]
        taken = jnp.take_along_axis(logs, trajectory.actions[:, None], axis=1)[:, 0]
        return jnp.where(
            jnp.arange(taken.size, dtype=jnp.int32) < trajectory.length, taken, 0.0
        ).sum()

    def plain(params):
        return jax.vmap(log_pf, (None, 0))(params, trajectories).sum()

    one, other = (jax.jit(jax.grad(f))(params).policy for f in (ours, plain))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert a.dtype == jnp.float64
        np.testing.assert_allclose(a, b, atol=1e-9)
    assert max(float(jnp.abs(x).max()) for x in jax.tree.leaves(one)) > 1e-3


def test_log_probs_are_differentiable_in_chunks(monkeypatch, x64):
    model = MODELS["llama"]
    table = np.asarray(model.rows, np.float64)
    model = model.replace(weights=jax.tree.map(lambda x: x.astype(jnp.float64), model.weights))
    hidden = jax.random.normal(jax.random.key(1), (3, 15, 8), jnp.float64)
    targets = jax.random.randint(jax.random.key(2), (3, 15, 2), 0, 13, jnp.int32)
    found = model.log_probs(hidden, targets)  # of 45 rows, 16 at a time
    monkeypatch.setattr("gfnjax.tuning.CPU", CPU._replace(most_numbers=1))
    chunked, pull = jax.vjp(lambda h: model.log_probs(h, targets), hidden)
    expected = np.take_along_axis(log_softmax(np.asarray(hidden) @ table.T), targets, axis=-1)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(chunked, expected, atol=1e-6)
    gradient = pull(jnp.ones_like(chunked))[0]
    probs = np.exp(log_softmax(np.asarray(hidden) @ table.T))
    picked = table[np.asarray(targets)].sum(axis=-2)
    np.testing.assert_allclose(gradient, picked - 2 * probs @ table, atol=1e-6)


def test_half_precision_keeps_sums_in_full(key):
    exact = MODELS["llama"]
    model = exact.replace(weights=jax.tree.map(lambda x: x.astype(jnp.bfloat16), exact.weights))
    policy = language_policy(ENV, model, rank=2)
    params = drawn_params(policy, key, 0.1)
    assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    said = outputs(policy, params, ENV, 0, TOKENS)
    full = outputs(language_policy(ENV, exact, rank=2), params, ENV, 0, TOKENS)
    assert said.forward_logits.dtype == jnp.float32
    np.testing.assert_allclose(said.forward_logits, full.forward_logits, atol=0.1)
    assert float(jnp.abs(said.forward_logits - full.forward_logits).max()) > 1e-5
    held = with_frozen(params, policy.frozen)
    context = policy.prefill(held, policy.look(ENV, ENV.initial_state()))
    memory = policy.start(held, context).memory.layers
    assert {x.dtype for pair in memory for x in pair} == {jnp.dtype("bfloat16")}
    assert {x.shape for pair in memory for x in pair} == {(3 + 6, 2, 4)}


def test_equal_policies_share_their_functions_and_can_be_pickled():
    one, other = (language_policy(ENV, MODELS["gpt2"]) for _ in range(2))
    assert one == other
    assert jax.tree.structure(one) == jax.tree.structure(other)
    assert one != language_policy(ENV, MODELS["gpt2"], rank=4)
    again = pickle.loads(pickle.dumps(one))
    assert again == one


def test_what_is_no_fit_is_refused(key):
    model = MODELS["llama"]
    with pytest.raises(ArgumentError, match=r"env must be one of texts, .* VariableSequence"):
        language_policy(VariableSequence(4, 3, no_reward), model)
    with pytest.raises(ArgumentError, match=r"env.token_ids must be .* 0..12, got 13"):
        language_policy(written(ids=[1, 13]), model)
    with pytest.raises(ArgumentError, match=r"env.prompts must be .* got -1"):
        language_policy(written(prompts=[[-1]]), model)
    with pytest.raises(ArgumentError, match=r"up to 4 \+ 29 tokens .* context of 32"):
        language_policy(written(max_length=29), model)
    language_policy(written(max_length=28), model)
    with pytest.raises(ArgumentError, match=r"targets must be among q, .* got 'gates'; did you"):
        language_policy(ENV, model, targets=("gates",))
    with pytest.raises(ArgumentError, match=r"targets must be among .* got 'gate'"):
        language_policy(ENV, MODELS["gpt2"], targets=("gate",))
    with pytest.raises(ArgumentError, match="rank must be at least 0, got -1"):
        language_policy(ENV, model, rank=-1)
    with pytest.raises(ArgumentError, match="alpha must be positive"):
        language_policy(ENV, model, alpha=0.0)
    env = text(Letters("abcdefghijklm"), "ab", lambda ids, prompt: 0.0, stop="m", max_length=2)
    language_policy(env, model)
    language_policy(tempered(env, 2.0), model.replace(tokenizer=Letters("abcdefghijklm")))
    with pytest.raises(ArgumentError, match=r"^language_policy: model has another tokenizer than"):
        language_policy(tempered(env, 2.0), model.replace(tokenizer=Letters("abcdefghijkml")))
    policy = language_policy(ENV, model)
    with pytest.raises(ArgumentError, match="other token_ids"):
        policy.observe(written(ids=[7, 2, 12, 6]), ENV.initial_state())


def test_layers_may_be_computed_again_in_derivatives(key):
    """As they are on GPU, where that saves memory."""
    policy = language_policy(ENV, MODELS["llama"], rank=2)
    params = drawn_params(policy, key)

    def gradient(platform):
        def loss(params):
            held = with_frozen(params, policy.frozen)
            context = policy.prefill(held, policy.look(ENV, ENV.initial_state()))
            return jnp.square(policy.unroll(held, context, TOKENS)).sum()

        with suited_to(platform):
            text = str(jax.make_jaxpr(jax.grad(loss))(params))
            return jax.jit(jax.grad(loss))(params), "remat" in text or "checkpoint" in text

    (one, again), (other, kept) = gradient("gpu"), gradient("cpu")
    assert (again, kept) == (True, False)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("fine_tune", [False, True])
def test_a_step_of_training_moves_what_is_trained(fine_tune, key):
    small = LanguageModel.random(replace(LLAMA, num_layers=1), jax.random.key(5))
    env = written(Drawn)
    policy = language_policy(env, small, rank=2, fine_tune=fine_tune)
    gfn = GFlowNet(env, policy, TrajectoryBalance("flow"), batch_size=8)
    first = jax.jit(gfn.init)(key)
    state, info = jax.jit(gfn.step)(first)
    assert np.isfinite(info.loss)
    count = sum(x.size for x in jax.tree.leaves(first.params.policy))
    whole = sum(x.size for x in jax.tree.leaves(small.weights))
    added = 2 * (3 * 8 + 8 + 8 + 16 + 16) + 2 * 8  # A and B of q, k, v and o
    assert count == (whole if fine_tune else added) + 9  # and of log F
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), first.params, state.params)
    assert moved.policy["flow"]["bias"]
    layer = moved.policy["network"]["base" if fine_tune else "params"]["layer_0"]
    assert layer["q"]["kernel" if fine_tune else "b"]
