"""What the window needs of a meter beyond `contract.Meter`, and what the meters share.

A meter says which of its domains a total may count (`billed`), so that a joule seen twice (package
counter and process model) is counted once; and which doubts it casts on every window it bills.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import median
from typing import Any, Protocol

from harness.contract import Meter
from harness.records import Doubt, Frozen, MeterInfo, Missing

REFRESHES_FOR_1_PERCENT = 41
"""Window length in refresh periods for 1 % standard uncertainty.

Both end reads lag the truth by up to one period τ, uniformly, so u = P·τ/√6 ≈ 0.41·P·τ, and
u/(P·T) ≤ 1 % needs T ≥ 41·τ.
"""


REFRESHES_AT_LEAST = 3
"""A window shorter than this many refresh periods holds no energy that means anything: it is refused."""


class BilledMeter(Meter, Protocol):
    """A meter that knows which of its domains are billed."""

    billed: frozenset[str]
    doubts: tuple[Doubt, ...]


class TracedMeter(BilledMeter, Protocol):
    """A meter whose raw readings can be kept in a trace and replayed through the same code.

    The module of such a meter also offers `replayed(description, feed, clock_ns)`, which returns the
    meter with its hardware replaced: `feed()` gives the raw readings of the next sample and `clock_ns()`
    its time.
    """

    channels: tuple[str, ...]

    def raw(self, mark: Any) -> tuple[int | str | None, ...]:
        """Return the raw readings behind a mark, one a channel; a string says why there is none."""

    def describe(self) -> dict[str, Any]:
        """Return what `replayed` needs, in values that JSON can hold."""


def edge_bounds_j(energy_j: float, duration_s: float, refresh_s: float | None) -> tuple[float | None, float | None]:
    """Return the lowest and highest joules that two reads, each late by up to one refresh, allow.

    Both reads lag the truth by between 0 and τ, so the difference is out by at most P·τ either way, with
    P the mean power of the window. Both are None where the refresh period is not known.
    """
    if refresh_s is None or duration_s <= 0:
        return None, None
    edge_j = energy_j / duration_s * refresh_s
    return max(0.0, energy_j - edge_j), energy_j + edge_j


def too_short(duration_s: float, refresh_s: float | None) -> str | None:
    """Return why a window of this length says nothing about a counter of this refresh period, or None."""
    if refresh_s is None or duration_s >= REFRESHES_AT_LEAST * refresh_s:
        return None
    return (
        f"the window lasted {duration_s:.4g} s, less than {REFRESHES_AT_LEAST} refreshes of {refresh_s:.3g} s; "
        "put more tasks into one window"
    )


class Survey(Frozen, frozen=True, kw_only=True):
    """What can be measured on this host, each meter self-tested, and what cannot, with reasons.

    `billed` names the meters whose joules a total counts.
    """

    meters: tuple[MeterInfo, ...]
    missing: tuple[Missing, ...]
    billed: tuple[str, ...]


def watch_refresh(
    reads: Sequence[Callable[[], int | None]],
    *,
    at_most_s: float,
    changes: int,
    pause_s: float,
    clock_s: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> list[float | None]:
    """Return each counter's refresh period in seconds by watching it change.

    Stops once every counter has changed `changes` times, at the latest after `at_most_s` by `clock_s`.
    None means that the counter stood still, infinity that it changed once, which shows life but no period.
    """
    last = [read() for read in reads]
    seen: list[list[float]] = [[] for _ in reads]
    stop_s = clock_s() + at_most_s
    while (now_s := clock_s()) < stop_s and any(len(times) < changes for times in seen):
        for index, read in enumerate(reads):
            value = read()
            if value is not None and value != last[index]:
                last[index] = value
                seen[index].append(now_s)
        if pause_s:
            sleep(pause_s)
    return [_period_s(times) for times in seen]


def _period_s(times: list[float]) -> float | None:
    if not times:
        return None
    if len(times) == 1:
        return float("inf")
    return median(later - earlier for earlier, later in pairwise(times))
