"""Tables as data frames, R and spreadsheets write them: no index is data, no data a header."""

import numpy as np
import pytest

from gfnjax.data import read_matrix

ROWS = [[1.5, -2.0], [0.25, 3e4], [7.0, 0.5]]


def read(tmp_path, content, name="m.csv"):
    (tmp_path / name).write_text(content)
    return read_matrix(tmp_path / name)


@pytest.mark.parametrize(
    "content",
    [
        "a;b\n1,5;-2\n,25;3e4\n7;0,5\n",
        "a;b\n1.5;-2\n.25;3e4\n7;0.5\n",
        "a\tb\n1,5\t-2,0\n0,25\t30000\n7\t0,5\n",
        "a b\n1.5   -2\n  .25 3e4\n7 .5  \n",
        '"a","b"\n"1.5","-2"\n".25", "3e4"\n"7","0.5"\n',
        "# made by hand\n\n1.5,-2,\n.25,3e4,\n\n# more\n7,.5,\n,,\n",
        "a,b,\n1.5,-2,\n.25,3e4,\n7,.5,\n",
        "a,b\n1.5,-2,\n.25,3e4,\n7,.5,\n",
        "sep=|\na|b\n1.5|-2\n.25|3e4\n7|.5\n",
        '"a, first";b\n1.5;-2\n.25;3e4\n7;.5\n',
        "a,b\r1.5,-2\r.25,3e4\r7,.5\r",
    ],
)
def test_separators_quotes_and_comments(tmp_path, content):
    np.testing.assert_array_equal(read(tmp_path, content), ROWS)


@pytest.mark.parametrize(
    "content",
    [
        ",a,b\n0,1.5,-2\n1,.25,3e4\n2,7,.5\n",
        ",a,b\n4,1.5,-2\n9,.25,3e4\n4,7,.5\n",
        '"","a","b"\n"1",1.5,-2\n"2",.25,3e4\n"3",7,.5\n',
        '"","a","b"\n"Mazda",1.5,-2\n"Datsun, 710",.25,3e4\n"Fiat",7,.5\n',
        '"a" "b"\n"r1" 1.5 -2\n"r2" .25 3e4\n"r3" 7 .5\n',
        "a;b\n1;1,5;-2\n2;0,25;3e4\n3;7;,5\n",
        "Unnamed: 0,a,b\n0,1.5,-2\n1,.25,3e4\n2,7,.5\n",
        ",Unnamed: 0,a,b\n0,0,1.5,-2\n1,1,.25,3e4\n2,2,7,.5\n",
        ",0,1\n0,1.5,-2\n1,.25,3e4\n2,7,.5\n",
        ",a,b\n2020-01-01,1.5,-2\n2020-01-02,.25,3e4\n2020-01-03,7,.5\n",
    ],
)
def test_an_index_without_a_name_is_left_out_with_a_warning(tmp_path, content):
    with pytest.warns(UserWarning, match="no name: left out as an index"):
        np.testing.assert_array_equal(read(tmp_path, content), ROWS)


@pytest.mark.parametrize(
    "content",
    [
        "index,a\n0,5\n1,3\n2,8\n",
        "id,a\n1,5\n2,3\n3,8\n",
        "X,a\n1,5\n2,3\n3,8\n",
        "a,Unnamed: 0\n5,0\n3,1\n8,2\n",
        "1,5\n2,3\n3,8\n4,1\n5,0\n",
        ",a\n0.5,5\n1.5,3\n",
    ],
)
def test_what_may_be_an_index_is_refused(tmp_path, content):
    with pytest.raises(ValueError, match=r"column \d looks like an index: remove it, or name it"):
        read(tmp_path, content)


def test_what_counts_the_rows_is_a_variable_where_it_has_a_name(tmp_path):
    expected = [[1, 5], [2, 3], [3, 8], [4, 1], [5, 0]]
    got = read(tmp_path, "dose,a\n1,5\n2,3\n3,8\n4,1\n5,0\n")
    np.testing.assert_array_equal(got, expected)


def test_columns_that_were_never_named(tmp_path):
    with pytest.warns(UserWarning, match="line 1 left out as a header"):
        got = read(tmp_path, "0,1,2\n1.5,2.0,3.0\n0.1,0.2,0.3\n")
    np.testing.assert_array_equal(got, [[1.5, 2, 3], [0.1, 0.2, 0.3]])
    with pytest.raises(ValueError, match="line 1 may be data or a header, 0, 1, 2: remove it"):
        read(tmp_path, "0,1,2\n4,5,6\n")
    with pytest.raises(ValueError, match="line 1 may be data or a header, 1990, 1991: remove it"):
        read(tmp_path, "1990,1991\n1.5,2.0\n3.5,0.25\n")
    # Two columns of whole numbers that start with 0, 1 are data.
    np.testing.assert_array_equal(read(tmp_path, "0,1\n1,1\n"), [[0, 1], [1, 1]])


@pytest.mark.parametrize("missing", ["", "NA", "NaN", "?", "null", "#N/A", "n/a", "None", "."])
def test_a_missing_value_in_the_first_row_makes_no_header(tmp_path, missing):
    for content, place in (
        (f"{missing},2\n3,4\n", "line 1, column 1"),
        (f"1,{missing}\n3,4\n", "line 1, column 2"),
        (f"a,b\n1,2\n3,{missing}\n", "line 3, column 2"),
    ):
        with pytest.raises(ValueError, match=f"{place} is missing: drop or impute"):
            read(tmp_path, content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1,inf\n2,3\n", "line 1, column 2 must be finite, got 'inf'"),
        ("1,1e999\n2,3\n", "line 1, column 2 must be finite, got '1e999'"),
        ("1_0,2\n3,4\n", "must hold only numbers, or only names|must be a number, got '1_0'"),
        ("a,b\nTrue,1\n", "line 2, column 1 must be a number, got 'True'"),
        ("r1,1,2\nr2,3,4\n", "line 1, column 1 must be a number, got 'r1'"),
        ("a,1,2\n3,4,5\n", "line 1 must hold only numbers, or only names, got 'a' and '1'"),
        ("a;b\n1,5;2.5\n", "line 2, column 1 must be a number, got '1,5'"),
        ('a,b\n"1,234",2\n', "line 2, column 1 must be a number, got '1,234'"),
        ("a,b,c\n1\n", "the header must have 1 names, got 3"),
        (",\n1,2\n", "line 1, column 1 is missing"),
        ('a,b\n"1,2\n3,4\n', "is no table"),
        ("a\n1,2\n3,4\n", "must be a number, got '1,2'"),
        ("", "must hold numbers, got none"),
    ],
)
def test_other_cells_are_refused_by_line_and_column(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, content)
