"""Takes the windows of a phase: all meters read around so many micro-batches, updates or whole steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from harness import device
from harness.contract import WindowMeter
from harness.records import Frozen, Measured
from harness.sampling.asking import AskedPhase
from harness.sampling.planning import Part, PhasePlan, Timed, Times
from harness.workloads.architectures.steps import Steps

T = TypeVar("T")

Cycle = tuple[Measured, ...]
"""One window of each part of a plan, in their order."""

_QUICK_S = 1.0
_TRIES = 3


class Series(Frozen, frozen=True, kw_only=True):
    """What was measured of one phase, in the order of time."""

    plan: PhasePlan
    cycles: tuple[Cycle, ...]
    peak_memory_bytes: int | None = None


def window(meters: WindowMeter, name: str, work: Callable[[], T]) -> tuple[Measured, T]:
    """Run `work` on a device between two synchronised reads of all meters."""
    device.synchronise(name)
    mark = meters.begin()
    try:
        result = work()
        device.synchronise(name)
    finally:
        measured = meters.end(mark)
    return measured, result


def take(
    steps: Steps,
    plan: PhasePlan,
    meters: WindowMeter,
    name: str,
    *,
    into: list[Cycle],
    enough: Callable[[int], bool],
    kept: Callable[[Part, int, Measured], None] | None = None,
) -> None:
    """Measure cycles of a phase on a device until there are enough.

    Args:
        steps: The model.
        plan: What a cycle is.
        meters: All meters.
        name: The device.
        into: Where whole cycles are put as they are done, so that they are there after an interruption.
        enough: Told how many there are before each cycle; ends it by True.
        kept: Told the part, the cycle's number and what was measured, after each window.

    Raises: InvalidMeasurement: the loss at the end is not finite.
    """
    works = _works(steps, plan)
    while not enough(len(into)):
        cycle: list[Measured] = []
        for part, work in zip(plan.parts, works, strict=True):
            measured, _ = window(meters, name, partial(work, part.times))
            cycle.append(measured)
            if kept is not None:
                kept(part, len(into), measured)
        into.append(tuple(cycle))
    steps.loss()


def timer(steps: Steps, name: str, check: Callable[[AskedPhase, int], None]) -> Timed:
    """Return what times a micro-batch and an update, each after one that is not counted.

    `check` is asked first, and raises ModelError where the micro-batch does not fit. A loss that is not finite is told
    here, before anything is measured (InvalidMeasurement).
    """

    def timed(phase: AskedPhase, micro_batch: int) -> Times:
        check(phase, micro_batch)
        batch = steps.batch(micro_batch, phase.tokens)

        def run() -> None:
            steps.forward_backward(batch)

        def update() -> None:
            steps.update()

        first_s = _seconds(name, run)
        _seconds(name, update)
        steps.loss()
        tries = _TRIES if first_s < _QUICK_S else 1
        forward_backward_s = min(_seconds(name, run) for _ in range(tries))
        update_s = min(_seconds(name, update) for _ in range(tries))
        return Times(forward_backward_s, update_s)

    return timed


def _works(steps: Steps, plan: PhasePlan) -> tuple[Callable[[int], None], ...]:
    """Return what each part of a cycle does so many times.

    Gradients live as long as in a published step, wherever windows begin and end: one micro-batch of k gives them, the
    others add to them, then they are let go. Zeroed in place or put elsewhere, they made micro-batches slower.
    """
    batch = steps.batch(plan.micro_batch, plan.phase.tokens)
    share, held = 1 / plan.accumulations, 0.0
    steps.forget()

    def micro_batches(times: int) -> None:
        nonlocal held
        for _ in range(times):
            if held >= plan.accumulations:
                steps.forget()
                held -= plan.accumulations
            steps.forward_backward(batch, share)
            held += 1

    def whole_steps(times: int) -> None:
        for _ in range(times):
            for _ in range(round(plan.accumulations)):
                steps.forward_backward(batch, share)
            steps.update()
            steps.forget()

    return (whole_steps,) if plan.whole else (micro_batches, steps.update)


def _seconds(name: str, work: Callable[[], None]) -> float:
    device.synchronise(name)
    begun_s = time.perf_counter()
    work()
    device.synchronise(name)
    return time.perf_counter() - begun_s
