"""RAPL counters of CPU packages and DRAM, read as `harness.counters.rapl` reads them.

Domains: `cpu-package` (sum over sockets) and `dram` are billed. Cores and uncore lie inside the
package, psys contains it: they are kept for the record and not billed. DRAM is not inside the
package. Where psys is all there is, it is billed. Every domain counts every process on its sockets,
not this one alone.
"""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from harness.counters.rapl import BILLED, Mark, RaplSource, billed, boot_ns, open_channels, opened
from harness.counters.wrapping import Channel, close
from harness.meters.seam import REFRESHES_FOR_1_PERCENT, edge_bounds_j, too_short, watch_refresh
from harness.records import Doubt, Energy, MeterInfo, Missing, Provenance
from harness.units import j_from_uj

WATCH_S = 0.1
"""How long counters are watched for their refresh period at most."""

_BOUNDARY = {
    "cpu-package": "CPU packages: cores, caches, memory controllers; every process on them; no DRAM",
    "dram": "DRAM of the sockets; every process; not inside the package",
    "cpu-core": "cores (on AMD through powercap: one core only); inside the package",
    "cpu-uncore": "uncore or integrated GPU; inside the package",
    "psys": "platform; contains the package",
}


class RaplMeter:
    """The RAPL counters of one host as joules. Open with `open_rapl`, or around an open source.

    `refresh_s` is how often the billed counters change, in seconds; None where it is not known, and then
    energies carry no bounds and no window is too short.
    """

    name = "rapl"
    doubts: tuple[Doubt, ...] = ()

    def __init__(self, source: RaplSource, refresh_s: float | None = None) -> None:
        self.refresh_s = refresh_s
        self.channels = tuple(channel.label for channel in source.channels)
        self.billed = billed(channel.domain for channel in source.channels)
        self._source = source
        self._domains = tuple(channel.domain for channel in source.channels)

    def read(self) -> Mark:
        """Read every counter; return the running sums."""
        return self._source.read()

    def energies(
        self, begin: Mark, end: Mark, *, duration_s: float, cpu_s: float
    ) -> tuple[tuple[Energy, ...], tuple[Missing, ...]]:
        """Return joules by domain, summed over sockets; what is wrong with one socket makes the domain Missing.

        A domain is Missing after a fault, where a counter stood still, and in a window under three refreshes.
        The bounds of a sum are `edge_bounds_j` of the sum: all its counters may be late in the same direction.
        """
        del cpu_s
        sums_uj: dict[str, int] = {}
        lost: dict[str, str] = {}
        for index, domain in enumerate(self._domains):
            reason = self._doubtful(index, begin, end, duration_s)
            if reason is not None:
                lost.setdefault(domain, reason)
            sums_uj[domain] = sums_uj.get(domain, 0) + end[index][0] - begin[index][0]
        energies = tuple(
            self._energy(domain, j_from_uj(energy_uj), duration_s)
            for domain, energy_uj in sums_uj.items()
            if domain not in lost
        )
        missing = tuple(
            Missing(domain=domain, reason=reason, billed=domain in self.billed) for domain, reason in lost.items()
        )
        return energies, missing

    def info(self) -> MeterInfo:
        """Return the domains, their counters, how they are read, and the refresh period found at opening."""
        domains = tuple(dict.fromkeys(self._domains))
        kept = sorted(set(domains) - self.billed)
        notes = ["zones: " + ", ".join(self.channels), *self._source.notes]
        if self.billed == {"psys"}:
            notes.append("psys is billed, for no package is counted: it holds the whole platform")
        if kept:
            notes.append(
                f"not billed: {', '.join(kept)} (same joules as {'psys' if 'psys' in self.billed else 'the package'})"
            )
        if self.refresh_s is None:
            notes.append("the refresh period is not known, so energies carry no bounds")
        return MeterInfo(
            name=self.name,
            domains=domains,
            provenance=Provenance.COUNTER,
            boundary="; ".join(_BOUNDARY[domain] for domain in sorted(self.billed)),
            refresh_s=self.refresh_s,
            window_for_1_percent_s=None if self.refresh_s is None else REFRESHES_FOR_1_PERCENT * self.refresh_s,
            notes=tuple(notes),
        )

    def raw(self, mark: Mark) -> tuple[int | str, ...]:
        """Return the raw microjoules behind a mark, one a channel; a string says why there are none."""
        return tuple(reading for _, _, reading in mark)

    def describe(self) -> dict[str, Any]:
        """Return what `replayed` needs, in values that JSON can hold."""
        return {
            "channels": [
                {"label": one.label, "domain": one.domain, "turn_uj": one.turn_uj, "span_uj": one.span_uj}
                for one in self._source.channels
            ],
            "refresh_s": self.refresh_s,
            "notes": list(self._source.notes),
        }

    def reads(self) -> tuple[tuple[str, Callable[[], int]], ...]:
        """Return each channel's label, and what reads its microjoules."""
        return tuple((channel.label, channel.read) for channel in self._source.channels)

    def close(self) -> None:
        """Stop the guard and close the descriptors."""
        self._source.close()

    def _doubtful(self, index: int, begin: Mark, end: Mark, duration_s: float) -> str | None:
        """Return why one channel says nothing about a window."""
        label = self.channels[index]
        begin_uj, begin_faults, _ = begin[index]
        end_uj, end_faults, _ = end[index]
        if begin_faults != end_faults:
            return f"{label}: the energy counter {self._source.counters[index].reason}"
        short = too_short(duration_s, self.refresh_s)
        if short is not None:
            return f"{label}: {short}"
        if begin_uj == end_uj:
            return f"{label}: the energy counter did not change in {duration_s:.4f} s"
        return None

    def _energy(self, domain: str, energy_j: float, duration_s: float) -> Energy:
        low_j, high_j = edge_bounds_j(energy_j, duration_s, self.refresh_s)
        return Energy(
            domain=domain,
            energy_j=energy_j,
            provenance=Provenance.COUNTER,
            boundary=_BOUNDARY[domain],
            meter=self.name,
            billed=domain in self.billed,
            low_j=low_j,
            high_j=high_j,
        )


