"""The two keys that must turn together before the gate says anything, for many suites at once.

*Blocks*: the signed-rank test of block differences. It is powerful, and wrong where the blocks of a fork share the
luck of that fork's memory layout. *Forks*: a t-test over one trimmed mean a fork. It knows that luck, and needs no
more than that two arms of the same code differ symmetrically. A claim needs both, so it errs no oftener than the
better of the two (an intersection-union test: Berger 1982, Technometrics 24:295).

Their levels, with m gated cases and s = 1 + confirmations stages in fresh forks, so that a suite run of unchanged
code alarms with chance α at most:

* blocks: Holm over the m cases, at what the look may spend of α;
* forks, for a regression: (α / 4m)^(1/s) in each stage, and at most α. Stages are independent, so a case that only
  forks guard errs with chance α / 4m; the rest is room for what a t-test over few forks gets wrong (forks of which
  each is simply lucky or not err twice as often as normal ones);
* forks, for an improvement, which no second stage confirms: α / m;
* a pass: both keys at α, spent over the looks too, without Holm. The error to avoid is calling a case harmless that
  is not; a suite passes only if every case does, so a suite with one bad case passes wrongly with chance α at most.

`benchmarks/gate_null.py` simulates all of it with this code. Arrays have the shape RCFB: suite runs, cases, forks,
blocks; NaN is a block that was not made or does not count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from harness.gate.model import Policy
from harness.stats.signed_rank import hodges_lehmann, signed_rank_p
from harness.stats.spending import Looks, level_at, overall_p

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Truths = npt.NDArray[np.bool_]

MIN_FORKS = 6
"""With fewer forks nothing is decided: 2 forks let 8 % false alarms through where 1 % was promised (measured)."""

MIN_BLOCKS = 24
"""With fewer blocks (4 in each of 6 forks) nothing is decided."""

TRIM = 0.2
"""Share of a fork's blocks trimmed at each end before its mean is taken."""

FORK_SHARE = 0.25
"""Share of α that the fork key may use up. 0.5 let 1.1 % of suites alarm in the worst simulated case, 0.25 0.5 %."""

RECURRENCE = 0.5
"""Share of the effect that counts which a fresh stage must show again."""


class Limits(NamedTuple):
    """What counts in each case (C), as logarithms of head / base.

    An increase up to `null` is none; a regression is at least `regressed`, an improvement at most `improved`
    (negative); a pass excludes `tolerated` and more.
    """

    null: Floats
    regressed: Floats
    improved: Floats
    tolerated: Floats


class Judged(NamedTuple):
    """What one look says (RC each); p-values are those of the blocks, adjusted for looks and cases."""

    suspected: Truths
    improved: Truths
    passed: Truths
    p_more: Floats
    adjusted_more: Floats
    forks_refuse: Truths


class Forks(NamedTuple):
    """One sample of fork means (N): number of forks, mean, and its standard error."""

    number: Floats
    mean: Floats
    error: Floats
    means: Floats


def fork_level(policy: Policy, cases: int) -> float:
    """Return the level of the fork key in each stage of finding a regression.

    It is at most α, so that the interval that is shown excludes "no change" wherever a regression is found.
    """
    return float(min(policy.alpha, (FORK_SHARE * policy.alpha / max(1, cases)) ** (1 / (1 + policy.confirmations))))


def judge(differences_RCFB: Floats, limits: Limits, policy: Policy, taken: Looks, open_RC: Truths) -> Judged:
    """Return what both keys say of every open case; `taken` are the looks at these so far, the present one last."""
    import numpy as np

    runs, cases = open_RC.shape
    rows = np.flatnonzero(open_RC)
    values_NFB = differences_RCFB.reshape(runs * cases, *differences_RCFB.shape[2:])[rows]
    values_NB, forks = _flat(values_NFB), summarise(values_NFB)
    null, regressed, improved, tolerated = (each[rows % cases] for each in limits)
    enough = (forks.number >= MIN_FORKS) & (np.isfinite(values_NB).sum(axis=1) >= MIN_BLOCKS)

    above, below = signed_rank_p(values_NB - null[:, None])
    if null.any():
        below = signed_rank_p(values_NB)[1]
    more, less = _family(above, rows, open_RC.shape), _family(below, rows, open_RC.shape)
    adjusted_more = holm_rows(overall_p(more, taken, policy.looks))
    adjusted_less = holm_rows(overall_p(less, taken, policy.looks))

    fork_more = fork_p(forks, null, above=True) <= level_at(fork_level(policy, cases), taken, policy.looks)
    fork_less = fork_p(forks, 0.0, above=False) <= level_at(policy.alpha / cases, taken, policy.looks)
    blocks_more = enough & (adjusted_more.ravel()[rows] <= policy.alpha)
    suspected = _as_far(values_NB, blocks_more & fork_more, regressed)
    blocks_less = enough & (adjusted_less.ravel()[rows] <= policy.alpha)
    better = _as_far(-values_NB, blocks_less & fork_less, -improved)
    level = level_at(policy.alpha, taken, policy.looks)
    passed = ~suspected & ~better & enough & _passes(values_NB, forks, tolerated, level)

    def spread(found: Truths) -> Truths:
        whole = np.zeros(runs * cases, dtype=np.bool_)
        whole[rows] = found
        return whole.reshape(open_RC.shape)

    return Judged(
        suspected=spread(suspected),
        improved=spread(better),
        passed=spread(passed),
        p_more=more,
        adjusted_more=adjusted_more,
        forks_refuse=spread(blocks_more & ~fork_more),
    )


