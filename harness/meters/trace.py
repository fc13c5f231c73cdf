"""Raw readings of all meters at 10 Hz, kept as Parquet: what `replay` works out again through the same code.

One row is one reading of everything: the sampler's, and every edge of every window that is open meanwhile, so
a window's own edges are rows and it replays to the joules it had. Where all that is read are perf energy events
the kernel takes the rows between the edges, with energies alone, and nothing wakes for them; else a thread does.
Columns are raw integers, named in docs/traces.md; the file's metadata describe the meters and the host.

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
from harness.counters.rapl import boot_ns
from harness.errors import ResultsError, UsageError
from harness.host import read_cpu
from harness.meters.kernelsampler import KernelSampler, open_kernel_sampler
from harness.meters.seam import BilledMeter
from harness.meters.tracefile import Writer
from harness.meters.traceformat import Header, TracedInfo, check_free, import_arrow, partial_of
from harness.meters.tracerows import Reading, columns
from harness.meters.window import MeterWindow
from harness.records import DeviceState, MeterInfo

PERIOD_S = 0.1

HOST_PERIOD_S = 1.0
"""How often a sample holds the host's CPU time too; the edges of windows always do."""

CHUNK_ROWS = 600
"""A minute at 10 Hz: how much a process that dies loses at most, beside the edges of its windows."""


class Recorder:
    """Writes a trace of `window`'s meters to `path`, from `start` to `stop`.

    Beyond reading every `period_s` a sample costs an append, and nothing at all where the kernel takes it; once
    a minute a chunk is written. The CPU time that this takes is the process's own and so in its windows:
    `sampler_cpu_s` says how much, in seconds. A forked child records nothing: the trace is its parent's.

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
        self.header = Header(
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
        self._kept: list[Reading] = []
        self._kernel: KernelSampler | None = None
        self._wake = threading.Event()
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
        window = self._window
        kernel = open_kernel_sampler(
            window.meters, self.header.meters, attribute=window.attribute, period_s=self.period_s, rows=CHUNK_ROWS
        )
        if isinstance(kernel, KernelSampler):
            self._kernel, run = kernel, self._run_beside_kernel
            self.header = msgspec.structs.replace(self.header, sampler="kernel")
        else:
            run = self._run
            self.header = msgspec.structs.replace(self.header, sampler_notes=(f"not sampled by the kernel: {kernel}",))
        try:
            self._writer = Writer(self.path, self.header)
        except UsageError:
            self._close_kernel()
            raise
        self._states = window.states("begin")
        self._thread = threading.Thread(target=run, args=(self._writer,), name="joulebench-trace", daemon=True)
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
            self._wake.set()
            try:
                self._finish(writer, thread)
            finally:
                self._close_kernel()

    def _finish(self, writer: Writer, thread: threading.Thread) -> None:
        if self._failure is None and not thread.is_alive():
            self._failure = ResultsError(f"{self.path} is not whole: its sampler ended; its traceback says why")
        if self._failure is not None:
            raise self._failure
        self._write(writer)
        notes = self.header.sampler_notes + (() if self._kernel is None else self._kernel.notes())
        ends = {"states": self._states, "sampler_cpu_s": self.sampler_cpu_s, "sampler_notes": notes}
        writer.finish(msgspec.structs.replace(self.header, **ends))

    def leave(self) -> None:
        """Give up in a forked child, which has neither the thread nor a right to the file."""
        self._thread = None
        self._close_kernel()
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

    def _run_beside_kernel(self, writer: Writer) -> None:
        begin_ns = time.thread_time_ns()
        while not self._wake.wait(CHUNK_ROWS * self.period_s):
            self._edges.begin()  # so that CPU times are known this often
            if not self._flushed(writer):
                return
            self.sampler_cpu_s = (time.thread_time_ns() - begin_ns) / 1e9

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
        meters, traced, kernel = self._window.meters, self.header.meters, self._kernel
        with self._edges.lock:  # what the kernel has given then belongs to no later edge
            readings = self._kept[:]
            sampled = b"" if kernel is None else kernel.take()
            del self._kept[:]
        if kernel is not None:
            writer.write(kernel.columns(sampled, readings, meters, traced))
            self.samples = kernel.rows
        elif readings:
            writer.write(dict(columns(readings, meters, traced)))

    def _close_kernel(self) -> None:
        if self._kernel is not None:
            self._kernel.close()


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

    Waits for five samples of a thread if need be, so that the share is a measured one; call it while nothing is
    measured.
    """
    if recorder.header.sampler == "kernel":
        note = (
            f"a trace was recorded every {recorder.period_s:.3g} s by the kernel, which interrupts one CPU for it; a "
            f"thread of this process writes it every {CHUNK_ROWS * recorder.period_s:.3g} s"
        )
        return tuple(msgspec.structs.replace(info, notes=(*info.notes, note)) for info in infos)
    while recorder.samples < 5:
        time.sleep(recorder.period_s)
    share = recorder.sampler_cpu_s / (recorder.samples * recorder.period_s)
    note = (
        f"a trace was recorded every {recorder.period_s:.3g} s by a thread of this process, which took {share:.3%} of "
        "a core before the first window; the CPU time of every window contains it ("
        + "; ".join(recorder.header.sampler_notes)
        + ")"
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
