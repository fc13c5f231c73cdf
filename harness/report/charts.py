"""The charts, as inline SVG."""

from __future__ import annotations

import math
from typing import Any

from harness.report import formats as f
from harness.report.model import CurveChart, EnergyBar, EnergyChart, LifeChart
from harness.report.style import GRID, INK, MUTED, PAPER, SERIES, TONES, draw, spread_labels


def energy_svg(chart: EnergyChart) -> str:
    """Return joules a task by technique, with statistical intervals."""
    alt = f"{chart.title}. " + "; ".join(f"{bar.technique} {bar.label}" for bar in chart.bars)
    height = 1.3 + 0.55 * len(chart.bars)
    return draw(f"energy-{chart.group}", alt, lambda axes: _paint_energy(axes, chart), height=height)


def _paint_energy(axes: Any, chart: EnergyChart) -> None:
    rows = range(len(chart.bars))
    top = max(bar.high_j for bar in chart.bars)
    for row, bar in zip(rows, chart.bars, strict=True):
        axes.barh(row, bar.energy_j, height=0.6, color=TONES.get(bar.tone, TONES["no difference shown"]), linewidth=0)
        axes.plot([bar.low_j, bar.high_j], [row, row], color=INK, linewidth=1.4)
        for end in (bar.low_j, bar.high_j):
            axes.plot([end, end], [row - 0.14, row + 0.14], color=INK, linewidth=1.4)
        axes.text(bar.high_j + top * 0.02, row, bar.label, va="center", color=INK)
    axes.set_yticks(list(rows), [bar.technique for bar in chart.bars])
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.set_xlim(0, top * 1.38)
    axes.xaxis.set_major_formatter(lambda value, _: f.si(value, "J") if value else "0")
    axes.xaxis.set_major_locator(_few_ticks(5))
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(f"energy a task (J, {chart.provenance}); whiskers: interval over blocks", loc="left", color=MUTED)


def pareto_svg(chart: EnergyChart) -> str:
    """Return energy against accuracy, with the Pareto front."""
    bars = [bar for bar in chart.bars if bar.accuracy is not None]
    points = "; ".join(f"{bar.technique} {f.si(bar.energy_j, 'J')}, {f.percent(bar.accuracy or 0.0)}" for bar in bars)
    alt = f"{chart.pareto_title}. {points}"
    return draw(f"pareto-{chart.group}", alt, lambda axes: _paint_pareto(axes, chart, bars))


def _paint_pareto(axes: Any, chart: EnergyChart, bars: list[EnergyBar]) -> None:
    front = sorted((bar for bar in bars if bar.on_front), key=lambda bar: bar.energy_j)
    axes.step(
        [bar.energy_j for bar in front], [100 * (bar.accuracy or 0) for bar in front], where="post", color=SERIES[2],
        linewidth=1.6, linestyle=(0, (4, 2)), zorder=1,
    )  # fmt: skip
    for bar in bars:
        tone = TONES.get(bar.tone, MUTED)
        x, y = bar.energy_j, 100 * (bar.accuracy or 0)
        low, high = (100 * (side if side is not None else y / 100) for side in (bar.accuracy_low, bar.accuracy_high))
        axes.errorbar(
            x, y, xerr=[[x - bar.low_j], [bar.high_j - x]], yerr=[[max(0.0, y - low)], [max(0.0, high - y)]], fmt="o",
            markersize=8, color=tone, ecolor=tone, elinewidth=1.4, capsize=3, zorder=2,
        )  # fmt: skip
    lows = [bar.accuracy_low if bar.accuracy_low is not None else bar.accuracy or 0 for bar in bars]
    highs = [bar.accuracy_high if bar.accuracy_high is not None else bar.accuracy or 0 for bar in bars]
    span = 100 * (max(highs) - min(lows)) or 1.0
    axes.set_ylim(100 * min(lows) - 0.08 * span, 100 * max(highs) + 0.22 * span)
    right = max(bar.high_j for bar in bars)
    axes.set_xlim(0, right * 1.25)
    _label_points(axes, bars, right, span)
    axes.xaxis.set_major_formatter(lambda value, _: f.si(value, "J") if value else "0")
    axes.xaxis.set_major_locator(_few_ticks(5))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g} %")
    axes.grid()
    axes.set_xlabel(f"energy a task (J, {chart.provenance}); less is better", loc="left", color=MUTED)
    axes.set_ylabel("test accuracy", color=MUTED)
    _halo(
        axes.text(0.99, 0.97, "dashed: Pareto front", transform=axes.transAxes, ha="right", va="top", color=SERIES[2])
    )


def _label_points(axes: Any, bars: list[EnergyBar], right: float, span: float) -> None:
    """Write each name beside its point; names whose points are near in x are kept apart in y."""
    wanted = [100 * (bar.accuracy or 0) + 0.05 * span for bar in bars]
    near = [
        [other for other in range(len(bars)) if abs(bars[other].energy_j - bar.energy_j) < 0.35 * right] for bar in bars
    ]
    for index, bar in enumerate(bars):
        placed = spread_labels([wanted[other] for other in near[index]], 0.085 * span)
        y = placed[near[index].index(index)]
        _halo(axes.text(bar.energy_j + 0.015 * right, y, bar.technique, va="bottom", color=INK, zorder=3))


def curves_svg(chart: CurveChart) -> str:
    """Return validation quality over the joules spent in training."""
    ends = "; ".join(
        f"{curve.technique} ends at {f.percent(curve.qualities[-1])} for {f.si(curve.energies_j[-1], 'J')}"
        for curve in chart.curves
    )
    return draw("curves", f"{chart.title}. {ends}", lambda axes: _paint_curves(axes, chart), height=4.2)


