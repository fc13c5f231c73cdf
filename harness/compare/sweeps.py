"""The points of a sweep, measured interleaved: what each costs beside the first, and how the cost scales."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from harness import axes, stats
from harness.compare.techniques import Results, default_baselines
from harness.errors import IncomparableRecords, InvalidMeasurement, NotMeasured
from harness.records import Failed, Frozen, Ok, Phase, Record, RunInfo, Skipped

PARAMETERS = "parameters"
"""What a model's size is counted in."""

_PROPORTIONAL_WITHIN = 1.1
"""Models whose parameters differ by less than this factor are of one size: another maximum length is another position
table, and no larger model."""


class Point(Frozen, frozen=True, kw_only=True):
    """One inference technique at one combination of values.

    `ratio` is joules a task over those of the first point, paired over the blocks that both are in; `gap` says what is
    missing and why.
    """

    case_id: str
    technique: str
    values: dict[str, Any]
    parameters: int | None = None
    energy: stats.Interval | None = None
    total: stats.Total | None = None
    ratio: stats.Interval | None = None
    duration_s: float | None = None
    peak_memory_bytes: int | None = None
    gap: str = ""


class Scaling(Frozen, frozen=True, kw_only=True):
    """How joules a task of inference change along one axis, everything else (`at`) being the same.

    `against` is what the size is counted in: the axis itself, or the parameters of the models. Without a `law`,
    `reason` says why.
    """

    axis: str
    against: str
    technique: str
    at: dict[str, Any]
    case_ids: tuple[str, ...]
    sizes: tuple[float, ...]
    law: stats.PowerLaw | None = None
    reason: str = ""


class SweepComparison(Frozen, frozen=True, kw_only=True):
    """The points of a sweep that were interleaved; all their ratios hold together at `confidence`.

    `each_confidence` is that of one ratio after Bonferroni's correction. Exponents are at `confidence` each.
    """

    name: str
    axes: dict[str, tuple[Any, ...]]
    base_id: str | None
    confidence: float
    each_confidence: float
    points: tuple[Point, ...]
    scalings: tuple[Scaling, ...]

    @property
    def totals(self) -> tuple[stats.Total, ...]:
        """Joules a task of the points that have them."""
        return tuple(point.total for point in self.points if point.total is not None)


def axes_of(info: RunInfo) -> dict[str, tuple[Any, ...]]:
    """Return the axes of a run's sweep with their values; empty where it is no sweep."""
    return {axis: tuple(values) for axis, values in (info.suite.get("sweep") or {}).items()}


def compare_sweep(run: Results, baselines: Mapping[Phase, str] | None = None) -> tuple[SweepComparison, ...]:
    """Compare the points of a run's sweep with the first, one result a device and scenario; () where it is no sweep."""
    swept = axes_of(run.info)
    if not swept:
        return ()
    baseline = (default_baselines() if baselines is None else baselines).get(Phase.INFER)
    groups: dict[str, list[Record]] = {}
    for record in run.records:
        case = record.case
        if case.phase is Phase.INFER:
            name = f"{case.device}/{case.scenario}" if case.scenario else case.device
            groups.setdefault(name, []).append(record)
    return tuple(_compare(run.info, swept, name, records, baseline) for name, records in groups.items())


def _compare(
    info: RunInfo, swept: Mapping[str, tuple[Any, ...]], name: str, records: list[Record], baseline: str | None
) -> SweepComparison:
    records = sorted(records, key=lambda record: _place(record, swept))
    ran = [record for record in records if not isinstance(record.outcome, Skipped)]
    base = next((record for record in ran if record.case.technique == baseline), ran[0] if ran else None)
    k = sum(isinstance(record.outcome, Ok) for record in ran if record is not base)
    each = stats.familywise(info.confidence, k)
    return SweepComparison(
        name=name,
        axes=dict(swept),
        base_id=base.case_id if base else None,
        confidence=info.confidence,
        each_confidence=each,
        points=tuple(_point(record, base, swept, info.confidence, each) for record in records),
        scalings=tuple(_scalings(records, swept, info.confidence)),
    )


def _place(record: Record, swept: Mapping[str, tuple[Any, ...]]) -> tuple[int, ...]:
    """Return where a record stands in the order of the sweep."""
    found = [(values, axes.value_of(record.case, axis)) for axis, values in swept.items()]
    return tuple(values.index(value) if value in values else len(values) for values, value in found)


