"""What the gate says of its cases at each look, and whether a regression recurs in fresh forks. Pure.

The statistics stand in `harness.gate.keys`. On top of them:

* a case whose readings cannot be is invalid, with the first reason; nothing else is said of it;
* a control that changed by more than `control_drift`, and surely so, means that the machine changed. Pairs cancel
  that; what is found must then be larger than this change, or hold in the earlier and in the later half of every fork;
* fewer than 6 forks or 24 blocks never decide anything;
* every case keeps its place in Holm's family: what is decided, or not looked at now, counts there as showing
  nothing, which errs on the safe side;
* advisory cases are a family of their own, so that they cost the others nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from harness.gate.evidence import Evidence, gather, padded
from harness.gate.findings import Finding, Kind, Recurrence, Terms
from harness.gate.keys import (
    MIN_BLOCKS,
    MIN_FORKS,
    RECURRENCE,
    Judged,
    Limits,
    fork_level,
    fork_p,
    judge,
    recurs,
    summarise,
)
from harness.gate.model import Block, Estimate, Policy, Stage
from harness.gate.sizing import Spread, change, detectable, more_blocks, spread
from harness.stats.signed_rank import hodges_lehmann, signed_rank_p
from harness.stats.spending import Looks, level_at, planned

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def look(
    blocks_by_case: Mapping[str, Sequence[Block]],
    policy: Policy,
    taken: Looks,
    names: Iterable[str],
    *,
    terms: Mapping[str, Terms] | None = None,
) -> dict[str, Finding]:
    """Return what a look says of the cases `names`; `taken` are the looks at them so far, this one last.

    Every case of the suite must be in `blocks_by_case`, looked at now or not: the promise is over all of them.
    """
    wanted = set(names)
    known = {case: (terms or {}).get(case, Terms(policy=policy)) for case in blocks_by_case}
    found: dict[str, Finding] = {}
    for advisory in (False, True):
        family = [case for case in blocks_by_case if known[case].advisory is advisory]
        evidence = {case: gather(blocks_by_case[case], Stage.MAIN) for case in family if case in wanted}
        found |= _judged(family, evidence, {case: known[case] for case in family}, policy, taken)
    return {case: found[case] for case in blocks_by_case if case in wanted}


def confirm(finding: Finding, blocks: Sequence[Block], policy: Policy, *, terms: Terms | None = None) -> Recurrence:
    """Return whether one stage of fresh forks shows a suspected regression again.

    Both keys must turn at `fork_level`, and the estimate must be half of the effect that counts or more. `blocks` are
    those of one confirmation only; blocks of the main stage among them are left out.
    """
    held = terms or Terms(policy=policy)
    evidence = gather(blocks, Stage.CONFIRM)
    if evidence.fault is not None:
        return Recurrence(again=False, reason=evidence.fault, fault=evidence.fault)
    values_FB, limits = padded(evidence.differences), _limits([held])
    level = fork_level(policy, finding.family)
    again = bool(recurs(values_FB[None], limits.null, limits.regressed, level)[0])
    p_value = float(signed_rank_p(values_FB.reshape(1, -1) - limits.null[:, None])[0][0])
    estimate = _estimate(
        spread(values_FB, policy.alpha), held, planned(policy.looks, policy.looks), finding.family, (p_value, p_value)
    )
    control = _control(evidence, held.policy, finding.family)
    if again and _hidden(Kind.SUSPECTED, control, evidence, estimate, held):
        return Recurrence(again=False, reason=_unsteady(control), estimate=estimate)
    short = _too_little(evidence)
    shown = "nothing" if estimate is None else f"{estimate.change:+.1%}"
    reason = f"fresh forks show {shown}" + (f": {short}" if short else "" if again else ", which does not repeat it")
    return Recurrence(again=again, reason=reason, estimate=estimate)


def _judged(
    family: Sequence[str], evidence: Mapping[str, Evidence], terms: Mapping[str, Terms], policy: Policy, taken: Looks
) -> dict[str, Finding]:
    if not evidence:
        return {}
    usable = [case in evidence and evidence[case].fault is None for case in family]
    said = judge(_cube(family, evidence), _limits([terms[c] for c in family]), policy, taken, _row(usable))
    found: dict[str, Finding] = {}
    for place, case in enumerate(family):
        if case not in evidence:
            continue
        each, held = evidence[case], terms[case]
        about = None if each.fault else _spread(each, policy, taken)
        p_values = (float(said.p_more[0, place]), float(said.adjusted_more[0, place]))
        estimate = _estimate(about, held, taken, len(family), p_values)
        control = _control(each, held.policy, len(family))
        kind, reason = _unusable(each) or _said(said, place, estimate, held)
        if _hidden(kind, control, each, estimate, held):
            kind, reason = Kind.CONTAMINATED, f"{reason}; but {_unsteady(control)}"
        elif kind is Kind.GO_ON and control.moved:
            reason = f"{reason}; {_drifted(control)}: run again on a quieter one"
        found[case] = Finding(
            case=case,
            kind=kind,
            reason=reason,
            look=taken[-1].look,
            family=len(family),
            estimate=estimate,
            control_change=control.change,
            unsteady=control.moved,
            more_blocks=_more(about, held, taken, len(family)) if kind is Kind.GO_ON else None,
        )
    return found


def _unusable(evidence: Evidence) -> tuple[Kind, str] | None:
    if evidence.fault is not None:
        return Kind.INVALID, evidence.fault
    short = _too_little(evidence)
    return None if short is None else (Kind.GO_ON, short)


def _said(said: Judged, place: int, estimate: Estimate | None, terms: Terms) -> tuple[Kind, str]:
    if estimate is None:
        return Kind.GO_ON, "nothing was measured"
    beyond = f" beyond the accepted {terms.up_to:+.1%}" if terms.up_to else ""
    interval = f"{estimate.change:+.1%} [{estimate.low:+.1%}, {estimate.high:+.1%}] a task"
    tolerance = f"{terms.policy.tolerance:+.1%}{beyond}"
    if said.suspected[0, place]:
        return Kind.SUSPECTED, f"costs {interval}{beyond}"
    if said.improved[0, place]:
        return Kind.IMPROVED, f"costs {interval}, which fresh forks were not asked to confirm"
    if said.passed[0, place]:
        return Kind.PASS, f"costs {interval}: {tolerance} or more is excluded"
    if said.forks_refuse[0, place]:
        return Kind.GO_ON, f"costs {interval}: blocks say so, but forks differ too much to agree"
    return Kind.GO_ON, f"costs {interval}: neither a regression nor {tolerance} is excluded"


class _Control(NamedTuple):
    """How the control changed from early to late in the forks (None: there is none), and whether that is sure."""

    change: float | None
    moved: bool


def _control(evidence: Evidence, policy: Policy, cases: int) -> _Control:
    """Return how the control changed. It moved if that is beyond `control_drift` and passes both keys."""
    import numpy as np

    if not evidence.drift:
        return _Control(None, moved=False)
    values_FB = padded(evidence.drift)
    values = np.array([value for fork in evidence.drift for value in fork])
    by = change(hodges_lehmann(values, policy.alpha).estimate)
    blocks = 2 * min(float(side[0]) for side in signed_rank_p(values[None]))
    forks = summarise(values_FB[None])
    by_fork = 2 * min(float(fork_p(forks, 0.0, above=side)[0]) for side in (True, False))
    return _Control(by, moved=abs(by) > policy.control_drift and max(blocks, by_fork) <= policy.alpha / cases)


def _hidden(kind: Kind, control: _Control, evidence: Evidence, estimate: Estimate | None, terms: Terms) -> bool:
    """Return whether a decision must wait: the machine changed by as much as it is about, and it with the machine."""
    if not control.moved or estimate is None or kind not in {Kind.SUSPECTED, Kind.IMPROVED, Kind.PASS}:
        return False
    null, regressed, improved, tolerated = (float(limit[0]) for limit in _limits([terms]))
    found = tolerated if kind is Kind.PASS else math.log1p(estimate.change)
    if abs(found - null) > abs(math.log1p(control.change or 0.0)):
        return False
    early, late = _halves(evidence)
    if kind is Kind.SUSPECTED:
        return min(early, late) < null + RECURRENCE * (regressed - null)
    return max(early, late) > (tolerated if kind is Kind.PASS else RECURRENCE * improved)


def _halves(evidence: Evidence) -> tuple[float, float]:
    """Return the median differences of the earlier and of the later blocks of all forks."""
    import numpy as np

    early = [value for fork in evidence.differences for value in fork[: len(fork) // 2]]
    late = [value for fork in evidence.differences for value in fork[len(fork) // 2 :]]
    return hodges_lehmann(np.array(early), 0.5).estimate, hodges_lehmann(np.array(late), 0.5).estimate


def _drifted(control: _Control) -> str:
    by = 0.0 if control.change is None else control.change
    return f"the machine was not steady, its control changed by {by:+.1%} within forks"


def _unsteady(control: _Control) -> str:
    return f"{_drifted(control)}, and what was found changed with it: run again on a quieter one"


def _more(found: Spread | None, terms: Terms, taken: Looks, cases: int) -> int | None:
    return more_blocks(found, terms.policy, taken, cases, math.log1p(terms.up_to))


def _too_little(evidence: Evidence) -> str | None:
    forks, blocks = len(evidence.differences), sum(len(each) for each in evidence.differences)
    if forks < MIN_FORKS:
        return f"{forks} forks are too few to decide anything, it takes {MIN_FORKS}; raise forks or the budget"
    if blocks < MIN_BLOCKS:
        return f"{blocks} blocks are too few to decide anything, it takes {MIN_BLOCKS}; raise blocks or the budget"
    return None


def _spread(evidence: Evidence, policy: Policy, taken: Looks) -> Spread | None:
    """Return where a case lies, with the interval that all looks together keep at 1 − 2α.

    Repeated confidence intervals: Jennison & Turnbull 1989, JRSS B 51:305. Where too little is there to decide, no
    look is taken, and the level of the last planned one stands.
    """
    if not evidence.differences:
        return None
    looks = planned(policy.looks, policy.looks) if _too_little(evidence) else taken
    return spread(padded(evidence.differences), level_at(policy.alpha, looks, policy.looks))


def _estimate(
    found: Spread | None, terms: Terms, taken: Looks, cases: int, p_values: tuple[float, float]
) -> Estimate | None:
    if found is None:
        return None
    return Estimate(
        change=change(found.estimate),
        low=change(found.low),
        high=change(found.high),
        confidence=round(1 - 2 * terms.policy.alpha, 10),
        p_value=p_values[0],
        p_adjusted=p_values[1],
        forks=found.forks,
        same_sign=found.same_sign,
        blocks=found.blocks,
        detectable=detectable(found, terms.policy, taken, cases, math.log1p(terms.up_to)),
    )


def _limits(terms: Sequence[Terms]) -> Limits:
    """Return what counts in each case: an accepted cost moves what is no increase, and what passes, by itself."""
    import numpy as np

    null = np.log1p([each.up_to for each in terms])
    return Limits(
        null=null,
        regressed=np.maximum(null, np.log1p([each.policy.min_effect for each in terms])),
        improved=np.log1p([-each.policy.min_effect for each in terms]),
        tolerated=null + np.log1p([each.policy.tolerance for each in terms]),
    )


def _cube(family: Sequence[str], evidence: Mapping[str, Evidence]) -> npt.NDArray[np.float64]:
    """Return 1 x cases x forks x blocks, NaN where there is no block."""
    import numpy as np

    each = [padded(evidence[case].differences if case in evidence else ()) for case in family]
    cube = np.full((1, len(each), max(v.shape[0] for v in each), max(v.shape[1] for v in each)), np.nan)
    for place, values in enumerate(each):
        cube[0, place, : values.shape[0], : values.shape[1]] = values
    return cube


def _row(values: Sequence[bool]) -> npt.NDArray[np.bool_]:
    import numpy as np

    return np.array([values], dtype=np.bool_)
