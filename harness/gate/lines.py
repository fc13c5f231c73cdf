"""What a continuous-integration log says: one line a case with all that the verdict stands on, and one for the gate.

Every field is there for someone who has only the log: the change with its interval, joules of both arms, the p-value
adjusted over the suite, how many forks agree, how much evidence there is, whether the regression was found again, what
could have been found at all, whether the control stood still, how the joules are known, the host, and how often this
class of runner cried wolf when base and head were the same code.
"""

from __future__ import annotations

from collections import Counter

from harness.gate import wording as w
from harness.gate.exits import SEVERITY, Exit, warnings_of
from harness.gate.model import CaseResult, Estimate, GateResult, Quality, Verdict
from harness.records import Provenance


def case_line(result: GateResult, number: int) -> str:
    """Return the log line of case `number`, counted from 1."""
    case = result.cases[number - 1]
    parts = [f"GATE {w.word(case)} {case.name} {w.metric(case)}"]
    if case.estimate is not None:
        parts += _measured(result, case, case.estimate)
    if case.quality is not None:
        parts.append(quality_text(case.quality))
    if case.verdict not in (Verdict.PASS, Verdict.IMPROVED) or case.estimate is None:
        parts.append(f"{case.verdict.value}: {case.reason}")
    if case.advisory:
        parts.append("advisory")
    if case.accepted is not None:
        parts.append(f"accepted by {case.accepted}")
    if (more_s := w.more_s(case)) is not None:
        parts.append(f"about {w.wall(more_s)} more would settle it")
    if case.doubts:
        parts.append("doubts " + ",".join(doubt.value for doubt in case.doubts))
    parts += [
        f"src={w.source(case)}",
        f"fp={result.host_fingerprint[:8]} same",
        _false_alarms(result),
        f"→ joulebench explain {result.gate_id}#{number}",
    ]
    return "  ".join(_on_one_line(part) for part in parts)


def summary_line(result: GateResult) -> str:
    """Return the last line of the log: what was found, what was promised, how it ends, and how to repeat it."""
    counts = Counter(case.verdict for case in result.cases)
    found = ", ".join(f"{counts[verdict]} {verdict.value}" for verdict in w.ORDER if counts[verdict])
    cases = "case" if len(result.cases) == 1 else "cases"
    ending = f"exit {result.exit_code}"
    codes = exit_codes(result)
    if len(codes) > 1:
        ending += f" (also {', '.join(str(code) for code in codes[1:])})"
    return "; ".join(
        (
            f"GATE {found or 'nothing'} of {len(result.cases)} {cases}",
            "a stored base: trends, no promise on false alarms"
            if result.stored
            else f"suite false-alarm budget {result.policy.alpha * 100:g}%"
            + (" for cost and as much for quality" if w.scored(result) else ""),
            w.wall(result.wall_s),
            f"seed {result.seed}",
            ending,
        )
    )


def lines_of(result: GateResult) -> tuple[str, ...]:
    """Return the whole log: a line a case, the worst last and so nearest the end; warnings; the summary."""
    cases = [case_line(result, number) for number, _ in reversed(w.worst_first(result))]
    nothing = [f"GATE {reason.partition(' ')[2]}" for reason in result.exit_reasons if not result.cases]
    warnings = [f"GATE warning {_on_one_line(note)}" for note in warnings_of(result)]
    return (*cases, *nothing, *warnings, summary_line(result))


def exit_codes(result: GateResult) -> tuple[int, ...]:
    """Return the codes named by the reasons of the exit, each once, the most severe first."""
    named = {int(reason.split(" ", 1)[0]) for reason in result.exit_reasons}
    order = [int(code) for code in (*SEVERITY, Exit.USAGE)]
    return tuple(code for code in order if code in named)


def quality_text(quality: Quality) -> str:
    """Return the quality of both arms with the interval of the difference, in the metric's own unit."""
    return (
        f"{quality.metric} base {quality.base:.4g} head {quality.head:.4g} "
        f"({quality.difference:+.3g} [{quality.low:+.3g},{quality.high:+.3g}], n={quality.n})"
    )


def _measured(result: GateResult, case: CaseResult, estimate: Estimate) -> list[str]:
    mde = w.UNKNOWN if estimate.detectable is None else w.percent(estimate.detectable).lstrip("+")
    drift = w.UNKNOWN if case.control_change is None else w.percent(case.control_change)
    interval = f"[{estimate.confidence * 100:g}% CI {w.percent(estimate.low)},{w.percent(estimate.high)}]"
    parts = [
        f"{w.percent(estimate.change)} {interval}",
        f"base {_joules(case.base_j)} head {_joules(case.head_j)}"
        + (" (modelled)" if case.provenance is Provenance.MODELLED else ""),
        f"p_adj={w.p_value(estimate.p_adjusted)} (Holm m={w.family(result, case)})",
        f"forks {estimate.same_sign}/{estimate.forks} same sign",
        f"blocks {estimate.blocks}"
        + (f"/{case.blocks_allowed}" if case.blocks_allowed else "")
        + (f" look {case.look}/{case.looks}" if case.look else ""),
    ]
    if case.confirmations:
        parts.append(f"confirmed {case.confirmed}/{case.confirmations}")
    return [*parts, f"mde {mde}", f"control {drift}"]


def _false_alarms(result: GateResult) -> str:
    if result.stored:
        return "A/A not counted for stored bases"
    return f"A/A here {w.false_alarms(result)}" if result.calibration else "A/A none yet"


def _joules(energy_j: float | None) -> str:
    return w.UNKNOWN if energy_j is None else w.joules(energy_j)


def _on_one_line(text: str) -> str:
    """Keep a reason that quotes a traceback from breaking the line that a log is searched for."""
    return " ".join(text.split())
