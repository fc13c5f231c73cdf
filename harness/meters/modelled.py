"""Modelled CPU energy: CPU-seconds of the process tree × watts of a vCPU at work.

Where no counter can be read (nearly every cloud guest and CI runner) joules are not measured. What
*is* measured exactly is CPU time, so the model is `E = cpu_s · (W_max − W_idle)` for one vCPU
(hardware thread) of this microarchitecture.

The model is linear in CPU-seconds on purpose. A curve over the host's utilisation would charge the
same work differently by the shape of its threads, and would bill the neighbours' load; linear, ten
CPU-seconds cost the same on one core or on five, ratios between cases on one machine are ratios of
CPU time, and the error of the coefficient cancels in them. The price: what the model cannot see
(wider vectors, memory traffic, frequency, a sibling thread sharing the core) does not move it.

The idle power of the host is shown (`idle_j`, all online vCPUs) and never billed: in a guest it
belongs to the whole machine and its other tenants.

The interval is the disagreement of the sources in `cpu_watts.csv` on `W_max − W_idle`, taken as
matched pairs: the median, 10th and 90th percentiles of SPECpower_ssj2008 servers, the constants of
Cloud Carbon Footprint, the measured curve of Eco CI where there is one, and, independent of
SPECpower, the thermal design power of a typical part times published load ratios. SPECpower's watts
are taken at the wall of a whole server, so they hold its memory, fans and power supply.
"""

from __future__ import annotations

import csv
import math
import os
from typing import Any

from harness.records import Doubt, Energy, Frozen, MeterInfo, Missing, Provenance

TABLE = "cpu_watts@1"
"""The coefficient set and its version; any change of a number in the CSV raises the version."""

DOMAIN = "cpu-process"
BOUNDARY = "model of this process tree: share of a whole server at the wall, DRAM and PSU contained; not idle"

TDP_RATIO_IDLE = 0.12
"""Package watts over TDP at idle, mean of Teads' measured servers (2021; recalled)."""
TDP_RATIO_MAX = 1.02
"""Package watts over TDP at 100 % load, same source."""


class Coefficients(Frozen, frozen=True, kw_only=True):
    """Watts of one vCPU: dynamic (max − idle) with its interval, and idle. `name` keys the table row."""

    name: str
    dynamic_w: float
    low_w: float
    high_w: float
    idle_w: float
    known: bool


def coefficients(microarchitecture: str | None) -> Coefficients:
    """Return the coefficients of a microarchitecture.

    One that is unknown, or has no row, gets the span of the whole table with the geometric middle as
    its value (`known=False`): the error is a factor, not an offset.
    """
    rows = {row["microarchitecture"]: row for row in _table()}
    if microarchitecture in rows:
        return _of_row(rows[microarchitecture])
    every = [_of_row(row) for row in rows.values()]
    low_w, high_w = min(row.low_w for row in every), max(row.high_w for row in every)
    idle = [row.idle_w for row in every]
    return Coefficients(
        name="unknown",
        dynamic_w=math.sqrt(low_w * high_w),
        low_w=low_w,
        high_w=high_w,
        idle_w=math.sqrt(min(idle) * max(idle)),
        known=False,
    )


class ModelledMeter:
    """`cpu-process`: CPU-seconds of the process tree turned into joules by a model."""

    name = "modelled"

    def __init__(self, microarchitecture: str | None, *, billed: bool, vcpus: int | None = None) -> None:
        self._w = coefficients(microarchitecture)
        self._asked = microarchitecture
        self._vcpus = vcpus or os.cpu_count()
        self.billed = frozenset({DOMAIN}) if billed else frozenset[str]()
        self.doubts: tuple[Doubt, ...] = () if self._w.known else (Doubt.UNKNOWN_MICROARCHITECTURE,)

    def read(self) -> None:
        """Return nothing: the CPU clock is the window's own."""

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
            boundary=BOUNDARY,
            meter=self.name,
            billed=bool(self.billed),
        )
        return (energy,), ()

    def info(self) -> MeterInfo:
        """Return the coefficients in words."""
        w = self._w
        notes = [
            f"{w.dynamic_w:.2f} W per busy vCPU over idle, sources between {w.low_w:.2f} and {w.high_w:.2f}",
            f"idle {w.idle_w:.2f} W per vCPU is shown, not billed",
            "whole-server wall watts: memory is contained, add no DRAM",
        ]
        if not w.known:
            what = f"{self._asked!r} has no row" if self._asked else "this CPU's microarchitecture is not known"
            notes.append(f"UNKNOWN_MICROARCHITECTURE: {what}; the interval spans the whole table, {TABLE}")
        if not self.billed:
            notes.append("not billed: a counter measures the same joules")
        return MeterInfo(
            name=self.name,
            domains=(DOMAIN,),
            provenance=Provenance.MODELLED,
            boundary=BOUNDARY,
            refresh_s=0.0,
            window_for_1_percent_s=0.0,
            coefficients=f"{TABLE}:{w.name}",
            notes=tuple(notes),
        )

    def close(self) -> None:
        """Hold nothing, release nothing."""


def _table() -> list[dict[str, str]]:
    from importlib import resources

    text = resources.files("harness.meters").joinpath("cpu_watts.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _of_row(row: dict[str, str]) -> Coefficients:
    value = float(row["max_w"]) - float(row["idle_w"])
    pairs = (
        ("max_p10_w", "idle_p10_w"),
        ("max_p90_w", "idle_p90_w"),
        ("ccf_max_w", "ccf_idle_w"),
        ("ecoci_max_w", "ecoci_idle_w"),
    )
    views = [value, *(float(row[high]) - float(row[low]) for high, low in pairs if row[high] and row[low])]
    views.append((TDP_RATIO_MAX - TDP_RATIO_IDLE) * float(row["tdp_w"]) / float(row["tdp_threads"]))
    return Coefficients(
        name=row["microarchitecture"],
        dynamic_w=value,
        low_w=min(views),
        high_w=max(views),
        idle_w=float(row["idle_w"]),
        known=True,
    )
