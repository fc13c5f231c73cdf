"""The energy counters of AMD GPUs, through AMD SMI (`amdsmi`, extra `joulebench[amd]`, and ROCm's library).

`amdsmi_get_energy_count` gives an accumulator and the microjoules of one count (15.3 on Instinct). The
counter is known to stand still on some MI100 (ROCm/amdsmi#38) and to fall between neighbouring reads
(ROCm/amdsmi#115), so it is watched at opening for up to `WATCH_S` seconds and refused if it does either;
in a window a fall, a standstill and a leap are Missing. Virtual guests and partitions have no counter
of their own.

Domains are `gpu0`, `gpu1` … in the order HIP shows the GPUs to this process, so `gpu0` is torch's
`cuda:0`: AMD SMI counts in another order, and each GPU's `hip_id` is what joins the two.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from functools import partial
from typing import Any

from harness.errors import UsageError
from harness.meters.plugins.counted import Channel, CountedMeter, Reading, not_imported, replayed, watched
from harness.records import Frozen, Missing

__all__ = ["open_meter", "replayed"]

BOUNDARY = "GPU board: chip and its memory; every process on it"
BOUNDARY_TWO_DIES = "GPU board: both dies of the card and their memory; every process on either"
CEILING_W = 4000.0
"""Above any accelerator sold (2026: at most about 1.4 kW)."""
WATCH_S = 3.0
"""How long a counter is given to move: an idle accelerator draws tens of watts, which is a count in microseconds."""

_NOT_A_COUNT = 0xFFFF_FFFF_FFFF_FFFF
"""What the driver's metrics table holds where the firmware offers no accumulator."""
_WHOLE = ("SPX", "", "N/A")
"""Compute partition modes in which one device is the whole accelerator."""


class Gpu(Frozen, frozen=True, kw_only=True):
    """One GPU as AMD SMI lists it; `hip_id` is None where AMD SMI does not say."""

    handle: Any
    name: str
    uuid: str
    hip_id: int | None


def open_meter(argument: str, device: str | None) -> tuple[CountedMeter | None, tuple[Missing, ...]]:
    """Open the counters of the visible GPUs and watch them.

    Raises: UsageError: an argument was given; which GPUs are metered follows HIP_VISIBLE_DEVICES.
    """
    del device
    if argument:
        raise UsageError(f"the meter 'amd' takes no argument, not {argument!r}; HIP_VISIBLE_DEVICES selects its GPUs")
    amdsmi = _library()
    if isinstance(amdsmi, str):
        return None, (Missing(domain="gpu", reason=amdsmi),)
    try:
        amdsmi.amdsmi_init(amdsmi.AmdSmiInitFlags.INIT_AMD_GPUS)
    except amdsmi.AmdSmiException as error:
        reason = f"AMD SMI does not start: {_said(error)}; check that `amd-smi list` works here"
        return None, (Missing(domain="gpu", reason=reason),)
    meter, missing = _opened(amdsmi)
    if meter is None:
        amdsmi.amdsmi_shut_down()
    return meter, missing


def visible(gpus: list[Gpu], environment: Mapping[str, str]) -> list[Gpu] | str:
    """Return the GPUs HIP shows to this process, in its order, or why that cannot be told.

    ROCR_VISIBLE_DEVICES selects first, HIP_VISIBLE_DEVICES (or CUDA_VISIBLE_DEVICES) among what that left
    (ROCm, "GPU isolation techniques"). A list that names an unknown GPU is refused, not cut short.
    """
    if environment.get("GPU_DEVICE_ORDINAL"):
        return "GPU_DEVICE_ORDINAL is set and reorders the GPUs in a way that is not followed; use HIP_VISIBLE_DEVICES"
    hip, cuda = environment.get("HIP_VISIBLE_DEVICES"), environment.get("CUDA_VISIBLE_DEVICES")
    if hip is not None and cuda is not None and hip != cuda:
        return (
            f"HIP_VISIBLE_DEVICES={hip} and CUDA_VISIBLE_DEVICES={cuda} differ, and which one holds depends on the "
            "framework; set one of them"
        )
    if len(gpus) > 1 and any(gpu.hip_id is None for gpu in gpus):
        return "AMD SMI does not say which GPU is which for HIP (hip_id); update ROCm to 6.4 or later"
    shown = sorted(gpus, key=lambda gpu: gpu.hip_id or 0)
    for variable in ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES" if hip is not None else "CUDA_VISIBLE_DEVICES"):
        asked = environment.get(variable)
        if asked is None:
            continue
        chosen = _chosen(asked, shown)
        if chosen is None:
            return f"{variable}={asked!r} hides every GPU or names one that is not among the {len(shown)} here"
        shown = chosen
    return shown


def _library() -> Any | str:
    """Return the `amdsmi` module, or why it cannot be used."""
    try:
        with redirect_stdout(io.StringIO()):  # without ROCm the import prints, and stdout belongs to the caller
            import amdsmi
    except ImportError as error:
        return not_imported(error, "amdsmi", extra="amd")
    except (OSError, KeyError, AttributeError) as error:
        return (
            "the package amdsmi is installed but ROCm's library libamd_smi.so is not found, or is older than the "
            f"package ({type(error).__name__}: {error}); install amd-smi-lib of your ROCm and set ROCM_PATH"
        )
    return amdsmi


