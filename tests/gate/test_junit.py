"""JUnit as its readers expect it: the right test red, counts that agree, text that any XML parser takes."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from harness.gate.junit import render_junit
from harness.gate.model import Verdict

# What the readers' own schemas and code allow: Jenkins' junit plug-in and xunit schema (jenkins-junit.xsd), GitLab's
# JUnit parser (lib/gitlab/ci/parsers/test/junit.rb), and the report actions for GitHub, which follow the former.
ATTRIBUTES = {
    "testsuites": {"name", "time", "tests", "failures", "disabled", "errors"},
    "testsuite": {
        "name", "tests", "failures", "errors", "time", "disabled", "skipped", "timestamp", "hostname", "id", "package",
    },
    "testcase": {"name", "classname", "time", "status", "assertions", "file"},
    "properties": set(),
    "property": {"name", "value"},
    "failure": {"message", "type"},
    "error": {"message", "type"},
    "skipped": {"message"},
    "system-out": set(),
}  # fmt: skip
CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"properties", "testcase"},
    "testcase": {"properties", "failure", "error", "skipped", "system-out"},
    "properties": {"property"},
}


def parsed(result):
    return ET.fromstring(render_junit(result))


def by_name(result):
    return {test.get("name"): test for test in parsed(result).iter("testcase")}


def outcome(test):
    return next((child for child in test if child.tag in ("failure", "error", "skipped")), None)


def check(root):
    """Fail where a reader would: unknown names, wrong counts, an outcome that is not one, a name given twice."""
    assert root.tag == "testsuites"
    for element in root.iter():
        assert set(element.keys()) <= ATTRIBUTES[element.tag], element.tag
        assert {child.tag for child in element} <= CHILDREN.get(element.tag, set())
    (suite,) = root
    cases = suite.findall("testcase")
    for kind, attribute in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        assert suite.get(attribute) == str(sum(case.find(kind) is not None for case in cases))
    assert suite.get("tests") == root.get("tests") == str(len(cases))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp"))
    names = [(case.get("classname"), case.get("name")) for case in cases]
    assert len(set(names)) == len(names)
    for case in cases:
        assert case.get("classname")
        assert case.get("name")
        assert sum(child.tag in ("failure", "error", "skipped") for child in case) <= 1
        for child in case.findall("failure") + case.findall("error"):
            assert child.get("message")
            assert child.text


@pytest.mark.parametrize("strict", [False, True])
def test_every_verdict_makes_a_document_that_readers_take(make, strict):
    check(parsed(make.everything(strict=strict)))


@pytest.mark.parametrize(
    ("verdict", "kind"),
    [
        (Verdict.PASS, None),
        (Verdict.IMPROVED, None),
        (Verdict.REGRESSED, "failure"),
        (Verdict.INVALID, "failure"),
        (Verdict.WORSE_QUALITY, "failure"),
        (Verdict.VANISHED, "error"),
        (Verdict.INCONCLUSIVE, "skipped"),
        (Verdict.NEW, "skipped"),
    ],
)
def test_each_verdict_is_the_outcome_of_its_own_test(make, verdict, kind):
    test = by_name(make.everything())[f"infer/{verdict.value}"]
    found = outcome(test)
    assert (found.tag if found is not None else None) == kind
    if found is not None:
        assert make.REASONS[verdict] in found.get("message")


def test_a_strict_gate_that_fails_has_a_red_test(make):
    case = make.case(Verdict.INCONCLUSIVE)
    assert outcome(by_name(make.result(case))[case.name]).tag == "skipped"
    assert outcome(by_name(make.result(case, strict=True))[case.name]).tag == "failure"


@pytest.mark.parametrize("verdict", [Verdict.REGRESSED, Verdict.INVALID, Verdict.VANISHED])
def test_an_advisory_case_is_skipped_and_says_what_it_found(make, verdict):
    case = make.case(verdict, advisory=True)
    found = outcome(by_name(make.result(case))[case.name])
    assert found.tag == "skipped"
    assert found.get("message").startswith(f"advisory, {verdict.value}")


def test_an_accepted_cost_passes_and_names_its_entry(make):
    case = make.case(Verdict.REGRESSED, accepted="up to +0.05 until 2027-01-01: wanted")
    test = by_name(make.result(case))[case.name]
    assert outcome(test) is None
    assert test.find("properties/property[@name='accepted']").get("value").endswith("wanted")


def test_the_numbers_are_properties_and_unknown_ones_are_absent(make):
    tests = by_name(make.everything())
    found = {each.get("name"): each.get("value") for each in tests["infer/regressed"].iter("property")}
    assert found["change"] == "0.041"
    assert (found["change_low"], found["change_high"]) == ("0.026", "0.057")
    assert found["p_adjusted"] == "0.0004"
    assert found["provenance"] == "counter"
    vanished = {each.get("name") for each in tests["infer/vanished"].iter("property")}
    assert not vanished & {"change", "base_j", "provenance"}


def test_a_failure_holds_the_whole_line_in_its_text(make):
    found = outcome(by_name(make.everything())["infer/regressed"])
    assert "forks 8/8 same sign" in found.text
    assert "joulebench explain 20261123T140000Z-gate#2" in found.text


def test_what_xml_cannot_hold_does_not_break_the_document(make):
    reason = 'worker said \x1b[31mno\x00\x1b[0m <&> ]]> "quoted" \ufffe \ud800 done\nTraceback'
    case = make.case(Verdict.INVALID, name='a<b> & "c" \x07', reason=reason)
    root = parsed(make.result(case))
    check(root)
    assert '<&> ]]> "quoted"' in next(root.iter("failure")).get("message")


def test_a_gate_that_fails_without_a_case_still_has_a_red_test(make):
    result = make.result(missing=("results/ab/base.json does not exist",))
    root = parsed(result)
    check(root)
    (test,) = root.iter("testcase")
    assert outcome(test).tag == "error"
    assert "does not exist" in outcome(test).get("message")
