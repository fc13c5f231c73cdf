"""What a report is made of, computed once from a run: groups, trainings, lifecycle, provenance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from harness import stats
from harness.compare import (
    GroupComparison,
    Results,
    SweepComparison,
    TechniqueComparison,
    compare_sweep,
    compare_techniques,
    default_baselines,
)
from harness.errors import InvalidMeasurement, NotMeasured
from harness.lifecycle import Lifecycle, lifecycle
from harness.published_splits import PUBLISHED_SPLITS
from harness.records import Case, Energy, Frozen, MeterInfo, Ok, Phase, Provenance, Record, RunInfo
from harness.report import formats as f


class Entry(Frozen, frozen=True, kw_only=True):
    """One infer case that ran: joules a task of a typical block, and its comparison unless it is the baseline.

    `energy` is None if there are too few blocks; `gap` then says so. `known` is how its joules are known, where
    that is not the same for all joules of the run.
    """

    record: Record
    total: stats.Total | None
    energy: stats.Interval | None
    comparison: TechniqueComparison | None
    known: str = ""
    gap: str = ""


class Group(Frozen, frozen=True, kw_only=True):
    """Interleaved infer cases, the baseline first."""

    result: GroupComparison
    entries: tuple[Entry, ...]

    @property
    def baseline(self) -> Entry | None:
        """The entry the others are compared with."""
        return next((entry for entry in self.entries if entry.record.case_id == self.result.baseline_id), None)

    @property
    def metric(self) -> str:
        """What its quality is called."""
        return f.metric_of(entry.record.quality for entry in self.entries)


class Training(Frozen, frozen=True, kw_only=True):
    """One training technique over its seeds. `to_target` is None unless every seed reached the target.

    `group` names its workload and device where the run holds several; only trainings of one group are set side by
    side. `step` and `example` are joules a training step and a training example, or `per_gap` says why not. `known` is
    how its joules are known, where that is not the same for all joules of the run.
    """

    technique: str
    group: str
    records: tuple[Record, ...]
    cost: stats.TrainingTotal | None
    step: stats.TrainingTotal | None = None
    example: stats.TrainingTotal | None = None
    per_gap: str = ""
    to_target: stats.Total | None
    reached: int
    duration_s: float | None
    known: str = ""
    gap: str = ""

    @property
    def metric(self) -> str:
        """What its quality is called."""
        return f.metric_of((self.records[0].quality, *(point.quality for point in self.records[0].curve)))


class Share(Frozen, frozen=True, kw_only=True):
    """The run's billed joules that are known in one way; `sources` name domains and meters."""

    provenance: Provenance
    energy_j: float
    sources: tuple[str, ...]


class Gathered(Frozen, frozen=True, kw_only=True):
    """A run, looked at from every side.

    `shares` are its billed joules by provenance, strongest first; `billed` the domains that are counted, by meter.
    A run with `sweeps` has its points there, and neither groups nor lifecycle.
    """

    info: RunInfo
    records: tuple[Record, ...]
    groups: tuple[Group, ...]
    trainings: tuple[Training, ...]
    lifecycle: Lifecycle
    shares: tuple[Share, ...]
    meters: tuple[MeterInfo, ...]
    billed: dict[str, tuple[str, ...]]
    sweeps: tuple[SweepComparison, ...] = ()

    @property
    def uniform(self) -> bool:
        """Whether all billed joules of the run are known in one way, so that this is said once for all."""
        return len(self.shares) < 2

    @property
    def training_groups(self) -> dict[str, tuple[Training, ...]]:
        """The trainings that may be set side by side: those on one workload and device."""
        names = dict.fromkeys(training.group for training in self.trainings)
        return {name: tuple(each for each in self.trainings if each.group == name) for name in names}

    @property
    def provenance(self) -> Provenance | None:
        """The weakest provenance of any billed joule; None where nothing was measured."""
        return stats.weakest(share.provenance for share in self.shares) if self.shares else None

    @property
    def billing(self) -> tuple[MeterInfo, ...]:
        """The meters whose joules are counted."""
        return tuple(meter for meter in self.meters if meter.name in self.billed)


_NO_LIFECYCLE = Lifecycle(pipelines=(), cheapest=(), published=PUBLISHED_SPLITS, gaps=())
"""A sweep sets sizes side by side, not ways of training and inferring."""


def gather(run: Results, baselines: Mapping[Phase, str] | None = None) -> Gathered:
    """Compute everything a report says from the run's records."""
    names = default_baselines() if baselines is None else baselines
    by_id = {record.case_id: record for record in run.records}
    sweeps = compare_sweep(run, names)
    found = () if sweeps else compare_techniques(run, names)
    energies = [
        energy
        for record in run.records
        for window in record.windows
        for energy in window.measured.energies
        if energy.billed
    ]
    shares = _shares(energies)
    plain = len(shares) < 2
    return Gathered(
        info=run.info,
        records=run.records,
        groups=tuple(_group(result, by_id, run.info.confidence, plain=plain) for result in found),
        trainings=tuple(
            each
            for each in _trainings(run.records, run.info, plain=plain)
            if not sweeps or any(stats.steps_trained(record) != 0 for record in each.records)
        ),
        lifecycle=_NO_LIFECYCLE if sweeps else lifecycle(run, names),
        shares=shares,
        meters=_meters(run.records),
        billed=_by_meter(energies),
        sweeps=sweeps,
    )


