"""Power readings turned into joules: the integral, and the thread that takes the readings.

The integral is the trapezoid rule over *every* reading. Keeping only those that changed and joining
them by straight lines would turn 100 W for 9 s and then 300 W for 1 s into 1,800 J (truth: 1,200 J),
and constant power into nothing.

A reading shows the power of up to one refresh ago. How far that can put the integral out is summed
beside it: a step of the power is seen up to one refresh late and its place between two readings is not
known, so it is worth |ΔP|·(Δt/2 + τ); time in which a refresh went unread, Δt − τ, may hide as much
power again as the larger of the two readings. Swings shorter than a refresh are seen by no reading.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

PJ_PER_UJ = 1_000_000
"""Power in mW times nanoseconds gives picojoules."""

GAP_REFRESHES = 5
"""A gap of more than this many refreshes between two readings is a fault."""
GAP_AT_LEAST_S = 0.1
"""Shorter gaps are no fault however quick the refresh: a busy host sets the sampling thread aside."""

POLLS_PER_REFRESH = 2
POLL_AT_LEAST_S = 0.005
"""Sampling faster than this would cost more CPU than it shows: no GPU refreshes its power in under 5 ms."""
UNKNOWN_REFRESH_S = 0.1
"""Sampled as if it were this where the reading never changed while it was watched: the longest update
period that Yang et al. found (SC 2024, over 70 GPUs)."""


class PowerMark(NamedTuple):
    """The state of one integral: sums since it began, and the power reading it ends with.

    `late_uj` is what late readings can have put into or kept out of `energy_uj`, `faults` the moments
    after which a window that spans them has no total.
    """

    energy_uj: int
    late_uj: int
    power_mw: int
    faults: int
    fault: str | None


class PowerIntegrator:
    """The running integral of one power reading; not locked, the owner locks.

    Args:
        refresh_s: how often the reading changes, in seconds; None takes `UNKNOWN_REFRESH_S`.
        ceiling_w: a reading above it is a fault, as is one of 0 or below: a GPU that answers is on.
    """

    def __init__(self, refresh_s: float | None, ceiling_w: float) -> None:
        refresh_s = UNKNOWN_REFRESH_S if refresh_s is None else refresh_s
        self._refresh_ns = round(refresh_s * 1e9)
        self._gap_ns = round(max(GAP_REFRESHES * refresh_s, GAP_AT_LEAST_S) * 1e9)
        self._ceiling_mw = round(ceiling_w * 1e3)
        self._half_pj = 0  # twice the picojoules, so that the trapezoid's half stays whole
        self._late_half_pj = 0
        self._last: tuple[int, int] | None = None
        self._faults = 0
        self._fault_reason: str | None = None

    def feed(self, t_ns: int, power_mw: int) -> None:
        """Take the reading `power_mw` (milliwatts), taken at `t_ns` of a monotonic clock."""
        if not 0 < power_mw <= self._ceiling_mw:
            ceiling_w = self._ceiling_mw / 1e3
            self.fail(f"a power reading was implausible: {power_mw / 1e3:g} W against a ceiling of {ceiling_w:g} W")
            return
        last, self._last = self._last, (t_ns, power_mw)
        if last is None:
            # A window that began while unread holds only a part of its joules, so the new chain is a fault too.
            self._faults += 1 if self._faults else 0
            return
        step_ns, last_mw = t_ns - last[0], last[1]
        if step_ns > self._gap_ns:
            self._fault(f"the power was not read for {step_ns / 1e9:.3g} s (a busy or suspended host, or a long lock)")
            return
        if step_ns < 0:
            self._fault(f"the clock of the power readings went backwards by {-step_ns / 1e9:.3g} s")
            return
        self._half_pj += (power_mw + last_mw) * step_ns
        self._late_half_pj += abs(power_mw - last_mw) * (step_ns + 2 * self._refresh_ns)
        self._late_half_pj += 2 * max(power_mw, last_mw) * max(0, step_ns - self._refresh_ns)

    def fail(self, reason: str) -> None:
        """Take note that a reading failed; the next one starts a new chain."""
        self._last = None
        self._fault(reason)

    def mark(self) -> PowerMark | str:
        """Return the integral up to the last reading, or why there is none to begin or end with."""
        if self._last is None:
            return self._fault_reason or "the power has not been read yet"
        return PowerMark(
            energy_uj=self._half_pj // (2 * PJ_PER_UJ),
            late_uj=self._late_half_pj // (2 * PJ_PER_UJ),
            power_mw=self._last[1],
            faults=self._faults,
            fault=self._fault_reason,
        )

    def _fault(self, reason: str) -> None:
        self._faults += 1
        self._fault_reason = reason


class Probe(NamedTuple):
    """One power reading and its integral; `read_mw` raises the sampler's error type."""

    read_mw: Callable[[], int]
    integrator: PowerIntegrator


def poll_s(refresh_s: float | None) -> float:
    """Return how often, in seconds, to read a power that refreshes every `refresh_s`."""
    return max(POLL_AT_LEAST_S, (UNKNOWN_REFRESH_S if refresh_s is None else refresh_s) / POLLS_PER_REFRESH)


class PowerSampler:
    """Reads powers in the background, and once more at each edge of a window."""

    def __init__(
        self,
        probes: Sequence[Probe],
        period_s: float,
        error: type[Exception],
        clock_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self.period_s = period_s
        self._probes = tuple(probes)
        self._error = error
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()

    def start(self) -> None:
        """Start the thread; it lives until `close`."""
        self._thread = threading.Thread(target=self._run, name="joulebench-gpu-power", daemon=True)
        self._thread.start()

    def sample(self) -> None:
        """Read every power once."""
        with self._lock:
            self._take()

    def marks(self) -> tuple[PowerMark | str, ...]:
        """Read every power now and return the integrals up to this moment."""
        if os.getpid() != self._pid:
            # The thread stayed in the parent, and may have held the lock when the process was forked.
            reason = "this process was forked after the meter was opened; open the meters again in the child"
            return (reason,) * len(self._probes)
        with self._lock:
            self._take()
            return tuple(probe.integrator.mark() for probe in self._probes)

    def cost_s(self, rounds: int = 20) -> float:
        """Return the CPU time of one round of readings, in seconds."""
        before_ns = time.thread_time_ns()
        for _ in range(rounds):
            self.sample()
        return (time.thread_time_ns() - before_ns) / 1e9 / rounds

    def close(self) -> None:
        """Stop reading; the integrals stay as they are. Does nothing in a forked child, which has no thread."""
        if self._thread is not None and os.getpid() == self._pid:
            self._stop.set()
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while not self._stop.wait(self.period_s):
            self.sample()

    def _take(self) -> None:
        for read_mw, integrator in self._probes:
            before_ns = self._clock_ns()
            try:
                power_mw = read_mw()
            except self._error as error:
                integrator.fail(f"the power could not be read: {error}")
                continue
            # The reading was taken somewhere within the call.
            integrator.feed((before_ns + self._clock_ns()) // 2, power_mw)
