"""What the charts of a sweep draw: a line of points for everything else the same, and the law through them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.compare import Point, Scaling, SweepComparison
from harness.report.gather import Gathered
from harness.report.model import SweepChart, SweepLine
from harness.report.provenance import label
from harness.report.sweep_words import else_of, exponent, span, unit_of
from harness.stats import PowerLaw

_MOST_LINES = 6
"""A chart with more lines shows only those on which the other axes have their first values."""


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
    unit = unit_of(scalings[0], sweep)
    return SweepChart(
        key=f"sweep-{sweep.name}-{scalings[0].axis}-{scalings[0].against}",
        title=f"Energy a task of inference against {unit}{_exponents(drawn)}{where}",
        provenance=label(sweep.totals),
        against=unit,
        lines=tuple(drawn),
    )


def _exponents(lines: Sequence[SweepLine]) -> str:
    """Return what a chart's title says of the laws of its lines: one with its interval, of several the range."""
    laws = [line.law for line in lines if line.law is not None]
    if not laws:
        return ""
    if len(lines) == 1:
        (law,) = laws
        return f": exponent {exponent(law)}, {law.confidence * 100:.0f} % interval {span(law.low, law.high)}"
    low, high = min(laws, key=_by_exponent), max(laws, key=_by_exponent)
    if exponent(low) == exponent(high):
        return f": exponents all {exponent(low)}"
    return f": exponents {span(low.exponent, high.exponent)}"


def _by_exponent(law: PowerLaw) -> float:
    return law.exponent


def _line(scaling: Scaling, sweep: SweepComparison, points: dict[str, Point], *, techniques: bool) -> SweepLine | None:
    found = [(size, points[case_id]) for size, case_id in zip(scaling.sizes, scaling.case_ids, strict=True)]
    known = sorted(
        (size, each.energy.estimate, each.energy.low, each.energy.high, _word(each.values[scaling.axis]))
        for size, each in found
        if each.energy is not None
    )
    if not known:
        return None
    sizes, energies, lows, highs, words = zip(*known, strict=True)
    return SweepLine(
        name=", ".join(part for part in (scaling.technique if techniques else "", else_of(scaling, sweep)) if part),
        sizes=sizes,
        words=words,
        energies_j=energies,
        lows_j=lows,
        highs_j=highs,
        law=scaling.law,
    )


def _word(value: Any) -> str:
    """Return what a size is called where it is called by a word."""
    return value if isinstance(value, str) else ""
