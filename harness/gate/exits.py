"""The exit code of a gate: the most severe thing that happened, and everything that did.

     0  pass          nothing failed; inconclusive and new cases are warnings
     2  usage         nothing was gated, or the request cannot be carried out (also every `UsageError`)
    10  regressed     a case costs more, confirmed
    11  inconclusive  only with `--strict`: a case was not settled, or is new and has no base to stand against
    12  incomparable  a baseline is missing or of another host, or a gated case vanished (also `IncomparableRecords`)
    13  invalid       a measurement that cannot be used (also `InvalidMeasurement`, `WorkerFailed`, `NotMeasured`)
    14  quality       head answers worse than base, whatever it saves

1 stays Python's own code for a defect, so that "slower" and "broken" never look alike. With several, the most severe
counts, in the order 13, 12, 14, 10, 11: what was not measured soundly casts doubt on the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from harness.errors import IncomparableRecords, InvalidMeasurement, UsageError
from harness.gate.model import CaseResult, GateResult, Verdict


class Exit(IntEnum):
    """What a gate exits with."""

    PASS = 0
    USAGE = UsageError.exit_code
    REGRESSED = 10
    INCONCLUSIVE = 11
    INCOMPARABLE = IncomparableRecords.exit_code
    INVALID = InvalidMeasurement.exit_code
    WORSE_QUALITY = 14


SEVERITY = (Exit.INVALID, Exit.INCOMPARABLE, Exit.WORSE_QUALITY, Exit.REGRESSED, Exit.INCONCLUSIVE)
"""Most severe first."""

_EXITS = {
    Verdict.PASS: Exit.PASS,
    Verdict.IMPROVED: Exit.PASS,
    Verdict.REGRESSED: Exit.REGRESSED,
    Verdict.INCONCLUSIVE: Exit.INCONCLUSIVE,
    Verdict.NEW: Exit.INCONCLUSIVE,
    Verdict.VANISHED: Exit.INCOMPARABLE,
    Verdict.INVALID: Exit.INVALID,
    Verdict.WORSE_QUALITY: Exit.WORSE_QUALITY,
}
_ACCEPTABLE = frozenset({Verdict.REGRESSED, Verdict.VANISHED, Verdict.NEW})


def is_accepted(case: CaseResult) -> bool:
    """Return whether an entry lets this verdict pass."""
    return case.accepted is not None and case.verdict in _ACCEPTABLE


def case_exit(case: CaseResult, *, strict: bool) -> Exit:
    """Return what one case alone makes the gate exit with.

    An advisory case never fails. An entry can accept a known cost, a case that vanished and a new one, but no loss of
    quality and no invalid measurement: what those hide is not known.
    """
    if case.advisory or is_accepted(case):
        return Exit.PASS
    code = _EXITS[case.verdict]
    return Exit.PASS if code is Exit.INCONCLUSIVE and not strict else code


def exit_of(cases: Sequence[CaseResult], *, strict: bool) -> tuple[int, tuple[str, ...]]:
    """Return the exit code and every reason for it, the most severe first."""
    found: list[tuple[Exit, str]] = []
    for case in cases:
        code = case_exit(case, strict=strict)
        if code is not Exit.PASS:
            found.append((code, f"{case.verdict.value}: {case.name}: {case.reason}"))
    if not found and not cases:
        return int(Exit.USAGE), (
            "2 nothing was gated: no case was selected; name what to gate, or widen the selection",
        )
    found.sort(key=lambda entry: SEVERITY.index(entry[0]))
    return int(found[0][0]) if found else 0, tuple(f"{code.value} {text}" for code, text in found)


def warnings_of(result: GateResult) -> tuple[str, ...]:
    """Return what did not fail the gate and should be read all the same: it was not proven, or was let pass."""
    notes = []
    for case in result.cases:
        if case_exit(case, strict=result.strict) is not Exit.PASS or case.verdict in (Verdict.PASS, Verdict.IMPROVED):
            continue
        if case.advisory:
            why = "advisory, so it does not fail the gate"
        elif is_accepted(case):
            why = f"accepted by {case.accepted}"
        else:
            why = "not shown to be no worse; --strict makes this exit 11"
        notes.append(f"{case.verdict.value}: {case.name}: {case.reason} ({why})")
    return tuple(notes)
