"""Three splits of labelled texts: checked, limited, hashed."""

from __future__ import annotations

import difflib
import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from harness.contract import Examples
from harness.errors import DataError
from harness.records import Frozen
from harness.workloads.params import SPLITS, Limit

Rows = Sequence[tuple[str, str]]
"""(text, label) pairs in their order."""


class Dataset(Frozen, frozen=True, kw_only=True):
    """Checked splits; a label is an index into `classes`."""

    classes: tuple[str, ...]
    train: Examples
    validation: Examples
    test: Examples
    content_sha256: str

    def split(self, name: str) -> Examples:
        """Return one split.

        Raises: DataError: no such split.
        """
        if name not in SPLITS:
            raise DataError(f"there is no split {name!r}; splits are {', '.join(SPLITS)}")
        examples: Examples = getattr(self, name)
        return examples


def assemble(rows: Mapping[str, Rows], limit: Limit, where: Mapping[str, str]) -> Dataset:
    """Return the data set of three lists of rows; `where` says for each split what to name in an error.

    Classes are the labels of the whole training split (numbers in numeric order), before any limit.

    Raises: DataError: a split is empty, training has one class only, or a label is unseen in training.
    """
    for split in SPLITS:
        if not rows[split]:
            raise DataError(f"{where[split]}: the {split} split is empty; it needs at least one labelled text")
    classes = _classes({label for _, label in rows["train"]})
    if len(classes) < 2:
        raise DataError(
            f"{where['train']}: every training text has the label {classes[0]!r}; classification needs two classes"
        )
    for split in ("validation", "test"):
        _refuse_unseen(rows[split], classes, where[split], split)
    index = {label: number for number, label in enumerate(classes)}
    made = {split: _limited(rows[split], index, getattr(limit, split)) for split in SPLITS}
    if limit.train is not None and limit.train < len(classes):
        raise DataError(
            f"workload.data.limit.train: {limit.train} is less than one text for each of {len(classes)} classes"
        )
    return Dataset(classes=classes, content_sha256=_content_sha256(made, classes), **made)


def _classes(labels: set[str]) -> tuple[str, ...]:
    if all(label.removeprefix("-").isdecimal() for label in labels):
        return tuple(sorted(labels, key=int))
    return tuple(sorted(labels))


def _refuse_unseen(rows: Rows, classes: tuple[str, ...], where: str, split: str) -> None:
    unseen = sorted({label for _, label in rows} - set(classes))
    if not unseen:
        return
    near = difflib.get_close_matches(unseen[0], classes, n=1)
    hint = f" (nearest: {near[0]!r})" if near else ""
    shown = ", ".join(repr(label) for label in unseen[:5])
    raise DataError(
        f"{where}: the {split} split has labels that training never saw: {shown}{hint}; "
        f"training has {', '.join(classes[:20])}"
    )


def _limited(rows: Rows, index: Mapping[str, int], limit: int | None) -> Examples:
    keep: Sequence[int] = range(len(rows))
    if limit is not None and limit < len(rows):
        keep = _stratified(rows, limit)
    return Examples(
        item_ids=tuple(keep),
        texts=tuple(rows[row][0] for row in keep),
        labels=tuple(index[rows[row][1]] for row in keep),
    )


def _stratified(rows: Rows, limit: int) -> list[int]:
    """Return `limit` rows in file order, classes in their proportions (largest remainders).

    Drawn by the hash of the text rather than by the case's seed: every seed, technique and
    Python version gets the same items, so their item scores can be paired.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for row, (_, label) in enumerate(rows):
        members[label].append(row)
    exact = {label: limit * len(found) / len(rows) for label, found in members.items()}
    quota = Counter({label: int(share) for label, share in exact.items()})
    if limit >= len(members):
        quota |= Counter(dict.fromkeys(members, 1))
    by_remainder = sorted(members, key=lambda label: (quota[label] - exact[label], label))
    while (short := limit - quota.total()) > 0:
        quota.update(label for label in by_remainder[:short] if quota[label] < len(members[label]))
    while quota.total() > limit:
        quota[max(quota, key=lambda label: (quota[label] - exact[label], label))] -= 1
    kept = [
        row
        for label, found in members.items()
        for row in sorted(found, key=lambda row: (text_hash(rows[row][0]), row))[: quota[label]]
    ]
    return sorted(kept)


def text_hash(text: str) -> str:
    """Return the sha256 of a text in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _content_sha256(made: Mapping[str, Examples], classes: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for split in SPLITS:
        for text, label in zip(made[split].texts, made[split].labels, strict=True):
            line = f"{split}\x1f{classes[label]}\x1f{text}\x1e"
            digest.update(line.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