def open_rapl(
    root: str | os.PathLike[str] = "/sys",
    *,
    refresh_s: float | None = None,
    clock_ns: Callable[[], int] = boot_ns,
) -> tuple[RaplMeter | None, tuple[Missing, ...]]:
    """Open the counters and watch them for up to a tenth of a second; domains that stand still are dropped.

    Args:
        root: where sysfs is mounted.
        refresh_s: the refresh period in seconds if it is known; nothing is watched then.
        clock_ns: a monotonic clock in nanoseconds.

    Returns:
        The meter, or None where nothing that could be billed can be read; and what is missing, with what to do.
    """
    channels, gaps, notes = open_channels(root)
    if refresh_s is None:
        channels, refresh_s, still = _watched(channels)
        gaps += still
    missing = tuple(Missing(domain=domain, reason=reason, billed=domain in BILLED) for domain, reason in gaps)
    source = opened(channels, clock_ns, notes)
    return (None if source is None else RaplMeter(source, refresh_s)), missing


def refresh_of(source: RaplSource) -> float | None:
    """Return the slowest refresh period in seconds of an open source's billed counters; None if one stands still."""
    totals = billed(channel.domain for channel in source.channels)
    reads = [partial(_peek_uj, channel) for channel in source.channels if channel.domain in totals]
    periods = [
        math.inf if period_s is None else period_s
        for period_s in watch_refresh(reads, at_most_s=WATCH_S, changes=9, pause_s=0.0)
    ]
    slowest_s = max(periods)
    return slowest_s if math.isfinite(slowest_s) else None


def replayed(
    description: dict[str, Any], feed: Callable[[], Sequence[int | str | None]], clock_ns: Callable[[], int]
) -> RaplMeter:
    """Return the meter that `describe` told of, fed with recorded readings in place of hardware.

    Args:
        description: what `RaplMeter.describe` returned.
        feed: gives the raw readings of the next sample, one a channel.
        clock_ns: the time of that sample in nanoseconds.
    """
    row: list[int | str | None] = []

    def read(index: int) -> int:
        if index == 0:
            row[:] = feed()
        value = row[index]
        if isinstance(value, int):
            return value
        raise OSError(errno.EIO, value or "the trace holds no reading")

    channels = [
        Channel(one["label"], one["domain"], one["turn_uj"], one["span_uj"], partial(read, index))
        for index, one in enumerate(description["channels"])
    ]
    return RaplMeter(RaplSource(channels, clock_ns, description["notes"]), description["refresh_s"])


def _watched(channels: list[Channel]) -> tuple[list[Channel], float | None, list[tuple[str, str]]]:
    """Return the channels of domains that move, the slowest refresh of the billed ones, and what stands still."""
    reads = [partial(_peek_uj, channel) for channel in channels]
    periods = watch_refresh(reads, at_most_s=WATCH_S, changes=9, pause_s=0.0) if reads else []
    pairs = list(zip(channels, periods, strict=True))
    still = {channel.domain: channel.label for channel, period_s in pairs if period_s is None}
    close(channel for channel in channels if channel.domain in still)
    kept = [channel for channel in channels if channel.domain not in still]
    totals = billed(channel.domain for channel in kept)
    refreshes = [period_s for channel, period_s in pairs if channel.domain in totals and period_s is not None]
    known = bool(refreshes) and all(math.isfinite(period_s) for period_s in refreshes)
    gaps = [
        (domain, f"{label}: the energy counter stood still for 0.1 s, so it says nothing")
        for domain, label in still.items()
    ]
    return kept, max(refreshes) if known else None, gaps


def _peek_uj(channel: Channel) -> int | None:
    try:
        return channel.read()
    except (OSError, ValueError):
        return None
