"""The calculator against a reading of characters in Python; problems and their solutions."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from letters import Letters

import gfnjax
from gfnjax import rollout
from gfnjax.envs.arithmetic import (
    Problem,
    answers,
    arithmetic,
    arithmetic_problems,
    evaluate_expression,
    questions,
    solved,
)
from gfnjax.envs.calculator import calculator
from gfnjax.envs.text import text
from gfnjax.errors import ArgumentError
from gfnjax.model import Model
from gfnjax.policies.causal import causal_transformer_policy
from gfnjax.rewards.text import uniform_over
from gfnjax.testing import check_environment

CHARACTERS = "0123456789+-=, "
TOKENIZER = Letters(CHARACTERS + "QuestionAswrhia:?.\n;", ["12"])
SUM = re.compile(r"(?:^|[^0-9+-])(-?\d+)([+-])(\d+)=$")
TOKEN_IDS = [TOKENIZER.encode(c)[0] for c in CHARACTERS] + TOKENIZER.encode(".")
CALCULATE = calculator(TOKENIZER, TOKEN_IDS)


def reply(string):
    """What must follow, by regular expressions: the next character of the last sum's result."""
    for end in range(len(string), 0, -1):
        match = SUM.search(string[:end].replace(" ", ""))
        if string[end - 1] != "=" or match is None:
            continue
        first, sign, second = match.groups()
        if max(abs(int(first)), int(second)) <= 999_999:
            result = str(int(first) + int(sign + second))
            written = len(string) - end
            return result[written] if written < len(result) else None
    return None


def said(string, longest):
    tokens = np.full(longest, -1, np.int32)
    tokens[: len(string)] = [CHARACTERS.index(c) for c in string]
    return tokens


@pytest.mark.parametrize(
    ("string", "expected"),
    [
        ("3+4=", "7"),
        ("3+4=7", None),
        ("9+8=", "1"),
        ("9+8=1", "7"),
        ("9+8=17", None),
        ("3-9=", "-"),
        ("3-9=-", "6"),
        ("3-3=", "0"),
        ("3+4=7,7-12=", "-"),
        ("3+4=7-2=", "5"),
        ("-6+4=", "-"),
        ("-6+9=", "3"),
        ("1+2+3=", None),
        ("3=", None),
        ("=", None),
        ("3+=", None),
        ("3+-4=", None),
        ("--3+4=", None),
        ("3 + 4 =", "7"),
        ("500+500=", "1"),
        ("500+500=100", "0"),
        ("999999+1=", "1"),
        ("1000000+1=", None),
        ("", None),
    ],
)
def test_what_the_calculator_writes(string, expected):
    action = int(CALCULATE(jnp.asarray(said(string, 14)), jnp.int32(0)))
    assert (CHARACTERS[action] if action >= 0 else None) == expected
    assert reply(string) == expected


def test_random_strings():
    rng = np.random.default_rng(0)
    weights = np.array([*[3] * 4, *[1] * 6, 8, 8, 12, 2, 1], float)
    draws = rng.choice(len(CHARACTERS), (20_000, 12), p=weights / weights.sum())
    lengths = rng.integers(13, size=20_000)
    strings = [
        "".join(CHARACTERS[c] for c in row[:n]) for row, n in zip(draws, lengths, strict=True)
    ]
    tokens = jnp.asarray(np.stack([said(string, 12) for string in strings]))
    found = np.asarray(jax.jit(jax.vmap(CALCULATE, (0, None)))(tokens, jnp.int32(0)))
    expected = [reply(string) for string in strings]
    assert sum(each is not None for each in expected) > 200
    for string, action, character in zip(strings, found, expected, strict=True):
        assert (CHARACTERS[action] if action >= 0 else None) == character, string


def test_tokens_of_several_characters_belong_to_no_sum():
    ids = [*TOKEN_IDS[:-1], *TOKENIZER.encode("12"), TOKEN_IDS[-1]]
    read = calculator(TOKENIZER, ids)
    several = len(CHARACTERS)
    sums = jnp.array([[several, 10, 4, 12], [10, several, 4, 12], [1, 10, 4, 12]], jnp.int32)
    found = jax.vmap(read, (0, None))(sums, jnp.int32(0))
    assert found.tolist() == [-1, -1, 5]


def small(tool=True):
    problems = [solved("3+4-9"), solved("5-7"), solved("0+0")]
    reward = uniform_over([p.rationale for p in problems], TOKENIZER)
    return arithmetic(TOKENIZER, problems, reward, min_length=2, max_length=8, tool=tool)


@pytest.mark.long
def test_conforms(key):
    check_environment(small(), key)


