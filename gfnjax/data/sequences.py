"""Aligned sequences: JSON, and the formats of alignments that Biopython reads."""

import importlib
import io
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from gfnjax.data.files import existing, read_text
from gfnjax.errors import ArgumentError, MissingExtraError

_SUFFIXES = {
    "JSON": (".json",),
    "FASTA": (".fasta", ".fa", ".fas", ".fna", ".ffn", ".faa", ".afa", ".fsa", ".mfa"),
    "PHYLIP": (".phy", ".phylip", ".ph"),
    "NEXUS": (".nex", ".nexus", ".nxs"),
}
_BEGINNINGS = {
    "JSON": re.compile(r"\s*[{\[]"),
    "FASTA": re.compile(r"\s*>"),
    "PHYLIP": re.compile(r"\s*\d+\s+\d+"),
    "NEXUS": re.compile(r"\s*#nexus", re.IGNORECASE),
}
# Biopython refuses points in PHYLIP, which stand for the character of the first sequence.
_POINT = "\x7f"


def read_sequences(path: str | Path) -> dict[str, str]:
    """Sequences by species, from a file of one of these kinds, told by its content.

    - JSON: an object from species to sequences;
    - FASTA: names are the first words of the titles, or whole titles where those repeat;
    - PHYLIP, interleaved or sequential, with names of 10 characters or up to the first blank;
    - NEXUS: the first matrix of nucleotides.

    All but JSON need Biopython. Characters are left as they are, but for NEXUS's own signs.

    Raises:
        ValueError: for another kind of file, a damaged one, or two species of one name.
        ImportError: without Biopython.
        OSError: if the file cannot be read.
    """
    path = existing(path)
    text = read_text(path)
    if not text.strip():
        raise ValueError(f"{path}: must hold sequences, got an empty file")
    kinds = [kind for kind, start in _BEGINNINGS.items() if start.match(text)]
    kinds += [kind for kind, suffixes in _SUFFIXES.items() if path.suffix.lower() in suffixes]
    if not kinds:
        suffixes = ", ".join(sum(_SUFFIXES.values(), ()))
        raise ArgumentError("sequences", f"must be a {suffixes} file, got {path}")
    readers = {"JSON": _read_json, "FASTA": _fasta, "PHYLIP": _phylip, "NEXUS": _nexus}
    try:
        pairs = list(readers[kinds[0]](text))
    except ImportError:
        raise
    except Exception as error:
        # Biopython has several kinds of error, and some of more than one line.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} is not {kinds[0]}: {reason}") from error
    return _unique(path, pairs)


