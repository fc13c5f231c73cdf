"""From the blocks of a case to differences of logarithms, by fork; or to the reason why there are none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from harness.gate.model import Block, Slot, Stage
from harness.records import Frozen, Provenance

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

VOID_SHARE = 0.25
"""A fork that lost more than this share of its blocks is no longer a fair sample: the case is invalid."""

MIN_JUDGED = 8
"""Blocks that a fork is taken to have at the least, where it only lost readings. A first look may see 5 blocks of it,
and two gaps that pass by would make the case invalid for good; a wrong answer is no accident of the meter."""


class Evidence(Frozen, frozen=True, kw_only=True):
    """What the blocks of one stage of a case say.

    `differences` are mean log joules a task of head less those of base, one a block that counts, by fork.
    `drift` is log control late in a fork less log control early in it. `fault` says why none of it can be used.
    """

    differences: tuple[tuple[float, ...], ...] = ()
    drift: tuple[tuple[float, ...], ...] = ()
    blocks: int = 0
    void: int = 0
    fault: str | None = None


def gather(blocks: Sequence[Block], stage: Stage) -> Evidence:
    """Return what the blocks of a stage say; a reading that cannot be is a fault, never a number."""
    forks: dict[int, list[Block]] = {}
    for block in blocks:
        if block.stage is stage:
            forks.setdefault(block.fork, []).append(block)
    number = sum(len(each) for each in forks.values())
    void = [block for each in forks.values() for block in each if block.void is not None]
    fault = _voided(forks) or next(
        (found for each in forks.values() for block in each if (found := _fault(block))), None
    )
    fault = fault or _mixed(forks)
    if fault is not None:
        return Evidence(blocks=number - len(void), void=len(void), fault=fault)
    kept = [[block for block in each if block.void is None] for _, each in sorted(forks.items())]
    kept = [sorted(each, key=lambda block: block.index) for each in kept if each]
    return Evidence(
        differences=tuple(tuple(_difference(block) for block in each) for each in kept),
        drift=tuple(pairs for each in kept if (pairs := _drift(each, metered=_metered(kept)))),
        blocks=number - len(void),
        void=len(void),
    )


def padded(forks: Sequence[Sequence[float]]) -> Floats:
    """Return forks x blocks, with NaN where a fork has fewer blocks."""
    import numpy as np

    values_FB = np.full((max(1, len(forks)), max((len(each) for each in forks), default=1)), np.nan)
    for row, each in enumerate(forks):
        values_FB[row, : len(each)] = each
    return values_FB


def per_task(slot: Slot) -> float:
    """Return the joules a task of a slot that has no fault."""
    return (slot.energy_j or 0.0) / slot.tasks


def _voided(forks: dict[int, list[Block]]) -> str | None:
    for fork, each in sorted(forks.items()):
        void = [block for block in each if block.void is not None]
        judged = max(len(each), MIN_JUDGED) if all(map(_lost, void)) else len(each)
        if len(void) > VOID_SHARE * judged:
            return (
                f"{len(void)} of {len(each)} blocks of fork {fork} do not count ({void[0].void}); "
                "repair that and run the gate again"
            )
    return None


def _lost(block: Block) -> bool:
    """Return whether a block has a reading that was lost."""
    return any(slot.energy_j is None or not slot.energy_j > 0 for slot in (*block.slots, *block.control))


def _fault(block: Block) -> str | None:
    """Return why a block that is not void cannot be used."""
    if block.void is not None:
        return None
    where = f"block {block.index} of fork {block.fork}"
    arms = [slot.arm for slot in block.slots]
    if "base" not in arms or "head" not in arms:
        return f"{where} has no slot of {'head' if 'base' in arms else 'base'}; report this, the runner lost it"
    for slot in block.slots:
        if slot.tasks < 1:
            return f"{where}: a slot of {slot.arm} did no task; check what the case runs"
        if slot.energy_j is None:
            why = slot.gap or "the meter gave no reason"
            return f"{where}: no joules of {slot.arm} ({why}); `joulebench doctor` shows what can be measured"
        if not math.isfinite(slot.energy_j) or slot.energy_j <= 0:
            return (
                f"{where}: {slot.arm} reads {slot.energy_j} J, which cannot be; "
                "check the meter with `joulebench doctor`, or make slots longer (slot_s)"
            )
    return None


def _mixed(forks: dict[int, list[Block]]) -> str | None:
    """Return which slots know their joules in unlike ways, if any do: a meter changed while it was read."""
    first: dict[Provenance, str] = {}
    for fork, each in sorted(forks.items()):
        for block in each:
            for slot in block.slots if block.void is None else ():
                if slot.provenance is not None:
                    where = f"{slot.arm} in block {block.index} of fork {fork}"
                    first.setdefault(slot.provenance, f"{slot.provenance.value} ({where})")
    if len(first) < 2:
        return None
    return (
        f"the provenance of the joules changed while they were measured: {' and '.join(first.values())}; joules of "
        "unlike provenance are not compared: name one meter that does not change"
    )


def _difference(block: Block) -> float:
    head, base = (
        fmean(math.log(per_task(slot)) for slot in block.slots if slot.arm == arm) for arm in ("head", "base")
    )
    return head - base


def _metered(forks: Sequence[Sequence[Block]]) -> bool:
    return all(slot.energy_j is not None for each in forks for block in each for slot in block.control)


def _drift(blocks: Sequence[Block], *, metered: bool) -> tuple[float, ...]:
    """Return how the control changed from the first to the second half of a fork, paired in their order.

    The control counts in joules, or in CPU-seconds where any of its readings has none.
    """
    slots = [slot for block in blocks for slot in block.control if slot.tasks > 0]
    amounts = [((slot.energy_j if metered else slot.cpu_s) or 0.0) / slot.tasks for slot in slots]
    costs = [math.log(amount) for amount in amounts if math.isfinite(amount) and amount > 0]
    half = len(costs) // 2
    return tuple(late - early for early, late in zip(costs[:half], costs[len(costs) - half :], strict=True))