def _values(record: Record, swept: Mapping[str, tuple[Any, ...]]) -> dict[str, Any]:
    return {axis: axes.value_of(record.case, axis) for axis in swept}


def _point(
    record: Record, base: Record | None, swept: Mapping[str, tuple[Any, ...]], confidence: float, each: float
) -> Point:
    about: dict[str, Any] = {
        "case_id": record.case_id,
        "technique": record.case.technique,
        "values": _values(record, swept),
        "parameters": record.model.parameters if record.model else None,
    }
    outcome = record.outcome
    if isinstance(outcome, Failed):
        return Point(**about, gap=f"failed: {outcome.message}")
    if isinstance(outcome, Skipped):
        return Point(**about, gap=f"skipped: {outcome.reason}")
    try:
        about |= {"total": stats.energy_per_task(record), "duration_s": stats.duration_per_task_s(record)}
        about["energy"] = stats.energy_interval(record, confidence)
        if base is not None and record is not base:
            about["ratio"] = _ratio(record, base, each)
        about["peak_memory_bytes"] = stats.peak_memory_bytes(record)
    except (NotMeasured, InvalidMeasurement, IncomparableRecords) as error:
        about["gap"] = str(error)
    return Point(**about)


def _ratio(record: Record, base: Record, confidence: float) -> stats.Interval:
    if not isinstance(base.outcome, Ok):
        raise NotMeasured("the first point failed, so nothing is compared with it")
    return stats.exponential(stats.ratio_interval(stats.paired_log_ratios(record, base), confidence))


def _scalings(records: Sequence[Record], swept: Mapping[str, tuple[Any, ...]], confidence: float) -> list[Scaling]:
    """Return the scalings along every axis: for each technique, and for each combination of the other values."""
    found: list[Scaling] = []
    for axis in swept:
        lines: dict[tuple[Any, ...], list[Record]] = {}
        for record in records:
            others = tuple(value for other, value in _values(record, swept).items() if other != axis)
            lines.setdefault((record.case.technique, *others), []).append(record)
        for line in lines.values():
            at = {other: value for other, value in _values(line[0], swept).items() if other != axis}
            found += _along(axis, at, line, confidence)
    return found


def _along(axis: str, at: dict[str, Any], line: Sequence[Record], confidence: float) -> list[Scaling]:
    measured = [record for record in line if isinstance(record.outcome, Ok)]
    values = [axes.value_of(record.case, axis) for record in measured]
    counts = [record.model.parameters if record.model else None for record in measured]
    known = [count for count in counts if count]
    sizes: dict[str, list[float]] = {}
    if values and all(_is_size(value) for value in values):
        sizes[axis] = [float(value) for value in values]
    if known and len(known) == len(measured) and max(known) >= _PROPORTIONAL_WITHIN * min(known):
        sizes[PARAMETERS] = [float(count) for count in known]
    ids = tuple(record.case_id for record in measured)
    about: dict[str, Any] = {"axis": axis, "technique": line[0].case.technique, "at": at, "case_ids": ids}
    if not sizes:
        why = "fewer than two of its points were measured" if len(measured) < 2 else "its values are no sizes"
        return [Scaling(**about, against=axis, sizes=(), reason=why)]
    return [_scaling(about, against, each, measured, confidence) for against, each in sizes.items()]


def _is_size(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _scaling(
    about: Mapping[str, Any], against: str, sizes: Sequence[float], records: Sequence[Record], confidence: float
) -> Scaling:
    try:
        _same_bill(records)
        law = stats.power_law(sizes, records, confidence)
    except (NotMeasured, InvalidMeasurement, IncomparableRecords) as error:
        return Scaling(**about, against=against, sizes=tuple(sizes), reason=str(error))
    if not math.isfinite(law.exponent):
        return Scaling(**about, against=against, sizes=tuple(sizes), reason="its exponent is not finite")
    return Scaling(**about, against=against, sizes=tuple(sizes), law=law)


def _same_bill(records: Sequence[Record]) -> None:
    """Refuse a line through joules that are known in unlike ways."""
    for record in records[1:]:
        stats.paired_log_ratios(record, records[0])