def _opened(amdsmi: Any) -> tuple[CountedMeter | None, tuple[Missing, ...]]:
    try:
        gpus = [_gpu(amdsmi, handle) for handle in amdsmi.amdsmi_get_processor_handles()]
    except amdsmi.AmdSmiException as error:
        return None, (Missing(domain="gpu", reason=f"the GPUs could not be listed: {_said(error)}"),)
    if not gpus:
        return None, (Missing(domain="gpu", reason="AMD SMI lists no GPU here"),)
    shown = visible(gpus, os.environ)
    if isinstance(shown, str):
        return None, (Missing(domain="gpu", reason=shown),)
    usable: list[Channel] = []
    reads: dict[str, Callable[[], int | str]] = {}
    missing: list[Missing] = []
    for place, gpu in enumerate(shown):
        found = _channel(amdsmi, f"gpu{place}", gpu)
        if isinstance(found, str):
            missing.append(Missing(domain=f"gpu{place}", reason=f"{gpu.name}: {found}"))
            continue
        usable.append(found)
        reads[found.domain] = partial(_count, amdsmi, gpu.handle, found.j_per_count)
    alive, still = watched(usable, tuple(reads.values()), at_most_s=WATCH_S)
    missing += [_explained(gap) for gap in still]
    if not alive:
        return None, tuple(missing)
    kept = tuple(reads[channel.domain] for channel in alive)

    def feed() -> Reading:
        return tuple(read() for read in kept)

    return CountedMeter("amd", alive, feed, close=amdsmi.amdsmi_shut_down), tuple(missing)


def _gpu(amdsmi: Any, handle: Any) -> Gpu:
    """Return what AMD SMI says of a GPU; releases before ROCm 6.4 do not enumerate for HIP."""
    name = str(amdsmi.amdsmi_get_gpu_asic_info(handle)["market_name"])
    try:
        info = amdsmi.amdsmi_get_gpu_enumeration_info(handle)
    except (AttributeError, amdsmi.AmdSmiException):
        info = {}
    hip_id = info.get("hip_id")
    uuid = str(info.get("hip_uuid", ""))
    return Gpu(handle=handle, name=name, uuid=uuid, hip_id=hip_id if isinstance(hip_id, int) else None)


def _channel(amdsmi: Any, domain: str, gpu: Gpu) -> Channel | str:
    """Return the counter of a GPU, or why it has none that can be used."""
    try:
        mode = str(amdsmi.amdsmi_get_gpu_compute_partition(gpu.handle))
    except amdsmi.AmdSmiException:
        mode = ""  # GPUs without partitions refuse the question
    if mode.upper() not in _WHOLE:
        return (
            f"it is a partition ({mode}) of a larger accelerator, whose counter would bill its neighbours; meter it "
            "in SPX mode"
        )
    try:
        unit_uj = float(amdsmi.amdsmi_get_energy_count(gpu.handle)["counter_resolution"])
    except (amdsmi.AmdSmiException, KeyError) as error:
        return f"no energy counter ({_said(error)}); guests of a virtual machine have none"
    if not 0 < unit_uj < 1e6:
        return f"its energy counter counts in steps of {unit_uj} µJ, which cannot be"
    two_dies = "MI250" in gpu.name
    return Channel(
        domain=domain,
        label=f"{gpu.name}, {gpu.uuid or 'no UUID'}, {unit_uj:.4g} µJ a count",
        boundary=BOUNDARY_TWO_DIES if two_dies else BOUNDARY,
        j_per_count=unit_uj / 1e6,
        ceiling_w=CEILING_W,
    )


def _count(amdsmi: Any, handle: Any, j_per_count: float) -> int | str:
    try:
        found = amdsmi.amdsmi_get_energy_count(handle)
    except amdsmi.AmdSmiException as error:
        return f"the energy counter could not be read: {_said(error)}"
    count, unit_uj = found.get("energy_accumulator"), found.get("counter_resolution")
    if not isinstance(count, int) or count == _NOT_A_COUNT:
        return f"the energy counter holds no number ({count}); amdsmi before 6.2.1 is not supported"
    if unit_uj / 1e6 != j_per_count:
        return f"the unit of the energy counter changed to {unit_uj} µJ"
    return count


def _chosen(asked: str, shown: list[Gpu]) -> list[Gpu] | None:
    """Return the GPUs that a list of indices or UUIDs names, or None if it names any that is not there."""
    chosen: list[Gpu] = []
    for token in (part.strip() for part in asked.split(",")):
        if token.isdigit() and int(token) < len(shown):
            found = [shown[int(token)]]
        else:
            found = [gpu for gpu in shown if token.startswith("GPU-") and gpu.uuid.startswith(token)]
        if len(found) != 1 or found[0] in chosen:
            return None
        chosen += found
    return chosen


def _explained(gap: Missing) -> Missing:
    if "MI250" not in gap.reason:
        return gap
    tail = "; one die of this card counts for both, so this is the other one, and its joules are in its partner's"
    return Missing(domain=gap.domain, reason=gap.reason + tail)


def _said(error: BaseException) -> str:
    """Return an AMD SMI error on one line."""
    return " ".join(str(error).split())
