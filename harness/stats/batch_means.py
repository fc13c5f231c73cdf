"""The mean of an autocorrelated series, such as the joules of successive training steps, with its interval.

Successive steps share clocks, temperature, neighbours and data order, so s/√n is far too small. The rule:

* warm-up: MSER-5 (White 1997, Simulation 69:323) drops the first values, at most half. What they cost beyond the mean
  is kept as `warm_up_excess`: a run pays it once;
* batches: means of successive batches are nearly independent if the batches are long (Schmeiser 1982, Operations
  Research 30:556; Flegal & Jones 2010, Annals of Statistics 38:1034). We take 32, else 16, else 8 batches: the most
  whose means pass von Neumann's ratio test against positive correlation (Fishman 1978, Management Science 24:510);
* what is left of the correlation is charged by (1 + r)/(1 − r), r the lag-1 correlation of the batch means, corrected
  for its bias (as Skart does: Tafazzoli et al. 2011, IEEE TAC 56:254), with Student's t on batches − 1;
* drift: a straight line through the batch means, tested at 1 %. A drift is a doubt *and* widens the interval on either
  side by the change seen over the kept values. That is too little for a drift that goes on, and
  the test misses slow ones.

Coverage of nominal 95 % in simulation, with the wandering of `harness.stats.wander` charged beside it, as `joulebench
sample` does (1,000 runs a row; `benchmarks/extrapolation_coverage.py`, kept in `results/reference/sample-epyc4-2vcpu`),
for the first 200 steps of 2,000 and the first 1,000 of 10,000:

    AR(1) 0 to 0.95, heavy tails (t3, lognormal)       99-100 %       100 %
    periodic evaluations                                  100 %       100 %
    wanders, flicker of 0.5 / 2 %                    100 / 96 %   99 / 96 %
    settles by 5 % in 0.2 / 0.5 / 1 samples     100 / 99 / 96 %   100 / 99 / 85 %      (many of them undoubted)
    drifts on by 10 % over the whole run                   52 %         1 %

So a sample must be long beside the time in which the machine settles. What differs between sessions (another day,
another host, another data order) is not in one session's series, and so not in the interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

from harness.errors import InvalidMeasurement, NotMeasured, UsageError
from harness.records import Frozen
from harness.stats.wander import PARTS, wander

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Values = npt.NDArray[np.float64]

BATCHES = (32, 16, 8)
"""Numbers of batches tried, in this order; the last is taken if none passes."""

FEWEST_VALUES = BATCHES[-1]
"""Fewest values after the warm-up for which there is an interval: one a batch."""

CORRELATION_LEVEL = 0.1
"""One-sided level of von Neumann's test; large, because a missed correlation costs coverage."""

LARGEST_CORRELATION = 0.9
"""Cap on r where a few batches make it run to 1."""

DRIFT_LEVEL = 0.01
"""Two-sided level of the test for a drift: one quiet sample in a hundred is doubted."""

_GROUP = 5
_GROUPED_FROM = 50


class SeriesDoubt(StrEnum):
    """A reason to trust the mean of a series less."""

    DRIFT = "DRIFT"
    NOT_SETTLED = "NOT_SETTLED"
    CORRELATED_BATCHES = "CORRELATED_BATCHES"


class BatchMeans(Frozen, frozen=True, kw_only=True):
    """A mean with its interval; in the unit of the values.

    `low` and `high` hold t · `standard_error` at `degrees_of_freedom`, and `widening` on top, which is not zero where
    the series drifts. `drift` is the fitted change from the first to the last kept value, with the `drift_p` of its
    test. `wander` is how the level wanders (`stats.wander`), read with `wander_degrees_of_freedom`; it is in no other
    figure, because what it does depends on how long the run is. `n` values (`steps` steps) were kept after `dropped`
    ones, which cost `warm_up_excess` beyond the mean in all. `correlation` is the bias-corrected lag-1 correlation of
    the batch means.
    """

    mean: float
    low: float
    high: float
    confidence: float
    standard_error: float
    degrees_of_freedom: float
    widening: float
    wander: float
    wander_degrees_of_freedom: float
    n: int
    steps: int
    n_batches: int
    dropped: int
    warm_up_excess: float
    correlation: float
    drift: float
    drift_p: float
    doubts: tuple[SeriesDoubt, ...] = ()


