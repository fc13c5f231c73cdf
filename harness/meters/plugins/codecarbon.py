"""What codecarbon reports, imported for cross-checks: never billed (extra `joulebench[codecarbon]`).

The offline tracker runs in this process with its defaults, whatever its configuration files say: no
network, no file, no lock, no log, machine mode (`codecarbon:process` for its process mode). Every reading
is a `flush()`, whose running totals arrive at an output handler, so windows may nest and overlap.
codecarbon does not measure again within 50 ms of its last sample: that is its refresh period.

Its own timer would sample in another thread without a lock and could count an interval twice, so it is
set to never; a thread here flushes under a lock at the same 15 s, which its handling of RAPL's turns needs.

Its records do not say whether a joule was counted or modelled. What its tracker says that it set up is
in the notes: `CPU(Intel Rapl)` is a counter, `CPU(Cpu Load)` and `CPU(… W)` are models of load and TDP,
and RAM is always a model.
"""

from __future__ import annotations

import logging
import threading
from functools import partial
from typing import Any

from harness.errors import UsageError
from harness.meters.plugins.counted import Channel, CountedMeter, Reading, not_imported, replayed, watched
from harness.records import Missing, Provenance
from harness.units import JOULES_PER_KWH

__all__ = ["open_meter", "replayed"]

MODES = ("machine", "process")
PERIOD_S = 15.0
"""codecarbon's default for `measure_power_secs`."""
WATCH_S = 2.0

_NEVER_S = 1e8
_BOUNDARY = {
    "machine": "as codecarbon reports it in machine mode: {}, every process on it",
    "process": "as codecarbon reports it in process mode: {} of this process and of the children it sees",
}
_SWALLOWED = "codecarbon gave no numbers, and it keeps its errors to itself; see what `codecarbon detect` says here"
_Part = tuple[str, str, str, float]
_PARTS: tuple[_Part, ...] = (
    ("codecarbon-cpu", "cpu_energy", "CPU", 4e3),
    ("codecarbon-ram", "ram_energy", "memory", 4e3),
    ("codecarbon-gpu", "gpu_energy", "all GPUs together", 64e3),
)
"""Domain, field in kWh, what it is, ceiling in watts."""


class _Totals:
    """An output handler of codecarbon that keeps the last running totals."""

    def __init__(self) -> None:
        self.total: Any = None

    def out(self, total: Any, _delta: Any) -> None:
        self.total = total

    def live_out(self, *_: Any) -> None:
        """Do nothing: only what a flush gives is read."""

    def task_out(self, *_: Any) -> None:
        """Do nothing: no tasks are used."""

    def exit(self) -> None:
        """Hold nothing, release nothing."""


class _Sampler:
    """The tracker behind a lock, and the thread that flushes it every `PERIOD_S` seconds."""

    def __init__(self, tracker: Any, totals: _Totals) -> None:
        self._tracker = tracker
        self._totals = totals
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._repeat, name="joulebench-codecarbon", daemon=True)

    def start(self) -> None:
        self._tracker.start()
        self._thread.start()

    def counts(self, fields: tuple[str, ...]) -> Reading:
        """Return the running totals in microjoules."""
        with self._lock:
            self._totals.total = None
            self._tracker.flush()
            total = self._totals.total
        if total is None:
            return (_SWALLOWED,) * len(fields)
        return tuple(round(getattr(total, field) * JOULES_PER_KWH * 1e6) for field in fields)

    def one(self, field: str) -> int | str | None:
        return self.counts((field,))[0]

    def close(self) -> None:
        self._ended.set()
        with self._lock:
            self._tracker.stop()
        self._thread.join()

    def _repeat(self) -> None:
        while not self._ended.wait(PERIOD_S):
            self.counts(())


