"""An energy counter turned into a running sum that is right, or says that it is not.

The counter is advanced from reading to reading. A step is accepted only if it is possible: forward, or
backward by exactly one turn, with a mean power below the ceiling, and within the time in which no turn
can go unseen. Anything else (a reset, a spike, an unreadable file, too long a gap) becomes a fault, and
every window that contains a fault is Missing, never a number.

Two things no reader can tell: a reset on a running host from so near the end of the range that a wrap within
the time since the last reading would look the same (that share of the range is what the ceiling allows in that
time: 1 % for three seconds of 262 kJ, and never more than half, since the guard reads by then), and a false
reading that is itself possible. A suspended host, whose counters may begin anew, is told by its clocks. After a
reading that is not possible the next is not trusted either, so that a chain never begins in the midst of a
disturbance.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

SLACK_NS = 50_000_000
"""Time added to a step's duration before its power is judged: a counter publishes late."""

_FOREVER_NS = 2**63

Gap = tuple[str, str]
"""A domain that cannot be counted, and why."""

Reading = tuple[int, int, int | str]
"""Microjoules so far, faults so far, and the raw microjoules, or why there are none."""


class Channel(NamedTuple):
    """One counter of one domain, open.

    `turn_uj` is the range after which its value begins again, None where it does not. `span_uj` is the
    most it can rise between two readings and still be understood. `read` returns microjoules and raises
    OSError or ValueError; `fd` is what to close.
    """

    label: str
    domain: str
    turn_uj: int | None
    span_uj: int
    read: Callable[[], int]
    fd: int = -1


class WrappingCounter:
    """The running sum of one counter; not locked, the owner locks.

    `turn_uj` is `max_energy_range_uj`; the true turn is one unit of the register longer (at most 61 µJ),
    which is below any reading's resolution.
    """

    __slots__ = (
        "_ceiling_w",
        "_distrusted",
        "_last_uj",
        "_longest_ns",
        "_still_ns",
        "_turn_uj",
        "faults",
        "reason",
        "total_uj",
    )

    def __init__(self, turn_uj: int | None, ceiling_w: int, span_uj: int | None = None) -> None:
        span_uj = turn_uj if span_uj is None else span_uj
        self.total_uj = 0
        self.faults = 0
        self.reason = ""
        self._turn_uj = turn_uj or 0
        self._ceiling_w = ceiling_w
        # 1 W = 1 µJ/µs. What is published late belongs to the step as well.
        self._longest_ns = _FOREVER_NS if span_uj is None else span_uj * 1000 // ceiling_w - SLACK_NS
        self._last_uj: int | None = None
        self._still_ns = 0
        self._distrusted = False

    def advance(self, raw_uj: int, elapsed_ns: int) -> Reading:
        """Take the next reading, at most `elapsed_ns` after the last; return where the sum stands."""
        last_uj = self._last_uj
        self._last_uj = raw_uj
        if last_uj is None:
            # A window that began unread holds only a part of its joules, so the new chain is a fault too.
            self.faults += 1 if self.faults else 0
            if self._distrusted:
                self._distrusted = False
                self._last_uj = None
            return self.total_uj, self.faults, raw_uj
        if raw_uj == last_uj:
            # Turns that a stuck counter does not show are lost as surely as unread ones.
            self._still_ns += elapsed_ns
            return self.total_uj, self.faults, raw_uj
        elapsed_ns += self._still_ns
        self._still_ns = 0
        step_uj = raw_uj - last_uj
        if step_uj < 0 and last_uj <= self._turn_uj:
            step_uj += self._turn_uj
        if 0 <= step_uj * 1000 <= (elapsed_ns + SLACK_NS) * self._ceiling_w and elapsed_ns <= self._longest_ns:
            self.total_uj += step_uj
        else:
            self._refuse(last_uj, raw_uj, step_uj, elapsed_ns / 1e9)
        return self.total_uj, self.faults, raw_uj

    def unreadable(self, why: str) -> Reading:
        """Take note that a reading failed; the one after the next starts a new chain."""
        self._begin_anew()
        self.fault(f"could not be read: {why}")
        return self.total_uj, self.faults, why

    def suspended(self, slept_s: float) -> None:
        """Take note that the host slept before the reading that comes next; a new chain starts with that."""
        self._last_uj = None
        self._still_ns = 0
        self.fault(f"was suspended with the host for {slept_s:.1f} s, in which it may have begun anew")

    def fault(self, reason: str) -> None:
        """Refuse every window that is open now."""
        self.faults += 1
        self.reason = reason

    def _begin_anew(self) -> None:
        self._last_uj = None
        self._still_ns = 0
        self._distrusted = True

    def _refuse(self, last_uj: int, raw_uj: int, step_uj: int, elapsed_s: float) -> None:
        if elapsed_s * 1e9 > self._longest_ns:
            self.fault(f"stood still or was not read for {elapsed_s:.1f} s, in which it can turn over more than once")
            return
        what, tail = "went backwards by other than a wrap", "it was reset"
        if raw_uj >= last_uj:
            what = "rose implausibly"
            tail = f"{step_uj / 1e6 / max(elapsed_s, 1e-9):.0f} W against a ceiling of {self._ceiling_w} W"
        self.fault(f"{what} ({last_uj} µJ to {raw_uj} µJ in {elapsed_s:.3f} s): {tail}")
        # Which of the two readings was false is not known, so no window may begin at this one.
        self._begin_anew()


def close(channels: Iterable[Channel]) -> None:
    """Close the descriptors."""
    for channel in channels:
        if channel.fd >= 0:
            os.close(channel.fd)


def rise_alike(first: Callable[[], int], second: Callable[[], int], *, at_most_s: float = 0.05) -> bool | None:
    """Return whether two counters are one and the same, by watching eight of its refreshes.

    A pair of values counts only if the first did not change around the reading of the second. One
    counter read twice keeps one distance from pair to pair; two counters change theirs at every refresh.
    None means that too little was seen to tell.
    """
    distances: dict[int, int] = {}
    stop_s = time.perf_counter() + at_most_s
    while len(distances) < 8 and time.perf_counter() < stop_s:
        value_uj = first()
        distance_uj = second() - value_uj
        if first() == value_uj:
            distances[value_uj] = distance_uj
    if len(distances) < 8:
        return None
    seen = list(distances.values())
    most = max(seen.count(distance_uj) for distance_uj in seen)
    return most > 4 if most > 4 or most <= 2 else None
