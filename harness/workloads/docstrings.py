"""Real English that is always at hand: the docstrings of the running Python's standard library.

Read with `ast`, never imported. A text is the first paragraph of one docstring; its label is the
package it comes from. Package names inside a text are left as they are: they occur in few of them,
and a fine-tuned MiniLM still errs on about one text in five.
"""

from __future__ import annotations

import ast
import hashlib
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

import msgspec

from harness.errors import DataError
from harness.records import Frozen
from harness.workloads import caching
from harness.workloads.splits import text_hash

PACKAGES = (
    "asyncio",
    "email",
    "http",
    "importlib",
    "logging",
    "mailbox",
    "multiprocessing",
    "tarfile",
    "unittest",
    "xml",
)
"""The ten packages with the most docstrings that Python 3.11, 3.12 and 3.13 all have."""

EXTRACTOR = 1
"""Version of the rules below; a change makes new caches and new content hashes."""

FEWEST = 50
"""A class with fewer texts says that the library's sources are not complete."""

_MIN_WORDS, _MIN_CHARACTERS = 4, 20
_NOT_LIBRARY = {"test", "tests", "site-packages", "__pycache__"}


class _Cached(Frozen, frozen=True, kw_only=True):
    extractor: int
    rows: tuple[tuple[str, str], ...]


def python_version() -> str:
    """Return the version that decides the texts, for example `3.11.7`."""
    return ".".join(str(part) for part in sys.version_info[:3])


def library() -> Path:
    """Return the folder of the standard library's sources."""
    return Path(sysconfig.get_path("stdlib"))


def read(cache: Path, folder: Path | None = None) -> dict[str, list[tuple[str, str]]]:
    """Return (text, label) rows by split, 70 % train, 10 % validation, 20 % test by the text's hash.

    Rows come in the order of their hashes. The extraction is kept under `cache`.

    Raises: DataError: a class has too few texts, a source cannot be read, or the cache not written.
    """
    folder = folder or library()
    key = hashlib.sha256(f"{python_version()}|{folder}|{EXTRACTOR}".encode()).hexdigest()[:16]
    path = cache / f"docstrings-{key}.json"
    rows = _load(path)
    if rows is None:
        rows = extract(folder)
        caching.write(path, msgspec.json.encode(_Cached(extractor=EXTRACTOR, rows=rows)))
    splits: dict[str, list[tuple[str, str]]] = {"train": [], "validation": [], "test": []}
    for text, label in rows:
        splits[_split_of(text)].append((text, label))
    return splits


def _split_of(text: str) -> str:
    percent = int(text_hash(text)[-8:], 16) % 100
    if percent < 70:
        return "train"
    return "validation" if percent < 80 else "test"


def extract(folder: Path) -> tuple[tuple[str, str], ...]:
    """Return every (text, package) of the library, in the order of the texts' hashes.

    A text that two packages share has no single right label and is left out.

    Raises: DataError: a package has too few texts, or a file cannot be read.
    """
    owners: dict[str, set[str]] = {}
    for package in PACKAGES:
        for file in _files(folder, package):
            for text in _texts(file):
                owners.setdefault(text, set()).add(package)
    rows = [(text, min(found)) for text, found in owners.items() if len(found) == 1]
    for package in PACKAGES:
        count = sum(label == package for _, label in rows)
        if count < FEWEST:
            raise DataError(
                f"the standard library under {folder} has {count} usable docstrings in {package!r}, fewer than "
                f"{FEWEST}: its sources are not all there. Use a Python installed with its sources, or your own "
                "texts (workload.data: {source: file, ...})"
            )
    return tuple(sorted(rows, key=lambda row: text_hash(row[0])))


def _files(folder: Path, package: str) -> list[Path]:
    module = folder / f"{package}.py"
    if module.is_file():
        return [module]
    found = (folder / package).rglob("*.py")
    return sorted(file for file in found if not _NOT_LIBRARY & set(file.relative_to(folder).parts))


def _texts(file: Path) -> Iterator[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old escapes in others' sources are not the user's concern
            tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"cannot read the standard library's {file}: {error}") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = (ast.get_docstring(node) or "").split("\n\n")[0]
            text = " ".join(first.split())
            if len(text) >= _MIN_CHARACTERS and len(text.split()) >= _MIN_WORDS:
                yield text


def _load(path: Path) -> tuple[tuple[str, str], ...] | None:
    """Return the cached rows, or None if there are none that this version wrote whole."""
    try:
        cached = msgspec.json.decode(path.read_bytes(), type=_Cached)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    except OSError as error:
        raise DataError(f"cannot read the cache {path}: {error.strerror}; remove it or choose another") from error
    return cached.rows if cached.extractor == EXTRACTOR else None
