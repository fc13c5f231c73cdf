"""Pairs of source and target sentences: an embedded task made of documentation, or the user's parallel files.

The embedded task is real and needs no second language: restore case and punctuation. The source is a sentence in small
letters without marks, the target the sentence as it was written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from harness.contract import Examples
from harness.errors import DataError
from harness.records import DataInfo, Frozen
from harness.workloads import documentation, language
from harness.workloads.files import read_text
from harness.workloads.params import SPLITS, Limit

FEWEST_WORDS, MOST_WORDS = 4, 20
"""Sentences of documentation outside this range are left out."""

_MARKS = re.compile(r"[^\w\s]")

Pair = tuple[str, str]


class DocumentationPairs(Frozen, frozen=True, kw_only=True, tag_field="source", tag="documentation"):
    """Restore case and punctuation of sentences out of the running Python's documentation."""

    limit: Limit = Limit()


class ParallelFiles(Frozen, frozen=True, kw_only=True, tag_field="source", tag="parallel"):
    """The user's parallel text: line n of `<path>/<split>.<source_language>` belongs to line n of the target's file.

    `train`, `validation` and `test` are the stems of the files' names, as in Multi30k (`train.en`, `train.de`).
    """

    path: str
    source_language: str
    target_language: str
    train: str = "train"
    validation: str = "val"
    test: str = "test"
    limit: Limit = Limit()


PairData = DocumentationPairs | ParallelFiles


class PairSet(Frozen, frozen=True, kw_only=True):
    """Pairs by split as examples, and what they are."""

    train: Examples
    validation: Examples
    test: Examples
    info: DataInfo

    def split(self, name: str) -> Examples:
        """Return one split.

        Raises: DataError: no such split.
        """
        if name not in SPLITS:
            raise DataError(f"there is no split {name!r}; splits are {', '.join(SPLITS)}")
        examples: Examples = getattr(self, name)
        return examples


def read(data: PairData, cache: Path) -> PairSet:
    """Return the pairs, limited by draws that every seed and technique shares.

    Raises: DataError: a file is missing, in another encoding, misaligned, or holds an empty line.
    """
    if isinstance(data, DocumentationPairs):
        found = _disjoint({split: _restoring(texts) for split, texts in documentation.read(cache).items()})
        source, note = language.documentation_source()
        source = f"{source}, case and punctuation to restore"
    else:
        found = files(data)
        source = f"parallel {Path(data.path).name}, {data.source_language} to {data.target_language}"
        note = f"files {data.train}, {data.validation}, {data.test}"
    limited = {split: _limited(found[split], getattr(data.limit, split)) for split in SPLITS}
    contents = {
        split: [f"{text}\x1d{target}" for text, target in zip(each.texts, each.targets, strict=True)]
        for split, each in limited.items()
    }
    return PairSet(**limited, info=language.info(source, note, contents))


def files(data: ParallelFiles) -> dict[str, list[Pair]]:
    """Return the pairs of the user's files.

    Raises: DataError: a file is missing, in another encoding, empty, misaligned, or holds an empty line.
    """
    return {split: _aligned(data, split) for split in SPLITS}


def restored(sentence: str) -> str:
    """Return what is left of a sentence without case and marks; a mark inside a word parts it."""
    return " ".join(_MARKS.sub(" ", sentence).lower().split())


def _restoring(paragraphs: Sequence[str]) -> list[Pair]:
    """Return each sentence once, in order, with what is left of it."""
    found: dict[str, str] = {}
    for paragraph in paragraphs:
        for sentence in documentation.sentences(paragraph):
            source = restored(sentence)
            if FEWEST_WORDS <= len(source.split()) <= MOST_WORDS:
                found.setdefault(sentence, source)
    return [(source, sentence) for sentence, source in found.items()]


def _disjoint(found: dict[str, list[Pair]]) -> dict[str, list[Pair]]:
    """Return the splits without what training would see of the others: sentences that differ in case or marks alone."""
    held_out = {source for split in SPLITS[1:] for source, _ in found[split]}
    return {**found, "train": [pair for pair in found["train"] if pair[0] not in held_out]}


def _aligned(data: ParallelFiles, split: str) -> list[Pair]:
    stem = getattr(data, split)
    paths = [Path(data.path) / f"{stem}.{language}" for language in (data.source_language, data.target_language)]
    sources, targets = ([line.strip() for line in _lines(path, split)] for path in paths)
    if not sources and not targets:
        raise DataError(f"{paths[0]} and {paths[1].name}: the {split} split is empty; it needs at least one pair")
    if len(sources) != len(targets):
        raise DataError(
            f"{paths[0]} has {len(sources)} lines and {paths[1].name} {len(targets)}: line n of one must belong to "
            "line n of the other; find where a line is missing"
        )
    for number, (text, target) in enumerate(zip(sources, targets, strict=True), start=1):
        if not text or not target:
            raise DataError(
                f"{paths[1] if text else paths[0]}, line {number}: empty, while the other file has a sentence; remove "
                "the line from both files"
            )
    return list(zip(sources, targets, strict=True))


def _lines(path: Path, split: str) -> list[str]:
    # Only \n ends a line here; str.splitlines would also cut at U+2028 inside a sentence.
    lines = read_text(path, f"workload.data.{split}").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def _limited(pairs: Sequence[Pair], limit: int | None) -> Examples:
    rows = language.drawn([target for _, target in pairs], limit)
    return Examples(
        item_ids=tuple(rows), texts=tuple(pairs[row][0] for row in rows), targets=tuple(pairs[row][1] for row in rows)
    )
