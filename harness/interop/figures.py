"""The numbers that other tools can hold: seconds and joules a task of each case of a run, or of each arm of a gate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from harness import stats, store
from harness.compare import Results
from harness.errors import InvalidMeasurement, NotMeasured
from harness.gate.model import Block, GateResult, Slot, Stage, Verdict
from harness.gate.writing import GATE, read_blocks, read_gate
from harness.records import Doubt, Failed, Frozen, Phase, Provenance, Record, Skipped, Window, WindowKind

HEAD = "head"


class Figure(Frozen, frozen=True, kw_only=True):
    """One case of a run, or one arm of a gated case.

    `seconds` and `joules` hold one value a task (a training, for train cases): of each block, or of each fork
    where there are no blocks; `joules` is empty where `gap` says why. `energy_j`, `duration_s` and `cpu_s` are all
    there was over all tasks, `low_j` and `high_j` what the meters know of the joules' error.
    """

    name: str
    fullname: str
    group: str
    per: str
    seconds: tuple[float, ...]
    joules: tuple[float, ...] = ()
    energy_j: float | None = None
    low_j: float | None = None
    high_j: float | None = None
    provenance: Provenance | None = None
    known: str | None = None
    duration_s: float
    cpu_s: float
    doubts: tuple[Doubt, ...] = ()
    gap: str | None = None
    arm: str | None = None


class Figures(Frozen, frozen=True, kw_only=True):
    """What a run or a gate measured; `left_out` says of each case without figures why it has none.

    `host` is what `host.probe()` said, empty for a gate, which keeps the fingerprint alone.
    """

    source: str
    started_utc: str
    code_version: str
    host_fingerprint: str
    host: dict[str, Any] = {}
    figures: tuple[Figure, ...]
    left_out: dict[str, str] = {}


def load(path: Path) -> Figures:
    """Return the figures of a run (its folder or a file in it) or of a gate (its folder or its `gate.json`).

    Raises: ResultsError: it is neither, or one of its files is missing or damaged.
    """
    folder = path if path.is_dir() else path.parent
    if path.name == GATE or (folder / GATE).exists():
        return of_gate(read_gate(folder), read_blocks(folder))
    return of_run(store.load_run(path))


def of_run(run: Results) -> Figures:
    """Return the figures of a run, case by case."""
    figures: list[Figure] = []
    left_out: dict[str, str] = {}
    for record in run.records:
        name = _fullname(record)
        shown = run.info.name_of(record.case)
        if isinstance(record.outcome, Skipped):
            left_out[name] = f"skipped: {record.outcome.reason}"
        elif isinstance(record.outcome, Failed):
            left_out[name] = f"failed: {record.outcome.message}"
        else:
            try:
                figures.append(_of_record(record, shown))
            except NotMeasured as error:
                left_out[name] = str(error)
    info = run.info
    return Figures(
        source=info.run_id,
        started_utc=info.started_utc,
        code_version=info.code_version,
        host_fingerprint=info.host_fingerprint,
        host=info.host,
        figures=tuple(figures),
        left_out=left_out,
    )


def of_gate(result: GateResult, blocks: Sequence[Block]) -> Figures:
    """Return the figures of both arms of every gated case, from the blocks of the main stage that count.

    A case that is invalid is left out, whatever of it was measured: a tracker would take it for a measurement.
    """
    figures: list[Figure] = []
    left_out: dict[str, str] = {}
    for case in result.cases:
        mine = [block for block in blocks if block.case == case.name and block.stage is Stage.MAIN and not block.void]
        if not mine or case.verdict is Verdict.INVALID:
            left_out[case.name] = f"{case.verdict.value}: {case.reason}"
            continue
        figures += [_of_arm(case.name, arm, mine) for arm in ("base", HEAD)]
    return Figures(
        source=result.gate_id,
        started_utc=result.started_utc,
        code_version=result.code_version,
        host_fingerprint=result.host_fingerprint,
        figures=tuple(figures),
        left_out=left_out,
    )


def _fullname(record: Record) -> str:
    return f"{record.case.workload.name}/{record.case.name}[{record.case_id}]"


def _of_record(record: Record, name: str) -> Figure:
    """Return one case. Raises: NotMeasured: it has no windows of its kind."""
    training = record.case.phase is Phase.TRAIN
    kind = WindowKind.TRAIN if training else WindowKind.RUN
    windows = [window for window in record.windows if window.kind is kind]
    if not windows:
        raise NotMeasured(f"{record.case.name} has no {kind.value} window")
    rounds: dict[tuple[int, int | None] | None, list[Window]] = {}
    for window in windows:  # a record holds one training, also where it was taken up again in another fork
        rounds.setdefault(None if training else (window.fork, window.block), []).append(window)
    tasks = [1 if training else sum(window.tasks for window in each) for each in rounds.values()]
    if min(tasks) <= 0:
        raise NotMeasured(f"{record.case.name}: a block of its windows holds no task")
    figure = Figure(
        name=name,
        fullname=_fullname(record),
        group=f"{record.case.workload.name}/{record.case.phase.value}",
        per="training" if training else "task",
        seconds=tuple(_sum_s(each) / n for each, n in zip(rounds.values(), tasks, strict=True)),
        duration_s=_sum_s(windows) / sum(tasks),
        cpu_s=math.fsum(window.measured.cpu_s for window in windows) / sum(tasks),
        doubts=tuple(dict.fromkeys((*record.doubts, *(d for w in windows for d in w.measured.doubts)))),
    )
    try:
        totals = [stats.add(stats.total(w, record.case.name) for w in each) for each in rounds.values()]
        whole = stats.scaled(stats.add(totals), 1 / sum(tasks))
    except (NotMeasured, InvalidMeasurement) as error:
        return msgspec.structs.replace(figure, gap=str(error))
    return msgspec.structs.replace(
        figure,
        joules=tuple(total.energy_j / n for total, n in zip(totals, tasks, strict=True)),
        energy_j=whole.energy_j,
        low_j=whole.low_j,
        high_j=whole.high_j,
        provenance=whole.provenance,
        known=whole.label,
    )


def _sum_s(windows: Sequence[Window]) -> float:
    return math.fsum(window.measured.duration_s for window in windows)


def _of_arm(case: str, arm: str, blocks: Sequence[Block]) -> Figure:
    per_block = [[slot for slot in block.slots if slot.arm == arm] for block in blocks]
    slots = [slot for each in per_block for slot in each]
    tasks = sum(slot.tasks for slot in slots)
    figure = Figure(
        name=f"{case}[{arm}]",
        fullname=f"{case}[{arm}]",
        group=case,
        per="task",
        seconds=tuple(math.fsum(s.duration_s for s in each) / sum(s.tasks for s in each) for each in per_block),
        duration_s=math.fsum(slot.duration_s for slot in slots) / tasks,
        cpu_s=math.fsum(slot.cpu_s for slot in slots) / tasks,
        doubts=tuple(dict.fromkeys(doubt for slot in slots for doubt in slot.doubts)),
        arm=arm,
    )
    lost = next((slot for slot in slots if slot.energy_j is None), None)
    if lost is not None:
        return msgspec.structs.replace(figure, gap=lost.gap or "a slot has no joules and does not say why")
    weakest = stats.weakest(slot.provenance for slot in slots if slot.provenance is not None)
    return msgspec.structs.replace(
        figure,
        joules=tuple(_sum_j(each) / sum(slot.tasks for slot in each) for each in per_block),
        energy_j=_sum_j(slots) / tasks,
        provenance=weakest,
        known=weakest.value,
    )


def _sum_j(slots: Sequence[Slot]) -> float:
    return math.fsum(slot.energy_j for slot in slots if slot.energy_j is not None)
