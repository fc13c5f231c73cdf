"""Several comparisons at once: the promise is about the family, not about each."""

from __future__ import annotations

from collections.abc import Sequence


def familywise(confidence: float, k: int) -> float:
    """Return the confidence of each of k intervals that hold together at `confidence` (Bonferroni)."""
    return 1.0 - (1.0 - confidence) / max(1, k)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return adjusted p-values in the given order (Holm 1979, Scand. J. Stat. 6:65).

    Rejecting where the adjusted value is below α keeps the chance of any false alarm at or below α.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return tuple(adjusted)
