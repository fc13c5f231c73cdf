"""Raw readings of all meters at 10 Hz, kept as Parquet: what `replay` works out again through the same code.

One row is one reading of everything: the sampler's, and every edge of every window that is open meanwhile, so
a window's own edges are rows and it replays to the joules it had. Columns are raw integers, named in
docs/traces.md; the file's metadata describe the meters and the host.

No existing file is ever written over. While it is recorded a trace lies at `<path>.partial`, where a process
that dies leaves all but its last minute.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from harness.counters.edges import Mark
from harness.counters.load import jiffies_s
from harness.counters.process import usage_s
from harness.counters.rapl import boot_ns
from harness.errors import ResultsError, UsageError
from harness.host import read_cpu
from harness.meters.seam import BilledMeter
from harness.meters.tracefile import Writer
from harness.meters.traceformat import TEXT, Header, Raw, TracedInfo, check_free, import_arrow, partial_of
from harness.meters.window import MeterWindow
from harness.records import DeviceState, MeterInfo

PERIOD_S = 0.1

HOST_PERIOD_S = 1.0
"""How often a sample holds the host's CPU time too; the edges of windows always do."""

CHUNK_ROWS = 600
"""A minute at 10 Hz: how much a process that dies loses at most, beside the edges of its windows."""

_INT64 = 2**63


Sample = tuple[Mark, int]
"""One row before it is written: a mark, and a clock in nanoseconds that goes on while the host is suspended."""


class Recorder:
    """Writes a trace of `window`'s meters to `path`, from `start` to `stop`.

    Beyond reading every `period_s` a sample costs an append; once a minute a chunk is written. The CPU time
    that this takes is the process's own and so in its windows: `sampler_cpu_s` says how much, in seconds. A
    forked child records nothing: the trace is its parent's.

    Raises: MissingExtra: pyarrow is not installed. UsageError: the file exists, or its folder cannot be used.
    """

    def __init__(
        self,
        window: MeterWindow,
        path: str | os.PathLike[str],
        *,
        period_s: float = PERIOD_S,
        context: Mapping[str, Any] | None = None,
    ) -> None:
        import_arrow()
        if period_s <= 0:
            raise UsageError(f"a trace takes a sample every so many seconds, not every {period_s}")
        self.path = Path(path)
        check_free(self.path)
        self.sampler_cpu_s = 0.0
        self.samples = 0
        self._window = window
        self._edges = window.edges
        self.period_s = period_s
        self._header = Header(
            joulebench=_version(),
            period_s=period_s,
            pid=os.getpid(),
            cores=os.cpu_count(),
            host=read_cpu(),
            attribute=window.attribute,
            meters=tuple(_described(window.meters, window.infos())),
            missing=window.missing(),
            context=dict(context or {}),
        )
        self._kept: list[Sample] = []
        self._states: tuple[DeviceState, ...] = ()
        self._writing = threading.Lock()
        self._stopped = False
        self._thread: threading.Thread | None = None
        self._failure: ResultsError | None = None
        self._writer: Writer | None = None

    def start(self) -> None:
        """Take the first sample now and go on in the background.

        Raises: UsageError: the file cannot be made.
        """
        self._writer = Writer(self.path, self._header)
        self._states = self._window.states("begin")
        self._thread = threading.Thread(target=self._run, args=(self._writer,), name="joulebench-trace", daemon=True)
        _recording.add(self)
        self._edges.listen(self._take)
        self._edges.begin()
        self._thread.start()

    def stop(self) -> None:
        """Take the last sample now, then write the file; a second call does nothing.

        Raises: ResultsError: the file could not be written; the message says what is left.
        """
        thread, self._thread = self._thread, None
        writer, self._writer = self._writer, None
        if thread is None or writer is None:
            return
        self._edges.end()
        self._edges.unlisten(self._take)
        self._states += self._window.states("end")
        _recording.discard(self)
        with self._writing:  # the sampler wakes once more, sees this, and ends
            self._stopped = True
            if self._failure is None and not thread.is_alive():
                self._failure = ResultsError(f"{self.path} is not whole: its sampler ended; its traceback says why")
            if self._failure is not None:
                raise self._failure
            self._write(writer)
            writer.finish(msgspec.structs.replace(self._header, states=self._states, sampler_cpu_s=self.sampler_cpu_s))

    def leave(self) -> None:
        """Give up in a forked child, which has neither the thread nor a right to the file."""
        self._thread = None
        self._edges.forget_listeners()

    def _take(self, mark: Mark) -> None:
        self._kept.append((mark, boot_ns()))

    def _run(self, writer: Writer) -> None:
        begin_ns = time.thread_time_ns()
        period_ns = round(self.period_s * 1e9)
        # A share of a package cannot be told without the host's line; everything else can wait a second for it.
        lock, sample, keep = self._edges.lock, self._edges.sample, self._kept.append
        with_host = 1 if self._window.attribute else max(1, round(HOST_PERIOD_S / self.period_s))
        due_ns = time.perf_counter_ns() + period_ns
        while True:
            # Of all ways to wait in Python this takes the least CPU time.
            time.sleep(max(0, due_ns - time.perf_counter_ns()) / 1e9)
            if self._stopped:
                return
            self.samples += 1
            if self.samples % with_host:
                with lock:
                    keep((sample(), boot_ns()))
            else:
                self._edges.begin()
            if len(self._kept) >= CHUNK_ROWS and not self._flushed(writer):
                return
            self.sampler_cpu_s = (time.thread_time_ns() - begin_ns) / 1e9
            # Deadlines are absolute, so sampling does not drift; those that a busy host let pass are left out.
            late_ns = max(0, time.perf_counter_ns() - due_ns)
            due_ns += (late_ns // period_ns + 1) * period_ns

    def _flushed(self, writer: Writer) -> bool:
        with self._writing:
            if self._stopped:
                return False
            try:
                self._write(writer)
            except ResultsError as error:
                self._failure = error
                self._edges.unlisten(self._take)
                return False
        return True

    def _write(self, writer: Writer) -> None:
        rows = len(self._kept)
        if rows:
            writer.write(dict(_columns(self._kept[:rows], self._window.meters, self._header.meters)))
            del self._kept[:rows]


_recording: weakref.WeakSet[Recorder] = weakref.WeakSet()


def _leave_all() -> None:
    for recorder in list(_recording):
        recorder.leave()
    _recording.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_all)


