"""One case of a run against the same case of a stored one (`trends.py` puts them together)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import fmean, median

from harness import stats
from harness.compare import CaseVerdict, Results, RunVerdict, compare_techniques
from harness.errors import IncomparableRecords, InvalidMeasurement, NotMeasured
from harness.gate.model import CaseResult, Estimate, Policy, Quality, Verdict
from harness.records import Doubt, Ok, Phase, Provenance, Record, WindowKind
from harness.stats.paired import log_values

_TRENDS = (Verdict.REGRESSED, Verdict.IMPROVED, Verdict.PASS)

POWER = 0.95
"""Power of the change that `detectable` names."""

_VERDICTS = {
    RunVerdict.PASS: Verdict.PASS,
    RunVerdict.REGRESSED: Verdict.REGRESSED,
    RunVerdict.IMPROVED: Verdict.IMPROVED,
    RunVerdict.INCONCLUSIVE: Verdict.INCONCLUSIVE,
    RunVerdict.INVALID: Verdict.INVALID,
}


def judged(
    name: str, verdict: CaseVerdict, pair: tuple[Record, Record], signs: tuple[float, ...], policy: Policy
) -> CaseResult:
    """Return what is said of a case that both runs measured, the stored one first; a trend is advisory.

    An inconclusive case counts (under `--strict`), but for one that nothing was interleaved with: no run settles it.
    """
    stored, current = pair
    estimate = _estimate(verdict, signs)
    quality = _quality(verdict, pair, policy)
    said, reason = _said(verdict, estimate, quality, policy)
    if estimate is not None and estimate.detectable is not None:
        reason += f"; between runs, changes of {estimate.detectable:.1%} and more would have been found"
    beyond = estimate is not None and estimate.low > policy.tolerance
    alone = said is Verdict.INCONCLUSIVE and estimate is None
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
        advisory=alone or (said in _TRENDS and not beyond),
    )


def _said(
    verdict: CaseVerdict, estimate: Estimate | None, quality: Quality | None, policy: Policy
) -> tuple[Verdict, str]:
    """Return verdict and reason. What was not measured soundly says nothing of quality either."""
    said, reason = _VERDICTS[verdict.verdict], verdict.reason
    if said is not Verdict.INVALID and quality is not None and quality.worse:
        lost = f"{quality.metric} changed by {quality.difference:+.2%} [{quality.low:+.2%}, {quality.high:+.2%}]"
        return Verdict.WORSE_QUALITY, lost
    if said is Verdict.REGRESSED and estimate is not None and estimate.change < policy.min_effect:
        return Verdict.INCONCLUSIVE, f"{reason}; smaller than the least effect that counts"
    return said, reason


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


def partners_of(run: Results) -> dict[str, str]:
    """Return case → the case of the baseline technique it was interleaved with."""
    return {
        case_id: group.baseline_id
        for group in compare_techniques(run)
        for case_id in group.case_ids
        if group.baseline_id is not None and case_id != group.baseline_id
    }


def signs_of(
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
        return stats.training_duration_s(record) if isinstance(record.outcome, Ok) else None
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
