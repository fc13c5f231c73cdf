"""The tables about training."""

from __future__ import annotations

from collections.abc import Sequence

from harness import stats
from harness.records import Trivial
from harness.report import formats as f
from harness.report.gather import Gathered, Training
from harness.report.model import Cell, Column, Table
from harness.report.provenance import bounds_heading
from harness.report.tables import (
    EMPTY,
    PROVENANCE,
    doubts_of,
    known_cell,
    measure_cells,
    measure_columns,
    measure_names,
    total_cell,
)
from harness.stats import Spread, TrainingTotal

_NOTES = (
    "Trainings run one after another, alone, not interleaved: a drift of the machine is in their differences.",
    (
        "An interval “within one run” says how well this run's energy is known, not what another seed would "
        "draw; give three seeds for an interval between runs."
    ),
    "What it took to pretrain a pretrained model is on nobody's bill here; nothing of it was measured.",
    "Energy a step and an example is all that training is billed, its set-up included, over what it did.",
)
_SEEDS = (
    "Where a training had several seeds, its test quality is the least and the greatest of them; other measures, "
    "steps, examples, evaluations and doubts are the first seed's."
)


def training_tables(run: Gathered) -> tuple[Table, ...]:
    """Return what each training technique cost, to its end and to the target: a table for each workload and device."""
    groups = run.training_groups
    last = len(groups) - 1
    notes = (*_NOTES, _SEEDS) if any(len(each.records) > 1 for each in run.trainings) else _NOTES
    return tuple(
        _table(name, trainings, notes if number == last else ())
        for number, (name, trainings) in enumerate(groups.items())
    )


def _table(group: str, trainings: Sequence[Training], notes: tuple[str, ...]) -> Table:
    target = next((each.records[0].target_quality for each in trainings), None)
    totals = [each.cost.total for each in trainings if each.cost is not None]
    told = any(each.known for each in trainings)
    metric = f.metric_of(record.quality for each in trainings for record in each.records)
    measures = measure_names(each.records[0] for each in trainings)
    goal = f"energy to {f.percent(target)} validation {metric}" if target is not None else "energy to target"
    return Table(
        key=f"training-{group}" if group else "training",
        title=f"Training on {group}" if group else "Training",
        columns=(
            Column(name="technique", numeric=False),
            Column(name="energy to the end"),
            Column(name=bounds_heading(totals), extra=True),
            *((PROVENANCE,) if told else ()),
            Column(name=goal),
            Column(name="energy a step"),
            Column(name="energy an example", extra=True),
            Column(name=f"test {metric}"),
            Column(name="without a model", extra=True),
            *measure_columns(measures),
            Column(name="steps", extra=True),
            Column(name="examples", extra=True),
            Column(name="time", extra=True),
            Column(name="evaluations, not billed", extra=True),
            Column(name="doubts", numeric=False, extra=True),
        ),
        rows=tuple(_row(each, measures, told=told) for each in trainings),
        notes=notes,
    )


def _row(training: Training, measures: Sequence[str], *, told: bool) -> tuple[Cell, ...]:
    cost, record = training.cost, training.records[0]
    seeds = "" if len(training.records) == 1 else f"{len(training.records)} seeds"
    if cost is None:
        spent, model = Cell(text="not measured", detail=training.gap), EMPTY
    else:
        spent = cost_cell(cost)
        bounds = (cost.total.low_j, cost.total.high_j)
        model = Cell(text=f.si_range(bounds, "J")) if cost.total.bounded else EMPTY
    return (
        Cell(text=training.technique, detail=seeds),
        spent,
        model,
        *((known_cell(training.known),) if told else ()),
        _target_cell(training),
        per_cell(training.step, training.per_gap),
        per_cell(training.example, training.per_gap),
        _quality_cell(training, seeds),
        trivial_cell(f.trivial_of(record, "test", record.quality)),
        *measure_cells(record, measures),
        Cell(text=f"{record.curve[-1].steps:,}" if record.curve else f.NOTHING),
        Cell(text=f"{record.curve[-1].examples:,}" if record.curve else f.NOTHING),
        Cell(text=f.si(training.duration_s, "s") if training.duration_s is not None else f.NOTHING),
        total_cell(lambda: stats.eval_total(record), told=told),
        Cell(text=doubts_of(record)),
    )


def _quality_cell(training: Training, seeds: str) -> Cell:
    """Return the test quality and its interval, or that of the poorest and of the best of several seeds."""
    quality = training.records[0].quality
    return Cell(text=f.quality_by_seed(training.records), detail=seeds or (f.quality_of(quality) if quality else ""))


def cost_cell(cost: TrainingTotal) -> Cell:
    """Return what a training took in all, its interval and what that is of below it."""
    known = cost.low_j is not None and cost.high_j is not None
    span = f.si_range((cost.low_j or 0.0, cost.high_j or 0.0), "J") + " " if known else ""
    kind = cost.spread.value if cost.spread is not Spread.NONE else "no interval: nothing repeats"
    return Cell(text=f.si(cost.total.energy_j, "J"), detail=f"{span}{kind}")


def per_cell(cost: TrainingTotal | None, gap: str) -> Cell:
    """Return joules a step or an example, their interval below; what it stands for is said of the whole."""
    if cost is None:
        return Cell(text=f.NOTHING, detail=gap)
    if cost.low_j is None or cost.high_j is None:
        return Cell(text=f.si(cost.total.energy_j, "J"), detail="no interval")
    return Cell(text=f.si(cost.total.energy_j, "J"), detail=f.si_range((cost.low_j, cost.high_j), "J"))


def trivial_cell(trivial: Trivial | None) -> Cell:
    """Return what quality takes no model, and by which answer."""
    return Cell(text=f.percent(trivial.value), detail=trivial.answer) if trivial is not None else EMPTY


def _target_cell(training: Training) -> Cell:
    record, cost = training.records[0], training.cost
    if record.target_quality is None:
        return Cell(text=f.NOTHING, detail="no target")
    if training.to_target is not None:
        return Cell(text=f.si(training.to_target.energy_j, "J"), detail=training.known and training.to_target.label)
    if not record.curve:
        return Cell(text="not reached", detail="no checkpoint was evaluated")
    within = f"within {f.si(cost.total.energy_j, 'J')}" if cost is not None else ""
    return Cell(text="not reached", detail=within)
