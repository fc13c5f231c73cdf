"""One exit code, the most severe; every reason listed; nothing passes by not being looked at."""

import pytest

from harness.gate.exits import Exit, case_exit, exit_of, warnings_of
from harness.gate.model import Verdict

ENDS = {
    Verdict.PASS: 0,
    Verdict.IMPROVED: 0,
    Verdict.REGRESSED: 10,
    Verdict.INCONCLUSIVE: 0,
    Verdict.NEW: 0,
    Verdict.VANISHED: 12,
    Verdict.INVALID: 13,
    Verdict.WORSE_QUALITY: 14,
}


@pytest.mark.parametrize("verdict", Verdict)
def test_each_verdict_has_its_code(make, verdict):
    case = make.case(verdict)
    code, reasons = exit_of([make.case(), case], strict=False)
    assert code == ENDS[verdict]
    assert len(reasons) == (code != 0)
    if code:
        assert reasons[0] == f"{code} {verdict.value}: {case.name}: {case.reason}"


@pytest.mark.parametrize("verdict", [Verdict.INCONCLUSIVE, Verdict.NEW])
def test_strict_does_not_take_absence_of_evidence_for_a_pass(make, verdict):
    assert exit_of([make.case(verdict)], strict=True)[0] == 11


def test_the_most_severe_wins_and_all_are_listed(make):
    code, reasons = exit_of(make.everything().cases, strict=True)
    assert code == 13
    assert [reason.split(" ", 1)[0] for reason in reasons] == ["13", "12", "14", "10", "11", "11"]


def test_severity_falls_step_by_step(make):
    left = [Verdict.INVALID, Verdict.VANISHED, Verdict.WORSE_QUALITY, Verdict.REGRESSED, Verdict.INCONCLUSIVE]
    for code in (13, 12, 14, 10, 11):
        assert exit_of([make.case(verdict) for verdict in left], strict=True)[0] == code
        left.pop(0)


def test_gating_nothing_is_a_mistake_and_no_pass():
    code, reasons = exit_of([], strict=False)
    assert code == Exit.USAGE == 2
    assert "nothing was gated" in reasons[0]


@pytest.mark.parametrize("verdict", Verdict)
def test_an_advisory_case_never_fails_and_is_always_told(make, verdict):
    case = make.case(verdict, advisory=True)
    assert exit_of([case], strict=True) == (0, ())
    warned = warnings_of(make.result(case))
    assert len(warned) == (verdict not in (Verdict.PASS, Verdict.IMPROVED))


def test_an_entry_accepts_a_cost_and_an_ending_but_no_loss_of_quality(make):
    for verdict, code in (
        (Verdict.REGRESSED, 0),
        (Verdict.VANISHED, 0),
        (Verdict.NEW, 0),
        (Verdict.WORSE_QUALITY, 14),
        (Verdict.INVALID, 13),
        (Verdict.INCONCLUSIVE, 11),
    ):
        assert case_exit(make.case(verdict, accepted="up to +0.05 until 2027-01-01: wanted"), strict=True) == code


def test_what_passes_unproven_is_a_warning(make):
    warned = warnings_of(make.everything())
    assert [warning.split(":", 1)[0] for warning in warned] == ["inconclusive", "new"]
    assert all("--strict" in warning for warning in warned)


def test_a_warning_is_not_given_twice_as_a_failure(make):
    assert warnings_of(make.everything(strict=True)) == ()
