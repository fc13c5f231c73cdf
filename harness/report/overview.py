"""All workloads of a run in one table: what a task, a training step and the training cost, and what was learned."""

from __future__ import annotations

from harness.records import Record
from harness.report import formats as f
from harness.report.gather import Entry, Gathered, Training
from harness.report.model import Cell, Column, Table
from harness.report.tables import EMPTY, energy_cells
from harness.report.training_tables import cost_cell, per_cell, trivial_cell

_NOTE = (
    "Workloads do unlike tasks, so their rows are not to be set against each other. Each row is of the workload's "
    "first training and of its baseline of inference; their own tables follow."
)


def overview_table(run: Gathered) -> Table | None:
    """Return a row a workload, of its first training and its baseline inference; None for a run of one workload."""
    labels = tuple(dict.fromkeys(run.info.labels.values()))
    if len(labels) < 2 or run.sweeps:
        return None
    return Table(
        key="overview",
        title="All workloads",
        columns=(
            Column(name="workload", numeric=False),
            Column(name="model", numeric=False, extra=True),
            Column(name="parameters"),
            Column(name="energy a task"),
            Column(name="energy a training step"),
            Column(name="energy of training"),
            Column(name="learned, on validation", numeric=False),
            Column(name="without a model", numeric=False),
            Column(name="loss, nats", numeric=False, extra=True),
        ),
        rows=tuple(_row(run, label) for label in labels),
        notes=(_NOTE,),
    )


def _row(run: Gathered, label: str) -> tuple[Cell, ...]:
    mine = {case_id for case_id, name in run.info.labels.items() if name == label}
    training = next((each for each in run.trainings if each.records[0].case_id in mine), None)
    entries = (group.baseline or next(iter(group.entries), None) for group in run.groups)
    entry = next((each for each in entries if each is not None and each.record.case_id in mine), None)
    model = next((record.model for record in run.records if record.case_id in mine and record.model), None)
    return (
        Cell(text=label),
        Cell(text=model.source, detail=model.architecture) if model else EMPTY,
        Cell(text=f.count(model.parameters)) if model else EMPTY,
        _task(entry),
        per_cell(training.step, training.per_gap) if training else EMPTY,
        _spent(training),
        _learned(training.records[0]) if training else EMPTY,
        _trivial(training.records[0]) if training else EMPTY,
        _loss(training.records[0]) if training else EMPTY,
    )


def _task(entry: Entry | None) -> Cell:
    return energy_cells(entry)[0] if entry is not None else EMPTY


def _spent(training: Training | None) -> Cell:
    if training is None or training.cost is None:
        return EMPTY
    return cost_cell(training.cost)


def _learned(record: Record) -> Cell:
    """Return the quality before the first step, if it was evaluated, and at the end."""
    if not record.curve:
        return EMPTY
    first, last = record.curve[0], record.curve[-1]
    begun = f"{f.percent(first.quality.value)} → " if first.steps == 0 and last.steps > 0 else ""
    return Cell(text=f"{begun}{f.percent(last.quality.value)}", detail=last.quality.metric)


def _trivial(record: Record) -> Cell:
    if not record.curve:
        return EMPTY
    return trivial_cell(f.trivial_of(record, "validation", record.curve[-1].quality))


def _loss(record: Record) -> Cell:
    losses = [(point.steps, point.measures["loss_nats"]) for point in record.curve if "loss_nats" in point.measures]
    if not losses:
        return EMPTY
    begun = f"{f.digits(losses[0][1])} → " if losses[0][0] == 0 and len(losses) > 1 else ""
    return Cell(text=f"{begun}{f.digits(losses[-1][1])}")
