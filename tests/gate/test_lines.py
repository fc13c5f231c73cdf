"""A log line carries all that a verdict stands on, and stays one line."""

import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from harness.gate import wording
from harness.gate.exits import Exit
from harness.gate.lines import case_line, lines_of, summary_line
from harness.gate.model import Verdict


def line(make, *args, **changes):
    return case_line(make.result(make.case(*args, **changes)), 1)


def test_a_regression_shows_every_number_it_stands_on(make):
    shown = line(make, Verdict.REGRESSED, "bert-tiny/int8")
    assert shown.startswith("GATE FAIL bert-tiny/int8 energy_per_task  +4.1% [98% CI +2.6%,+5.7%]  ")
    for field in (
        "base 412 mJ head 429 mJ",
        "p_adj=0.0004 (Holm m=1)",
        "forks 8/8 same sign",
        "blocks 120/160 look 3/4",
        "confirmed 1/1",
        "mde 1.6%",
        "control +0.2%",
        "src=rapl(counter)",
        "fp=7c1e90ab same",
        "A/A here 0/412",
        "→ joulebench explain 20261123T140000Z-gate#1",
    ):
        assert field in shown


def test_modelled_joules_are_called_a_change_of_cpu_time_and_modelled_twice(make):
    shown = case_line(make.result(make.modelled()), 1)
    assert "cpu_time_per_task" in shown
    assert "energy_per_task" not in shown
    assert "head 429 mJ (modelled)" in shown
    assert "src=modelled(cpu-time×watts,no-counter)" in shown


def test_a_fake_meter_is_called_one(make):
    fake = make.case(Verdict.PASS, provenance=wording.Provenance.FAKE)
    assert "src=fake(not-a-measurement)" in case_line(make.result(fake), 1)


def test_a_runner_that_was_never_calibrated_says_so(make):
    shown = case_line(make.result(make.case(), calibration=None), 1)
    assert "A/A none yet" in shown
    assert "A/A here" not in shown


def test_what_is_not_known_is_a_question_mark_and_no_zero(make):
    case = make.case(Verdict.INCONCLUSIVE, base_j=None, control_change=None)
    shown = case_line(make.result(case), 1)
    assert "base ? head" in shown
    assert "mde ?" in shown
    assert "control ?" in shown


def test_an_inconclusive_case_says_what_time_would_settle_it_and_its_doubts(make):
    shown = line(make, Verdict.INCONCLUSIVE)
    assert "about 1m35s more would settle it  " in shown
    assert "doubts HOST_BUSY" in shown


def test_quality_stands_in_the_line_where_it_was_compared(make):
    assert "accuracy base 0.912 head 0.88 (-0.032 [-0.051,-0.013], n=288)" in line(make, Verdict.WORSE_QUALITY)


def test_a_reason_that_quotes_a_traceback_stays_on_the_line(make):
    shown = line(make, Verdict.INVALID, reason="worker died:\nTraceback\n  File x\r\nBoom")
    assert len(shown.splitlines()) == 1
    assert "worker died: Traceback File x Boom" in shown


@pytest.mark.parametrize(
    ("changes", "word"),
    [({}, "FAIL"), ({"advisory": True}, "WARN"), ({"accepted": "up to +0.05 until 2027-01-01: wanted"}, "ACCEPTED")],
)
def test_only_what_fails_is_called_fail(make, changes, word):
    assert line(make, Verdict.REGRESSED, **changes).startswith(f"GATE {word} ")


def test_the_summary_counts_says_the_promise_the_seed_and_the_exit(make):
    assert summary_line(make.everything()) == (
        "GATE 1 invalid, 1 vanished, 1 worse-quality, 1 regressed, 1 inconclusive, 1 new, 1 improved, 1 pass of 8 "
        "cases; suite false-alarm budget 1% for cost and as much for quality; 9m41s; seed 4711; exit 13 (also 12, 14, "
        "10)"
    )


def test_a_gate_of_nothing_says_why_and_what_to_do(make):
    assert lines_of(make.result())[:-1] == (
        "GATE nothing was gated: no case was selected; name what to gate, or widen the selection",
    )


def test_the_log_ends_with_the_worst_and_the_summary(make):
    shown = lines_of(make.everything())
    verdicts = [text.split(" ")[1] for text in shown]
    assert verdicts[:2] == ["PASS", "IMPROVED"]
    assert verdicts[7] == "INVALID"
    assert verdicts[8:10] == ["warning", "warning"]
    assert shown[-1].endswith("exit 13 (also 12, 14, 10)")
    assert all(text.startswith("GATE ") for text in shown)


