"""The joules of a training with an interval: over repeated trainings, or within one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum

from harness.errors import NotMeasured
from harness.records import Frozen, Record, Window, WindowKind
from harness.stats.sums import Total, add, scaled
from harness.stats.totals import total, windows_of


class Spread(StrEnum):
    """What an interval of a training total stands for."""

    BETWEEN_RUNS = "between runs"
    WITHIN_ONE_RUN = "within one run"
    NONE = "no interval"


class TrainingTotal(Frozen, frozen=True, kw_only=True):
    """Mean joules of one training; `low_j`/`high_j` are statistical, the model's bounds are in `total`.

    They are None when nothing repeats.
    """

    total: Total
    low_j: float | None
    high_j: float | None
    confidence: float
    spread: Spread
    n: int


def training_interval(records: Sequence[Record], confidence: float) -> TrainingTotal:
    """Return the joules of a training from its repetitions: one a record, each with a seed of its own.

    Three or more repetitions give a t-interval over their totals. Fewer give batch means over the chunks
    between checkpoints of each run (steps inside a run are autocorrelated, chunks much less), which
    says how well this run's energy is known, not how another seed would do.

    Raises: NotMeasured: no training windows, or a missing domain.
    """
    runs = [(record.case.name, windows_of(record, WindowKind.TRAIN)) for record in records]
    totals = [add(total(window, name) for window in windows) for name, windows in runs]
    mean = scaled(add(totals), 1.0 / len(totals))
    if len(totals) >= 3:
        half = _t_half_width([each.energy_j for each in totals], confidence)
        return _result(mean, half, confidence, Spread.BETWEEN_RUNS, len(totals))
    variances = [_chunk_variance(windows, name) for name, windows in runs]
    known = [each for each in variances if each is not None]
    if len(known) < len(variances):
        return _result(mean, None, confidence, Spread.NONE, len(totals))
    se = math.sqrt(math.fsum(variance for variance, _ in known)) / len(known)
    half = _t(confidence, sum(df for _, df in known)) * se
    return _result(mean, half, confidence, Spread.WITHIN_ONE_RUN, sum(df + 1 for _, df in known))


def repetitions(record: Record, records: Sequence[Record]) -> tuple[Record, ...]:
    """Return the records of the same case at any seed, this one's seed among them."""
    import msgspec

    def but_seed(each: Record) -> str:
        return msgspec.structs.replace(each.case, seed=0).case_id

    return tuple(each for each in records if but_seed(each) == but_seed(record))


def steps_trained(record: Record) -> int | None:
    """Return how many steps a training took to its end; None where no checkpoint was evaluated."""
    return record.curve[-1].steps if record.curve else None


def training_per(records: Sequence[Record], counts: Sequence[int], confidence: float) -> TrainingTotal:
    """Return the joules of a training over what it did (`counts` of steps or examples, one a record).

    Where all did as much, the interval is that of the training, scaled. Where they did not, three or more give a
    t-interval over their own joules a step; fewer give none.

    Raises: NotMeasured: no training windows, a missing domain, or a training that did nothing.
    """
    if min(counts) <= 0:
        raise NotMeasured(f"{records[0].case.name} trained no step")
    if len(set(counts)) == 1:
        return _scaled(training_interval(records, confidence), 1.0 / counts[0])
    alone = [training_interval((record,), confidence).total for record in records]
    mean = scaled(add(alone), 1.0 / sum(counts))
    if len(records) < 3:
        return _result(mean, None, confidence, Spread.NONE, len(records))
    each_j = [total.energy_j / count for total, count in zip(alone, counts, strict=True)]
    return _result(mean, _t_half_width(each_j, confidence), confidence, Spread.BETWEEN_RUNS, len(records))


def _scaled(cost: TrainingTotal, factor: float) -> TrainingTotal:
    return TrainingTotal(
        total=scaled(cost.total, factor),
        low_j=None if cost.low_j is None else cost.low_j * factor,
        high_j=None if cost.high_j is None else cost.high_j * factor,
        confidence=cost.confidence,
        spread=cost.spread,
        n=cost.n,
    )


def _chunk_variance(windows: Sequence[Window], name: str) -> tuple[float, int] | None:
    """Return the variance of the run's total and its degrees of freedom; None if no work repeats.

    Chunks of the most frequent size repeat, but for the first, which also holds what is done once
    (encoding a data set, filling caches). All other work counts as so many chunks as it has their joules:
    the variance of the total is s² × total / mean, as in batch means over total / mean chunks.
    """
    later = [window for window in windows[2:] if window.tasks > 0]
    sizes = [window.tasks for window in later]
    if not sizes:
        return None
    usual = max(sorted(set(sizes)), key=sizes.count)
    chunks = [total(window, name).energy_j for window in later if window.tasks == usual]
    k, mean = len(chunks), math.fsum(chunks) / len(chunks)
    if k < 2 or mean <= 0:
        return None
    variance = math.fsum((chunk - mean) ** 2 for chunk in chunks) / (k - 1)
    return variance * math.fsum(total(window, name).energy_j for window in windows) / mean, k - 1


def _t_half_width(values: Sequence[float], confidence: float) -> float:
    n = len(values)
    mean = math.fsum(values) / n
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    return _t(confidence, n - 1) * sd / math.sqrt(n)


def _t(confidence: float, df: int) -> float:
    from scipy import stats

    return float(stats.t.ppf(0.5 + confidence / 2, df))


def _result(mean: Total, half: float | None, confidence: float, spread: Spread, n: int) -> TrainingTotal:
    if n < 1:
        raise NotMeasured("no training to take a mean of")
    return TrainingTotal(
        total=mean,
        low_j=None if half is None else max(0.0, mean.energy_j - half),
        high_j=None if half is None else mean.energy_j + half,
        confidence=confidence,
        spread=spread,
        n=n,
    )
