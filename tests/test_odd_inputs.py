"""Files as users have them: what is read, or the words of the one line that says why not."""

import io

import numpy as np
import pytest

from gfnjax.data import read_matrix, read_sequences
from gfnjax.rewards.parsimony import encode_alignment

INDEX = "no name: left out as an index"
GRID = [[1.5, 2.0], [3.0, 4.25], [5.0, 6.0]]


def saved(*arrays, **named):
    """The bytes of an `.npy` file of one array, or of an `.npz` file."""
    file = io.BytesIO()
    if named:
        np.savez(file, **named)
    else:
        np.save(file, *arrays, allow_pickle=True)
    return file.getvalue()


# name of the file, its bytes, what is read or the words of the error or warning
MATRICES = [
    ("pandas.csv", b",a,b\n0,1.5,2.0\n1,3.0,4.25\n2,5.0,6.0\n", (GRID, INDEX)),
    ("filtered.csv", b",a,b\n3,1.5,2\n17,3,4.25\n4,5,6\n", (GRID, INDEX)),
    ("resaved.csv", b",Unnamed: 0,a,b\n0,0,1.5,2\n1,1,3,4.25\n2,2,5,6\n", (GRID, INDEX)),
    ("r.csv", b'"","a","b"\n"Mazda RX4",1.5,2\n"Fiat",3,4.25\n"Opel",5,6\n', (GRID, INDEX)),
    ("r.txt", b'"a" "b"\n"1" 1.5 2\n"2" 3 4.25\n"3" 5 6\n', (GRID, INDEX)),
    ("unnamed.csv", b",0,1\n0,1.5,2.0\n1,3.0,4.25\n2,5.0,6.0\n", (GRID, INDEX)),
    ("multi.csv", b",,a,b\nx,0,1.5,2\nx,1,3,4.25\ny,0,5,6\n", (GRID, INDEX)),
    ("reset.csv", b"index,a\n0,1.5\n1,3\n2,5\n", "column 1 looks like an index"),
    ("named.csv", b"car,a\nMazda,1.5\nFiat,3\n", "line 2, column 1 must be a number, got 'Mazda'"),
    ("na.csv", b"NA,2\n3,4.25\n", "line 1, column 1 is missing"),
    ("gap.csv", b",2\n3,4.25\n", "line 1, column 1 is missing"),
    ("all_na.csv", b"NaN,NaN\n3,4.25\n", "line 1, column 1 is missing"),
    ("excel.csv", b"#N/A;2\n3;4,25\n", "line 1, column 1 is missing.*got '#N/A'"),
    ("later.csv", b"a,b\n1,2\n\n3,null\n", "line 4, column 2 is missing.*got 'null'"),
    ("names.csv", b"NA,b\n1.5,2\n3,4.25\n5,6\n", (GRID, None)),
    ("frame.csv", b"0,1\n1.5,2.0\n3.0,4.25\n5.0,6.0\n", (GRID, "line 1 left out as a header")),
    ("years.csv", b"1990,1991\n1.5,2.0\n3.0,4.25\n", "line 1 may be data or a header"),
    ("bom.csv", b"\xef\xbb\xbf1.5,2\n3,4.25\n5,6\n", (GRID, None)),
    ("utf16.csv", "a,b\n1.5,2\n3,4.25\n5,6\n".encode("utf-16"), (GRID, None)),
    ("be.txt", "\ufeffa\tb\r\n1,5\t2\r\n3\t4,25\r\n5\t6\r\n".encode("utf-16-be"), (GRID, None)),
    ("bare16.csv", "1.5,2\n".encode("utf-16-le"), "is not text in UTF-8: save it as UTF-8"),
    ("latin.csv", "caf\xe9,b\n1,2\n".encode("latin-1"), "is not text in UTF-8: save it as UTF-8"),
    ("german.csv", b"a;b\n1,5;2\n3;4,25\n5;6\n", (GRID, None)),
    ("both.csv", b"a;b\n1.234,5;2\n3;4,25\n", "line 2, column 1 must be a number, got '1.234,5'"),
    ("tabs.tsv", b"a\tb\t\n1.5\t2\t\n3\t4.25\t\n5\t6\t\n", (GRID, None)),
    ("ragged.csv", b"1.5,2\n3,4.25,9\n", "line 2 must have 2 cells as the first has, got 3"),
    ("infinite.csv", b"1.5,2\n3,-Infinity\n", "line 2, column 2 must be finite"),
    ("flags.csv", b"a,b\nTRUE,1\n", "line 2, column 1 must be a number, got 'TRUE'"),
    ("table.npy", saved(np.ones((3, 2), np.complex64)), "must hold real numbers, got complex64"),
    ("object.npy", saved(np.array([[{}]])), "damaged, or holds more than plain arrays"),
    ("flags.npy", saved(np.ones((3, 2), bool)), "must hold real numbers, got bool"),
    ("many.npz", saved(x=np.ones(2), y=np.ones(2)), "must hold one array, got x, y"),
    ("book.xlsx", b"PK\x03\x04", r"data must be a \.npy, .* file, got "),
    ("book.csv", b"PK\x03\x04\x00\x00", "is not text in UTF-8"),
]
# Columns 1 and 3: an unknown character costs nothing.
CODES = [[1, 4], [8, 16]]
NEXUS = (
    "#NEXUS\nbegin data;\ndimensions ntax=2 nchar=3;\nformat datatype=rna gap=-;\nmatrix\n{};end;"
)
ALIGNMENTS = [
    ("rna.fa", b">x human\nacg\n>y\nU?-\n", CODES),
    ("wide.fasta", ">x\nACG\n>y\nTN-\n".encode("utf-16"), CODES),
    ("wide.json", '{"x": "ACG", "y": "tx-"}'.encode("utf-16"), CODES),
    ("a.nex", NEXUS.format("x acg\ny u?-\n").encode(), CODES),
    (
        "iupac.phy",
        b"2 7\nx         CAA CAGT\ny         RYS WKM.\n",
        [[2, 1, 1, 2, 1, 4], [5, 10, 6, 9, 12, 3]],
    ),
    ("more.txt", b"2 4\nx_is_a_long_name TAAA\ny BDHV\n", [[8], [14]]),
    ("points.phy", b"2 3\nx.1\nACG\ny.2\n.T.\n", [[2], [8]]),
    ("protein.faa", b">x\nMKL\n>y\nMKV\n", "got 'L' in x, column 3"),
    ("short.fa", b">x\nACG\n>y\nAC\n", "aligned: y must have length 3 as x has, got 2"),
    ("twice.fa", b">x\nACG\n>x\nACG\n", "a name of its own, got x twice"),
    ("one.fa", b">x\nACG\n", "at least 2 species, got 1"),
    ("none.fa", b"", "must hold sequences, got an empty file"),
    ("bare.fa", b">x\n>y\n", "must not be empty, got length 0 for x"),
    ("tree.nwk", b"(x,y);", r"sequences must be a \.json, .* file, got "),
    ("cut.phy", b"2 5\nx ACG\ny ACG\n", "is not PHYLIP: it must hold 2 sequences of length 5"),
]


def columns_of(path):
    alignment = encode_alignment(read_sequences(path))
    return alignment.characters.tolist()


@pytest.mark.parametrize(
    ("read", "name", "content", "expected"),
    [(read_matrix, *case) for case in MATRICES] + [(columns_of, *case) for case in ALIGNMENTS],
    ids=[case[0] for case in MATRICES + ALIGNMENTS],
)
def test_odd_inputs(tmp_path, read, name, content, expected):
    if read is columns_of:
        pytest.importorskip("Bio")
    path = tmp_path / name
    path.write_bytes(content)
    if isinstance(expected, str):
        with pytest.raises(ValueError, match=expected) as error:
            read(path)
        assert "\n" not in str(error.value)
    elif isinstance(expected, tuple) and expected[1]:
        with pytest.warns(UserWarning, match=expected[1]):
            np.testing.assert_array_equal(read(path), expected[0])
    else:
        np.testing.assert_array_equal(read(path), expected[0] if read is read_matrix else expected)
