"""From a run to its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness import stats
from harness.compare import Results, TechniqueComparison, Verdict
from harness.errors import InvalidMeasurement, NotMeasured
from harness.lifecycle import Pipeline
from harness.records import Phase, Provenance
from harness.report import formats as f
from harness.report.gather import Entry, Gathered, Group, Training, gather
from harness.report.meter_tables import device_table, meter_table
from harness.report.model import CurveChart, CurveData, EnergyBar, EnergyChart, LifeChart, LifeLine, Report, Sentence
from harness.report.overview import overview_table
from harness.report.provenance import label, provenance_sentence
from harness.report.sweep import sweep_sentences, sweep_tables
from harness.report.sweep_lines import sweep_charts
from harness.report.tables import inference_tables
from harness.report.training_tables import training_tables
from harness.report.wider_tables import facts_tables, lifecycle_tables, outcome_table
from harness.report.wider_words import (
    FAKE_BANNER,
    doubt_lines,
    learned_sentences,
    lifecycle_sentences,
    training_sentences,
    unlike,
)
from harness.report.words import alone, alone_sentence, group_sentences, recommended


def build(run: Results, baselines: Mapping[Phase, str] | None = None) -> Report:
    """Return the report of a run. Runs without inference, without training or without success are reported too.

    `baselines` names the baseline technique of each phase (default: what the catalogue says).
    """
    gathered = gather(run, baselines)
    info = gathered.info
    overview = overview_table(gathered)
    tables = [*((overview,) if overview else ()), *sweep_tables(gathered)]
    tables += [
        table
        for group in gathered.groups
        for table in inference_tables(group, info.quality_margin, several=len(gathered.groups) > 1)
    ]
    others = (
        *training_tables(gathered),
        *lifecycle_tables(gathered),
        outcome_table(gathered),
        meter_table(gathered),
        device_table(gathered),
    )
    tables += [table for table in others if table is not None]
    energy_charts = [_energy_chart(group, info.quality_margin) for group in gathered.groups]
    trained = {} if gathered.sweeps else gathered.training_groups
    curve_charts = [_curve_chart(name, trainings) for name, trainings in trained.items()]
    return Report(
        title=f"joulebench: {info.suite_name}",
        run_id=info.run_id,
        subtitle=_subtitle(gathered),
        banner=FAKE_BANNER if gathered.provenance is Provenance.FAKE else None,
        sentences=tuple(_sentences(gathered)),
        doubts=doubt_lines(gathered),
        tables=(*tables, *facts_tables(gathered)),
        energy_charts=tuple(chart for chart in energy_charts if chart is not None),
        curve_charts=tuple(chart for chart in curve_charts if chart is not None),
        life_charts=tuple(_life_charts(gathered)),
        sweep_charts=sweep_charts(gathered),
        groups=tuple(group.result for group in gathered.groups),
        lifecycle=gathered.lifecycle,
        sweeps=gathered.sweeps,
    )


def _subtitle(run: Gathered) -> str:
    cpu = run.info.host.get("cpu_brand") or "unknown CPU"
    return f"run {run.info.run_id} on {cpu}, host {run.info.host_fingerprint[:8]}"


def _sentences(run: Gathered) -> list[Sentence]:
    margin, several = run.info.quality_margin, len(run.groups) > 1
    single = [group for group in run.groups if alone(group)]
    compared = [
        each for group in run.groups if group not in single for each in group_sentences(group, margin, several=several)
    ]
    if len(single) > 1:  # as in a suite of several workloads, one technique each
        uncompared = [alone_sentence(single)]
    else:
        uncompared = [each for group in single for each in group_sentences(group, margin, several=several)]
    best = [recommended(group, margin) or group.baseline for group in run.groups]
    preferred = [entry.record.case_id for entry in best if entry is not None]
    return [
        *sweep_sentences(run),
        *compared,
        *([] if run.sweeps or compared else learned_sentences(run)),
        *([] if run.sweeps else training_sentences(run)),
        *uncompared,
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
    if alone(group):
        title = f"Only the baseline was measured{where}"
    if best is not None and best.ratio is not None:
        doubtful = "" if chosen is not None else f", but its {group.metric} is not settled"
        title = f"{best.technique} draws {f.change(best.ratio.estimate)} than {best.baseline}{doubtful}{where}"
    front = [bar.technique for bar in bars if bar.on_front]
    return EnergyChart(
        group=group.result.name,
        provenance=label(entry.total for entry in entries if entry.total is not None),
        title=title,
        pareto_title=f"Energy against {group.metric}{where}: {f.listed(front)} on the front" if front else "",
        metric=group.metric,
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
        quality=quality.value if quality else None,
        quality_low=quality.low if quality else None,
        quality_high=quality.high if quality else None,
    )


def _on_front(bars: Sequence[EnergyBar]) -> list[EnergyBar]:
    """Mark the bars that no other beats in energy without losing in quality."""
    from msgspec.structs import replace

    def beaten(bar: EnergyBar) -> bool:
        mine = bar.quality
        return mine is None or any(
            other.quality is not None
            and other.energy_j <= bar.energy_j
            and other.quality >= mine
            and (other.energy_j, -other.quality) != (bar.energy_j, -mine)
            for other in bars
        )

    return [replace(bar, on_front=not beaten(bar)) for bar in bars]


def _curve_chart(group: str, trainings: Sequence[Training]) -> CurveChart | None:
    told = unlike(trainings)
    curves = [curve for curve in (_curve(each, told=told) for each in trainings) if curve is not None]
    if not curves:
        return None
    target = next((each.records[0].target_quality for each in trainings), None)
    reached = [each for each in trainings if each.to_target is not None]
    metric = next(each.records[0].curve[0].quality.metric for each in trainings if each.records[0].curve)
    where = f" ({group})" if group else ""
    title = f"Validation {metric} over the energy spent"
    if target is not None and unlike(reached):
        title = f"Validation {metric} over the energy spent, known in unlike ways"
    elif reached and target is not None:
        spent_j, best = min((each.to_target.energy_j, each.technique) for each in reached if each.to_target)
        title = f"{best} reaches {f.percent(target)} with {f.si(spent_j, 'J')}"
    elif target is not None:
        title = f"No training reached {f.percent(target)}"
    provenance = label(each.cost.total for each in trainings if each.cost is not None)
    return CurveChart(
        group=group,
        title=f"{title}{where}",
        provenance=provenance,
        metric=metric,
        target=target,
        curves=tuple(curves),
    )


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


def _life_charts(run: Gathered) -> list[LifeChart]:
    workloads = dict.fromkeys(each.workload for each in run.lifecycle.pipelines)
    return [
        _life_chart(run, workload, [each for each in run.lifecycle.pipelines if each.workload == workload])
        for workload in workloads
    ]


def _life_chart(run: Gathered, workload: str, pipelines: Sequence[Pipeline]) -> LifeChart:
    """Show the baseline's pipeline on a workload and the recommended one (or the cheapest) of the first group."""
    first = next((each for each in pipelines if each.is_baseline), pipelines[0])
    group = next((each for each in run.groups if each.result.name == first.group), None)
    best = recommended(group, run.info.quality_margin) if group is not None else None
    wanted = [each for each in pipelines if best is not None and each.infer_case_id == best.record.case_id]
    shown = wanted if first in wanted else [*wanted, first]
    lead = shown[0]
    where = f", {workload}" if workload else ""
    requests = f.count(lead.parity_tasks)
    return LifeChart(
        group=workload,
        title=f"Inference overtakes training after {requests} requests ({lead.infer_technique}{where})",
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
