"""One run against another on the same host.

Two runs are not interleaved, so a raw ratio between them carries the drift of the machine. Within each
run, however, every technique was interleaved with the baseline: the change of *that* ratio from run A
to run B is free of drift, and is what gets a verdict.

Measured family-wise false alarms at a nominal 1 % (three comparisons, Holm, t3 noise, 4 or 12 blocks a fork, 800
simulated A/A pairs each): at most 1.0 % while the forks' spread is up to half of the blocks'; where it is as large
as the blocks', 1.4 % with two forks, 2.5 % with three, 1.0 % with four or more. One fork: 0 %, and hardly any power.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

from harness import host, stats
from harness.compare.techniques import GroupComparison, Results, compare_techniques
from harness.errors import IncomparableRecords, InvalidMeasurement, NotMeasured
from harness.records import Doubt, Frozen, Ok, Phase, Record

NOT_INTERLEAVED = "not interleaved: drift of the machine is not separated"


class RunVerdict(StrEnum):
    """The closed set of what may be said about a change."""

    PASS = "pass"  # noqa: S105 a verdict
    REGRESSED = "regressed"
    IMPROVED = "improved"
    INCONCLUSIVE = "inconclusive"
    INVALID = "invalid"


class CaseVerdict(Frozen, frozen=True, kw_only=True):
    """One case in run B against the same case in run A.

    `change` is the ratio to the interleaved baseline in B over that in A, `adjusted_p` Holm's;
    `raw_ratio` is joules in B over joules in A, drift of the machine included (a task for infer cases,
    one training for train cases). `quality` is B − A on the same items, by `metric`.
    """

    case_id: str
    name: str
    verdict: RunVerdict
    reason: str
    change: stats.Interval | None = None
    adjusted_p: float | None = None
    raw_ratio: float | None = None
    quality: stats.Difference | None = None
    metric: str | None = None


class RunComparison(Frozen, frozen=True, kw_only=True):
    """B against A. `statement` says the error rate and over how many comparisons it holds."""

    run_a: str
    run_b: str
    alpha: float
    tolerance: float
    n_comparisons: int
    statement: str
    cases: tuple[CaseVerdict, ...]
    only_in_a: tuple[str, ...]
    only_in_b: tuple[str, ...]


def compare_runs(
    a: Results,
    b: Results,
    *,
    alpha: float = 0.01,
    tolerance: float = 0.03,
    baselines: Mapping[Phase, str] | None = None,
) -> RunComparison:
    """Compare run B with run A, case by case.

    `alpha` bounds the chance of any false `regressed` or `improved` in the whole comparison (Holm).

    Raises: IncomparableRecords: unlike hosts, data, models or meters, or no case in common.
    """
    _same_host(a, b)
    records_a, records_b = ({record.case_id: record for record in run.records} for run in (a, b))
    common = [case_id for case_id in records_a if case_id in records_b]
    if not common:
        raise IncomparableRecords(
            f"runs {a.info.run_id} and {b.info.run_id} have no case in common; run the same suite"
        )
    for case_id in common:
        _same_material(records_a[case_id], records_b[case_id])
    bases = _baselines(compare_techniques(a, baselines)), _baselines(compare_techniques(b, baselines))
    drafts = [_draft(case_id, (records_a, records_b), bases, alpha, len(common)) for case_id in common]
    cases = tuple(
        msgspec.structs.replace(each, name=a.info.name_of(records_a[each.case_id].case))
        for each in _with_verdicts(drafts, alpha, tolerance)
    )
    n = sum(case.change is not None for case in cases)
    return RunComparison(
        run_a=a.info.run_id,
        run_b=b.info.run_id,
        alpha=alpha,
        tolerance=tolerance,
        n_comparisons=n,
        statement=(
            f"{n} comparison{'' if n == 1 else 's'} of ratios to the interleaved baseline; the chance of any false "
            f"'regressed' or 'improved' among them is at most {alpha:.1%} (Holm); "
            f"'pass' means that the change is shown to be within ±{tolerance:.1%}"
        ),
        cases=cases,
        only_in_a=tuple(a.info.name_of(record.case) for key, record in records_a.items() if key not in records_b),
        only_in_b=tuple(b.info.name_of(record.case) for key, record in records_b.items() if key not in records_a),
    )


def _same_host(a: Results, b: Results) -> None:
    if a.info.host_fingerprint == b.info.host_fingerprint:
        return
    lines = host.difference(a.info.host, b.info.host) or ("fingerprints differ; fields alike",)
    raise IncomparableRecords(
        f"run {a.info.run_id} and run {b.info.run_id} were made on unlike hosts; joules of unlike hosts are not "
        "compared. Measure both on one host. Where they differ (A | B):\n  " + "\n  ".join(lines)
    )


def _same_material(a: Record, b: Record) -> None:
    """Refuse to compare the same case on other data, another model or other meters."""
    pairs = [
        ("data", *(record.data.content_sha256 if record.data else None for record in (a, b))),
        ("model", *(_model(record) for record in (a, b))),
        ("meters", *(_meters(record) for record in (a, b))),
    ]
    lines = [
        f"{name}: {mine} | {theirs}"
        for name, mine, theirs in pairs
        if mine is not None and theirs is not None and mine != theirs
    ]
    if lines:
        raise IncomparableRecords(
            f"{a.case.name} does not describe the same thing in both runs (A | B):\n  " + "\n  ".join(lines)
        )


def _model(record: Record) -> str | None:
    model = record.model
    return f"{model.architecture}, {model.parameters} parameters, {model.weights_sha256}" if model else None


def _meters(record: Record) -> str | None:
    counted = [energy for window in record.windows for energy in window.measured.energies if energy.billed]
    billed = {f"{energy.domain} {energy.provenance.value} by {energy.meter}" for energy in counted}
    billing = {energy.meter for energy in counted}
    models = {
        f"{meter.name}={meter.coefficients}" for meter in record.meters if meter.coefficients and meter.name in billing
    }
    return "; ".join(sorted(billed) + sorted(models)) if billed else None


def _baselines(groups: Sequence[GroupComparison]) -> dict[str, str]:
    """Return case → case of the baseline it was interleaved with."""
    return {
        case_id: group.baseline_id
        for group in groups
        for case_id in group.case_ids
        if group.baseline_id is not None and case_id != group.baseline_id
    }


class _Draft(Frozen, frozen=True, kw_only=True):
    """A case before the family is judged: either a drift-free change, or the reason why there is none."""

    case: CaseVerdict
    change: stats.Location | None = None


def _draft(
    case_id: str,
    records: tuple[Mapping[str, Record], Mapping[str, Record]],
    bases: tuple[Mapping[str, str], Mapping[str, str]],
    alpha: float,
    k: int,
) -> _Draft:
    a, b = (each[case_id] for each in records)
    failed = [f"run {which}: {record.outcome}" for which, record in (("A", a), ("B", b)) if not _ok(record)]
    case = CaseVerdict(case_id=case_id, name=a.case.name, verdict=RunVerdict.INVALID, reason="; ".join(failed))
    if failed:
        return _Draft(case=case)
    case = msgspec.structs.replace(
        case,
        raw_ratio=_raw_ratio(a, b),
        quality=_quality(a, b, stats.familywise(1 - alpha, k)),
        metric=b.quality.metric if b.quality else None,
    )
    partners = [base.get(case_id) for base in bases]
    if partners[0] is None or partners[1] is None or partners[0] != partners[1]:
        return _Draft(case=msgspec.structs.replace(case, verdict=RunVerdict.INCONCLUSIVE, reason=NOT_INTERLEAVED))
    try:
        places = [
            stats.locate(stats.paired_log_ratios(record, each[partner]))
            for record, each, partner in zip((a, b), records, partners, strict=True)
            if partner is not None
        ]
    except (NotMeasured, InvalidMeasurement, IncomparableRecords) as error:
        return _Draft(case=msgspec.structs.replace(case, verdict=RunVerdict.INVALID, reason=str(error)))
    return _Draft(case=case, change=stats.difference(places[1], places[0]))


def _ok(record: Record) -> bool:
    return isinstance(record.outcome, Ok)


def _raw_ratio(a: Record, b: Record) -> float | None:
    total = stats.training_total if a.case.phase is Phase.TRAIN else stats.energy_per_task
    try:
        return total(b).energy_j / total(a).energy_j
    except (NotMeasured, InvalidMeasurement, ZeroDivisionError):
        return None


def _quality(a: Record, b: Record, confidence: float) -> stats.Difference | None:
    try:
        return stats.quality_difference(b, a, confidence)
    except (NotMeasured, IncomparableRecords):
        return None


def _with_verdicts(drafts: Sequence[_Draft], alpha: float, tolerance: float) -> tuple[CaseVerdict, ...]:
    changes = [draft.change for draft in drafts if draft.change is not None]
    confidence = stats.familywise(1 - alpha, len(changes))
    intervals = [stats.interval(change, confidence) for change in changes]
    judged = iter(zip(intervals, stats.holm([each.p_value for each in intervals]), strict=True))
    cases = []
    for draft in drafts:
        if draft.change is None:
            cases.append(draft.case)
            continue
        log_change, adjusted = next(judged)
        verdict, reason = _judge(log_change, adjusted, alpha, tolerance)
        change = stats.exponential(log_change)
        cases.append(
            msgspec.structs.replace(draft.case, verdict=verdict, reason=reason, change=change, adjusted_p=adjusted)
        )
    return tuple(cases)


def _judge(change: stats.Interval, adjusted: float, alpha: float, tolerance: float) -> tuple[RunVerdict, str]:
    low, high = math.expm1(change.low), math.expm1(min(change.high, 700.0))
    span = f"{low:+.1%} to {high:+.1%}"
    if -tolerance <= low and high <= tolerance:
        return RunVerdict.PASS, f"the change is within ±{tolerance:.1%}: {span}"
    if adjusted < alpha:
        verdict = RunVerdict.REGRESSED if change.estimate > 0 else RunVerdict.IMPROVED
        return verdict, f"{math.expm1(change.estimate):+.1%} ({span}), adjusted p = {adjusted:.2g}"
    few = " One fork cannot tell the luck of its layout from a change." if Doubt.ONE_FORK in change.doubts else ""
    return RunVerdict.INCONCLUSIVE, f"neither a change nor its absence is shown: {span}; measure more forks.{few}"
