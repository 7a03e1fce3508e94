"""Tasks on texts by name: environments, networks and samplers, what is measured and written."""

import dataclasses
import itertools
import json
import shutil
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_language_models import llama_logits
from text_models import CONFIG, TOKENS, ids, tensors, write_model

pytest.importorskip("tokenizers")
pytest.importorskip("safetensors")

from gfnjax import training
from gfnjax.cli.reports import _results
from gfnjax.envs.base import source_state
from gfnjax.envs.bigram import solve
from gfnjax.envs.tempered import exponent_of, tempered
from gfnjax.envs.text import ListedText, PromptedText, Text, text
from gfnjax.errors import ArgumentError
from gfnjax.gflownet import GFlowNet
from gfnjax.metrics import exact
from gfnjax.metrics.state_graph import build_graph
from gfnjax.objectives import ModifiedSubTrajectoryBalance, RapTB, RelativeTrajectoryBalance
from gfnjax.policies.backward import UniformBackward
from gfnjax.policies.base import FrozenPolicy
from gfnjax.policies.language import language_policy
from gfnjax.policies.language_model import load_language_model
from gfnjax.policies.uniform import uniform_policy
from gfnjax.replay import PromptReplay
from gfnjax.rewards.language import Continuation, Infilling
from gfnjax.rewards.text import Constrained, uniform_over
from gfnjax.rewards.tokens import encoded
from gfnjax.run.build import build
from gfnjax.run.choices import configure
from gfnjax.run.config import UsageError, from_dict, to_dict
from gfnjax.run.evaluation import ConditionalEvaluator, TextEvaluator, make_evaluator
from gfnjax.run.evaluation.base import evaluation_keys
from gfnjax.run.evaluation.texts import listing_of
from gfnjax.run.state_graphs import state_graph
from gfnjax.run.text_tasks import GAPS, SENTENCES, TextTask
from gfnjax.run.texts import find_texts
from gfnjax.run.writing import after_new, write, written
from gfnjax.samplers import Groups
from gfnjax.state import StepInfo


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="module")
def model(folder):
    return load_language_model(folder)


def configured(folder, **settings):
    small = {"batch_size": 4, "group_size": 4, "evaluation_samples": 8, "language": {"rank": 2}}
    return configure("text", model=str(folder), **{**small, **settings})


TASKS = {
    "tempered": {"max_length": 4},
    "infill": {"max_length": 4},
    "integers": {},
    "arithmetic": {"num_problems": 4, "max_length": 22},
}


@pytest.mark.slow
@pytest.mark.parametrize("variant", TASKS)
def test_variants_are_built_from_files_and_survive_json(variant, folder, key):
    config = configured(folder, variant=variant, **TASKS[variant])
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config
    gfn = build(config)
    assert isinstance(gfn.sampler, Groups)
    rules = gfn.env if isinstance(gfn.env, Text) else gfn.env.env
    kinds = {"integers": ListedText, "tempered": PromptedText, "infill": PromptedText}
    assert type(rules) is kinds.get(variant, PromptedText)
    if variant == "tempered":
        state = jax.eval_shape(gfn.init, key)
        after, info = jax.eval_shape(gfn.step, state)
        assert jax.tree.structure(after) == jax.tree.structure(state)
        assert info.loss.shape == ()
    # One set of weights, wherever it is used.
    weights = jax.tree.leaves(rules.model.weights)
    held = [gfn.policy.frozen.weights]
    if variant != "integers":
        held.append(rules.reward.model.weights)
    for other in held:
        pairs = zip(weights, jax.tree.leaves(other), strict=True)
        assert all(a is b for a, b in pairs)
    again = build(config)
    same = zip(weights, jax.tree.leaves(again.policy.frozen.weights), strict=True)
    assert all(a is b for a, b in same)


@pytest.mark.long
@pytest.mark.parametrize("variant", TASKS)
def test_variants_take_steps(variant, folder, key):
    gfn = build(configured(folder, variant=variant, **TASKS[variant]))
    state, history = training.train(gfn, key, 2, chunk_size=2)
    assert np.isfinite(np.asarray(history.info.loss)).all()
    moved = [float(jnp.abs(x).max()) for x in jax.tree.leaves(state.params.policy)]
    assert all(np.isfinite(moved))
    assert any(x > 0 for x in moved)


