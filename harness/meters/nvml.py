"""The energy counters of NVIDIA GPUs, through NVML (`pynvml` of nvidia-ml-py).

`nvmlDeviceGetTotalEnergyConsumption` counts millijoules of the whole board since the driver was
loaded (Volta and later). It is published in steps of 20 to 100 ms, so its refresh period is watched
at opening and a window must be 41 of them long for 1 %. Where the counter is not offered the GPU is
missing; integrating sampled power instead is a later meter and not done here.

Domains are `gpu0`, `gpu1` … in the order CUDA shows the GPUs to this process, so `gpu0` is torch's
`cuda:0`. The caller synchronises the GPU before a window ends.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from harness.meters.seam import REFRESHES_FOR_1_PERCENT, watch_refresh
from harness.records import Doubt, Energy, MeterInfo, Missing, Provenance
from harness.units import j_from_mj

BOUNDARY = "GPU board: chip and its memory; every process on it"
CEILING_W = 4000.0
"""Above any board or module sold (2026: at most about 1.4 kW a GPU, 2.7 kW a module)."""
WATCH_S = 1.5

_NO_LIBRARY = (
    "NVIDIA driver library not found (libnvidia-ml.so.1, /dev/nvidiactl): no NVIDIA GPU here, or its driver is not "
    "installed or not passed into this container"
)


class Gpu:
    """One visible GPU: its domain, its NVML handle and what it is called."""

    def __init__(self, domain: str, handle: Any, name: str, uuid: str) -> None:
        self.domain = domain
        self.handle = handle
        self.name = name
        self.uuid = uuid
        self.refresh_s: float | None = None


class NvmlMeter:
    """The energy counters of the visible GPUs. Open with `open_nvml`."""

    name = "nvml"
    doubts: tuple[Doubt, ...] = ()

    def __init__(self, nvml: Any, gpus: list[Gpu]) -> None:
        self._nvml = nvml
        self._gpus = gpus
        self._open = True
        self.billed = frozenset(gpu.domain for gpu in gpus)
        known = [gpu.refresh_s for gpu in gpus if gpu.refresh_s is not None]
        self._refresh_s = max(known) if len(known) == len(gpus) else None

    def read(self) -> tuple[int | str, ...]:
        """Return each GPU's counter in millijoules, or why it could not be read."""
        return tuple(self._read_mj(gpu.handle) for gpu in self._gpus)

    def energies(
        self, begin: tuple[int | str, ...], end: tuple[int | str, ...], *, duration_s: float, cpu_s: float
    ) -> tuple[tuple[Energy, ...], tuple[Missing, ...]]:
        """Return the joules of each GPU; a counter that failed, fell, stood still or leapt is Missing."""
        del cpu_s
        energies, missing = [], []
        for gpu, begin_mj, end_mj in zip(self._gpus, begin, end, strict=True):
            reason = _refusal(begin_mj, end_mj, duration_s, gpu.refresh_s)
            if reason is not None or isinstance(begin_mj, str) or isinstance(end_mj, str):
                missing.append(Missing(domain=gpu.domain, reason=f"{gpu.name}: {reason}"))
                continue
            energies.append(
                Energy(
                    domain=gpu.domain,
                    energy_j=j_from_mj(end_mj - begin_mj),
                    provenance=Provenance.COUNTER,
                    boundary=BOUNDARY,
                    meter=self.name,
                )
            )
        return tuple(energies), tuple(missing)

    def info(self) -> MeterInfo:
        """Return the GPUs and the slowest refresh period among them."""
        refresh_s = self._refresh_s
        notes = [f"{gpu.domain}: {gpu.name}, {gpu.uuid}" for gpu in self._gpus]
        if refresh_s is None:
            notes.append(f"a counter changed only once in {WATCH_S} s: no window can be called long enough")
        return MeterInfo(
            name=self.name,
            domains=tuple(gpu.domain for gpu in self._gpus),
            provenance=Provenance.COUNTER,
            boundary=BOUNDARY,
            refresh_s=refresh_s,
            window_for_1_percent_s=None if refresh_s is None else REFRESHES_FOR_1_PERCENT * refresh_s,
            notes=tuple(notes),
        )

    def close(self) -> None:
        """Shut NVML down once."""
        if self._open:
            self._open = False
            self._nvml.nvmlShutdown()

    def _read_mj(self, handle: Any) -> int | str:
        try:
            return int(self._nvml.nvmlDeviceGetTotalEnergyConsumption(handle))
        except self._nvml.NVMLError as error:
            return f"the energy counter could not be read: {error}"


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


def open_nvml(*, watch_s: float = WATCH_S) -> tuple[NvmlMeter | None, tuple[Missing, ...]]:
    """Open the counters of the visible GPUs and watch them for up to `watch_s` seconds.

    Returns:
        The meter, or None where no GPU can be metered; and what is missing, with reasons.
    """
    if not driver_present():
        return None, (Missing(domain="gpu", reason=_NO_LIBRARY),)
    try:
        import pynvml as nvml
    except ImportError:
        return None, (Missing(domain="gpu", reason="pynvml is not installed: `pip install nvidia-ml-py`"),)
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        reason = f"NVML does not start: {error}; check that `nvidia-smi` works here"
        return None, (Missing(domain="gpu", reason=reason),)
    gpus, missing = _visible(nvml, os.environ)
    usable: list[Gpu] = []
    for gpu in gpus:
        why_not = _unsupported(nvml, gpu)
        if why_not is None:
            usable.append(gpu)
        else:
            missing.append(Missing(domain=gpu.domain, reason=f"{gpu.name}: {why_not}"))
    usable = _watched(nvml, usable, missing, watch_s)
    if not usable:
        nvml.nvmlShutdown()
        return None, tuple(missing) or (Missing(domain="gpu", reason="no GPU is visible to this process"),)
    return NvmlMeter(nvml, usable), tuple(missing)


