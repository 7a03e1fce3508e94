"""Alignments: compression that changes no score, and one clear error for each bad input."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax.rewards.parsimony import benchmark_alignment, encode_alignment, fitch


def test_fitch_on_one_column_each():
    """{A} with {A}: 0; {A} with {C}: 1 change, {A, C}; {A, C} with {C}: {C}; weights count."""
    one, other = jnp.array([1, 1, 3, 16], jnp.uint8), jnp.array([1, 2, 2, 15], jnp.uint8)
    sets, cost = fitch(one, other, jnp.array([1, 10, 100, 1000], jnp.int32))
    assert sets.tolist() == [1, 3, 2, 31]
    assert int(cost) == 1010


def test_equal_columns_are_merged_and_constant_ones_left_out():
    """Columns: AA (no change), AC twice, A? (no change), A- once."""
    alignment = encode_alignment({"x": "AAAAA", "y": "AC?C-"})
    assert alignment.species == ("x", "y")
    columns = dict(zip(map(tuple, alignment.characters.T), alignment.weights, strict=True))
    assert columns == {(1, 2): 2, (1, 16): 1}


SEVERAL = {
    "R": "AG", "Y": "CT", "S": "CG", "W": "AT", "K": "GT", "M": "AC", "B": "CGT", "D": "AGT",
    "H": "ACT", "V": "ACG", "N": "ACGT", "?": "ACGT", "X": "ACGT", "U": "T",
}  # fmt: skip


def fewest_changes(column):
    """Of ((1, 2), (3, 4)) over all that the leaves and the three inner nodes may be."""
    leaves = [SEVERAL.get(letter, letter) for letter in column]
    inner = itertools.product("ACGT-", repeat=2)
    return min(
        sum(min(letter != x for letter in leaf) for leaf in leaves[:2])
        + sum(min(letter != y for letter in leaf) for leaf in leaves[2:])
        + (x != y)
        for x, y in inner
    )


@pytest.mark.long
def test_ambiguous_letters_may_be_any_of_theirs():
    """All columns of 4 letters out of some, against a search over what every node may be."""
    columns = list(itertools.product("AGRYSWKMBDHVN-", repeat=2))
    columns = [(a, b, "C", d) for (a, b), d in itertools.product(columns, "TMX?")]
    for column in columns:
        alignment = encode_alignment(dict(zip("abcd", column, strict=True)))
        one, other = alignment.characters[:2], alignment.characters[2:]
        total, sets = 0, []
        for pair in (one, other):
            root, cost = fitch(*map(jnp.asarray, pair), jnp.asarray(alignment.weights))
            sets, total = [*sets, root], total + int(cost)
        total += int(fitch(*sets, jnp.asarray(alignment.weights))[1])
        assert total == fewest_changes(column), column


def test_letters_small_u_and_points():
    """u is T; a point is the first sequence's letter, whatever that is."""
    big = encode_alignment({"x": "ACGTR-A", "y": "ACTTR-C", "z": "GCGTAAC"})
    small = encode_alignment({"x": "acguR-a", "y": "..t...c", "z": "GCGTAAC"})
    assert big.weights.tolist() == small.weights.tolist()
    np.testing.assert_array_equal(big.characters, small.characters)


def test_identical_sequences_keep_one_column():
    alignment = encode_alignment({"x": "ACGT", "y": "acgt"})
    assert alignment.characters.shape == (2, 1)
    np.testing.assert_array_equal(alignment.characters[0], alignment.characters[1])


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        ({"x": "AC", "y": "ACG"}, "aligned: y must have length 2 as x has, got 3"),
        ({"x": "AC", "y": "AZ"}, "must consist of A C G T U - R .*, got 'Z' in y, column 2"),
        ({"x": "A.", "y": "AC"}, r"must consist of .*, got '\.' in x, column 2"),
        ({"x": "AC", "y": "A "}, "must consist of .*, got ' ' in y, column 2"),
        ({"x": "AC"}, "at least 2 species, got 1"),
        ({}, "at least 2 species, got 0"),
        ({"x": "", "y": ""}, "must not be empty"),
    ],
)
def test_bad_sequences(sequences, message):
    with pytest.raises(ValueError, match=message):
        encode_alignment(sequences)


def test_unknown_benchmark():
    with pytest.raises(ValueError, match=r"name must be one of DS1, .*, got 'DS9'"):
        benchmark_alignment("DS9")


def test_missing_file(monkeypatch, tmp_path):
    monkeypatch.setenv("GFNJAX_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"phylo/DS1\.json was not found"):
        benchmark_alignment("DS1")
