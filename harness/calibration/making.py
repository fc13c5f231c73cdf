"""From a fit to the profile that is kept."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from harness.calibration.fitting import Fit
from harness.calibration.measuring import Measurements, Plan
from harness.host import Host
from harness.meters.profiles import VERSION, CpuType, Profile
from harness.records import Frozen


class Against(Frozen, frozen=True, kw_only=True):
    """What a calibration was made against: the meter, its boundary, and whether it sees the whole machine."""

    meter: str
    boundary: str
    whole_machine: bool


def make_profile(
    found: Fit, against: Against, *, todo: Plan, measurements: Measurements, cpu: CpuType, host: Host, code_version: str
) -> Profile:
    """Return the profile of a fit.

    Args:
        found: the fit.
        against: what it was made against.
        todo: the plan that was run, for its seed.
        measurements: its windows, for the number refused.
        cpu: the type of CPU it holds for.
        host: the host it was made on; its governor, turbo and virtualisation go into the notes.
        code_version: the version of joulebench.
    """
    return Profile(
        version=VERSION,
        name=profile_name(cpu, against.meter),
        cpu=cpu,
        vcpus=host.cores_online or 1,
        against=against.meter,
        boundary=against.boundary,
        whole_machine=against.whole_machine,
        idle_w=found.idle_w,
        dynamic_w=found.dynamic_w,
        dynamic_low_w=found.dynamic_low_w,
        dynamic_high_w=found.dynamic_high_w,
        low_w=found.low_w,
        high_w=found.high_w,
        error_w=found.error_w,
        residual_w=found.residual_w,
        linear=found.linear,
        levels=found.levels,
        seed=todo.seed,
        windows=found.windows,
        refused=len(measurements.refused),
        created_utc=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        code_version=code_version,
        notes=_notes(found, host),
    )


def profile_name(cpu: CpuType, meter: str) -> str:
    """Return a name such as `amd-epyc-7763-64-core-processor-rapl`, made of the CPU and the meter."""
    words = f"{cpu.brand or f'{cpu.vendor} {cpu.family} {cpu.model}'} {meter}"
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def _notes(found: Fit, host: Host) -> tuple[str, ...]:
    kinds = ", ".join(f"{kind} {watts:.3g}" for kind, watts in found.by_kind_w.items())
    notes = [
        f"watts per busy vCPU by kind of work: {kinds}",
        f"governor {host.governor or 'unknown'}, turbo {host.turbo or 'unknown'}, kernel {host.kernel}",
    ]
    if host.vm:
        notes.append("made inside a virtual machine: other guests of the same host are in its idle and its noise")
    return tuple(notes)
