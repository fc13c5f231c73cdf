"""A run against a stored baseline, as a result of the gate (`baselines.py` says what that can and cannot show)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from statistics import fmean, median

import msgspec

from harness import stats
from harness.compare import CaseVerdict, Results, RunVerdict, compare_runs, compare_techniques
from harness.errors import IncomparableRecords, InvalidMeasurement, NotMeasured
from harness.gate.exits import exit_of
from harness.gate.model import Arm, Calibration, CaseResult, Estimate, GateResult, Policy, Quality, Verdict
from harness.gate.targets import GateConfig, accepted, advisory, policy_of
from harness.gate.terms import expired_notes
from harness.records import Doubt, Ok, Phase, Provenance, Record, RunInfo, Skipped, WindowKind
from harness.stats.paired import log_values

_TRENDS = (Verdict.REGRESSED, Verdict.IMPROVED, Verdict.PASS, Verdict.INCONCLUSIVE)

POWER = 0.95
"""Power of the change that `detectable` names."""

_VERDICTS = {
    RunVerdict.PASS: Verdict.PASS,
    RunVerdict.REGRESSED: Verdict.REGRESSED,
    RunVerdict.IMPROVED: Verdict.IMPROVED,
    RunVerdict.INCONCLUSIVE: Verdict.INCONCLUSIVE,
    RunVerdict.INVALID: Verdict.INVALID,
}


def against(
    stored: Results,
    current: Results,
    *,
    gate_id: str,
    config: GateConfig | None = None,
    calibration: Calibration | None = None,
    strict: bool = False,
) -> GateResult:
    """Hold a run against a stored one. Verdicts are advisory unless the interval excludes the tolerance.

    `config` gives the promises, the advisory cases and the accepted costs; by default there are none but the default
    promises.

    Raises: IncomparableRecords: unlike hosts, data, models or meters, or no case in common.
    """
    config = config or GateConfig(cases=())
    policy = config.policy
    compared = compare_runs(stored, current, alpha=policy.alpha, tolerance=policy.tolerance)
    before, after = ({record.case_id: record for record in run.records} for run in (stored, current))
    partners = _partners(stored), _partners(current)
    name = _names(stored, current)
    cases = []
    for verdict in compared.cases:
        pair = before[verdict.case_id], after[verdict.case_id]
        lost = _gone_or_new(pair, name)
        if lost is not None:
            cases.append(lost)
        elif not isinstance(pair[0].outcome, Skipped):
            signs = _signs(verdict.case_id, (before, after), partners)
            cases.append(_case(name(pair[1]), verdict, pair, signs, config))
    gone = [record for key, record in before.items() if key not in after and _ok(record)]
    cases += [_vanished(name(record), "the run has no such case") for record in gone]
    cases += [_new(name(record)) for key, record in after.items() if key not in before and _ok(record)]
    cases = [_on_terms(case, config) for case in cases]
    code, reasons = exit_of(cases, strict=strict)
    info = current.info
    base, head = _arm(stored.info), _arm(info)
    return GateResult(
        gate_id=gate_id,
        base=base,
        head=head,
        policy=policy,
        seed=int(info.suite["seed"]),
        started_utc=info.started_utc,
        wall_s=info.wall_s,
        host_fingerprint=info.host_fingerprint,
        code_version=info.code_version,
        cases=tuple(cases),
        calibration=calibration,
        stored=True,
        strict=strict,
        exit_code=code,
        exit_reasons=reasons,
        notes=(*_unknown_code(base, head), *expired_notes(config)),
    )


def _unknown_code(*arms: Arm) -> tuple[str, ...]:
    return tuple(
        f"run {arm.ref} was measured with uncommitted changes, so no commit holds what it stands for"
        for arm in arms
        if arm.dirty
    )


def _ok(record: Record) -> bool:
    return isinstance(record.outcome, Ok)


def _names(*runs: Results) -> Callable[[Record], str]:
    """Return how cases are called: as `gate --base` calls those of a suite, with their id where that names several."""
    ids: dict[str, set[str]] = {}
    labels = {case_id: label for run in runs for case_id, label in run.info.labels.items()}

    def bare(record: Record) -> str:
        called = record.case.named(labels.get(record.case_id, "")).replace("infer/", "", 1)
        return f"{runs[0].info.suite_name}/{called}"

    for run in runs:
        for record in run.records:
            ids.setdefault(bare(record), set()).add(record.case_id)

    def name(record: Record) -> str:
        return bare(record) if len(ids[bare(record)]) == 1 else f"{bare(record)}[{record.case_id}]"

    return name


def _gone_or_new(pair: tuple[Record, Record], name: Callable[[Record], str]) -> CaseResult | None:
    """Return the result of a case that only one of the runs measured because the other skipped it."""
    stored, current = pair
    if _ok(stored) and isinstance(current.outcome, Skipped):
        return _vanished(name(stored), f"it is skipped now: {current.outcome.reason}")
    return _new(name(current)) if isinstance(stored.outcome, Skipped) and _ok(current) else None


def _vanished(name: str, why: str) -> CaseResult:
    reason = f"the baseline has it, {why}; bring it back, or store a baseline without it"
    return CaseResult(name=name, verdict=Verdict.VANISHED, reason=reason)


def _new(name: str) -> CaseResult:
    reason = "the baseline does not have it; it is gated once a baseline with it is stored"
    return CaseResult(name=name, verdict=Verdict.NEW, reason=reason)


def _case(
    name: str, verdict: CaseVerdict, pair: tuple[Record, Record], signs: tuple[float, ...], config: GateConfig
) -> CaseResult:
    stored, current = pair
    policy = policy_of(config, name)
    estimate = _estimate(verdict, signs)
    quality = _quality(verdict, pair, policy)
    said, reason = _VERDICTS[verdict.verdict], verdict.reason
    beyond = estimate is not None and estimate.low > policy.tolerance
    if quality is not None and quality.worse:
        said = Verdict.WORSE_QUALITY
        reason = f"{quality.metric} changed by {quality.difference:+.2%} [{quality.low:+.2%}, {quality.high:+.2%}]"
    elif said is Verdict.REGRESSED and estimate is not None and estimate.change < policy.min_effect:
        said, reason = Verdict.INCONCLUSIVE, f"{reason}; smaller than the least effect that counts"
    if estimate is not None and estimate.detectable is not None:
        reason += f"; between runs, changes of {estimate.detectable:.1%} and more would have been found"
    return CaseResult(
        name=name,
        verdict=said,
        reason=reason,
        estimate=estimate,
        base_j=_median_j(stored),
        head_j=_median_j(current),
        base_s=_median_s(stored),
        head_s=_median_s(current),
        provenance=_provenance(current),
        meters=current.meters,
        quality=quality,
        doubts=_doubts(pair),
        advisory=said in _TRENDS and not beyond,
    )


def _estimate(verdict: CaseVerdict, signs: tuple[float, ...]) -> Estimate | None:
    change = verdict.change
    if change is None or verdict.adjusted_p is None:
        return None
    return Estimate(
        change=change.estimate - 1,
        low=change.low - 1,
        high=change.high - 1,
        confidence=change.confidence,
        # The comparison's p is two-sided; the gate's is for "costs more".
        p_value=change.p_value / 2 if change.estimate > 1 else 1 - change.p_value / 2,
        p_adjusted=verdict.adjusted_p,
        forks=change.n_forks,
        same_sign=sum((sign > 0) == (change.estimate > 1) for sign in signs),
        blocks=change.n_blocks,
        detectable=_detectable(change),
    )


def _detectable(change: stats.Interval) -> float | None:
    """Return the smallest increase found with 95 % power: (z of the interval + z of the power) standard errors.

    The standard error is the interval's half-width over its normal quantile, which is more than the t interval has.
    """
    from scipy.stats import norm

    z_interval = float(norm.ppf(0.5 + change.confidence / 2))
    error = math.log(change.high / change.low) / 2 / z_interval
    largest = (z_interval + float(norm.ppf(POWER))) * error
    return math.expm1(largest) if largest < math.log(100) else None


def _partners(run: Results) -> dict[str, str]:
    """Return case → the case of the baseline technique it was interleaved with."""
    return {
        case_id: group.baseline_id
        for group in compare_techniques(run)
        for case_id in group.case_ids
        if group.baseline_id is not None and case_id != group.baseline_id
    }


def _signs(
    case_id: str, records: tuple[Mapping[str, Record], ...], partners: tuple[Mapping[str, str], ...]
) -> tuple[float, ...]:
    """Return, for each fork of the current run, how far its ratio lies above that of the stored run (log)."""
    if any(case_id not in each for each in partners):
        return ()
    try:
        stored, current = (
            stats.paired_log_ratios(each[case_id], each[partner[case_id]])
            for each, partner in zip(records, partners, strict=True)
        )
        level = stats.locate(stored).estimate
    except (IncomparableRecords, InvalidMeasurement, NotMeasured):
        return ()
    return tuple(fmean(values) - level for values in current.values() if values)


def _quality(verdict: CaseVerdict, pair: tuple[Record, Record], policy: Policy) -> Quality | None:
    found, (stored, current) = verdict.quality, pair
    if found is None or stored.quality is None or current.quality is None:
        return None
    return Quality(
        metric=current.quality.metric,
        n=found.n,
        base=stored.quality.value,
        head=current.quality.value,
        difference=found.value,
        low=found.low,
        high=found.high,
        worse=found.high < -policy.quality_loss,
    )


def _on_terms(case: CaseResult, config: GateConfig) -> CaseResult:
    """Return the case as advisory where it only warns, and with the entry that covers all of a cost that was found."""
    case = msgspec.structs.replace(case, advisory=case.advisory or advisory(config, case.name))
    entry = accepted(config, case.name)
    if entry is None or case.verdict is not Verdict.REGRESSED or case.estimate is None:
        return case
    return case if case.estimate.change > entry.up_to else msgspec.structs.replace(case, accepted=entry.label)


def _arm(info: RunInfo) -> Arm:
    _, _, commit = info.code_version.partition("+")
    return Arm(
        ref=info.run_id,
        commit=commit.removesuffix("-dirty") or None,
        dirty=commit.endswith("-dirty"),
        lock_sha256=None,
    )


def _median_j(record: Record) -> float | None:
    try:
        if record.case.phase is Phase.TRAIN:
            return stats.training_total(record).energy_j
        values = [value for each in log_values(record).values() for value in each]
        return math.exp(median(values)) if values else None
    except (NotMeasured, InvalidMeasurement):
        return None


def _median_s(record: Record) -> float | None:
    if record.case.phase is Phase.TRAIN:
        return stats.training_duration_s(record) if _ok(record) else None
    windows = [window for window in record.windows if window.kind is WindowKind.RUN and window.tasks > 0]
    return median(window.measured.duration_s / window.tasks for window in windows) if windows else None


def _provenance(record: Record) -> Provenance | None:
    try:
        kind = stats.training_total if record.case.phase is Phase.TRAIN else stats.energy_per_task
        return kind(record).provenance
    except (NotMeasured, InvalidMeasurement):
        return None


def _doubts(pair: Iterable[Record]) -> tuple[Doubt, ...]:
    return tuple(
        dict.fromkeys(
            doubt
            for record in pair
            for doubt in (*record.doubts, *(each for window in record.windows for each in window.measured.doubts))
        )
    )
