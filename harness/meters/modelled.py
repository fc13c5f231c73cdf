"""Modelled CPU energy: CPU-seconds of the process tree × watts of a vCPU at work.

Where no counter can be read (nearly every cloud guest and CI runner) joules are not measured. What
*is* measured exactly is CPU time, so the model is `E = cpu_s · (W_max − W_idle)` for one vCPU
(hardware thread), with the watts of a power profile that `joulebench calibrate-power` fitted on a host
of this type, or else of a table by microarchitecture.

The model is linear in CPU-seconds on purpose. A curve over the host's utilisation would charge the
same work differently by the shape of its threads, and would bill the neighbours' load; linear, ten
CPU-seconds cost the same on one core or on five, ratios between cases on one machine are ratios of
CPU time, and the error of the coefficient cancels in them. The price: what the model cannot see
(wider vectors, memory traffic, frequency, a sibling thread sharing the core) does not move it.

The idle power of the host is shown (`idle_j`, all online vCPUs) and never billed: in a guest it
belongs to the whole machine and its other tenants.

The table's interval is the disagreement of its sources on `W_max − W_idle`, taken as matched pairs: the
median, 10th and 90th percentiles of SPECpower_ssj2008 servers and the constants that Cloud Carbon
Footprint made of them; independent of those, the measured curve of Eco CI where there is one; and
independent of both, the thermal design power of a typical part times published load ratios. A row with fewer
than two independent sources is refused. SPECpower's watts are taken at the wall of a whole server, so they
hold its memory, fans and power supply. A profile's interval spans the kinds of work and the loads it saw.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import InvalidMeasurement
from harness.host import read_cpu
from harness.meters import profiles
from harness.records import Doubt, Energy, Frozen, MeterInfo, Missing, Provenance

TABLE = "cpu_watts@1"
"""The coefficient set and its version; any change of a number in the CSV raises the version."""

DOMAIN = "cpu-process"
BOUNDARY = "model of this process tree: share of a whole server at the wall, DRAM and PSU contained; not idle"

TDP_RATIO_IDLE = 0.12
"""Package watts over TDP at idle, mean of Teads' measured servers (2021; recalled)."""
TDP_RATIO_MAX = 1.02
"""Package watts over TDP at 100 % load, same source."""

_IN_THE_WALL = "whole-machine wall watts: memory is contained, add no DRAM"

_PAIRS: dict[str, tuple[tuple[str, str], ...]] = {
    "SPECpower": (
        ("max_w", "idle_w"),
        ("max_p10_w", "idle_p10_w"),
        ("max_p90_w", "idle_p90_w"),
        ("ccf_max_w", "ccf_idle_w"),  # made of SPECpower, so no source of its own
    ),
    "Eco CI": (("ecoci_max_w", "ecoci_idle_w"),),
}
"""Independent sources with their pairs of columns."""


class Coefficients(Frozen, frozen=True, kw_only=True):
    """Watts of one vCPU: dynamic (max − idle) with its interval, and idle.

    `name` is the row or the profile, `label` the set, its version and the name, as a record keeps them;
    `sources` are the independent ones the interval rests on, `boundary` what the watts were taken of.
    `known` is False where nothing is known of this CPU.
    """

    name: str
    label: str
    dynamic_w: float
    low_w: float
    high_w: float
    idle_w: float
    known: bool
    boundary: str
    sources: tuple[str, ...]
    notes: tuple[str, ...] = ()


def coefficients(microarchitecture: str | None) -> Coefficients:
    """Return the table's coefficients of a microarchitecture.

    One that is unknown, or has no row, gets the span of the whole table with the geometric middle as
    its value (`known=False`): the error is a factor, not an offset.

    Raises: InvalidMeasurement: a row of the table rests on fewer than two independent sources.
    """
    rows = {row["microarchitecture"]: row for row in _table()}
    if microarchitecture in rows:
        return _of_row(rows[microarchitecture])
    every = [_of_row(row) for row in rows.values()]
    low_w, high_w = min(row.low_w for row in every), max(row.high_w for row in every)
    idle = [row.idle_w for row in every]
    what = f"{microarchitecture!r} has no row" if microarchitecture else "this CPU's microarchitecture is not known"
    return Coefficients(
        name="unknown",
        label=f"{TABLE}:unknown",
        dynamic_w=math.sqrt(low_w * high_w),
        low_w=low_w,
        high_w=high_w,
        idle_w=math.sqrt(min(idle) * max(idle)),
        known=False,
        boundary=BOUNDARY,
        sources=tuple(sorted({source for row in every for source in row.sources})),
        notes=(
            _IN_THE_WALL,
            (
                f"UNKNOWN_MICROARCHITECTURE: {what}; the interval spans the whole table, {TABLE}; "
                "`joulebench calibrate-power` on a bare-metal host of this type would narrow it"
            ),
        ),
    )


def of_profile(found: profiles.Found) -> Coefficients:
    """Return the coefficients of a power profile; its idle watts are shared out over its host's vCPUs."""
    profile = found.profile
    memory = _IN_THE_WALL if profile.whole_machine else "the boundary is the counter's: nothing outside it is added"
    notes = [
        (
            f"measured by calibrate-power against {profile.against} on {profile.created_utc}, "
            f"{profile.windows} windows, error {profile.error_w:.2g} W at a load left out"
        ),
        memory,
        "the interval spans the kinds of work and loads that were run; the meter's own gain error is not in it",
    ]
    if not profile.linear:
        notes.append("the calibrated host was not linear in busy vCPUs: the interval spans its loads")
    if found.older:
        notes.append(f"the newest of {len(found.older) + 1} matching profiles; not used: {', '.join(found.older)}")
    return Coefficients(
        name=profile.name,
        label=profile.coefficients,
        dynamic_w=profile.dynamic_w,
        low_w=profile.low_w,
        high_w=profile.high_w,
        idle_w=profile.idle_w / profile.vcpus,
        known=True,
        boundary=f"model of this process tree, calibrated against: {profile.boundary}; not idle",
        sources=(profile.against,),
        notes=tuple(notes),
    )