def test_prompts_of_each_task(folder, tmp_path):
    def prompts(**options):
        env = TextTask(model=str(folder), **options).make()
        rows = zip(*map(np.asarray, env.prompts), strict=True)
        return [env.tokenizer.decode(row[:size].tolist()) for row, size in rows]

    assert prompts() == list(SENTENCES)
    expected = [f"Beginning: {x}\nEnd: {y}\nMiddle:" for x, y in GAPS]
    assert prompts(task="infill") == expected
    file = tmp_path / "prompts.txt"
    file.write_text("one\n\ntwo words \n")
    assert prompts(prompts=str(file)) == ["one", "two words "]
    file.write_text("only one")
    env = TextTask(model=str(folder), prompts=str(file)).make()
    assert isinstance(env, ListedText)
    file.write_text("before\tafter\n")
    task = TextTask(task="infill", model=str(folder), prompts=str(file), min_length=1)
    assert prompts(task="infill", prompts=str(file)) == ["Beginning: before\nEnd: after\nMiddle:"]
    env = task.make()
    assert np.asarray(env.reward.suffixes.tokens).tolist() == [ids(" after")]
    assert np.asarray(env.reward.prompts.tokens).tolist() == [ids("before")]
    assert task.prompt_of("a\tb") == "Beginning: a\nEnd: b\nMiddle:"
    file.write_text("3+4-9\n2-5\n")
    task = TextTask(task="arithmetic", model=str(folder), prompts=str(file))
    assert task.prompt_of("3+4-9") == "Question: 3+4-9=?\nAnswer:"
    assert task.prompt_of(task.prompt_of("2-5")) == "Question: 2-5=?\nAnswer:"
    questions = [task.prompt_of(line) for line in ("3+4-9", "2-5", "2-5")]
    found = task.judge(questions, ["3+4=7,7-9=-2", "2-5=3", "-3"])
    # Of two results that come once the first has the vote.
    assert found == {"accuracy": 2 / 3, "voting_accuracy": 1 / 2}
    answers = ["-2", "2-5=3", "2-5=-3", "none", "?", "so?", "=-3"]
    found = task.judge(questions[:2] + [questions[1]] * 5, answers)
    assert found == {"accuracy": 3 / 7, "voting_accuracy": 1.0}
    assert task.judge(["Who?"], ["-2"]) == {}
    assert TextTask().judge(questions, questions) == {}


def test_vocabularies_are_lists_or_files(folder, tmp_path):
    def pieces(vocabulary):
        env = TextTask(model=str(folder), vocabulary=vocabulary).make()
        return "".join(TOKENS[i] for i in np.asarray(env.token_ids))

    file = tmp_path / "words"
    file.write_text("x\ny\n")
    assert pieces("a,b,c") == "abc."
    assert pieces("a") == "a."
    assert pieces(str(file)) == "xy."
    assert TextTask(vocabulary=str(file)).vocabulary == str(file)


def test_the_temperature_moves_in_a_straight_line(folder):
    config = configured(folder, reward_temperature=0.5, start_temperature=1.5, temperature_steps=4)
    gfn = build(config)
    exponent = exponent_of(gfn.env)
    found = [float(exponent(jnp.int32(step))) for step in (0, 2, 4, 90)]
    np.testing.assert_allclose(found, [1 / 1.5, 1.0, 2.0, 2.0], rtol=1e-6)
    other = build(configured(folder, reward_temperature=0.6, start_temperature=1.5))
    assert jax.tree.structure(gfn.env) == jax.tree.structure(other.env)
    constant = TextTask(model=str(folder), reward_temperature=0.5).make()
    assert exponent_of(constant) == 2.0
    assert exponent_of(TextTask(model=str(folder)).make()) is None


