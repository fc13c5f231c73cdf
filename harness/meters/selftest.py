"""Each meter checked on this host: does it move, only forward, plausibly, and what does a read cost.

All meters are tested in the same idle windows. Without hardware counters that takes a tenth of a second.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from statistics import fmean, median, stdev

import msgspec

from harness.meters.memory import recall, remember
from harness.meters.seam import REFRESHES_AT_LEAST, REFRESHES_FOR_1_PERCENT, BilledMeter
from harness.records import IdlePower, MeterInfo, SelfTest

COST_READS = 21
_WINDOWS = 5
_FEWEST_WINDOWS = 2
_LONG_S = 0.5
"""Windows longer than this are taken `_FEWEST_WINDOWS` times only: a slow meter must not hold up a run."""
_SHORTEST_S = 0.02
_LONGEST_S = 10.0


def costed(meter: BilledMeter) -> MeterInfo:
    """Return the meter's info with its read cost (median, seconds) and its window for 1 %."""
    costs_ns = []
    for _ in range(COST_READS):
        start_ns = time.perf_counter_ns()
        meter.read()
        costs_ns.append(time.perf_counter_ns() - start_ns)
    info = meter.info()
    window_s = None if info.refresh_s is None else REFRESHES_FOR_1_PERCENT * info.refresh_s
    return msgspec.structs.replace(info, read_cost_s=median(costs_ns) / 1e9, window_for_1_percent_s=window_s)


def tested(meters: Sequence[BilledMeter]) -> list[MeterInfo]:
    """Return each meter's info with its self-test: the one of this boot if it was made, else a new one."""
    infos = [meter.info() for meter in meters]
    known = [recall(info) for info in infos]
    if all(info is not None for info in known):
        return [info for info in known if info is not None]
    fresh = self_test(meters)
    remember(fresh)
    return fresh


def self_test(meters: Sequence[BilledMeter]) -> list[MeterInfo]:
    """Return each meter's info with what idle windows showed about its domains."""
    infos = [costed(meter) for meter in meters]
    slowest_s = max((info.refresh_s or 0.0 for info in infos), default=0.0)
    pause_s = min(_LONGEST_S, max(_SHORTEST_S, (REFRESHES_AT_LEAST + 1) * slowest_s))
    count = _WINDOWS if pause_s <= _LONG_S else _FEWEST_WINDOWS
    powers_w: list[dict[str, list[float]]] = [{} for _ in meters]
    faults: list[list[str]] = [[] for _ in meters]
    for _ in range(count):
        begin = [meter.read() for meter in meters]
        start_s, start_cpu_s = time.perf_counter(), time.process_time()
        time.sleep(pause_s)
        duration_s, cpu_s = time.perf_counter() - start_s, time.process_time() - start_cpu_s
        end = [meter.read() for meter in meters]
        for index, meter in enumerate(meters):
            energies, missing = meter.energies(begin[index], end[index], duration_s=duration_s, cpu_s=cpu_s)
            faults[index] += [f"{gap.domain}: {gap.reason}" for gap in missing]
            for energy in energies:
                powers_w[index].setdefault(energy.domain, []).append(energy.energy_j / duration_s)
    return [
        msgspec.structs.replace(info, self_test=_result(count, pause_s, powers, found))
        for info, powers, found in zip(infos, powers_w, faults, strict=True)
    ]


def _result(count: int, pause_s: float, powers_w: dict[str, list[float]], faults: list[str]) -> SelfTest:
    # The meters refuse what goes backwards or leaps, so the refusals are the test.
    return SelfTest(
        tested_utc=dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        windows=count,
        window_s=pause_s,
        monotonic=not any("backwards" in fault for fault in faults),
        plausible=not faults,
        idle=tuple(
            IdlePower(domain=domain, mean_w=fmean(values), sd_w=stdev(values))
            for domain, values in powers_w.items()
            if len(values) > 1
        ),
        faults=tuple(dict.fromkeys(faults)),
    )