def _shares(energies: Sequence[Energy]) -> tuple[Share, ...]:
    ways = [way for way in Provenance if any(energy.provenance is way for energy in energies)]
    return tuple(
        Share(
            provenance=way,
            energy_j=math.fsum(energy.energy_j for energy in energies if energy.provenance is way),
            sources=tuple(
                sorted({f"{energy.domain} by {energy.meter}" for energy in energies if energy.provenance is way})
            ),
        )
        for way in ways
    )


def _by_meter(energies: Sequence[Energy]) -> dict[str, tuple[str, ...]]:
    domains: dict[str, set[str]] = {}
    for energy in energies:
        domains.setdefault(energy.meter, set()).add(energy.domain)
    return {meter: tuple(sorted(names)) for meter, names in sorted(domains.items())}


def _meters(records: Sequence[Record]) -> tuple[MeterInfo, ...]:
    """Return each meter once; where its self-tests differ, the last one, or the last one that found a fault."""
    found: dict[bytes, MeterInfo] = {}
    for record in records:
        for meter in record.meters:
            key = msgspec.json.encode((meter.name, meter.domains, meter.provenance, meter.boundary, meter.coefficients))
            known = found.get(key)
            if known is None or faulty(meter) or not faulty(known):
                found[key] = meter
    return tuple(found.values())


def faulty(meter: MeterInfo) -> bool:
    """Say whether the meter was tested and did not pass."""
    test = meter.self_test
    return test is not None and not (test.monotonic and test.plausible)


def _group(result: GroupComparison, by_id: Mapping[str, Record], confidence: float, *, plain: bool) -> Group:
    compared = {each.case_id: each for each in result.comparisons}
    ids = sorted(result.case_ids, key=lambda case_id: case_id != result.baseline_id)
    entries = [_entry(by_id[case_id], compared.get(case_id), confidence, plain=plain) for case_id in ids]
    return Group(result=result, entries=tuple(entry for entry in entries if isinstance(entry.record.outcome, Ok)))


def _entry(record: Record, comparison: TechniqueComparison | None, confidence: float, *, plain: bool) -> Entry:
    total, energy, gap = None, None, ""
    try:
        total = stats.energy_per_task(record)
        energy = stats.energy_interval(record, confidence)
    except (NotMeasured, InvalidMeasurement) as error:
        gap = str(error)
    known = total.label if total is not None and not plain else ""
    return Entry(record=record, total=total, energy=energy, comparison=comparison, known=known, gap=gap)


def _trainings(records: Sequence[Record], info: RunInfo, *, plain: bool) -> tuple[Training, ...]:
    """Return one row a training technique (and parameters), its seeds together."""
    ended = [record for record in records if record.case.phase is Phase.TRAIN and isinstance(record.outcome, Ok)]
    families: dict[str, tuple[Record, ...]] = {}
    for record in ended:
        key = msgspec.structs.replace(record.case, seed=0).case_id
        families.setdefault(key, stats.repetitions(record, ended))
    several = len({record.case.device for record in ended}) > 1

    def group(case: Case) -> str:
        parts = (info.labels.get(case.case_id), case.device if several else None)
        return "/".join(part for part in parts if part)

    groups = [group(family[0].case) for family in families.values()]
    names = [(where, family[0].case.technique) for where, family in zip(groups, families.values(), strict=True)]
    return tuple(
        _training(family, where, info.confidence, alone=names.count((where, name)) < 2, plain=plain)
        for family, (where, name) in zip(families.values(), names, strict=True)
    )


def _training(family: tuple[Record, ...], group: str, confidence: float, *, alone: bool, plain: bool) -> Training:
    case = family[0].case
    name = case.technique
    if not alone:
        shown = ", ".join(f"{key}={value}" for key, value in case.params.items())
        name = f"{name} ({shown or case.device})"
    cost, duration_s, gap = None, None, ""
    reached: list[stats.Total] = []
    to_target = None
    try:
        cost = stats.training_interval(family, confidence)
        duration_s = sum(stats.training_duration_s(record) for record in family) / len(family)
        if case_has_target(family):
            totals = [stats.to_target(record) for record in family]
            reached = [each for each in totals if each is not None]
            if reached and len(reached) == len(family):
                to_target = stats.scaled(stats.add(reached), 1.0 / len(reached))
    except (NotMeasured, InvalidMeasurement) as error:
        gap = str(error)
    step, example, per_gap = _per_step(family, confidence)
    return Training(
        technique=name,
        group=group,
        records=family,
        cost=cost,
        step=step,
        example=example,
        per_gap=per_gap,
        to_target=to_target,
        reached=len(reached),
        duration_s=duration_s,
        known=cost.total.label if cost is not None and not plain else "",
        gap=gap,
    )


def _per_step(
    family: Sequence[Record], confidence: float
) -> tuple[stats.TrainingTotal | None, stats.TrainingTotal | None, str]:
    """Return joules a step and an example, or why there are none."""
    ends = [record.curve[-1] for record in family if record.curve]
    if len(ends) < len(family):
        return None, None, "no checkpoint was evaluated, so its steps are not known"
    try:
        step = stats.training_per(family, [end.steps for end in ends], confidence)
        example = stats.training_per(family, [end.examples for end in ends], confidence)
    except (NotMeasured, InvalidMeasurement) as error:
        return None, None, str(error)
    return step, example, ""


def case_has_target(family: Sequence[Record]) -> bool:
    """Say whether every seed was given a target and has a quality curve."""
    return all(record.target_quality is not None and record.curve for record in family)