def test_a_graph_has_the_reward_that_a_schedule_ends_with():
    task = TextTask("bigram", num_letters=3, max_length=2, reward_temperature=0.5)
    moving = dataclasses.replace(task, start_temperature=2.0, temperature_steps=10)
    for each in (task, moving):
        log_z = exact.target_distribution(state_graph(each))[1]
        np.testing.assert_allclose(log_z, solve(3, 2, 0.5).log_z, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_letters": 4}, "num_letters does nothing with task continuation"),
        ({"log_floor": -3.0}, "log_floor does nothing with task continuation"),
        ({"task": "bigram", "min_length": 2}, "min_length does nothing with task bigram"),
        ({"task": "integers", "prompts": "x"}, "prompts does nothing with task integers"),
        ({"task": "chess"}, "task must be one of continuation, infill"),
        ({"temperature_steps": 5}, "temperature_steps does nothing without start_temperature"),
        ({"reward_temperature": 0.0}, "reward_temperature must be positive"),
        ({"start_temperature": -1.0}, "start_temperature must be positive"),
        ({"max_length": 0}, "max_length must be at least 1"),
        (
            {"task": "arithmetic", "prompts": "x", "num_problems": 3},
            "num_problems does nothing with prompts",
        ),
    ],
)
def test_options_that_do_nothing_are_refused(settings, message):
    with pytest.raises(ArgumentError, match=message):
        TextTask(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"replay": "fifo"}, "replay must be prompts or none with group_size, got fifo"),
        ({"group_size": None, "tempered_share": 0.1}, "tempered_share does nothing without group"),
        ({"group_size": None}, "needs groups of trajectories"),
        ({"window": 3}, "group_size cannot be used together with window"),
        ({"lowest_temperature": 3.0}, "highest_temperature must be finite, and lowest_temperature"),
        ({"batch_size": 6}, "multiple of the 4 trajectories of a group"),
        ({"language": {"fine_tune": True, "rank": 2}}, "rank does nothing with fine_tune"),
        ({"language": {"targets": ("q", "x")}}, "targets must be among q, k, v, o"),
    ],
)
def test_what_does_not_fit_together_is_named(settings, message, folder):
    with pytest.raises(ValueError, match=message):
        build(configured(folder, **settings))


def test_pairs_of_letters_have_no_language_model():
    config = configure("text", variant="bigram", network="language")
    with pytest.raises(ArgumentError, match="must be one of texts with a language model"):
        build(config)


