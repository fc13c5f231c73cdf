"""The cases as JUnit XML, so that the right test is red where people look at tests.

What fails the gate is a failure (a case that vanished: an error), what proved nothing is skipped with its reason, and
nothing else. So an inconclusive case is skipped, and fails under `--strict`, as the gate itself does.

The elements and attributes are those that GitLab, Jenkins and the report actions of GitHub read: names of tests are
unique, counts agree with the elements, and the text of a failure stands in it as well as in `message`, for some readers
show one and some the other. Times of single tests are left out: a case is measured in turns with the others.
"""

from __future__ import annotations

import re
from collections import Counter
from xml.etree import ElementTree as ET

from harness.gate import wording as w
from harness.gate.exits import Exit, case_exit, is_accepted
from harness.gate.lines import case_line, quality_text
from harness.gate.model import CaseResult, GateResult, Verdict

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, not even escaped (a worker's coloured error, for example)."""

SUITE = "joulebench gate"


def render_junit(result: GateResult) -> bytes:
    """Return the JUnit document, UTF-8 with its declaration."""
    cases = [_case(result, number) for number in range(1, len(result.cases) + 1)]
    failing = any(case_exit(case, strict=result.strict) is not Exit.PASS for case in result.cases)
    if result.exit_code and not failing:
        cases.append(_gate_itself(result))
    kinds = Counter(child.tag for case in cases for child in case)
    counts = {
        "tests": str(len(cases)),
        "failures": str(kinds["failure"]),
        "errors": str(kinds["error"]),
        "time": f"{result.wall_s:.3f}",
    }
    root = ET.Element("testsuites", {"name": SUITE, **counts})
    skipped = {"skipped": str(kinds["skipped"])}
    # The reports that have a pattern for the time of day have it without a zone.
    begun = {"timestamp": result.started_utc[:19]}
    suite = ET.SubElement(root, "testsuite", {"name": SUITE, **counts, **skipped, **begun})
    suite.append(_properties(_suite_properties(result)))
    suite.extend(cases)
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _case(result: GateResult, number: int) -> ET.Element:
    case = result.cases[number - 1]
    element = ET.Element("testcase", {"classname": SUITE, "name": _clean(case.name)})
    element.append(_properties(_case_properties(case)))
    kind = _kind(result, case)
    line = _clean(case_line(result, number))
    if kind is None:
        ET.SubElement(element, "system-out").text = line
        return element
    message = _clean(_message(case))
    attributes = {"message": message} if kind == "skipped" else {"message": message, "type": case.verdict.value}
    ET.SubElement(element, kind, attributes).text = line
    return element


def _kind(result: GateResult, case: CaseResult) -> str | None:
    """Return `failure`, `error`, `skipped`, or None for a test that passed."""
    if case_exit(case, strict=result.strict) is not Exit.PASS:
        return "error" if case.verdict is Verdict.VANISHED else "failure"
    if case.verdict in (Verdict.PASS, Verdict.IMPROVED) or (is_accepted(case) and not case.advisory):
        return None
    return "skipped"


def _message(case: CaseResult) -> str:
    change = ""
    if case.estimate is not None:
        e = case.estimate
        change = f" {w.percent(e.change)} [{w.percent(e.low)}, {w.percent(e.high)}]"
    advisory = "advisory, " if case.advisory else ""
    return f"{advisory}{case.verdict.value}{change}: {case.reason}"


def _gate_itself(result: GateResult) -> ET.Element:
    """Return the test that is red when the gate fails for no case of its own, as without a baseline."""
    element = ET.Element("testcase", {"classname": SUITE, "name": "the gate itself"})
    reasons = _clean("; ".join(result.exit_reasons) or f"exit {result.exit_code}")
    ET.SubElement(element, "error", {"message": reasons, "type": f"exit-{result.exit_code}"}).text = reasons
    return element


def _case_properties(case: CaseResult) -> dict[str, str]:
    """Return what is known; what is not is left out."""
    properties = {"verdict": case.verdict.value, "metric": w.metric(case)}
    if case.estimate is not None:
        e = case.estimate
        properties |= {
            "change": f"{e.change:.6g}",
            "change_low": f"{e.low:.6g}",
            "change_high": f"{e.high:.6g}",
            "confidence": f"{e.confidence:g}",
            "p_value": f"{e.p_value:.6g}",
            "p_adjusted": f"{e.p_adjusted:.6g}",
            "forks": str(e.forks),
            "forks_same_sign": str(e.same_sign),
            "blocks": str(e.blocks),
        }
        if e.detectable is not None:
            properties["detectable"] = f"{e.detectable:.6g}"
    for name, value in (("base_j", case.base_j), ("head_j", case.head_j), ("control_change", case.control_change)):
        if value is not None:
            properties[name] = f"{value:.6g}"
    if case.provenance is not None:
        properties |= {"provenance": case.provenance.value, "source": w.source(case)}
    if case.quality is not None:
        properties["quality"] = quality_text(case.quality)
    if case.doubts:
        properties["doubts"] = ",".join(doubt.value for doubt in case.doubts)
    if case.accepted is not None:
        properties["accepted"] = case.accepted
    return properties


def _suite_properties(result: GateResult) -> dict[str, str]:
    return {
        "gate_id": result.gate_id,
        "exit_code": str(result.exit_code),
        "base": result.base.commit or result.base.ref,
        "head": result.head.commit or result.head.ref,
        "seed": str(result.seed),
        "alpha": f"{result.policy.alpha:g}",
        "host_fingerprint": result.host_fingerprint,
        "code_version": result.code_version,
        "false_alarms_here": "not counted for stored bases" if result.stored else w.false_alarms(result),
    }


def _properties(values: dict[str, str]) -> ET.Element:
    element = ET.Element("properties")
    for name, value in values.items():
        ET.SubElement(element, "property", {"name": name, "value": _clean(value)})
    return element


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