def test_holm_counts_the_cases_that_the_p_value_was_adjusted_over_and_no_other(make):
    unmeasured = make.case(Verdict.INVALID, estimate=None)
    assert "(Holm m=1)" in case_line(make.result(make.case(family=1), unmeasured), 1)


def test_a_promise_on_quality_stands_beside_that_on_cost(make):
    assert "suite false-alarm budget 1%; " in summary_line(make.result(make.case()))
    scored = make.result(make.case(quality=make.WORSE))
    assert "suite false-alarm budget 1% for cost and as much for quality; " in summary_line(scored)


def test_holm_counts_measured_cases_and_advisory_ones_apart(make):
    cases = [make.case(), make.case(Verdict.REGRESSED), make.case(Verdict.NEW), make.case(name="c", advisory=True)]
    result = make.result(*cases)
    assert "(Holm m=2)" in case_line(result, 1)
    assert "(Holm m=1)" in case_line(result, 4)


@pytest.mark.parametrize(
    ("energy_j", "shown"),
    [(0.412, "412 mJ"), (27.44, "27.4 J"), (0.9996, "1.00 J"), (1.5e-7, "150 nJ"), (4.2e6, "4.20 MJ"), (0.0, "0 J")],
)
def test_joules_have_three_digits_and_a_prefix(energy_j, shown):
    assert wording.joules(energy_j) == shown


@pytest.mark.parametrize(("share", "shown"), [(0.0412, "+4.1%"), (-0.22, "-22.0%"), (-0.0001, "0.0%"), (0.0, "0.0%")])
def test_changes_have_a_sign_and_zero_has_none(share, shown):
    assert wording.percent(share) == shown


def test_a_p_value_is_never_zero(make):
    tiny = replace(make.COSTLIER, p_adjusted=0.0)
    shown = line(make, Verdict.REGRESSED, estimate=tiny)
    assert re.search(r"p_adj=<1e-9 ", shown)


@pytest.mark.parametrize(("duration_s", "shown"), [(48.2, "48s"), (581.0, "9m41s"), (3720, "1h02m")])
def test_wall_time_is_for_people(duration_s, shown):
    assert wording.wall(duration_s) == shown


def test_a_stored_base_is_told_as_a_trend(make):
    result = make.result(make.case(look=0, looks=0, blocks_allowed=0), stored=True)
    shown = case_line(result, 1)
    assert "A/A not counted for stored bases" in shown
    assert "blocks 120  mde" in shown
    assert "trends, no promise on false alarms" in summary_line(result)


def test_the_page_of_the_gate_shows_lines_as_they_are(make):
    page = (Path(__file__).resolve().parents[2] / "docs" / "gate.md").read_text(encoding="utf-8")
    shown = lines_of(make.result(make.case(Verdict.REGRESSED, "encode"), make.modelled(Verdict.PASS, name="parse")))
    assert "\n".join(shown) in page


def test_the_page_of_the_gate_lists_every_exit_code():
    page = (Path(__file__).resolve().parents[2] / "docs" / "gate.md").read_text(encoding="utf-8")
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}
    assert listed == {int(code) for code in Exit} | {1, 130}


def test_the_page_of_the_gate_shows_a_configuration_with_the_defaults():
    import yaml

    from harness.gate.model import Policy

    page = (Path(__file__).resolve().parents[2] / "docs" / "gate.md").read_text(encoding="utf-8")
    (block,) = [text for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if text.startswith("gate:")]
    policy = Policy()
    for name, written in yaml.safe_load(block)["gate"].items():
        value = float(str(written).removesuffix("%")) / (100 if str(written).endswith("%") else 1)
        assert value == pytest.approx(getattr(policy, name)), name


def test_every_configuration_on_the_page_of_the_gate_is_one_that_it_reads(tmp_path):
    import datetime as dt

    from harness.gate import targets

    page = (Path(__file__).resolve().parents[2] / "docs" / "gate.md").read_text(encoding="utf-8")
    for number, text in enumerate(re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)):
        whole = text if re.search(r"^\w", text) else f"cases:\n{text}"
        whole = re.sub(r"^cases: \[\].*\n", "", whole, flags=re.MULTILINE)
        if "cases:" not in whole:
            whole += targets.EXAMPLE
        path = tmp_path / f"gate-{number}.yaml"
        path.write_text(whole, encoding="utf-8")
        assert targets.load(path, today=dt.date(2026, 1, 1)).cases
