"""Joules, seconds and bytes of windows and records. Nothing here is ever guessed: what is missing raises."""

from __future__ import annotations

import math
from collections.abc import Iterable

from harness.errors import InvalidMeasurement, NotMeasured
from harness.records import Energy, Missing, Record, Window, WindowKind
from harness.stats.sums import Total, add, part_of, parts_of, scaled, weakest


def total(window: Window, case: str = "a case") -> Total:
    """Return the billed joules of one window; `case` names it in messages.

    Raises: NotMeasured: no domain is billed, or a domain has no reading. InvalidMeasurement: a reading
    is not finite or is negative.
    """
    measured = window.measured
    where = f"{case}: {window.kind.value} window of fork {window.fork}"
    return billed_total(measured.energies, measured.missing, where)


def billed_total(energies: Iterable[Energy], missing: Iterable[Missing], where: str) -> Total:
    """Return the billed joules among these; `where` names them in messages.

    Raises: NotMeasured: no domain is billed, or a billed one is missing. InvalidMeasurement: a reading is not
        finite or is negative.
    """
    lost = [gap for gap in missing if gap.billed]
    if lost:
        gaps = "; ".join(f"{gap.domain}: {gap.reason}" for gap in lost)
        raise NotMeasured(f"{where} has no reading for {gaps}; run `joulebench doctor` to see what can be measured")
    billed = [energy for energy in energies if energy.billed]
    if not billed:
        raise NotMeasured(f"{where} has no billed domain; run `joulebench doctor` to see what can be measured")
    for energy in billed:
        if not math.isfinite(energy.energy_j) or energy.energy_j < 0:
            raise InvalidMeasurement(
                f"{where}: {energy.domain} reads {energy.energy_j} J, which cannot be; "
                f"check the meter {energy.meter} with `joulebench doctor`"
            )
    return Total(
        energy_j=sum(energy.energy_j for energy in billed),
        low_j=sum(part_of(energy).low_j for energy in billed),
        high_j=sum(part_of(energy).high_j for energy in billed),
        provenance=weakest(energy.provenance for energy in billed),
        domains=tuple(sorted({energy.domain for energy in billed})),
        parts=parts_of(part_of(energy) for energy in billed),
    )


def windows_of(record: Record, kind: WindowKind) -> tuple[Window, ...]:
    """Return the record's windows of a kind, in order.

    Raises: NotMeasured: there is none.
    """
    found = tuple(window for window in record.windows if window.kind is kind)
    if not found:
        raise NotMeasured(f"{record.case.name} has no {kind.value} window; its outcome: {record.outcome}")
    return found


def run_total(record: Record) -> Total:
    """Return the joules of all measured RUN windows."""
    return add(total(window, record.case.name) for window in windows_of(record, WindowKind.RUN))


def energy_per_task(record: Record) -> Total:
    """Return joules a task over all RUN windows (arithmetic mean).

    Raises: NotMeasured: no windows, no tasks, or a missing domain.
    """
    return scaled(run_total(record), 1.0 / _tasks(record))


def energy_per_task_j(record: Record) -> float:
    """Return joules a task over all RUN windows (arithmetic mean)."""
    return energy_per_task(record).energy_j


def net_energy_per_task_j(record: Record) -> float:
    """Return joules a task over all RUN windows, less what the idle host drew for as long.

    Idle power is measured in the IDLE windows that bracket each fork's blocks, never derived from
    utilisation. Where joules are modelled there are none: a process at rest is billed nothing anyway.

    Raises: NotMeasured: a fork has no idle window.
    """
    idle: dict[int, list[Window]] = {}
    for window in windows_of(record, WindowKind.IDLE):
        idle.setdefault(window.fork, []).append(window)
    net_j = 0.0
    for window in windows_of(record, WindowKind.RUN):
        if window.fork not in idle:
            raise NotMeasured(f"{record.case.name}: fork {window.fork} has no idle window")
        rests = idle[window.fork]
        rest_j = math.fsum(total(rest, record.case.name).energy_j for rest in rests)
        idle_w = rest_j / math.fsum(rest.measured.duration_s for rest in rests)
        net_j += total(window, record.case.name).energy_j - idle_w * window.measured.duration_s
    return net_j / _tasks(record)


def duration_per_task_s(record: Record) -> float:
    """Return wall seconds a task over all RUN windows."""
    windows = windows_of(record, WindowKind.RUN)
    return math.fsum(window.measured.duration_s for window in windows) / _tasks(record)


def cpu_per_task_s(record: Record) -> float:
    """Return CPU seconds (the process and its reaped children) a task over all RUN windows."""
    return math.fsum(window.measured.cpu_s for window in windows_of(record, WindowKind.RUN)) / _tasks(record)


def peak_memory_bytes(record: Record) -> int:
    """Return the largest peak memory of any window.

    Raises: NotMeasured: no window carries it.
    """
    peaks = [window.peak_memory_bytes for window in record.windows if window.peak_memory_bytes is not None]
    if not peaks:
        raise NotMeasured(f"{record.case.name}: no window carries a peak memory")
    return max(peaks)


def build_total(record: Record) -> Total:
    """Return the joules of building once: BUILD windows summed in each fork, averaged over forks."""
    windows = windows_of(record, WindowKind.BUILD)
    forks = len({window.fork for window in windows})
    return scaled(add(total(window, record.case.name) for window in windows), 1.0 / forks)


def training_total(record: Record) -> Total:
    """Return the joules of the one training of a record: all its TRAIN windows.

    A training that was taken up again goes on in another fork, so its forks are parts of it, not repetitions.
    EVAL windows are not training and are not in it.
    """
    return add(total(window, record.case.name) for window in windows_of(record, WindowKind.TRAIN))


def eval_total(record: Record) -> Total:
    """Return the joules of the evaluations between checkpoints, which training is not billed for."""
    return add(total(window, record.case.name) for window in windows_of(record, WindowKind.EVAL))


def training_duration_s(record: Record) -> float:
    """Return wall seconds of the one training of a record."""
    return math.fsum(window.measured.duration_s for window in windows_of(record, WindowKind.TRAIN))


def to_target(record: Record) -> Total | None:
    """Return the training joules up to the first checkpoint that reached `target_quality`; None if none did.

    Raises: NotMeasured: the case had no target, or no curve.
    """
    if record.target_quality is None or not record.curve:
        raise NotMeasured(f"{record.case.name} has no target quality or no quality curve")
    reached = [point for point in record.curve if point.quality.value >= record.target_quality]
    if not reached:
        return None
    return up_to(record, reached[0].windows_done)


def up_to(record: Record, windows_done: int) -> Total:
    """Return the joules of the first `windows_done` training windows; the first of them is the set-up."""
    windows = windows_of(record, WindowKind.TRAIN)
    return add(total(window, record.case.name) for window in windows[:windows_done])


def _tasks(record: Record) -> int:
    tasks = sum(window.tasks for window in windows_of(record, WindowKind.RUN))
    if tasks <= 0:
        raise NotMeasured(f"{record.case.name}: its run windows hold no task")
    return tasks