def recurs(values_NFB: Floats, null_N: Floats, regressed_N: Floats, level: float) -> Truths:
    """Return whether fresh forks show the regression again: both keys at `level`, and half of the effect."""
    import numpy as np

    values_NB, forks = _flat(values_NFB), summarise(values_NFB)
    enough = (forks.number >= MIN_FORKS) & (np.isfinite(values_NB).sum(axis=1) >= MIN_BLOCKS)
    above, _ = signed_rank_p(values_NB - null_N[:, None])
    both = enough & (above <= level) & (fork_p(forks, null_N, above=True) <= level)
    return _as_far(values_NB, both, null_N + RECURRENCE * (regressed_N - null_N))


def summarise(values_NFB: Floats) -> Forks:
    """Return the forks of each sample by their trimmed means; a fork without a block is none."""
    import numpy as np

    ordered = np.sort(values_NFB, axis=2)
    counts = np.isfinite(ordered).sum(axis=2, keepdims=True)
    cut = (TRIM * counts).astype(np.int64)
    place = np.arange(values_NFB.shape[2])
    kept = (place >= cut) & (place < counts - cut)
    sums = np.where(kept, ordered, 0.0).sum(axis=2)
    means = np.where(counts[..., 0] > 0, sums / np.maximum(1, kept.sum(axis=2)), np.nan)
    there = np.isfinite(means)
    number = there.sum(axis=1).astype(np.float64)
    mean = np.where(there, means, 0.0).sum(axis=1) / np.maximum(1.0, number)
    squares = np.where(there, means - mean[:, None], 0.0) ** 2
    error = np.sqrt(squares.sum(axis=1) / np.maximum(1.0, number - 1) / np.maximum(1.0, number))
    return Forks(number=number, mean=mean, error=error, means=means)


def fork_p(forks: Forks, shift: Floats | float, *, above: bool) -> Floats:
    """Return the one-sided p-value of a t-test over forks that the truth lies above (or below) a shift.

    Fewer than two forks say nothing: 1. Forks without any spread say all: 0, or 1 if they lie elsewhere.
    """
    import numpy as np
    from scipy import special

    distance = (forks.mean - shift) * (1 if above else -1)
    safe = np.where(forks.error > 0, forks.error, 1.0)
    t = np.where(forks.error > 0, distance / safe, np.where(distance > 0, np.inf, -np.inf))
    return np.where(forks.number < 2, 1.0, special.stdtr(np.maximum(1.0, forks.number - 1), -t))


def holm_rows(p_RC: Floats) -> Floats:
    """Return Holm's adjusted p-values within each row (`harness.stats.holm`, for many suites at once)."""
    import numpy as np

    order = p_RC.argsort(axis=1, kind="stable")
    factors = np.arange(p_RC.shape[1], 0, -1)
    stepped = np.minimum(1.0, np.take_along_axis(p_RC, order, axis=1) * factors)
    adjusted = np.empty_like(p_RC)
    np.put_along_axis(adjusted, order, np.maximum.accumulate(stepped, axis=1), axis=1)
    return adjusted


def _passes(values_NB: Floats, forks: Forks, tolerated: Floats, level: float) -> Truths:
    """Return where both keys exclude the tolerated change, the cheap one first."""
    import numpy as np

    passed = fork_p(forks, tolerated, above=False) <= level
    rows = np.flatnonzero(passed)
    passed[rows] = signed_rank_p(values_NB[rows] - tolerated[rows, None])[1] <= level
    return passed


def _as_far(values_NB: Floats, candidates: Truths, effect: Floats) -> Truths:
    """Return which candidates have an estimate of at least the effect that counts."""
    import numpy as np

    found = candidates.copy()
    for row in np.flatnonzero(candidates):
        values = values_NB[row][np.isfinite(values_NB[row])]
        found[row] = hodges_lehmann(values, 0.5).estimate >= effect[row]
    return found


def _flat(values_NFB: Floats) -> Floats:
    """Return the blocks of all forks in one row a sample; there may be no sample."""
    samples, forks, blocks = values_NFB.shape
    return values_NFB.reshape(samples, forks * blocks)


def _family(p_N: Floats, rows: npt.NDArray[np.int64], shape: tuple[int, ...]) -> Floats:
    """Return the p-values by suite and case; a case that is not open keeps its place in the family, with 1."""
    import numpy as np

    whole = np.ones(shape[0] * shape[1])
    whole[rows] = p_N
    return whole.reshape(shape)
