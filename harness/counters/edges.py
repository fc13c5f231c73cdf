"""The two edges of a window, read raw.

The clocks are read innermost: at the beginning the counters and the host come first and the wall clock
last, at the end the wall clock comes first. So the cost of reading falls outside the duration and the
CPU-seconds, and into the counters' joules only by the microseconds the counters' own reads take.

CPU time is this process's clock plus that of its reaped children (`RUSAGE_CHILDREN`), so a child
counts in the window in which it is waited for; where the case has a control group of its own, that
decides whenever the two disagree.
"""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Callable, Sequence
from time import perf_counter_ns, process_time_ns, time_ns
from typing import Any, NamedTuple

from harness.counters.load import HostReader
from harness.counters.process import OwnGroup, usage_s

GROUP_SLACK_S = 0.01
"""How far, on each core, a group's CPU time may lag the process's own clock: one scheduler tick."""


class Mark(NamedTuple):
    """The raw state of everything at one edge; `readings` holds one entry a source."""

    readings: tuple[Any, ...]
    stat: bytes
    group: bytes
    children: resource.struct_rusage
    pid: int
    unix_ns: int
    cpu_ns: int
    wall_ns: int


class Span(NamedTuple):
    """Both edges of a window; `cores` are those of the host they were read on, None for this host."""

    begin: Mark
    end: Mark
    cores: int | None = None

    @property
    def duration_s(self) -> float:
        """Seconds of wall time."""
        return (self.end.wall_ns - self.begin.wall_ns) / 1e9

    @property
    def cpu_s(self) -> float:
        """CPU-seconds of the case: see the module."""
        begin, end = self.begin, self.end
        own_s = (end.cpu_ns - begin.cpu_ns) / 1e9
        own_s += end.children.ru_utime + end.children.ru_stime - begin.children.ru_utime - begin.children.ru_stime
        first_s, last_s = usage_s(begin.group), usage_s(end.group)
        if first_s is None or last_s is None:
            return own_s
        group_s = last_s - first_s
        return group_s if abs(group_s - own_s) > GROUP_SLACK_S * (self.cores or os.cpu_count() or 1) else own_s


class Edges:
    """Reads the sources, the host and the clocks; holds no state between the edges, so windows may overlap.

    Who listens is told every edge, of all windows and threads, in the order in which they were read.
    """

    def __init__(
        self, sources: Sequence[Any], *, host: HostReader | None = None, group: OwnGroup | None = None
    ) -> None:
        self._reads: tuple[Callable[[], Any], ...] = tuple(source.read for source in sources)
        self.host = HostReader() if host is None else host
        self.group = group
        self._read_group: Callable[[], bytes] = bytes if group is None else group.read
        self._listeners: tuple[Callable[[Mark], object], ...] = ()
        self.lock = threading.RLock()

    def begin(self) -> Mark:
        """Read everything, the wall clock last."""
        return self._told(self._begin) if self._listeners else self._begin()

    def end(self) -> Mark:
        """Read everything, the wall clock first."""
        return self._told(self._end) if self._listeners else self._end()

    def listen(self, listener: Callable[[Mark], object]) -> None:
        """Tell `listener` every edge from now on."""
        with self.lock:
            self._listeners = (*self._listeners, listener)

    def unlisten(self, listener: Callable[[Mark], object]) -> None:
        """Tell it no more."""
        with self.lock:
            self._listeners = tuple(other for other in self._listeners if other != listener)

    def forget_listeners(self) -> None:
        """Begin anew in a forked child, where the threads that listened, and may have held the lock, are gone."""
        self._listeners = ()
        self.lock = threading.RLock()

    def _told(self, read: Callable[[], Mark]) -> Mark:
        # Read and told under one lock: counters must never seem to go backwards to who listens.
        with self.lock:
            mark = read()
            for listener in self._listeners:
                listener(mark)
        return mark

    def _begin(self) -> Mark:
        stat = self.host.read()
        readings = tuple([read() for read in self._reads])
        group = self._read_group()
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        pid = os.getpid()
        return Mark(readings, stat, group, children, pid, time_ns(), process_time_ns(), perf_counter_ns())

    def sample(self) -> Mark:
        """Read everything but the host's line, which costs more than all the rest when it is cold; tell nobody.

        Who keeps samples beside what he is told holds `lock` while he takes one.
        """
        readings = tuple([read() for read in self._reads])
        group = self._read_group()
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        pid = os.getpid()
        return Mark(readings, b"", group, children, pid, time_ns(), process_time_ns(), perf_counter_ns())

    def _end(self) -> Mark:
        wall_ns = perf_counter_ns()
        cpu_ns = process_time_ns()
        unix_ns = time_ns()
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        group = self._read_group()
        readings = tuple([read() for read in self._reads])
        return Mark(readings, self.host.read(), group, children, os.getpid(), unix_ns, cpu_ns, wall_ns)

    def close(self) -> None:
        """Close the host's files and leave the control group."""
        self.host.close()
        if self.group is not None:
            self.group.close()
