"""What sampling may be out by, over a run that is far longer than the samples of its phases.

There are two errors, of which the larger counts, because each holds what the other is about:

* that of batch means. Phases are sampled one after another, so their standard errors add in squares, with Student's t
  and Welch–Satterthwaite degrees of freedom. A sample stands for a run of its own, so an error is √(1 + n/N) of the
  mean's, n being the sampled and N the extrapolated steps. What a drift adds is summed, not squared;
* wandering. A machine's level moves by as much over minutes as over seconds: flicker noise, whose h the sample shows
  (`harness.stats.wander`). By its structure function, 2h (ln k + 3/2) between averages that are k lengths apart, the
  mean of a sample lies off that of a run R times as long by h (ln R + 1) in square. So the error does not end with a
  long run but grows, slowly: over a million lengths it is 2.1 times that over ten. The level is the machine's and not
  a phase's, so what it does to the phases is summed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from harness.accounting.sampled import SampledMean


class Part(NamedTuple):
    """A sample's part in a sum: its mean counts `weight` times, in a run `lengths` times as long as the sample."""

    sample: SampledMean
    weight: float
    lengths: float


def half_width(parts: Sequence[Part], confidence: float) -> float:
    """Return the half-width of the interval of Σ weight · mean."""
    return max(_of_batches(parts, confidence), _of_wandering(parts, confidence))


def _of_batches(parts: Sequence[Part], confidence: float) -> float:
    variances = [(weight * sample.standard_error) ** 2 * (1 + 1 / lengths) for sample, weight, lengths in parts]
    widening = math.fsum(weight * sample.widening for sample, weight, _ in parts)
    variance = math.fsum(variances)
    if variance == 0:
        return widening
    df = variance**2 / math.fsum(
        each**2 / part.sample.degrees_of_freedom for part, each in zip(parts, variances, strict=True)
    )
    return _t(confidence, df) * math.sqrt(variance) + widening


def _of_wandering(parts: Sequence[Part], confidence: float) -> float:
    error = math.fsum(
        weight * sample.wander * math.sqrt(math.log(1 + lengths) + 1) for sample, weight, lengths in parts
    )
    return _t(confidence, min(part.sample.wander_degrees_of_freedom for part in parts)) * error


def _t(confidence: float, degrees_of_freedom: float) -> float:
    from scipy import stats

    return float(stats.t.ppf(0.5 + confidence / 2, degrees_of_freedom))
