"""What a report is made of, computed once from a run: groups, trainings, lifecycle, provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from harness import stats
from harness.compare import GroupComparison, Results, TechniqueComparison, compare_techniques, default_baselines
from harness.errors import InvalidMeasurement, NotMeasured
from harness.lifecycle import Lifecycle, lifecycle
from harness.records import Frozen, MeterInfo, Ok, Phase, Provenance, Record, RunInfo


class Entry(Frozen, frozen=True, kw_only=True):
    """One infer case that ran: joules a task of a typical block, and its comparison unless it is the baseline.

    `energy` is None if there are too few blocks; `gap` then says so.
    """

    record: Record
    total: stats.Total | None
    energy: stats.Interval | None
    comparison: TechniqueComparison | None
    gap: str = ""


class Group(Frozen, frozen=True, kw_only=True):
    """Interleaved infer cases, the baseline first."""

    result: GroupComparison
    entries: tuple[Entry, ...]

    @property
    def baseline(self) -> Entry | None:
        """The entry the others are compared with."""
        return next((entry for entry in self.entries if entry.record.case_id == self.result.baseline_id), None)


class Training(Frozen, frozen=True, kw_only=True):
    """One training technique over its seeds. `to_target_j` is None unless every seed reached the target."""

    technique: str
    records: tuple[Record, ...]
    cost: stats.TrainingTotal | None
    to_target_j: float | None
    reached: int
    duration_s: float | None
    gap: str = ""


class Gathered(Frozen, frozen=True, kw_only=True):
    """A run, looked at from every side; `billing` are the meters whose joules are counted."""

    info: RunInfo
    records: tuple[Record, ...]
    groups: tuple[Group, ...]
    trainings: tuple[Training, ...]
    lifecycle: Lifecycle
    provenance: Provenance | None
    meters: tuple[MeterInfo, ...]
    billing: tuple[MeterInfo, ...]


def gather(run: Results, baselines: Mapping[Phase, str] | None = None) -> Gathered:
    """Compute everything a report says from the run's records."""
    names = default_baselines() if baselines is None else baselines
    by_id = {record.case_id: record for record in run.records}
    found = compare_techniques(run, names)
    groups = tuple(_group(result, by_id, run.info.confidence) for result in found)
    billed = [
        energy
        for record in run.records
        for window in record.windows
        for energy in window.measured.energies
        if energy.billed
    ]
    meters = {meter.name: meter for record in run.records for meter in record.meters}
    return Gathered(
        info=run.info,
        records=run.records,
        groups=groups,
        trainings=_trainings(run.records, run.info.confidence),
        lifecycle=lifecycle(run, names),
        provenance=stats.weakest(energy.provenance for energy in billed) if billed else None,
        meters=tuple(meters.values()),
        billing=tuple(meter for name, meter in meters.items() if any(energy.meter == name for energy in billed)),
    )


def _group(result: GroupComparison, by_id: Mapping[str, Record], confidence: float) -> Group:
    compared = {each.case_id: each for each in result.comparisons}
    ids = sorted(result.case_ids, key=lambda case_id: case_id != result.baseline_id)
    entries = [_entry(by_id[case_id], compared.get(case_id), confidence) for case_id in ids]
    return Group(result=result, entries=tuple(entry for entry in entries if isinstance(entry.record.outcome, Ok)))


def _entry(record: Record, comparison: TechniqueComparison | None, confidence: float) -> Entry:
    total, energy, gap = None, None, ""
    try:
        total = stats.energy_per_task(record)
        energy = stats.energy_interval(record, confidence)
    except (NotMeasured, InvalidMeasurement) as error:
        gap = str(error)
    return Entry(record=record, total=total, energy=energy, comparison=comparison, gap=gap)


def _trainings(records: Sequence[Record], confidence: float) -> tuple[Training, ...]:
    """Return one row a training technique (and parameters), its seeds together."""
    ended = [record for record in records if record.case.phase is Phase.TRAIN and isinstance(record.outcome, Ok)]
    families: dict[str, tuple[Record, ...]] = {}
    for record in ended:
        key = msgspec.structs.replace(record.case, seed=0).case_id
        families.setdefault(key, stats.repetitions(record, ended))
    names = [family[0].case.technique for family in families.values()]
    return tuple(_training(family, confidence, names) for family in families.values())


def _training(family: tuple[Record, ...], confidence: float, names: Sequence[str]) -> Training:
    case = family[0].case
    name = case.technique
    if names.count(name) > 1:
        shown = ", ".join(f"{key}={value}" for key, value in case.params.items())
        name = f"{name} ({shown or case.device})"
    cost, duration_s, gap = None, None, ""
    reached: list[float] = []
    try:
        cost = stats.training_interval(family, confidence)
        duration_s = sum(stats.training_duration_s(record) for record in family) / len(family)
        if case_has_target(family):
            totals = [stats.to_target(record) for record in family]
            reached = [each.energy_j for each in totals if each is not None]
    except (NotMeasured, InvalidMeasurement) as error:
        gap = str(error)
    return Training(
        technique=name,
        records=family,
        cost=cost,
        to_target_j=sum(reached) / len(reached) if reached and len(reached) == len(family) else None,
        reached=len(reached),
        duration_s=duration_s,
        gap=gap,
    )


def case_has_target(family: Sequence[Record]) -> bool:
    """Say whether every seed was given a target and has a quality curve."""
    return all(record.target_quality is not None and record.curve for record in family)
