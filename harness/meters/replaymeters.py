"""The meters of a trace, built anew by their modules' own `replayed` and fed with its samples."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

import msgspec

from harness.counters.edges import Edges
from harness.counters.load import HostReader
from harness.errors import UsageError
from harness.meters.plugins import loading
from harness.meters.seam import BilledMeter
from harness.meters.tracefile import Row
from harness.meters.traceformat import COLUMNS, Header, Raw, TracedInfo
from harness.meters.window import MeterWindow
from harness.records import Doubt, Energy, MeterInfo, Missing

_OURS = {name: f"harness.meters.{name}" for name in ("rapl", "nvml", "modelled")}
_BOOT_NS = COLUMNS.index("boot_ns")
_NO_CPU_TIME = (
    "it needs CPU times, which the kernel's samples at an edge of this stretch do not hold; choose edges of windows"
)
_NO_HOST = os.devnull
"""Below this there is no `/proc/stat` and no load average: those of the host that replays mean nothing."""


class Feed:
    """Hands the meters the sample that is being replayed, and its time."""

    def __init__(self) -> None:
        self.row = Row((None,) * len(COLUMNS), ())

    def clock_ns(self) -> int:
        """Return the sample's time on the clock that goes on during suspension."""
        return self.row.fixed[_BOOT_NS] or 0

    def channels(self, index: int) -> Callable[[], tuple[Raw, ...]]:
        """Return what gives a meter its readings."""
        return lambda: self.row.channels[index]


class _Absent:
    """A meter that the trace knows and this installation cannot replay: its domains are missing, with the reason."""

    def __init__(self, traced: TracedInfo, reason: str) -> None:
        self.name = traced.name
        self.billed = frozenset(traced.billed)
        self.doubts: tuple[Doubt, ...] = traced.doubts
        self.contains_everything = traced.contains_everything
        self._info = traced.info
        self._reason = reason

    def read(self) -> None:
        """Return nothing."""

    def energies(
        self, begin: Any, end: Any, *, duration_s: float, cpu_s: float
    ) -> tuple[tuple[Energy, ...], tuple[Missing, ...]]:
        """Return every domain as missing."""
        del begin, end, duration_s, cpu_s
        return (), tuple(Missing(domain=domain, reason=self._reason) for domain in self._info.domains)

    def info(self) -> MeterInfo:
        """Return what the meter was."""
        return self._info

    def close(self) -> None:
        """Hold nothing, release nothing."""


def window_of(header: Header, feed: Feed) -> MeterWindow:
    """Return the meters behind a window, as they were; one that cannot be replayed here says so."""
    meters = [_meter(traced, feed, index) for index, traced in enumerate(header.meters)]
    return MeterWindow(
        meters,
        header.missing,
        infos=[traced.info for traced in header.meters],
        edges=Edges((), host=HostReader(_NO_HOST)),
        attribute=header.attribute,
    )


def counters_of(window: MeterWindow, header: Header) -> MeterWindow:
    """Return the same meters without those that know nothing without CPU times, whose domains are missing."""
    meters: list[BilledMeter] = [
        meter if traced.columns or isinstance(meter, _Absent) else _Absent(traced, _NO_CPU_TIME)
        for meter, traced in zip(window.meters, header.meters, strict=True)
    ]
    return MeterWindow(meters, header.missing, infos=window.infos(), edges=window.edges, attribute=header.attribute)


def _meter(traced: TracedInfo, feed: Feed, index: int) -> BilledMeter:
    if traced.description is None:
        return _Absent(traced, traced.reason or "the trace does not describe this meter")
    module = _module(traced.name)
    if isinstance(module, str):
        return _Absent(traced, module)
    build = getattr(module, "replayed", None)
    if build is None:
        return _Absent(traced, f"the meter {traced.name!r} as it is installed here ({module.__name__}) cannot replay")
    try:
        meter: BilledMeter = build(traced.description, feed.channels(index), feed.clock_ns)
    except (KeyError, TypeError, ValueError, msgspec.MsgspecError) as error:
        return _Absent(
            traced, f"the meter {traced.name!r} as it is installed here does not know its own trace: {error!r}"
        )
    return meter


def _module(name: str) -> ModuleType | str:
    """Return the module of a meter, or why there is none: only installed meters are loaded, never what a file names."""
    if name in _OURS:
        return importlib.import_module(_OURS[name])
    try:
        return importlib.import_module(loading.load(name).__module__)
    except UsageError as error:
        return f"this trace was recorded with a meter that cannot be replayed here: {error}"
