"""How much of the chance of error may be spent by each look at growing evidence.

Whoever looks k times and stops at the first small p-value errs more often than that p-value says. Lan & DeMets
(1983, Biometrika 70:659) spend the chance of error along a function of the share of evidence seen; the one that
resembles O'Brien & Fleming's boundaries spends next to nothing early: α(t) = 2 − 2Φ(z_{α/2} / √t), one-sided.

Where evidence may go on beyond what was planned (t > 1), as long as there is time, a share of the chance is kept for
it: α(t) = α (1 − kept / t), which no number of further looks uses up. It is taken from the last planned look;
the earlier ones spend what they do without, as long as that is no more.

The level of each look follows from the looks being correlated: evidence is a Brownian motion seen at times t, and
the chance of crossing at look k and not before is integrated step by step (Armitage, McPherson & Rowe 1969,
JRSS A 132:235; Jennison & Turnbull 2000, Group Sequential Methods, ch. 7 and 19). Levels are applied to the p-values
of any test ("significance level approach", ibid. 3.8). Looks that are more correlated than that (blocks that share
the luck of their forks) err less often.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from harness.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

_NODES = 96
"""Points of the quadrature; 4 and 5 looks agree with the published boundaries to their 4 decimals."""

_REACH = 9.0
"""Standard deviations below zero at which the integral begins: what lies beyond has a chance below 1e-18."""

KEPT = 0.2
"""Share of the chance of error that is kept for looks beyond the plan. With four looks and an α of 1 % the critical
value of the last rises by 4 %, those of the others stay, and the first look beyond has 0.1 α to spend."""

_SMALLEST = 1e-12
"""Overall levels below this are reported as this."""


def spent(alpha: float, fraction: float, kept: float = 0.0) -> float:
    """Return the one-sided chance of error spent once a `fraction` of the planned evidence is seen.

    Up to 1 it is that of O'Brien & Fleming's type, but at most the share that is not `kept` (times √t, so that it
    rises at every look); beyond 1 what was kept.
    """
    from scipy import stats

    if fraction <= 0:
        return 0.0
    if fraction > 1:
        return alpha * (1 - kept / fraction)
    planned = float(2 * stats.norm.sf(stats.norm.isf(alpha / 2) / math.sqrt(fraction)))
    return min(planned, alpha * (1 - kept) * math.sqrt(fraction)) if kept else planned


@lru_cache(maxsize=4096)
def nominal_levels(
    alpha: float, fractions: tuple[float, ...], kept: float = 0.0, planned: tuple[float, ...] | None = None
) -> tuple[float, ...]:
    """Return the level for the p-value of each look, so that all of them together err with chance `alpha` at most.

    `fractions` are the shares of planned evidence seen at the looks, rising and above 0; beyond 1 only where a share
    of the chance is `kept` for that. A look that was taken early, or late, spends what was `planned` for it, if that
    is given: how alike looks are follows from what was seen, what they may spend from what was fixed beforehand.

    Raises: UsageError: the fractions do not rise, or leave their range.
    """
    import numpy as np
    from scipy import special

    spending = planned or fractions
    most = math.inf if kept > 0 else 1.0
    if not (_rising(fractions, most) and _rising(spending, most) and len(spending) == len(fractions)):
        raise UsageError(f"looks at {fractions}, planned at {spending}: fractions must rise within (0, {most:g}]")
    if not 0 < alpha < 1 or not 0 <= kept < 1:
        raise UsageError(f"alpha {alpha} must lie in (0, 1), and what is kept of it, {kept}, in [0, 1)")
    levels: list[float] = []
    scores, weights = np.zeros(1), np.ones(1)
    before = had = 0.0
    for fraction, share in zip(fractions, spending, strict=True):
        step = math.sqrt(fraction - before)
        bound = _bound(spent(alpha, share, kept) - spent(alpha, had, kept), scores, weights, step)
        levels.append(float(special.ndtr(-bound / math.sqrt(fraction))))
        scores, weights = _continued(scores, weights, step, bound, math.sqrt(fraction))
        before, had = fraction, share
    return tuple(levels)


def _rising(fractions: tuple[float, ...], most: float) -> bool:
    rising = all(earlier < later for earlier, later in zip((0.0, *fractions), fractions, strict=False))
    return bool(fractions) and rising and fractions[-1] <= most


def even_looks(looks: int) -> tuple[float, ...]:
    """Return the shares of evidence at `looks` evenly spaced looks, the last at 1."""
    return tuple((each + 1) / looks for each in range(looks))


class Taken(NamedTuple):
    """A look that was taken: its number, counted from 1, and the `share` of planned evidence that it saw.

    Looks beyond the planned ones are those at the ends of overtimes, each as much evidence again as was planned.
    """

    look: int
    share: float


Looks = tuple[Taken, ...]
"""All looks that were taken so far, the present one last."""


def planned(look: int, looks: int) -> Looks:
    """Return all looks up to number `look` as they are planned: `looks` evenly spaced ones, then overtimes."""
    return tuple(Taken(each, _planned_at(each, looks)) for each in range(1, look + 1))


def level_at(alpha: float, taken: Looks, looks: int) -> float:
    """Return the level of the last look taken, where `looks` are planned and `KEPT` is kept for overtimes."""
    shares = tuple(each.share for each in taken)
    return nominal_levels(alpha, shares, KEPT, tuple(_planned_at(each.look, looks) for each in taken))[-1]


def overall_p(p_values: Sequence[float] | Floats, taken: Looks, looks: int) -> Floats:
    """Return each p-value of the last look as the overall chance of error at which that look would just reject.

    It is adjusted for looking: comparing it with α is comparing the p-value with the look's level at α, so Holm's
    method over such p-values tests each case at the levels of its own share of α (group sequential Holm: Ye, Li,
    Liu & Yao 2013, Stat. Med. 32:1112). It is interpolated and never below 1e-12: with four looks at an error below
    0.2 % for chances up to 0.1, and of up to 7 % with twenty, or above.
    """
    import numpy as np

    log_levels, log_alphas = _levels_by_alpha(taken, looks)
    values = np.maximum(np.asarray(p_values, dtype=np.float64), 1e-300)
    found = np.exp(np.interp(np.log(values), log_levels, log_alphas, right=0.0))
    return np.maximum(values, found)


@lru_cache(maxsize=256)
def _levels_by_alpha(taken: Looks, looks: int) -> tuple[Floats, Floats]:
    import numpy as np

    alphas = np.concatenate([np.geomspace(_SMALLEST, 0.3, 90, endpoint=False), np.linspace(0.3, 0.99, 24)])
    levels = np.array([level_at(float(alpha), taken, looks) for alpha in alphas])
    # What is kept makes levels fall where α is large, which nobody asks for; the p-value stays the larger one there.
    return np.log(np.minimum.accumulate(levels[::-1])[::-1]), np.log(alphas)


def _planned_at(look: int, looks: int) -> float:
    return look / looks if look <= looks else float(look - looks + 1)


def _bound(chance: float, scores: Floats, weights: Floats, step: float) -> float:
    """Return the score that the next look exceeds with this chance, having got there without a crossing."""
    from scipy import optimize, special

    def excess(bound: float) -> float:
        return math.log(max(float(weights @ special.ndtr((scores - bound) / step)), 1e-320)) - math.log(chance)

    return float(optimize.brentq(excess, -_REACH, 4 * _REACH, xtol=1e-9))


def _continued(scores: Floats, weights: Floats, step: float, bound: float, spread: float) -> tuple[Floats, Floats]:
    """Return the nodes and weights of the density of scores that have not crossed up to and with this look."""
    import numpy as np

    nodes, shares = _legendre()
    low = -_REACH * spread
    half = (bound - low) / 2
    moved = low + half * (nodes + 1)
    density = np.exp(-(((moved[:, None] - scores) / step) ** 2) / 2) @ weights / (step * math.sqrt(2 * math.pi))
    return moved, half * shares * density


@lru_cache(maxsize=1)
def _legendre() -> tuple[Floats, Floats]:
    import numpy as np

    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return nodes, weights
