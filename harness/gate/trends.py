"""A run against a stored baseline, as a result of the gate (`baselines.py` says what that can and cannot show)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from harness.compare import Results, compare_runs
from harness.gate.exits import Exit, exit_of
from harness.gate.model import Arm, Calibration, CaseResult, GateResult, Verdict
from harness.gate.targets import Accept, GateConfig, accepted, advisory, policy_of
from harness.gate.terms import expired_notes
from harness.gate.trend_cases import judged, partners_of, signs_of
from harness.records import Ok, Record, RunInfo, Skipped


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
    cases = tuple(_on_terms(case, config) for case in _cases(stored, current, config))
    code, reasons = exit_of(cases, strict=strict)
    result = _undecided(_arm(stored.info), current.info, config, gate_id)
    return msgspec.structs.replace(
        result,
        cases=cases,
        calibration=calibration,
        strict=strict,
        exit_code=code,
        exit_reasons=reasons,
        notes=(*_unknown_code(result.base, result.head), *expired_notes(config)),
    )


def refused(why: str, baseline: str, current: RunInfo, *, gate_id: str, config: GateConfig | None) -> GateResult:
    """Return the result of a gate whose baseline is missing or not comparable: no case, and the reason."""
    base = Arm(ref=baseline, commit=None, dirty=False, lock_sha256=None)
    result = _undecided(base, current, config or GateConfig(cases=()), gate_id)
    code = int(Exit.INCOMPARABLE)
    return msgspec.structs.replace(result, exit_code=code, exit_reasons=(f"{code} baseline: {why}",))


def _undecided(base: Arm, current: RunInfo, config: GateConfig, gate_id: str) -> GateResult:
    """Return what the result says of the run, before there is a case."""
    return GateResult(
        gate_id=gate_id,
        base=base,
        head=_arm(current),
        policy=config.policy,
        seed=int(current.suite["seed"]),
        started_utc=current.started_utc,
        wall_s=current.wall_s,
        host_fingerprint=current.host_fingerprint,
        code_version=current.code_version,
        cases=(),
        stored=True,
        exit_code=0,
    )


def _cases(stored: Results, current: Results, config: GateConfig) -> Iterator[CaseResult]:
    """Yield the cases of both runs, then those that vanished, then the new ones."""
    compared = compare_runs(stored, current, alpha=config.policy.alpha, tolerance=config.policy.tolerance)
    before, after = ({record.case_id: record for record in run.records} for run in (stored, current))
    partners = partners_of(stored), partners_of(current)
    name = _names(stored, current)
    for verdict in compared.cases:
        pair = before[verdict.case_id], after[verdict.case_id]
        lost = _gone_or_new(pair, name)
        if lost is not None:
            yield lost
        elif not isinstance(pair[0].outcome, Skipped):
            signs = signs_of(verdict.case_id, (before, after), partners)
            called = name(pair[1])
            yield judged(called, verdict, pair, signs, policy_of(config, called))
    for key, record in before.items():
        if key not in after and _ok(record):
            yield _vanished(name(record), "the run has no such case")
    for key, record in after.items():
        if key not in before and _ok(record):
            yield _new(name(record))


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


def _on_terms(case: CaseResult, config: GateConfig) -> CaseResult:
    """Return the case as advisory where it only warns, and with the entry that covers what was found."""
    case = msgspec.structs.replace(case, advisory=case.advisory or advisory(config, case.name))
    entry = accepted(config, case.name)
    if entry is None or not _covers(entry, case):
        return case
    return msgspec.structs.replace(case, accepted=entry.label)


def _covers(entry: Accept, case: CaseResult) -> bool:
    """Say whether an entry covers all of a cost, or acknowledges a case that is new or gone."""
    if case.verdict in (Verdict.VANISHED, Verdict.NEW):
        return True
    return case.verdict is Verdict.REGRESSED and case.estimate is not None and case.estimate.change <= entry.up_to


def _arm(info: RunInfo) -> Arm:
    _, _, commit = info.code_version.partition("+")
    return Arm(
        ref=info.run_id,
        commit=commit.removesuffix("-dirty") or None,
        dirty=commit.endswith("-dirty"),
        lock_sha256=None,
    )
