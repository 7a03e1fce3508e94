"""Alignments in the layouts that programs write; the expected sequences are read by eye."""

import sys

import pytest

from gfnjax.data import read_sequences
from gfnjax.envs.phylogeny import phylogeny

FASTA = ">turkey of the farm\nAAGC\nTNGG\n\n>salmo.gai\nAAGCCTTG\n>h_sapiens\nacGG--.?\n"
TREE = {"turkey": "AAGCTNGG", "salmo.gai": "AAGCCTTG", "h_sapiens": "acGG--.?"}
INTERLEAVED = " 3 8\nturkey    AAGC\nsalmo.gai AAGC\nh_sapiens acGG\n\n  TN GG\n  CT TG\n  -- .?\n"
SEQUENTIAL = "3 8\nturkey    AAGC\n TN GG\nsalmo.gai AAGC\n CTTG\nh_sapiens acGG\n --.?\n"
RELAXED = "3 8\nturkey AAGCTNGG\nsalmo.gai\tAAGC CTTG\nh_sapiens  acGG--.?\n"
OWN_LINE = "3 8\nturkey\nAAGC\nTNGG\nsalmo.gai\nAAGCCTTG\nh_sapiens\nacGG--.?\n"
NEXUS = (
    "#NEXUS\n[a comment]\nBegin data;\nDimensions ntax=3 nchar=8;\n"
    "Format datatype=dna missing={missing} gap={gap}{more};\nMatrix\n{matrix};\nEnd;\n"
)


def read(tmp_path, content, name="alignment.txt"):
    (tmp_path / name).write_text(content)
    return read_sequences(tmp_path / name)


def test_sequences_in_json(tmp_path):
    path = tmp_path / "s.json"
    path.write_text('{"a": "AC", "b": "AG"}')
    assert read_sequences(path) == {"a": "AC", "b": "AG"}
    for content, message in (("[", "is not JSON"), ('["AC"]', "an object from species")):
        path.write_text(content)
        with pytest.raises(ValueError, match=message):
            read_sequences(path)


def test_json_needs_no_biopython_and_the_others_say_so(tmp_path, monkeypatch):
    for name in ("Bio", "Bio.SeqIO.FastaIO", "Bio.Nexus.Nexus", "Bio.AlignIO.PhylipIO"):
        monkeypatch.setitem(sys.modules, name, None)
    assert read(tmp_path, '{"a": "AC"}') == {"a": "AC"}
    for content in (FASTA, INTERLEAVED, "#NEXUS"):
        with pytest.raises(ImportError, match=r"needs Biopython: pip install 'gfnjax\[align"):
            read(tmp_path, content)


@pytest.mark.parametrize(
    "content", [FASTA, FASTA.replace("\n", "\r\n"), INTERLEAVED, SEQUENTIAL, RELAXED, OWN_LINE]
)
def test_layouts_of_fasta_and_phylip(tmp_path, content):
    pytest.importorskip("Bio")
    assert read(tmp_path, content) == TREE


def test_strict_names_have_blanks_or_end_where_sequences_begin(tmp_path):
    pytest.importorskip("Bio")
    got = read(tmp_path, "2 6\nHomo sap. ACGTTT\nTurkey1234ACGT AA\n")
    assert got == {"Homo sap.": "ACGTTT", "Turkey1234": "ACGTAA"}


def test_titles_that_start_alike_are_told_apart(tmp_path):
    pytest.importorskip("Bio")
    got = read(tmp_path, ">Homo sapiens\nAC\n>Homo erectus\nAG\n")
    assert got == {"Homo sapiens": "AC", "Homo erectus": "AG"}


def test_nexus_with_signs_of_its_own(tmp_path):
    pytest.importorskip("Bio")
    matrix = "turkey AAGCTNGG\n'salmo gai' AA GC {CT}(AG).!\nh_sapiens acGG~~.!\n"
    content = NEXUS.format(missing="!", gap="~", more=" matchchar=.", matrix=matrix)
    expected = {"turkey": "AAGCTNGG", "salmo gai": "AAGCYRG?", "h_sapiens": "acGG--G?"}
    assert read(tmp_path, content) == expected
    matrix = "a AAGC\nb AAGC\nc acGG\n\na TNGG\nb CTTG\nc --!!\n"
    content = NEXUS.format(missing="!", gap="-", more=" interleave=yes", matrix=matrix)
    assert read(tmp_path, content) == {"a": "AAGCTNGG", "b": "AAGCCTTG", "c": "acGG--??"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (">a\nAC\n>a\nAG\n", "every species must have a name of its own, got a twice"),
        ('{"a": "AC", "a": "AG"}', "every species must have a name of its own, got a twice"),
        (">\nAC\n>b\nAG\n", "every sequence must have a name, got none for 1"),
        ("2 4\na ACGT\nb ACG\n", "is not PHYLIP: it must hold 2 sequences of length 4"),
        ("2 4\na ACGT\nb ACGG\nc ACGG\n", "is not PHYLIP: it must hold 2 sequences of length 4"),
        ("3 4\na ACGT\nb ACGG\n", "is not PHYLIP: it must hold 3 sequences of length 4"),
        (
            NEXUS.format(missing="?", gap="-", more="", matrix="a AAAAAAAA\na CCCCCCCC\nb AAAAAAAA")
            + "\n",
            "every species must have a name of its own, got a twice",
        ),
        (NEXUS.replace("dna", "protein"), "datatype must be dna, rna or nucleotide, got protein"),
        ("#NEXUS\nbegin trees;\nend;\n", "is not NEXUS: it must hold a matrix"),
        (NEXUS[: NEXUS.index("{matrix}")] + "a AAAAAAAA\n", "is not NEXUS: "),
        ("hello", r"sequences must be a \.json, \.fasta, .* file, got "),
        (" \n", "must hold sequences, got an empty file"),
    ],
)
def test_what_is_no_alignment(tmp_path, content, message):
    pytest.importorskip("Bio")
    if "protein" in content:
        matrix = "a AAAAAAAA\nb CCCCCCCC\nc AAAAAAAA\n"
        content = content.format(missing="?", gap="-", more="", matrix=matrix)
    with pytest.raises(ValueError, match=message):
        read(tmp_path, content)


def test_an_alignment_becomes_an_environment(tmp_path):
    pytest.importorskip("Bio")
    env = phylogeny(read(tmp_path, FASTA, "a.fa"))
    assert env.species == ("turkey", "salmo.gai", "h_sapiens")
    # Columns 2, 4, 5, 6 and 7; the others have a character that all may share.
    assert int(env.weights.sum()) == 5
