"""A report as frozen data: what it says, its tables, what its charts show. Rendering is elsewhere."""

from __future__ import annotations

from enum import StrEnum

from harness.compare import GroupComparison
from harness.lifecycle import Lifecycle
from harness.records import Frozen


class Kind(StrEnum):
    """What a sentence is about; renderers may set it apart."""

    RECOMMEND = "recommend"
    SAVES = "saves"
    COSTS = "costs"
    UNDECIDED = "undecided"
    PAYBACK = "payback"
    TRAINING = "training"
    LIFECYCLE = "lifecycle"
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
    """One technique of a group: joules a task (statistical interval), and its accuracy where measured."""

    technique: str
    tone: str
    energy_j: float
    low_j: float
    high_j: float
    label: str
    accuracy: float | None = None
    accuracy_low: float | None = None
    accuracy_high: float | None = None
    on_front: bool = False


class EnergyChart(Frozen, frozen=True, kw_only=True):
    """Energy per task of a group of interleaved techniques."""

    group: str
    provenance: str
    title: str
    pareto_title: str
    bars: tuple[EnergyBar, ...]


class CurveData(Frozen, frozen=True, kw_only=True):
    """Validation quality of one training over the joules spent."""

    technique: str
    energies_j: tuple[float, ...]
    qualities: tuple[float, ...]
    lows: tuple[float, ...]
    highs: tuple[float, ...]


class CurveChart(Frozen, frozen=True, kw_only=True):
    """Energy-to-quality curves."""

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
    """Training against inference over the number of requests."""

    title: str
    provenance: str
    lines: tuple[LifeLine, ...]


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
    curve_chart: CurveChart | None
    life_chart: LifeChart | None
    groups: tuple[GroupComparison, ...]
    lifecycle: Lifecycle
