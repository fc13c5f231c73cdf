"""What quality takes no model: what the best constant answer scores, or another answer that anyone can give."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence

from harness.errors import DataError
from harness.records import Trivial

CONSTANT = "the best constant answer"
"""The one answer to every place that scores most, chosen with the right ones in sight: no constant does better."""


def constant(split: str, metric: str, truths: Sequence[Sequence[Hashable]]) -> Trivial:
    """Return what the best constant answer scores: the mean over items of the share of an item's places it gets right.

    `truths` are the right answers of each item, one a place (one in all, where an item has one class).

    Raises: DataError: no item has a place.
    """
    rights: dict[Hashable, float] = defaultdict(float)
    for places in truths:
        for answer in places:
            rights[answer] += 1 / len(places)
    if not rights:
        raise DataError(f"the {split} split has nothing to answer")
    return Trivial(split=split, metric=metric, value=max(rights.values()) / len(truths), answer=CONSTANT)
