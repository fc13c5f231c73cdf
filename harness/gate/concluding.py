"""From what the looks and the confirmations found to one verdict a case, with its reason and its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

from harness.gate.evidence import per_task
from harness.gate.findings import Finding, Kind, Recurrence, Terms
from harness.gate.model import Block, CaseResult, Policy, Quality, Slot, Stage, Verdict
from harness.records import Doubt, MeterInfo
from harness.stats.sums import weakest


class Ending(NamedTuple):
    """What is known of one case when measuring ends."""

    finding: Finding
    blocks: Sequence[Block]
    terms: Terms
    recurrences: Sequence[Recurrence] = ()
    quality: Quality | None = None
    meters: tuple[MeterInfo, ...] = ()


def verdicts(
    findings: Mapping[str, Finding],
    blocks_by_case: Mapping[str, Sequence[Block]],
    policy: Policy,
    *,
    terms: Mapping[str, Terms] | None = None,
    recurrences: Mapping[str, Sequence[Recurrence]] | None = None,
    qualities: Mapping[str, Quality] | None = None,
    meters: Mapping[str, tuple[MeterInfo, ...]] | None = None,
) -> tuple[CaseResult, ...]:
    """Return the verdict of every case that has a finding, in their order.

    `findings` are those of the last look, `recurrences` one entry for each confirmation that was run. Invalid counts
    before worse quality, and that before any cost: what was not measured soundly casts doubt on the rest.
    """
    return tuple(
        _concluded(
            Ending(
                finding=finding,
                blocks=blocks_by_case.get(case, ()),
                terms=(terms or {}).get(case, Terms(policy=policy)),
                recurrences=(recurrences or {}).get(case, ()),
                quality=(qualities or {}).get(case),
                meters=(meters or {}).get(case, ()),
            ),
            policy,
        )
        for case, finding in findings.items()
    )


def _concluded(ending: Ending, policy: Policy) -> CaseResult:
    finding, terms = ending.finding, ending.terms
    verdict, reason = _verdict(ending, policy)
    slots = _slots(ending.blocks)
    known = [slot.provenance for slot in slots if slot.provenance is not None]
    suspected = finding.kind is Kind.SUSPECTED
    overtime = policy.overtime(finding.look)
    return CaseResult(
        name=finding.case,
        verdict=verdict,
        reason=reason,
        estimate=finding.estimate,
        base_j=_median_j(slots, "base"),
        head_j=_median_j(slots, "head"),
        base_s=_median_s(slots, "base"),
        head_s=_median_s(slots, "head"),
        look=finding.look,
        looks=policy.looks + overtime,
        family=finding.family,
        blocks_allowed=policy.most_blocks * (1 + overtime),
        confirmed=sum(each.again for each in ending.recurrences),
        confirmations=policy.confirmations if suspected else 0,
        control_change=finding.control_change,
        provenance=weakest(known) if known else None,
        meters=ending.meters,
        quality=ending.quality,
        doubts=_doubts(slots),
        advisory=terms.advisory,
        # An entry covers costs up to its limit, and a regression is one beyond it.
        accepted=None if verdict is Verdict.REGRESSED else terms.accepted,
        more_blocks=finding.more_blocks if verdict is Verdict.INCONCLUSIVE else None,
    )


def _verdict(ending: Ending, policy: Policy) -> tuple[Verdict, str]:
    finding, quality = ending.finding, ending.quality
    broken = next((each.fault for each in ending.recurrences if each.fault is not None), None)
    if finding.kind is Kind.INVALID or broken is not None:
        return Verdict.INVALID, broken or finding.reason
    if quality is not None and quality.worse:
        return Verdict.WORSE_QUALITY, (
            f"{quality.metric} of {quality.n} items fell from {quality.base:.4g} to {quality.head:.4g} "
            f"({quality.difference:+.3g} [{quality.low:+.3g}, {quality.high:+.3g}])"
        )
    if finding.kind is Kind.SUSPECTED:
        return _suspected(finding, ending.recurrences, policy)
    if finding.kind is Kind.IMPROVED:
        return Verdict.IMPROVED, finding.reason
    if finding.kind is Kind.PASS:
        return Verdict.PASS, finding.reason
    return Verdict.INCONCLUSIVE, finding.reason


def _suspected(finding: Finding, recurrences: Sequence[Recurrence], policy: Policy) -> tuple[Verdict, str]:
    lost = next((each for each in recurrences if not each.again), None)
    if lost is not None:
        return Verdict.INCONCLUSIVE, f"{finding.reason}; but {lost.reason}"
    if len(recurrences) < policy.confirmations:
        run = f"{len(recurrences)} of {policy.confirmations} confirmations"
        return Verdict.INCONCLUSIVE, f"{finding.reason}; only {run} could be run; raise the budget"
    again = "; ".join(each.reason for each in recurrences)
    return Verdict.REGRESSED, f"{finding.reason}; {again}" if again else finding.reason


def _slots(blocks: Sequence[Block]) -> list[Slot]:
    return [slot for block in blocks if block.stage is Stage.MAIN and block.void is None for slot in block.slots]


def _median_j(slots: Sequence[Slot], arm: str) -> float | None:
    found = [per_task(slot) for slot in slots if slot.arm == arm and slot.tasks > 0 and slot.energy_j is not None]
    return median(found) if found else None


def _median_s(slots: Sequence[Slot], arm: str) -> float | None:
    found = [slot.duration_s / slot.tasks for slot in slots if slot.arm == arm and slot.tasks > 0]
    return median(found) if found else None


def _doubts(slots: Sequence[Slot]) -> tuple[Doubt, ...]:
    return tuple(sorted({doubt for slot in slots for doubt in slot.doubts}))
