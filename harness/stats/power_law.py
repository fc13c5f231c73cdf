"""A power law through energies measured at several sizes: its exponent, how sure it is, and whether it holds at all.

log E = a + b log S is fitted by least squares to the energies of a typical block. Two things leave b open, and the
wider of the two intervals counts:

* scatter: sizes do not lie on one line. With three sizes or more: Student's t on the residuals, n − 2 degrees;
* measurement: least squares is linear in log E, so every block that visited all sizes has an exponent of its own, in
  which a drift of the machine cancels. Their mean gets the interval of `paired` (trimmed, over blocks and over forks),
  whose coverage with two forks is known. Resampling blocks or forks instead (a bootstrap) gives the same for many forks
  and too little for two or three, of which there are but a handful of resamples.

Two sizes have an exponent and no scatter, so nothing says that a power law holds. From four sizes on the same is done
with the curvature (the square term of a parabola in log S): if its measurement interval excludes zero, one exponent
does not hold for all sizes, and those between the two smallest and between the two largest are given.

Coverage of nominal 95 % intervals in simulation (1,000 samples a row, so ± 1.5 points; the worst of 2 to 6 sizes, four
blocks a fork; `tests/stats/simulate_power_law.py` repeats it):

                                                  2 forks   4 forks
    measurement alone                                99 %      96 %
    forks differ as much as blocks                   94 %      94 %
    sizes scatter as much as blocks                  97 %      95 %
    sizes scatter ten times as much                  94 %      94 %
    straight lines called curved (at most)            4 %       5 %
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

from harness.errors import NotMeasured
from harness.records import Frozen, Record
from harness.stats.paired import Location, by_block, interval, locate

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Blocks = Mapping[tuple[int, int], float]
"""The logarithm of joules a task, by (fork, block)."""

CURVATURE_FROM = 4
"""Sizes from which on curvature is looked for; three always lie on a parabola."""


class Limit(StrEnum):
    """What makes most of an exponent's interval."""

    SCATTER = "scatter"
    MEASUREMENT = "measurement"


class Curvature(Frozen, frozen=True, kw_only=True):
    """How the exponent changes over the sizes; `shown` if that is beyond what the measurement leaves open.

    `at_smallest` is the exponent between the two smallest sizes, `at_largest` between the two largest.
    """

    at_smallest: float
    at_largest: float
    shown: bool


class PowerLaw(Frozen, frozen=True, kw_only=True):
    """E = `scale_j` × size ^ `exponent`, joules a task; `low` to `high` is the wider of the two intervals.

    `measured_low`/`measured_high` are what measurement alone leaves open. `residual_sd` is the spread of the sizes
    about the line, of the logarithm; None with two sizes. `curvature` is None with fewer than four.
    """

    exponent: float
    low: float
    high: float
    confidence: float
    scale_j: float
    n: int
    measured_low: float
    measured_high: float
    limited_by: Limit
    residual_sd: float | None
    curvature: Curvature | None
    n_blocks: int
    n_forks: int

    def at(self, size: float) -> float:
        """Return joules a task at a size, by the law."""
        return self.scale_j * math.pow(size, self.exponent)


def power_law(sizes: Sequence[float], records: Sequence[Record], confidence: float) -> PowerLaw:
    """Fit a power law of joules a task on size, one interleaved record a size.

    Raises: NotMeasured: fewer than two sizes, or fewer than two blocks that visited all of them.
    """
    return fit(sizes, [log_blocks(record) for record in records], confidence)


def log_blocks(record: Record) -> dict[tuple[int, int], float]:
    """Return the logarithm of joules a task of each block.

    Raises: NotMeasured, InvalidMeasurement: a window cannot be used.
    """
    blocks = by_block(record.windows, "energy", record.case.name)
    return {key: math.log(value) for key, (value, _) in blocks.items()}


def fit(sizes: Sequence[float], blocks: Sequence[Blocks], confidence: float) -> PowerLaw:
    """Fit a power law to the logarithms of joules a task, one mapping a size; see the module for the method.

    Raises: NotMeasured: fewer than two sizes, a size that is not above zero, or fewer than two blocks in common.
    """
    import numpy as np
    from scipy import stats

    if min(sizes, default=0) <= 0 or len(set(sizes)) < 2:
        raise NotMeasured("a power law needs at least two sizes, all above zero")
    keys = sorted(set.intersection(*(set(each) for each in blocks)))
    y_KB = np.array([[each[key] for key in keys] for each in blocks])
    x_K = np.log(np.asarray(sizes, dtype=np.float64))
    centred_K = x_K - x_K.mean()
    spread = float(centred_K @ centred_K)
    y_K = np.array([_place(keys, values).estimate for values in y_KB])
    exponent = float(centred_K @ y_K) / spread
    slopes = _place(keys, centred_K @ y_KB / spread)
    alone = interval(slopes, confidence)
    measured = (alone.high - alone.low) / 2
    residual_sd, scattered = None, 0.0
    if len(sizes) >= 3:
        residuals_K = y_K - y_K.mean() - exponent * centred_K
        residual_sd = math.sqrt(float(residuals_K @ residuals_K) / (len(sizes) - 2))
        scattered = float(stats.t.ppf(0.5 + confidence / 2, len(sizes) - 2)) * residual_sd / math.sqrt(spread)
    half = max(measured, scattered)
    return PowerLaw(
        exponent=exponent,
        low=exponent - half,
        high=exponent + half,
        confidence=confidence,
        scale_j=math.exp(float(y_K.mean()) - exponent * float(x_K.mean())),
        n=len(sizes),
        measured_low=exponent - measured,
        measured_high=exponent + measured,
        limited_by=Limit.SCATTER if scattered > measured else Limit.MEASUREMENT,
        residual_sd=residual_sd,
        curvature=_curvature(keys, centred_K, y_K, y_KB, confidence),
        n_blocks=slopes.n_blocks,
        n_forks=slopes.n_forks,
    )


def _place(keys: Sequence[tuple[int, int]], values_B: npt.NDArray[np.float64]) -> Location:
    forks: dict[int, list[float]] = {}
    for (fork, _), value in zip(keys, values_B, strict=True):
        forks.setdefault(fork, []).append(float(value))
    return locate(forks)


def _curvature(
    keys: Sequence[tuple[int, int]],
    centred_K: npt.NDArray[np.float64],
    y_K: npt.NDArray[np.float64],
    y_KB: npt.NDArray[np.float64],
    confidence: float,
) -> Curvature | None:
    """Look for the square term of a parabola, which is linear in the energies as well."""
    import numpy as np

    if len(set(centred_K.tolist())) < CURVATURE_FROM:
        return None
    weights_3K = np.linalg.pinv(np.vander(centred_K, 3, increasing=True))
    square = interval(_place(keys, weights_3K[2] @ y_KB), confidence)
    order_K = np.argsort(centred_K, kind="stable")
    runs, rises = np.diff(centred_K[order_K]), np.diff(y_K[order_K])
    steps = rises[runs > 0] / runs[runs > 0]
    return Curvature(at_smallest=float(steps[0]), at_largest=float(steps[-1]), shown=square.low > 0 or square.high < 0)
