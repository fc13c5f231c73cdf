"""What two readings of a GPU are worth: joules with their bounds, or the reason why there are none."""

from __future__ import annotations

from harness.meters.nvml.power import PowerMark
from harness.meters.seam import edge_bounds_j, too_short
from harness.records import Energy, Frozen, Missing, Provenance
from harness.units import j_from_mj, j_from_uj

METER = "nvml"
POWER_CHANNELS = ("uj", "late_uj", "mw", "faults", "fault")
"""What a trace keeps of a `PowerMark`, in its order."""

_LONGEST_REFRESH_S = 1.5
"""Taken for a counter that changed at most once while it was watched for this long."""

Reading = int | str | PowerMark
"""A counter in millijoules, an integral of power, or the reason why there is neither."""


class View(Frozen, frozen=True, kw_only=True):
    """One way in which one GPU is metered.

    `refresh_s` is how often the counter or the power reading changes (None: not seen often enough to say),
    `averaging_s` the time that a power reading averages over (0 for counters and instantaneous readings),
    `ceiling_w` the power above which nothing it says is believed. `contains_cpu` says that it may count the
    CPU of a superchip too, which is then not billed a second time.
    """

    domain: str
    provenance: Provenance
    name: str
    boundary: str
    ceiling_w: float
    refresh_s: float | None = None
    averaging_s: float = 0.0
    billed: bool = True
    contains_cpu: bool = False
    notes: tuple[str, ...] = ()

    @property
    def effective_refresh_s(self) -> float | None:
        """What a window must be long against, in seconds: an average is as slow as the time it is taken over."""
        return None if self.refresh_s is None else max(self.refresh_s, self.averaging_s)

    @property
    def channels(self) -> tuple[str, ...]:
        """The names of the raw readings in a trace."""
        if self.provenance is Provenance.COUNTER:
            return (f"{self.domain}.mj",)
        return tuple(f"{self.domain}.{channel}" for channel in POWER_CHANNELS)


def raw(view: View, reading: Reading) -> tuple[int | str | None, ...]:
    """Return a reading as a trace keeps it: one value a channel of its view."""
    if isinstance(reading, PowerMark):
        return tuple(reading)
    return (reading, *(None for _ in view.channels[1:]))


def of_raw(view: View, values: tuple[int | str | None, ...]) -> Reading:
    """Return the reading that `raw` gave `values` for."""
    first = values[0]
    if first is None:
        return "the recording holds no reading"
    if isinstance(first, str) or view.provenance is Provenance.COUNTER:
        return first
    return PowerMark._make(values)


def energy(view: View, begin: Reading, end: Reading, duration_s: float) -> Energy | Missing:
    """Return the joules between two readings `duration_s` seconds apart, or what is missing and why."""
    drawn = _drawn(view, begin, end, duration_s)
    if isinstance(drawn, str):
        return Missing(domain=view.domain, reason=f"{view.name}: {drawn}")
    energy_j, low_j, high_j = drawn
    return Energy(
        domain=view.domain,
        energy_j=energy_j,
        low_j=low_j,
        high_j=high_j,
        provenance=view.provenance,
        boundary=view.boundary,
        meter=METER,
        billed=view.billed,
    )


def _drawn(
    view: View, begin: Reading, end: Reading, duration_s: float
) -> tuple[float, float | None, float | None] | str:
    for reading in (begin, end):
        if isinstance(reading, str):
            return reading
    short = too_short(duration_s, view.effective_refresh_s)
    if short is not None:
        return short
    if isinstance(begin, int) and isinstance(end, int):
        return _counted(view, begin, end, duration_s)
    if isinstance(begin, PowerMark) and isinstance(end, PowerMark):
        return _integrated(view, begin, end, duration_s)
    return "its two readings are not of one kind"


def _counted(
    view: View, begin_mj: int, end_mj: int, duration_s: float
) -> tuple[float, float | None, float | None] | str:
    energy_j = j_from_mj(end_mj - begin_mj)
    if energy_j < 0:
        return f"the energy counter went backwards by {-energy_j:.3f} J (driver reload or GPU reset)"
    if energy_j == 0:
        return f"the energy counter did not change in {duration_s:.4f} s: it is stale"
    # A late begin reading and a punctual end one hold one more refresh than the window.
    if energy_j > view.ceiling_w * (duration_s + (view.refresh_s or _LONGEST_REFRESH_S)):
        return (
            f"the energy counter rose implausibly: {energy_j:.0f} J in {duration_s:.3f} s "
            f"against a ceiling of {view.ceiling_w:.0f} W"
        )
    return energy_j, *edge_bounds_j(energy_j, duration_s, view.refresh_s)


def _integrated(
    view: View, begin: PowerMark, end: PowerMark, duration_s: float
) -> tuple[float, float | None, float | None] | str:
    if end.faults != begin.faults:
        return f"{end.fault} ({end.faults - begin.faults} fault(s) in this window)"
    energy_j = j_from_uj(end.energy_uj - begin.energy_uj)
    if energy_j <= 0:
        return f"the power was not read in {duration_s:.4f} s"
    if view.refresh_s is None or duration_s <= 0:
        return energy_j, None, None
    begin_w, end_w = begin.power_mw / 1e3, end.power_mw / 1e3
    # An average begins with up to one averaging time of what was before the window, and ends before it
    # has seen the window's last; whatever happened in the last refresh is not in the last reading.
    late_j = j_from_uj(end.late_uj - begin.late_uj) + max(energy_j / duration_s, end_w) * view.refresh_s
    low_j = energy_j - late_j - begin_w * view.averaging_s
    return energy_j, max(0.0, low_j), energy_j + late_j + end_w * view.averaging_s
