"""The tables about the lifecycle, what did not run, the host, the data and the model."""

from __future__ import annotations

from typing import Any

from harness.lifecycle import REQUESTS, Pipeline, energy_at, inference_share
from harness.published_splits import PUBLISHED_SPLITS
from harness.records import Failed, Ok, Skipped
from harness.report import formats as f
from harness.report.gather import Gathered
from harness.report.model import Cell, Column, Table
from harness.report.provenance import label

_ESSENTIAL = (REQUESTS[0], 10**5, 10**6, REQUESTS[-1])


def lifecycle_tables(run: Gathered) -> tuple[Table, ...]:
    """Return training + building + N × inference over N, and the published splits for context."""
    workloads = dict.fromkeys(pipeline.workload for pipeline in run.lifecycle.pipelines)
    if not workloads:
        return ()
    return (*(_lifecycle_table(run, workload) for workload in workloads), _published_table())


def _lifecycle_table(run: Gathered, workload: str) -> Table:
    pipelines = [each for each in run.lifecycle.pipelines if each.workload == workload]
    rows = []
    for pipeline in pipelines:
        span = ""
        if pipeline.parity_low is not None and pipeline.parity_high is not None:
            span = f"{f.count(pipeline.parity_low)} to {f.count(pipeline.parity_high)}"
        rows.append(
            (
                Cell(text=pipeline.name, detail=pipeline.group),
                *(() if run.uniform else (_known(pipeline),)),
                Cell(text=f.count(pipeline.parity_tasks), detail=span),
                *(
                    Cell(
                        text=f.si(energy_at(pipeline, n), "J"),
                        detail=f.percent(inference_share(pipeline, n), 0),
                    )
                    for n in REQUESTS
                ),
            )
        )
    where = f" on {workload}" if workload else ""
    return Table(
        key=f"lifecycle-{workload}" if workload else "lifecycle",
        title=f"Training, building and N requests together{where}",
        intro="Total energy at N requests, and below it the share of inference.",
        columns=(
            Column(name="pipeline", numeric=False),
            *(() if run.uniform else (Column(name="provenance: training, a task", numeric=False),)),
            Column(name="inference overtakes training at"),
            *(Column(name=f"N = {f.power_of_ten(n)}", extra=n not in _ESSENTIAL) for n in REQUESTS),
        ),
        rows=tuple(rows),
        notes=(
            (
                f"Provenance: {label(pipeline.train for pipeline in pipelines)}. One training, without the "
                "search and the failed attempts before it."
            ),
        ),
    )


def _known(pipeline: Pipeline) -> Cell:
    return Cell(text=pipeline.train.label, detail=f"a task: {pipeline.task.label}")


def _published_table() -> Table:
    return Table(
        key="published",
        title="Published shares of inference, for context",
        intro="Each is a share of another quantity; none is comparable with the table above or with each other.",
        columns=(
            Column(name="source", numeric=False),
            Column(name="year", numeric=False),
            Column(name="inference"),
            Column(name="share of", numeric=False),
            Column(name="evidence", numeric=False),
        ),
        rows=tuple(
            (
                Cell(text=each.source),
                Cell(text=each.year),
                Cell(text=_share(each.inference_share_low, each.inference_share_high)),
                Cell(text=each.share_of),
                Cell(text=each.evidence),
            )
            for each in PUBLISHED_SPLITS
        ),
    )


def _share(low: float, high: float) -> str:
    return f"{low:.0%}" if low == high else f"{low * 100:.0f}–{high * 100:.0f}%"


def outcome_table(run: Gathered) -> Table | None:
    """Return the cases that were skipped or failed, with reasons."""
    rows = []
    for record in run.records:
        outcome = record.outcome
        if isinstance(outcome, Ok):
            continue
        if isinstance(outcome, Skipped):
            cells = (Cell(text="skipped"), Cell(text=outcome.reason))
        elif isinstance(outcome, Failed):
            cells = (Cell(text="failed", detail=outcome.error), Cell(text=outcome.message, detail=outcome.log or ""))
        rows.append((Cell(text=run.info.name_of(record.case)), *cells))
    if not rows:
        return None
    names = ("case", "outcome", "reason")
    columns = tuple(Column(name=name, numeric=False) for name in names)
    return Table(key="outcomes", title="Skipped and failed cases", columns=columns, rows=tuple(rows))


def facts_tables(run: Gathered) -> tuple[Table, ...]:
    """Return the host, and the data and the model with their hashes."""
    info = run.info
    host = [(key, _plain(value)) for key, value in info.host.items() if value not in (None, "", [], {}, ())]
    about = [("fingerprint", info.host_fingerprint), ("code", info.code_version), *host]
    about += [("suite", f"{info.suite_name}, sha256 {info.suite_sha256}"), ("started", info.started_utc)]
    about.append(("finished", info.finished_utc or "not finished"))
    if info.wall_s > 0:
        share = f"{info.measured_s / info.wall_s:.0%} of it in measured windows or training"
        about.append(("wall time", f"{f.si(info.wall_s, 's')}, {share}"))
    tables = [_facts("host", "Host and run", about)]
    material = _material(run)
    return (*tables, _facts("material", "Data and model", material)) if material else tuple(tables)


def _material(run: Gathered) -> list[tuple[str, str]]:
    facts: dict[str, str] = {}
    for record in run.records:
        label = run.info.labels.get(record.case_id)
        of = f"{label}: " if label else ""
        if record.data is not None:
            data = record.data
            facts[f"{of}data"] = data.source
            facts[f"{of}data sha256"] = data.content_sha256
            if data.classes:
                facts[f"{of}classes"] = f"{len(data.classes)}: {', '.join(data.classes)}"
            facts[f"{of}examples"] = f"{data.n_train:,} train, {data.n_validation:,} validation, {data.n_test:,} test"
            if data.note:
                facts[f"{of}note"] = data.note
            if data.trivial:
                facts[f"{of}without a model"] = "; ".join(
                    f"{each.split} {each.metric} {f.percent(each.value)} ({each.answer})" for each in data.trivial
                )
        if record.model is not None:
            model = record.model
            facts[f"{of}model of {record.case.phase.value} cases"] = (
                f"{model.source}, {model.architecture}, {model.parameters:,} parameters"
            )
            facts[f"{of}weights sha256"] = model.weights_sha256 or "none: random weights"
    return list(facts.items())


def _facts(key: str, title: str, facts: list[tuple[str, str]]) -> Table:
    return Table(
        key=key,
        title=title,
        columns=(Column(name="what", numeric=False), Column(name="value", numeric=False)),
        rows=tuple((Cell(text=name.replace("_", " ")), Cell(text=value)) for name, value in facts),
    )


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items() if item is not None)
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value)
    return str(value)
