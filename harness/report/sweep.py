"""What the report says of a sweep: its points, and how energy scales along each axis. A sweep measures inference."""

from __future__ import annotations

import math

from harness import axes
from harness.compare import PARAMETERS, Point, Scaling, SweepComparison
from harness.records import Provenance
from harness.report import formats as f
from harness.report.gather import Gathered
from harness.report.model import Cell, Column, Kind, Sentence, Table
from harness.report.provenance import bounds_heading, bounds_note, label
from harness.report.sweep_words import else_of, exponent, short_of, signed, span, unit_of
from harness.stats import Limit, PowerLaw

CLAIM = "claim C3, that cost grows in proportion to model size (an exponent of 1),"

_COUNTED = (
    "Parameters are all weights of a model, its embedding tables included: these are looked up, which is next to no "
    "work, and can be most of a small model."
)
_MODELLED = (
    "Modelled joules are CPU-seconds times the same watts at every point, so these are exponents of CPU-seconds: what "
    "another size changes in watts, in memory traffic for example, is not in them."
)


def sweep_tables(run: Gathered) -> tuple[Table, ...]:
    """Return the points of each sweep, and the laws along its axes."""
    several = len(run.sweeps) > 1
    return tuple(
        table
        for sweep in run.sweeps
        for table in (_points_table(sweep, f" on {sweep.name}" if several else ""), _laws_table(sweep, several=several))
    )


def _points_table(sweep: SweepComparison, where: str) -> Table:
    totals = sweep.totals
    techniques = {point.technique for point in sweep.points}
    return Table(
        key=f"sweep-{sweep.name}",
        title=f"Sweep{where}: energy a task of inference at every point",
        columns=(
            *(Column(name=axes.short(axis, tuple(sweep.axes)), numeric=False) for axis in sweep.axes),
            *((Column(name="technique", numeric=False),) if len(techniques) > 1 else ()),
            Column(name="parameters"),
            Column(name="energy a task"),
            Column(name=bounds_heading(totals), extra=True),
            Column(name="ratio to the first"),
            Column(name="time a task"),
            Column(name="peak memory", extra=True),
            Column(name="blocks × forks", extra=True),
        ),
        rows=tuple(_point_row(point, sweep, several=len(techniques) > 1) for point in sweep.points),
        notes=(
            (
                f"Energy of a typical block (20 % trimmed mean of logarithms), {sweep.confidence:.0%} interval; "
                f"{bounds_note(totals)} Provenance: {label(totals)}."
            ),
            _interleaved(sweep),
        ),
    )


def _interleaved(sweep: SweepComparison) -> str:
    compared = sum(point.ratio is not None for point in sweep.points)
    text = "All points were interleaved in the same blocks"
    if compared == 0:
        return f"{text}."
    if compared == 1:
        return f"{text}; the ratio to the first point is at {sweep.confidence:.0%}."
    return (
        f"{text}; {compared} ratios to the first point hold together at {sweep.confidence:.0%} "
        f"({sweep.each_confidence:.2%} each)."
    )


def _point_row(point: Point, sweep: SweepComparison, *, several: bool) -> tuple[Cell, ...]:
    energy, total, ratio = point.energy, point.total, point.ratio
    spent, bounds = Cell(text="not measured", detail=point.gap), Cell(text=f.NOTHING)
    if energy is not None and total is not None:
        spent = Cell(text=f.si(energy.estimate, "J"), detail=f.si_range((energy.low, energy.high), "J"))
        scale = energy.estimate / total.energy_j
        if total.bounded:
            bounds = Cell(text=f.si_range((total.low_j * scale, total.high_j * scale), "J"))
    against = Cell(text="1" if point.case_id == sweep.base_id else f.NOTHING)
    if ratio is not None:
        against = Cell(text=f.ratio(ratio.estimate), detail=f.interval_of(ratio))
    elif energy is not None and point.gap:
        against = Cell(text=f.NOTHING, detail=point.gap)
    peak = point.peak_memory_bytes
    return (
        *(Cell(text=str(point.values[axis])) for axis in sweep.axes),
        *((Cell(text=point.technique),) if several else ()),
        Cell(text=f"{point.parameters:,}" if point.parameters else f.NOTHING),
        spent,
        bounds,
        against,
        Cell(text=f.si(point.duration_s, "s") if point.duration_s is not None else f.NOTHING),
        Cell(text=f"{peak / 2**20:,.0f} MiB" if peak is not None else f.NOTHING),
        Cell(text=f"{energy.n_blocks} in {energy.n_forks}" if energy is not None else f.NOTHING),
    )


