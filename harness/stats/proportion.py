"""Scores of items: their mean with its interval, and the difference of two on the same items."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

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

    `gained` and `lost` count items that A, or B, scored higher. With `same_outputs` the two give
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


def quality(scores: Sequence[float], confidence: float, metric: str) -> Quality:
    """Return the mean of scores from 0 to 1 with its interval.

    Right or wrong (1.0 or 0.0): Wilson's. Anything between: Student's over the items, within 0 to 1.

    Raises: NotMeasured: no scores, or one that is not from 0 to 1.
    """
    from scipy import stats

    for score in scores:
        _valid(score, metric)
    if all(score in {0.0, 1.0} for score in scores):
        right = wilson(round(sum(scores)), len(scores), confidence)
        return Quality(
            metric=metric, value=right.value, low=right.low, high=right.high, n=right.n, confidence=confidence
        )
    n, mean = len(scores), fmean(scores)
    half = math.inf if n < 2 else float(stats.t.ppf(0.5 + confidence / 2, n - 1)) * stdev(scores) / math.sqrt(n)
    low, high = max(0.0, mean - half), min(1.0, mean + half)
    return Quality(metric=metric, value=mean, low=low, high=high, n=n, confidence=confidence)


SAME_OUTPUTS_WITHIN = 1e-4
"""Largest absolute difference of logits up to which two techniques give the same outputs: float32 rounding."""


def quality_difference(
    record: Record, baseline: Record, confidence: float, *, output_difference: float | None = None
) -> Difference:
    """Return the paired difference over the items both scored.

    `output_difference` is the largest difference of their outputs, where it is known. Within
    `SAME_OUTPUTS_WITHIN`, and with no item scored differently, the techniques compute the same function.

    Raises: IncomparableRecords: no item in common. NotMeasured: scores missing, or not from 0 to 1.
    """
    theirs = dict(zip(baseline.item_ids, baseline.item_scores, strict=True))
    pairs = [
        (_valid(score, record.case.name), _valid(theirs[item], baseline.case.name))
        for item, score in zip(record.item_ids, record.item_scores, strict=True)
        if item in theirs
    ]
    if not pairs:
        if not record.item_scores or not baseline.item_scores:
            raise NotMeasured(f"{record.case.name} or {baseline.case.name} has no item scores")
        raise IncomparableRecords(f"{record.case.name} and {baseline.case.name} have no test item in common")
    sampled = paired_difference(pairs, confidence)
    same = output_difference is not None and output_difference <= SAME_OUTPUTS_WITHIN
    if same and sampled.gained == sampled.lost == 0:
        return msgspec.structs.replace(sampled, low=0.0, high=0.0, same_outputs=True)
    return sampled


def paired_difference(pairs: Sequence[tuple[float, float]], confidence: float) -> Difference:
    """Return the mean difference of two scores from 0 to 1 over the same items, with the adjusted Wald interval.

    One difference of +1 and one of -1 are added before a Wald interval is made, so no disagreement in n items does
    not become an interval of width zero. For right and wrong this is the interval for two paired proportions of
    Bonett & Price 2012, J. Educ. Behav. Stat. 37:479. `value` is the plain difference.
    """
    from scipy import stats

    n = len(pairs)
    if n == 0:
        raise NotMeasured("a difference needs at least one item in common")
    differences = [a - b for a, b in pairs]
    adjusted = [*differences, 1.0, -1.0]
    centre = fmean(adjusted)
    variance = fmean(each * each for each in adjusted) - centre**2
    half = float(stats.norm.ppf(0.5 + confidence / 2)) * math.sqrt(variance / (n + 2))
    value = fmean(differences)
    return Difference(
        value=value,
        low=max(-1.0, min(centre - half, value)),
        high=min(1.0, max(centre + half, value)),
        n=n,
        gained=sum(each > 0 for each in differences),
        lost=sum(each < 0 for each in differences),
        confidence=confidence,
    )


def items_to_resolve(difference: Difference, margin: float) -> int | None:
    """Return how many items would show "not worse by more than `margin`", if the rates stay as they are.

    None if the difference seen is itself beyond the margin: more items would rather show that it is worse.
    """
    room = margin + difference.value
    if room <= 0:
        return None
    # The half width of an interval falls as one over the root of n + 2.
    half = max(difference.value - difference.low, difference.high - difference.value)
    return max(difference.n, math.ceil((half / room) ** 2 * (difference.n + 2)) - 2)


def _valid(score: float, where: str) -> float:
    if not 0.0 <= score <= 1.0:
        raise NotMeasured(f"{where}: a score of {score} is not from 0 to 1, so it cannot be compared")
    return score
