"""Timed samples of a meter that logs by itself: power (W) or a running sum of energy (J), by unix seconds.

A `Recording` admits samples one by one and keeps what is wrong where it happened; a `Series` is a frozen
part of it. `integration.energy_between` makes joules of a series.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from enum import StrEnum
from itertools import pairwise
from statistics import median

from harness.meters.seam import REFRESHES_AT_LEAST
from harness.records import Frozen

CEILING_W = 20_000.0
"""Above any one machine at the wall (2026: about 14 kW for a server of eight accelerators); catches mW taken for W."""
FLOOR_W = 0.1
"""Below any machine that runs this code; catches kW taken for W, a machine on its battery, a socket switched off."""

KEPT_BEFORE = 256
"""Samples before a window that are looked at to find the period."""


class Kind(StrEnum):
    """What the samples are."""

    POWER = "power"
    ENERGY = "energy"


class Fault(Frozen, frozen=True, kw_only=True):
    """Something wrong between the sample of index `after` and the next: no window may touch that interval."""

    after: int
    reason: str


class Series(Frozen, frozen=True, kw_only=True):
    """Samples with strictly rising times (unix seconds) and their values: watts, or joules of a running sum."""

    kind: Kind
    unix_s: tuple[float, ...]
    values: tuple[float, ...]
    faults: tuple[Fault, ...] = ()


class Recording:
    """A series that grows: samples are admitted one by one, faults are kept where they happened."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.refused: str | None = None
        self._unix_s = array("d")
        self._values = array("d")
        self._faults: list[Fault] = []
        self._changed_s: float | None = None

    def __len__(self) -> int:
        return len(self._unix_s)

    def add(self, unix_s: float, value: float, where: str) -> None:
        """Take the next sample; `where` (file and line, or series) begins every message about it."""
        last_s = self._unix_s[-1] if self._unix_s else -math.inf
        if self.refused is None and unix_s < last_s:
            self.refused = (
                f"{where}: the time goes back by {last_s - unix_s:.3f} s: the logger's clock was set, or two loggers "
                "write here; begin a new series"
            )
        if self.refused is not None:
            return
        if unix_s == last_s:
            self.fault(f"{where}: two samples bear the same time; log fractions of a second, or every sample once")
        elif (reason := self._implausible(unix_s, value)) is not None:
            self.fault(f"{where}: {reason}")
            if self.kind is Kind.ENERGY and 0 <= value < math.inf:  # the sum goes on from here; no window may span it
                self._append(unix_s, value)
        else:
            self._append(unix_s, value)

    def fault(self, reason: str) -> None:
        """Note that what lies between the last sample and the next cannot be known."""
        self._faults.append(Fault(after=len(self._unix_s) - 1, reason=reason))

    def newest_s(self) -> float | None:
        """Return the time of the newest sample in unix seconds, None where there is none."""
        return self._unix_s[-1] if self._unix_s else None

    def part(self, begin_unix_s: float) -> Series:
        """Return the samples from `KEPT_BEFORE` samples before `begin_unix_s` on."""
        first = max(0, bisect_right(self._unix_s, begin_unix_s) - KEPT_BEFORE)
        return Series(
            kind=self.kind,
            unix_s=tuple(self._unix_s[first:]),
            values=tuple(self._values[first:]),
            faults=tuple(
                Fault(after=fault.after - first, reason=fault.reason)
                for fault in self._faults
                if fault.after >= first or first == 0
            ),
        )

    def _append(self, unix_s: float, value: float) -> None:
        if self._values and value != self._values[-1]:
            self._changed_s = unix_s
        self._unix_s.append(unix_s)
        self._values.append(value)

    def _implausible(self, unix_s: float, value: float) -> str | None:
        if not math.isfinite(value):
            return f"{value} is no reading"
        if self.kind is Kind.POWER:
            return None if FLOOR_W <= value <= CEILING_W else implausible_power(value)
        if value < 0:
            return f"a sum of {value:g} J is negative"
        return self._implausible_rise(unix_s, value - self._values[-1]) if self._values else None

    def _implausible_rise(self, unix_s: float, rise_j: float) -> str | None:
        if rise_j < 0:
            return f"the energy fell by {-rise_j:.6g} J: the meter was reset"
        # A coarse counter leaps by its resolution, so a leap is judged over the time since the last one.
        since_s = math.inf if self._changed_s is None else unix_s - self._changed_s
        if rise_j > CEILING_W * since_s:
            return (
                f"the energy rose by {rise_j:.6g} J in {since_s:.3f} s, more than {CEILING_W:.0f} W; is the unit right?"
            )
        return None


def implausible_power(power_w: float) -> str:
    """Return in words why this is no power of a running machine."""
    return (
        f"{power_w:g} W is implausible for a whole machine that runs (between {FLOOR_W} W and {CEILING_W:.0f} W); "
        "is the unit right, and is the machine on this socket?"
    )


def sample_period_s(series: Series) -> float | None:
    """Return the median time between samples in seconds, None for fewer than two samples."""
    return median(later - earlier for earlier, later in pairwise(series.unix_s)) if len(series.unix_s) > 1 else None


def refresh_s(series: Series, stated_s: float | None = None) -> float | None:
    """Return how often the series says something new, in seconds; None where that cannot be told.

    The median time between changes of the value, at least the sample period: a meter logged faster than it
    refreshes repeats itself. With `stated_s` a repeated power is a reading like any other.
    """
    period_s = sample_period_s(series)
    if period_s is None:
        return None
    if stated_s is not None and series.kind is Kind.POWER:
        return max(period_s, stated_s)
    changed_s = [series.unix_s[index] for index in changes(series)]
    if len(changed_s) < REFRESHES_AT_LEAST:
        return None
    return max(period_s, median(later - earlier for earlier, later in pairwise(changed_s)))


def changes(series: Series) -> list[int]:
    """Return the indices of the samples whose value differs from the one before."""
    return [index + 1 for index, (before, after) in enumerate(pairwise(series.values)) if before != after]


def no_refresh(series: Series) -> str:
    """Return why `refresh_s` is None, in words."""
    n = len(series.unix_s)
    if n < REFRESHES_AT_LEAST:
        return f"only {n} samples, too few to tell how often the meter refreshes"
    hint = "log a finer counter, or power"
    if series.kind is Kind.POWER:
        hint = "state its period with `refresh=` if the load is truly constant"
    return (
        f"the value changed fewer than {REFRESHES_AT_LEAST} times in {series.unix_s[-1] - series.unix_s[0]:.4g} s: a "
        f"meter that stands still cannot be told from a steady load; {hint}"
    )