@pytest.mark.slow
def test_sampled_results_are_right(key):
    env = small()
    policy = causal_transformer_policy(env, 8, 2, 1)
    model = Model(env, policy, gfnjax.UniformBackward())
    found = model.sample(model.init(key, key), jax.random.key(1), 512)
    texts = env.texts(rollout.terminal_states(found))
    sums = [m for string in texts for m in re.finditer(r"(?:^|[,=])(-?\d+[+-]\d+)=(.*)", string)]
    assert len(sums) > 10
    for match in sums:
        written = match[2]
        result = str(evaluate_expression(match[1]))
        # A text may be full before the result is.
        assert written.startswith(result) or (result.startswith(written) and len(match.string) == 8)


def test_demonstrations_are_states(key):
    problems = arithmetic_problems(6, 3)
    env = arithmetic(TOKENIZER, problems, lambda ids, prompt: 0.0 * prompt.astype(float))
    states = env.states([p.rationale for p in problems], range(6))
    assert env.texts(states) == [p.rationale for p in problems]
    assert states.prompt.tolist() == list(range(6))
    assert states.stopped.all()
    for row, problem in enumerate(problems):
        written = len(problem.rationale)
        cut = jnp.where(jnp.arange(26)[None] < jnp.arange(written)[:, None], states.tokens[row], -1)
        forced = jax.vmap(env.forced, (0, None))(cut, jnp.int32(row))
        assert ((forced < 0) | (forced == states.tokens[row, :written])).all(), problem
        assert (forced >= 0).sum() >= 2
    with pytest.raises(ArgumentError, match=r"^strings must have 5 to 26 tokens, got 1 in '3'$"):
        env.states(["3"])
    with pytest.raises(ArgumentError, match=r"^strings must be of allowed tokens, got 'Q'$"):
        env.states(["Questi"])
    with pytest.raises(ArgumentError, match=r"^strings cannot be read without a tokenizer: "):
        env.replace(tokenizer=None).states(["3+4=7"])


def test_problems_and_their_solutions():
    problem = solved("3+4-9")
    assert problem == Problem("3+4-9", "3+4=7,7-9=-2", -2)
    assert problem.question == "Question: 3+4-9=?\nAnswer:"
    assert problem.reply == ". The answer is -2."
    assert solved("-2+5-0").rationale == "-2+5=3,3-0=3"
    for each in arithmetic_problems(200, (3, 4, 5), seed=1):
        assert each.answer == eval(each.expression)
        steps = each.rationale.split(",")
        assert all(eval(left) == int(right) for left, right in (s.split("=") for s in steps))
        assert int(steps[-1].split("=")[1]) == each.answer
        assert len(steps) + 1 == len(re.findall(r"\d", each.expression))


def test_problems_are_different_and_of_the_sizes_asked_for():
    found = arithmetic_problems(500)
    assert len({p.expression for p in found}) == 500
    sizes = [len(re.findall(r"\d", p.expression)) for p in found]
    assert set(sizes) == {3, 4}
    assert 150 < sizes.count(3) < 300
    assert found == arithmetic_problems(500)
    assert found != arithmetic_problems(500, seed=1)
    assert max(len(p.rationale) for p in arithmetic_problems(20_000, 4)) <= 26
    assert len(solved("0-9-9-9").rationale) == 25
    assert len(solved("0-9-9-9-9").rationale) == 35


def test_tables():
    tokenizer = Letters(CHARACTERS + "QuestionAswrhia:?.\nT")
    problems = [solved("1+2"), solved("9-9-9")]
    assert [
        tokenizer.decode(row[:n].tolist())
        for row, n in zip(*answers(tokenizer, problems), strict=True)
    ] == [
        ". The answer is 3.",
        ". The answer is -9.",
    ]
    tokens, length = questions(tokenizer, problems, [solved("4+4")])
    expected = "Question: 4+4=?\nAnswer:4+4=8. The answer is 8.\n\nQuestion: 9-9-9=?\nAnswer:"
    assert tokenizer.decode(tokens[1, : length[1]].tolist()) == expected


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: evaluate_expression("3*4"), r"^expression must be numbers joined .*, got '3\*4'$"),
        (lambda: evaluate_expression(""), "^expression must be numbers joined "),
        (lambda: arithmetic_problems(2_001, 3), r"^num_problems must be at most 2000 for \[3\]"),
        (lambda: arithmetic_problems(1, 1), "^num_operands must be at least 2, got 1$"),
        (lambda: calculator(TOKENIZER, TOKEN_IDS[1:]), "^what a calculator .* '0' is missing$"),
        (lambda: calculator(TOKENIZER, TOKEN_IDS[:11]), "^what a calculator .* '-' is missing$"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


def test_without_the_tool(key):
    assert small(tool=False).forced is None
    env = text(TOKENIZER, "Q", lambda ids, prompt: prompt.astype(float), stop=".", max_length=2)
    assert env.replace(forced=None) == env
