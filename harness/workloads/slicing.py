"""Cut examples into slices of one size and nearly one length distribution."""

from __future__ import annotations

import random

from harness.contract import Examples

_ARRIVAL_SEED = 20261123
"""Fixed, so that every technique and fork meets the same texts in the same order."""


def slices(examples: Examples, size: int) -> tuple[Examples, ...]:
    """Return slices of exactly `size` items whose texts are about equally long.

    Items are sorted by text length and dealt in turn, to and fro, then shuffled inside each slice, as
    arrivals are. For n >= size there are floor(n / size) slices; the remainder is left out, by
    a fixed draw, so that windows stay comparable. For n < size there is one slice of n items.
    """
    order = sorted(range(len(examples.texts)), key=lambda i: (len(examples.texts[i]), examples.item_ids[i]))
    count = max(1, len(order) // size)
    spare = len(order) - count * size
    shuffler = random.Random(_ARRIVAL_SEED)  # noqa: S311 (an arrival order, no secret)
    if spare > 0:
        left_out = set(shuffler.sample(range(len(order)), spare))
        order = [item for place, item in enumerate(order) if place not in left_out]
    dealt: list[list[int]] = [[] for _ in range(count)]
    for start in range(0, len(order), count):
        # Every other round is dealt backwards, or the last slice would get the longest of every round.
        backwards = (start // count) % 2 == 1
        for place, row in enumerate(order[start : start + count]):
            dealt[count - 1 - place if backwards else place].append(row)
    for rows in dealt:
        shuffler.shuffle(rows)
    return tuple(pick(examples, rows) for rows in dealt)


def pick(examples: Examples, rows: list[int]) -> Examples:
    """Return the examples at `rows`, in that order."""
    return Examples(
        item_ids=tuple(examples.item_ids[row] for row in rows),
        texts=tuple(examples.texts[row] for row in rows),
        labels=tuple(examples.labels[row] for row in rows) if examples.labels else (),
        targets=tuple(examples.targets[row] for row in rows) if examples.targets else (),
    )
