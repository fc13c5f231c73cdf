"""The Wilcoxon signed-rank test of many samples at once, and the estimate and interval that belong to it.

The test asks whether differences lie above (or below) zero; it needs them to be symmetric, not normal, so that
the heavy tails of a shared host cost little (Wilcoxon 1945, Biometrics Bulletin 1:80). Its estimate is the median
of the Walsh averages (d_i + d_j) / 2, and its interval holds every shift that the test does not reject (Hodges &
Lehmann 1963, Ann. Math. Stat. 34:598; Hollander, Wolfe & Chicken 2014, Nonparametric Statistical Methods, 3.1-3.3).

Up to `EXACT_UP_TO` differences without ties the null distribution is exact; else it is normal, with a continuity
correction of one half and the variance corrected for ties. A difference of zero speaks for neither side: half of
its rank goes to each ("zsplit" in scipy), the way in which the test agrees with its interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from harness.errors import InvalidMeasurement, NotMeasured
from harness.records import Frozen

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

EXACT_UP_TO = 50
"""Largest sample whose null distribution is exact, as in `scipy.stats.wilcoxon`."""


class Shift(Frozen, frozen=True, kw_only=True):
    """Where `n` differences lie: the Hodges-Lehmann estimate, with bounds that each err with chance `tail`.

    A bound is None where so few differences cannot exclude anything at that chance.
    """

    estimate: float
    low: float | None
    high: float | None
    tail: float
    n: int


def hodges_lehmann(differences: Sequence[float] | Floats, tail: float) -> Shift:
    """Return the median of the Walsh averages, with the interval of all shifts that the test keeps.

    `tail` is the chance of error at either end: 0.01 gives a 98 % interval.

    Raises: NotMeasured: no difference. InvalidMeasurement: one that is not finite.
    """
    import numpy as np

    values = np.asarray(differences, dtype=np.float64)
    n = len(values)
    if n < 1:
        raise NotMeasured("a Hodges-Lehmann estimate needs at least one difference")
    if not np.isfinite(values).all():
        raise InvalidMeasurement("a paired difference is not finite; the block that it comes from cannot be used")
    first, second = np.triu_indices(n)
    averages = np.sort((values[first] + values[second]) / 2)
    outside = _rejected(n, tail, np.unique(values, return_counts=True)[1])
    return Shift(
        estimate=float(np.median(averages)),
        low=None if outside < 0 else float(averages[outside]),
        high=None if outside < 0 else float(averages[len(averages) - 1 - outside]),
        tail=tail,
        n=n,
    )


def signed_rank_p(differences_NB: Floats) -> tuple[Floats, Floats]:
    """Return the one-sided p-values of each row, for "above zero" and for "below zero".

    NaN marks a difference that does not count. A row without any has p-values of 1.
    """
    import numpy as np

    counted_NB = np.isfinite(differences_NB)
    counts_N = counted_NB.sum(axis=1)
    above_N, below_N = np.ones(len(counts_N)), np.ones(len(counts_N))
    for n in np.unique(counts_N[counts_N > 0]):
        rows = np.flatnonzero(counts_N == n)
        values = differences_NB[rows][counted_NB[rows]].reshape(len(rows), n)
        above_N[rows], below_N[rows] = _equal_counts(values)
    return above_N, below_N


def _equal_counts(values_NB: Floats) -> tuple[Floats, Floats]:
    import numpy as np

    sizes_NB = np.abs(values_NB)
    order_NB = sizes_NB.argsort(axis=1)
    sorted_NB = np.take_along_axis(sizes_NB, order_NB, axis=1)
    tied_N = (sorted_NB[:, 0] == 0) | (np.diff(sorted_NB, axis=1) == 0).any(axis=1)
    above_N, below_N = np.ones(len(values_NB)), np.ones(len(values_NB))
    for row in np.flatnonzero(tied_N):
        above_N[row], below_N[row] = _tied(values_NB[row])
    n = values_NB.shape[1]
    positive_NB = np.take_along_axis(values_NB, order_NB, axis=1)[~tied_N] > 0
    rank_sums = positive_NB @ np.arange(1.0, n + 1)
    above_N[~tied_N], below_N[~tied_N] = _untied(rank_sums, n)
    return above_N, below_N


def _untied(rank_sums: Floats, n: int) -> tuple[Floats, Floats]:
    """Return p-values of rank sums of n untied differences.

    `scipy.stats.wilcoxon` says the same (the tests hold this to it), 14 times slower for thousands of samples.
    """
    import numpy as np
    from scipy import stats

    most = n * (n + 1) // 2
    if n <= EXACT_UP_TO:
        cumulative = _null_cumulative(n)
        return cumulative[most - rank_sums.astype(np.int64)], cumulative[rank_sums.astype(np.int64)]
    deviation = np.sqrt(n * (n + 1) * (2 * n + 1) / 24)
    centred = rank_sums - most / 2
    return stats.norm.sf((centred - 0.5) / deviation), stats.norm.cdf((centred + 0.5) / deviation)


def _tied(values: Floats) -> tuple[float, float]:
    from scipy import stats

    if not values.any():
        return 1.0, 1.0
    above, below = (
        float(stats.wilcoxon(values, zero_method="zsplit", correction=True, alternative=side, method="auto").pvalue)
        for side in ("greater", "less")
    )
    return above, below


def _rejected(n: int, tail: float, group_sizes: npt.NDArray[np.int64]) -> int:
    """Return the largest rank sum whose chance of not being exceeded is at most `tail`; negative if there is none.

    Equal differences are tied at every shift, so they take from the variance whatever the shift is.
    """
    import numpy as np
    from scipy import stats

    if n <= EXACT_UP_TO and group_sizes.max() == 1:
        return int(np.searchsorted(_null_cumulative(n), tail, side="right")) - 1
    ties = float((group_sizes**3 - group_sizes).sum()) / 48
    deviation = np.sqrt(max(0.0, n * (n + 1) * (2 * n + 1) / 24 - ties))
    return int(np.floor(n * (n + 1) / 4 - 0.5 + stats.norm.ppf(tail) * deviation))


@lru_cache(maxsize=EXACT_UP_TO)
def _null_cumulative(n: int) -> Floats:
    """Return P(W ≤ w) for w = 0 … n(n+1)/2: each rank is in the sum or not, with even chances."""
    import numpy as np

    chances = np.ones(1)
    for rank in range(1, n + 1):
        wider = np.zeros(len(chances) + rank)
        wider[: len(chances)] += chances / 2
        wider[rank:] += chances / 2
        chances = wider
    return np.minimum(1.0, np.cumsum(chances))