def free_path(folder: Path, stem: str) -> Path:
    """Return `stem.parquet` in the folder, or the first of `stem-2.parquet` and so on that no trace has yet."""
    number = 1
    while True:
        path = folder / (f"{stem}.parquet" if number == 1 else f"{stem}-{number}.parquet")
        if not path.exists() and not partial_of(path).exists():
            return path
        number += 1


def noted(recorder: Recorder, infos: Sequence[MeterInfo]) -> tuple[MeterInfo, ...]:
    """Return the meters with the note that a trace was on, and what its sampler takes of a core.

    Waits for five samples if need be, so that the share is a measured one; call it while nothing is measured.
    """
    while recorder.samples < 5:
        time.sleep(recorder.period_s)
    share = recorder.sampler_cpu_s / (recorder.samples * recorder.period_s)
    note = (
        f"a trace was recorded every {recorder.period_s:.3g} s by a thread of this process, which took {share:.3%} of "
        "a core before the first window; the CPU time of every window contains it"
    )
    return tuple(msgspec.structs.replace(info, notes=(*info.notes, note)) for info in infos)


def _version() -> str:
    try:
        return metadata.version("joulebench")
    except metadata.PackageNotFoundError:
        return "not installed"


def _described(meters: Sequence[BilledMeter], infos: Sequence[MeterInfo]) -> Iterator[TracedInfo]:
    seen: dict[str, int] = {}
    for meter, info in zip(meters, infos, strict=True):
        seen[meter.name] = seen.get(meter.name, 0) + 1
        prefix = meter.name if seen[meter.name] == 1 else f"{meter.name}#{seen[meter.name]}"
        common = TracedInfo(
            name=meter.name,
            info=info,
            billed=tuple(sorted(meter.billed)),
            doubts=tuple(meter.doubts),
            contains_everything=getattr(meter, "contains_everything", False),
        )
        if not all(hasattr(meter, name) for name in ("channels", "raw", "describe")):
            reason = f"the meter {meter.name!r} has no raw readings that a trace can hold"
            yield msgspec.structs.replace(common, reason=reason)
            continue
        traced: Any = meter
        columns = tuple(f"{prefix}.{channel}" for channel in traced.channels)
        yield msgspec.structs.replace(common, columns=columns, description=traced.describe())


def _columns(
    samples: Sequence[Sample], meters: Sequence[BilledMeter], traced: Sequence[TracedInfo]
) -> Iterator[tuple[str, list[Any]]]:
    """Yield each column of the samples by its name."""
    marks = [mark for mark, _ in samples]
    hosts = [jiffies_s(mark.stat) for mark in marks]
    yield "wall_ns", [mark.wall_ns for mark in marks]
    yield "boot_ns", [boot for _, boot in samples]
    yield "unix_ns", [mark.unix_ns for mark in marks]
    yield "cpu_ns", [mark.cpu_ns for mark in marks]
    yield "children_user_ns", [_ns(mark.children.ru_utime) for mark in marks]
    yield "children_system_ns", [_ns(mark.children.ru_stime) for mark in marks]
    yield "group_ns", [_ns(usage_s(mark.group)) for mark in marks]
    yield "host_busy_ns", [None if host is None else _ns(host[0]) for host in hosts]
    yield "host_steal_ns", [None if host is None else _ns(host[1]) for host in hosts]
    for index, (meter, info) in enumerate(zip(meters, traced, strict=True)):
        if not info.columns:
            continue
        source: Any = meter
        rows = [source.raw(mark.readings[index]) for mark in marks]
        for column, values in zip(info.columns, zip(*rows, strict=True), strict=True):
            yield column, [value if _is_number(value) else None for value in values]
            yield column + TEXT, [_words(value) for value in values]


def _is_number(value: Raw) -> bool:
    return isinstance(value, int) and -_INT64 <= value < _INT64


def _words(value: Raw) -> str | None:
    if isinstance(value, int):
        return None if _is_number(value) else f"the reading {value} is outside 64 bits"
    return value


def _ns(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1e9)
