"""What is tried: trials of each change in each scenario, in a random order of which any beginning is balanced."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

UNITS = 200
"""Units of work that base does."""

CHANGES = {"A/A": 200, "+2 %": 204, "+3 %": 206, "+5 %": 210, "+10 %": 220, "-5 %": 190}
"""Units of work that head does, by the name of the change."""

SCENARIOS = ("neighbour", "quiet")
DEFAULT = {
    "neighbour": {"A/A": 60, "+2 %": 10, "+3 %": 40, "+5 %": 40, "+10 %": 10, "-5 %": 10},
    "quiet": {"A/A": 20, "+2 %": 4, "+3 %": 10, "+5 %": 10, "+10 %": 4, "-5 %": 4},
}
"""Trials by scenario and change: the most where the promises are."""

TOOLS = ("pytest-benchmark", "asv", "pyperf", "joulebench")

Counts = Mapping[str, Mapping[str, int]]


class Trial(NamedTuple):
    """One comparison of base with a head by every tool, in the order of `tools`."""

    number: int
    scenario: str
    change: str
    seed: int
    tools: tuple[str, ...]

    @property
    def costlier(self) -> bool:
        """Whether an alarm is right."""
        return CHANGES[self.change] > UNITS


def plan(counts: Counts, seed: int) -> tuple[Trial, ...]:
    """Return all trials.

    The n trials of a condition lie at random within n equal parts of the run, so that a run that is cut short
    anywhere has about the same share of each condition, and no condition has a time of its own.
    """
    rng = random.Random(f"{seed}/order")
    places = [
        ((place + rng.random()) / number, scenario, change)
        for scenario, changes in counts.items()
        for change, number in changes.items()
        for place in range(number)
    ]
    trials = []
    for number, (_, scenario, change) in enumerate(sorted(places), start=1):
        own = random.Random(f"{seed}/{number}")
        tools = list(TOOLS)
        own.shuffle(tools)
        trials.append(Trial(number, scenario, change, own.randrange(2**31), tuple(tools)))
    return tuple(trials)


def parse_counts(text: str, default: Mapping[str, int]) -> dict[str, int]:
    """Return the counts of `A/A=60,+5%=40`; what is not named has none. An empty text stands for the default.

    Raises: ValueError: an unknown change, or no number.
    """
    if not text:
        return dict(default)
    known = {name.replace(" ", ""): name for name in CHANGES}
    counts = Counter[str]()
    for part in filter(None, text.replace(" ", "").split(",")):
        name, _, number = part.partition("=")
        if name not in known or not number.isdigit():
            raise ValueError(f"{part!r} is not of the form CHANGE=TRIALS with a change of {', '.join(known)}")
        counts[known[name]] = int(number)
    return {name: counts[name] for name in CHANGES if counts[name]}
