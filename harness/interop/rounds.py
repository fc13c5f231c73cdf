"""joulebench windows around pytest-benchmark's own rounds, through the timer it calls at both ends of each.

pytest-benchmark decides how many rounds of how many calls it runs; its timer is told once when a round begins
and once when it ends. `RoundTimer` stands in that timer's place: at the beginning the meters are read before the
clock, at the end after it, so the seconds are those of the timer itself, and a round is one window.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING, Any

from harness.errors import InvalidMeasurement
from harness.interop import energy_info
from harness.interop.energy_info import EnergyInfo
from harness.measuring import Window, measure
from harness.measuring.session import session_of
from harness.records import Doubt

if TYPE_CHECKING:
    import pytest

METERS = ("auto",)

WINDOW_COSTS = 100
"""A round lasts at least this many times what opening and closing a window costs, so windows take 1 % at most."""


class RoundTimer:
    """A timer for pytest-benchmark that opens a window at each first call and closes it at each second.

    It does so only from the moment at which the statistics exist, that is after calibration.
    """

    def __init__(self, name: str, timer: Callable[[], float]) -> None:
        self.__name__ = getattr(timer, "__name__", repr(timer))
        self.__module__ = getattr(timer, "__module__", "")
        self._timer = timer
        self._measurement = measure(name, meters=METERS)
        self._benchmark: Any = None
        self._began: float | None = None
        self._durations: list[float] = []

    def attach(self, benchmark: Any) -> None:
        """Measure the rounds of this fixture."""
        self._benchmark = benchmark

    def __call__(self) -> float:
        """Return the timer's value in its own unit, seconds by default."""
        if self._began is not None:
            now = self._timer()
            self._measurement.__exit__(None, None, None)
            self._durations.append(now - self._began)
            self._began = None
            return now
        if self._benchmark is None or self._benchmark.stats is None:
            return self._timer()
        self._measurement.__enter__()
        self._began = self._timer()
        return self._began

    def windows(self) -> list[Window]:
        """Return the windows of the rounds that pytest-benchmark kept, in its order; warm-up rounds are left out.

        Raises: InvalidMeasurement: the rounds kept are not those that were measured.
        """
        kept, iterations = self._benchmark.stats.stats.data, self._benchmark.stats.iterations
        seen = [duration / iterations for duration in self._durations[-len(kept) :]]
        if not kept or seen != kept:
            raise InvalidMeasurement(
                f"{self._benchmark.name}: pytest-benchmark kept {len(kept)} rounds that are not the "
                f"{len(self._durations)} that were measured; this release of pytest-benchmark times rounds in a way "
                "that joulebench does not know"
            )
        windows = self._measurement.windows[-len(kept) :]
        for window in windows:
            window.tasks = iterations
        return windows

    def close(self) -> None:
        """Close a window that an exception left open, and let go of all of them."""
        if self._began is not None:
            self._measurement.__exit__(None, None, None)
            self._began = None
        self._measurement.windows.clear()
        self._durations.clear()
        self._benchmark = None


def shortest_round_s() -> float:
    """Return how long a round must last in seconds: for 1 % on the meters, and for windows to cost 1 %.

    Where a meter's refresh is unknown no length is enough, and the windows' own cost alone decides.
    """
    session = session_of(METERS)
    needed_s = session.interpreter(test=True).shortest_s
    costs_s = []
    for _ in range(7):
        begun_s = time.perf_counter()
        with measure("empty", meters=METERS):
            pass
        costs_s.append(time.perf_counter() - begun_s)
    floor_s = WINDOW_COSTS * median(costs_s)
    return floor_s if needed_s == float("inf") else max(needed_s, floor_s)


def prepare(item: pytest.Item, shortest_s: float) -> RoundTimer:
    """Give the test a `benchmark` marker with our timer and rounds that last long enough; its own settings stay."""
    import pytest
    from pytest_benchmark.utils import load_timer

    marker = item.get_closest_marker("benchmark")
    options: dict[str, Any] = dict(marker.kwargs) if marker else {}
    inner = options.get("timer") or load_timer(item.config.getoption("benchmark_timer")).target  # type: ignore[no-untyped-call]
    timer = RoundTimer(item.name, inner)
    asked_s = float(options.get("min_time", item.config.getoption("benchmark_min_time")))
    options |= {"timer": timer, "min_time": max(asked_s, shortest_s)}
    item.add_marker(pytest.mark.benchmark(*(marker.args if marker else ()), **options), append=False)
    return timer


def collect(timer: RoundTimer, benchmark: Any, shortest_s: float, *, pedantic: bool) -> EnergyInfo:
    """Return the joules of the rounds, and leave them in `benchmark.extra_info`.

    Rounds that `pedantic` made shorter than `shortest_s` seconds have the doubt `WINDOW_TOO_SHORT`.
    """
    import msgspec

    iterations, windows = benchmark.stats.iterations, timer.windows()
    info = energy_info.summarise(windows, iterations, session_of(METERS).interpreter().infos())
    if iterations > 1:
        why = (
            "as the test asks" if pedantic else f"so that its window lasts the {shortest_s:.3g} s that meters need here"
        )
        info = msgspec.structs.replace(info, batched=f"each round holds {iterations} calls, {why}")
    if pedantic and median(window.duration_s for window in windows) < shortest_s:
        doubts = tuple(dict.fromkeys((*info.doubts, Doubt.WINDOW_TOO_SHORT)))
        info = msgspec.structs.replace(info, doubts=doubts)
    benchmark.extra_info[energy_info.KEY] = msgspec.to_builtins(info)
    return info
