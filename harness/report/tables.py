"""The tables about inference and training."""

from __future__ import annotations

from collections.abc import Callable

from harness import stats
from harness.errors import NotMeasured
from harness.records import Doubt, Record, WindowKind
from harness.report import formats as f
from harness.report.gather import Entry, Gathered, Group, Training
from harness.report.model import Cell, Column, Table
from harness.report.provenance import bounds_heading, bounds_note, label
from harness.report.words import quality_state
from harness.stats import Spread

_EMPTY = Cell(text=f.NOTHING)
_PROVENANCE = Column(name="provenance", numeric=False)
"""Stands beside joules where not all joules of the run are known in one way."""


def inference_tables(group: Group, margin: float, *, several: bool) -> tuple[Table, ...]:
    """Return what inference costs in energy and quality, and in time, memory and building."""
    if not group.entries:
        return ()
    where = f" on {group.result.name}" if several else ""
    return (
        _energy_table(group, margin, where),
        _time_table(group, where),
    )


def _energy_table(group: Group, margin: float, where: str) -> Table:
    totals = [entry.total for entry in group.entries if entry.total is not None]
    told = any(entry.known for entry in group.entries)
    result = group.result
    family = sum(c.ratio is not None for c in result.comparisons)
    together = "s hold together" if family != 1 else " holds"
    notes = [
        (
            f"Energy of a typical block (20 % trimmed mean of logarithms), {result.confidence:.0%} interval; "
            f"{bounds_note(totals)} Provenance: {label(totals)}."
        ),
        (
            f"Ratios are paired over interleaved blocks; {family} interval{together} "
            f"at {result.confidence:.0%} ({result.each_confidence:.2%} each)."
        ),
        f"Accuracy differences are over the same test items; a loss up to {margin * 100:.1f} points is accepted.",
    ]
    return Table(
        key=f"inference-energy-{group.result.name}",
        title=f"Inference{where}: energy and quality",
        columns=(
            Column(name="technique", numeric=False),
            Column(name="energy a task"),
            Column(name=bounds_heading(totals), extra=True),
            *((_PROVENANCE,) if told else ()),
            Column(name="ratio"),
            Column(name="verdict", numeric=False),
            Column(name="accuracy", extra=True),
            Column(name="difference (points)"),
        ),
        rows=tuple(_energy_row(entry, margin, told=told) for entry in group.entries),
        notes=tuple(notes),
    )


def _energy_row(entry: Entry, margin: float, *, told: bool) -> tuple[Cell, ...]:
    quality = entry.record.quality
    accuracy = Cell(text=f.percent(quality.value), detail=f.quality_of(quality)) if quality else _EMPTY
    c = entry.comparison
    if c is None:
        compared = (Cell(text="1"), Cell(text="baseline"), accuracy, _EMPTY)
    else:
        ratio = Cell(text=f.ratio(c.ratio.estimate), detail=f.span_of(c)) if c.ratio else _EMPTY
        state = quality_state(c, margin)
        short = {"not worse": "accuracy not worse", "unresolved": "accuracy unresolved"}
        verdict = Cell(text=c.verdict.value, detail=short.get(state, f"accuracy {state}"))
        difference = (
            Cell(text=f.signed(c.quality.value * 100), detail=f.difference_of(c.quality)) if c.quality else _EMPTY
        )
        compared = (ratio, verdict, accuracy, difference)
    known = (known_cell(entry.known),) if told else ()
    return (Cell(text=entry.record.case.technique), *_energy_cells(entry), *known, *compared)


def known_cell(known: str) -> Cell:
    """Return how joules are known: one word, or `mixed` and the shares below it."""
    word, _, shares = known.partition(": ")
    return Cell(text=word or f.NOTHING, detail=shares)


def _energy_cells(entry: Entry) -> tuple[Cell, Cell]:
    energy, total = entry.energy, entry.total
    if total is None:
        return Cell(text="not measured", detail=entry.gap), _EMPTY
    per_task_j = energy.estimate if energy is not None else total.energy_j
    shown = Cell(
        text=f.si(per_task_j, "J"),
        detail=f.si_range((energy.low, energy.high), "J") if energy is not None else "no interval: one block",
    )
    if not total.bounded:
        return shown, _EMPTY
    scale = per_task_j / total.energy_j
    return shown, Cell(text=f.si_range((total.low_j * scale, total.high_j * scale), "J"))


def _time_table(group: Group, where: str) -> Table:
    rests = any(window.kind is WindowKind.IDLE for entry in group.entries for window in entry.record.windows)
    net = (Column(name="energy a task, net of idle"),) if rests else ()
    return Table(
        key=f"inference-time-{group.result.name}",
        title=f"Inference{where}: time, memory, building",
        columns=(
            Column(name="technique", numeric=False),
            Column(name="time a task"),
            Column(name="CPU time a task", extra=True),
            Column(name="peak memory"),
            Column(name="build"),
            Column(name="building paid back after"),
            Column(name="largest output difference", extra=True),
            Column(name="blocks × forks"),
            Column(name="doubts", numeric=False, extra=True),
            *net,
        ),
        rows=tuple(_time_row(entry) + (_net(entry),) * len(net) for entry in group.entries),
        notes=(
            (
                "Building is everything spent before the first task (loading, exporting, quantising), mean over forks; "
                "it is paid back against the baseline's building."
            ),
            "Peak memory is that of the whole process.",
        ),
    )


def _net(entry: Entry) -> Cell:
    net = _or_nothing(lambda: f.si(stats.net_energy_per_task_j(entry.record), "J"))
    return Cell(text=net, detail=entry.known.partition(":")[0])


