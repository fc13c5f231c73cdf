"""From a run to its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness import stats
from harness.compare import Results, TechniqueComparison, Verdict
from harness.errors import InvalidMeasurement, NotMeasured
from harness.records import Phase, Provenance
from harness.report import formats as f
from harness.report.gather import Entry, Gathered, Group, Training, gather
from harness.report.meter_tables import device_table, meter_table
from harness.report.model import CurveChart, CurveData, EnergyBar, EnergyChart, LifeChart, LifeLine, Report, Sentence
from harness.report.provenance import label, provenance_sentence
from harness.report.tables import inference_tables, training_table
from harness.report.wider_tables import facts_tables, lifecycle_tables, outcome_table
from harness.report.wider_words import (
    FAKE_BANNER,
    doubt_lines,
    lifecycle_sentences,
    training_sentences,
    unlike,
)
from harness.report.words import group_sentences, recommended


def build(run: Results, baselines: Mapping[Phase, str] | None = None) -> Report:
    """Return the report of a run. Runs without inference, without training or without success are reported too.

    `baselines` names the baseline technique of each phase (default: what the catalogue says).
    """
    gathered = gather(run, baselines)
    info = gathered.info
    tables = [
        table
        for group in gathered.groups
        for table in inference_tables(group, info.quality_margin, several=len(gathered.groups) > 1)
    ]
    others = (
        training_table(gathered),
        *lifecycle_tables(gathered),
        outcome_table(gathered),
        meter_table(gathered),
        device_table(gathered),
    )
    tables += [table for table in others if table is not None]
    charts = [_energy_chart(group, info.quality_margin) for group in gathered.groups]
    return Report(
        title=f"joulebench: {info.suite_name}",
        run_id=info.run_id,
        subtitle=_subtitle(gathered),
        banner=FAKE_BANNER if gathered.provenance is Provenance.FAKE else None,
        sentences=tuple(_sentences(gathered)),
        doubts=doubt_lines(gathered),
        tables=(*tables, *facts_tables(gathered)),
        energy_charts=tuple(chart for chart in charts if chart is not None),
        curve_chart=_curve_chart(gathered.trainings),
        life_chart=_life_chart(gathered),
        groups=tuple(group.result for group in gathered.groups),
        lifecycle=gathered.lifecycle,
    )


def _subtitle(run: Gathered) -> str:
    cpu = run.info.host.get("cpu_brand") or "unknown CPU"
    return f"run {run.info.run_id} on {cpu}, host {run.info.host_fingerprint[:8]}"


def _sentences(run: Gathered) -> list[Sentence]:
    margin, several = run.info.quality_margin, len(run.groups) > 1
    sentences = [each for group in run.groups for each in group_sentences(group, margin, several=several)]
    best = [recommended(group, margin) or group.baseline for group in run.groups]
    preferred = [entry.record.case_id for entry in best if entry is not None]
    return [
        *sentences,
        *training_sentences(run),
        *lifecycle_sentences(run, preferred),
        provenance_sentence(run),
    ]


def _energy_chart(group: Group, margin: float) -> EnergyChart | None:
    entries = _alike(group)
    bars = _on_front([bar for bar in map(_bar, entries) if bar is not None])
    if not bars:
        return None
    where = f" ({group.result.name})"
    saving = [c for c in group.result.comparisons if c.ratio is not None and c.verdict is Verdict.SAVES]
    chosen = recommended(group, margin)
    best = chosen.comparison if chosen is not None else min(saving, key=_ratio, default=None)
    title = f"No technique was shown to draw less than the baseline{where}"
    if best is not None and best.ratio is not None:
        doubtful = "" if chosen is not None else ", but its accuracy is not settled"
        title = f"{best.technique} draws {f.change(best.ratio.estimate)} than {best.baseline}{doubtful}{where}"
    front = [bar.technique for bar in bars if bar.on_front]
    return EnergyChart(
        group=group.result.name,
        provenance=label(entry.total for entry in entries if entry.total is not None),
        title=title,
        pareto_title=f"Energy against accuracy{where}: {f.listed(front)} on the front" if front else "",
        bars=tuple(bars),
    )


def _alike(group: Group) -> list[Entry]:
    """Return the entries whose joules are known as the baseline's are: no others may stand beside them."""
    first = group.baseline or (group.entries[0] if group.entries else None)
    return [entry for entry in group.entries if first and stats.bill(entry.record) == stats.bill(first.record)]


