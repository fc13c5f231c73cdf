"""The meter over the visible GPUs: each in the way that `opening` settled for it, live or replayed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from harness.meters.nvml.power import PowerSampler
from harness.meters.nvml.state import device_state
from harness.meters.nvml.views import METER, Reading, View, energy, of_raw, raw
from harness.meters.seam import REFRESHES_FOR_1_PERCENT
from harness.records import DeviceState, Doubt, Energy, MeterInfo, Missing, Provenance

Mark = tuple[Reading, ...]
"""One reading a view, in the order of the views."""


class Source(Protocol):
    """Where a meter's readings come from: the driver, or a trace."""

    def read(self) -> Mark:
        """Return one reading a view."""

    def states(self, edge: str) -> tuple[DeviceState, ...]:
        """Return what the GPUs say of themselves."""

    def close(self) -> None:
        """Release what the source holds."""


class NvmlMeter:
    """The joules of the visible GPUs. Open with `open_nvml`."""

    name = METER
    doubts: tuple[Doubt, ...] = ()

    def __init__(self, views: Sequence[View], source: Source, notes: tuple[str, ...] = ()) -> None:
        self.views = tuple(views)
        self.billed = frozenset(view.domain for view in self.views if view.billed)
        self.contains_cpu = any(view.billed and view.contains_cpu for view in self.views)
        self.channels = tuple(channel for view in self.views for channel in view.channels)
        self._source = source
        self._notes = notes

    def read(self) -> Mark:
        """Return each view's counter in millijoules or its integral of power, or why there is none."""
        return self._source.read()

    def energies(
        self, begin: Mark, end: Mark, *, duration_s: float, cpu_s: float
    ) -> tuple[tuple[Energy, ...], tuple[Missing, ...]]:
        """Return the joules of each GPU; what failed, fell, stood still, leapt or has gaps is Missing."""
        del cpu_s
        outcomes = [
            energy(view, before, after, duration_s) for view, before, after in zip(self.views, begin, end, strict=True)
        ]
        return (
            tuple(outcome for outcome in outcomes if isinstance(outcome, Energy)),
            tuple(outcome for outcome in outcomes if isinstance(outcome, Missing)),
        )

    def states(self, edge: str) -> tuple[DeviceState, ...]:
        """Return temperature, clocks, power limit and clock reasons of each GPU; none when replayed.

        Ask outside the meters' reads: it takes some microseconds a GPU. `edge` is `begin` or `end`.
        """
        return self._source.states(edge)

    def info(self) -> MeterInfo:
        """Return the GPUs and how each is metered; provenance and refresh are the weakest of those billed."""
        billed = [view for view in self.views if view.billed]
        refreshes = [view.effective_refresh_s for view in billed]
        known = [refresh_s for refresh_s in refreshes if refresh_s is not None]
        refresh_s = max(known) if len(known) == len(refreshes) else None
        sampled = any(view.provenance is Provenance.INTEGRATED_POWER for view in billed)
        notes = [f"{view.domain}: {note}" for view in self.views for note in (view.name, *view.notes)]
        return MeterInfo(
            name=self.name,
            domains=tuple(view.domain for view in self.views),
            provenance=Provenance.INTEGRATED_POWER if sampled else Provenance.COUNTER,
            boundary=" | ".join(dict.fromkeys(view.boundary for view in billed)),
            refresh_s=refresh_s,
            window_for_1_percent_s=None if refresh_s is None else REFRESHES_FOR_1_PERCENT * refresh_s,
            notes=(*notes, *self._notes),
        )

    def close(self) -> None:
        """Stop sampling and shut NVML down, once."""
        self._source.close()

    def raw(self, mark: Mark) -> tuple[int | str | None, ...]:
        """Return the raw readings behind a mark, one a channel; a string says why there is none."""
        return tuple(value for view, reading in zip(self.views, mark, strict=True) for value in raw(view, reading))

    def describe(self) -> dict[str, Any]:
        """Return what `replayed` needs, in values that JSON can hold."""
        return {"views": [msgspec.to_builtins(view) for view in self.views], "notes": list(self._notes)}


class LiveSource:
    """The driver's readings; counters are read on demand, powers by a sampler.

    Args:
        nvml: the `pynvml` module, initialised; closing shuts it down.
        handles: the NVML handle of each view that is a counter, None for a sampled power, in the views' order.
        gpus: domain and handle of each GPU, for its state.
        sampler: reads the powers, in the order of their views; None where there are none.
    """

    def __init__(
        self,
        nvml: Any,
        handles: Sequence[Any],
        gpus: Sequence[tuple[str, Any]],
        sampler: PowerSampler | None,
    ) -> None:
        self.sampler = sampler
        self._nvml = nvml
        self._handles = tuple(handles)
        self._gpus = tuple(gpus)
        self._open = True

    def read(self) -> Mark:
        """Return one reading a view."""
        if self.sampler is None:
            return tuple(self._read_mj(handle) for handle in self._handles)
        powers = iter(self.sampler.marks())
        return tuple(next(powers) if handle is None else self._read_mj(handle) for handle in self._handles)

    def states(self, edge: str) -> tuple[DeviceState, ...]:
        """Return what the GPUs say of themselves."""
        return tuple(device_state(self._nvml, handle, domain, edge) for domain, handle in self._gpus)

    def close(self) -> None:
        """Stop sampling and shut NVML down, once."""
        if not self._open:
            return
        self._open = False
        if self.sampler is not None:
            self.sampler.close()
        with contextlib.suppress(self._nvml.NVMLError):  # a driver that is gone cannot be shut down
            self._nvml.nvmlShutdown()

    def _read_mj(self, handle: Any) -> int | str:
        try:
            return int(self._nvml.nvmlDeviceGetTotalEnergyConsumption(handle))
        except self._nvml.NVMLError as error:
            return f"the energy counter could not be read: {error}"


class _Recording:
    """The readings of a trace."""

    def __init__(self, views: Sequence[View], feed: Callable[[], Sequence[int | str | None]]) -> None:
        self._views = tuple(views)
        self._feed = feed

    def read(self) -> Mark:
        """Return the next sample's readings."""
        values = iter(self._feed())
        return tuple(of_raw(view, tuple(next(values) for _ in view.channels)) for view in self._views)

    def states(self, edge: str) -> tuple[DeviceState, ...]:
        """Return nothing: a trace holds readings, not states."""
        del edge
        return ()

    def close(self) -> None:
        """Hold nothing, release nothing."""


def replayed(
    description: dict[str, Any],
    feed: Callable[[], Sequence[int | str | None]],
    clock_ns: Callable[[], int] = time.perf_counter_ns,
) -> NvmlMeter:
    """Return the meter that `description` is of, whose every `read` takes the next sample from `feed`.

    `clock_ns` is not used: what a power reading is worth was integrated when it was taken.
    """
    del clock_ns
    views = msgspec.convert(description["views"], tuple[View, ...])
    return NvmlMeter(views, _Recording(views, feed), tuple(description["notes"]))
