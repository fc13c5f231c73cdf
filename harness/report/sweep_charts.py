"""The charts of a sweep, as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from harness.compare import PARAMETERS
from harness.report import formats as f
from harness.report.model import SweepChart, SweepLine
from harness.report.style import INK, MUTED, SERIES, draw, spread_labels
from harness.report.sweep_words import exponent

_TICKS_APART = 0.1
"""Sizes nearer to each other than this share of the axis have one tick, for their labels would overlap."""

_FACTOR_FOR_LOG_TICKS = 8
"""Energies that lie within a smaller factor get ticks at even distances: round logarithms would be too few."""

_FACTOR_FOR_DECADES = 200


def sweep_svg(chart: SweepChart) -> str:
    """Return joules a task over size, both axes logarithmic, with the fitted power laws."""
    ends = "; ".join(
        f"{line.name or 'energy a task'}: {f.si(line.energies_j[0], 'J')} at {_size(line.sizes[0])}, "
        f"{f.si(line.energies_j[-1], 'J')} at {_size(line.sizes[-1])}"
        for line in chart.lines
    )
    return draw(chart.key, f"{chart.title}. {ends}", lambda axes: _paint(axes, chart))


def _paint(axes: Any, chart: SweepChart) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    claimed = chart.against == PARAMETERS
    for index, line in enumerate(chart.lines):
        _paint_line(axes, line, SERIES[index % len(SERIES)])
    if claimed:
        _paint_claim(axes, chart.lines[0])
    _name_lines(axes, chart)
    _mark_sizes(axes, chart)
    _mark_energies(axes)
    axes.grid()
    legend = ""
    if any(line.law is not None for line in chart.lines):
        dashed = "; dashed: in proportion" if claimed and chart.lines[0].law is not None else ""
        legend = f" (lines: fitted power laws{dashed})"
    axes.set_xlabel(f"{chart.against}{legend}", loc="left", color=MUTED)
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


def _paint_claim(axes: Any, line: SweepLine) -> None:
    """Paint what claim C3 says: energy in proportion to size, from where the law of a line begins."""
    if line.law is not None:
        smallest, largest = line.sizes[0], line.sizes[-1]
        from_j = line.law.at(smallest)
        claimed_j = [from_j, from_j * largest / smallest]
        axes.plot([smallest, largest], claimed_j, color=MUTED, linewidth=1.2, linestyle="--", zorder=1)


def _name_lines(axes: Any, chart: SweepChart) -> None:
    """Write each line's name and exponent beside its end, in the order of height."""
    ends = [math.log10(line.energies_j[-1]) for line in chart.lines]
    values = [math.log10(value) for line in chart.lines for value in (*line.lows_j, *line.highs_j) if value > 0]
    span = (max(values) - min(values)) or 1.0
    for index, (line, y) in enumerate(zip(chart.lines, spread_labels(ends, 0.08 * span), strict=True)):
        law = f"exponent {exponent(line.law)}" if line.law is not None else ""
        text = ", ".join(part for part in (line.name, law) if part)
        axes.annotate(
            text, (line.sizes[-1], 10.0**y), xytext=(9, 0), textcoords="offset points", va="center",
            color=SERIES[index % len(SERIES)] if len(chart.lines) > 1 else INK, annotation_clip=False,
        )  # fmt: skip


def _mark_sizes(axes: Any, chart: SweepChart) -> None:
    """Put a tick at each size, under it what the size is called."""
    words = {size: word for line in chart.lines for size, word in zip(line.sizes, line.words, strict=True)}
    sizes = _apart(sorted(words))
    axes.set_xticks(sizes, [f"{words[size]}\n{_size(size)}" if words[size] else _size(size) for size in sizes])
    axes.minorticks_off()


def _apart(sizes: Sequence[float]) -> list[float]:
    """Return the sizes, in rising order, without those that lie too near to the one before."""
    least = _TICKS_APART * math.log(sizes[-1] / sizes[0])
    kept = [sizes[0]]
    for size in sizes[1:]:
        if math.log(size / kept[-1]) >= least:
            kept.append(size)
    return kept


def _mark_energies(axes: Any) -> None:
    """Put ticks at round joules, several also where all energies lie within one power of ten."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    low, high = axes.get_ylim()
    if high / low < _FACTOR_FOR_LOG_TICKS:
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
    elif high / low < _FACTOR_FOR_DECADES:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
    axes.yaxis.set_major_formatter(lambda value, _: f.tick(value, "J"))


def _size(size: float) -> str:
    return f.tick(size, "").strip()
