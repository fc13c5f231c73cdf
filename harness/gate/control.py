"""The control: a fixed kernel that no repository under test can change, for it comes from the gate's installation.

What it draws may only change if the machine does, so a control that drifts, or that differs between the places of a
block, says that the run was contaminated. Standard library only.
"""

from __future__ import annotations

import hashlib

TARGET = "harness.gate.control:kernel"

_ROUNDS = 100
_BLOCK = bytes(range(256)) * 64


def kernel() -> str:
    """Return a hash that took about 20 ms of interpreter, integers, memory and hashing; always the same."""
    state = hashlib.sha256()
    table: dict[int, int] = {}
    number = 12345
    for _ in range(_ROUNDS):
        for place in range(400):
            # The constants of a linear congruential generator: Press et al., Numerical Recipes, 2nd ed., §7.1.
            number = (1664525 * number + 1013904223) % 4294967296
            table[number % 1024] = number ^ place
        state.update(_BLOCK)
        state.update(str(sorted(table.values())[:64]).encode())
    return state.hexdigest()
