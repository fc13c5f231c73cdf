"""The energy counters of Apple silicon, through IOReport (`zeus_apple_silicon`, extra `joulebench[apple]`).

`AppleEnergyMonitor.get_cumulative_energy()` gives running millijoules of the parts of the chip, without
root. They are counters by their interface only: the package's own documentation says that the values are
believed to be estimates of a model (utilisation, frequency, voltage), and the boundary repeats it.

Billed are the whole CPU, the memory, the GPU and the neural engine, which IOReport counts apart. The
GPU's SRAM is kept and not billed, because nobody says whether the GPU's counter contains it; clusters and
cores lie inside the CPU and are left out. GPU and neural engine are switched off when unused, so their
counters may rest; a GPU that the case computes on may not.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from msgspec import structs

from harness.errors import UsageError
from harness.meters.plugins.counted import Channel, CountedMeter, Reading, not_imported, replayed, watched
from harness.records import Missing

__all__ = ["open_meter", "replayed"]

BOUNDARY = "Apple chip and its memory: estimates of a model (IOReport); every process on it"
CEILING_W = 500.0
"""Above any Apple chip sold (2026: an Ultra stays below 300 W)."""
WATCH_S = 1.0

_PARTS = (
    ("cpu", "cpu_total_mj", "CPU Energy", True, False),
    ("dram", "dram_mj", "DRAM", True, False),
    ("gpu0", "gpu_mj", "GPU Energy", True, True),
    ("ane", "ane_mj", "ANE", True, True),
    ("gpu-sram", "gpu_sram_mj", "GPU SRAM", False, True),
)
"""Domain, field of the package's metrics, IOReport's name, billed, may rest."""

_NOTES = (
    "estimates of a model, believed to be made from utilisation, frequency and voltage, not from a sensor",
    "counted in whole millijoules, for the whole machine",
    "a part that was not seen to count takes the slowest refresh period of the others",
)


def open_meter(argument: str, device: str | None) -> tuple[CountedMeter | None, tuple[Missing, ...]]:
    """Open the counters of this Mac's chip and watch them.

    Raises: UsageError: an argument was given.
    """
    if argument:
        raise UsageError(f"the meter 'apple' takes no argument, not {argument!r}")
    monitor = _monitor()
    if isinstance(monitor, str):
        return None, (Missing(domain="soc", reason=monitor),)
    channels: list[Channel] = []
    missing: list[Missing] = []
    for (domain, _, label, billed, rests), count_mj in zip(_PARTS, _counts(monitor, _fields()), strict=True):
        if not isinstance(count_mj, int) or count_mj == 0:
            reason = count_mj or "it has counted nothing since the machine started, so it says nothing"
            missing.append(Missing(domain=domain, reason=f"{label}: {reason}", billed=billed))
            continue
        channel = Channel(
            domain=domain,
            label=label,
            boundary=BOUNDARY,
            j_per_count=1e-3,
            ceiling_w=CEILING_W,
            billed=billed,
            rests=rests,
        )
        channels.append(channel)
    reads = [partial(_one, monitor, channel.domain) for channel in channels]
    alive, still = watched(channels, reads, at_most_s=WATCH_S)
    missing += still
    if not any(channel.domain == "cpu" for channel in alive):
        return None, tuple(missing)
    # Asleep while it was watched, the GPU may wake later; asleep while the case computes on it, its counter is broken.
    alive = tuple(
        structs.replace(channel, rests=channel.rests and not (channel.domain == "gpu0" and device != "cpu"))
        for channel in alive
    )
    fields = _fields(*(channel.domain for channel in alive))
    return CountedMeter("apple", alive, partial(_counts, monitor, fields), notes=_NOTES), tuple(missing)


def _monitor() -> Any | str:
    """Return an `AppleEnergyMonitor`, or why there is none."""
    system, machine = _here()
    if (system, machine) != ("darwin", "arm64"):
        return f"this is {system} on {machine}; the energy counters of Apple silicon exist only on macOS on arm64"
    try:
        import zeus_apple_silicon
    except ImportError as error:
        return not_imported(error, "zeus_apple_silicon", extra="apple")
    try:
        return zeus_apple_silicon.AppleEnergyMonitor()
    except RuntimeError as error:
        return f"IOReport gives no energy counters here: {error}"


def _counts(monitor: Any, fields: Sequence[str]) -> Reading:
    """Return one sample, all parts at the same moment, in millijoules."""
    try:
        metrics = monitor.get_cumulative_energy()
    except (RuntimeError, ValueError) as error:
        return tuple(f"the energy counters could not be read: {error}" for _ in fields)
    return tuple(_count(getattr(metrics, field, None)) for field in fields)


def _one(monitor: Any, domain: str) -> int | str | None:
    return _counts(monitor, _fields(domain))[0]


def _count(value_mj: object) -> int | str:
    if isinstance(value_mj, int) and value_mj >= 0:
        return value_mj
    if value_mj is None:
        return "this chip does not report it"
    return f"the energy counter holds {value_mj} mJ, which is no energy"


def _fields(*domains: str) -> tuple[str, ...]:
    """Return the package's fields of these domains, in their order; of all parts where none is named."""
    by_domain = {domain: field for domain, field, *_ in _PARTS}
    return tuple(by_domain[domain] for domain in domains or by_domain)


def _here() -> tuple[str, str]:
    return sys.platform, platform.machine()
