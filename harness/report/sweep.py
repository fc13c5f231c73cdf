"""What the report says of a sweep: its points, and how energy scales along each axis."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness import axes
from harness.compare import PARAMETERS, Point, Scaling, SweepComparison
from harness.report import formats as f
from harness.report.gather import Gathered
from harness.report.model import Cell, Column, Kind, Sentence, SweepChart, SweepLine, Table
from harness.report.provenance import bounds_heading, bounds_note, label
from harness.stats import Limit, PowerLaw

_MOST_LINES = 6
"""A chart with more lines shows only those on which the other axes have their first values."""

CLAIM = "claim C3, that cost grows in proportion to model size (an exponent of 1),"


def sweep_tables(run: Gathered) -> tuple[Table, ...]:
    """Return the points of each sweep, and the laws along its axes."""
    several = len(run.sweeps) > 1
    return tuple(
        table
        for sweep in run.sweeps
        for table in (_points_table(sweep, f" on {sweep.name}" if several else ""), _laws_table(sweep, several=several))
    )


def _points_table(sweep: SweepComparison, where: str) -> Table:
    totals = [point.total for point in sweep.points if point.total is not None]
    techniques = {point.technique for point in sweep.points}
    compared = sum(point.ratio is not None for point in sweep.points)
    return Table(
        key=f"sweep-{sweep.name}",
        title=f"Sweep{where}: energy a task at every point",
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
            (
                f"All points were interleaved in the same blocks; {compared} ratios to the first point hold together "
                f"at {sweep.confidence:.0%} ({sweep.each_confidence:.2%} each)."
            ),
        ),
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
    return Table(
        key=f"scaling-{sweep.name}",
        title=f"Scaling{where}: energy a task ∝ size ^ exponent",
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
        ),
    )


def _law_row(scaling: Scaling, sweep: SweepComparison) -> tuple[Cell, ...]:
    law = scaling.law
    first = (
        Cell(text=_unit(scaling, sweep)),
        Cell(text=scaling.technique),
        Cell(text=_else(scaling, sweep) or f.NOTHING),
    )
    if law is None:
        return (*first, Cell(text="none", detail=scaling.reason), *(Cell(text=f.NOTHING),) * 4)
    curve = law.curvature
    return (
        *first,
        Cell(text=_exponent(law), detail=_span(law.low, law.high)),
        Cell(text=_span(law.measured_low, law.measured_high)),
        Cell(text=_residual(law)),
        Cell(text=f"{curve.at_smallest:.2f} to {curve.at_largest:.2f}" if curve else f.NOTHING,
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
        of = f" of {scaling.technique}" if techniques else ""
        unit = _unit(scaling, sweep)
        if scaling.law is None:
            said.append(f"{where}along {_short(scaling.axis, sweep)} no law was fitted to energy a task{of}: "
                        f"{scaling.reason}.")  # fmt: skip
        else:
            said.append(f"{where}{_law(scaling, scaling.law, unit, of)}")
    return said


def _law(scaling: Scaling, law: PowerLaw, unit: str, of: str) -> str:
    verb = "grows" if law.exponent >= 0 else "falls"
    level = f"{law.confidence * 100:.0f} %"
    text = f"energy per task{of} {verb} as {unit}^{_exponent(law)} ({level} interval {_span(law.low, law.high)}, "
    if law.residual_sd is None:
        text += (
            f"{law.n} sizes, by measurement error alone: two sizes have an exponent, but cannot show that a power law "
            "holds)."
        )
    else:
        text += f"{law.n} sizes; fit residual {_residual(law)}). {_limit(law)}"
    curve = law.curvature
    if curve is not None and curve.shown:
        text += (
            " One power law does not hold over these sizes: the exponent goes from "
            f"{curve.at_smallest:.2f} between the two smallest to {curve.at_largest:.2f} between the two largest, "
            "beyond what the measurement leaves open."
        )
    return f"{text} {_claim(law)}" if scaling.against == PARAMETERS else text


def _exponent(law: PowerLaw) -> str:
    return f"{law.exponent:.2f}".replace("-", "−")


def _limit(law: PowerLaw) -> str:
    alone = f"the measurement alone would leave {_span(law.measured_low, law.measured_high)}"
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
    return f"±{math.expm1(law.residual_sd):.1%}" if law.residual_sd is not None else f.NOTHING


def _span(low: float, high: float) -> str:
    return f"{low:.2f} to {high:.2f}".replace("-", "−")


def _short(axis: str, sweep: SweepComparison) -> str:
    return axes.short(axis, tuple(sweep.axes))


def _unit(scaling: Scaling, sweep: SweepComparison) -> str:
    return PARAMETERS if scaling.against == PARAMETERS else _short(scaling.against, sweep)


def _else(scaling: Scaling, sweep: SweepComparison) -> str:
    return ", ".join(f"{_short(axis, sweep)} {value}" for axis, value in scaling.at.items())


def sweep_charts(run: Gathered) -> tuple[SweepChart, ...]:
    """Return a chart for every axis, and one over the parameters where the axis makes larger models."""
    charts = []
    for sweep in run.sweeps:
        kinds = dict.fromkeys((each.axis, each.against) for each in sweep.scalings if each.sizes)
        for axis, against in kinds:
            mine = [each for each in sweep.scalings if (each.axis, each.against) == (axis, against)]
            charts.append(_chart(sweep, mine, f" ({sweep.name})" if len(run.sweeps) > 1 else ""))
    return tuple(chart for chart in charts if chart is not None)


def _chart(sweep: SweepComparison, scalings: Sequence[Scaling], where: str) -> SweepChart | None:
    if len(scalings) > _MOST_LINES:
        firsts = {axis: values[0] for axis, values in sweep.axes.items()}
        scalings = [each for each in scalings if all(firsts[axis] == value for axis, value in each.at.items())]
    points = {point.case_id: point for point in sweep.points}
    techniques = len({scaling.technique for scaling in scalings}) > 1
    lines = [_line(each, sweep, points, techniques=techniques) for each in scalings]
    drawn = [line for line in lines if line is not None]
    if not drawn:
        return None
    unit = _unit(scalings[0], sweep)
    law = drawn[0].law
    totals = [point.total for point in sweep.points if point.total is not None]
    return SweepChart(
        key=f"sweep-{sweep.name}-{scalings[0].axis}-{scalings[0].against}",
        title=f"Energy a task over {unit}{f': {unit}^{_exponent(law)}' if law is not None else ''}{where}",
        provenance=label(totals),
        against=unit,
        lines=tuple(drawn),
    )


def _line(scaling: Scaling, sweep: SweepComparison, points: dict[str, Point], *, techniques: bool) -> SweepLine | None:
    found = [(size, points[case_id].energy) for size, case_id in zip(scaling.sizes, scaling.case_ids, strict=True)]
    known = sorted((size, energy.estimate, energy.low, energy.high) for size, energy in found if energy is not None)
    if not known:
        return None
    sizes, energies, lows, highs = zip(*known, strict=True)
    name = ", ".join(part for part in (scaling.technique if techniques else "", _else(scaling, sweep)) if part)
    return SweepLine(name=name, sizes=sizes, energies_j=energies, lows_j=lows, highs_j=highs, law=scaling.law)
