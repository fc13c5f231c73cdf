"""The charts of a sweep, as inline SVG."""

from __future__ import annotations

from typing import Any

from harness.report import formats as f
from harness.report.model import SweepChart, SweepLine
from harness.report.style import INK, MUTED, SERIES, draw, spread_labels


def sweep_svg(chart: SweepChart) -> str:
    """Return joules a task over size, both axes logarithmic, with the fitted power laws."""
    ends = "; ".join(
        f"{line.name or 'energy a task'}: {f.si(line.energies_j[0], 'J')} at {f.tick(line.sizes[0], '').strip()}, "
        f"{f.si(line.energies_j[-1], 'J')} at {f.tick(line.sizes[-1], '').strip()}"
        for line in chart.lines
    )
    return draw(chart.key, f"{chart.title}. {ends}", lambda axes: _paint(axes, chart))


def _paint(axes: Any, chart: SweepChart) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    for index, line in enumerate(chart.lines):
        _paint_line(axes, line, SERIES[index % len(SERIES)])
    _name_lines(axes, chart)
    sizes = sorted({size for line in chart.lines for size in line.sizes})
    axes.set_xticks(sizes, [f.tick(size, "").strip() for size in sizes])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda value, _: f.tick(value, "J"))
    axes.grid()
    axes.set_xlabel(f"{chart.against} (lines: fitted power laws)", loc="left", color=MUTED)
    axes.set_ylabel(f"energy a task (J, {chart.provenance})", color=MUTED)


def _paint_line(axes: Any, line: SweepLine, colour: str) -> None:
    below = [energy - low for energy, low in zip(line.energies_j, line.lows_j, strict=True)]
    above = [high - energy for energy, high in zip(line.energies_j, line.highs_j, strict=True)]
    axes.errorbar(
        line.sizes, line.energies_j, yerr=[below, above], fmt="o", color=colour, ecolor=colour, markersize=6, capsize=3,
        elinewidth=1.4, zorder=2,
    )  # fmt: skip
    if line.law is not None:
        ends = [line.sizes[0], line.sizes[-1]]
        axes.plot(ends, [line.law.at(size) for size in ends], color=colour, linewidth=1.4, zorder=1)


def _name_lines(axes: Any, chart: SweepChart) -> None:
    """Write each line's name and exponent beside its end, in the order of height."""
    import math

    ends = [math.log10(line.energies_j[-1]) for line in chart.lines]
    values = [math.log10(value) for line in chart.lines for value in (*line.lows_j, *line.highs_j) if value > 0]
    span = (max(values) - min(values)) or 1.0
    for index, (line, y) in enumerate(zip(chart.lines, spread_labels(ends, 0.08 * span), strict=True)):
        law = f"exponent {line.law.exponent:.2f}" if line.law is not None else ""
        text = ", ".join(part for part in (line.name, law) if part)
        axes.annotate(
            text, (line.sizes[-1], 10.0**y), xytext=(9, 0), textcoords="offset points", va="center",
            color=SERIES[index % len(SERIES)] if len(chart.lines) > 1 else INK, annotation_clip=False,
        )  # fmt: skip