def batch_means(
    values: Sequence[float],
    *,
    confidence: float = 0.95,
    dropped: int | None = None,
    steps_each: int = 1,
    what: str = "the series",
) -> BatchMeans:
    """Return the mean of a series with its interval.

    `values` are in the order of time and in the unit of one step, each the mean of `steps_each` steps. `dropped` sets
    the length of the warm-up instead of MSER-5 (0: it is known to be over). `what` names the series in messages.

    Raises: NotMeasured: fewer than 8 values are left after the warm-up. InvalidMeasurement: a value is not finite.
        UsageError: `confidence` is not between 0 and 1, or `dropped` is negative.
    """
    import numpy as np
    from scipy import stats

    if not 0 < confidence < 1:
        raise UsageError(f"confidence must lie between 0 and 1, not {confidence}")
    if dropped is not None and dropped < 0:
        raise UsageError(f"the number of dropped values cannot be {dropped}; give 0 or more")
    series = np.asarray(values, dtype=np.float64)
    if not np.isfinite(series).all():
        raise InvalidMeasurement(f"{what} holds a value that is not finite; check the meter with `joulebench doctor`")
    cut, settled = (warm_up(series) if len(series) else (0, True)) if dropped is None else (dropped, True)
    kept = series[cut:]
    if len(kept) < FEWEST_VALUES:
        raise NotMeasured(
            f"{what}: {len(kept)} values are left of {len(series)} after a warm-up of {cut}; an interval needs "
            f"at least {FEWEST_VALUES}: sample for longer"
        )
    means, sizes, passed = _batches(kept)
    mean, correlation = float(kept.mean()), _correlation(means)
    inflation = (1 + correlation) / (1 - correlation)
    spread = float(sizes / len(kept) @ (means - mean) ** 2)
    se, df = math.sqrt(inflation * spread / (len(means) - 1)), len(means) - 1
    drift, drift_p = _drift(means, sizes)
    widening = abs(drift) if drift_p < DRIFT_LEVEL else 0.0
    half = float(stats.t.ppf(0.5 + confidence / 2, df)) * se + widening
    found = (
        (SeriesDoubt.DRIFT, widening > 0),
        (SeriesDoubt.NOT_SETTLED, not settled),
        (SeriesDoubt.CORRELATED_BATCHES, not passed),
    )
    return BatchMeans(
        mean=mean,
        low=mean - half,
        high=mean + half,
        confidence=confidence,
        standard_error=se,
        degrees_of_freedom=df,
        widening=widening,
        wander=wander(kept),
        wander_degrees_of_freedom=PARTS - 1,
        n=len(kept),
        steps=len(kept) * steps_each,
        n_batches=len(means),
        dropped=cut,
        warm_up_excess=(float(series[:cut].sum()) - cut * mean) * steps_each,
        correlation=correlation,
        drift=drift,
        drift_p=drift_p,
        doubts=tuple(doubt for doubt, holds in found if holds),
    )


def warm_up(values: Sequence[float] | Values) -> tuple[int, bool]:
    """Return how many first values MSER drops, and whether the series had settled before its middle.

    Means of 5 values (MSER-5), single ones below 50. The cut is where the squared standard error of the rest is
    smallest; a minimum beyond the middle says that the series never settled, and nothing more can be dropped.
    """
    import numpy as np

    series = np.asarray(values, dtype=np.float64)
    size = _GROUP if len(series) >= _GROUPED_FROM else 1
    groups = len(series) // size
    if groups < 2:
        return 0, True
    z = series[: groups * size].reshape(groups, size).mean(axis=1)
    z = z - z.mean()  # joules with a large mean would lose their digits in the difference of squares below
    left = np.arange(groups, 0, -1)
    tail, squares = np.cumsum(z[::-1])[::-1], np.cumsum((z * z)[::-1])[::-1]
    error = (squares - tail**2 / left) / left**2
    # The very last groups are close to each other by chance (White 1997 leaves them out as well).
    reach = max(groups - 5, groups // 2 + 1)
    best = int(np.argmin(error[:reach]))
    half = groups // 2
    return (best * size, True) if best <= half else (half * size, False)


def _batches(kept: Values) -> tuple[Values, Values, bool]:
    """Return batch means, batch sizes, and whether the means passed the test against correlation."""
    import numpy as np

    chosen: tuple[Values, Values] | None = None
    for count in (each for each in BATCHES if each <= len(kept)):
        parts = np.array_split(kept, count)
        chosen = (
            np.array([part.mean() for part in parts]),
            np.array([len(part) for part in parts], dtype=np.float64),
        )
        if _independent(chosen[0]):
            return *chosen, True
    if chosen is None:
        raise NotMeasured(f"{len(kept)} values are too few for {BATCHES[-1]} batches")
    return *chosen, False


def _independent(means: Values) -> bool:
    """Return whether von Neumann's ratio does not show positive correlation (normal approximation).

    C = 1 − Σ(Δy)² / 2Σ(y − ȳ)² has mean 0 and variance (b − 2)/(b² − 1) under independence.
    """
    from scipy import stats

    deviations = means - means.mean()
    spread = float(deviations @ deviations)
    if spread == 0:
        return True
    steps = means[1:] - means[:-1]
    c = 1 - float(steps @ steps) / (2 * spread)
    b = len(means)
    return c * math.sqrt((b * b - 1) / (b - 2)) < float(stats.norm.ppf(1 - CORRELATION_LEVEL))


def _correlation(means: Values) -> float:
    """Return the lag-1 correlation between 0 and the cap, its bias −(1 + 3r)/b (Kendall 1954) taken back."""
    deviations = means - means.mean()
    spread = float(deviations @ deviations)
    if spread == 0:
        return 0.0
    r = float(deviations[1:] @ deviations[:-1]) / spread
    b = len(means)
    corrected = (b * r + 1) / (b - 3) if b > 3 else r
    return min(max(corrected, 0.0), LARGEST_CORRELATION)


def _drift(means: Values, sizes: Values) -> tuple[float, float]:
    """Return the fitted change over the whole series and the two-sided p of no change (t, b − 2)."""
    import numpy as np
    from scipy import stats

    if np.ptp(means) == 0:
        return 0.0, 1.0
    middles = (np.cumsum(sizes) - sizes / 2) / sizes.sum()
    fit = stats.linregress(middles, means)
    return float(fit.slope), float(fit.pvalue)
