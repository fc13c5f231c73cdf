"""The stages of a gate for some cases: looks until they are decided, then a confirmation of what was found.

What the planned looks leave undecided can be measured again, in overtime (`overtime.py` chooses what).

Where time is short, the cases that the least more evidence would decide go first, and measuring ends early enough for
what is found last to be confirmed: a regression without its confirmation fails nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from typing import NamedTuple

from harness.gate import concluding, deciding
from harness.gate.cohorts import Cohort, Lab, Step, steps
from harness.gate.findings import UNDECIDED, Finding, Kind, Recurrence, Terms
from harness.gate.forks import Gated
from harness.gate.keys import MIN_BLOCKS, RECURRENCE
from harness.gate.model import CaseResult, Policy, Stage
from harness.stats.spending import Looks, Taken

CONFIRM_SHARE = 0.5
"""Blocks of a confirmation over those of the main stage, overtimes included."""

RESERVE_SHARE = 0.5
"""Most of their time that cases leave for a confirmation that may be needed: with more, little would be found."""

SPARE = 1.1
"""Time that is kept for confirmations over what they are reckoned to take: no two blocks take alike."""


class Deciding(NamedTuple):
    """What turns blocks into findings and findings into results; tests put simpler ones in."""

    look: Callable[..., dict[str, Finding]] = deciding.look
    confirm: Callable[..., Recurrence] = deciding.confirm
    verdicts: Callable[..., tuple[CaseResult, ...]] = concluding.verdicts


@dataclass
class Gate:
    """What is known so far. `decided` are final; `latest` holds what was last said of every case.

    `taken` are the looks at each case, `overtimes` counts those that it had, or is in.
    """

    lab: Lab
    policy: Policy
    terms: Mapping[str, Terms]
    decide: Deciding
    deadline_s: float
    decided: dict[str, Finding] = field(default_factory=dict)
    latest: dict[str, Finding] = field(default_factory=dict)
    recurrences: dict[str, list[Recurrence]] = field(default_factory=dict)
    taken: dict[str, Looks] = field(default_factory=dict)
    overtimes: dict[str, int] = field(default_factory=dict)

    def look(self, number: int, shares: Mapping[str, float]) -> None:
        """Take look `number` at these cases, which have seen such shares of what was planned for them.

        All others keep what was said of them, and their place in the family. A look that sees nothing new is not taken.
        """
        blocks = {name: self.lab.blocks.get(name, []) for name in self.terms}
        groups: dict[Looks, list[str]] = {}
        for name, share in shares.items():
            before = self.taken.get(name, ())
            if not before or share > before[-1].share:
                groups.setdefault((*before, Taken(number, share)), []).append(name)
        for taken, names in groups.items():
            for name, found in self.decide.look(blocks, self.policy, taken, names, terms=self.terms).items():
                self.latest[name], self.taken[name] = found, taken
                if found.kind not in UNDECIDED:
                    self.decided[name] = found

    def share(self, name: str) -> float:
        """Return how much of the evidence that was planned for a case is there: 1 for all of it."""
        return max(1, self.made(name)) / self.policy.most_blocks

    def made(self, name: str) -> int:
        """Return how many blocks of a case there are in the main stage."""
        return sum(block.stage is Stage.MAIN for block in self.lab.blocks.get(name, ()))

    def open(self, names: Sequence[str]) -> list[str]:
        """Return the cases that are neither decided nor failed."""
        return [name for name in names if name not in self.decided and name not in self.lab.failed]

    def suspects(self, names: Sequence[str]) -> list[str]:
        """Return the cases that a confirmation has to decide about."""
        return [
            name
            for name in names
            if name in self.decided and self.decided[name].kind is Kind.SUSPECTED and name not in self.lab.failed
        ]

    def suspicious(self, names: Sequence[str]) -> list[str]:
        """Return the open cases that may yet be found costlier: all but those whose last look points elsewhere."""
        seen = {name: self.latest[name].estimate if name in self.latest else None for name in self.open(names)}
        least = {name: self.terms[name].up_to + RECURRENCE * self.terms[name].policy.min_effect for name in seen}
        return [name for name, estimate in seen.items() if estimate is None or estimate.change >= least[name]]

    def stage_s(self, name: str, blocks: int) -> float:
        """Return how long so many blocks of a case take in fresh forks, starting these included."""
        policy, lab = self.policy, self.lab
        each = math.ceil(blocks / policy.forks)
        return policy.forks * (lab.start_s.get(name, 0.0) + each * lab.block_s.get(name, 0.0))

    def confirming_s(self, name: str, further: int = 0) -> float:
        """Return how long one confirmation of a case takes, after so many `further` overtimes."""
        parts = 1 + self.overtimes.get(name, 0) + further
        return parts * self.stage_s(name, _confirm_blocks(self.policy))

    def needed_s(self, name: str, overtimes: int) -> float:
        """Return how long to reckon for so many overtimes, and for confirming a case that may be found costlier."""
        confirmations = self.policy.confirmations if self.suspicious([name]) else 0
        main_s = overtimes * self.stage_s(name, self.policy.blocks)
        return SPARE * (main_s + confirmations * self.confirming_s(name, further=overtimes))

    def missing_s(self) -> dict[str, float]:
        """Return the seconds for which there was no time, by case: of confirmations, or of likely deciding it."""
        runs = {name: self.recurrences.get(name, []) for name in self.suspects(list(self.terms))}
        missing = {name: self.policy.confirmations - len(each) for name, each in runs.items() if _again(each)}
        found = {name: number * self.confirming_s(name) for name, number in missing.items() if number > 0}
        for name in self.open(list(self.terms)):
            more = self.latest[name].more_blocks if name in self.latest else None
            if more is not None and self.made(name) + more <= self.policy.most_blocks:
                found[name] = self.needed_s(name, 0) + more * self.lab.block_s.get(name, 0.0)
            elif more is not None:
                found[name] = self.needed_s(name, math.ceil(more / self.policy.most_blocks))
        return {name: max(1.0, each) for name, each in found.items()}


def measure(gate: Gate, cases: Sequence[Gated], until_s: float, *, overtime: int = 0) -> None:
    """Measure some cases to their decision, or until their share of the budget is spent; confirm what was found.

    The planned looks are overtime 0. Each one after that is as many blocks again in fresh forks, and one look.
    """
    names = [case.name for case in cases]
    gate.overtimes.update(dict.fromkeys(names, overtime))
    cohort = Cohort(gate.lab, cases, Stage.MAIN, first_fork=overtime * gate.policy.forks)
    try:
        _main(gate, cohort, names, until_s, overtime)
    except BaseException:
        cohort.kill()
        raise
    cohort.close()
    for number in range(1, gate.policy.confirmations + 1):
        runs = {name: gate.recurrences.get(name, []) for name in gate.suspects(names)}
        suspects = [name for name, each in runs.items() if len(each) == number - 1 and _again(each)]
        if suspects and not _confirm(gate, [case for case in cases if case.name in suspects], number, overtime):
            return


def _again(runs: Sequence[Recurrence]) -> bool:
    return all(run.again for run in runs)


def _main(gate: Gate, cohort: Cohort, names: Sequence[str], until_s: float, overtime: int) -> None:
    began_s = time.monotonic()
    policy, live = gate.policy, cohort.begin()
    looks, seen = (1, policy.looks + overtime - 1) if overtime else (policy.looks, 0)
    plan = steps(policy, policy.blocks, looks, live, seen=seen)
    had = {name: gate.made(name) for name in names}
    reached = dict.fromkeys(names, 0)
    while waiting := [name for name in gate.open(names) if reached[name] < len(plan)]:
        ends_s = partial(_ends_s, gate, names, waiting, until_s, None if overtime else began_s)
        left = {name: policy.blocks + had[name] - gate.made(name) for name in waiting}
        active = _first(gate, left, reached, ends_s())
        step = plan[reached[active[0]]]
        if not cohort.advance(active, step, ends_s):
            if not overtime:
                # Blocks that were made count: when time ends, the look that comes next is taken early. In overtime it
                # would see more fresh forks than their few blocks say, and be more lenient than was promised.
                _look(gate, plan, reached, waiting)
            return
        for name in active:
            reached[name] += 1
        if step.look:
            gate.look(step.look, {name: gate.share(name) for name in gate.open(active)})
        for name in active:
            if name not in gate.open(names) or reached[name] == len(plan):
                cohort.drop(name)


def _look(gate: Gate, plan: Sequence[Step], reached: Mapping[str, int], names: Sequence[str]) -> None:
    by_look: dict[int, list[str]] = {}
    for name in gate.open(names):
        following = next((step.look for step in plan[reached[name] :] if step.look), plan[-1].look)
        by_look.setdefault(following, []).append(name)
    for index, group in sorted(by_look.items()):
        gate.look(index, {name: gate.share(name) for name in group})


def _first(gate: Gate, left: Mapping[str, int], reached: Mapping[str, int], ends_s: float) -> list[str]:
    """Return the cases to go on with: all that are equally far, or where time is short the most promising of them.

    `left` is how many blocks each has to go.
    """
    promise = {name: gate.latest[name].more_blocks if name in gate.latest else 0 for name in left}
    ranked = sorted(left, key=lambda name: math.inf if promise[name] is None else promise[name] or 0)
    left_s = ends_s - time.monotonic()
    fitting: list[str] = []
    for name in ranked:
        left_s -= gate.lab.block_s.get(name, 0.0) * left[name]
        if fitting and left_s < 0 and name in gate.latest:
            break
        fitting.append(name)
    nearest = min(reached[name] for name in fitting)
    return [name for name in fitting if reached[name] == nearest]


def _ends_s(gate: Gate, names: Sequence[str], waiting: Sequence[str], until_s: float, began_s: float | None) -> float:
    """Return when measuring must end for the confirmations of what was found, and of one more finding.

    The former are taken out of the cases' share of the budget, `until_s`. The latter, of the cheapest case in which
    one may be found, can take its time from the cases to come, and is left out where it would take too much of the time
    since `began_s`, if that is given: an overtime begins only where there is time for both.
    """
    stages = SPARE * gate.policy.confirmations
    found_s = stages * sum(map(gate.confirming_s, gate.suspects(names)))
    open_s = stages * min(map(gate.confirming_s, gate.suspicious(waiting)), default=0.0)
    if began_s is not None and open_s > RESERVE_SHARE * (gate.deadline_s - found_s - began_s):
        open_s = 0.0
    return min(until_s, gate.deadline_s - open_s) - found_s


def _confirm_blocks(policy: Policy) -> int:
    return max(MIN_BLOCKS, math.ceil(CONFIRM_SHARE * policy.blocks))


def _in_time(gate: Gate, cases: Sequence[Gated]) -> list[Gated]:
    """Return the cases that the time left is enough to confirm, as many as possible: half a confirmation is none."""
    left_s = SPARE * (gate.deadline_s - time.monotonic())
    cheapest = sorted((case.name for case in cases), key=gate.confirming_s)
    taken_s = dict(zip(cheapest, accumulate(map(gate.confirming_s, cheapest)), strict=True))
    return [case for case in cases if taken_s[case.name] <= left_s]


def _confirm(gate: Gate, cases: Sequence[Gated], number: int, overtime: int) -> bool:
    """Run one confirmation, in as many parts as the main stage had; return whether there was time for it."""
    cases = _in_time(gate, cases)
    if not cases:
        return False
    policy, lab = gate.policy, gate.lab
    first_fork = number * policy.forks * (1 + overtime)
    forks = range(first_fork, first_fork + policy.forks * (1 + overtime))
    if not all(_confirm_part(gate, cases, first) for first in forks[:: policy.forks]):
        return False
    for name in (case.name for case in cases):
        if name not in lab.failed:
            blocks = [block for block in lab.blocks[name] if block.stage is Stage.CONFIRM and block.fork in forks]
            found = gate.decide.confirm(gate.decided[name], blocks, policy, terms=gate.terms[name])
            gate.recurrences.setdefault(name, []).append(found)
    return True


def _confirm_part(gate: Gate, cases: Sequence[Gated], first_fork: int) -> bool:
    """Measure fresh forks from `first_fork` on; return whether there was time for all of their blocks."""
    cohort = Cohort(gate.lab, cases, Stage.CONFIRM, first_fork=first_fork)
    names = [case.name for case in cases]
    try:
        plan = steps(gate.policy, _confirm_blocks(gate.policy), 1, cohort.begin())
        done = all(cohort.advance(names, step, lambda: gate.deadline_s) for step in plan)
    except BaseException:
        cohort.kill()
        raise
    cohort.close()
    return done
