"""Alignments: compression that changes no score, and one clear error for each bad input."""

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


def test_identical_sequences_keep_one_column():
    alignment = encode_alignment({"x": "ACGT", "y": "acgt"})
    assert alignment.characters.shape == (2, 1)
    np.testing.assert_array_equal(alignment.characters[0], alignment.characters[1])


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        ({"x": "AC", "y": "ACG"}, "aligned: y must have length 2, got 3"),
        ({"x": "AC", "y": "AZ"}, "must consist of A C G T - N [?], got 'Z' in y"),
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