def _paint_curves(axes: Any, chart: CurveChart) -> None:
    right = max(curve.energies_j[-1] for curve in chart.curves)
    left = min(energy for curve in chart.curves for energy in curve.energies_j if energy > 0)
    styles = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), "-.")
    for index, curve in enumerate(chart.curves):
        colour = SERIES[index % len(SERIES)]
        values = [100 * quality for quality in curve.qualities]
        axes.fill_between(
            curve.energies_j, [100 * low for low in curve.lows], [100 * high for high in curve.highs], color=colour,
            alpha=0.15, linewidth=0,
        )  # fmt: skip
        axes.plot(
            curve.energies_j, values, color=colour, linestyle=styles[index % len(styles)], marker="o", markersize=3.5
        )
    if right / left > 30:
        axes.set_xscale("log")
    else:
        axes.set_xlim(0, right * 1.3)
    ends = [100 * curve.qualities[-1] for curve in chart.curves]
    values = [100 * side for curve in chart.curves for side in (*curve.lows, *curve.highs)]
    span = (max(values) - min(values)) or 1.0
    for index, (curve, y) in enumerate(zip(chart.curves, spread_labels(ends, 0.07 * span), strict=True)):
        axes.annotate(
            curve.technique, (curve.energies_j[-1], y), xytext=(7, 0), textcoords="offset points", va="center",
            color=SERIES[index % len(SERIES)], fontweight="bold", annotation_clip=False,
        )  # fmt: skip
    if chart.target is not None:
        axes.axhline(100 * chart.target, color=INK, linewidth=1.1, linestyle=(0, (6, 3)))
        label = f"target {f.percent(chart.target)}"
        _halo(axes.text(0.01, 100 * chart.target, label, transform=axes.get_yaxis_transform(), va="bottom", color=INK))
    axes.xaxis.set_major_formatter(lambda value, _: f.si(value, "J") if value else "0")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g} %")
    axes.grid()
    axes.set_xlabel(
        f"energy spent in training (J, {chart.provenance}), evaluation not counted", loc="left", color=MUTED
    )
    axes.set_ylabel(f"validation {chart.metric}", color=MUTED)


def life_svg(chart: LifeChart) -> str:
    """Return training (once) and inference (rising) over the number of requests, both axes logarithmic."""
    parts = [f"{line.name}: level at {f.count(line.parity_tasks)} requests" for line in chart.lines]
    return draw("lifecycle", f"{chart.title}. {'; '.join(parts)}", lambda axes: _paint_life(axes, chart), height=4.4)


def _paint_life(axes: Any, chart: LifeChart) -> None:
    powers = [math.log10(line.parity_tasks) for line in chart.lines]
    left, right = 10.0 ** math.floor(min(powers) - 1.5), 10.0 ** math.ceil(max(powers) + 1.5)
    axes.set_xscale("log")
    axes.set_yscale("log")
    for index, line in enumerate(chart.lines):
        colour = SERIES[index % len(SERIES)]
        inference = [left * line.per_task_j, right * line.per_task_j]
        axes.plot([left, right], inference, color=colour)
        axes.annotate(
            f"inference: {line.name.split(' + ')[-1]}", (right, inference[1]), xytext=(6, 0),
            textcoords="offset points", va="center" if len(chart.lines) == 1 else ("bottom", "top")[index % 2],
            color=colour, annotation_clip=False,
        )  # fmt: skip
        axes.plot([left, right], [line.once_j] * 2, color=colour, linestyle=(0, (5, 2)), linewidth=1.5)
        axes.plot(line.parity_tasks, line.once_j, "o", color=colour, markersize=8, zorder=3)
        axes.plot([line.parity_tasks] * 2, [0, line.once_j], color=colour, linewidth=1.0, linestyle=(0, (2, 2)))
        shift, side = ((-10, "right"), (10, "left"))[(len(chart.lines) > 1) and line.parity_tasks == max(
            each.parity_tasks for each in chart.lines)]  # fmt: skip
        text = axes.annotate(
            f"N* = {f.count(line.parity_tasks)}", (line.parity_tasks, line.once_j), xytext=(shift, 9 if shift < 0 else -14),
            textcoords="offset points", ha=side, color=colour, fontweight="bold",
        )  # fmt: skip
        _halo(text)
    once = max(chart.lines, key=lambda line: line.once_j)
    _halo(
        axes.text(left * 1.15, once.once_j * 1.12, f"training, once: {f.si(once.once_j, 'J')}", va="bottom", color=INK)
    )
    axes.set_xlim(left, right)
    lowest = min(line.per_task_j for line in chart.lines) * left
    axes.set_ylim(lowest, max(line.per_task_j for line in chart.lines) * right)
    axes.xaxis.set_major_formatter(lambda value, _: f.count(value))
    axes.yaxis.set_major_formatter(lambda value, _: f.si(value, "J"))
    axes.minorticks_off()
    axes.grid()
    axes.set_xlabel("number of requests N", loc="left", color=MUTED)
    axes.set_ylabel(f"energy (J, {chart.provenance})", color=MUTED)


def _few_ticks(n: int) -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(n)


def _halo(text: Any) -> None:
    """Set text off from lines beneath it."""
    text.set_bbox({"facecolor": PAPER, "edgecolor": "none", "alpha": 0.8, "pad": 1.0})


__all__ = ["GRID", "curves_svg", "energy_svg", "life_svg", "pareto_svg"]
