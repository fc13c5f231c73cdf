"""A report as frozen data: what it says, its tables, what its charts show. Rendering is elsewhere."""

from __future__ import annotations

from enum import StrEnum

from harness.compare import GroupComparison, SweepComparison
from harness.lifecycle import Lifecycle
from harness.records import Frozen
from harness.stats import PowerLaw


class Kind(StrEnum):
    """What a sentence is about; renderers may set it apart."""

    RECOMMEND = "recommend"
    SAVES = "saves"
    COSTS = "costs"
    UNDECIDED = "undecided"
    UNCOMPARED = "uncompared"
    PAYBACK = "payback"
    TRAINING = "training"
    LIFECYCLE = "lifecycle"
    SCALING = "scaling"
    PROVENANCE = "provenance"


class Sentence(Frozen, frozen=True, kw_only=True):
    """One thing the report says."""

    kind: Kind
    text: str


class Cell(Frozen, frozen=True, kw_only=True):
    """A cell: the value, and below it what qualifies it (interval, reason)."""

    text: str
    detail: str = ""


class Column(Frozen, frozen=True, kw_only=True):
    """A column; numbers stand to the right. A terminal too narrow for the table leaves `extra` columns out."""

    name: str
    numeric: bool = True
    extra: bool = False


class Table(Frozen, frozen=True, kw_only=True):
    """A table whose cells are formatted, units included."""

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    intro: str = ""
    notes: tuple[str, ...] = ()


class EnergyBar(Frozen, frozen=True, kw_only=True):
    """One technique of a group: joules a task (statistical interval), and its quality where measured."""

    technique: str
    tone: str
    energy_j: float
    low_j: float
    high_j: float
    label: str
    quality: float | None = None
    quality_low: float | None = None
    quality_high: float | None = None
    on_front: bool = False


class EnergyChart(Frozen, frozen=True, kw_only=True):
    """Energy per task of a group of interleaved techniques."""

    group: str
    provenance: str
    title: str
    pareto_title: str
    metric: str
    bars: tuple[EnergyBar, ...]


class CurveData(Frozen, frozen=True, kw_only=True):
    """Validation quality of one training over the joules spent."""

    technique: str
    energies_j: tuple[float, ...]
    qualities: tuple[float, ...]
    lows: tuple[float, ...]
    highs: tuple[float, ...]


class CurveChart(Frozen, frozen=True, kw_only=True):
    """Energy-to-quality curves of trainings on one workload and device; `group` names these where there are several."""

    group: str
    title: str
    provenance: str
    metric: str
    target: float | None
    curves: tuple[CurveData, ...]


class LifeLine(Frozen, frozen=True, kw_only=True):
    """One pipeline: joules before the first request, joules a request, and where the two are level."""

    name: str
    once_j: float
    per_task_j: float
    parity_tasks: float


class LifeChart(Frozen, frozen=True, kw_only=True):
    """Training against inference over the number of requests; `group` names the workload where there are several."""

    group: str
    title: str
    provenance: str
    lines: tuple[LifeLine, ...]


class SweepLine(Frozen, frozen=True, kw_only=True):
    """Joules a task over size with everything else the same, and the law through them, if there is one.

    `words` are what the sizes are called, nothing where they are only numbers.
    """

    name: str
    sizes: tuple[float, ...]
    words: tuple[str, ...]
    energies_j: tuple[float, ...]
    lows_j: tuple[float, ...]
    highs_j: tuple[float, ...]
    law: PowerLaw | None


class SweepChart(Frozen, frozen=True, kw_only=True):
    """Energy a task along one axis of a sweep, both axes logarithmic."""

    key: str
    title: str
    provenance: str
    against: str
    lines: tuple[SweepLine, ...]


class Report(Frozen, frozen=True, kw_only=True):
    """Everything a reader is told about one run. `banner` is set when the joules are not real."""

    title: str
    run_id: str
    subtitle: str
    banner: str | None
    sentences: tuple[Sentence, ...]
    doubts: tuple[str, ...]
    tables: tuple[Table, ...]
    energy_charts: tuple[EnergyChart, ...]
    curve_charts: tuple[CurveChart, ...]
    life_charts: tuple[LifeChart, ...]
    sweep_charts: tuple[SweepChart, ...]
    groups: tuple[GroupComparison, ...]
    lifecycle: Lifecycle
    sweeps: tuple[SweepComparison, ...] = ()
