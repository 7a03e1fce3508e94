"""Tokenizers: words, names of tokens, equality."""

import pickle

import pytest
from small_language_models import MERGES, TOKENS, small_tokenizer

from gfnjax.envs.text import text
from gfnjax.errors import ArgumentError
from gfnjax.language import Tokenizer
from gfnjax.language.tokenizer import byte_level, from_file
from gfnjax.rewards.text import uniform_over

SMALL = Tokenizer(small_tokenizer(), 0)


def test_there_and_back():
    text = "abc ab 123<|end|> efgh"
    ids = SMALL.encode(text)
    assert [TOKENS[i] for i in ids][:3] == ["ab", "c", "Ġab"]
    assert SMALL.decode(ids) == text
    assert SMALL.decode(x for x in ids) == text


def test_what_tokens_are_called():
    assert SMALL.piece(0) == "<|end|>"
    assert SMALL.piece(TOKENS.index("Ġab")) == " ab"
    with pytest.raises(ArgumentError, match="token must be below 40, got 40"):
        SMALL.piece(40)
    # Two bytes make an é: the first alone is no text.
    bytewise = byte_level(["Ã", "©", "Ã©"], ["Ã ©"], "gpt-2")
    assert bytewise.encode("é") == [2]
    assert (bytewise.piece(2), bytewise.piece(0)) == ("é", "Ã")


def test_marks_are_no_texts_unless_asked_for():
    assert SMALL.special == {0}
    assert pickle.loads(pickle.dumps(SMALL)).special == {0}

    def ids(**options):
        reward = uniform_over(["c"], SMALL)
        return text(SMALL, "ab", reward, max_length=2, **options).token_ids.tolist()

    assert ids(stop=3) == [1, 2, *range(4, 40), 3]
    assert ids(stop="<|end|>") == [*range(1, 40), 0]
    assert ids(stop=3, allowed=[0, 14]) == [0, 14, 3]


def test_equal_where_the_same_is_said_of_every_text(tmp_path):
    (tmp_path / "tokenizer.json").write_text(small_tokenizer().to_str())
    same = from_file(tmp_path / "tokenizer.json", 0)
    assert (same == SMALL, hash(same) == hash(SMALL)) == (True, True)
    assert same != from_file(tmp_path / "tokenizer.json", 1)
    fewer = byte_level(TOKENS, MERGES[:-1], "gpt-2", ["<|end|>"], 0)
    assert byte_level(TOKENS, MERGES, "gpt-2", ["<|end|>"], 0) != fewer
    assert SMALL != "another thing"
    again = pickle.loads(pickle.dumps(SMALL))
    assert again == SMALL
    assert again.encode("abc") == SMALL.encode("abc")
    assert repr(again) == "Tokenizer(size=40, eos=0)"


def test_how_texts_are_split():
    tokens = [*"0123456789", "Ġ", *"ab!", "12", "123", "Ġ1", "Ġa", "!!", "b!"]
    merges = ["1 2", "12 3", "Ġ 1", "Ġ a", "! !", "b !"]

    def words(splitter, text):
        return [tokens[i] for i in byte_level(tokens, merges, splitter).encode(text)]

    assert words("gpt-2", "ab!! 1234") == ["a", "b", "!!", "Ġ", "123", "4"]
    assert words("smollm", "ab!! 1234") == ["a", "b", "!!", "Ġ", "1", "2", "3", "4"]
    # Digits in threes, and a space is no part of a number.
    assert words("llama-bpe", " 1234 a") == ["Ġ", "123", "4", "Ġa"]
    with pytest.raises(ArgumentError, match="splitter must be 'gpt-2' or 'smollm' or 'llama-bpe'"):
        words("other", "a")