def _unique(path: Path, pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    sequences: dict[str, str] = {}
    for number, (name, sequence) in enumerate(pairs, 1):
        if not name:
            raise ValueError(f"{path}: every sequence must have a name, got none for {number}")
        if name in sequences:
            raise ValueError(f"{path}: every species must have a name of its own, got {name} twice")
        sequences[name] = sequence
    return sequences


def _read_json(text: str) -> Iterable[tuple[str, str]]:
    # A dictionary would keep the last of two species of the same name.
    pairs = json.loads(text, object_pairs_hook=tuple)
    if not isinstance(pairs, tuple) or not all(isinstance(value, str) for _, value in pairs):
        raise ValueError("must hold an object from species to sequences")
    return pairs


def _fasta(text: str) -> Iterable[tuple[str, str]]:
    read = _biopython("Bio.SeqIO.FastaIO").SimpleFastaParser
    records = list(read(_lines(text)))
    if not records:
        raise ValueError("it must hold titles, lines that start with >")
    titles, sequences = zip(*records, strict=True)
    words = [title.split()[0] if title.split() else "" for title in titles]
    return zip(words if len(set(words)) == len(words) else titles, sequences, strict=True)


def _nexus(text: str) -> Iterable[tuple[str, str]]:
    # Either brackets hold what a character may be; Biopython reads one kind.
    text = text.translate(str.maketrans("{}", "()"))
    nexus = _lenient(_biopython("Bio.Nexus.Nexus").Nexus)(_lines(text))
    if not nexus.matrix:
        raise ValueError("it must hold a matrix that ends in a semicolon")
    if nexus.datatype not in ("dna", "rna", "nucleotide"):
        raise ValueError(f"datatype must be dna, rna or nucleotide, got {nexus.datatype}")
    signs = str.maketrans({nexus.gap: "-", nexus.missing: "?"})
    sequences = [str(nexus.matrix[label]).translate(signs) for label in nexus.taxlabels]
    # Of two taxa of the same name Biopython renames the second.
    return zip(nexus.unaltered_taxlabels, sequences, strict=True)


def _lenient(reader: Any) -> Any:
    """Biopython's reader, which has no U in DNA and no T in RNA, with both."""

    class Lenient(reader):
        def _format(self, options: Any) -> None:
            super()._format(options)
            if self.datatype in ("dna", "rna", "nucleotide"):
                self.valid_characters += "TtUu"

    return Lenient


def _phylip(text: str) -> Iterable[tuple[str, str]]:
    """The one of PHYLIP's four layouts that gives sequences of the length in the first line."""
    formats = _biopython("Bio.AlignIO.PhylipIO")
    head, *body = [line for line in text.splitlines() if line.strip()]
    counts = re.fullmatch(r"\s*(\d+)\s+(\d+)\s*[ISis]?\s*", head)
    if counts is None:
        raise ValueError(f"the first line must be two numbers, got {head.strip()!r}")
    num_species, length = int(counts[1]), int(counts[2])
    clean = "\n".join([f"{num_species} {length}", *body, ""]).replace(".", _POINT)
    total = len("".join("".join(body).split()))
    interleaved, sequential = formats.PhylipIterator, formats.SequentialPhylipIterator
    strict = interleaved._split_id
    for layout, split in (
        (interleaved, _beginning(_first_word)),
        (interleaved, _beginning(strict)),
        (sequential, _first_word),
        (sequential, strict),
    ):
        pairs = _try_phylip(layout, split, clean)
        lengths = [len(sequence) for _, sequence in pairs]
        names = "".join("".join(name for name, _ in pairs).split())
        if lengths == [length] * num_species and len(names) == total - sum(lengths):
            return pairs
    raise ValueError(
        f"it must hold {num_species} sequences of length {length}, interleaved or sequential, as "
        "its first line says"
    )


def _try_phylip(layout: Any, split: Callable[..., Any], text: str) -> list[tuple[str, str]]:
    reader = type("Layout", (layout,), {"_split_id": split})
    try:
        records = list(next(reader(io.StringIO(text))))
    except (ValueError, IndexError, StopIteration):
        return []
    pairs = [(record.id, "".join(str(record.seq).split())) for record in records]
    return [(name.replace(_POINT, "."), text.replace(_POINT, ".")) for name, text in pairs]


def _first_word(_: Any, line: str) -> tuple[str, str]:
    """A name up to the first blank; the sequence may begin on the next line."""
    name, *rest = line.split() or [""]
    return name, "".join(rest)


def _beginning(split: Callable[..., tuple[str, str]]) -> Callable[..., tuple[str, str]]:
    """`split` where sequences must begin on the line of their names, as interleaved ones do."""

    def checked(reader: Any, line: str) -> tuple[str, str]:
        name, sequence = split(reader, line)
        if not sequence:
            raise ValueError("a line without a sequence")
        return name, sequence

    return checked


def _lines(text: str) -> io.StringIO:
    return io.StringIO("\n".join(text.strip().splitlines()) + "\n")


def _biopython(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            "reading FASTA, PHYLIP and NEXUS files needs Biopython: pip install "
            "'gfnjax[alignments]', or save the sequences as a .json object"
        ) from error
