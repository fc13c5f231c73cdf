"""The quality guard: head against base on the same items, so that no saving is bought with worse answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.errors import IncomparableRecords, InvalidMeasurement, NotMeasured
from harness.gate.model import Quality
from harness.stats.proportion import paired_difference

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

_RESAMPLES = 20
"""Resamples that lie beyond either bound of a bootstrap interval."""


def quality(
    base_scores: Sequence[float],
    head_scores: Sequence[float],
    margin: float,
    *,
    metric: str = "accuracy",
    alpha: float = 0.01,
    cases: int = 1,
) -> Quality:
    """Return how much better (or worse, if negative) head answers the same items, and whether it is shown to be worse.

    Scores stand in the order of the items, higher being better. Worse means that all of the interval lies below
    −`margin`. Each bound errs with chance `alpha` / `cases`, so that unchanged code is called worse in any of the
    cases with chance `alpha` at most. Scores of 0 and 1 get the interval of Bonett & Price for paired proportions,
    others the wider one of a paired percentile bootstrap (Efron & Tibshirani 1993, ch. 13), its seed fixed, and of
    Student's t, for with few items the bootstrap is too narrow. Where all n items may differ the same way by chance
    (2⁻ⁿ is more than a bound may err), however alike they are, the interval reaches to no difference.

    Raises: NotMeasured: no items. IncomparableRecords: unlike numbers of items. InvalidMeasurement: a score that is
        not finite.
    """
    if len(base_scores) != len(head_scores):
        raise IncomparableRecords(
            f"{metric}: base scored {len(base_scores)} items and head {len(head_scores)}; the items must be the same"
        )
    if not base_scores:
        raise NotMeasured(
            f"{metric}: no item was scored, so quality cannot be guarded; return scores, or drop the guard"
        )
    if not all(math.isfinite(score) for score in (*base_scores, *head_scores)):
        raise InvalidMeasurement(f"{metric}: a score is not finite; check what the case returns")
    tail = alpha / max(1, cases)
    if {*base_scores, *head_scores} <= {0.0, 1.0}:
        found = paired_difference(list(zip(head_scores, base_scores, strict=True)), 1 - 2 * tail)
        low, high = found.low, found.high
    else:
        low, high = _mean_bounds([head - base for base, head in zip(base_scores, head_scores, strict=True)], tail)
    n = len(base_scores)
    base, head = math.fsum(base_scores) / n, math.fsum(head_scores) / n
    return Quality(
        metric=metric, n=n, base=base, head=head, difference=head - base, low=low, high=high, worse=high < -margin
    )


def _mean_bounds(differences: Sequence[float], tail: float) -> tuple[float, float]:
    import numpy as np

    values = np.asarray(differences, dtype=np.float64)
    mean, n = float(values.mean()), len(values)
    if n < 2:
        raise NotMeasured("one item says nothing about the others; score two or more")
    low, high = (mean, mean) if np.ptp(values) == 0 else _sampled_bounds(values, tail)
    return (min(low, 0.0), max(high, 0.0)) if 2.0**-n > tail else (low, high)


def _sampled_bounds(values: Floats, tail: float) -> tuple[float, float]:
    import numpy as np
    from scipy import stats

    mean, n = float(values.mean()), len(values)
    half = float(stats.t.isf(tail, n - 1)) * float(values.std(ddof=1)) / math.sqrt(n)
    drawn = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=max(9999, math.ceil(_RESAMPLES / tail)),
        batch=max(1, 4_000_000 // n),
        confidence_level=1 - 2 * tail,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return min(mean - half, float(drawn.low)), max(mean + half, float(drawn.high))
