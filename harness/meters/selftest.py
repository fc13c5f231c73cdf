"""Each meter checked on this host: does it move, only forward, plausibly, and what does a read cost.

The results go into the notes and figures of `MeterInfo`, which a record keeps. Without hardware
counters the test takes about a tenth of a second.
"""

from __future__ import annotations

import time
from statistics import fmean, median, stdev

import msgspec

from harness.meters.seam import REFRESHES_FOR_1_PERCENT, BilledMeter
from harness.records import MeterInfo, Provenance

COST_READS = 21
_IDLE_WINDOWS = 5
_SHORTEST_IDLE_S = 0.02


def read_cost_s(meter: BilledMeter) -> float:
    """Return the median time of one read in seconds."""
    costs_ns = []
    for _ in range(COST_READS):
        start_ns = time.perf_counter_ns()
        meter.read()
        costs_ns.append(time.perf_counter_ns() - start_ns)
    return median(costs_ns) / 1e9


def costed(meter: BilledMeter) -> MeterInfo:
    """Return the meter's info with its read cost and its window for 1 %."""
    info = meter.info()
    window_s = None if info.refresh_s is None else REFRESHES_FOR_1_PERCENT * info.refresh_s
    return msgspec.structs.replace(info, read_cost_s=read_cost_s(meter), window_for_1_percent_s=window_s)


def self_test(meter: BilledMeter) -> MeterInfo:
    """Return the meter's info with what five idle windows showed about each domain."""
    info = costed(meter)
    return msgspec.structs.replace(info, notes=info.notes + _idle_notes(meter, info))


def _idle_notes(meter: BilledMeter, info: MeterInfo) -> tuple[str, ...]:
    """Return monotonicity, plausibility and idle noise in words."""
    pause_s = max(_SHORTEST_IDLE_S, 2 * (info.refresh_s or 0.0))
    powers_w: dict[str, list[float]] = {}
    faults: list[str] = []
    for _ in range(_IDLE_WINDOWS):
        begin, start_s, start_cpu_s = meter.read(), time.perf_counter(), time.process_time()
        time.sleep(pause_s)
        duration_s, cpu_s = time.perf_counter() - start_s, time.process_time() - start_cpu_s
        energies, missing = meter.energies(begin, meter.read(), duration_s=duration_s, cpu_s=cpu_s)
        faults += [f"{gap.domain}: {gap.reason}" for gap in missing]
        for energy in energies:
            powers_w.setdefault(energy.domain, []).append(energy.energy_j / duration_s)
    state = "asleep" if info.provenance in {Provenance.MODELLED, Provenance.FAKE} else "idle"
    notes = [
        f"self-test: {domain} {state} {fmean(values):.3g} W, sd {stdev(values):.2g} W ({len(values)} × {pause_s:.2g} s)"
        for domain, values in powers_w.items()
        if len(values) > 1
    ]
    if faults:
        notes.append(f"self-test FAILED {len(faults)} of {_IDLE_WINDOWS} times: {faults[0]}")
    else:
        notes.append("self-test: monotonic and plausible")
    return tuple(notes)