def open_meter(argument: str, device: str | None) -> tuple[CountedMeter | None, tuple[Missing, ...]]:
    """Start codecarbon's offline tracker in this process; `argument` is its tracking mode (machine).

    Raises: UsageError: the argument is no tracking mode.
    """
    del device
    mode = argument or MODES[0]
    if mode not in MODES:
        raise UsageError(f"codecarbon:{argument}: {argument!r} is no tracking mode; write {' or '.join(MODES)}")
    try:
        import codecarbon
    except ImportError as error:
        return None, (
            Missing(domain="codecarbon", reason=not_imported(error, "codecarbon", extra="codecarbon"), billed=False),
        )
    # After the import, which sets its own level, and before the tracker, which warns before it reads its level.
    logging.getLogger("codecarbon").setLevel(logging.CRITICAL)
    totals = _Totals()
    tracker = _tracker(codecarbon, mode, totals)
    sampler = _Sampler(tracker, totals)
    sampler.start()
    first = sampler.one("cpu_energy")
    if isinstance(first, str):
        sampler.close()
        return None, (Missing(domain="codecarbon", reason=first, billed=False),)
    parts, gaps = _parts(tracker)
    channels = [_channel(part, mode) for part in parts]
    reads = [partial(sampler.one, field) for _, field, *_ in parts]
    alive, still = watched(channels, reads, at_most_s=WATCH_S, changes=4, pause_s=0.01)
    if not alive:
        sampler.close()
        return None, (*gaps, *still)
    return _meter(sampler, alive, mode, _hardware(tracker), str(codecarbon.__version__)), (*gaps, *still)


def _parts(tracker: Any) -> tuple[tuple[_Part, ...], tuple[Missing, ...]]:
    """Return the parts that codecarbon follows here: without a GPU its GPU energy is 0, which says nothing."""
    if tracker.get_detected_hardware().get("gpu_count"):
        return _PARTS, ()
    gap = Missing(domain="codecarbon-gpu", reason="codecarbon: it found no GPU to follow", billed=False)
    return tuple(part for part in _PARTS if part[0] != gap.domain), (gap,)


def _channel(part: _Part, mode: str) -> Channel:
    domain, _, what, ceiling_w = part
    return Channel(
        domain=domain,
        label=f"codecarbon: {what}",
        boundary=_BOUNDARY[mode].format(what),
        j_per_count=1e-6,
        ceiling_w=ceiling_w,
        billed=False,
    )


def _meter(sampler: _Sampler, channels: tuple[Channel, ...], mode: str, hardware: str, version: str) -> CountedMeter:
    by_domain = {domain: field for domain, field, *_ in _PARTS}
    notes = (
        "another tool's numbers, for cross-checks; not billed",
        f"codecarbon set up: {hardware}; its results do not say which joules were counted and which modelled",
        "codecarbon samples in this process, so what that takes is in the CPU time measured beside it",
    )
    return CountedMeter(
        "codecarbon",
        channels,
        partial(sampler.counts, tuple(by_domain[channel.domain] for channel in channels)),
        provenance=Provenance.IMPORTED,
        notes=notes,
        coefficients=f"codecarbon {version}, {mode} mode",
        close=sampler.close,
    )


def _tracker(codecarbon: Any, mode: str, totals: _Totals) -> Any:
    """Return an offline tracker that ignores its configuration files and environment, writes nothing and is silent."""
    return codecarbon.OfflineEmissionsTracker(
        tracking_mode=mode,
        measure_power_secs=_NEVER_S,
        api_call_interval=-1,
        output_methods=[],
        output_handlers=[totals],
        output_dir=".",
        emissions_endpoint=None,
        electricitymaps_api_token=None,
        force_carbon_intensity_g_co2e_kwh=0.0,  # joules are wanted; a given intensity is the only one never looked up
        force_cpu_power=None,
        force_ram_power=None,
        force_mode_cpu_load=False,
        gpu_ids=None,
        pue=1.0,
        wue=0.0,
        rapl_include_dram=False,
        rapl_prefer_psys=False,
        allow_multiple_runs=True,
        log_level="critical",
        logger_preamble="",
    )


def _hardware(tracker: Any) -> str:
    """Return what the tracker set up, in codecarbon's words; it has no public name for that."""
    found = getattr(tracker, "_conf", {}).get("hardware") or ()
    return ", ".join(str(item) for item in found) or "not known"
