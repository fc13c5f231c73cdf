"""One begin/end pair over all meters of a host: read raw at the edges, interpreted afterwards.

Nothing runs in the background, except the guard against lost turns of a RAPL counter that wraps, the
sampler of a GPU that has no energy counter, and a trace if one was asked for.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from harness.counters.edges import Edges, Mark, Span
from harness.errors import InvalidMeasurement
from harness.meters.attribution import ATTRIBUTABLE, attributed
from harness.meters.load import busy_s, host_load
from harness.meters.nvml import slowed
from harness.meters.seam import REFRESHES_FOR_1_PERCENT, BilledMeter
from harness.records import DeviceState, Doubt, Energy, HostLoad, Measured, MeterInfo, Missing, Provenance

HOST_BUSY_SHARE = 0.05
"""Share of the host's capacity used by others past which a window is marked `HOST_BUSY`."""

_CPU_METERS = frozenset({"rapl", "modelled"})


class Begun(NamedTuple):
    """A window that has begun: what the devices said of themselves, then the raw readings."""

    states: tuple[DeviceState, ...]
    mark: Mark


class MeterWindow:
    """The meters of a host behind begin/end; windows may nest and overlap (`contract.WindowMeter`).

    `billed` are the domains a total counts; by default what the meters bill. With `attribute`, the share
    of this process in the package counter is billed instead of the counter itself. `shortest_s` is how
    long a window must last for 1 % on the coarsest billed meter, infinity where a refresh is unknown.
    """

    def __init__(
        self,
        meters: Sequence[BilledMeter],
        missing: Sequence[Missing] = (),
        *,
        infos: Sequence[MeterInfo] | None = None,
        edges: Edges | None = None,
        attribute: bool = False,
    ) -> None:
        self._meters = tuple(meters)
        self._missing = tuple(missing)
        self.edges = Edges(self._meters) if edges is None else edges
        self._infos = tuple(meter.info() for meter in self._meters) if infos is None else tuple(infos)
        self._attribute = attribute
        billing = billing_of(self._meters)
        self._billed = frozenset(domain for meter in billing for domain in meter.billed)
        self.shortest_s = _shortest_s(billing, self._infos)
        self._doubts = tuple(doubt for meter in billing if meter.billed for doubt in meter.doubts)
        self._with_states: tuple[Any, ...] = tuple(meter for meter in self._meters if hasattr(meter, "states"))

    @property
    def meters(self) -> tuple[BilledMeter, ...]:
        """The open meters."""
        return self._meters

    @property
    def attribute(self) -> bool:
        """Whether this process's share of the package counter is billed in its place."""
        return self._attribute

    def begin(self) -> Begun:
        """Read every meter; return what to end the window with."""
        return Begun(self.states("begin"), self.edges.begin())

    def end(self, begun: Begun) -> Measured:
        """Read every meter again and return what the window drew.

        Raises: InvalidMeasurement: the window was begun in another process.
        """
        span = Span(begun.mark, self.edges.end())
        return self.interpret(span, begun.states + self.states("end"))

    def states(self, edge: str) -> tuple[DeviceState, ...]:
        """Return what the devices say of themselves now."""
        return tuple(state for meter in self._with_states for state in meter.states(edge))

    def interpret(self, span: Span, states: tuple[DeviceState, ...] = ()) -> Measured:
        """Return what a window drew, from its two raw edges.

        Raises: InvalidMeasurement: the edges were read by two processes.
        """
        if span.begin.pid != span.end.pid:
            raise InvalidMeasurement(
                f"a window begun in process {span.begin.pid} was ended in process {span.end.pid}, after a fork; "
                "begin and end it in the same process"
            )
        duration_s, cpu_s = span.duration_s, span.cpu_s
        energies: list[Energy] = []
        missing: list[Missing] = []
        for meter, before, after in zip(self._meters, span.begin.readings, span.end.readings, strict=True):
            more, lost = meter.energies(before, after, duration_s=duration_s, cpu_s=cpu_s)
            energies += more
            missing += [self._weighed(gap) for gap in lost]
        energies = [self._judged(energy) for energy in energies]
        shares, lost_shares = self._shares(energies, missing, span)
        load = host_load(span, load_1m=self.edges.host.load_1m())
        everything, gaps = (*energies, *shares), (*missing, *lost_shares)
        return Measured(
            duration_s=duration_s,
            cpu_s=cpu_s,
            energies=everything,
            missing=gaps,
            load=load,
            doubts=self._doubted(duration_s, everything, gaps, load, states),
            begun_unix_s=span.begin.unix_ns / 1e9,
            states=states,
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
        self.edges.close()

    def _judged(self, energy: Energy) -> Energy:
        """Return the energy with `billed` as this window has it."""
        billed = energy.billed and energy.domain in self._billed
        if self._attribute and energy.domain in ATTRIBUTABLE:
            billed = False
        return energy if billed == energy.billed else msgspec.structs.replace(energy, billed=billed)

    def _weighed(self, gap: Missing) -> Missing:
        """Return the gap with `billed` as this window has it."""
        billed = gap.domain in self._billed and not (self._attribute and gap.domain in ATTRIBUTABLE)
        return gap if billed == gap.billed else msgspec.structs.replace(gap, billed=billed)

    def _shares(
        self, energies: Sequence[Energy], gaps: Sequence[Missing], span: Span
    ) -> tuple[list[Energy], list[Missing]]:
        """Return the case's shares of what counters saw of the whole host."""
        shares: list[Energy] = []
        missing: list[Missing] = []
        if self._attribute:
            missing += [
                Missing(domain=f"{gap.domain}-share", reason=gap.reason) for gap in gaps if gap.domain in ATTRIBUTABLE
            ]
        for energy in energies:
            if energy.domain in ATTRIBUTABLE and energy.provenance is Provenance.COUNTER:
                cores = span.cores or os.cpu_count() or 1
                share = attributed(energy, cpu_s=span.cpu_s, busy_s=busy_s(span), cores=cores)
                if isinstance(share, Energy):
                    shares.append(msgspec.structs.replace(share, billed=self._attribute))
                elif self._attribute:
                    missing.append(share)
        return shares, missing

    def _doubted(
        self,
        duration_s: float,
        energies: Sequence[Energy],
        missing: Sequence[Missing],
        load: HostLoad,
        states: tuple[DeviceState, ...],
    ) -> tuple[Doubt, ...]:
        doubts = list(self._doubts)
        if duration_s < self.shortest_s:
            doubts.append(Doubt.WINDOW_TOO_SHORT)
        if load.busy_other_share is not None and load.busy_other_share > HOST_BUSY_SHARE:
            doubts.append(Doubt.HOST_BUSY)
        if any(energy.billed and energy.provenance is Provenance.MODELLED for energy in energies):
            doubts.append(Doubt.MODELLED)
        if any(gap.billed for gap in missing):
            doubts.append(Doubt.METER_MISSING)
        if slowed(states):
            doubts.append(Doubt.THROTTLED)
        return tuple(dict.fromkeys(doubts))


def billing_of(meters: Sequence[BilledMeter]) -> tuple[BilledMeter, ...]:
    """Return the meters whose joules a total counts."""
    # What a wall meter counts contains every other counter, so nothing is billed beside it; the module of a
    # superchip contains its CPU.
    whole = [meter for meter in meters if getattr(meter, "contains_everything", False)]
    if not whole and any(getattr(meter, "contains_cpu", False) for meter in meters):
        whole = [meter for meter in meters if meter.name not in _CPU_METERS]
    return tuple(meter for meter in whole or meters if meter.billed)


def _shortest_s(billing: Sequence[BilledMeter], infos: Sequence[MeterInfo]) -> float:
    """Return the window for 1 % on the coarsest billed meter; endless where a refresh is unknown."""
    names = {meter.name for meter in billing if meter.billed}
    refreshes = [info.refresh_s for info in infos if info.name in names]
    known = [refresh_s for refresh_s in refreshes if refresh_s is not None]
    if len(known) < len(refreshes):
        return float("inf")
    return REFRESHES_FOR_1_PERCENT * max(known, default=0.0)
