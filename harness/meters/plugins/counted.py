"""A meter over running counters that only ever count up: what most plug-ins need, checks included.

The plug-in gives a `feed` that reads all counters at once and says with a `Channel` what each one
counts; this file turns two readings into joules with their bounds, or into the reason why there are
none. A counter that failed, fell, stood still or leapt is Missing, and so is a window too short for it.
Readings are plain integers, so such a meter can be traced and replayed (`seam.TracedMeter`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from harness.meters.seam import REFRESHES_FOR_1_PERCENT, edge_bounds_j, too_short, watch_refresh
from harness.records import Doubt, Energy, Frozen, MeterInfo, Missing, Provenance

Reading = tuple[int | str | None, ...]
"""One reading a channel: the count, or why there is none."""

UNKNOWN_REFRESH_S = 3.0
"""How late a counter may be whose refresh period was not seen; only the ceiling of plausibility uses it."""


class Channel(Frozen, frozen=True, kw_only=True):
    """One counter. `label` names it in messages; `j_per_count` is the joules of one count.

    More than `ceiling_w` watts is taken for a fault. `refresh_s` is how often the counter changes (None:
    not seen). `rests` marks a part that is switched off when unused: if it stands still while another
    channel of the same reading moves, it drew less than one count, and that is reported instead of refused.
    """

    domain: str
    label: str
    boundary: str
    j_per_count: float
    ceiling_w: float
    billed: bool = True
    refresh_s: float | None = None
    rests: bool = False


class CountedMeter:
    """Counters behind the seam of the meters (`seam.TracedMeter`). `feed` must be safe to call from threads."""

    doubts: tuple[Doubt, ...] = ()

    def __init__(
        self,
        name: str,
        channels: Sequence[Channel],
        feed: Callable[[], Reading],
        *,
        provenance: Provenance = Provenance.COUNTER,
        notes: Sequence[str] = (),
        coefficients: str | None = None,
        close: Callable[[], object] | None = None,
    ) -> None:
        self.name = name
        self.channels = tuple(channel.domain for channel in channels)
        self.billed = frozenset(channel.domain for channel in channels if channel.billed)
        self._channels = tuple(channels)
        self._feed = feed
        self._provenance = provenance
        self._notes = tuple(notes)
        self._coefficients = coefficients
        self._close = close

    def read(self) -> Reading:
        """Return all counts now, each the reason instead where it could not be read."""
        return self._feed()

    def energies(
        self, begin: Reading, end: Reading, *, duration_s: float, cpu_s: float
    ) -> tuple[tuple[Energy, ...], tuple[Missing, ...]]:
        """Return the joules of each channel between two readings, or why there are none."""
        del cpu_s
        energies: list[Energy] = []
        missing: list[Missing] = []
        awake = any(_rose(before, after) for before, after in zip(begin, end, strict=True))
        for channel, before, after in zip(self._channels, begin, end, strict=True):
            result = self._counted(channel, before, after, duration_s, awake=awake)
            if isinstance(result, str):
                missing.append(_gap(channel, result))
            else:
                energies.append(result)
        return tuple(energies), tuple(missing)

    def info(self) -> MeterInfo:
        """Return what is covered, with the slowest refresh period; None where one was not seen."""
        periods = [channel.refresh_s for channel in self._channels]
        known = [period for period in periods if period is not None]
        refresh_s = max(known, default=None) if len(known) == len(periods) else None
        return MeterInfo(
            name=self.name,
            domains=self.channels,
            provenance=self._provenance,
            boundary="; ".join(dict.fromkeys(channel.boundary for channel in self._channels)),
            refresh_s=refresh_s,
            window_for_1_percent_s=None if refresh_s is None else REFRESHES_FOR_1_PERCENT * refresh_s,
            coefficients=self._coefficients,
            notes=(*(f"{channel.domain}: {channel.label}" for channel in self._channels), *self._notes),
        )

    def close(self) -> None:
        """Release what the plug-in holds, once."""
        close, self._close = self._close, None
        if close is not None:
            close()

    def raw(self, mark: Reading) -> Reading:
        """Return the counts behind a mark, one a channel (`seam.TracedMeter`)."""
        return mark

    def describe(self) -> dict[str, Any]:
        """Return what `replayed` needs, in values that JSON can hold."""
        return {
            "name": self.name,
            "channels": msgspec.to_builtins(self._channels),
            "provenance": self._provenance.value,
            "notes": list(self._notes),
            "coefficients": self._coefficients,
        }

    def _counted(
        self, channel: Channel, before: int | str | None, after: int | str | None, duration_s: float, *, awake: bool
    ) -> Energy | str:
        for reading in (before, after):
            if not isinstance(reading, int):
                return reading or "was not read"
        energy_j = (int(after or 0) - int(before or 0)) * channel.j_per_count
        resting = energy_j == 0 and channel.rests and awake
        reason = too_short(duration_s, channel.refresh_s) or _refusal(channel, energy_j, duration_s, resting=resting)
        if reason is not None:
            return reason
        low_j, high_j = edge_bounds_j(energy_j, duration_s, channel.refresh_s)
        return Energy(
            domain=channel.domain,
            energy_j=energy_j,
            low_j=0.0 if resting else low_j,
            high_j=channel.j_per_count if resting else high_j,
            provenance=self._provenance,
            boundary=channel.boundary,
            meter=self.name,
            billed=channel.billed,
        )


def replayed(
    description: dict[str, Any], feed: Callable[[], Reading], clock_ns: Callable[[], int] | None = None
) -> CountedMeter:
    """Return the described meter over recorded readings; its arithmetic needs no clock of its own."""
    del clock_ns
    return CountedMeter(
        description["name"],
        msgspec.convert(description["channels"], tuple[Channel, ...]),
        feed,
        provenance=Provenance(description["provenance"]),
        notes=description["notes"],
        coefficients=description["coefficients"],
    )


def watched(
    channels: Sequence[Channel],
    reads: Sequence[Callable[[], int | str | None]],
    *,
    at_most_s: float,
    changes: int = 6,
    pause_s: float = 1e-3,
) -> tuple[tuple[Channel, ...], tuple[Missing, ...]]:
    """Watch the counters for up to `at_most_s` seconds and return the channels that are alive.

    `reads` gives each channel's count now. Each channel gets the refresh period that was seen (None if it
    changed only once). A counter that cannot be read, falls or stands still while watched is Missing; one
    that `rests` may stand still, and then takes the slowest period of the others.
    """
    faults = [""] * len(channels)
    start_s = time.perf_counter()
    peeks = [_peek(read, faults, index) for index, read in enumerate(reads)]
    periods = watch_refresh(peeks, at_most_s=at_most_s, changes=changes, pause_s=pause_s)
    watched_s = time.perf_counter() - start_s
    finite = [period for period in periods if period is not None and math.isfinite(period)]
    kept: list[Channel] = []
    missing: list[Missing] = []
    for channel, period, fault in zip(channels, periods, faults, strict=True):
        reason = fault
        if not fault and period is None and not channel.rests:
            reason = f"the energy counter stood still for {watched_s:.2g} s, so it says nothing"
        if reason:
            missing.append(_gap(channel, reason))
            continue
        refresh_s = period if period is not None and math.isfinite(period) else None
        if refresh_s is None and channel.rests:
            refresh_s = max(finite, default=None)
        kept.append(msgspec.structs.replace(channel, refresh_s=refresh_s))
    return tuple(kept), tuple(missing)


def _peek(read: Callable[[], int | str | None], faults: list[str], index: int) -> Callable[[], int | None]:
    """Return a reader that gives None for what is no count, and keeps the first fault it saw in `faults[index]`."""
    last: int | None = None

    def peek() -> int | None:
        nonlocal last
        reading = read()
        if not isinstance(reading, int):
            faults[index] = faults[index] or reading or "was not read"
            return None
        if last is not None and reading < last:
            fault = f"the energy counter went backwards while it was watched, from {last} to {reading}"
            faults[index] = faults[index] or fault
        last = reading
        return reading

    return peek


def not_imported(error: ImportError, module: str, *, extra: str) -> str:
    """Return why the third party behind a plug-in of ours cannot be imported, and what to do."""
    package = module.replace("_", "-")
    if isinstance(error, ModuleNotFoundError) and error.name == module:
        return f"the package {package} is not installed: `pip install 'joulebench[{extra}]'`"
    return f"the package {package} is installed but does not load: {error}; install it again"


def _refusal(channel: Channel, energy_j: float, duration_s: float, *, resting: bool) -> str | None:
    """Return why a difference of two counts is no energy, or None if it is one."""
    if energy_j < 0:
        return f"the energy counter went backwards by {-energy_j:.3f} J (a reset, or a turn that nobody counted)"
    if energy_j == 0 and not resting:
        return f"the energy counter did not change in {duration_s:.4g} s, so it says nothing"
    late_s = UNKNOWN_REFRESH_S if channel.refresh_s is None else channel.refresh_s
    if energy_j > channel.ceiling_w * (duration_s + 2 * late_s):
        return (
            f"the energy counter rose implausibly: {energy_j:.6g} J in {duration_s:.4g} s, "
            f"against a ceiling of {channel.ceiling_w:.0f} W"
        )
    return None


def _gap(channel: Channel, reason: str) -> Missing:
    return Missing(domain=channel.domain, reason=f"{channel.label}: {reason}", billed=channel.billed)


def _rose(before: int | str | None, after: int | str | None) -> bool:
    return isinstance(before, int) and isinstance(after, int) and after > before
