"""The gate as Markdown: a job summary, or the comment on a pull request.

The first line is a hidden marker, so that the next run finds its comment and updates it in place.
"""

from __future__ import annotations

from collections import Counter

from harness.gate import wording as w
from harness.gate.exits import Exit, case_exit, is_accepted, warnings_of
from harness.gate.lines import quality_text
from harness.gate.model import Arm, CaseResult, GateResult, Verdict
from harness.records import Provenance

MARKER = "<!-- joulebench-gate -->"
LONGEST = 65_000
"""Characters. GitHub refuses comments of more than 65,536."""

_HEAD = ("| verdict | case | energy a task | base → head | evidence |", "|---|---|---|---|---|")

_NEXT = {
    Verdict.INVALID: "Repair what the reason names and run the gate again; what was measured decides nothing.",
    Verdict.VANISHED: "If the case was removed or renamed on purpose, acknowledge it by an `accept` entry, else "
    "restore it.",
    Verdict.WORSE_QUALITY: "Head answers worse than base. A saving does not make up for it, and no entry accepts it.",
    Verdict.REGRESSED: "Look at it with the command below. If the cost is wanted, accept it by a reviewed `accept` "
    "entry with its size, a reason and the day on which it expires.",
    Verdict.INCONCLUSIVE: "Not shown to be worse, and not shown to be no worse: a larger `--budget` or a "
    "quieter runner settles it.",
    Verdict.NEW: "There is no base to stand against: look at its joules, they are the base of the next change.",
}


def render_markdown(result: GateResult) -> str:
    """Return GitHub-flavoured Markdown, worst case first, passes folded away.

    It always fits a comment: rows that do not are left out, passes first, and counted.
    """
    ranked = w.worst_first(result)
    quiet = (Verdict.PASS, Verdict.IMPROVED)
    loud_rows = [_row(case) for _, case in ranked if case.verdict not in quiet]
    quiet_rows = [_row(case) for _, case in ranked if case.verdict in quiet]
    before = [MARKER, f"## {headline(result)}", "", _promise(result), ""]
    after = [*_next_steps(result, ranked), *_provenance(result), *_reproduce(result)]
    room = LONGEST - sum(len(line) + 1 for line in (*before, *after)) - 1000
    loud, room = _fitting(loud_rows, room)
    folded, room = _fitting(quiet_rows, room)
    lines = [*before, *_table(loud, len(loud_rows))]
    if quiet_rows:
        shown = _table(folded, len(quiet_rows))
        lines += [f"<details><summary>{_passes(result)}</summary>", "", *shown, "</details>", ""]
    return "\n".join((*lines, *after)) + "\n"


def headline(result: GateResult) -> str:
    """Return the verdict in one sentence."""
    failing = Counter(
        case.verdict.value for case in result.cases if case_exit(case, strict=result.strict) is not Exit.PASS
    )
    if result.exit_code:
        found = ", ".join(f"{count} {name}" for name, count in failing.most_common()) or "no case could be judged"
        return f"❌ Energy gate: {found} of {_cases(len(result.cases))} (exit {result.exit_code})"
    warned = len(warnings_of(result))
    if warned:
        return f"⚠️ Energy gate passes, {warned} of {_cases(len(result.cases))} to look at"
    return f"✅ Energy gate passes: {_cases(len(result.cases))}, none costs {result.policy.tolerance * 100:g} % more"


def _promise(result: GateResult) -> str:
    p = result.policy
    if result.stored and not result.cases:
        return "Nothing was compared."
    if result.stored:
        return (
            f"{_arm('head', result.head)} against the stored {_arm('base', result.base)}, measured at another time on "
            "a host of the same fingerprint. Nothing was interleaved, so these are trends: a case fails only where "
            f"its whole interval is beyond {p.tolerance * 100:g} %, and how often that is false is not promised."
        )
    counted = result.calibration
    so_far = (
        f"so far {counted.alarms} in {counted.trials} comparisons of identical code on this class of runner"
        if counted is not None and counted.trials
        else "not yet counted on this class of runner, `joulebench calibrate` does"
    )
    quality = " for cost and as much again for quality" if w.scored(result) else ""
    return (
        f"{_arm('base', result.base)} against {_arm('head', result.head)}, interleaved on one machine in "
        f"{w.wall(result.wall_s)}. If the code were the same, the chance of any false alarm in this run would be at "
        f"most {p.alpha * 100:g} %{quality} by design ({so_far}). A regression is at least {p.min_effect * 100:g} % "
        f"and found again in fresh processes; a pass is certain to be below {p.tolerance * 100:g} %."
    )


def _row(case: CaseResult) -> str:
    e = case.estimate
    if e is None:
        change, evidence = "–", _escape(case.reason)
    else:
        change = f"**{_minus(w.percent(e.change))}** [{_minus(w.percent(e.low))}, {_minus(w.percent(e.high))}]"
        evidence = f"p {w.p_value(e.p_adjusted)}, {e.same_sign} of {e.forks} forks, {e.blocks} blocks"
        if case.confirmations and case.verdict is Verdict.REGRESSED:
            evidence += f", confirmed {case.confirmed} of {case.confirmations}"
        if case.verdict not in (Verdict.PASS, Verdict.IMPROVED):
            evidence += f"<br>{_escape(case.reason)}"
    if case.quality is not None and (case.quality.worse or case.verdict is Verdict.WORSE_QUALITY):
        evidence += f"<br>{_escape(quality_text(case.quality))}"
    if case.accepted is not None:
        evidence += f"<br>accepted: {_escape(case.accepted)}"
    name = _escape(case.name)
    return f"| {w.word(case)} | {name} | {change} | {_both(case)} | {evidence} |"


