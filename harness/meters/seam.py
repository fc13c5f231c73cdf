"""What the window needs of a meter beyond `contract.Meter`, and what the meters share.

A meter says which of its domains a total may count (`billed`), so that a joule seen twice (package
counter and process model) is counted once; and which doubts it casts on every window it bills.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import median
from typing import Protocol

from harness.contract import Meter
from harness.records import Doubt, Frozen, MeterInfo, Missing

REFRESHES_FOR_1_PERCENT = 41
"""Window length in refresh periods for 1 % standard uncertainty.

Both end reads lag the truth by up to one period τ, uniformly, so u = P·τ/√6 ≈ 0.41·P·τ, and
u/(P·T) ≤ 1 % needs T ≥ 41·τ.
"""


class BilledMeter(Meter, Protocol):
    """A meter that knows which of its domains are billed."""

    billed: frozenset[str]
    doubts: tuple[Doubt, ...]


class Survey(Frozen, frozen=True, kw_only=True):
    """What can be measured on this host, each meter self-tested, and what cannot, with reasons."""

    meters: tuple[MeterInfo, ...]
    missing: tuple[Missing, ...]


def watch_refresh(
    reads: Sequence[Callable[[], int | None]], *, at_most_s: float, changes: int, pause_s: float
) -> list[float | None]:
    """Return each counter's refresh period in seconds by watching it change.

    Stops once every counter has changed `changes` times, at the latest after `at_most_s`. None means
    that the counter stood still, infinity that it changed once, which shows life but no period.
    """
    last = [read() for read in reads]
    seen: list[list[float]] = [[] for _ in reads]
    stop_s = time.perf_counter() + at_most_s
    while (now_s := time.perf_counter()) < stop_s and any(len(times) < changes for times in seen):
        for index, read in enumerate(reads):
            value = read()
            if value is not None and value != last[index]:
                last[index] = value
                seen[index].append(now_s)
        if pause_s:
            time.sleep(pause_s)
    return [_period_s(times) for times in seen]


def _period_s(times: list[float]) -> float | None:
    if not times:
        return None
    if len(times) == 1:
        return float("inf")
    return median(later - earlier for earlier, later in pairwise(times))
