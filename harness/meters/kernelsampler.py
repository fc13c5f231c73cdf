"""Rows of a trace that the kernel takes by itself, where all that is read between edges are perf energy events.

Such a row holds its time and the energies. CPU time and the host's are read at the edges of windows and once a
chunk only. Between two edges a counter cannot read less than at the first or more than at the second, so a
sample that says so was taken while an edge was being read, or is false: it is left out and counted.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

from harness.counters.perf_events import EnergyCount
from harness.counters.rapl import boot_ns
from harness.counters.ring import Ring, Sample, open_ring
from harness.meters.rapl import RaplMeter
from harness.meters.seam import BilledMeter
from harness.meters.traceformat import TracedInfo
from harness.meters.tracerows import KernelRow, Reading, columns, merged

BESIDE_NS = 1_000_000
"""A sample so near to an edge says nothing new, RAPL changes once in a millisecond; and which came first is unsure."""

CHUNKS = 4
"""How many chunks the ring holds, in case the thread that empties it is kept waiting."""


class KernelSampler:
    """The rows between the edges; `rows` counts those that were given out."""

    def __init__(self, ring: Ring, meter: int, channels: Sequence[str], period_s: float) -> None:
        self.rows = 0
        self._ring = ring
        self._meter = meter
        self._channels = tuple(channels)
        self._period_ns = round(period_s * 1e9)
        self._last: Reading | None = None
        self._pending: list[Sample] = []
        self._begun_ns = time.perf_counter_ns()
        self._asleep_ns = _ahead_ns(boot_ns)
        self._suspended = 0
        self._beside = 0
        self._contrary = 0

    def take(self) -> bytes:
        """Return what the kernel sampled since the last time, to be given to `columns`; quick."""
        return self._ring.take()

    def columns(
        self, data: bytes, readings: Sequence[Reading], meters: Sequence[BilledMeter], traced: Sequence[TracedInfo]
    ) -> dict[str, list[Any]]:
        """Return the columns of these full rows and of the kernel's up to the last of them.

        Args:
            data: from `take`, called after the last of the readings.
            readings: the full rows since the last call, at least one.
            meters: those of the trace.
            traced: what the trace says of them.
        """
        edges = [*([] if self._last is None else [self._last]), *readings]
        self._last = readings[-1]
        samples = self._pending + self._ring.samples(data)
        last_ns = readings[-1][0].wall_ns
        self._pending = [sample for sample in samples if sample.monotonic_ns > last_ns]
        found = self._admitted([sample for sample in samples if sample.monotonic_ns <= last_ns], edges, meters)
        self.rows += len(found)
        return merged(dict(columns(readings, meters, traced)), found, self._channels)

    def notes(self) -> tuple[str, ...]:
        """Return what is missing from the samples of the kernel, each with the reason."""
        ring = self._ring
        due = 0 if self._last is None else (self._last[0].wall_ns - self._begun_ns) // self._period_ns
        left_out = self._beside + self._contrary + self._suspended + ring.partial
        absent = due - self.rows - left_out - ring.lost
        told = (
            (ring.lost, "were lost, the ring was full"),
            (ring.partial, "are left out, an event had not counted all the time before them"),
            (self._suspended, "are left out, the host was suspended around them"),
            (self._contrary, "are left out, they contradict the edges before and after them"),
            # One sample may be late at the end.
            (
                absent if absent > 1 else 0,
                f"never came: the CPU was offline, held up or throttled ({ring.throttled} times)",
            ),
        )
        return tuple(f"{count} of {due} samples of the kernel {what}" for count, what in told if count)

    def close(self) -> None:
        """Sample no more; in a forked child only its copies of the descriptors are closed."""
        self._ring.close()

    def _admitted(
        self, samples: Sequence[Sample], edges: Sequence[Reading], meters: Sequence[BilledMeter]
    ) -> list[KernelRow]:
        """Return rows of the samples that lie between two edges and do not contradict them."""
        asleep_ns, unix_ahead_ns = _ahead_ns(boot_ns), _ahead_ns(time.time_ns)
        suspended = abs(asleep_ns - self._asleep_ns) > BESIDE_NS
        self._asleep_ns = asleep_ns
        meter: Any = meters[self._meter]
        times_ns = [mark.wall_ns for mark, _ in edges]
        raws = [meter.raw(mark.readings[self._meter]) for mark, _ in edges]
        rows: list[KernelRow] = []
        for at_ns, energies_uj in samples:
            after = bisect_right(times_ns, at_ns)
            if (
                after in (0, len(times_ns))
                or at_ns - times_ns[after - 1] < BESIDE_NS
                or times_ns[after] - at_ns < BESIDE_NS
            ):
                self._beside += 1
            elif suspended:
                self._suspended += 1
            elif not _between(raws[after - 1], energies_uj, raws[after]):
                self._contrary += 1
            else:
                # The edge before may have been held up after its own time was taken.
                boot = max(at_ns + asleep_ns, edges[after - 1][1])
                rows.append(KernelRow(at_ns, boot, at_ns + unix_ahead_ns, energies_uj))
        return rows


def open_kernel_sampler(
    meters: Sequence[BilledMeter], traced: Sequence[TracedInfo], *, attribute: bool, period_s: float, rows: int
) -> KernelSampler | str:
    """Let the kernel sample every `period_s` seconds where it can take all that a trace needs between edges.

    Args:
        meters: those of the trace.
        traced: what the trace says of them.
        attribute: whether shares of a package are billed, which need the CPU time of every sample.
        period_s: seconds from sample to sample.
        rows: how many samples a chunk has.

    Returns:
        What gives the rows, or in words why a thread must sample.
    """
    if attribute:
        return "shares of the package need CPU times in every sample"
    if time.get_clock_info("perf_counter").implementation != "clock_gettime(CLOCK_MONOTONIC)":
        return "the clock of windows here is none that the kernel's samples can be told by"
    found: list[tuple[int, RaplMeter]] = []
    for index, (meter, info) in enumerate(zip(meters, traced, strict=True)):
        if isinstance(meter, RaplMeter):
            found.append((index, meter))
        elif info.columns or meter.billed:
            return f"the kernel cannot read the meter {meter.name!r}"
    if len(found) != 1:
        return "no energy counter is read through perf events"
    index, rapl = found[0]
    counts: list[EnergyCount] = []
    for label, read in rapl.reads():
        if not isinstance(read, EnergyCount):
            return f"{label} is not read through perf events"
        counts.append(read)
    ring = open_ring(counts, period_s, CHUNKS * rows)
    return ring if isinstance(ring, str) else KernelSampler(ring, index, traced[index].columns, period_s)


def _between(low: Sequence[int | str], energies_uj: Sequence[int], high: Sequence[int | str]) -> bool:
    """Return whether no counter reads less than before or more than after; a reading that failed says nothing."""
    return all(
        (isinstance(before, str) or before <= energy_uj) and (isinstance(after, str) or energy_uj <= after)
        for before, energy_uj, after in zip(low, energies_uj, high, strict=True)
    )


def _ahead_ns(clock_ns: Callable[[], int]) -> int:
    """Return by how much a clock is ahead of the monotonic one, from the quickest of three looks."""
    looks = []
    for _ in range(3):
        before_ns, other_ns, after_ns = time.perf_counter_ns(), clock_ns(), time.perf_counter_ns()
        looks.append((after_ns - before_ns, other_ns - before_ns))
    return min(looks)[1]
