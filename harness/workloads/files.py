"""The user's text files: found, readable, UTF-8, or refused with what to do."""

from __future__ import annotations

import codecs
import difflib
from pathlib import Path

from harness.errors import DataError


def read_text(path: Path, where: str) -> str:
    """Return the content of a UTF-8 file; `where` names in messages what asked for it.

    Raises: DataError: missing, unreadable, or in another encoding.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{where}: there is no file {path}{_nearest_file(path)}") from error
    except OSError as error:
        raise DataError(f"{where}: cannot read {path}: {error.strerror}") from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise DataError(f"{path}: UTF-16, not UTF-8; convert the file (iconv -f utf-16 -t utf-8)") from error
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: byte 0x{raw[error.start]:02x} is not UTF-8; convert the file "
            "(for example: iconv -f latin1 -t utf-8)"
        ) from error


def _nearest_file(path: Path) -> str:
    if not path.parent.is_dir():
        return f" (nor a folder {path.parent})"
    near = difflib.get_close_matches(path.name, [file.name for file in path.parent.iterdir()], n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
