"""What a GPU says of itself at the edges of a window: temperature, clocks, power limit, clock reasons."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from harness.records import DeviceState

REASONS = {
    0x001: "idle",
    0x002: "application-clocks",
    0x004: "sw-power-cap",
    0x008: "hw-slowdown",
    0x010: "sync-boost",
    0x020: "sw-thermal",
    0x040: "hw-thermal",
    0x080: "hw-power-brake",
    0x100: "display-clock",
}
"""The bits of `nvmlClocksEventReasons` (nvml.h), called throttle reasons by drivers before 535."""

SLOWDOWNS = frozenset({"hw-slowdown", "sw-thermal", "hw-thermal", "hw-power-brake"})
"""The reasons that make a window doubtful: heat, and a supply or a board that pulls the brake.

They belong to the room and the hour, so they set two windows of one configuration apart. The power cap
does not count: a loaded GPU held at the limit it was given is the configuration that is being measured,
and the limit is recorded. Neither do idleness, clocks that someone set, or clocks kept in step.
"""


def slowed(states: Iterable[DeviceState]) -> bool:
    """Return whether any device was slowed by heat or by its power brake (`SLOWDOWNS`)."""
    return any(SLOWDOWNS.intersection(state.throttled or ()) for state in states)


def device_state(nvml: Any, handle: Any, domain: str, edge: str) -> DeviceState:
    """Return what a GPU says of itself now; each field is None where it does not say."""
    reasons = _first(
        nvml,
        lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(handle),
        lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle),
    )
    celsius = _first(
        nvml,
        lambda: nvml.nvmlDeviceGetTemperatureV(handle, nvml.NVML_TEMPERATURE_GPU),
        lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
    )
    core_mhz = _first(nvml, lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM))
    memory_mhz = _first(nvml, lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM))
    limit_mw = _first(nvml, lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle))
    return DeviceState(
        domain=domain,
        edge=edge,
        temperature_c=None if celsius is None else float(celsius),
        core_clock_hz=None if core_mhz is None else core_mhz * 1e6,
        memory_clock_hz=None if memory_mhz is None else memory_mhz * 1e6,
        power_limit_w=None if limit_mw is None else limit_mw / 1e3,
        throttled=None if reasons is None else _named(reasons),
    )


def _first(nvml: Any, *asks: Callable[[], Any]) -> int | None:
    """Return the first answer: drivers know either the new name of a question or the old one."""
    for ask in asks:
        try:
            return int(ask())
        except nvml.NVMLError:
            continue
    return None


def _named(reasons: int) -> tuple[str, ...]:
    bits = [1 << place for place in range(reasons.bit_length()) if reasons >> place & 1]
    return tuple(REASONS.get(bit, f"reason-{bit:#x}") for bit in bits)
