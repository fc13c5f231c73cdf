"""The stages of a gate for some cases: looks until they are decided, then a confirmation of what was found.

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

CONFIRM_SHARE = 0.5
"""Blocks of a confirmation over those that the main stage allows."""

RESERVE_SHARE = 0.5
"""Most of their time that cases leave for a confirmation that may be needed: with more, little would be found."""

_SPARE = 1.1
"""Time that is kept for confirmations over what they are reckoned to take: no two blocks take alike."""


class Deciding(NamedTuple):
    """What turns blocks into findings and findings into results; tests put simpler ones in."""

    look: Callable[..., dict[str, Finding]] = deciding.look
    confirm: Callable[..., Recurrence] = deciding.confirm
    verdicts: Callable[..., tuple[CaseResult, ...]] = concluding.verdicts


@dataclass
class Gate:
    """What is known so far. `decided` are final; `latest` holds what was last said of every case."""

    lab: Lab
    policy: Policy
    terms: Mapping[str, Terms]
    decide: Deciding
    deadline_s: float
    decided: dict[str, Finding] = field(default_factory=dict)
    latest: dict[str, Finding] = field(default_factory=dict)
    recurrences: dict[str, list[Recurrence]] = field(default_factory=dict)

    def look(self, index: int, names: Sequence[str]) -> None:
        """Look at these cases; all others keep what was said of them, and their place in the family."""
        blocks = {name: self.lab.blocks.get(name, []) for name in self.terms}
        found = self.decide.look(blocks, self.policy, index, decided=self.decided, terms=self.terms)
        for name in names:
            self.latest[name] = found[name]
            if found[name].kind not in UNDECIDED:
                self.decided[name] = found[name]

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

    def confirming_s(self, name: str) -> float:
        """Return how long one confirmation of a case takes: starting its forks, and their blocks."""
        policy, lab = self.policy, self.lab
        each = math.ceil(_confirm_blocks(policy) / policy.forks)
        return policy.forks * (lab.start_s.get(name, 0.0) + each * lab.block_s.get(name, 0.0))

    def unconfirmed_s(self) -> dict[str, float]:
        """Return the seconds of the confirmations for which there was no time, by case."""
        runs = {name: self.recurrences.get(name, []) for name in self.suspects(list(self.terms))}
        missing = {name: self.policy.confirmations - len(each) for name, each in runs.items() if _again(each)}
        return {name: max(1.0, number * self.confirming_s(name)) for name, number in missing.items() if number > 0}


def measure(gate: Gate, cases: Sequence[Gated], until_s: float) -> None:
    """Measure some cases to their decision, or until their share of the budget is spent; confirm what was found."""
    names = [case.name for case in cases]
    cohort = Cohort(gate.lab, cases, Stage.MAIN)
    try:
        _main(gate, cohort, names, until_s)
    except BaseException:
        cohort.kill()
        raise
    cohort.close()
    for number in range(1, gate.policy.confirmations + 1):
        runs = {name: gate.recurrences.get(name, []) for name in gate.suspects(names)}
        suspects = [name for name, each in runs.items() if len(each) == number - 1 and _again(each)]
        if suspects and not _confirm(gate, [case for case in cases if case.name in suspects], number):
            return


def _again(runs: Sequence[Recurrence]) -> bool:
    return all(run.again for run in runs)


def _main(gate: Gate, cohort: Cohort, names: Sequence[str], until_s: float) -> None:
    began_s = time.monotonic()
    plan = steps(gate.policy, gate.policy.blocks, gate.policy.looks, cohort.begin())
    reached = dict.fromkeys(names, 0)
    while waiting := [name for name in gate.open(names) if reached[name] < len(plan)]:
        ends_s = partial(_ends_s, gate, names, waiting, began_s, until_s)
        active = _first(gate, waiting, reached, ends_s())
        step = plan[reached[active[0]]]
        if not cohort.advance(active, step, ends_s):
            # Blocks that were made count: when time ends, the look that comes next is taken early.
            _look(gate, cohort, plan, reached, waiting)
            return
        for name in active:
            reached[name] += 1
        if step.look:
            gate.look(step.look, gate.open(active))
        for name in active:
            if name not in gate.open(names) or reached[name] == len(plan):
                cohort.drop(name)


def _look(gate: Gate, cohort: Cohort, plan: Sequence[Step], reached: Mapping[str, int], names: Sequence[str]) -> None:
    by_look: dict[int, list[str]] = {}
    for name in gate.open(names):
        following = next((step.look for step in plan[reached[name] :] if step.look), gate.policy.looks)
        by_look.setdefault(following, []).append(name)
    for index, group in sorted(by_look.items()):
        gate.look(index, group)
    for name in names:
        cohort.drop(name)


def _first(gate: Gate, waiting: Sequence[str], reached: Mapping[str, int], ends_s: float) -> list[str]:
    """Return the cases to go on with: all that are equally far, or where time is short the most promising of them."""
    promise = {name: gate.latest[name].more_blocks if name in gate.latest else 0 for name in waiting}
    ranked = sorted(waiting, key=lambda name: math.inf if promise[name] is None else promise[name] or 0)
    left_s = ends_s - time.monotonic()
    fitting: list[str] = []
    for name in ranked:
        left_s -= gate.lab.block_s.get(name, 0.0) * (gate.policy.blocks - len(gate.lab.blocks.get(name, ())))
        if fitting and left_s < 0 and name in gate.latest:
            break
        fitting.append(name)
    nearest = min(reached[name] for name in fitting)
    return [name for name in fitting if reached[name] == nearest]


def _ends_s(gate: Gate, names: Sequence[str], waiting: Sequence[str], began_s: float, until_s: float) -> float:
    """Return when measuring must end for the confirmations of what was found, and of one more finding.

    The former are taken out of the cases' share of the budget, `until_s`. The latter, of the cheapest case in which
    one may be found, can take its time from the cases to come, and is left out where it would take too much.
    """
    stages = _SPARE * gate.policy.confirmations
    found_s = stages * sum(map(gate.confirming_s, gate.suspects(names)))
    open_s = stages * min(map(gate.confirming_s, gate.suspicious(waiting)), default=0.0)
    if open_s > RESERVE_SHARE * (gate.deadline_s - found_s - began_s):
        open_s = 0.0
    return min(until_s, gate.deadline_s - open_s) - found_s


def _confirm_blocks(policy: Policy) -> int:
    return max(MIN_BLOCKS, math.ceil(CONFIRM_SHARE * policy.blocks))


def _in_time(gate: Gate, cases: Sequence[Gated]) -> list[Gated]:
    """Return the cases that the time left is enough to confirm, as many as possible: half a confirmation is none."""
    left_s = _SPARE * (gate.deadline_s - time.monotonic())
    cheapest = sorted((case.name for case in cases), key=gate.confirming_s)
    taken_s = dict(zip(cheapest, accumulate(map(gate.confirming_s, cheapest)), strict=True))
    return [case for case in cases if taken_s[case.name] <= left_s]


def _confirm(gate: Gate, cases: Sequence[Gated], number: int) -> bool:
    """Run one confirmation; return whether there was time for it."""
    cases = _in_time(gate, cases)
    if not cases:
        return False
    policy, lab = gate.policy, gate.lab
    first_fork = number * policy.forks
    cohort = Cohort(lab, cases, Stage.CONFIRM, first_fork=first_fork)
    names = [case.name for case in cases]
    try:
        plan = steps(policy, _confirm_blocks(policy), 1, cohort.begin())
        done = all(cohort.advance(names, step, lambda: gate.deadline_s) for step in plan)
    except BaseException:
        cohort.kill()
        raise
    cohort.close()
    if not done:
        return False
    forks = range(first_fork, first_fork + policy.forks)
    for name in names:
        if name not in lab.failed:
            blocks = [block for block in lab.blocks[name] if block.stage is Stage.CONFIRM and block.fork in forks]
            found = gate.decide.confirm(gate.decided[name], blocks, policy, terms=gate.terms[name])
            gate.recurrences.setdefault(name, []).append(found)
    return True
