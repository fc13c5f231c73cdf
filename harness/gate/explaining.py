"""Why the gate said what it said of one case: the numbers, fork by fork, and everything that speaks against them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from statistics import median, quantiles

from harness.errors import UsageError
from harness.gate import wording as w
from harness.gate.evidence import gather
from harness.gate.lines import quality_text
from harness.gate.model import Block, CaseResult, GateResult, Policy, Stage, Verdict
from harness.gate.sizing import change
from harness.records import Frozen

PLOT_WIDTH = 48


class ForkSeen(Frozen, frozen=True, kw_only=True):
    """What one fork showed: relative changes head against base over its blocks, quartiles, and its control.

    `control_change` is the control's median cost in this fork against that of all forks, `control_drift` its change
    from the first to the second half of this fork (what the gate judges); None where it did not run.
    """

    stage: Stage
    fork: int
    blocks: int
    voided: int
    change: float | None
    low_quartile: float | None
    high_quartile: float | None
    control_change: float | None
    control_drift: float | None


class Voided(Frozen, frozen=True, kw_only=True):
    """One block that does not count, and why."""

    stage: Stage
    fork: int
    index: int
    reason: str


class Explanation(Frozen, frozen=True, kw_only=True):
    """Everything `joulebench explain` knows of one case; `number` is its place in the gate, from 1."""

    gate_id: str
    number: int
    case: CaseResult
    policy: Policy
    metric: str
    source: str
    forks: tuple[ForkSeen, ...]
    voided: tuple[Voided, ...]
    advice: str


def explain(result: GateResult, blocks: Sequence[Block], which: str, *, dropped: Sequence[Block] = ()) -> Explanation:
    """Return what stands behind the verdict on one case, named by its name or its number.

    `dropped` are blocks of forks that were dropped as a whole: they are listed with their reason, nothing else.

    Raises: UsageError: there is no such case; names the nearest.
    """
    number = number_of(result, which)
    case = result.cases[number - 1]
    mine = [block for block in blocks if block.case == case.name]
    return Explanation(
        gate_id=result.gate_id,
        number=number,
        case=case,
        policy=result.policy,
        metric=w.metric(case),
        source=w.source(case),
        forks=_forks(mine),
        voided=tuple(
            Voided(stage=block.stage, fork=block.fork, index=block.index, reason=reason)
            for block in (*mine, *(block for block in dropped if block.case == case.name))
            if (reason := _read(block)[1]) is not None
        ),
        advice=_advice(case, result.policy),
    )


def number_of(result: GateResult, which: str) -> int:
    """Return the number of a case, counted from 1, from its name or its number.

    Raises: UsageError: there is no such case.
    """
    names = [case.name for case in result.cases]
    if which in names:
        return names.index(which) + 1
    if which.isdecimal() and 1 <= int(which) <= len(names):
        return int(which)
    near = difflib.get_close_matches(which, names, n=1, cutoff=0.3)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    listed = ", ".join(f"#{number} {name}" for number, name in enumerate(names[:20], start=1))
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    raise UsageError(f"{result.gate_id} has no case {which!r}{hint} (it has {listed or 'none'}{more})")


def render_explanation(seen: Explanation) -> str:
    """Return the explanation as text for a terminal."""
    sections = (_verdict(seen), _numbers(seen), _plot(seen.forks), _voids(seen.voided), _doubts(seen), _meters(seen))
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def _forks(blocks: Sequence[Block]) -> tuple[ForkSeen, ...]:
    metered = all(slot.energy_j is not None for block in blocks for slot in block.control)
    costs = [cost for block in blocks for cost in _control(block, metered=metered)]
    whole = median(costs) if costs else None
    keys = sorted({(block.stage is Stage.CONFIRM, block.fork) for block in blocks})
    seen = []
    for confirming, fork in keys:
        stage = Stage.CONFIRM if confirming else Stage.MAIN
        here = [block for block in blocks if block.stage is stage and block.fork == fork]
        counted = [d for block in here if (d := _read(block)[0]) is not None]
        drift = gather([block for block in here if _read(block)[1] is None], stage).drift
        controls = [cost for block in here for cost in _control(block, metered=metered)]
        quartiles = quantiles(counted, n=4, method="inclusive") if len(counted) > 1 else counted * 3
        seen.append(
            ForkSeen(
                stage=stage,
                fork=fork,
                blocks=len(counted),
                voided=len(here) - len(counted),
                change=change(median(counted)) if counted else None,
                low_quartile=change(quartiles[0]) if counted else None,
                high_quartile=change(quartiles[2]) if counted else None,
                control_change=median(controls) / whole - 1 if controls and whole else None,
                control_drift=change(median(drift[0])) if drift else None,
            )
        )
    return tuple(seen)


def _read(block: Block) -> tuple[float | None, str | None]:
    """Return log(head / base) of a block as the decision saw it, or None and why it does not count."""
    if block.void is not None:
        return None, block.void
    evidence = gather([block], block.stage)
    return (None, evidence.fault) if evidence.fault is not None else (evidence.differences[0][0], None)


def _control(block: Block, *, metered: bool) -> list[float]:
    """Return what the control cost a task in this block: joules, or CPU-seconds where any reading is missing."""
    costs = ((slot.energy_j if metered else slot.cpu_s, slot.tasks) for slot in block.control)
    return [cost / tasks for cost, tasks in costs if cost is not None and tasks]


def _verdict(seen: Explanation) -> list[str]:
    case = seen.case
    lines = [f"{seen.gate_id}#{seen.number}  {case.name}", f"{w.word(case)}: {case.reason}"]
    if case.advisory:
        lines.append("Advisory: it is reported and never fails the gate.")
    if case.accepted is not None:
        lines.append(f"Accepted: {case.accepted}")
    return [*lines, f"Next: {seen.advice}"]


def _numbers(seen: Explanation) -> list[str]:
    case, e, p = seen.case, seen.case.estimate, seen.policy
    rows = [("what", f"{seen.metric}, src={seen.source}")]
    if e is not None:
        detectable = w.UNKNOWN if e.detectable is None else w.percent(e.detectable).lstrip("+")
        interval = f"[{w.percent(e.low)}, {w.percent(e.high)}] at {e.confidence * 100:g}%"
        rows += [
            ("change", f"{w.percent(e.change, 2)}  {interval}"),
            ("p", f"{w.p_value(e.p_value)}; over all gated cases (Holm) {w.p_value(e.p_adjusted)}"),
            ("forks", f"{e.same_sign} of {e.forks} point the way of the estimate"),
            ("blocks", f"{e.blocks} of {case.blocks_allowed}, look {case.look} of {case.looks}"),
            ("detectable", f"a change of {detectable} would have been found with 95 % power"),
        ]
    for name, energy_j, duration_s in (("base", case.base_j, case.base_s), ("head", case.head_j, case.head_s)):
        known = [w.joules(energy_j)] if energy_j is not None else []
        known += [w.seconds(duration_s)] if duration_s is not None else []
        if known:
            rows.append((name, " and ".join(known) + " a task (median)"))
    if case.confirmations:
        rows.append(("confirmed", f"{case.confirmed} of {case.confirmations} fresh stages found the regression again"))
    if case.control_change is not None:
        drift = f"{w.percent(case.control_change)} within forks; if it surely moved past ±{p.control_drift * 100:g}%, "
        drift += "nothing smaller is decided that did not hold before and after"
        rows.append(("control", drift))
    if case.quality is not None:
        rows.append(("quality", quality_text(case.quality) + (": worse" if case.quality.worse else "")))
    rule = f"regressed from +{p.min_effect * 100:g}%, pass below +{p.tolerance * 100:g}%, alpha {p.alpha * 100:g}%"
    return [f"{name:<11}{text}" for name, text in [*rows, ("rule", f"{rule} over the suite")]]


def _plot(forks: Sequence[ForkSeen]) -> list[str]:
    """Return one line a fork: quartiles as a bar, the median in it, zero as a column of its own."""
    reached = [0.0]
    for fork in forks:
        reached += [x for x in (fork.change, fork.low_quartile, fork.high_quartile) if x is not None]
    low, high = min(reached), max(reached)
    margin = max((high - low) * 0.05, 0.001)
    low, high = low - margin, high + margin
    lines = [f"{'fork':<12}{_scale(low, high)}  {'change':>7}  blocks  control  drift in fork"] if forks else []
    for fork in forks:
        void = f" ({fork.voided} void)" if fork.voided else ""
        change = w.UNKNOWN if fork.change is None else w.percent(fork.change)
        control, drift = (w.UNKNOWN if x is None else w.percent(x) for x in (fork.control_change, fork.control_drift))
        name = f"{fork.stage.value} {fork.fork}"
        lines.append(
            f"{name:<12}{_bar(fork, low, high)}  {change:>7}  {fork.blocks:>6}  {control:>7}  {drift:>6}{void}"
        )
    return lines


def _scale(low: float, high: float) -> str:
    ends = w.percent(low), w.percent(high)
    middle = _column(0.0, low, high)
    row = [" "] * PLOT_WIDTH
    row[: len(ends[0])] = ends[0]
    row[PLOT_WIDTH - len(ends[1]) :] = ends[1]
    if len(ends[0]) < middle < PLOT_WIDTH - len(ends[1]) - 1:
        row[middle] = "0"
    return "".join(row)


def _bar(fork: ForkSeen, low: float, high: float) -> str:
    row = ["·"] * PLOT_WIDTH
    row[_column(0.0, low, high)] = "|"
    if fork.change is not None and fork.low_quartile is not None and fork.high_quartile is not None:
        first, last = _column(fork.low_quartile, low, high), _column(fork.high_quartile, low, high)
        row[first : last + 1] = "─" * (last - first + 1)
        row[_column(fork.change, low, high)] = "●"
    return "".join(row)


def _column(value: float, low: float, high: float) -> int:
    return min(PLOT_WIDTH - 1, max(0, round((value - low) / (high - low) * (PLOT_WIDTH - 1))))


def _voids(voided: Sequence[Voided]) -> list[str]:
    """Return the reasons for which blocks do not count, each with the blocks it hit."""
    if not voided:
        return []
    reasons: dict[str, list[Voided]] = {}
    for block in voided:
        reasons.setdefault(block.reason, []).append(block)
    lines = [f"{len(voided)} blocks do not count:" if len(voided) > 1 else "1 block does not count:"]
    for reason, blocks in sorted(reasons.items(), key=lambda entry: -len(entry[1])):
        shown = ", ".join(f"{b.stage.value} fork {b.fork} block {b.index}" for b in blocks[:3])
        more = f" and {len(blocks) - 3} more" if len(blocks) > 3 else ""
        lines.append(f"  {len(blocks)} × {reason} ({shown}{more})")
    return lines


def _doubts(seen: Explanation) -> list[str]:
    return [f"doubts     {', '.join(doubt.value for doubt in seen.case.doubts)}"] if seen.case.doubts else []


def _meters(seen: Explanation) -> list[str]:
    lines = []
    for meter in seen.case.meters:
        lines.append(f"meter {meter.name}: {', '.join(meter.domains)}, {meter.provenance.value}; {meter.boundary}")
        if meter.coefficients:
            lines.append(f"  watts from {meter.coefficients}")
        lines += [f"  {note}" for note in meter.notes]
        test = meter.self_test
        if test is None:
            lines.append("  not self-tested on this host")
            continue
        faults = f"; FAULTS: {'; '.join(test.faults)}" if test.faults else ""
        sound = "monotonic and plausible" if test.monotonic and test.plausible else "NOT sound"
        lines.append(f"  self-test {test.tested_utc}: {sound} in {test.windows} windows of {test.window_s:g} s{faults}")
    return lines


def _advice(case: CaseResult, policy: Policy) -> str:
    """Return what to do, or what more time would settle."""
    if case.verdict is Verdict.INCONCLUSIVE:
        if (more_s := w.more_s(case)) is not None:
            return f"about {w.wall(more_s)} more of measuring would settle it; give the gate a larger --budget."
        return "how much more evidence would settle it cannot be told from this; run it again on a quieter runner."
    return {
        Verdict.PASS: f"nothing; a cost of {policy.tolerance * 100:g}% or more is excluded.",
        Verdict.IMPROVED: "nothing; it costs less.",
        Verdict.REGRESSED: "find what head does more of. If the cost is wanted, accept it by an `accept` entry.",
        Verdict.INVALID: "repair what the reason names, then run the gate again.",
        Verdict.WORSE_QUALITY: "find out why head answers worse; a saving does not make up for it.",
        Verdict.VANISHED: "restore the case, or acknowledge its end by an `accept` entry.",
        Verdict.NEW: "nothing to compare it with yet; its joules are the base of the next change.",
    }[case.verdict]
