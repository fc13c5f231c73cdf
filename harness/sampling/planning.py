"""Which micro-batch, which windows: what fits the memory, the meter and the time that was given.

A published step is k micro-batches and an update. Where whole steps are quick enough, a window holds whole steps, and
nothing has to be put together. Where they are not, windows of micro-batches and windows of updates take turns, and a
pair of them gives one value of `k` micro-batches + 1 update. Both are one value a *cycle*: neighbours in time, so that
what moves the machine moves both, and the interval of the mean over cycles holds their correlation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from harness.errors import ModelError, NotMeasured, UsageError
from harness.records import Frozen
from harness.sampling.asking import AskedPhase

CYCLES_WANTED = 24
"""Values a phase. Warm-up takes at most half, and an interval needs 8 (`stats.batch_means`)."""
CYCLES_LEAST = 16
CYCLES_MOST = 240
"""Beyond this windows are made longer, not more: 32 batches of several values are enough."""
SHORTEST_WINDOW_S = 0.02
"""So that beginning and ending a window (some 0.1 ms) are below 1 % of it, whatever the meter."""

STEP, FORWARD_BACKWARD, UPDATE = "step", "forward and backward", "update"

_ABOUT_AS_LONG = 1.1
_MARGIN = 1.1
"""Windows are planned this much longer than the meter needs, because the next one may be quicker than the probe."""


class Times(NamedTuple):
    """Seconds of one micro-batch forward and backward, and of one update."""

    forward_backward_s: float
    update_s: float


Timed = Callable[[AskedPhase, int], Times]
"""Tries a micro-batch of a phase: raises ModelError where it does not fit."""


class Part(Frozen, frozen=True, kw_only=True):
    """One kind of window: it holds `times` of what it is named after, of which a published step has `weight`."""

    name: str
    times: int
    weight: float


class PhasePlan(Frozen, frozen=True, kw_only=True):
    """How a phase is sampled for `for_s` seconds: one window of each part, again and again.

    `accumulations` are micro-batches a published step, `whole` says that windows hold whole steps, `cycle_s` is what a
    cycle took when it was tried.
    """

    phase: AskedPhase
    micro_batch: int
    accumulations: float
    whole: bool
    parts: tuple[Part, ...]
    cycle_s: float
    for_s: float

    @property
    def steps_each(self) -> float:
        """Published steps of work in a cycle's first window."""
        return self.parts[0].times / self.parts[0].weight


def plan(
    phases: Sequence[AskedPhase],
    for_s: float,
    *,
    timed: Timed,
    shortest_s: float,
    micro_batch: int | None = None,
) -> tuple[PhasePlan, ...]:
    """Return how to spend `for_s` seconds on the phases.

    Each phase gets what its interval needs and an even part of the rest. Its micro-batch is the largest that `timed`
    does not refuse, that leaves time for enough cycles, and that divides the published batch where that is a number of
    sequences.

    Args:
        phases: What was asked for.
        for_s: Seconds for all windows, warm-up included.
        timed: Tries a micro-batch.
        shortest_s: How long a window must last for the meter; infinite where its refresh is not known.
        micro_batch: Sequences; found if not given.

    Raises: UsageError: the time is too short, and for what it would not be; or the micro-batch is larger than the
        batch. NotMeasured: no window is long enough for the meter. ModelError: nothing fits.
    """
    if shortest_s == math.inf:
        raise NotMeasured(
            "a meter's refresh is not known, so no window is long enough; name others with --meters, see "
            "`joulebench doctor`"
        )
    shortest_s = max(SHORTEST_WINDOW_S, _MARGIN * shortest_s)
    for phase in phases:
        _check_micro_batch(phase, micro_batch)
    smallest = micro_batch or 1
    tried = [timed(phase, smallest) for phase in phases]
    cycles_s = [_cycle_s(phase, smallest, times, shortest_s) for phase, times in zip(phases, tried, strict=True)]
    shares_s = _shares_s(cycles_s, for_s, phases, smallest)
    return tuple(
        _phase_plan(phase, share_s, times, timed=timed, shortest_s=shortest_s, micro_batch=micro_batch)
        for phase, share_s, times in zip(phases, shares_s, tried, strict=True)
    )


def candidates(sequences: float) -> tuple[int, ...]:
    """Return the micro-batches that make sense for so many sequences a step, from small to large.

    What divides a whole number of sequences, so that steps can be run whole; else powers of two.
    """
    if sequences.is_integer():
        return tuple(each for each in range(1, int(sequences) + 1) if sequences % each == 0)
    return tuple(2**exponent for exponent in range(math.floor(math.log2(sequences)) + 1))


def _check_micro_batch(phase: AskedPhase, micro_batch: int | None) -> None:
    if micro_batch is not None and not 1 <= micro_batch <= phase.sequences:
        raise UsageError(
            f"a published step of phase {phase.name} holds {phase.sequences:g} sequences, so a micro-batch has 1 to "
            f"{math.floor(phase.sequences)}, not {micro_batch}"
        )