def _laws_table(sweep: SweepComparison, *, several: bool) -> Table:
    where = f" on {sweep.name}" if several else ""
    known = {part.provenance for total in sweep.totals for part in total.parts}
    return Table(
        key=f"scaling-{sweep.name}",
        title=f"Scaling{where}: energy a task of inference ∝ size ^ exponent",
        columns=(
            Column(name="size counted in", numeric=False),
            Column(name="technique", numeric=False),
            Column(name="everything else", numeric=False),
            Column(name="exponent"),
            Column(name="by measurement alone"),
            Column(name="residual"),
            Column(name="exponent, two smallest to two largest", extra=True),
            Column(name="sizes", extra=True),
        ),
        rows=tuple(_law_row(scaling, sweep) for scaling in sweep.scalings),
        notes=(
            (
                f"Least squares on logarithms, {sweep.confidence:.0%} intervals, each: the wider of what the sizes' "
                "scatter about the line leaves open (Student's t, from three sizes on) and what the measurement does "
                "(over blocks and forks). The residual is the sizes' spread about the line."
            ),
            *((_COUNTED,) if any(scaling.against == PARAMETERS for scaling in sweep.scalings) else ()),
            *((_MODELLED,) if known == {Provenance.MODELLED} else ()),
        ),
    )


def _law_row(scaling: Scaling, sweep: SweepComparison) -> tuple[Cell, ...]:
    law = scaling.law
    first = (
        Cell(text=unit_of(scaling, sweep)),
        Cell(text=scaling.technique),
        Cell(text=else_of(scaling, sweep) or f.NOTHING),
    )
    if law is None:
        return (*first, Cell(text="none", detail=scaling.reason), *(Cell(text=f.NOTHING),) * 4)
    curve = law.curvature
    return (
        *first,
        Cell(text=exponent(law), detail=span(law.low, law.high)),
        Cell(text=span(law.measured_low, law.measured_high)),
        Cell(text=_residual(law)),
        Cell(text=span(curve.at_smallest, curve.at_largest) if curve else f.NOTHING,
             detail="beyond measurement error" if curve and curve.shown else ""),
        Cell(text=str(law.n)),
    )  # fmt: skip


def sweep_sentences(run: Gathered) -> list[Sentence]:
    """Say how energy scales along each axis, what leaves the exponent open, and whether claim C3 holds."""
    several = len(run.sweeps) > 1
    return [
        Sentence(kind=Kind.SCALING, text=f.capital(text))
        for sweep in run.sweeps
        for text in _said(sweep, f"On {sweep.name}: " if several else "")
    ]


def _said(sweep: SweepComparison, where: str) -> list[str]:
    said = []
    firsts = {axis: values[0] for axis, values in sweep.axes.items()}
    techniques = len({scaling.technique for scaling in sweep.scalings}) > 1
    for scaling in sweep.scalings:
        if any(value != firsts[axis] for axis, value in scaling.at.items()):
            continue
        of = f" with {scaling.technique}" if techniques else ""
        unit = unit_of(scaling, sweep)
        if scaling.law is None:
            said.append(f"{where}along {short_of(scaling.axis, sweep)} no law was fitted to energy a task{of}: "
                        f"{scaling.reason}.")  # fmt: skip
        else:
            said.append(f"{where}{_law(scaling, scaling.law, unit, of)}")
    return said


def _law(scaling: Scaling, law: PowerLaw, unit: str, of: str) -> str:
    verb = "grows" if law.exponent >= 0 else "falls"
    level = f"{law.confidence * 100:.0f} %"
    text = f"energy per task of inference{of} {verb} as {unit}^{exponent(law)} "
    text += f"({level} interval {span(law.low, law.high)}, "
    if law.residual_sd is None:
        text += (
            f"{law.n} sizes, by measurement error alone: two sizes have an exponent, but cannot show that a power law "
            "holds)."
        )
    else:
        text += f"{law.n} sizes; fit residual {_residual(law)}). {_limit(law)}"
    if law.low <= 0 <= law.high:
        text += " Whether such a law grows or falls is not shown: 0 lies in the interval."
    curve = law.curvature
    if curve is not None and curve.shown:
        text += (
            " One power law does not hold over these sizes: the exponent goes from "
            f"{signed(curve.at_smallest)} between the two smallest to {signed(curve.at_largest)} between the two "
            "largest, beyond what the measurement leaves open."
        )
    return f"{text} {_claim(law)}" if scaling.against == PARAMETERS else text


def _limit(law: PowerLaw) -> str:
    alone = f"the measurement alone would leave {span(law.measured_low, law.measured_high)}"
    if law.limited_by is Limit.SCATTER:
        return f"The scatter of the sizes about the line makes that interval; {alone}."
    return f"The measurement makes that interval, not the scatter of the {law.n} sizes about the line."


def _claim(law: PowerLaw) -> str:
    if law.low > 1:
        return f"{f.capital(CLAIM)} does not hold here: the whole interval lies above 1, energy grows faster."
    if law.high < 1:
        return f"{f.capital(CLAIM)} does not hold here: the whole interval lies below 1, energy grows more slowly."
    return f"{f.capital(CLAIM)} is not contradicted: 1 lies in the interval."


def _residual(law: PowerLaw) -> str:
    return f"±{f.percent(math.expm1(law.residual_sd))}" if law.residual_sd is not None else f.NOTHING