class ModelledMeter:
    """`cpu-process`: CPU-seconds of the process tree turned into joules by a model.

    `power` are coefficients to use instead of the table's row for `microarchitecture`.
    """

    name = "modelled"
    channels: tuple[str, ...] = ()

    def __init__(
        self,
        microarchitecture: str | None,
        *,
        billed: bool,
        vcpus: int | None = None,
        power: Coefficients | None = None,
    ) -> None:
        self._w = coefficients(microarchitecture) if power is None else power
        self._vcpus = vcpus or os.cpu_count()
        self.billed = frozenset({DOMAIN}) if billed else frozenset[str]()
        self.doubts: tuple[Doubt, ...] = () if self._w.known else (Doubt.UNKNOWN_MICROARCHITECTURE,)

    def read(self) -> None:
        """Return nothing: the CPU clock is the window's own."""

    def raw(self, mark: Any) -> tuple[int | str | None, ...]:
        """Return nothing: the model has no reading of its own to trace."""
        del mark
        return ()

    def describe(self) -> dict[str, Any]:
        """Return the watts themselves, so that a replay gives the same joules whatever table is installed then."""
        return {"power": msgspec.to_builtins(self._w), "billed": bool(self.billed), "vcpus": self._vcpus}

    def energies(
        self, begin: Any, end: Any, *, duration_s: float, cpu_s: float
    ) -> tuple[tuple[Energy, ...], tuple[Missing, ...]]:
        """Return the one modelled domain; `begin` and `end` carry nothing."""
        del begin, end
        energy = Energy(
            domain=DOMAIN,
            energy_j=cpu_s * self._w.dynamic_w,
            low_j=cpu_s * self._w.low_w,
            high_j=cpu_s * self._w.high_w,
            idle_j=self._w.idle_w * duration_s * self._vcpus if self._vcpus else None,
            provenance=Provenance.MODELLED,
            boundary=self._w.boundary,
            meter=self.name,
            billed=bool(self.billed),
        )
        return (energy,), ()

    def info(self) -> MeterInfo:
        """Return the coefficients in words."""
        w = self._w
        notes = [
            (
                f"{w.dynamic_w:.2f} W per busy vCPU over idle, between {w.low_w:.2f} and {w.high_w:.2f} "
                f"by {', '.join(w.sources)}"
            ),
            f"idle {w.idle_w:.2f} W per vCPU is shown, not billed",
            *w.notes,
        ]
        if not self.billed:
            notes.append("not billed: a counter measures the same joules")
        return MeterInfo(
            name=self.name,
            domains=(DOMAIN,),
            provenance=Provenance.MODELLED,
            boundary=w.boundary,
            refresh_s=0.0,
            window_for_1_percent_s=0.0,
            coefficients=w.label,
            notes=tuple(notes),
        )

    def close(self) -> None:
        """Hold nothing, release nothing."""


def for_host(*, billed: bool, root: Path = Path("/"), places: Sequence[Path] | None = None) -> ModelledMeter:
    """Return the model of this host: its power profile where there is one, else its row of the table.

    Args:
        billed: whether a total counts it.
        root: where `/proc` and `/sys` are.
        places: the folders of profiles; by default those of `profiles.folders()`.

    Raises: ConfigError: a profile there is broken.
    """
    found = profiles.find(profiles.cpu_type(root), None if places is None else tuple(places))
    if found is not None:
        return ModelledMeter(None, billed=billed, power=of_profile(found))
    return ModelledMeter(read_cpu(root).microarchitecture, billed=billed)


def replayed(
    description: dict[str, Any], feed: Callable[[], Sequence[int | str | None]], clock_ns: Callable[[], int]
) -> ModelledMeter:
    """Return the meter as it was described; it has no readings, so `feed` and `clock_ns` are not asked."""
    del feed, clock_ns
    return ModelledMeter(
        None,
        billed=description["billed"],
        vcpus=description["vcpus"],
        power=msgspec.convert(description["power"], Coefficients),
    )


def _table() -> list[dict[str, str]]:
    import csv
    from importlib import resources

    text = resources.files("harness.meters").joinpath("cpu_watts.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _of_row(row: dict[str, str]) -> Coefficients:
    value = float(row["max_w"]) - float(row["idle_w"])
    views = {source: _views(row, columns) for source, columns in _PAIRS.items()}
    if row["tdp_w"] and row["tdp_threads"]:
        views["TDP"] = [(TDP_RATIO_MAX - TDP_RATIO_IDLE) * float(row["tdp_w"]) / float(row["tdp_threads"])]
    sources = tuple(source for source, found in views.items() if found)
    name = row["microarchitecture"]
    if len(sources) < 2:
        raise InvalidMeasurement(f"{TABLE}: the row {name!r} rests on {sources} alone; an interval needs two sources")
    every = [view for found in views.values() for view in found]
    return Coefficients(
        name=name,
        label=f"{TABLE}:{name}",
        dynamic_w=value,
        low_w=min(every),
        high_w=max(every),
        idle_w=float(row["idle_w"]),
        known=True,
        boundary=BOUNDARY,
        sources=sources,
        notes=(_IN_THE_WALL,),
    )


def _views(row: dict[str, str], columns: Sequence[tuple[str, str]]) -> list[float]:
    """Return what one source says of `W_max − W_idle`, by matched pairs of columns."""
    return [float(row[high]) - float(row[low]) for high, low in columns if row[high] and row[low]]
