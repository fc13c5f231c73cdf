"""What the `energy` fixture leaves in pytest-benchmark's `extra_info`, under the key `joulebench`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

from harness import __version__, host, stats
from harness.errors import InvalidMeasurement, NotMeasured
from harness.records import Doubt, Frozen, MeterInfo, Missing, Provenance

if TYPE_CHECKING:
    from harness.measuring import Window

KEY = "joulebench"
"""Where in `extra_info` it stands."""

SCHEMA = 1
"""Version of `EnergyInfo`. 1: first format (2026-11)."""


class EnergyInfo(Frozen, frozen=True, kw_only=True):
    """The joules of one benchmarked test; a task is one call of its function.

    `energy_per_task_j` holds one value a round, in the order of pytest-benchmark's `data`. `mean_j` is all
    joules over all calls, `low_j` and `high_j` what the meters know of its error; the rounds' spread is not in
    them. `gap` says why there are no joules; `batched` why a round holds several calls.
    """

    schema: int = SCHEMA
    joulebench: str
    host_fingerprint: str
    rounds: int
    tasks_per_round: int
    energy_per_task_j: tuple[float, ...] = ()
    mean_j: float | None = None
    median_j: float | None = None
    low_j: float | None = None
    high_j: float | None = None
    provenance: Provenance | None = None
    known: str | None = None
    domains: tuple[str, ...] = ()
    cpu_s: float
    duration_s: float
    doubts: tuple[Doubt, ...] = ()
    missing: tuple[Missing, ...] = ()
    meters: tuple[MeterInfo, ...] = ()
    batched: str | None = None
    gap: str | None = None


def summarise(windows: Sequence[Window], tasks_per_round: int, meters: Sequence[MeterInfo]) -> EnergyInfo:
    """Return what the windows of a test's rounds held; `cpu_s` and `duration_s` are a task's."""
    tasks = len(windows) * tasks_per_round
    measured = [window.measured for window in windows]
    info = EnergyInfo(
        joulebench=__version__,
        host_fingerprint=host.fingerprint(host.probe()),
        rounds=len(windows),
        tasks_per_round=tasks_per_round,
        cpu_s=math.fsum(one.cpu_s for one in measured) / tasks,
        duration_s=math.fsum(one.duration_s for one in measured) / tasks,
        doubts=tuple(dict.fromkeys(doubt for one in measured for doubt in one.doubts)),
        missing=tuple(dict.fromkeys(gap for one in measured for gap in one.missing)),
        meters=tuple(meters),
    )
    return _with_joules(info, windows, tasks)


def describe(info: EnergyInfo) -> str:
    """Return the joules in one line for people."""
    held = f"{info.rounds} rounds" + (f" × {info.tasks_per_round} calls" if info.tasks_per_round > 1 else "")
    if info.mean_j is None:
        return f"no joules: {info.gap}; {info.cpu_s * 1e3:.4g} CPU-ms a call; {held}"
    bounds = ""
    if info.low_j is not None and info.high_j is not None and info.low_j != info.high_j:
        bounds = f" ({info.low_j * 1e3:.3g} to {info.high_j * 1e3:.3g})"
    doubts = ", ".join(doubt.value for doubt in info.doubts if doubt is not Doubt.MODELLED)
    return f"{info.mean_j * 1e3:.4g} mJ a call{bounds}, {info.known}; {held}" + (
        f"; doubts: {doubts}" if doubts else ""
    )


def _with_joules(info: EnergyInfo, windows: Sequence[Window], tasks: int) -> EnergyInfo:
    from msgspec.structs import replace

    try:
        totals = [window.total for window in windows]
        whole = stats.scaled(stats.add(totals), 1 / tasks)
    except (NotMeasured, InvalidMeasurement) as error:
        return replace(info, gap=str(error))
    per_task_j = tuple(total.energy_j / info.tasks_per_round for total in totals)
    return replace(
        info,
        energy_per_task_j=per_task_j,
        mean_j=whole.energy_j,
        median_j=median(per_task_j),
        low_j=whole.low_j,
        high_j=whole.high_j,
        provenance=whole.provenance,
        known=whole.label,
        domains=whole.domains,
    )
