"""Overtime: when all planned looks are done and budget is left, it goes to the cases that they left undecided.

An overtime is as many blocks again as were planned, in fresh forks (which is what helps where forks differ), and one
more look, at what `harness.stats.spending` keeps of the chance of error for it. Whether to go on may depend
on anything seen so far: that chance is spent by looks that were fixed beforehand, and ending early only leaves some of
it unspent. So what cannot be decided with the time that is left is left alone: it would burn the budget for nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from harness.gate.forks import Gated
from harness.gate.keys import MIN_BLOCKS, MIN_FORKS
from harness.gate.sizing import MOST_OVERTIMES
from harness.gate.stages import Gate, measure

FAIR = 2.0
"""How much more than the time that is left for it a case may be reckoned to need: what is reckoned decides four of
five, and half of it, by the same normal theory, about two of five. Time would be of no use otherwise."""


def spend(gate: Gate, cases: Sequence[Gated], most: int, tell: Callable[[], None]) -> None:
    """Spend what is left of the budget on the undecided cases, `most` of them at once; `tell` after each time."""
    while chosen := _next(gate, cases, most):
        number = 1 + _had(gate, chosen[0])
        gate.lab.say(f"time is left: overtime {number} of {', '.join(case.name for case in chosen)}")
        measure(gate, chosen, gate.deadline_s, overtime=number)
        tell()


def _next(gate: Gate, cases: Sequence[Gated], most: int) -> list[Gated]:
    """Return the cases that go into their next overtime together, none where nothing is worth it.

    Those that need the least time come first, advisory ones last; time is not spread over more of them than it is
    likely to decide.
    """
    left_s = gate.deadline_s - time.monotonic()
    needed_s = {case.name: gate.needed_s(case.name, n) for case in cases if (n := _overtimes(gate, case.name))}
    ranked = sorted(
        (case for case in cases if case.name in needed_s),
        key=lambda case: (gate.terms[case.name].advisory, needed_s[case.name]),
    )
    chosen: list[Gated] = []
    for case in ranked:
        if gate.needed_s(case.name, 1) <= left_s and needed_s[case.name] <= FAIR * left_s:
            left_s -= needed_s[case.name]
            if len(chosen) < most and (not chosen or _had(gate, case) == _had(gate, chosen[0])):
                chosen.append(case)
    return chosen


def _had(gate: Gate, case: Gated) -> int:
    return gate.overtimes.get(case.name, 0)


def _overtimes(gate: Gate, name: str) -> int:
    """Return how many more overtimes would likely decide a case: none where it is decided, or that cannot be told.

    Where too little was seen to tell, one. Where the machine moved, none: fresh forks would outvote what was seen then.
    """
    found, had = gate.latest.get(name), gate.overtimes.get(name, 0)
    if found is None or name not in gate.open([name]) or had >= MOST_OVERTIMES:
        return 0
    if found.unsteady:
        return 0
    if found.more_blocks is not None:
        return math.ceil(found.more_blocks / gate.policy.most_blocks)
    seen = found.estimate
    enough = seen is not None and seen.forks >= MIN_FORKS and seen.blocks >= MIN_BLOCKS
    return 0 if enough or had else 1
