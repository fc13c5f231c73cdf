"""A wrapping hardware counter turned into a sum that is right or says that it is not.

The counter is advanced from reading to reading. A step is accepted only if it is possible: forward,
or backward by exactly one turn, with a mean power below the ceiling, and within the time in which at
most one turn can happen. Anything else (a reset, a spike, an unreadable file, a gap too long to
count turns) becomes a fault, and every window that contains a fault is Missing, never a number.
"""

from __future__ import annotations

SLACK_S = 0.1
"""Time added to a step's duration before its power is judged: a counter publishes late, and the
thread may be set aside between the clock and the counter."""


class WrappingCounter:
    """The running sum of one counter; not locked, the owner locks.

    Units are microjoules, as powercap gives them. `turn_uj` is `max_energy_range_uj`; the true turn
    is one unit of the register longer (at most 61 µJ), which is below any reading's resolution.
    """

    def __init__(self, turn_uj: int, ceiling_w: float) -> None:
        self.total_uj = 0
        self.faults = 0
        self.reason = ""
        self._turn_uj = turn_uj
        self._ceiling_w = ceiling_w
        self._last_uj: int | None = None
        self._last_ns = 0

    def advance(self, raw_uj: int, now_ns: int) -> None:
        """Take the next reading, at `now_ns` of a monotonic clock."""
        last_uj, self._last_uj = self._last_uj, raw_uj
        elapsed_s, self._last_ns = (now_ns - self._last_ns) / 1e9, now_ns
        if last_uj is None:
            # A window that began unread holds only a part of its joules, so the new chain is a fault too.
            self.faults += 1 if self.faults else 0
            return
        if elapsed_s * self._ceiling_w * 1e6 > self._turn_uj:
            self._fault(f"was not read for {elapsed_s:.0f} s, in which it can turn over more than once")
            return
        step_uj = raw_uj - last_uj
        wrapped = step_uj < 0
        if wrapped:
            step_uj += self._turn_uj
        if not 0 <= step_uj <= (elapsed_s + SLACK_S) * self._ceiling_w * 1e6:
            what = "went backwards by other than a wrap" if wrapped else "rose implausibly"
            power_w = step_uj / 1e6 / max(elapsed_s, 1e-9)
            tail = "it was reset" if wrapped else f"{power_w:.0f} W against a ceiling of {self._ceiling_w:.0f} W"
            self._fault(f"{what} ({last_uj} µJ to {raw_uj} µJ in {elapsed_s:.3f} s): {tail}")
            return
        self.total_uj += step_uj

    def unreadable(self, why: str) -> None:
        """Take note that a reading failed; the next one starts a new chain."""
        self._last_uj = None
        self._fault(f"could not be read: {why}")

    def _fault(self, reason: str) -> None:
        self.faults += 1
        self.reason = reason