def _ratio(comparison: TechniqueComparison) -> float:
    return comparison.ratio.estimate if comparison.ratio is not None else float("inf")


def _bar(entry: Entry) -> EnergyBar | None:
    energy, c, quality = entry.energy, entry.comparison, entry.record.quality
    if energy is None:
        return None
    label = f.si(energy.estimate, "J")
    if c is not None and c.ratio is not None:
        undecided = c.verdict is Verdict.NO_DIFFERENCE_SHOWN
        label += ", no difference shown" if undecided else f", {f.change(c.ratio.estimate)}"
    return EnergyBar(
        technique=entry.record.case.technique,
        tone=c.verdict.value if c is not None else "baseline",
        energy_j=energy.estimate,
        low_j=energy.low,
        high_j=energy.high,
        label=label,
        accuracy=quality.value if quality else None,
        accuracy_low=quality.low if quality else None,
        accuracy_high=quality.high if quality else None,
    )


def _on_front(bars: Sequence[EnergyBar]) -> list[EnergyBar]:
    """Mark the bars that no other beats in energy without losing in accuracy."""
    from msgspec.structs import replace

    def beaten(bar: EnergyBar) -> bool:
        mine = bar.accuracy
        return mine is None or any(
            other.accuracy is not None
            and other.energy_j <= bar.energy_j
            and other.accuracy >= mine
            and (other.energy_j, -other.accuracy) != (bar.energy_j, -mine)
            for other in bars
        )

    return [replace(bar, on_front=not beaten(bar)) for bar in bars]


def _curve_chart(trainings: Sequence[Training]) -> CurveChart | None:
    told = unlike(trainings)
    curves = [curve for curve in (_curve(each, told=told) for each in trainings) if curve is not None]
    if not curves:
        return None
    target = next((each.records[0].target_quality for each in trainings), None)
    reached = [each for each in trainings if each.to_target is not None]
    title = "Validation accuracy over the energy spent"
    if target is not None and unlike(reached):
        title = "Validation accuracy over the energy spent, known in unlike ways"
    elif reached and target is not None:
        spent_j, best = min((each.to_target.energy_j, each.technique) for each in reached if each.to_target)
        title = f"{best} reaches {f.percent(target)} with {f.si(spent_j, 'J')}"
    elif target is not None:
        title = f"No training reached {f.percent(target)}"
    metric = next(each.records[0].curve[0].quality.metric for each in trainings if each.records[0].curve)
    provenance = label(each.cost.total for each in trainings if each.cost is not None)
    return CurveChart(title=title, provenance=provenance, metric=metric, target=target, curves=tuple(curves))


def _curve(training: Training, *, told: bool) -> CurveData | None:
    record = training.records[0]
    try:
        energies = [stats.up_to(record, point.windows_done).energy_j for point in record.curve]
    except (NotMeasured, InvalidMeasurement):
        return None
    if not energies or energies[-1] <= 0:
        return None
    return CurveData(
        technique=f"{training.technique} [{training.known}]" if told and training.known else training.technique,
        energies_j=tuple(energies),
        qualities=tuple(point.quality.value for point in record.curve),
        lows=tuple(point.quality.low for point in record.curve),
        highs=tuple(point.quality.high for point in record.curve),
    )


def _life_chart(run: Gathered) -> LifeChart | None:
    """Show the baseline's pipeline and the recommended one (or the cheapest) of the first group."""
    if not run.lifecycle.pipelines:
        return None
    first = next((each for each in run.lifecycle.pipelines if each.is_baseline), run.lifecycle.pipelines[0])
    group = next((each for each in run.groups if each.result.name == first.group), None)
    best = recommended(group, run.info.quality_margin) if group is not None else None
    wanted = [
        each for each in run.lifecycle.pipelines if best is not None and each.infer_case_id == best.record.case_id
    ]
    shown = wanted if first in wanted else [*wanted, first]
    lead = shown[0]
    return LifeChart(
        title=f"Inference overtakes training after {f.count(lead.parity_tasks)} requests ({lead.infer_technique})",
        provenance=label(total for each in shown for total in (each.train, each.task)),
        lines=tuple(
            LifeLine(
                name=each.name,
                once_j=each.train_j,
                per_task_j=each.per_task.estimate,
                parity_tasks=each.parity_tasks,
            )
            for each in shown
        ),
    )
