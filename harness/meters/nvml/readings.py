"""The power readings of a GPU: which are offered, over what time and over which parts they are taken.

`NVML_FI_DEV_POWER_INSTANT` is the power now, `NVML_FI_DEV_POWER_AVERAGE` its mean over the last second
(nvml.h: Ampere except GA100, and later). `nvmlDeviceGetPowerUsage`, all that old drivers have, is one or
the other by architecture. Both fields are asked for the GPU and, on superchips such as Grace Hopper, for
the whole module.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

INSTANT = "instant"
AVERAGE = "average"
USAGE = "usage"

AVERAGING_S = 1.0
"""The time over which `NVML_FI_DEV_POWER_AVERAGE` averages (nvml.h)."""

GPU = "gpu"
MODULE = "module"
UNCLEAR = "unclear"

_PARTS = {
    GPU: "GPU board: chip and its memory; every process on it",
    MODULE: "module, not the board alone: GPU, its memory and the CPU beside it; every process on it",
    UNCLEAR: "GPU or the whole module with its CPU, the driver does not say which; every process on it",
}

SCOPE_RATIO = 1.25
"""A counter within this factor of one scope's power, and further from the other's, counts that scope."""

_SCOPE_ROUNDS = 20
_SCOPE_PAUSE_S = 0.1

_VALUES = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
"""The member of `nvmlValue_t` that each `nvmlValueType_t` fills, in its order."""


class PowerReading(NamedTuple):
    """One way to read a GPU's power: what it averages over in seconds (0: nothing), and over which parts."""

    kind: str
    scope: str
    averaging_s: float
    read_mw: Callable[[], int]
    about: str


def boundary(scope: str, reading: PowerReading | None = None) -> str:
    """Return in words what the joules of a counter, or of an integrated power reading, are the joules of."""
    return _PARTS[scope] if reading is None else f"{_PARTS[scope]}; {reading.about}, sampled and integrated"


def offered(nvml: Any, handle: Any) -> tuple[PowerReading, ...]:
    """Return the power readings that answer with a power, best first.

    The GPU's own come before the module's, instantaneous ones before averages; the old call only where
    neither field answers.
    """
    found = []
    for scope, scope_id in ((GPU, nvml.NVML_POWER_SCOPE_GPU), (MODULE, nvml.NVML_POWER_SCOPE_MODULE)):
        for kind, field, averaging_s, about in (
            (INSTANT, nvml.NVML_FI_DEV_POWER_INSTANT, 0.0, "instantaneous power"),
            (AVERAGE, nvml.NVML_FI_DEV_POWER_AVERAGE, AVERAGING_S, "power averaged over 1 s"),
        ):
            read_mw = partial(_field_mw, nvml, handle, field, scope_id)
            found.append(PowerReading(kind, scope, averaging_s, read_mw, about))
    answering = [reading for reading in found if _answers(nvml, reading)]
    if not any(reading.scope == GPU for reading in answering):
        usage = _usage(nvml, handle)
        answering = [usage] * _answers(nvml, usage) + answering
    return tuple(answering)


def counter_scope(
    nvml: Any,
    handle: Any,
    readings: tuple[PowerReading, ...],
    *,
    now_s: Callable[[], float],
    sleep: Callable[[float], None],
) -> str:
    """Return whether an energy counter counts the GPU or the module, by setting it against both powers.

    The driver does not say what the counter of a superchip covers. Without a module reading it is a GPU.

    Raises: NVMLError: the counter could not be read.
    """
    by_scope = {reading.scope: reading.read_mw for reading in reversed(readings)}
    if MODULE not in by_scope:
        return GPU
    if GPU not in by_scope:
        return UNCLEAR
    sums_w = dict.fromkeys(by_scope, 0.0)
    start_s, start_mj = now_s(), nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    for _ in range(_SCOPE_ROUNDS):
        sleep(_SCOPE_PAUSE_S)
        for scope, read_mw in by_scope.items():
            sums_w[scope] += read_mw() / 1e3 / _SCOPE_ROUNDS
    counted_w = (nvml.nvmlDeviceGetTotalEnergyConsumption(handle) - start_mj) / 1e3 / (now_s() - start_s)
    return likelier_scope(counted_w, sums_w[GPU], sums_w[MODULE])


def likelier_scope(counted_w: float, gpu_w: float, module_w: float) -> str:
    """Return the scope whose power, in watts, a counter's mean power agrees with; `unclear` if not just one."""
    if min(counted_w, gpu_w, module_w) <= 0:
        return UNCLEAR
    near = [
        scope
        for scope, power_w in ((GPU, gpu_w), (MODULE, module_w))
        if abs(math.log(counted_w / power_w)) < math.log(SCOPE_RATIO)
    ]
    return near[0] if len(near) == 1 else UNCLEAR


def _usage(nvml: Any, handle: Any) -> PowerReading:
    """Return the old call, with what it means on this architecture (nvml.h)."""
    architecture = _asked(nvml, lambda: nvml.nvmlDeviceGetArchitecture(handle))
    capability = _asked(nvml, lambda: tuple(nvml.nvmlDeviceGetCudaComputeCapability(handle)))
    unknown = architecture is None or architecture == nvml.NVML_DEVICE_ARCH_UNKNOWN
    is_ga100 = architecture == nvml.NVML_DEVICE_ARCH_AMPERE and capability == (8, 0)
    instant = not unknown and (architecture < nvml.NVML_DEVICE_ARCH_AMPERE or is_ga100)
    about = "instantaneous power (GA100 and before)" if instant else "power averaged over 1 s (Ampere and later)"
    if unknown:
        about = "power averaged over 1 s at most (architecture unknown)"
    read_mw = partial(nvml.nvmlDeviceGetPowerUsage, handle)
    return PowerReading(USAGE, GPU, 0.0 if instant else AVERAGING_S, read_mw, about)


def _field_mw(nvml: Any, handle: Any, field: int, scope_id: int) -> int:
    value = nvml.nvmlDeviceGetFieldValues(handle, [(field, scope_id)])[0]
    if value.nvmlReturn != nvml.NVML_SUCCESS:
        raise nvml.NVMLError(value.nvmlReturn)
    return int(getattr(value.value, _VALUES[value.valueType]))


def _answers(nvml: Any, reading: PowerReading) -> bool:
    """Return whether a reading gives a power; GPUs also answer with 0 W to what they do not measure."""
    return bool(_asked(nvml, reading.read_mw))


def _asked(nvml: Any, ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except nvml.NVMLError:
        return None
