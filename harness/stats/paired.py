"""Paired log-ratios over interleaved blocks, with an interval that respects forks.

Blocks inside one fork share the luck of its memory layout and allocator, so they are not independent
samples (Kalibera & Jones 2013, "Rigorous benchmarking in reasonable time", ISMM: repeat at the level
that varies). The rule:

* estimate: 20 %-trimmed mean T of all blocks (heavy tails are the rule on shared hosts);
* block interval: Yuen's standard error of T (Yuen 1974, Biometrika 61:165) with h − 1 degrees of freedom;
* fork interval: winsorised values rescaled to T's influence values, averaged by fork, t over forks.
  With 2 or 3 forks, their spread alone says almost nothing, so one prior degree of freedom
  is added with a fork spread of half a block's (a moderated t, Smyth 2004, SAGMB 3:3). Two forks thus
  never look better than they are, and stopping early on a lucky agreement of two forks is hard;
* the wider one counts. One fork: the block interval alone, doubt ONE_FORK.

Coverage of nominal 95 % intervals in simulation (worst of normal, t3 and 10 % contaminated noise at 4 and 12
blocks a fork; 1,500 samples each, so ±1 point; `tests/stats/simulate_coverage.py` repeats it):

    fork sd / block sd      0     0.25     0.5      1
    1 fork                94 %    79 %    55 %    30 %     (why ONE_FORK is a doubt)
    2 forks               99 %    99 %    97 %    92 %
    3 forks               98 %    97 %    95 %    91 %
    4 forks               97 %    95 %    95 %    94 %
    6 forks               97 %    95 %    94 %    94 %
    8 forks               96 %    95 %    95 %    94 %

Weakest: two or three forks whose spread exceeds that of their blocks. Stopping when intervals are narrow
(as the scheduler does) favours samples that look tight; the table is for a fixed number of blocks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harness.errors import IncomparableRecords, InvalidMeasurement, NotMeasured
from harness.records import Doubt, Frozen, Record, Window, WindowKind
from harness.stats.sums import bill
from harness.stats.totals import total

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

TRIM = 0.2
"""Share of blocks trimmed at each end."""

PRIOR_FORK_SPREAD = 0.5
"""Fork sd over block sd that is assumed, with one degree of freedom, while there are fewer than 4 forks."""

FORKS_THAT_SPEAK = 4
"""From this number of forks on, their own spread is used without a prior."""


class Interval(Frozen, frozen=True, kw_only=True):
    """An estimate with its confidence interval; `p_value` is two-sided against "no effect"."""

    estimate: float
    low: float
    high: float
    confidence: float
    n_blocks: int
    n_forks: int
    p_value: float
    doubts: tuple[Doubt, ...] = ()


class Location(Frozen, frozen=True, kw_only=True):
    """Where a sample lies (log scale), before a confidence is chosen.

    `by_fork` says whether the fork-level error counts; `block_df` is 0 where blocks cannot tell.
    """

    estimate: float
    block_se: float
    block_df: float
    fork_se: float
    fork_df: float
    by_fork: bool
    n_blocks: int
    n_forks: int
    doubts: tuple[Doubt, ...] = ()


def log_ratios(
    base_windows: Sequence[Window], windows: Sequence[Window], *, quantity: str = "energy", case: str = "a case"
) -> dict[int, tuple[float, ...]]:
    """Return fork → log(case / baseline) of a quantity a task, one value a block.

    `quantity` is `energy`, `duration`, or `model-low` or `model-high`: energy as it were if the model erred as far
    as it may. The windows of a block are pooled; a block counts if both sides ended it (as many windows on either).

    Raises: NotMeasured, InvalidMeasurement: a window cannot be used.
    """
    mine, theirs = (by_block(each, quantity, case) for each in (windows, base_windows))
    by_fork: dict[int, list[float]] = {}
    for key in sorted(mine.keys() & theirs.keys()):
        (value, count), (other, other_count) = mine[key], theirs[key]
        if count == other_count:
            by_fork.setdefault(key[0], []).append(math.log(value / other))
    return {fork: tuple(values) for fork, values in by_fork.items()}


def paired_log_ratios(record: Record, baseline: Record, *, quantity: str = "energy") -> dict[int, tuple[float, ...]]:
    """Return `log_ratios` of two records.

    Raises: IncomparableRecords: the two bill unlike domains, or know their joules in unlike ways. NotMeasured,
        InvalidMeasurement: a window cannot be used.
    """
    if quantity != "duration":
        _same_bill(record, baseline)
    return log_ratios(baseline.windows, record.windows, quantity=quantity, case=record.case.name)


def log_values(record: Record) -> dict[int, tuple[float, ...]]:
    """Return fork → log of joules a task, one value a block."""
    by_fork: dict[int, list[float]] = {}
    for (fork, _), (value, _) in sorted(by_block(record.windows, "energy", record.case.name).items()):
        by_fork.setdefault(fork, []).append(math.log(value))
    return {fork: tuple(values) for fork, values in by_fork.items()}


def locate(by_fork: Mapping[int, Sequence[float]]) -> Location:
    """Return where the blocks lie, with the errors seen from blocks and from forks.

    Raises: NotMeasured: fewer than two blocks.
    """
    import numpy as np

    forks = [np.asarray(values, dtype=np.float64) for _, values in sorted(by_fork.items()) if len(values)]
    n = sum(len(values) for values in forks)
    if n < 2:
        raise NotMeasured(f"{n} block{'' if n == 1 else 's'}: an interval needs at least two; raise measure.blocks")
    estimate, winsorised, kept = _trimmed(np.concatenate(forks))
    deviations = winsorised - winsorised.mean()
    # Rescaled so that their mean is the trimmed mean and their spread is that of its influence function.
    scores = np.split(estimate + deviations * n / kept, np.cumsum([len(values) for values in forks])[:-1])
    fork_se, fork_df = _fork_error(scores)
    return Location(
        estimate=estimate,
        block_se=math.sqrt(float(deviations @ deviations) / (kept * (kept - 1))),
        block_df=kept - 1,
        fork_se=fork_se,
        fork_df=fork_df,
        by_fork=len(forks) > 1,
        n_blocks=n,
        n_forks=len(forks),
        doubts=(Doubt.ONE_FORK,) if len(forks) == 1 else (),
    )


def difference(a: Location, b: Location) -> Location:
    """Return where `a − b` lies for independent samples (Welch–Satterthwaite degrees of freedom).

    The fork-level error always counts, by its prior alone where a sample has one fork: between
    independent samples the luck of a fork does not cancel.
    """
    block_se, block_df = _welch(a.block_se, a.block_df, b.block_se, b.block_df)
    fork_se, fork_df = _welch(a.fork_se, a.fork_df, b.fork_se, b.fork_df)
    return Location(
        estimate=a.estimate - b.estimate,
        block_se=block_se,
        block_df=block_df,
        fork_se=fork_se,
        fork_df=fork_df,
        by_fork=True,
        n_blocks=min(a.n_blocks, b.n_blocks),
        n_forks=min(a.n_forks, b.n_forks),
        doubts=tuple(dict.fromkeys((*a.doubts, *b.doubts))),
    )


def interval(location: Location, confidence: float) -> Interval:
    """Return the interval on the scale of the sample: the wider of the block and the fork interval."""
    from scipy import stats

    upper = 0.5 + confidence / 2
    errors = [(location.block_se, location.block_df)]
    if location.by_fork:
        errors.append((location.fork_se, location.fork_df))
    half = max(float(stats.t.ppf(upper, df)) * se for se, df in errors)
    p_value = max(_p_value(location.estimate, se, df) for se, df in errors)
    return Interval(
        estimate=location.estimate,
        low=location.estimate - half,
        high=location.estimate + half,
        confidence=confidence,
        n_blocks=location.n_blocks,
        n_forks=location.n_forks,
        p_value=p_value,
        doubts=location.doubts,
    )


def exponential(log_interval: Interval) -> Interval:
    """Return an interval of logarithms as an interval of ratios (or of the quantity itself)."""
    from msgspec.structs import replace

    return replace(
        log_interval,
        estimate=math.exp(log_interval.estimate),
        low=_exp(log_interval.low),
        high=_exp(log_interval.high),
    )


def ratio_interval(d_by_fork: Mapping[int, Sequence[float]], confidence: float) -> Interval:
    """Return the interval of the *logarithm* of a ratio; `exponential` makes it the ratio.

    Raises: NotMeasured: fewer than two blocks.
    """
    return interval(locate(d_by_fork), confidence)


def energy_interval(record: Record, confidence: float) -> Interval:
    """Return joules a task of a typical block (exp of the trimmed mean log) with its interval.

    Statistical only: the model's low and high are not in it.
    """
    return exponential(interval(locate(log_values(record)), confidence))


def by_block(
    windows: Sequence[Window], quantity: str, case: str, *, kind: WindowKind = WindowKind.RUN
) -> dict[tuple[int, int], tuple[float, int]]:
    """Return (fork, block) → (a quantity a task, number of windows) of the windows of a kind.

    `quantity` as in `log_ratios`.

    Raises: NotMeasured, InvalidMeasurement: a window cannot be used.
    """
    sums: dict[tuple[int, int], list[float]] = {}
    for window in windows:
        if window.kind is kind and window.block is not None:
            amount = _amount(window, quantity, case)
            entry = sums.setdefault((window.fork, window.block), [0.0, 0.0, 0.0])
            entry[:] = entry[0] + amount, entry[1] + window.tasks, entry[2] + 1
    for (fork, block), (amount, tasks, _) in sums.items():
        if tasks <= 0 or amount <= 0 or not math.isfinite(amount):
            raise InvalidMeasurement(
                f"{case}: block {block} of fork {fork} has {amount:g} of {quantity} in {tasks:.0f} tasks, "
                "which cannot be; make windows longer (measure.min_window_s)"
            )
    return {key: (amount / tasks, int(count)) for key, (amount, tasks, count) in sums.items()}


def _amount(window: Window, quantity: str, case: str) -> float:
    if quantity == "duration":
        return window.measured.duration_s
    whole = total(window, case)
    return whole.energy_j if quantity == "energy" else whole.at_model(quantity.removeprefix("model-"))


def _same_bill(a: Record, b: Record) -> None:
    mine, theirs = bill(a), bill(b)
    if mine.keys() != theirs.keys():
        raise IncomparableRecords(
            f"{a.case.name} bills {sorted(mine)}, {b.case.name} bills {sorted(theirs)}: "
            "joules of unlike domains have no ratio"
        )
    for domain in mine:
        if mine[domain] == theirs[domain] and len(mine[domain]) == 1:
            continue
        shown = "; ".join(f"{r.case.name}: {' and '.join(w[domain])}" for r, w in ((a, mine), (b, theirs)))
        raise IncomparableRecords(
            f"{domain} is known in unlike ways ({shown}), and such joules have no ratio; "
            "name the meters under measure.meters, so that every case is measured with the same"
        )


def _trimmed(values: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64], int]:
    import numpy as np

    cut = int(TRIM * len(values))
    ordered = np.sort(values)
    kept = ordered[cut : len(values) - cut]
    return float(kept.mean()), np.clip(values, kept[0], kept[-1]), len(kept)


def _fork_error(scores: Sequence[npt.NDArray[np.float64]]) -> tuple[float, float]:
    """Return standard error and degrees of freedom of the mean, seen from forks.

    A fork mean varies by s²(1/n_f + c²) under the prior; observed fork means update that by their own spread.
    """
    import numpy as np

    sizes = np.array([len(values) for values in scores], dtype=np.float64)
    means = np.array([values.mean() for values in scores])
    within_df = float(sizes.sum()) - len(scores)
    prior = 1.0 if len(scores) < FORKS_THAT_SPEAK and within_df > 0 else 0.0
    squares = math.fsum(float(((values - values.mean()) ** 2).sum()) for values in scores)
    within = squares / within_df if within_df > 0 else 0.0
    relative = 1.0 / sizes + PRIOR_FORK_SPREAD**2
    weights = 1.0 / relative
    spread = float((weights * (means - np.average(means, weights=weights)) ** 2).sum())
    df = prior + len(scores) - 1
    return math.sqrt((prior * within + spread) / df / float(weights.sum())), df


def _welch(se_a: float, df_a: float, se_b: float, df_b: float) -> tuple[float, float]:
    variance = se_a**2 + se_b**2
    if variance == 0:
        return 0.0, min(df_a, df_b)
    return math.sqrt(variance), variance**2 / (se_a**4 / df_a + se_b**4 / df_b)


def _p_value(estimate: float, se: float, df: float) -> float:
    from scipy import stats

    if se == 0:
        return 1.0 if estimate == 0 else 0.0
    return float(2 * stats.t.sf(abs(estimate) / se, df))


def _exp(value: float) -> float:
    return math.exp(min(value, 700.0))
