"""Which GPUs this process sees, in CUDA's order, and which of them cannot be metered at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from harness.records import Missing

MIG = "a MIG slice has no energy counter of its own, and the board's counter would bill its neighbours"

CEILING_W = 4000.0
"""Above any board or module sold (2026: at most about 1.4 kW a GPU, 2.9 kW a module)."""
CEILING_OVER_LIMIT = 2.0
"""A GPU's ceiling over the highest power limit that it can be given; short peaks go above the limit."""


class Gpu(NamedTuple):
    """One visible GPU: its domain, its NVML handle and what it is called."""

    domain: str
    handle: Any
    name: str
    uuid: str


class _Listed(NamedTuple):
    handle: Any
    name: str
    uuid: str
    silent: str | None


def driver_present() -> bool:
    """Return whether an NVIDIA driver is here, without importing or initialising anything of it."""
    if Path("/dev/nvidiactl").exists():
        return True
    import ctypes

    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return False
    return True


def visible(nvml: Any, environment: Mapping[str, str]) -> tuple[list[Gpu], list[Missing], tuple[str, ...]]:
    """Return the GPUs CUDA would show, in its order, with `CUDA_VISIBLE_DEVICES` honoured.

    Returns:
        The GPUs that answer, what is missing with reasons, and notes about the order.
    """
    try:
        listed = [_listed(nvml, index) for index in range(nvml.nvmlDeviceGetCount())]
    except nvml.NVMLError as error:
        return [], [Missing(domain="gpu", reason=f"the GPUs could not be listed: {error}")], ()
    mixed = len({gpu.name for gpu in listed}) > 1 and environment.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID"
    asked = environment.get("CUDA_VISIBLE_DEVICES")
    chosen = list(range(len(listed)))
    notes: tuple[str, ...] = ()
    if asked is not None:
        tokens = [token.strip() for token in asked.split(",")]
        refused = _refused(asked, tokens, mixed=mixed)
        if refused is not None:
            return [], [Missing(domain="gpu", reason=refused)], ()
        chosen = choose(tokens, [gpu.uuid for gpu in listed])
        if not chosen:
            return [], [Missing(domain="gpu", reason=f"CUDA_VISIBLE_DEVICES={asked!r} hides every GPU")], ()
    elif mixed:
        notes = ("domains count in NVML's order, which may differ from CUDA's where GPUs are not alike",)
    gpus, missing = [], []
    for place, index in enumerate(chosen):
        found = listed[index]
        why_not = found.silent or _sliced(nvml, found.handle)
        if why_not is None:
            gpus.append(Gpu(f"gpu{place}", found.handle, found.name, found.uuid))
        else:
            missing.append(Missing(domain=f"gpu{place}", reason=f"{found.name}: {why_not}"))
    return gpus, missing, notes


def choose(tokens: list[str], uuids: list[str]) -> list[int]:
    """Return the indices that the entries of `CUDA_VISIBLE_DEVICES` name.

    As in CUDA the first entry that names no GPU ends the list, and a GPU named twice empties it.
    """
    chosen: list[int] = []
    for token in tokens:
        if token.isascii() and token.isdecimal() and int(token) < len(uuids):
            chosen.append(int(token))
            continue
        matches = [index for index, uuid in enumerate(uuids) if token.startswith("GPU-") and uuid.startswith(token)]
        if len(matches) != 1:
            break
        chosen.append(matches[0])
    return chosen if len(set(chosen)) == len(chosen) else []


def ceiling_w(nvml: Any, handle: Any, *, module: bool) -> float:
    """Return the power in watts above which a reading of this GPU cannot be right."""
    if module:
        return CEILING_W
    try:
        highest_mw = nvml.nvmlDeviceGetPowerManagementLimitConstraints(handle)[1]
    except nvml.NVMLError:
        return CEILING_W
    return min(CEILING_W, CEILING_OVER_LIMIT * highest_mw / 1e3) if highest_mw > 0 else CEILING_W


def _listed(nvml: Any, index: int) -> _Listed:
    """Return one GPU; one that does not answer keeps its place, so that the others keep their numbers."""
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        return _Listed(handle, str(nvml.nvmlDeviceGetName(handle)), str(nvml.nvmlDeviceGetUUID(handle)), None)
    except nvml.NVMLError as error:
        return _Listed(None, f"GPU {index} of NVML", "", f"does not answer: {error}")


def _refused(asked: str, tokens: list[str], *, mixed: bool) -> str | None:
    if any(token.startswith("MIG-") for token in tokens):
        return f"CUDA_VISIBLE_DEVICES={asked}: {MIG}"
    if mixed and any(token.isdecimal() for token in tokens):
        return (
            f"CUDA_VISIBLE_DEVICES={asked} counts in CUDA's order, which differs from NVML's where GPUs are not "
            "alike; set CUDA_DEVICE_ORDER=PCI_BUS_ID or name the GPUs by UUID"
        )
    return None


def _sliced(nvml: Any, handle: Any) -> str | None:
    try:
        enabled = nvml.nvmlDeviceGetMigMode(handle)[0]
    except nvml.NVMLError:
        return None  # GPUs without MIG refuse the question
    return f"MIG is enabled: {MIG}" if enabled else None
