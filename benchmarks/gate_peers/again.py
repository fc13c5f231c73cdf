"""Decides kept trials again: ours by the product's own code from its blocks, the peers by their published rules."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

import msgspec

from harness.gate import concluding, deciding
from harness.gate.cohorts import Step, steps
from harness.gate.findings import UNDECIDED, Finding, Kind, Recurrence
from harness.gate.keys import MIN_BLOCKS
from harness.gate.model import Block, Policy, Stage, Verdict
from harness.gate.stages import CONFIRM_SHARE
from harness.stats import Looks, Taken

from .keeping import CASE

Samples = Mapping[str, Sequence[float]]

PYPERF_T = 1.984
"""pyperf's critical value of Student's t for 100 to 199 degrees of freedom; 20 processes x 3 values make 118."""


class Decided(NamedTuple):
    """What joulebench's code says of kept blocks.

    `unknown` where a confirmation was asked for that nobody measured; `undecided` where it would go on if it could.
    """

    verdict: Verdict
    look: int
    unknown: bool
    undecided: bool = False


def ours(blocks: Sequence[Block], policy: Policy) -> Decided:
    """Return the verdict that the looks and the confirmations of these blocks, in their order, come to."""
    found = _looked([block for block in blocks if block.stage is Stage.MAIN], policy)
    recurrences: list[Recurrence] = []
    unknown = False
    if found.kind is Kind.SUSPECTED:
        recurrences, unknown = _confirmed(found, blocks, policy)
    (result,) = concluding.verdicts({CASE: found}, {CASE: blocks}, policy, recurrences={CASE: recurrences})
    return Decided(result.verdict, found.look, unknown, found.kind in UNDECIDED)


def pytest_benchmark(said: Mapping[str, Any], percent: float = 5.0) -> str:
    """Return the verdict of `median:5%`: the median of head is more than 5 % above that of base."""
    base, head = said["base"]["median"], said["head"]["median"]
    return "alarm" if 100 * (head - base) / base > percent else "none"


def asv(samples: Samples, factor: float) -> str:
    """Return asv's verdict: medians beyond the factor, and a Mann-Whitney test with p < 0.002."""
    from scipy import stats

    base, head = (median(samples[arm]) for arm in ("base", "head"))
    if not (head > base * factor or head < base / factor):
        return "none"
    test = stats.mannwhitneyu(samples["base"], samples["head"], alternative="two-sided")
    if test.pvalue >= 0.002:
        return "none"
    return "alarm" if head > base else "improved"


def pyperf(samples: Samples, percent: float = 0.0) -> str:
    """Return pyperf's verdict: Student's t beyond the value in its table, and means `percent` apart or more."""
    from scipy import stats

    base, head = (math.fsum(samples[arm]) / len(samples[arm]) for arm in ("base", "head"))
    apart = 100 * (max(base, head) / min(base, head) - 1)
    if apart < percent or abs(stats.ttest_ind(samples["base"], samples["head"]).statistic) < PYPERF_T:
        return "none"
    return "alarm" if head > base else "improved"


def policy_of(said: Mapping[str, Any]) -> Policy:
    """Return the policy that a trial was gated with."""
    return msgspec.convert(said["policy"], Policy)


def _looked(main: Sequence[Block], policy: Policy) -> Finding:
    """Return what the last look found: the first that decided, or the one that was taken early as time ended."""
    taken: Looks = (Taken(1, 1 / policy.most_blocks),)
    found = deciding.look({CASE: []}, policy, taken, [CASE])[CASE]
    parts: dict[int, list[Block]] = {0: []}
    for block in main:
        parts.setdefault(block.fork // policy.forks, []).append(block)
    before: list[Block] = []
    taken = ()
    for overtime, part in sorted(parts.items()):
        looks, earlier = (1, policy.looks + overtime - 1) if overtime else (policy.looks, 0)
        for look, seen in _looks(part, _plan(part, policy, looks, earlier), policy):
            taken = (*taken, Taken(look, (len(before) + len(seen)) / policy.most_blocks))
            found = deciding.look({CASE: [*before, *seen]}, policy, taken, [CASE])[CASE]
            if found.kind not in UNDECIDED:
                return found
        before += part
    return found


def _looks(part: Sequence[Block], plan: Sequence[Step], policy: Policy) -> Iterator[tuple[int, list[Block]]]:
    """Yield the looks of the plan or of an overtime, with what they saw; the last as early as time ended."""
    shown = 0
    for place, step in enumerate(plan):
        seen = [block for block in part if block.fork % policy.forks < step.last and block.index < step.blocks]
        whole = len(seen) >= step.last * step.blocks
        look = step.look if whole else next(each.look for each in plan[place:] if each.look)
        if look and len(seen) > shown and (whole or plan[-1].look <= policy.looks):
            shown = len(seen)
            yield look, seen
        if not whole:
            return


def _plan(part: Sequence[Block], policy: Policy, looks: int, earlier: int) -> Sequence[Step]:
    """Return the steps of a part, by how many forks were alive at once: all that had a block before one had all of
    its first look."""
    together = steps(policy, policy.blocks, looks, policy.forks, seen=earlier)
    live: set[int] = set()
    for block in part:
        if block.index >= together[0].blocks:
            return steps(policy, policy.blocks, looks, len(live), seen=earlier)
        live.add(block.fork)
    return together


def _confirmed(found: Finding, blocks: Sequence[Block], policy: Policy) -> tuple[list[Recurrence], bool]:
    """Return what the kept confirmations say, and whether one is missing that the finding asks for."""
    each = math.ceil(max(MIN_BLOCKS, math.ceil(CONFIRM_SHARE * policy.blocks)) / policy.forks)
    number_of_forks = policy.forks * (1 + policy.overtime(found.look))
    recurrences: list[Recurrence] = []
    for number in range(1, policy.confirmations + 1):
        forks = range(number * number_of_forks, (number + 1) * number_of_forks)
        kept = [block for block in blocks if block.stage is Stage.CONFIRM and block.fork in forks]
        if len(kept) < each * number_of_forks:
            return recurrences, True
        recurrences.append(deciding.confirm(found, kept, policy))
        if not recurrences[-1].again:
            break
    return recurrences, False
