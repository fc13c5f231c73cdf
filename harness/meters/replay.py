"""Any stretch of a recorded trace, worked out again by the code that worked it out live.

The meters are built anew by their modules' own `replayed`, every sample is fed to them in order, and
`MeterWindow.interpret` says what lies between two samples: wraps, integrals, bounds, refusals and doubts come
from there. What a trace does not hold is not known in a replay: the load average, device states except at
the trace's own ends, and readings that a meter's own guard thread took between two samples. Samples that the
kernel took hold no CPU time: between those only counters say something.
"""

from __future__ import annotations

import os
import resource
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import msgspec

from harness.counters.edges import Mark, Span
from harness.errors import UsageError
from harness.meters.replaymeters import Feed, counters_of, window_of
from harness.meters.tracefile import Row, Trace
from harness.meters.traceformat import COLUMNS
from harness.meters.window import MeterWindow
from harness.records import DeviceState, Doubt, Energy, Frozen, HostLoad, Measured, Missing

_CPU_NS = COLUMNS.index("cpu_ns")


class Stretch(Frozen, frozen=True, kw_only=True):
    """What lay between two samples, as `Measured`; `cpu_s` is None where the kernel took one of them."""

    duration_s: float
    cpu_s: float | None
    energies: tuple[Energy, ...]
    missing: tuple[Missing, ...] = ()
    load: HostLoad
    doubts: tuple[Doubt, ...] = ()
    begun_unix_s: float | None = None
    states: tuple[DeviceState, ...] = ()


class Slice(Frozen, frozen=True, kw_only=True):
    """What a stretch of a trace held: exactly from one sample to another, in seconds since the first."""

    from_s: float
    to_s: float
    measured: Stretch


class Power(Frozen, frozen=True, kw_only=True):
    """Mean watts by domain over a stretch; a domain that refuses it, or that no meter read, is not in it."""

    from_s: float
    to_s: float
    power_w: dict[str, float]


def replay(path: str | os.PathLike[str], *, begin_s: float | None = None, end_s: float | None = None) -> Stretch:
    """Return what the trace held between two times, by default all of it.

    Edges snap to the nearest samples: `duration_s` and `begun_unix_s` of the result say which those were.

    Args:
        path: a trace.
        begin_s: seconds since its first sample.
        end_s: seconds since its first sample.

    Raises: UsageError: the file is no trace, or damaged, or the times lie outside it. MissingExtra: no pyarrow.
    """
    return slices(Trace(path), [(begin_s, end_s)])[0].measured


def replay_window(path: str | os.PathLike[str], measured: Measured) -> Measured:
    """Return a window that was measured while the trace was recorded, from the trace alone.

    Both its edges are samples, so the joules, bounds and refusals are the same.

    Raises: UsageError: as for `replay`; or the window is not in this trace.
    """
    trace = Trace(path)
    begun_ns = round((measured.begun_unix_s or 0.0) * 1e9)
    first = min(range(len(trace.unix_ns)), key=lambda index: abs(trace.unix_ns[index] - begun_ns))
    end_ns = trace.wall_ns[first] + round(measured.duration_s * 1e9)
    last = bisect_left(trace.wall_ns, end_ns)
    # Unix time as a float holds about half a microsecond.
    if abs(trace.unix_ns[first] - begun_ns) > 1000 or last == len(trace.wall_ns) or trace.wall_ns[last] != end_ns:
        raise UsageError(f"{trace.path} holds no window that began at {measured.begun_unix_s} and lasted as long")
    return _interpreted(trace, [(first, last)])[0][0]


def slices(trace: Trace, bounds: Sequence[tuple[float | None, float | None]]) -> tuple[Slice, ...]:
    """Return what each stretch of a trace held; None is the beginning or the end of the trace.

    Raises: UsageError: a stretch lies outside the trace or between two samples, or the file is damaged.
    """
    spans = [_snapped(trace, begin_s, end_s) for begin_s, end_s in bounds]
    start_ns = trace.wall_ns[0]
    return tuple(
        Slice(
            from_s=(trace.wall_ns[first] - start_ns) / 1e9,
            to_s=(trace.wall_ns[last] - start_ns) / 1e9,
            measured=Stretch(**msgspec.structs.asdict(measured) | ({} if timed else {"cpu_s": None})),
        )
        for (first, last), (measured, timed) in zip(spans, _interpreted(trace, spans), strict=True)
    )


def every(trace: Trace, step_s: float, begin_s: float | None = None, end_s: float | None = None) -> tuple[Slice, ...]:
    """Return slices of `step_s` seconds one after another, the last one shorter; their edges are shared.

    Raises: UsageError: as for `slices`; or the step is shorter than the trace's own.
    """
    if step_s < trace.header.period_s:
        raise UsageError(
            f"{trace.path} has a sample every {trace.header.period_s:.3g} s: slices of {step_s:.3g} s are too short"
        )
    first, last = _snapped(trace, begin_s, end_s)
    at_s = (trace.wall_ns[first] - trace.wall_ns[0]) / 1e9
    stop_s = (trace.wall_ns[last] - trace.wall_ns[0]) / 1e9
    edges = [at_s]
    # The rest of a trace that is shorter than a sample's period belongs to the slice before it.
    while edges[-1] + step_s < stop_s - trace.header.period_s / 2:
        edges.append(at_s + len(edges) * step_s)
    edges.append(stop_s)
    return slices(trace, list(pairwise(edges)))


