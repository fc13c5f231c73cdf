"""The inference techniques of one run against the baseline they were interleaved with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from harness import catalogue, stats, store
from harness.errors import IncomparableRecords, InvalidMeasurement, NotMeasured, ResultsError
from harness.records import Failed, Frozen, Ok, Phase, Provenance, Record, RunInfo

T = TypeVar("T")

_SIDES = ("low", "high")


class Results(Protocol):
    """What is compared: a run's folder, its description and its records (`store.Run` is one)."""

    @property
    def folder(self) -> Path:
        """The run's folder; `outputs_file` of a record is relative to it."""

    @property
    def info(self) -> RunInfo:
        """What was asked."""

    @property
    def records(self) -> tuple[Record, ...]:
        """What was measured."""


class Verdict(StrEnum):
    """What a comparison with the baseline shows."""

    SAVES = "saves"
    COSTS_MORE = "costs more"
    NO_DIFFERENCE_SHOWN = "no difference shown"
    NOT_MEASURED = "not measured"


class TechniqueComparison(Frozen, frozen=True, kw_only=True):
    """One technique against the baseline of its group.

    `ratio` and `time_ratio` are technique / baseline a task; `quality` is technique − baseline on the same
    items. What is None could not be made; `gaps` says why. `largest_output_difference` is the largest
    absolute difference of any output value over the items that both answered, `token_agreement` the share of the
    baseline's tokens that the technique wrote in the same place (None where outputs are no tokens).
    `at_model_bounds` are the ratio with every modelled joule at its low and at its high, where counted ones beside
    them keep the model's error from cancelling; the verdict and the break-even hold for them too.
    """

    case_id: str
    technique: str
    baseline: str
    verdict: Verdict
    reason: str
    ratio: stats.Interval | None = None
    at_model_bounds: tuple[stats.Interval, ...] = ()
    time_ratio: stats.Interval | None = None
    quality: stats.Difference | None = None
    largest_output_difference: float | None = None
    token_agreement: float | None = None
    peak_memory_bytes: int | None = None
    baseline_peak_memory_bytes: int | None = None
    build: stats.Total | None = None
    baseline_build: stats.Total | None = None
    break_even: stats.BreakEven | None = None
    gaps: tuple[str, ...] = ()

    @property
    def widest(self) -> stats.Interval | None:
        """The ratio with the interval that holds wherever within its bounds the model lies."""
        return None if self.ratio is None else _widened(self.ratio, self.at_model_bounds)


class GroupComparison(Frozen, frozen=True, kw_only=True):
    """The techniques that were interleaved; all their intervals hold together at `confidence`.

    `each_confidence` is the confidence of one interval after Bonferroni's correction.
    """

    name: str
    case_ids: tuple[str, ...]
    baseline_id: str | None
    confidence: float
    each_confidence: float
    comparisons: tuple[TechniqueComparison, ...]


def default_baselines() -> dict[Phase, str]:
    """Return the baseline technique of each phase that has techniques, from the catalogue."""
    return {phase: catalogue.baseline(phase) for phase in Phase if catalogue.find(phase)}


def compare_techniques(run: Results, baselines: Mapping[Phase, str] | None = None) -> tuple[GroupComparison, ...]:
    """Compare each infer technique with the baseline of its group.

    A group shares everything but the technique; unlike workloads are never in one.

    Cases that cannot be compared carry the verdict `not measured` and the reason; nothing is left out.
    """
    baseline = (default_baselines() if baselines is None else baselines).get(Phase.INFER)
    groups: dict[tuple[object, ...], list[Record]] = {}
    for record in run.records:
        case = record.case
        if case.phase is Phase.INFER:
            key = (run.info.labels.get(record.case_id), msgspec.json.encode(case.workload, order="sorted"), case.device,
                   case.scenario, case.threads, case.seed, case.trained_by)  # fmt: skip
            groups.setdefault(key, []).append(record)
    return tuple(_compare_group(run, records, baseline) for records in groups.values())


def _compare_group(run: Results, records: Sequence[Record], baseline_name: str | None) -> GroupComparison:
    bases = [record for record in records if record.case.technique == baseline_name]
    base = next((record for record in bases if isinstance(record.outcome, Ok)), bases[0] if bases else None)
    others = [record for record in records if record is not base]
    k = sum(isinstance(record.outcome, Ok) for record in others)
    each = stats.familywise(run.info.confidence, k)
    return GroupComparison(
        name=run.info.group_of(records[0].case),
        case_ids=tuple(record.case_id for record in records),
        baseline_id=base.case_id if base else None,
        confidence=run.info.confidence,
        each_confidence=each,
        comparisons=tuple(_compare(run, record, base, each) for record in others),
    )


