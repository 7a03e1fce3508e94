"""Paths and text of a user's files."""

import codecs
from pathlib import Path

# The longer marks first: that of UTF-32 begins as that of UTF-16 does.
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def absolute(path: str | None) -> str | None:
    """The path from the root, so that a run can be resumed from anywhere."""
    return None if path is None else str(Path(path).absolute())


def existing(path: str | Path) -> Path:
    """The path of a file that is there, else a `FileNotFoundError`."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    return path


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 or UTF-32 where it starts with their mark.

    Raises:
        ValueError: if it is in another encoding, or no text.
    """
    content = path.read_bytes()
    mark = next((mark for mark in _MARKS if content.startswith(mark)), b"")
    try:
        text = content.decode(_MARKS.get(mark, "utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8: save it as UTF-8 ({error})") from error
    if "\0" in text:
        raise ValueError(f"{path} is not text in UTF-8: save it as UTF-8 (it holds zero bytes)")
    return text
