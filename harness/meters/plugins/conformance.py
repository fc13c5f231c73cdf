"""What a meter lacks to be one: the checks behind every plug-in, for our tests and for yours."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from harness.meters.seam import BilledMeter
from harness.records import Energy, Missing, Provenance

_UNBILLABLE = {Provenance.IMPORTED, Provenance.FAKE}


def violations(meter: BilledMeter) -> tuple[str, ...]:
    """Return what is wrong with what the meter says of itself; empty when nothing is."""
    info = meter.info()
    problems = []
    if info.name != meter.name:
        problems.append(f"info().name is {info.name!r}, name is {meter.name!r}")
    if not info.domains:
        problems.append("info().domains is empty")
    if not info.boundary:
        problems.append("info().boundary is empty: say what the joules were drawn by")
    if info.self_test is not None:
        problems.append("info().self_test is set: the self-test fills it, not the meter")
    if extra := sorted(meter.billed - set(info.domains)):
        problems.append(f"billed names domains that info() does not: {', '.join(extra)}")
    if meter.billed and info.provenance in _UNBILLABLE:
        problems.append(f"joules of provenance {info.provenance.value} are never billed")
    if info.refresh_s is not None and not (isfinite(info.refresh_s) and info.refresh_s >= 0):
        problems.append(f"info().refresh_s is {info.refresh_s}; write None where it is not known")
    return tuple(problems)


def window_violations(
    meter: BilledMeter, energies: Sequence[Energy], missing: Sequence[Missing], *, duration_s: float
) -> tuple[str, ...]:
    """Return what is wrong with the result of one window of this meter; empty when nothing is."""
    problems = []
    domains = [energy.domain for energy in energies] + [gap.domain for gap in missing]
    expected = set(meter.info().domains)
    if duplicates := sorted({domain for domain in domains if domains.count(domain) > 1}):
        problems.append(f"domains given twice: {', '.join(duplicates)}")
    if set(domains) != expected:
        problems.append(f"a window must give each of {sorted(expected)} as joules or as missing, not {sorted(domains)}")
    problems += [f"{gap.domain}: missing without a reason" for gap in missing if not gap.reason]
    for energy in energies:
        problems += [f"{energy.domain}: {problem}" for problem in _energy_problems(meter, energy, duration_s)]
    return tuple(problems)


def _energy_problems(meter: BilledMeter, energy: Energy, duration_s: float) -> list[str]:
    problems = []
    if not (isfinite(energy.energy_j) and energy.energy_j >= 0):
        problems.append(f"{energy.energy_j} J")
    if energy.energy_j == 0 and not (energy.high_j or 0) > 0:
        problems.append(f"0 J without an upper bound in {duration_s:.3g} s: nothing was measured, so it is missing")
    if energy.meter != meter.name:
        problems.append(f"meter is {energy.meter!r}, not {meter.name!r}")
    if energy.billed != (energy.domain in meter.billed):
        problems.append(f"billed is {energy.billed}, which meter.billed contradicts")
    if energy.provenance is not meter.info().provenance:
        problems.append(f"provenance {energy.provenance.value} differs from info()'s")
    if energy.low_j is not None and energy.high_j is not None and not energy.low_j <= energy.energy_j <= energy.high_j:
        problems.append(f"{energy.energy_j} J lies outside [{energy.low_j}, {energy.high_j}]")
    return problems
