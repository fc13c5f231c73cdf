"""Running text for language models: the embedded documentation, or the user's own files; three splits of paragraphs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal

from harness.errors import DataError
from harness.records import DataInfo, Frozen
from harness.workloads import documentation
from harness.workloads.docstrings import python_version
from harness.workloads.files import read_text
from harness.workloads.params import SPLITS, Limit
from harness.workloads.splits import text_hash

HELD_OUT = 10
"""One paragraph in so many is held out for validation where the user names no file for it."""

UNKNOWN = "<unk>"
"""What stands in published text such as WikiText's for a word that was left out of its vocabulary."""

_HEADING = re.compile(r"\s*=+ .* =+\s*")

Split = Literal["train", "validation", "test"]


class DocumentationData(Frozen, frozen=True, kw_only=True, tag_field="source", tag="documentation"):
    """Prose out of the running Python's own documentation."""

    limit: Limit = Limit()


class TextFiles(Frozen, frozen=True, kw_only=True, tag_field="source", tag="file"):
    """The user's own text, one paragraph a line; blank lines and WikiText's headings are left out.

    Without `validation` every tenth paragraph of `train` is held out for it.
    """

    train: str
    test: str
    validation: str | None = None
    limit: Limit = Limit()


TextData = DocumentationData | TextFiles


class Corpus(Frozen, frozen=True, kw_only=True):
    """Paragraphs by split, and what they are."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    source: str
    note: str = ""

    def split(self, name: str) -> tuple[str, ...]:
        """Return the paragraphs of one split.

        Raises: DataError: no such split.
        """
        if name not in SPLITS:
            raise DataError(f"there is no split {name!r}; splits are {', '.join(SPLITS)}")
        paragraphs: tuple[str, ...] = getattr(self, name)
        return paragraphs


def read(data: TextData, cache: Path) -> Corpus:
    """Return the corpus with at most `limit.train` paragraphs to train on; the other limits are for items.

    Raises: DataError: a file is missing, in another encoding, or a split holds no text.
    """
    if isinstance(data, DocumentationData):
        found = documentation.read(cache)
        splits = {name: list(found[name]) for name in SPLITS}
        source, note = documentation_source()
    else:
        splits = _files(data)
        named = (data.train, data.validation, data.test)
        source = "file " + ", ".join(Path(name).name for name in named if name)
        note = "" if data.validation else f"one paragraph in {HELD_OUT} of the training file is held out for validation"
    for name in SPLITS:
        if not splits[name]:
            raise DataError(f"{source}: the {name} split holds no paragraph of text; give a file that has some")
    splits["train"] = [splits["train"][row] for row in drawn(splits["train"], data.limit.train)]
    return Corpus(**{name: tuple(splits[name]) for name in SPLITS}, source=source, note=note)


def documentation_source() -> tuple[str, str]:
    """Return what the embedded text is called, and what to know of it."""
    return f"documentation of Python {python_version()}", documentation_note("texts")


def documentation_note(what: str) -> str:
    """Return what to know of data that the running Python carries."""
    return (
        f"standard library of Python {python_version()}; another version has other {what}, "
        "so records made on it are on other data"
    )


def drawn(texts: Sequence[str], limit: int | None) -> list[int]:
    """Return the rows of at most `limit` texts, in order, drawn by hash: the same for every seed and technique."""
    rows = range(len(texts))
    if limit is None or limit >= len(texts):
        return list(rows)
    return sorted(sorted(rows, key=lambda row: (text_hash(texts[row]), row))[:limit])


def stretches(places: int, most: int) -> list[range]:
    """Return consecutive places cut into as few stretches of at most `most` as hold all of them.

    They are equally long but for one place, so that no text ends in a row of one word.
    """
    count = -(-places // most)
    ends = [places * (number + 1) // count for number in range(count)]
    return [range(start, end) for start, end in pairwise((0, *ends))]


def info(source: str, note: str, contents: Mapping[str, Sequence[str]], classes: tuple[str, ...] = ()) -> DataInfo:
    """Return what data are: their numbers by split, and the sha256 over the contents of the splits in their order."""
    digest = hashlib.sha256()
    for split in SPLITS:
        for text in contents[split]:
            digest.update(f"{split}\x1f{text}\x1e".encode("utf-8", "surrogatepass"))
    return DataInfo(
        source=source,
        content_sha256=digest.hexdigest(),
        classes=classes,
        n_train=len(contents["train"]),
        n_validation=len(contents["validation"]),
        n_test=len(contents["test"]),
        note=note,
    )


def joined_sha256(*hashes: str) -> str:
    """Return one sha256 of several."""
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def check(data: TextData) -> None:
    """Refuse missing and unreadable files before anything starts.

    Raises: DataError.
    """
    if isinstance(data, TextFiles):
        _files(data)


def _files(data: TextFiles) -> dict[str, list[str]]:
    train = _paragraphs(data.train, "train")
    if data.validation is not None:
        held_out = _paragraphs(data.validation, "validation")
    else:
        held_out = train[HELD_OUT - 1 :: HELD_OUT]
        train = [text for row, text in enumerate(train) if row % HELD_OUT != HELD_OUT - 1]
    return {"train": train, "validation": held_out, "test": _paragraphs(data.test, "test")}


def _paragraphs(path: str, split: Split) -> list[str]:
    lines = read_text(Path(path), f"workload.data.{split}").splitlines()
    return [" ".join(line.split()) for line in lines if line.strip() and not _HEADING.fullmatch(line)]
