"""One begin/end pair over all meters of a host.

The clocks are read innermost: at the beginning the meters and the host come first and the wall clock
last, at the end the wall clock comes first. So the cost of reading falls outside the duration and the
CPU-seconds, and into the counters' joules only by the microseconds the counters' own reads take.

CPU time is this process's clock plus that of its reaped children (`RUSAGE_CHILDREN`), so a child
counts in the window in which it is waited for; reap children inside the window that started them.
Nothing runs in the background, except the RAPL meter's guard against lost turns.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from harness.meters.load import HostReader, Jiffies
from harness.meters.seam import REFRESHES_FOR_1_PERCENT, BilledMeter
from harness.records import Doubt, Energy, HostLoad, Measured, MeterInfo, Missing, Provenance

HOST_BUSY_SHARE = 0.05
"""Share of the host's capacity used by others past which a window is marked `HOST_BUSY`."""


class Mark(NamedTuple):
    """The state of everything at the beginning of a window."""

    readings: tuple[Any, ...]
    jiffies: Jiffies | None
    children_s: float
    cpu_ns: int
    wall_ns: int


class MeterWindow:
    """The meters of a host behind begin/end; windows may nest and overlap (`contract.WindowMeter`)."""

    def __init__(
        self,
        meters: Sequence[BilledMeter],
        missing: Sequence[Missing] = (),
        *,
        infos: Sequence[MeterInfo] | None = None,
        host: HostReader | None = None,
    ) -> None:
        self._meters = tuple(meters)
        self._missing = tuple(missing)
        self._host = HostReader() if host is None else host
        self._infos = tuple(meter.info() for meter in self._meters) if infos is None else tuple(infos)
        self._shortest_s = _shortest_s(self._meters, self._infos)
        self._billed = frozenset(domain for meter in self._meters for domain in meter.billed)
        self._doubts = tuple(doubt for meter in self._meters if meter.billed for doubt in meter.doubts)

    @property
    def meters(self) -> tuple[BilledMeter, ...]:
        """The open meters, for the self-test."""
        return self._meters

    def begin(self) -> Mark:
        """Read every meter; return the mark to end the window with."""
        jiffies = self._host.read()
        readings = tuple(meter.read() for meter in self._meters)
        children_s = _children_s()
        cpu_ns = time.process_time_ns()
        return Mark(readings, jiffies, children_s, cpu_ns, time.perf_counter_ns())

    def end(self, mark: Mark) -> Measured:
        """Read every meter again and return what the window drew."""
        wall_ns = time.perf_counter_ns()
        cpu_ns = time.process_time_ns()
        children_s = _children_s()
        readings = [meter.read() for meter in self._meters]
        jiffies = self._host.read()
        duration_s = (wall_ns - mark.wall_ns) / 1e9
        cpu_s = (cpu_ns - mark.cpu_ns) / 1e9 + (children_s - mark.children_s)
        energies: tuple[Energy, ...] = ()
        missing: tuple[Missing, ...] = ()
        for meter, before, after in zip(self._meters, mark.readings, readings, strict=True):
            more, lost = meter.energies(before, after, duration_s=duration_s, cpu_s=cpu_s)
            energies += more
            missing += lost
        load = self._host.load(mark.jiffies, jiffies, duration_s=duration_s, cpu_s=cpu_s)
        return Measured(
            duration_s=duration_s,
            cpu_s=cpu_s,
            energies=energies,
            missing=missing,
            load=load,
            doubts=self._doubted(duration_s, energies, missing, load),
        )

    def infos(self) -> tuple[MeterInfo, ...]:
        """Return the meters in use, as they were found at opening."""
        return self._infos

    def missing(self) -> tuple[Missing, ...]:
        """Return what this host does not offer, with reasons."""
        return self._missing

    def close(self) -> None:
        """Close every meter and the host's files."""
        for meter in self._meters:
            meter.close()
        self._host.close()

    def _doubted(
        self, duration_s: float, energies: tuple[Energy, ...], missing: tuple[Missing, ...], load: HostLoad
    ) -> tuple[Doubt, ...]:
        doubts = list(self._doubts)
        if duration_s < self._shortest_s:
            doubts.append(Doubt.WINDOW_TOO_SHORT)
        if load.busy_other_share is not None and load.busy_other_share > HOST_BUSY_SHARE:
            doubts.append(Doubt.HOST_BUSY)
        if any(energy.billed and energy.provenance is Provenance.MODELLED for energy in energies):
            doubts.append(Doubt.MODELLED)
        if any(gap.domain in self._billed for gap in missing):
            doubts.append(Doubt.METER_MISSING)
        return tuple(dict.fromkeys(doubts))


def _shortest_s(meters: Sequence[BilledMeter], infos: Sequence[MeterInfo]) -> float:
    """Return the window for 1 % on the coarsest billed meter; endless where a refresh is unknown."""
    refreshes = [info.refresh_s for meter, info in zip(meters, infos, strict=True) if meter.billed]
    known = [refresh_s for refresh_s in refreshes if refresh_s is not None]
    if len(known) < len(refreshes):
        return float("inf")
    return REFRESHES_FOR_1_PERCENT * max(known, default=0.0)


def _children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
