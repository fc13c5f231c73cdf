"""From a series of samples to the joules between two times of day, or the reason why there are none.

Between two neighbouring samples the truth is taken to lie between their values; a sample stamped t may
tell of any moment since the sample before it (a mean over the period, a late publication); the two clocks
may differ by `clock_s`. The bounds are the extremes over all three, widened by the stated `accuracy`:

    low  = ∫ min(neighbours) over [begin + period + clock, end − clock] / (1 + accuracy)
    high = ∫ max(neighbours) over [begin − clock, end + period + clock] / (1 − accuracy)

(for a running sum: the last count surely before an edge, and the first surely after it with the counter's
resolution on top, since a count is what it was rounded down to). The value itself
is the trapezoid over the samples, interpolated at the exact edges. What samples cannot show, a burst that
begins and ends between two of them, is in no bound: they must be denser than the load changes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import pairwise
from typing import NamedTuple

from harness.meters.seam import REFRESHES_AT_LEAST, too_short
from harness.meters.series import (
    CEILING_W,
    FLOOR_W,
    Kind,
    Series,
    changes,
    implausible_power,
    no_refresh,
    refresh_s,
    sample_period_s,
)
from harness.records import Frozen, Missing

DOMAIN = "wall"

GAP_PERIODS = 3
"""A pause longer than this many sample periods is a gap: nobody knows what was drawn in it."""
STILL_REFRESHES = 10
"""A value unchanged for this many of its usual refreshes is a frozen feed or a constant load; nobody knows which."""


class Trust(Frozen, frozen=True, kw_only=True):
    """What is known of the meter beyond its samples.

    `clock_s` is how far its clock may be from ours (seconds, either way), `accuracy` its stated relative
    error (0.01 is 1 %), `refresh_s` its own stated refresh period; without it a repeated value counts as
    no new sample.
    """

    clock_s: float = 0.0
    accuracy: float = 0.0
    refresh_s: float | None = None


class Joules(Frozen, frozen=True, kw_only=True):
    """Energy between two times with its bounds, and the refresh period (s) they rest on."""

    energy_j: float
    low_j: float
    high_j: float
    refresh_s: float


class _Edges(NamedTuple):
    """One window on one series; `news_s` are the times at which the series says something new."""

    begin_s: float
    end_s: float
    clock_s: float
    tau_s: float
    lag_s: float
    first: int
    news_s: tuple[float, ...]

    @property
    def needed_s(self) -> float:
        return self.end_s + self.lag_s + self.clock_s


def energy_between(series: Series, begin_unix_s: float, end_unix_s: float, trust: Trust) -> Joules | Missing:
    """Return the joules between two times of day with their bounds, or why they cannot be known.

    Missing: the samples do not reach past both edges, are fewer than three refreshes, pause, stand still,
    hold a fault where they are needed, or give a power that no machine draws.
    """
    edges = _edges(series, begin_unix_s, end_unix_s, trust)
    if isinstance(edges, str):
        return _missing(edges)
    reason = _broken(series, edges) or _uncovered(series, edges) or _too_few(series, edges, trust)
    if reason is not None:
        return _missing(reason)
    between = _power_j if series.kind is Kind.POWER else _energy_j
    energy_j, low_j, high_j = between(series, edges)
    power_w = energy_j / (end_unix_s - begin_unix_s)
    if not FLOOR_W <= power_w <= CEILING_W:
        return _missing(implausible_power(power_w))
    return Joules(
        energy_j=energy_j,
        low_j=min(energy_j, max(0.0, low_j)) / (1 + trust.accuracy),
        high_j=max(energy_j, high_j) / (1 - trust.accuracy),
        refresh_s=edges.tau_s,
    )


def awaited_s(series: Series, begin_unix_s: float, end_unix_s: float, trust: Trust) -> float:
    """Return how many seconds the series lacks at the end of a window; 0 where waiting would not help."""
    edges = _edges(series, begin_unix_s, end_unix_s, trust)
    if isinstance(edges, str) or _broken(series, edges) is not None:
        return 0.0
    return max(0.0, edges.needed_s - edges.news_s[-1])


def _missing(reason: str) -> Missing:
    return Missing(domain=DOMAIN, reason=reason)


def _longest_s(unix_s: tuple[float, ...]) -> float:
    return max((later - earlier for earlier, later in pairwise(unix_s)), default=0.0)


def _edges(series: Series, begin_s: float, end_s: float, trust: Trust) -> _Edges | str:
    """Return what the samples so far say about a window, or why they cannot serve it whatever comes next."""
    tau_s = refresh_s(series, trust.refresh_s)
    if tau_s is None:
        return no_refresh(series)
    if (short := too_short(end_s - begin_s, tau_s)) is not None:
        return short
    times = series.unix_s
    news_s = times if series.kind is Kind.POWER else tuple(times[index] for index in changes(series))
    before = bisect_right(news_s, begin_s - trust.clock_s) - 1
    if before < 0:
        early_s = news_s[0] - begin_s + trust.clock_s
        return f"the series begins {early_s:.3f} s too late: it has no {_what(series)} before the window"
    first = bisect_left(times, news_s[before])
    lag_s = _longest_s(times[first : bisect_left(times, end_s + trust.clock_s) + 1])
    if series.kind is Kind.POWER:
        lag_s = max(lag_s, tau_s)
    return _Edges(begin_s, end_s, trust.clock_s, tau_s, lag_s, first, news_s)


def _what(series: Series) -> str:
    return "sample" if series.kind is Kind.POWER else "change of the counter"


def _uncovered(series: Series, edges: _Edges) -> str | None:
    late_s = edges.needed_s - edges.news_s[-1]
    if late_s <= 0:
        return None
    after_s = edges.needed_s - edges.end_s
    return (
        f"the series ends {late_s:.3f} s too early: a {_what(series)} is needed {after_s:.3f} s or more after the end "
        "of the window; let the logger run on, or wait longer with `wait=`"
    )


def _broken(series: Series, edges: _Edges) -> str | None:
    """Return a fault or a gap among the samples that the bounds need, as far as they have come, or None."""
    needed = min(bisect_left(edges.news_s, edges.needed_s), len(edges.news_s) - 1)
    last = bisect_left(series.unix_s, edges.news_s[needed])
    for fault in series.faults:
        if edges.first <= fault.after < last:
            return fault.reason
    period_s = sample_period_s(series) or edges.tau_s
    longest_s = _longest_s(series.unix_s[edges.first : last + 1])
    if longest_s > GAP_PERIODS * period_s:
        return f"no sample came for {longest_s:.3f} s, more than {GAP_PERIODS} sample periods of {period_s:.3g} s"
    return None


def _too_few(series: Series, edges: _Edges, trust: Trust) -> str | None:
    """Return why the samples inside the window do not carry it, or None."""
    told = trust.refresh_s is not None and series.kind is Kind.POWER
    news = list(series.unix_s) if told else [series.unix_s[index] for index in changes(series)]
    inside = news[bisect_left(news, edges.begin_s) : bisect_right(news, edges.end_s)]
    if len(inside) < REFRESHES_AT_LEAST:
        what = "samples" if told else "new values"
        return f"only {len(inside)} {what} in {edges.end_s - edges.begin_s:.4g} s; put more tasks into one window"
    if told or series.kind is Kind.ENERGY:
        return None
    still_s = _longest_s((edges.begin_s, *inside, edges.end_s))
    if still_s > STILL_REFRESHES * edges.tau_s:
        return (
            f"the power did not change for {still_s:.3f} s, usually every {edges.tau_s:.3g} s: a frozen feed cannot be "
            "told from a constant load; state the meter's period with `refresh=` if it is one"
        )
    return None


def _power_j(series: Series, edges: _Edges) -> tuple[float, float, float]:
    """Return the trapezoid, and the integrals over the lower and the upper neighbour, shrunk and widened."""
    energy_j = low_j = high_j = 0.0
    low_from_s, low_to_s = edges.begin_s + edges.lag_s + edges.clock_s, edges.end_s - edges.clock_s
    high_from_s, high_to_s = edges.begin_s - edges.clock_s, edges.needed_s
    for index in range(edges.first, bisect_left(series.unix_s, high_to_s)):
        t0_s, t1_s = series.unix_s[index], series.unix_s[index + 1]
        p0_w, p1_w = series.values[index], series.values[index + 1]
        from_s, to_s = max(t0_s, edges.begin_s), min(t1_s, edges.end_s)
        if to_s > from_s:
            middle = ((from_s + to_s) / 2 - t0_s) / (t1_s - t0_s)
            energy_j += (p0_w + (p1_w - p0_w) * middle) * (to_s - from_s)
        low_j += min(p0_w, p1_w) * max(0.0, min(t1_s, low_to_s) - max(t0_s, low_from_s))
        high_j += max(p0_w, p1_w) * max(0.0, min(t1_s, high_to_s) - max(t0_s, high_from_s))
    return energy_j, low_j, high_j


def _energy_j(series: Series, edges: _Edges) -> tuple[float, float, float]:
    """Return the difference of the running sum, interpolated between its changes, and its extremes."""
    times = edges.news_s
    sums_j = [series.values[index] for index in changes(series)]

    def interpolated_j(at_s: float) -> float:
        after = max(1, bisect_left(times, at_s))
        share = (at_s - times[after - 1]) / (times[after] - times[after - 1])
        return sums_j[after - 1] + share * (sums_j[after] - sums_j[after - 1])

    def least_j(at_s: float) -> float:
        return sums_j[bisect_right(times, at_s - edges.clock_s) - 1]

    finest_j = _resolution_j(sums_j)

    def most_j(at_s: float) -> float:
        return sums_j[bisect_left(times, at_s + edges.lag_s + edges.clock_s)] + finest_j

    energy_j = interpolated_j(edges.end_s) - interpolated_j(edges.begin_s)
    return energy_j, least_j(edges.end_s) - most_j(edges.begin_s), most_j(edges.end_s) - least_j(edges.begin_s)


def _resolution_j(sums_j: list[float]) -> float:
    """Return what the resolution of a counter is at most, from its distinct values in their order.

    Values are multiples of it, so every rise is one, and every difference of two rises. What is smaller than a
    float can tell of a sum is no difference.
    """
    rounding_j = 1e-12 * sums_j[-1]
    rises_j = sorted(later - earlier for earlier, later in pairwise(sums_j) if later > earlier)
    apart_j = (more - less for less, more in pairwise(rises_j))
    return min((each for each in (*rises_j[:1], *apart_j) if each > rounding_j), default=0.0)