def powers(path: str | os.PathLike[str], *, step_s: float | None = None) -> tuple[Power, ...]:
    """Return the mean power by domain from sample to sample, or over slices of `step_s` seconds, for looking at.

    Counters refuse stretches shorter than three of their refreshes, so a GPU needs a step of some tenths.

    Raises: UsageError, MissingExtra: as for `replay`.
    """
    trace = Trace(path)
    if step_s is None:
        times_s = [(wall_ns - trace.wall_ns[0]) / 1e9 for wall_ns in dict.fromkeys(trace.wall_ns)]
        found = slices(trace, list(pairwise(times_s)))
    else:
        found = every(trace, step_s)
    return tuple(
        Power(
            from_s=one.from_s,
            to_s=one.to_s,
            power_w={energy.domain: energy.energy_j / one.measured.duration_s for energy in one.measured.energies},
        )
        for one in found
    )


def _snapped(trace: Trace, begin_s: float | None, end_s: float | None) -> tuple[int, int]:
    first = 0 if begin_s is None else _nearest(trace, begin_s)
    last = len(trace.wall_ns) - 1 if end_s is None else _nearest(trace, end_s)
    if trace.wall_ns[last] <= trace.wall_ns[first]:
        raise UsageError(
            f"{trace.path}: no two samples lie from {begin_s or 0:g} s to "
            f"{trace.duration_s if end_s is None else end_s:g} s; it has one every {trace.header.period_s:.3g} s"
        )
    return first, last


def _nearest(trace: Trace, at_s: float) -> int:
    slack_s = trace.header.period_s
    if not -slack_s <= at_s <= trace.duration_s + slack_s:
        raise UsageError(f"{trace.path} holds {trace.duration_s:.3f} s; {at_s:g} s lies outside it")
    at_ns = trace.wall_ns[0] + round(at_s * 1e9)
    after = bisect_left(trace.wall_ns, at_ns)
    if after == len(trace.wall_ns):
        return after - 1
    nearer_before = after > 0 and at_ns - trace.wall_ns[after - 1] < trace.wall_ns[after] - at_ns
    return after - 1 if nearer_before else after


def _interpreted(trace: Trace, spans: Sequence[tuple[int, int]]) -> list[tuple[Measured, bool]]:
    """Return what lies between each two samples, and whether its CPU time is known; all samples are fed, as live."""
    wanted = {index for span in spans for index in span}
    ending: dict[int, list[int]] = {}
    for place, (_, last) in enumerate(spans):
        ending.setdefault(last, []).append(place)
    marks: dict[int, Mark] = {}
    untimed: set[int] = set()
    found: dict[int, tuple[Measured, bool]] = {}
    feed = Feed()
    window: MeterWindow | None = None
    for index, row in enumerate(trace.rows()):
        feed.row = row
        if window is None:
            window = window_of(trace.header, feed)
            counters = counters_of(window, trace.header)
        readings = tuple(meter.read() for meter in window.meters)
        if index in wanted:
            marks[index] = _mark(row, readings, trace.header.pid)
            if row.fixed[_CPU_NS] is None:
                untimed.add(index)
        for place in ending.get(index, ()):
            first = spans[place][0]
            states = trace.header.states if (first, index) == (0, len(trace.wall_ns) - 1) else ()
            span = Span(marks[first], marks[index], trace.header.cores)
            timed = untimed.isdisjoint((first, index))
            found[place] = (window if timed else counters).interpret(span, states), timed
    return [found[place] for place in range(len(spans))]


def _mark(row: Row, readings: tuple[Any, ...], pid: int) -> Mark:
    """Return the raw state of everything at a sample, as the edges of a live window have it."""
    at = dict(zip(COLUMNS, row.fixed, strict=True))
    busy_ns, steal_ns, group_ns = at["host_busy_ns"], at["host_steal_ns"], at["group_ns"]
    children = resource.struct_rusage((_seconds(at["children_user_ns"]), _seconds(at["children_system_ns"]), *[0] * 14))
    return Mark(
        readings=readings,
        stat=b"" if busy_ns is None or steal_ns is None else _stat(busy_ns, steal_ns),
        group=b"" if group_ns is None else b"usage_usec %d\n" % round(group_ns / 1000),
        children=children,
        pid=pid,
        unix_ns=at["unix_ns"] or 0,
        cpu_ns=at["cpu_ns"] or 0,
        wall_ns=at["wall_ns"] or 0,
    )


def _stat(busy_ns: int, steal_ns: int) -> bytes:
    """Return a line of `/proc/stat` with these times, in ticks of this host."""
    ticks = os.sysconf("SC_CLK_TCK")
    return b"cpu %d 0 0 0 0 0 0 %d" % (round(busy_ns * ticks / 1e9), round(steal_ns * ticks / 1e9))


def _seconds(duration_ns: int | None) -> float:
    """Return seconds as `resource` makes them of a `struct timeval`, to the last bit."""
    seconds, microseconds = divmod(round((duration_ns or 0) / 1000), 1_000_000)
    return seconds + microseconds * 1e-6
