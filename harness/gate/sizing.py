"""How well a case is known, what that much evidence could have found, and how much more would settle it.

Normal theory over the two keys of `harness.gate.keys`: an estimate with standard error e is found beyond a limit
when it lies c·e past it, c being the critical value of the key. Heavy tails and stopping early make this optimistic
(measured: 62 % found where 85 % were foretold), so it is advice on where to spend time, and never a verdict.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from msgspec.structs import replace

from harness.gate.keys import MIN_BLOCKS, MIN_FORKS, fork_level, summarise
from harness.gate.model import Policy
from harness.records import Frozen
from harness.stats.signed_rank import hodges_lehmann
from harness.stats.spending import Looks, Taken, level_at, planned

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

_ONE_SIGMA = 0.158655
"""Chance of a normal value to lie more than one standard deviation above its mean."""

_POWER = 0.95
_LIKELY = 0.8
MOST_OVERTIMES = 15
"""More than these, 16 times the plan, are not foretold: each of them has less of the chance of error to spend."""

_LOG_MOST = 50.0
"""Logarithms of ratios beyond this are reported as this, so that they stay numbers in JSON."""


class Spread(Frozen, frozen=True, kw_only=True):
    """Where the log ratio of a case lies: estimate, bounds, and one standard error by each key."""

    estimate: float
    low: float
    high: float
    block_error: float
    fork_error: float
    forks: int
    same_sign: int
    blocks: int


def spread(values_FB: Floats, tail: float) -> Spread | None:
    """Return where a case lies, with bounds that err with chance `tail` each by either key; None below two forks.

    The bounds are the wider of the signed-rank interval and a t-interval over forks.
    """
    import numpy as np
    from scipy import stats

    forks = summarise(values_FB[None])
    number = int(forks.number[0])
    if number < 2:
        return None
    values = values_FB[np.isfinite(values_FB)]
    shift, narrow = hodges_lehmann(values, tail), hodges_lehmann(values, _ONE_SIGMA)
    half = float(stats.t.isf(tail, number - 1)) * float(forks.error[0])
    means = forks.means[0][np.isfinite(forks.means[0])]
    around = (float(forks.mean[0]) - half, float(forks.mean[0]) + half)
    lows = [each for each in (shift.low, shift.estimate, around[0]) if each is not None]
    highs = [each for each in (shift.high, shift.estimate, around[1]) if each is not None]
    return Spread(
        estimate=shift.estimate,
        low=min(lows),
        high=max(highs),
        block_error=0.0 if narrow.low is None or narrow.high is None else (narrow.high - narrow.low) / 2,
        fork_error=float(forks.error[0]),
        forks=number,
        same_sign=int((np.sign(means) == np.sign(shift.estimate)).sum()),
        blocks=len(values),
    )


def change(log_ratio: float) -> float:
    """Return the relative change of a log ratio: 0.04 is 4 % more."""
    return math.expm1(max(-_LOG_MOST, min(_LOG_MOST, log_ratio)))


def detectable(found: Spread, policy: Policy, taken: Looks, cases: int, beyond: float) -> float | None:
    """Return the smallest relative change that this look would find with 95 % power; None with too few forks.

    `taken` are the looks so far, this one last, and `beyond` is the change that is accepted anyway. The level is that
    of the first step of Holm: the worst case.
    """
    if found.forks < MIN_FORKS or found.blocks < MIN_BLOCKS:
        return None
    levels = (policy.alpha / cases, fork_level(policy, cases))
    needed = _needed(found, levels, policy, taken, _POWER)
    error = max(found.block_error, found.fork_error)
    effect = max(beyond, math.log1p(policy.min_effect))
    return change(max(beyond + needed, effect + _z(_POWER) * error))


def more_blocks(found: Spread | None, policy: Policy, taken: Looks, cases: int, beyond: float) -> int | None:
    """Return how many more blocks (in as many more forks) would likely decide a case, from its spread at a look.

    Whichever decision is nearer counts: a pass, or a regression where the estimate is large enough for one. What the
    plan does not decide takes whole overtimes, whose levels are stricter. None if it cannot be told: fewer than two
    forks, an estimate that lies on a limit, or more than `MOST_OVERTIMES`.
    """
    if found is None:
        return None
    least = max(MIN_BLOCKS, MIN_FORKS * found.blocks / found.forks)
    on_plan = taken == planned(taken[-1].look, policy.looks)
    if taken[-1].share < 1:
        ratio = _ratio(found, policy, planned(policy.looks, policy.looks), cases, beyond)
        whole = max(least, found.blocks * ratio**2)
        if whole <= policy.most_blocks:
            return max(1, math.ceil(whole - found.blocks))
    for number in range(1, MOST_OVERTIMES + 1):
        if on_plan and taken[-1].share < 1:
            looks, total = planned(policy.looks + number, policy.looks), policy.most_blocks * (1 + number)
        else:
            first = max(policy.looks, taken[-1].look)
            further = (Taken(first + each, taken[-1].share + each) for each in range(1, number + 1))
            looks, total = (*taken, *further), found.blocks + number * policy.most_blocks
        forks = found.forks + number * policy.forks
        then = replace(
            found,
            block_error=found.block_error * math.sqrt(found.blocks / total),
            fork_error=found.fork_error * math.sqrt(found.forks / forks),
            forks=forks,
        )
        if total >= least and _ratio(then, policy, looks, cases, beyond) <= 1:
            return total - found.blocks
    return None


def _ratio(found: Spread, policy: Policy, looks: Looks, cases: int, beyond: float) -> float:
    """Return by how much the errors of a case are too large for the last of these looks to likely decide it."""
    room = beyond + math.log1p(policy.tolerance) - found.estimate
    excess = found.estimate - beyond
    ratios = [math.inf]
    if room > 0:
        ratios.append(_needed(found, (policy.alpha, policy.alpha), policy, looks, _LIKELY) / room)
    if excess > 0 and found.estimate >= max(beyond, math.log1p(policy.min_effect)):
        levels = (policy.alpha / cases, fork_level(policy, cases))
        ratios.append(_needed(found, levels, policy, looks, _LIKELY) / excess)
    return min(ratios)


def _needed(found: Spread, alphas: tuple[float, float], policy: Policy, looks: Looks, power: float) -> float:
    """Return how far the truth must lie beyond a limit for both keys to say so at the last look, with this power."""
    from scipy import stats

    by_block, by_fork = (level_at(alpha, looks, policy.looks) for alpha in alphas)
    freedom = found.forks - 1
    blocks = (_z(1 - by_block) + _z(power)) * found.block_error
    forks = (float(stats.t.isf(by_fork, freedom)) + float(stats.t.ppf(power, freedom))) * found.fork_error
    return max(blocks, forks)


def _z(share: float) -> float:
    from scipy import special

    return float(special.ndtri(share))
