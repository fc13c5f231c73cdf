"""What zeus reads, imported for cross-checks: never billed, provenance `imported` (extra `joulebench[zeus]`).

The numbers are those of zeus's public device layer (`zeus.device.get_cpus` and `get_gpus`,
`get_total_energy_consumption`), which is what `ZeusMonitor` itself subtracts at the ends of a window.
They are running totals, so windows may nest and overlap. zeus counts the turns of RAPL in a helper
process of its own, and its total can fall when a turn comes before that process has noticed; such a
window is refused with zeus's number in the reason.

Not imported: GPUs older than Volta, whose energy zeus integrates from power in another helper, and
zeus's readings of whole chips (the meter `apple` reads those itself).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from harness.errors import UsageError
from harness.meters.plugins.counted import Channel, CountedMeter, Reading, not_imported, replayed, watched
from harness.records import Missing, Provenance

__all__ = ["open_meter", "replayed"]

CEILING_W = 4000.0
"""Above any socket, board or module sold (2026)."""
WATCH_S = 1.5

_BOUNDARY = "as zeus reports it: {}; every process on it"
_GUARD = "put `if __name__ == '__main__':` around the start of your script, which that process imports"

Count = int | str | None
Reader = Callable[[], tuple[Count, ...]]


def open_meter(argument: str, device: str | None) -> tuple[CountedMeter | None, tuple[Missing, ...]]:
    """Open what zeus reads on this host, CPUs and GPUs.

    Raises: UsageError: an argument was given.
    """
    del device
    if argument:
        raise UsageError(f"the meter 'zeus' takes no argument, not {argument!r}")
    try:
        import zeus
        from zeus.device import get_cpus, get_gpus
        from zeus.exception import ZeusBaseError
    except ImportError as error:
        return None, (Missing(domain="zeus", reason=not_imported(error, "zeus", extra="zeus"), billed=False),)
    channels: list[Channel] = []
    readers: list[Reader] = []
    missing: list[Missing] = []
    for domain, found in (("zeus-cpu", partial(_cpus, get_cpus)), ("zeus-gpu", partial(_gpus, get_gpus))):
        try:
            more, reads, gaps = found(ZeusBaseError)
        except ZeusBaseError as error:
            missing.append(Missing(domain=domain, reason=f"zeus: {_said(error)}", billed=False))
            continue
        channels += more
        readers += reads
        missing += gaps
    meter, still = _watched(channels, readers, str(zeus.__version__))
    return meter, (*missing, *still)


def _watched(
    channels: Sequence[Channel], readers: Sequence[Reader], version: str
) -> tuple[CountedMeter | None, tuple[Missing, ...]]:
    """Keep the counters that move; `readers` give the counts of `channels` in their order."""

    def everything() -> Reading:
        return tuple(count for reader in readers for count in reader())

    alive, still = watched(
        channels, [partial(_at, everything, place) for place in range(len(channels))], at_most_s=WATCH_S
    )
    if not alive:
        return None, still
    places = [place for place, channel in enumerate(channels) if channel.domain in {kept.domain for kept in alive}]

    def feed() -> Reading:
        counts = everything()
        return tuple(counts[place] for place in places)

    notes = (
        "another tool's numbers, for cross-checks; not billed",
        "zeus runs one helper process a RAPL file to count its turns, from here to the end of this process",
    )
    meter = CountedMeter(
        "zeus", alive, feed, provenance=Provenance.IMPORTED, notes=notes, coefficients=f"zeus {version}"
    )
    return meter, still


def _cpus(get_cpus: Any, error_type: type[Exception]) -> tuple[list[Channel], list[Reader], list[Missing]]:
    """Return zeus's RAPL zones; it takes the platform zone (psys) for one more CPU, and so it is labelled."""
    cpus = get_cpus()
    channels: list[Channel] = []
    readers: list[Reader] = []
    for index in range(len(cpus)):
        zone = getattr(getattr(cpus.cpus[index], "rapl_file", None), "name", "name not given")
        with_dram = cpus.cpus[index].supports_get_dram_energy_consumption()
        channels.append(_channel(f"zeus-cpu{index}", f"RAPL zone {index} ({zone})"))
        if with_dram:
            channels.append(_channel(f"zeus-dram{index}", f"memory of RAPL zone {index} ({zone})"))
        readers.append(partial(_cpu_counts, cpus, index, with_dram, error_type))
    return channels, readers, []


def _gpus(get_gpus: Any, error_type: type[Exception]) -> tuple[list[Channel], list[Reader], list[Missing]]:
    """Return zeus's GPUs that have an energy counter, in zeus's order (CUDA_VISIBLE_DEVICES is applied)."""
    gpus = get_gpus()
    channels: list[Channel] = []
    readers: list[Reader] = []
    missing: list[Missing] = []
    for index in range(len(gpus)):
        name = str(gpus.get_name(index))
        if not gpus.supports_get_total_energy_consumption(index):
            reason = f"{name}: zeus has no energy counter for it and would integrate power in a helper process"
            missing.append(Missing(domain=f"zeus-gpu{index}", reason=reason, billed=False))
            continue
        channels.append(_channel(f"zeus-gpu{index}", f"GPU {index} ({name})"))
        readers.append(partial(_gpu_counts, gpus, index, error_type))
    return channels, readers, missing


def _channel(domain: str, what: str) -> Channel:
    return Channel(
        domain=domain,
        label=f"zeus: {what}",
        boundary=_BOUNDARY.format(what),
        j_per_count=1e-6,
        ceiling_w=CEILING_W,
        billed=False,
    )


def _cpu_counts(cpus: Any, index: int, with_dram: bool, error_type: type[Exception]) -> tuple[Count, ...]:
    """Return the zone's microjoules, and its memory's; zeus gives millijoules."""
    try:
        measured = cpus.get_total_energy_consumption(index)
    except (error_type, OSError) as error:
        return (f"zeus could not read it: {_said(error)}",) * (1 + with_dram)
    if _turns_uncounted(cpus.cpus[index]):
        return (f"zeus's helper process that counts the turns of RAPL has ended; {_GUARD}",) * (1 + with_dram)
    counts = (_uj(measured.cpu_mj), _uj(measured.dram_mj))
    return counts if with_dram else counts[:1]


def _gpu_counts(gpus: Any, index: int, error_type: type[Exception]) -> tuple[Count, ...]:
    try:
        return (_uj(gpus.get_total_energy_consumption(index)),)
    except error_type as error:
        return (f"zeus could not read it: {_said(error)}",)


def _turns_uncounted(cpu: Any) -> bool:
    """Return whether a helper that zeus started for this zone is dead; without it turns are lost in silence."""
    files = [file for file in (getattr(cpu, "rapl_file", None), getattr(cpu, "dram", None)) if file is not None]
    helpers = [getattr(file.wraparound_tracker, "process", None) for file in files]
    return any(helper is not None and not helper.is_alive() for helper in helpers)


def _uj(energy_mj: float | None) -> Count:
    return None if energy_mj is None else round(energy_mj * 1000)


def _at(everything: Callable[[], Reading], place: int) -> Count:
    return everything()[place]


def _said(error: BaseException) -> str:
    return " ".join(str(error).split())
