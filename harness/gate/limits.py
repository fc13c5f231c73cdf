"""What the numbers of `gate.yaml` may be, the same wherever they stand in it."""

from __future__ import annotations

import math
from collections.abc import Callable

from harness.gate.keys import MIN_BLOCKS, MIN_FORKS
from harness.records import Frozen

MOST_LOOKS = 20
"""More looks decide nothing sooner: the levels of the first are too small to be reached."""

MOST_SLOT_S = 60.0

_FEWER = "or more: fewer never decide anything"
_LIMITS: dict[str, tuple[Callable[[float], bool], str]] = {
    "alpha": (lambda share: 0 < share < 0.5, "must lie between 0 and 50%"),
    "min_effect": (lambda share: share >= 0, "must not be negative"),
    "tolerance": (lambda share: share > 0, "must be above zero"),
    "looks": (lambda number: 1 <= number <= MOST_LOOKS, f"must be 1 to {MOST_LOOKS}"),
    "forks": (lambda number: number >= MIN_FORKS, f"must be {MIN_FORKS} {_FEWER}"),
    "blocks": (lambda number: number >= MIN_BLOCKS, f"must be {MIN_BLOCKS} {_FEWER}"),
    "confirmations": (lambda number: number >= 0, "must not be negative"),
    "control_drift": (lambda share: share > 0, "must be above zero"),
    "quality_loss": (lambda loss: 0 <= loss < math.inf, "must be a number that is not negative"),
    "slot_s": (lambda slot_s: 0 < slot_s <= MOST_SLOT_S, f"must be longer than zero, and {MOST_SLOT_S:g} s at most"),
    "up_to": (lambda share: share >= 0, "must not be negative"),
}


def out_of_bounds(section: Frozen) -> tuple[str, str] | None:
    """Return the key of a section whose number cannot be, and what it must be; what is not written has none."""
    for key, (holds, what) in _LIMITS.items():
        value = getattr(section, key, None)
        if value is not None and not holds(value):
            return key, what
    return None