def _time_row(entry: Entry) -> tuple[Cell, ...]:
    record, c = entry.record, entry.comparison
    time_ratio = f"× {f.ratio(c.time_ratio.estimate)} ({f.interval_of(c.time_ratio)})" if c and c.time_ratio else ""
    difference = c.largest_output_difference if c else None
    energy = entry.energy
    return (
        Cell(text=record.case.technique),
        Cell(text=_or_nothing(lambda: f.si(stats.duration_per_task_s(record), "s")), detail=time_ratio),
        Cell(text=_or_nothing(lambda: f.si(stats.cpu_per_task_s(record), "s"))),
        Cell(text=_or_nothing(lambda: f"{stats.peak_memory_bytes(record) / 2**20:,.0f} MiB")),
        _total_cell(lambda: stats.build_total(record), told=bool(entry.known)),
        Cell(text=f.payback(c.break_even) if c else f.NOTHING, detail=f.payback_range(c.break_even) if c else ""),
        Cell(text=f"{difference:.1e}" if difference is not None else f.NOTHING),
        Cell(text=f"{energy.n_blocks} in {energy.n_forks}" if energy else f.NOTHING),
        Cell(text=doubts_of(record)),
    )


def _total_cell(make: Callable[[], stats.Total], *, told: bool) -> Cell:
    """Return joules, with how they are known where that is to be told."""
    try:
        total = make()
    except NotMeasured:
        return _EMPTY
    return Cell(text=f.si(total.energy_j, "J"), detail=total.label if told else "")


def doubts_of(record: Record) -> str:
    """Return a record's doubts with the share of its measured windows that carry each."""
    kinds = (WindowKind.RUN, WindowKind.TRAIN)
    windows = [window for window in record.windows if window.kind in kinds]
    shown = []
    for doubt in Doubt:
        carrying = sum(doubt in window.measured.doubts for window in windows)
        if doubt is Doubt.MODELLED:
            continue
        if carrying:
            shown.append(f"{doubt.value} {carrying / len(windows):.0%}")
        elif doubt in record.doubts:
            shown.append(doubt.value)
    return ", ".join(shown) or "none"


def training_table(run: Gathered) -> Table | None:
    """Return what each training technique cost, to its end and to the target."""
    if not run.trainings:
        return None
    target = next((each.records[0].target_quality for each in run.trainings), None)
    totals = [each.cost.total for each in run.trainings if each.cost is not None]
    told = any(each.known for each in run.trainings)
    goal = f"energy to {f.percent(target)} validation accuracy" if target is not None else "energy to target"
    return Table(
        key="training",
        title="Training",
        columns=(
            Column(name="technique", numeric=False),
            Column(name="energy to the end"),
            Column(name=bounds_heading(totals), extra=True),
            *((_PROVENANCE,) if told else ()),
            Column(name=goal),
            Column(name="test accuracy"),
            Column(name="examples", extra=True),
            Column(name="time", extra=True),
            Column(name="evaluations, not billed", extra=True),
            Column(name="doubts", numeric=False, extra=True),
        ),
        rows=tuple(_training_row(each, told=told) for each in run.trainings),
        notes=(
            "Trainings run one after another, alone, not interleaved: a drift of the machine is in their differences.",
            (
                "An interval “within one run” says how well this run's energy is known, not what another seed would "
                "draw; give three seeds for an interval between runs."
            ),
            "What it took to pretrain a pretrained model is on nobody's bill here; nothing of it was measured.",
        ),
    )


def _training_row(training: Training, *, told: bool) -> tuple[Cell, ...]:
    cost, record = training.cost, training.records[0]
    seeds = "" if len(training.records) == 1 else f"{len(training.records)} seeds"
    if cost is None:
        spent, model = Cell(text="not measured", detail=training.gap), _EMPTY
    else:
        known = cost.low_j is not None and cost.high_j is not None
        span = f.si_range((cost.low_j or 0.0, cost.high_j or 0.0), "J") + " " if known else ""
        kind = cost.spread.value if cost.spread is not Spread.NONE else "no interval: nothing repeats"
        spent = Cell(text=f.si(cost.total.energy_j, "J"), detail=f"{span}{kind}")
        bounds = (cost.total.low_j, cost.total.high_j)
        model = Cell(text=f.si_range(bounds, "J")) if cost.total.bounded else _EMPTY
    quality = record.quality
    return (
        Cell(text=training.technique, detail=seeds),
        spent,
        model,
        *((known_cell(training.known),) if told else ()),
        _target_cell(training),
        Cell(text=f.percent(quality.value), detail=f.quality_of(quality)) if quality else _EMPTY,
        Cell(text=f"{record.curve[-1].examples:,}" if record.curve else f.NOTHING),
        Cell(text=f.si(training.duration_s, "s") if training.duration_s is not None else f.NOTHING),
        _total_cell(lambda: stats.eval_total(record), told=told),
        Cell(text=doubts_of(record)),
    )


def _target_cell(training: Training) -> Cell:
    record, cost = training.records[0], training.cost
    if record.target_quality is None or not record.curve:
        return Cell(text=f.NOTHING, detail="no target")
    if training.to_target is not None:
        return Cell(text=f.si(training.to_target.energy_j, "J"), detail=training.known and training.to_target.label)
    within = f"within {f.si(cost.total.energy_j, 'J')}" if cost is not None else ""
    return Cell(text="not reached", detail=within)


def _or_nothing(make: object) -> str:
    """Return what `make()` gives, or a dash where it was not measured."""
    try:
        return str(make()) if callable(make) else f.NOTHING
    except NotMeasured:
        return f.NOTHING