def test_a_model_that_changes_is_noticed(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    task = TextTask(model=str(copy), max_length=3)
    assert task.model_digest == TextTask(model=str(folder)).model_digest
    assert TextTask(model=str(tmp_path / "nowhere")).model_digest is None
    task.make()
    with (copy / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    kept = from_dict(to_dict(configured(folder))).env
    changed = dataclasses.replace(kept, model=str(copy))
    with pytest.raises(ArgumentError, match="its files have changed; put those back, or start"):
        changed.make()
    dataclasses.replace(changed, model_digest=None).make()


@pytest.mark.slow
def test_sums_begin_with_their_solutions(folder, key):
    small = {"variant": "arithmetic", "num_problems": 3, "num_operands": (2,)}
    config = configured(folder, max_length=8, **small)
    gfn = build(config)
    states = config.env.demonstrations(gfn.env)
    solutions = gfn.env.texts(states)
    questions = [gfn.env.tokenizer.decode(row) for row in np.asarray(gfn.env.prompts.tokens)]
    for question, solution in zip(questions, solutions, strict=True):
        numbers = question.removeprefix("Question: ").partition("=")[0]
        assert eval(solution.rpartition("=")[2]) == eval(numbers)
    assert isinstance(gfn.sampler.replay, PromptReplay)
    memory = jax.jit(gfn.init)(key).memory
    np.testing.assert_array_equal((memory.length > 0).sum(axis=1), 1)
    np.testing.assert_array_equal(memory.length[:, 0], [len(text) + 1 for text in solutions])
    log_reward = jax.jit(gfn.env.env.log_rewards)(states)
    np.testing.assert_allclose(memory.log_reward[:, 0], log_reward, rtol=1e-4)
    with pytest.raises(ArgumentError, match="max_length must be at least"):
        build(configured(folder, max_length=4, min_length=2, **small))


def described(model, reward, objective=None, prior=None, **options):
    given = {"stop": ".", "allowed": "ab", "max_length": 3, "model": model} | options
    env = text(model.tokenizer, "see: ", reward, **given)
    policy = language_policy(env, model, rank=1)
    objective = objective or ModifiedSubTrajectoryBalance()
    given = {"prior": prior and prior(env), "log_z_init": 0.0, "batch_size": 4}
    return GFlowNet(env, policy, objective, UniformBackward(), **given)


def uniform_prior(env):
    policy = uniform_policy(env)
    observation = policy.observe(env, source_state(env))
    return FrozenPolicy(policy, policy.init(jax.random.key(0), observation))


@pytest.mark.long
def test_what_is_listed_is_measured_exactly(model, key):
    words = ["a", "ba", "bbb", "abab"]
    gfn = described(model, uniform_over(words, model.tokenizer, log_floor=-2.0))
    state = gfn.init(key)
    listing = listing_of(gfn.env)
    assert gfn.env.texts(listing.states) == ["a", "ba", "bbb"]
    found = TextEvaluator(gfn, listing).evaluate(state, None)
    # Of all 14 texts, state by state.
    graph = build_graph(gfn.env)
    log_pf = exact.policy_table(gfn.model, state.params).log_pf
    log_q = np.asarray(exact.terminating_distribution(graph, log_pf), np.float64)
    states = jax.vmap(gfn.env.state_at)(jnp.arange(graph.num_states, dtype=jnp.int32))
    strings = np.array(gfn.env.texts(states))
    ended = np.asarray(states.stopped)
    q = np.exp([log_q[ended & (strings == word)][0] for word in words[:3]])
    p, u = q / q.sum(), np.full(3, 1 / 3)
    expected = {
        "valid_mass": q.sum(),
        "kl": (p * np.log(p / u)).sum(),
        "reverse_kl": (u * np.log(u / p)).sum(),
        "total_variation": np.abs(p - u).sum() / 2,
        "log_ratio_std": np.sqrt((p * np.log(q) ** 2).sum() - (p * np.log(q)).sum() ** 2),
        "true_log_z": np.log(3 + 11 * np.exp(-2.0)),
        "log_reward": 0.0,
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=2e-5), name
    shown = TextEvaluator(gfn, listing).distributions(state)
    np.testing.assert_allclose(shown.learned, q, rtol=1e-4)
    np.testing.assert_allclose(shown.target, u, rtol=1e-6)
    (learned,), (target,) = TextEvaluator(gfn, listing).views(state)
    assert learned.x_ticks == target.x_ticks == ("a", "ba", "bbb")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("objective", "relative"),
    [(RelativeTrajectoryBalance("group"), True), (RapTB(log_z="learned"), False)],
)
def test_a_prior_counts_where_the_target_is_relative_to_it(objective, relative, model, key):
    words = ["a", "ba", "bbb"]
    reward = uniform_over(words, model.tokenizer, log_floor=-2.0)
    gfn = described(model, reward, objective, uniform_prior)
    state = gfn.init(key)
    found = TextEvaluator(gfn, listing_of(gfn.env)).evaluate(state, None)
    # One letter of two, then two letters or the stop; three letters are the most.
    prior = np.array([1 / 6, 1 / 18, 1 / 18])
    weight = prior if relative else np.ones(3)
    q = np.exp([log_q(word) for word in words])
    p, target, ratio = q / q.sum(), weight / weight.sum(), np.log(weight) - np.log(q)
    others = 1 - prior.sum() if relative else 11
    expected = {
        "kl": (p * np.log(p / target)).sum(),
        "reverse_kl": (target * np.log(target / p)).sum(),
        "total_variation": np.abs(p - target).sum() / 2,
        "log_ratio_std": np.sqrt((p * ratio**2).sum() - (p * ratio).sum() ** 2),
        "true_log_z": np.log(weight.sum() + others * np.exp(-2.0)),
        "log_reward": 0.0,
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=2e-5), name
    shown = TextEvaluator(gfn, listing_of(gfn.env)).distributions(state)
    np.testing.assert_allclose(shown.target, target, rtol=1e-5)

    evaluator = TextEvaluator(gfn, num_samples=8)
    found = evaluator.evaluate(state, None)
    # Both draw alike.
    samples = write(gfn.model, state.params, evaluation_keys(state).metrics, 8)
    drawn = gfn.env.texts(samples.states)
    log_prior = np.log([[1 / 6, 1 / 18, 1 / 18][len(word) - 1] for word in drawn])
    log_r = np.array([0.0 if word in words else -2.0 for word in drawn])
    log_w = log_r - [log_q(word) for word in drawn] + (log_prior if relative else 0)
    assert found["elbo"] == pytest.approx(log_w.mean(), abs=1e-4)
    assert found["log_ratio_std"] == pytest.approx(log_w.std(), abs=1e-4)


@pytest.mark.slow
def test_all_texts_are_listed_where_they_are_few(model, key):
    gfn = described(model, Continuation(model), max_length=2)
    warm = dataclasses.replace(gfn, env=tempered(gfn.env, 2.0))
    state = warm.init(key)
    listing = listing_of(warm.env)
    found = TextEvaluator(warm, listing).evaluate(state, None)
    words = ["".join(w) for n in (1, 2) for w in itertools.product("ab", repeat=n)]
    assert warm.env.texts(listing.states) == words
    log_r = np.array([2 * log_p(word + ".") for word in words])
    assert found["true_log_z"] == pytest.approx(np.logaddexp.reduce(log_r), abs=1e-4)
    target = np.exp(log_r - np.logaddexp.reduce(log_r))
    q = np.exp([log_q(word, max_length=2) for word in words])
    assert q.sum() == pytest.approx(1, abs=1e-6)
    assert found["total_variation"] == pytest.approx(np.abs(q - target).sum() / 2, abs=1e-4)
    assert "valid_mass" not in found
    assert listing_of(described(model, Continuation(model), max_length=12).env) is None


def log_softmax(x):
    return x - np.logaddexp.reduce(x, axis=-1, keepdims=True)


def log_p(following, prompt="see: "):
    """What the model says of a text after a prompt, by NumPy."""
    tokens = ids(prompt + following)
    said = log_softmax(llama_logits(tensors(), tokens, config=CONFIG))
    start = len(tokens) - len(following)
    return sum(said[i - 1, tokens[i]] for i in range(start, len(tokens)))


def log_q(word, prompt="see: ", allowed="ab", max_length=3):
    """What a policy does that writes as the model does, allowed tokens alone, one at least."""
    tokens = ids(prompt + word)
    said = llama_logits(tensors(), tokens, config=CONFIG)[len(tokens) - len(word) - 1 :]
    choices, total = ids(allowed + "."), 0.0
    for place, token in enumerate(ids(word + ".")):
        if place == max_length:
            break  # it must stop
        logits = said[place][choices if place else choices[:-1]]
        total += log_softmax(logits)[choices.index(token)]
    return total


@pytest.mark.slow
def test_what_is_sampled_is_measured(model, key):
    constrained = Constrained(Continuation(model), uniform_over(["a", "ab"], model.tokenizer))
    gfn = described(model, constrained, max_length=4)
    evaluator = TextEvaluator(gfn, num_samples=64)
    state = gfn.init(key)
    found = evaluator.evaluate(state, None)
    again = evaluator.evaluate(state, None)
    assert np.isnan(found.pop("log_z"))  # there was no batch yet
    assert np.isnan(again.pop("log_z"))
    assert found == again
    table = find_texts(gfn, state, 64)
    for row, word in enumerate(table.texts):
        expected = log_q(word, max_length=4)
        assert table.log_q[row] == pytest.approx(expected, abs=1e-3)
        expected = log_p(word + ".") + (0 if word in ("a", "ab") else -99)
        assert table.log_r[row] == pytest.approx(expected, abs=1e-3)
    assert table.count.sum() == 64
    assert (np.diff(table.log_r) <= 0).all()
    assert table.prompts == ["see: "] * len(table.texts)
    texts = ["".join(w) for n in range(1, 5) for w in itertools.product("ab", repeat=n)]
    q = np.exp([log_q(word, max_length=4) for word in texts])
    share = q[texts.index("a")] + q[texts.index("ab")]
    error = np.sqrt(share * (1 - share) / 64)
    assert abs(found["valid_share"] - share) < 4 * error
    likely = np.array([log_p(word + ".") for word in texts])
    spread = np.sqrt((q * likely**2).sum() - (q * likely).sum() ** 2)
    assert abs(found["log_likelihood"] - (q * likely).sum()) < 4 * spread / 8
    assert found["importance_log_z"] >= found["elbo"]


@pytest.mark.slow
def test_several_prompts_are_measured_one_by_one(folder, key):
    config = configured(folder, max_length=3, vocabulary="a,b", reward_temperature=0.5)
    gfn = build(config)
    evaluator = make_evaluator(config, gfn)
    assert isinstance(evaluator, ConditionalEvaluator)
    assert len(evaluator.evaluators) == 3
    assert [int(each.gfn.env.env.prompt) for each in evaluator.evaluators] == [0, 1, 2]
    state = gfn.init(key)
    rows = [each.evaluate(state, None) for each in evaluator.evaluators]
    found = evaluator.evaluate(state, None)
    values = [row["total_variation"] for row in rows]
    assert len(set(values)) == 3
    assert found["worst_total_variation"] == max(values)
    assert found["kl"] == pytest.approx(np.mean([row["kl"] for row in rows]))
    assert make_evaluator(
        dataclasses.replace(config, training=dataclasses.replace(config.training, stop_at_tv=0.1)),
        gfn,
    )
    long = configured(folder, max_length=12, stop_at_tv=0.1)
    with pytest.raises(UsageError, match="stop_at_tv needs exact evaluation"):
        make_evaluator(long, build(long))


@pytest.mark.parametrize("objective", ["vargrad-group", "tb-flow"])
def test_a_mean_over_prompts_is_no_log_z_of_one(objective, folder, key):
    settings = {"max_length": 3, "vocabulary": "a,b", "objective": objective, "min_length": 0}
    config = configured(folder, **settings)
    gfn = build(config)
    state = gfn.init(key)
    info = StepInfo(*(np.ones(3, np.float32),) * 5)
    found = make_evaluator(config, gfn).evaluate(state, info)
    assert np.isfinite(found["true_log_z"])
    has = objective == "tb-flow"
    assert ("log_z" in found, "log_z_error" in found) == (has, has)
    ending = SimpleNamespace(evaluation=found, rate=None, ending="done", seconds=1.0)
    truth = f"truth {found['true_log_z']:.4f}"
    if has:
        truth = f"{found['log_z']:.4f}  ({truth}, error {found['log_z_error']:.4f})"
    assert _results(3, ending).splitlines()[2] == f"log Z      {truth}"


@pytest.mark.long
def test_likelihood_is_that_after_what_the_reward_shows(model, key):
    table = encoded(model.tokenizer, ["he "], "prompts")
    ends = encoded(model.tokenizer, [" ok"], "suffixes")
    inside = Infilling(model, ends, table)
    for reward in (inside, Constrained(inside, uniform_over(["a"], model.tokenizer))):
        gfn = described(model, reward, max_length=4)
        state = gfn.init(key)
        found = TextEvaluator(gfn, num_samples=8).evaluate(state, None)
        samples = write(gfn.model, state.params, evaluation_keys(state).metrics, 8)
        likely = [log_p(text + ".", prompt="he ") for text in gfn.env.texts(samples.states)]
        assert found["log_likelihood"] == pytest.approx(np.mean(likely), abs=1e-3)


@pytest.mark.parametrize("variant", TASKS)
def test_no_language_model_counts_twice(variant, folder):
    config = configured(folder, variant=variant, objective="rtb-group", **TASKS[variant])
    if variant == "integers":
        assert build(config).prior is not None
        return
    with pytest.raises(ArgumentError, match="in the reward of these texts already: use vargrad-g"):
        build(config)


def test_any_prompt_can_be_read(model, key):
    gfn = described(model, Continuation(model))
    state = gfn.init(key)
    found = written(after_new(gfn.model, "Who? "), state.params, key, 5)
    assert [each.prompt for each in found] == ["Who? "] * 5
    for each in found:
        assert each.log_q == pytest.approx(log_q(each.text, prompt="Who? "), abs=1e-3)
    # A prompt of its own is like any other.
    own = after_new(gfn.model, "see: ")
    found = written(own, state.params, key, 5)
    assert {each.prompt for each in found} == {"see: "}
    cold = written(own, state.params, key, 5, temperature=1e-3)
    assert len({each.text for each in cold}) == 1
    assert cold[0].log_q == pytest.approx(log_q(cold[0].text), abs=1e-3)
    for prompt, problem in (("", "at least one token"), ("a" * 254, "at most 253 tokens")):
        with pytest.raises(ArgumentError, match=f"prompt must have {problem}"):
            after_new(gfn.model, prompt)
    with pytest.raises(ArgumentError, match="temperature must be positive"):
        written(gfn.model, state.params, key, 1, temperature=0.0)
