"""RAPL counters of this host as running sums: perf events where permitted, powercap otherwise.

A register turns over within minutes at full power, so a daemon thread reads every channel wherever nobody has
for half the shortest time that can take, under the same lock as the windows' own reads: no turn is lost, and
none is counted twice. A window shorter than that is never woken for (`poll_s`: two minutes for 262 kJ, half a
minute for 65 kJ). While a host is suspended its counters may begin anew, which can look like a turn, so a
window that was suspended is refused.
"""

from __future__ import annotations

import errno
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import repeat

from harness.counters import perf_events, powercap
from harness.counters.wrapping import SLACK_NS, Channel, Gap, Reading, WrappingCounter, close

CEILING_W = 1000
"""No socket sold draws this much for long (2026: 500 W design power, about 760 W peak limit)."""

BILLED = frozenset({"cpu-package", "dram"})

boot_ns: Callable[[], int] = (
    partial(time.clock_gettime_ns, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic_ns
)
"""Nanoseconds that go on while the host is suspended, after which a counter may have begun anew."""

Mark = tuple[Reading, ...]
"""For each channel: microjoules so far, faults so far, and the raw reading or why there is none."""


class RaplSource:
    """The counters of one host. Open with `open_source`; `read` may be called from any thread.

    `clock_ns` counts on while the host is suspended and `awake_ns` does not; left out, that is the system's
    where `clock_ns` is `boot_ns`, else `clock_ns` itself, which then tells of no suspension.
    A forked child has the sums as they stood, its own lock, and its own guard from its first reading on.
    """

    def __init__(
        self,
        channels: Sequence[Channel],
        clock_ns: Callable[[], int] = boot_ns,
        notes: Sequence[str] = (),
        awake_ns: Callable[[], int] | None = None,
    ) -> None:
        self.channels = tuple(channels)
        self.notes = tuple(notes)
        ceilings_w = ceilings(channel.domain for channel in self.channels)
        self.counters = tuple(
            WrappingCounter(channel.turn_uj, ceiling_w, channel.span_uj)
            for channel, ceiling_w in zip(self.channels, ceilings_w, strict=True)
        )
        self.poll_s = min(
            channel.span_uj / 1e6 / ceiling_w / 2 for channel, ceiling_w in zip(self.channels, ceilings_w, strict=True)
        )
        self._clock_ns = clock_ns
        self._awake_ns = awake_ns or (time.monotonic_ns if clock_ns is boot_ns else clock_ns)
        self._read_ns = clock_ns()
        self._slept_ns = self._read_ns - self._awake_ns()
        self._reads = tuple(channel.read for channel in self.channels)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._guard: threading.Thread | None = None
        self._orphaned = False
        self._close_channels = weakref.finalize(self, close, self.channels)  # at most once, also if it is forgotten
        _sources.add(self)

    def read(self) -> Mark:
        """Read every counter; return where the sums stand."""
        with self._lock:
            if self._orphaned:
                self._orphaned = False
                self.start()
            clock_ns = self._clock_ns
            began_ns = clock_ns()
            # The two clocks drift apart by nothing else; a thread set aside between them makes less of it, not more.
            slept_ns = began_ns - self._awake_ns()
            raws: list[int] = []
            failed: list[int | str] | None = None
            take = raws.append
            try:
                for read in self._reads:
                    take(read())
            except (OSError, ValueError) as error:
                failed = self._read_on(raws, error)
            # From before the last reading until after this one: a thread set aside in between cannot hide a turn.
            elapsed_ns = clock_ns() - self._read_ns
            self._read_ns = began_ns
            if slept_ns > self._slept_ns:
                if slept_ns - self._slept_ns > SLACK_NS:
                    for counter in self.counters:
                        counter.suspended((slept_ns - self._slept_ns) / 1e9)
                self._slept_ns = slept_ns
            if failed is not None:
                return self._salvaged(failed, elapsed_ns)
            return tuple(map(WrappingCounter.advance, self.counters, raws, repeat(elapsed_ns)))

    def start(self) -> None:
        """Start the thread that keeps turns from being lost."""
        self._guard = threading.Thread(
            target=_keep, args=(weakref.ref(self), self._stop, self.poll_s), name="joulebench-rapl", daemon=True
        )
        self._guard.start()

    def unread_s(self) -> float:
        """Return how long ago the last reading began, in seconds."""
        return (self._clock_ns() - self._read_ns) / 1e9

    def close(self) -> None:
        """Stop the thread and close the descriptors; what is read afterwards is a fault, not a number."""
        self._stop.set()
        if self._guard is not None:
            self._guard.join()
        with self._lock:
            self._orphaned = False
            self._reads = (_closed,) * len(self.channels)
            self._close_channels()

    def adopt(self) -> None:
        """Take over in a forked child: the parent's threads are gone, and one of them may have held the lock."""
        if self._lock.locked():
            for counter in self.counters:
                counter.unreadable("another thread was reading it while the process forked")
        self._orphaned = self._guard is not None and not self._stop.is_set()
        self._guard = None
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def _read_on(self, raws: list[int], error: Exception) -> list[int | str]:
        """Return all readings after one has failed: reasons stand where there is no number."""
        readings: list[int | str] = [*raws, _reason(error)]
        for read in self._reads[len(readings) :]:
            try:
                readings.append(read())
            except (OSError, ValueError) as another:
                readings.append(_reason(another))
        return readings

    def _salvaged(self, readings: list[int | str], elapsed_ns: int) -> Mark:
        return tuple(
            counter.unreadable(reading) if isinstance(reading, str) else counter.advance(reading, elapsed_ns)
            for counter, reading in zip(self.counters, readings, strict=True)
        )


def open_source(
    root: str | os.PathLike[str] = "/sys", *, clock_ns: Callable[[], int] = boot_ns
) -> tuple[RaplSource | None, tuple[Gap, ...]]:
    """Open what can be counted, in less than a millisecond; whether a counter lives shows at the end of a window.

    The first perf event of a process takes 2 ms more, to load ctypes; dies that may mirror each other, up to 50 ms.

    Args:
        root: where sysfs is mounted: `class/powercap` and `bus/event_source` lie below it.
        clock_ns: a monotonic clock in nanoseconds.

    Returns:
        The source, or None where neither packages nor the platform can be read; and what is missing, with what to do.
    """
    channels, gaps, notes = open_channels(root)
    source = opened(channels, clock_ns, notes)
    return source, tuple(gaps)


def opened(channels: Sequence[Channel], clock_ns: Callable[[], int], notes: Sequence[str]) -> RaplSource | None:
    """Return a guarded source of these channels; None, and the channels closed, where nothing could be billed."""
    if not billed(channel.domain for channel in channels):
        close(channels)
        return None
    source = RaplSource(channels, clock_ns, notes)
    source.read()
    source.start()
    return source


def billed(domains: Iterable[str]) -> frozenset[str]:
    """Return the domains that add up without counting a joule twice.

    Packages and DRAM; the platform only where no package is counted, and then alone, since it contains them.
    """
    offered = frozenset(domains)
    if "cpu-package" in offered:
        return offered & BILLED
    return offered & {"psys"}


def ceilings(domains: Iterable[str]) -> list[int]:
    """Return the watts above which a rise of each channel cannot be true."""
    known = list(domains)
    sockets = max(1, known.count("cpu-package"))
    return [CEILING_W * (4 * sockets if domain == "psys" else 1) for domain in known]


def open_channels(root: str | os.PathLike[str]) -> tuple[list[Channel], list[Gap], list[str]]:
    """Open each domain through perf events if that is permitted, else through powercap.

    Returns:
        The channels, what cannot be counted with what to do, and notes on where the two ways differ.
    """
    sysfs = os.fspath(root)
    events, refusals = perf_events.open_channels(sysfs)
    zones, gaps, listed = powercap.open_channels(sysfs)
    counted = {channel.domain for channel in events}
    close(channel for channel in zones if channel.domain in counted)
    channels = events + [channel for channel in zones if channel.domain not in counted]
    if "cpu-package" in counted:
        gaps = [gap for gap in gaps if not gap[0].startswith("intel-rapl")]
    notes = _differences(counted, listed)
    covered = {channel.domain for channel in channels}
    if covered and not counted:
        notes += [f"perf events not used: {reason}" for _, reason in refusals]
    missing = _joined(covered, refusals, gaps)
    platform = [channel for channel in channels if channel.domain == "psys"]
    if len(platform) > 1:
        close(platform)
        channels = [channel for channel in channels if channel.domain != "psys"]
        missing.append(("psys", f"{len(platform)} counters say that they are the platform's; not counted"))
    return channels, missing, notes


def _differences(events: set[str], zones: frozenset[str]) -> list[str]:
    """Return what one way offers and the other does not."""
    if not events or not zones:
        return []
    notes = [f"powercap lists {domain}, perf events do not count it" for domain in sorted(zones - events)]
    return notes + [f"perf events count {domain}, powercap does not list it" for domain in sorted(events - zones)]


def _joined(covered: set[str], refusals: list[Gap], gaps: list[Gap]) -> list[Gap]:
    """Return one gap a domain that neither way covers, with both reasons."""
    reasons: dict[str, list[str]] = {}
    for way, found in (("powercap", gaps), ("perf events", refusals)):
        for domain, reason in found:
            if domain not in covered:
                reasons.setdefault(domain, []).append(f"{way}: {reason}")
    return [(domain, "; ".join(said)) for domain, said in reasons.items()]


def _keep(source_ref: weakref.ref[RaplSource], stop: threading.Event, poll_s: float) -> None:
    """Read a source wherever nobody has for `poll_s`, until it is closed or nobody holds it any more."""
    wait_s = poll_s
    while not stop.wait(wait_s):
        source = source_ref()
        if source is None:
            return
        wait_s = poll_s - source.unread_s()
        if wait_s <= 0:
            source.read()
            wait_s = poll_s
        del source


def _closed() -> int:
    raise OSError(errno.EBADF, "the meter was closed")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return "the file holds no number"


_sources: weakref.WeakSet[RaplSource] = weakref.WeakSet()


def _adopt_all() -> None:
    for source in tuple(_sources):
        source.adopt()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_adopt_all)
