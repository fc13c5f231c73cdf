"""Accuracies: Wilson's interval, and the difference of two on the same items."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from harness.errors import IncomparableRecords, NotMeasured
from harness.records import Frozen, Quality, Record


class Proportion(Frozen, frozen=True, kw_only=True):
    """A share of `n` items with its interval."""

    value: float
    low: float
    high: float
    n: int
    confidence: float


class Difference(Frozen, frozen=True, kw_only=True):
    """Mean score of A minus that of B over the same `n` items, with its interval.

    `gained` and `lost` count items that only A, or only B, got right. With `same_outputs` the two give
    the same outputs up to rounding: nothing is sampled and the interval has no width.
    """

    value: float
    low: float
    high: float
    n: int
    gained: int
    lost: int
    confidence: float
    same_outputs: bool = False


def wilson(successes: int, n: int, confidence: float) -> Proportion:
    """Return a proportion with Wilson's score interval (Wilson 1927, JASA 22:209).

    Raises: NotMeasured: no items.
    """
    from scipy import stats

    if n < 1:
        raise NotMeasured("an accuracy needs at least one item")
    bounds = stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return Proportion(value=successes / n, low=float(bounds.low), high=float(bounds.high), n=n, confidence=confidence)


def accuracy(scores: Sequence[float], confidence: float) -> Quality:
    """Return the share of right answers (scores of 1.0) with Wilson's interval.

    Raises: NotMeasured: no scores, or one that is neither 0 nor 1.
    """
    right = wilson(sum(_right(score, "accuracy") for score in scores), len(scores), confidence)
    return Quality(
        metric="accuracy", value=right.value, low=right.low, high=right.high, n=right.n, confidence=confidence
    )


SAME_OUTPUTS_WITHIN = 1e-4
"""Largest absolute difference of logits up to which two techniques give the same outputs: float32 rounding."""


def accuracy_difference(
    record: Record, baseline: Record, confidence: float, *, output_difference: float | None = None
) -> Difference:
    """Return the paired difference over the items both scored.

    `output_difference` is the largest difference of their outputs, where it is known. Within
    `SAME_OUTPUTS_WITHIN`, and with no item scored differently, the techniques compute the same function.

    Raises: IncomparableRecords: no item in common. NotMeasured: scores missing, or not 0 or 1.
    """
    theirs = dict(zip(baseline.item_ids, baseline.item_scores, strict=True))
    pairs = [
        (_right(score, record.case.name), _right(theirs[item], baseline.case.name))
        for item, score in zip(record.item_ids, record.item_scores, strict=True)
        if item in theirs
    ]
    if not pairs:
        if not record.item_scores or not baseline.item_scores:
            raise NotMeasured(f"{record.case.name} or {baseline.case.name} has no item scores")
        raise IncomparableRecords(f"{record.case.name} and {baseline.case.name} have no test item in common")
    sampled = bonett_price(pairs, confidence)
    same = output_difference is not None and output_difference <= SAME_OUTPUTS_WITHIN
    if same and sampled.gained == sampled.lost == 0:
        return msgspec.structs.replace(sampled, low=0.0, high=0.0, same_outputs=True)
    return sampled


def bonett_price(pairs: Sequence[tuple[bool, bool]], confidence: float) -> Difference:
    """Return the difference of two paired proportions with the adjusted Wald interval.

    One discordant pair of either kind and two pairs are added before a Wald interval is made
    (Bonett & Price 2012, J. Educ. Behav. Stat. 37:479), so no disagreement in n items does not become an
    interval of width zero. `value` is the plain difference.
    """
    from scipy import stats

    n = len(pairs)
    if n == 0:
        raise NotMeasured("a difference needs at least one item in common")
    gained = sum(a and not b for a, b in pairs)
    lost = sum(b and not a for a, b in pairs)
    up, down = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    centre = up - down
    half = float(stats.norm.ppf(0.5 + confidence / 2)) * math.sqrt((up + down - centre**2) / (n + 2))
    value = (gained - lost) / n
    return Difference(
        value=value,
        low=max(-1.0, min(centre - half, value)),
        high=min(1.0, max(centre + half, value)),
        n=n,
        gained=gained,
        lost=lost,
        confidence=confidence,
    )


def items_to_resolve(difference: Difference, margin: float) -> int | None:
    """Return how many items would show "not worse by more than `margin`", if the rates stay as they are.

    None if the difference seen is itself beyond the margin: more items would rather show that it is worse.
    """
    from scipy import stats

    room = margin + difference.value
    if room <= 0:
        return None
    z = float(stats.norm.ppf(0.5 + difference.confidence / 2))
    up, down = (difference.gained + 1) / (difference.n + 2), (difference.lost + 1) / (difference.n + 2)
    return max(difference.n, math.ceil((z / room) ** 2 * (up + down - (up - down) ** 2)))


def _right(score: float, where: str) -> bool:
    if score not in (0.0, 1.0):
        raise NotMeasured(f"{where}: a score of {score} is neither right nor wrong; accuracy is not defined")
    return score == 1.0
