"""Real English prose that is always at hand: what the running Python says about itself.

Paragraphs come from the docstrings of the whole standard library, read with `ast` and never imported, and from the
language reference that `pydoc` shows (`pydoc_data.topics`). Code, tables, lists and signatures are left out.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import msgspec

from harness.errors import DataError
from harness.records import Frozen
from harness.workloads import caching
from harness.workloads.docstrings import library, python_version
from harness.workloads.splits import text_hash

EXTRACTOR = 1
"""Version of the rules below; a change makes new caches and new content hashes."""

FEWEST = 2_000
"""A library with fewer paragraphs is not complete."""

_LEFT_OUT = {"test", "tests", "site-packages", "dist-packages", "__pycache__", "idle_test", "lib2to3"}
_FEWEST_WORDS, _MOST_WORDS = 6, 400
_PLAIN = re.compile(r"[A-Z][\w\s,.;:'\"()\-/]*[.:!?]\)?")
_FEWEST_LETTERS = 0.75


class _Cached(Frozen, frozen=True, kw_only=True):
    extractor: int
    paragraphs: tuple[str, ...]


def read(cache: Path, folder: Path | None = None) -> dict[str, tuple[str, ...]]:
    """Return paragraphs by split, 80 % train, 10 % validation, 10 % test by the text's hash, in the hashes' order.

    Documentation repeats itself: a paragraph that shares a sentence with validation or test is not trained on. The
    extraction is kept under `cache`.

    Raises: DataError: there is too little text, a source cannot be read, or the cache not written.
    """
    folder = folder or library()
    key = hashlib.sha256(f"{python_version()}|{folder}|{EXTRACTOR}".encode()).hexdigest()[:16]
    path = cache / f"documentation-{key}.json"
    paragraphs = _load(path)
    if paragraphs is None:
        paragraphs = extract(folder)
        caching.write(path, msgspec.json.encode(_Cached(extractor=EXTRACTOR, paragraphs=paragraphs)))
    splits: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for text in paragraphs:
        splits[_split_of(text)].append(text)
    held_out = {sentence for name in ("validation", "test") for text in splits[name] for sentence in sentences(text)}
    splits["train"] = [text for text in splits["train"] if held_out.isdisjoint(sentences(text))]
    return {name: tuple(texts) for name, texts in splits.items()}


def extract(folder: Path) -> tuple[str, ...]:
    """Return every paragraph of prose once, in the order of the texts' hashes.

    Raises: DataError: there is too little of it, or a file cannot be read.
    """
    found = {
        paragraph
        for file in sorted(folder.rglob("*.py"))
        if not _LEFT_OUT.intersection(file.relative_to(folder).parts)
        for text in _texts(file)
        for paragraph in prose(text)
    }
    if len(found) < FEWEST:
        raise DataError(
            f"the standard library under {folder} has {len(found)} paragraphs of documentation, fewer than {FEWEST}: "
            "its sources are not all there. Use a Python installed with its sources, or your own texts "
            "(workload.data: {source: file, ...})"
        )
    return tuple(sorted(found, key=text_hash))


def prose(text: str) -> Iterator[str]:
    """Return the paragraphs of a text that read as sentences: not indented, begun and ended as such, mostly letters."""
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        if paragraph.startswith((" ", "\t", "*", "-", ">", "+", "|")):
            continue
        line = " ".join(paragraph.split())
        words = line.split()
        letters = sum(character.isalpha() or character == " " for character in line)
        if (
            _FEWEST_WORDS <= len(words) <= _MOST_WORDS
            and letters >= _FEWEST_LETTERS * len(line)
            and _PLAIN.fullmatch(line)
        ):
            yield line


def sentences(paragraph: str) -> list[str]:
    """Return the sentences of a paragraph, cut where an end mark is followed by a capital."""
    return re.split(r"(?<=[.!?])\s+(?=[A-Z])", paragraph)


def _texts(file: Path) -> Iterator[str]:
    """Return the docstrings of a module and, of the topics of pydoc, every text."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old escapes in others' sources are not the user's concern
            tree = ast.parse(file.read_bytes())  # bytes, because a module may name its encoding
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"cannot read the standard library's {file}: {error}") from error
    topics = file.parts[-2:] == ("pydoc_data", "topics.py")
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""
        elif topics and isinstance(node, ast.Constant) and isinstance(node.value, str):
            # Wrapped in the reference's own indentation: a paragraph of it must not look like code.
            yield inspect.cleandoc(node.value)


def _split_of(text: str) -> str:
    percent = int(text_hash(text)[-8:], 16) % 100
    if percent < 80:
        return "train"
    return "validation" if percent < 90 else "test"


def _load(path: Path) -> tuple[str, ...] | None:
    """Return the cached paragraphs, or None if there are none that this version wrote whole."""
    try:
        cached = msgspec.json.decode(path.read_bytes(), type=_Cached)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    except OSError as error:
        raise DataError(f"cannot read the cache {path}: {error.strerror}; remove it or choose another") from error
    return cached.paragraphs if cached.extractor == EXTRACTOR else None