def _both(case: CaseResult) -> str:
    if case.base_j is None and case.head_j is None:
        return "–"
    shown = " → ".join("–" if value is None else w.joules(value) for value in (case.base_j, case.head_j))
    return f"{shown} (modelled)" if case.provenance is Provenance.MODELLED else shown


def _fitting(rows: list[str], room: int) -> tuple[list[str], int]:
    kept = []
    for row in rows:
        room -= len(row) + 1
        if room < 0:
            break
        kept.append(row)
    return kept, max(0, room)


def _table(rows: list[str], total: int) -> list[str]:
    if not total:
        return []
    lines = [*_HEAD, *rows, ""]
    if len(rows) < total:
        lines += [f"{_cases(total - len(rows))} more did not fit here; they are in `gate.json`.", ""]
    return lines


def _passes(result: GateResult) -> str:
    counts = Counter(case.verdict for case in result.cases)
    better = f", {counts[Verdict.IMPROVED]} of them cost less" if counts[Verdict.IMPROVED] else ""
    return f"{_cases(counts[Verdict.PASS] + counts[Verdict.IMPROVED])} passed{better}"


def _next_steps(result: GateResult, ranked: list[tuple[int, CaseResult]]) -> list[str]:
    """Return what to do, once a verdict, and the command that explains the worst case."""
    seen = dict.fromkeys(
        case.verdict for _, case in ranked if case.verdict in _NEXT and not case.advisory and not is_accepted(case)
    )
    steps = [f"- {_NEXT[verdict]}" for verdict in seen]
    if result.exit_code and not any(case_exit(case, strict=result.strict) for case in result.cases):
        steps += [f"- {_escape(reason)}" for reason in result.exit_reasons]
    more = [more_s for case in result.cases if (more_s := w.more_s(case)) is not None]
    if more:
        steps.append(f"- About {w.wall(sum(more))} more of measuring would settle {_cases(len(more))}.")
    told = (*(note for note in warnings_of(result) if "--strict" not in note), *result.notes)
    notes = [f"- {_escape(note)}" for note in told]
    if not steps and not notes:
        return []
    lines = ["### What to do next", "", *steps, *notes, ""]
    if seen:
        lines += ["```", f"joulebench explain {result.gate_id}#{ranked[0][0]}", "```", ""]
    return lines


def _provenance(result: GateResult) -> list[str]:
    """Return one sentence on how the joules are known, for each way in which they are."""
    known = {case.provenance for case in result.cases if case.provenance is not None}
    sentences = []
    if Provenance.MODELLED in known:
        sentences.append(
            "The joules are modelled from CPU time, for no counter measured them: changes are changes of CPU time, in "
            "which the error of the model cancels; absolute joules carry it."
        )
    if Provenance.FAKE in known:
        sentences.append("**Some joules come from a fake meter and measure nothing.**")
    others = sorted(each.value for each in known - {Provenance.MODELLED, Provenance.FAKE})
    if others:
        sentences.append(f"Joules are known by: {', '.join(others)}.")
    return [" ".join(sentences), ""] if sentences else []


def _reproduce(result: GateResult) -> list[str]:
    doubts = Counter(doubt.value for case in result.cases for doubt in case.doubts)
    doubted = "; ".join(f"{name} in {_cases(count)}" for name, count in doubts.most_common())
    told = (
        f"Seed {result.seed}, host {result.host_fingerprint[:8]}, joulebench {_escape(result.code_version)}, "
        f"run {result.gate_id}."
    )
    return [
        "<details><summary>Reproduce</summary>",
        "",
        "```",
        *([] if result.stored else [f"git checkout {result.head.commit or result.head.ref}"]),
        w.reproduce(result),
        "```",
        "",
        told,
        *([f"Doubts: {doubted}."] if doubted else []),
        *(["Head had uncommitted changes, which no commit holds."] if result.head.dirty else []),
        "",
        "</details>",
    ]


def _arm(name: str, arm: Arm) -> str:
    commit = f" ({arm.commit[:12]})" if arm.commit and not arm.commit.startswith(arm.ref) else ""
    dirty = ", with uncommitted changes" if arm.dirty else ""
    return f"{name} `{_code(arm.ref)}`{commit}{dirty}"


def _cases(count: int) -> str:
    return f"{count} case" if count == 1 else f"{count} cases"


def _minus(text: str) -> str:
    return text.replace("-", "−")


def _code(text: str) -> str:
    return " ".join(text.split()).replace("`", "'")


def _escape(text: str) -> str:
    """Keep text from being read as markup, as a mention, or as the end of a cell."""
    text = " ".join(text.split())
    for sign in ("\\", "|", "*", "`", "<", "_", "[", "@"):
        text = text.replace(sign, "&#64;" if sign == "@" else f"\\{sign}")
    return text
