"""The open meters of one process, shared by all windows that name the same meters."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.counters.edges import Edges, Span
from harness.counters.rapl import open_source

if TYPE_CHECKING:
    from harness.meters.trace import Recorder
    from harness.meters.window import MeterWindow
    from harness.records import DeviceState, Measured

_GPU_NODES = ("/dev/nvidiactl", "/dev/dxg")
lock = threading.RLock()
open_windows: set[Any] = set()
"""Windows that have begun and not ended, of all sessions; change it under the lock."""

_sessions: dict[tuple[str, ...], Session] = {}


class Session:
    """Open meters of one process, shared by all windows that name the same meters."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.pid = os.getpid()
        self._window: MeterWindow | None = None
        self._tested = True
        self._source: Any = None
        self._gaps: Sequence[tuple[str, str]] = ()
        if names == ("auto",) and not any(os.path.exists(node) for node in _GPU_NODES):  # noqa: PTH110 quick to import
            self._source, self._gaps = open_source()
            sources = (_Nothing(),) if self._source is None else (self._source, _Nothing())
            self.edges = Edges(sources)
        else:
            from harness.meters import open_meters

            self._window = open_meters(names)
            self.edges = self._window.edges

    def states(self, edge: str) -> tuple[DeviceState, ...]:
        """Return what the devices say of themselves; on a host without a GPU nothing."""
        return () if self._window is None else self._window.states(edge)

    def idle(self, idle_s: float) -> Span | None:
        """Sleep for a while between two edges."""
        if idle_s <= 0:
            return None
        begin = self.edges.begin()
        time.sleep(idle_s)
        return Span(begin, self.edges.end())

    def recorder(self, name: str, path: str | os.PathLike[str] | None) -> Recorder | None:
        """Return what writes a trace of the window to come."""
        if path is None:
            return None
        from harness.meters.trace import Recorder

        return Recorder(self.interpreter(), path, context={"window": name})

    def interpreter(self, *, test: bool = False) -> MeterWindow:
        """Return the meters that know what the raw readings mean, self-tested while nothing is being measured."""
        with lock:
            calm = test or not open_windows
            if self._window is None or (calm and not self._tested):
                from harness.meters.opening import around

                self._window = around(self._source, self._gaps, self.edges, test=calm)
                self._tested = calm
            return self._window

    def interpret(self, span: Span, states: tuple[DeviceState, ...] = (), *, overlaps: bool = False) -> Measured:
        """Return what a window drew."""
        measured = self.interpreter().interpret(span, states)
        if not overlaps:
            return measured
        import msgspec

        from harness.records import Doubt

        return msgspec.structs.replace(measured, doubts=(*measured.doubts, Doubt.WINDOWS_OVERLAP))


class _Nothing:
    """The reading of the modelled meter: it needs no more than the CPU clock."""

    def read(self) -> None:
        """Return nothing."""


def session_of(names: tuple[str, ...]) -> Session:
    """Return the open meters of these names; a forked child opens its own."""
    session = _sessions.get(names)
    if session is None or session.pid != os.getpid():
        with lock:
            session = _sessions.get(names)
            if session is None or session.pid != os.getpid():
                session = _sessions[names] = Session(names)
    return session