def _compare(run: Results, record: Record, base: Record | None, confidence: float) -> TechniqueComparison:
    reason = _why_not(record) or ("its group has no baseline" if base is None else _why_not(base, "the baseline "))
    if reason or base is None:
        return TechniqueComparison(
            case_id=record.case_id,
            technique=record.case.technique,
            baseline=base.case.technique if base else "none",
            verdict=Verdict.NOT_MEASURED,
            reason=reason,
        )
    gaps: list[str] = []
    ratio = _try(gaps, "energy ratio", lambda: _ratio(record, base, "energy", confidence))
    build = _try(gaps, "build energy", lambda: stats.build_total(record))
    base_build = _try(gaps, "build energy of the baseline", lambda: stats.build_total(base))
    output_difference = _try(
        gaps, "output difference", lambda: store.largest_output_difference(run.folder, record, base)
    )
    bounds = _at_model_bounds(record, base, confidence) if ratio is not None else ()
    ratios = (ratio, *bounds) if ratio is not None else ()
    verdict, why = _judge(_widened(ratio, bounds) if ratio is not None else None, gaps, base.case.technique)
    return TechniqueComparison(
        case_id=record.case_id,
        technique=record.case.technique,
        baseline=base.case.technique,
        verdict=verdict,
        reason=why,
        ratio=ratio,
        at_model_bounds=bounds,
        time_ratio=_try(gaps, "time ratio", lambda: _ratio(record, base, "duration", confidence)),
        quality=_try(
            gaps,
            "quality difference",
            lambda: stats.quality_difference(record, base, confidence, output_difference=output_difference),
        ),
        largest_output_difference=output_difference,
        token_agreement=None
        if output_difference is None
        else _try(gaps, "token agreement", lambda: store.token_agreement(run.folder, record, base)),
        peak_memory_bytes=_try(gaps, "peak memory", lambda: stats.peak_memory_bytes(record)),
        baseline_peak_memory_bytes=_try(gaps, "peak memory of the baseline", lambda: stats.peak_memory_bytes(base)),
        build=build,
        baseline_build=base_build,
        break_even=_break_even(ratios, base, build, base_build, confidence),
        gaps=tuple(gaps),
    )


def _why_not(record: Record, who: str = "") -> str:
    outcome = record.outcome
    if isinstance(outcome, Ok):
        return ""
    if isinstance(outcome, Failed):
        return f"{who}failed: {outcome.error}: {outcome.message}"
    return f"{who}skipped: {outcome.reason}"


def _try(gaps: list[str], what: str, make: Callable[[], T]) -> T | None:
    try:
        return make()
    except (NotMeasured, InvalidMeasurement, IncomparableRecords, ResultsError) as error:
        gaps.append(f"{what}: {error}")
        return None


def _ratio(record: Record, base: Record, quantity: str, confidence: float) -> stats.Interval:
    return stats.exponential(stats.ratio_interval(stats.paired_log_ratios(record, base, quantity=quantity), confidence))


def _at_model_bounds(record: Record, base: Record, confidence: float) -> tuple[stats.Interval, ...]:
    """Return the ratio at the model's low and high if modelled and other joules are in it, else nothing."""
    ways = {part.provenance for each in (record, base) for part in stats.run_total(each).parts}
    if Provenance.MODELLED not in ways or len(ways) == 1:
        return ()
    return tuple(_ratio(record, base, f"model-{side}", confidence) for side in _SIDES)


def _widened(ratio: stats.Interval, bounds: Sequence[stats.Interval]) -> stats.Interval:
    """Return the ratio with the interval that holds wherever within its bounds the model lies."""
    every = (ratio, *bounds)
    return msgspec.structs.replace(ratio, low=min(each.low for each in every), high=max(each.high for each in every))


def _judge(ratio: stats.Interval | None, gaps: Sequence[str], base: str) -> tuple[Verdict, str]:
    if ratio is None:
        return Verdict.NOT_MEASURED, gaps[0]
    low, high = ratio.low, ratio.high
    if high < 1:
        return Verdict.SAVES, f"the whole interval of the ratio to {base} lies below 1"
    if low > 1:
        return Verdict.COSTS_MORE, f"the whole interval of the ratio to {base} lies above 1"
    return Verdict.NO_DIFFERENCE_SHOWN, f"the interval of the ratio to {base}, {low:.3f} to {high:.3f}, contains 1"


def _break_even(
    ratios: Sequence[stats.Interval],
    base: Record,
    build: stats.Total | None,
    base_build: stats.Total | None,
    confidence: float,
) -> stats.BreakEven | None:
    """Return the break-even at the ratio, widened to what it is at the model's low and high if those are given too."""
    if not ratios or build is None or base_build is None:
        return None
    per_task_j, mean = stats.energy_interval(base, confidence).estimate, stats.energy_per_task(base)
    paid = []
    for ratio, side in zip(ratios, ("", *_SIDES), strict=False):
        extra_j = build.at_model(side) - base_build.at_model(side)
        task_j = per_task_j * mean.at_model(side) / mean.energy_j
        saving = [task_j * (1 - value) for value in (ratio.estimate, ratio.high, ratio.low)]
        paid.append(stats.break_even(extra_j, *saving))
    return stats.widest(paid)