def _shares_s(
    cycles_s: Sequence[float], for_s: float, phases: Sequence[AskedPhase], smallest: int
) -> tuple[float, ...]:
    """Return each phase's seconds.

    Raises: UsageError: not even the fewest cycles fit; says how long they take.
    """
    wanted_s = CYCLES_WANTED * math.fsum(cycles_s)
    if CYCLES_LEAST * math.fsum(cycles_s) > for_s:
        each = "; ".join(
            f"{phase.name}: {cycle_s:.3g} s a pair" for phase, cycle_s in zip(phases, cycles_s, strict=True)
        )
        raise UsageError(
            f"{for_s:g} s are too short: with micro-batches of {smallest} an interval needs "
            f"{CYCLES_LEAST} to {CYCLES_WANTED} pairs of windows a phase ({each}); give --for {_long_enough(wanted_s)}"
        )
    spare_s = max(0.0, for_s - wanted_s) / len(cycles_s)
    squeezed = min(1.0, for_s / wanted_s)
    return tuple(squeezed * CYCLES_WANTED * cycle_s + spare_s for cycle_s in cycles_s)


def _long_enough(seconds: float) -> str:
    """Return a duration with a tenth to spare, as `--for` takes it."""
    spared_s = 1.1 * seconds
    return f"{math.ceil(spared_s)}s" if spared_s < 120 else f"{math.ceil(spared_s / 60)}m"


def _cycle_s(phase: AskedPhase, micro_batch: int, times: Times, shortest_s: float) -> float:
    """Return the seconds of the shortest cycle."""
    return min(
        _cost_s(parts, phase, micro_batch, times)
        for parts in _ways(phase, micro_batch, times, shortest_s, at_least_s=0.0)
    )


def _ways(
    phase: AskedPhase, micro_batch: int, times: Times, shortest_s: float, *, at_least_s: float
) -> list[tuple[Part, ...]]:
    """Return how a cycle can be made: of whole steps where k is a whole number, and in two windows where k > 1."""
    k = phase.sequences / micro_batch
    ways: list[tuple[Part, ...]] = []
    if k.is_integer():
        step_s = k * times.forward_backward_s + times.update_s
        ways.append((Part(name=STEP, times=_times(step_s, max(shortest_s, at_least_s)), weight=1.0),))
    if k > 1:
        updates = _times(times.update_s, shortest_s)
        rest_s = at_least_s - updates * times.update_s
        runs = _times(times.forward_backward_s, max(shortest_s, rest_s))
        ways.append((Part(name=FORWARD_BACKWARD, times=runs, weight=k), Part(name=UPDATE, times=updates, weight=1.0)))
    return ways


def _times(each_s: float, at_least_s: float) -> int:
    return max(1, math.ceil(at_least_s / each_s)) if each_s > 0 else 1


def _cost_s(parts: tuple[Part, ...], phase: AskedPhase, micro_batch: int, times: Times) -> float:
    seconds = {
        STEP: phase.sequences / micro_batch * times.forward_backward_s + times.update_s,
        FORWARD_BACKWARD: times.forward_backward_s,
        UPDATE: times.update_s,
    }
    return math.fsum(part.times * seconds[part.name] for part in parts)


def _phase_plan(
    phase: AskedPhase, share_s: float, times: Times, *, timed: Timed, shortest_s: float, micro_batch: int | None
) -> PhasePlan:
    size = micro_batch or 1
    if micro_batch is None:
        size, times = _largest(phase, share_s, times, timed, shortest_s)
    at_least_s = share_s / CYCLES_MOST
    ways = _ways(phase, size, times, shortest_s, at_least_s=at_least_s)
    costs = [_cost_s(parts, phase, size, times) for parts in ways]
    # Whole steps come first, and are taken where they leave enough cycles; else what is quickest.
    most_s = _longest_cycle_s(share_s, min(costs))
    chosen = next((number for number, cost_s in enumerate(costs) if cost_s <= most_s), costs.index(min(costs)))
    return PhasePlan(
        phase=phase,
        micro_batch=size,
        accumulations=phase.sequences / size,
        whole=ways[chosen][0].name == STEP,
        parts=ways[chosen],
        cycle_s=costs[chosen],
        for_s=share_s,
    )


def _largest(phase: AskedPhase, share_s: float, times: Times, timed: Timed, shortest_s: float) -> tuple[int, Times]:
    """Return the largest micro-batch that fits memory and time, with its times.

    Larger ones take at most in proportion longer, so each trial says how far the next may go.
    """
    known = candidates(phase.sequences)
    size, most = 1, known[-1]
    most_s = _longest_cycle_s(share_s, _cycle_s(phase, size, times, shortest_s))
    while True:
        quick = [
            each
            for each in known
            if size < each <= most and _cycle_s(phase, each, _scaled(times, each / size), shortest_s) <= most_s
        ]
        if not quick:
            return size, times
        try:
            size, times = quick[-1], timed(phase, quick[-1])
        except ModelError:
            most = quick[-1] - 1


def _longest_cycle_s(share_s: float, shortest_cycle_s: float) -> float:
    """Return how long a cycle may be: it leaves the cycles that are wanted, or the fewest where time is short.

    Where a meter sets how long windows are, all micro-batches have about the same cycle, so the shortest one and a
    little more is always allowed.
    """
    wanted = CYCLES_WANTED if CYCLES_WANTED * shortest_cycle_s <= share_s else CYCLES_LEAST
    return max(share_s / wanted, _ABOUT_AS_LONG * shortest_cycle_s)


def _scaled(times: Times, factor: float) -> Times:
    return Times(times.forward_backward_s * factor, times.update_s)