def _visible(nvml: Any, environment: Mapping[str, str]) -> tuple[list[Gpu], list[Missing]]:
    """Return the GPUs CUDA would show, in its order, with `CUDA_VISIBLE_DEVICES` honoured."""
    found: list[tuple[Any, str, str]] = []
    try:
        for index in range(nvml.nvmlDeviceGetCount()):
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            found.append((handle, str(nvml.nvmlDeviceGetName(handle)), str(nvml.nvmlDeviceGetUUID(handle))))
    except nvml.NVMLError as error:
        return [], [Missing(domain="gpu", reason=f"the GPUs could not be listed: {error}")]
    mixed = len({name for _, name, _ in found}) > 1 and environment.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID"
    asked = environment.get("CUDA_VISIBLE_DEVICES")
    chosen = list(range(len(found)))
    if asked is not None:
        tokens = [token.strip() for token in asked.split(",")]
        if any(token.startswith("MIG-") for token in tokens):
            return [], [Missing(domain="gpu", reason=f"CUDA_VISIBLE_DEVICES={asked}: {_MIG}")]
        if mixed and any(token.isdigit() for token in tokens):
            reason = (
                f"CUDA_VISIBLE_DEVICES={asked} counts in CUDA's order, which differs from NVML's where GPUs are not "
                "alike; set CUDA_DEVICE_ORDER=PCI_BUS_ID or name the GPUs by UUID"
            )
            return [], [Missing(domain="gpu", reason=reason)]
        chosen = _chosen(tokens, [uuid for _, _, uuid in found])
        if not chosen:
            return [], [Missing(domain="gpu", reason=f"CUDA_VISIBLE_DEVICES={asked!r} hides every GPU")]
    return [Gpu(f"gpu{place}", *found[index]) for place, index in enumerate(chosen)], []


def _chosen(tokens: list[str], uuids: list[str]) -> list[int]:
    """Return indices for the tokens; as in CUDA the first token that names no GPU ends the list."""
    chosen: list[int] = []
    for token in tokens:
        if token.isdigit() and int(token) < len(uuids):
            chosen.append(int(token))
            continue
        matches = [index for index, uuid in enumerate(uuids) if token.startswith("GPU-") and uuid.startswith(token)]
        if len(matches) != 1:
            break
        chosen.append(matches[0])
    return chosen


_MIG = "a MIG slice has no energy counter of its own, and the board's counter would bill its neighbours"


def _unsupported(nvml: Any, gpu: Gpu) -> str | None:
    try:
        if nvml.nvmlDeviceGetMigMode(gpu.handle)[0]:
            return f"MIG is enabled: {_MIG}"
    except nvml.NVMLError:
        pass  # GPUs without MIG refuse the question
    try:
        nvml.nvmlDeviceGetTotalEnergyConsumption(gpu.handle)
    except nvml.NVMLError as error:
        return f"no energy counter ({error}); integrating its power readings is planned, not built"
    return None


def _watched(nvml: Any, gpus: list[Gpu], missing: list[Missing], watch_s: float) -> list[Gpu]:
    """Set each GPU's refresh period; move the GPUs whose counter stands still to `missing`."""

    def peek(gpu: Gpu) -> int | None:
        try:
            return int(nvml.nvmlDeviceGetTotalEnergyConsumption(gpu.handle))
        except nvml.NVMLError:
            return None

    periods = watch_refresh([partial(peek, gpu) for gpu in gpus], at_most_s=watch_s, changes=6, pause_s=5e-4)
    kept = []
    for gpu, period in zip(gpus, periods, strict=True):
        if period is None:
            reason = f"{gpu.name}: the energy counter stood still for {watch_s} s, so it says nothing"
            missing.append(Missing(domain=gpu.domain, reason=reason))
            continue
        gpu.refresh_s = period if math.isfinite(period) else None
        kept.append(gpu)
    return kept


def _refusal(begin: int | str, end: int | str, duration_s: float, refresh_s: float | None) -> str | None:
    """Return why two readings give no energy, or None if they do."""
    for value in (begin, end):
        if isinstance(value, str):
            return value
    energy_j = j_from_mj(int(end) - int(begin))
    if energy_j < 0:
        return f"the energy counter went backwards by {-energy_j:.3f} J (driver reload or GPU reset)"
    if energy_j == 0:
        return f"the energy counter did not change in {duration_s:.4f} s, so the window is shorter than its refresh"
    if energy_j > CEILING_W * (duration_s + 2 * (refresh_s or WATCH_S)):
        return f"the energy counter rose implausibly: {energy_j:.0f} J in {duration_s:.3f} s"
    return None
