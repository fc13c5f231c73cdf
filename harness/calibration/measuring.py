"""The windows of a calibration: known loads in random order, each with the power the meter saw.

Every block visits every load of every kind of work once, and idle as often as there are kinds, in an order
drawn anew from a logged seed, so that a machine that warms up does not pass for one that is not linear. The load
is what the burners' CPU clocks say, not what was asked, plus what the rest of the host used; a window in
which that was more than 5 % of the host is refused and measured again.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from harness.calibration.burner import KINDS
from harness.calibration.burners import Burners
from harness.calibration.fitting import IDLE, LoadWindow
from harness.counters.edges import Span
from harness.errors import InvalidMeasurement, UsageError
from harness.meters.load import busy_s
from harness.meters.window import HOST_BUSY_SHARE, MeterWindow
from harness.records import Frozen

FEWEST_BLOCKS = 2
_MOST_BLOCKS = 12
_REFRESHES = 10
"""A window may hold fewer refreshes than the 41 for 1 %: the fit averages over many windows."""
_SHORTEST_S = 1.0
_SETTLE_S = 0.5
_ROUNDS = 3
_REFUSED_SHARE = 0.5
"""Share of the planned windows that may be refused before the host is called too busy."""


class Plan(Frozen, frozen=True, kw_only=True):
    """What will be run: `blocks` visits to every load; `levels` are numbers of busy vCPUs, idle not among them."""

    levels: tuple[int, ...]
    kinds: tuple[str, ...]
    blocks: int
    settle_s: float
    window_s: float
    seed: int

    @property
    def total(self) -> int:
        """The number of windows."""
        return self.blocks * len(self.kinds) * (len(self.levels) + 1)

    @property
    def duration_s(self) -> float:
        """How long it takes if nothing is refused, in seconds."""
        return self.total * (self.settle_s + self.window_s)

    def order(self) -> list[tuple[str, int]]:
        """Return (kind, level) of each window in its turn."""
        draw = random.Random(self.seed)  # noqa: S311 an order of experiments, not a secret
        cells = [(kind, level) for kind in self.kinds for level in self.levels] + [(IDLE, 0)] * len(self.kinds)
        return [cell for _ in range(self.blocks) for cell in draw.sample(cells, len(cells))]


class Taken(NamedTuple):
    """One window as it was taken, before the meter is asked: its cell, its edges and the CPU time in it."""

    cell: tuple[str, int]
    span: Span
    busy_vcpus: float
    others_share: float


class Measurements(Frozen, frozen=True, kw_only=True):
    """The windows that count, and why others were refused."""

    windows: tuple[LoadWindow, ...]
    refused: tuple[str, ...]


def plan(for_s: float, *, levels: int, vcpus: int, refresh_s: float | None, seed: int) -> Plan:
    """Return how to spend `for_s` seconds on `levels` loads of up to `vcpus` vCPUs.

    Raises: UsageError: the time is too short for windows that the meter resolves, or its refresh is unknown.
    """
    if refresh_s is None or refresh_s == float("inf"):
        raise UsageError(
            "how often this meter is refreshed is not known, so no window is long enough; see `joulebench doctor`"
        )
    loads = tuple(sorted({round(vcpus * step / levels) for step in range(1, levels + 1)} - {0}))
    cells = len(KINDS) * (len(loads) + 1)
    settle_s, shortest_s = max(_SETTLE_S, 3 * refresh_s), max(_SHORTEST_S, _REFRESHES * refresh_s)
    blocks = min(_MOST_BLOCKS, int(for_s / (cells * (settle_s + shortest_s))))
    if blocks < FEWEST_BLOCKS:
        needed_s = math.ceil(FEWEST_BLOCKS * cells * (settle_s + shortest_s))
        raise UsageError(
            f"{for_s:.0f} s are too short: {FEWEST_BLOCKS} visits to {len(loads)} loads and idle with {len(KINDS)} "
            f"kinds of work take {needed_s} s with a meter refreshed every {refresh_s:.3g} s; "
            f"give --for {needed_s}s, or fewer --levels"
        )
    window_s = for_s / (blocks * cells) - settle_s
    return Plan(levels=loads, kinds=KINDS, blocks=blocks, settle_s=settle_s, window_s=window_s, seed=seed)


def measure(window: MeterWindow, todo: Plan, *, vcpus: int, tell: Callable[[int, int, str], None]) -> Measurements:
    """Run the plan against the meters of a window and return what they saw.

    Args:
        window: the meters; their billed joules are summed.
        todo: what to run.
        vcpus: logical cores of the host, for the share that others used.
        tell: called before each window with how many are done, how many there are, and words.

    Raises:
        InvalidMeasurement: too many windows were refused.
        WorkerFailed: a burner could not start or ended by itself.
    """
    kept: list[LoadWindow] = []
    refused: list[str] = []
    cells = todo.order()
    with Burners(max(todo.levels)) as burners:
        for _ in range(_ROUNDS):
            taken: list[Taken] = []
            again: list[tuple[str, int]] = []
            for cell in cells:
                tell(len(kept) + len(taken), todo.total, _words(cell))
                one = _take(window, burners, cell, todo, vcpus)
                if one.others_share > HOST_BUSY_SHARE:
                    again.append(cell)
                    _refuse(refused, f"other processes used {one.others_share:.0%} of the host", todo)
                else:
                    taken.append(one)
            burners.burn(IDLE, 0)
            for one in taken:  # only now: the series of a wall meter arrives late
                found = _judged(window, one)
                if isinstance(found, LoadWindow):
                    kept.append(found)
                else:
                    again.append(one.cell)
                    _refuse(refused, found, todo)
            cells = again
    if not {(each.kind, each.level) for each in kept} >= set(todo.order()):
        raise InvalidMeasurement(_too_many(refused, todo))
    return Measurements(windows=tuple(kept), refused=tuple(refused))


def _take(window: MeterWindow, burners: Burners, cell: tuple[str, int], todo: Plan, vcpus: int) -> Taken:
    kind, level = cell
    burners.burn(kind, level)
    time.sleep(todo.settle_s)
    begin, begin_cpu_s = window.edges.begin(), burners.cpu_s()
    time.sleep(todo.window_s)
    end_cpu_s, end = burners.cpu_s(), window.edges.end()
    span = Span(begin, end)
    own_s = end_cpu_s - begin_cpu_s + span.cpu_s
    host_s = busy_s(span)
    if host_s is None:
        raise InvalidMeasurement(
            "the CPU time of the host cannot be read from /proc/stat, so the load of other processes is not known; "
            "calibrate on a Linux host that shows it"
        )
    others_s = max(0.0, host_s - own_s)
    return Taken(
        cell=cell,
        span=span,
        busy_vcpus=(own_s + others_s) / span.duration_s,
        others_share=others_s / (span.duration_s * vcpus),
    )


def _judged(window: MeterWindow, one: Taken) -> LoadWindow | str:
    """Return the window with its power, or why the meter has none for it."""
    measured = window.interpret(one.span)
    lost = [f"{gap.domain}: {gap.reason}" for gap in measured.missing if gap.billed]
    billed = [energy.energy_j for energy in measured.energies if energy.billed]
    if lost or not billed:
        return "; ".join(lost) or "the meter gave no joules"
    kind, level = one.cell
    return LoadWindow(kind=kind, level=level, busy_vcpus=one.busy_vcpus, power_w=sum(billed) / one.span.duration_s)


def _refuse(refused: list[str], reason: str, todo: Plan) -> None:
    """Keep the reason; give up once there are too many."""
    refused.append(reason)
    if len(refused) > _REFUSED_SHARE * todo.total:
        raise InvalidMeasurement(_too_many(refused, todo))


def _too_many(refused: Sequence[str], todo: Plan) -> str:
    return (
        f"{len(refused)} windows were refused of {todo.total} planned, the last because {refused[-1]}. Stop other "
        "work on this host or wait until it ends, check the meter with `joulebench doctor`, and calibrate again "
        f"(seed {todo.seed})"
    )


def _words(cell: tuple[str, int]) -> str:
    kind, level = cell
    return f"{kind} on {level} vCPU{'' if level == 1 else 's'}" if level else IDLE
