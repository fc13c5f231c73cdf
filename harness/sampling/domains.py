"""What each domain draws of a published step: the parts that a sample's joules are made of."""

from __future__ import annotations

import math
from collections.abc import Iterable

from msgspec.structs import replace

from harness.records import Energy
from harness.sampling.taking import Series
from harness.stats.sums import part_of


def of_series(series: Series, dropped: int) -> tuple[Energy, ...]:
    """Return what the billed domains drew of a published step, in the mean of the warm cycles."""
    kept = series.cycles[dropped:]
    return added(
        (energy, part.weight / part.times / len(kept))
        for cycle in kept
        for part, measured in zip(series.plan.parts, cycle, strict=True)
        for energy in measured.energies
        if energy.billed
    )


def added(weighed: Iterable[tuple[Energy, float]]) -> tuple[Energy, ...]:
    """Return the sums of joules times weights, one a domain; the first of a domain says how its joules are known."""
    found: dict[str, list[tuple[Energy, float]]] = {}
    for energy, weight in weighed:
        found.setdefault(energy.domain, []).append((energy, weight))
    return tuple(
        replace(
            each[0][0],
            **{
                side: math.fsum(getattr(part_of(energy), side) * weight for energy, weight in each)
                for side in ("energy_j", "low_j", "high_j")
            },
        )
        for each in found.values()
    )
