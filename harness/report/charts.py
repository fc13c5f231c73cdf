"""The charts, as inline SVG."""

from __future__ import annotations

import math
from typing import Any

from harness.report import formats as f
from harness.report.model import CurveChart, EnergyBar, EnergyChart, LifeChart, LifeLine
from harness.report.style import INK, MUTED, PAPER, SERIES, TONES, draw, spread_labels


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
    axes.set_xlim(0, top * 1.55)
    axes.xaxis.set_major_formatter(lambda value, _: f.tick(value, "J"))
    axes.xaxis.set_major_locator(_few_ticks(5))
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(f"energy a task (J, {chart.provenance}); whiskers: interval over blocks", loc="left", color=MUTED)


def pareto_svg(chart: EnergyChart) -> str:
    """Return energy against quality, with the Pareto front."""
    bars = [bar for bar in chart.bars if bar.quality is not None]
    points = "; ".join(f"{bar.technique} {f.si(bar.energy_j, 'J')}, {f.percent(bar.quality or 0.0)}" for bar in bars)
    alt = f"{chart.pareto_title}. {points}"
    return draw(f"pareto-{chart.group}", alt, lambda axes: _paint_pareto(axes, chart, bars))


def _paint_pareto(axes: Any, chart: EnergyChart, bars: list[EnergyBar]) -> None:
    front = sorted((bar for bar in bars if bar.on_front), key=lambda bar: bar.energy_j)
    axes.step(
        [bar.energy_j for bar in front], [100 * (bar.quality or 0) for bar in front], where="post", color=SERIES[2],
        linewidth=1.6, linestyle=(0, (4, 2)), zorder=1,
    )  # fmt: skip
    for bar in bars:
        tone = TONES.get(bar.tone, MUTED)
        x, y = bar.energy_j, 100 * (bar.quality or 0)
        low, high = (100 * (side if side is not None else y / 100) for side in (bar.quality_low, bar.quality_high))
        axes.errorbar(
            x, y, xerr=[[x - bar.low_j], [bar.high_j - x]], yerr=[[max(0.0, y - low)], [max(0.0, high - y)]], fmt="o",
            markersize=8, color=tone, ecolor=tone, elinewidth=1.4, capsize=3, zorder=2,
        )  # fmt: skip
    lows = [bar.quality_low if bar.quality_low is not None else bar.quality or 0 for bar in bars]
    highs = [bar.quality_high if bar.quality_high is not None else bar.quality or 0 for bar in bars]
    span = 100 * (max(highs) - min(lows)) or 1.0
    axes.set_ylim(100 * min(lows) - 0.08 * span, 100 * max(highs) + 0.22 * span)
    right = max(bar.high_j for bar in bars)
    axes.set_xlim(0, right * 1.5)
    _label_points(axes, bars, right, span)
    axes.xaxis.set_major_formatter(lambda value, _: f.tick(value, "J"))
    axes.xaxis.set_major_locator(_few_ticks(5))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g} %")
    axes.grid()
    axes.set_xlabel(f"energy a task (J, {chart.provenance}); less is better", loc="left", color=MUTED)
    axes.set_ylabel(f"test {chart.metric}", color=MUTED)
    _halo(
        axes.text(0.99, 0.97, "dashed: Pareto front", transform=axes.transAxes, ha="right", va="top", color=SERIES[2])
    )


def _label_points(axes: Any, bars: list[EnergyBar], right: float, span: float) -> None:
    """Write each name beside its point; names of near points are stacked to their right, with leader lines."""
    for cluster in _clusters(bars, 0.22 * right, 0.30 * span / 100):
        x = max(bar.energy_j for bar in cluster) + 0.035 * right
        ordered = sorted(cluster, key=lambda bar: (bar.quality or 0, bar.energy_j))
        heights = spread_labels([100 * (bar.quality or 0) for bar in ordered], 0.085 * span)
        for bar, y in zip(ordered, heights, strict=True):
            if len(cluster) > 1:
                axes.plot([bar.energy_j, x], [100 * (bar.quality or 0), y], color=MUTED, linewidth=0.7, zorder=1)
            _halo(axes.text(x, y, bar.technique, va="center", color=INK, zorder=3))


def _clusters(bars: list[EnergyBar], reach_j: float, reach: float) -> list[list[EnergyBar]]:
    """Return the points in groups whose names would run into each other, from the left."""
    clusters: list[list[EnergyBar]] = []
    for bar in sorted(bars, key=lambda each: each.energy_j):
        last = clusters[-1][-1] if clusters else None
        near = last is not None and abs((last.quality or 0) - (bar.quality or 0)) < reach
        if last is not None and near and bar.energy_j - last.energy_j < reach_j:
            clusters[-1].append(bar)
        else:
            clusters.append([bar])
    return clusters


def curves_svg(chart: CurveChart) -> str:
    """Return validation quality over the joules spent in training."""
    ends = "; ".join(
        f"{curve.technique} ends at {f.percent(curve.qualities[-1])} for {f.si(curve.energies_j[-1], 'J')}"
        for curve in chart.curves
    )
    return draw(
        _key("curves", chart.group), f"{chart.title}. {ends}", lambda axes: _paint_curves(axes, chart), height=4.2
    )


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
    axes.xaxis.set_major_formatter(lambda value, _: f.tick(value, "J"))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g} %")
    axes.grid()
    axes.set_xlabel(
        f"energy spent in training (J, {chart.provenance}), evaluation not counted", loc="left", color=MUTED
    )
    axes.set_ylabel(f"validation {chart.metric}", color=MUTED)


def life_svg(chart: LifeChart) -> str:
    """Return training (once) and inference (rising) over the number of requests, both axes logarithmic."""
    parts = [f"{line.name}: level at {f.count(line.parity_tasks)} requests" for line in chart.lines]
    return draw(
        _key("lifecycle", chart.group),
        f"{chart.title}. {'; '.join(parts)}",
        lambda axes: _paint_life(axes, chart),
        height=4.4,
    )


def _paint_life(axes: Any, chart: LifeChart) -> None:
    powers = [math.log10(line.parity_tasks) for line in chart.lines]
    left, right = 10.0 ** math.floor(min(powers) - 1.5), 10.0 ** math.ceil(max(powers) + 1.5)
    axes.set_xscale("log")
    axes.set_yscale("log")
    for index, line in enumerate(chart.lines):
        _paint_line(axes, chart, SERIES[index % len(SERIES)], line, left, right)
    once = max(chart.lines, key=lambda line: line.once_j)
    label = f"training, once: {f.si(once.once_j, 'J')}"
    _halo(axes.text(left * 1.15, min(line.once_j for line in chart.lines) * 0.85, label, va="top", color=INK))
    axes.set_xlim(left, right)
    lowest = min(line.per_task_j for line in chart.lines) * left
    axes.set_ylim(lowest, max(line.per_task_j for line in chart.lines) * right)
    axes.xaxis.set_major_formatter(lambda value, _: f.power_of_ten(round(value)))
    axes.yaxis.set_major_formatter(lambda value, _: f.tick(value, "J"))
    axes.minorticks_off()
    axes.grid()
    axes.set_xlabel("number of requests N", loc="left", color=MUTED)
    axes.set_ylabel(f"energy (J, {chart.provenance})", color=MUTED)


def _paint_line(axes: Any, chart: LifeChart, colour: str, line: LifeLine, left: float, right: float) -> None:
    """Draw one pipeline: its training (dashed, once), its inference (rising), and where they are level."""
    steepest = all(line.per_task_j >= each.per_task_j for each in chart.lines)
    late = any(line.parity_tasks > each.parity_tasks for each in chart.lines)
    axes.plot([left, right], [left * line.per_task_j, right * line.per_task_j], color=colour)
    name = f"inference, {line.name.split(' + ')[-1]}"
    axes.annotate(
        name, (right, right * line.per_task_j), xytext=(6, 3 if steepest else -3), textcoords="offset points",
        va="bottom" if steepest and len(chart.lines) > 1 else "top", color=colour, annotation_clip=False,
    )  # fmt: skip
    axes.plot([left, right], [line.once_j] * 2, color=colour, linestyle=(0, (5, 2)), linewidth=1.5)
    axes.plot(line.parity_tasks, line.once_j, "o", color=colour, markersize=8, zorder=3)
    lowest = left * min(each.per_task_j for each in chart.lines)
    drop = {"color": colour, "linewidth": 1.0, "linestyle": (0, (2, 2))}
    axes.plot([line.parity_tasks] * 2, [lowest, line.once_j], **drop)
    # The earlier point is labelled to its upper left, the later one to its lower right, so that they never meet.
    offset, side = ((10, -15), "left") if late else ((-10, 9), "right")
    text = axes.annotate(
        f"N* = {f.count(line.parity_tasks)}", (line.parity_tasks, line.once_j), xytext=offset,
        textcoords="offset points", ha=side, color=colour, fontweight="bold",
    )  # fmt: skip
    _halo(text)


def _key(kind: str, group: str) -> str:
    return f"{kind}-{group}" if group else kind


def _few_ticks(n: int) -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(n)


def _halo(text: Any) -> None:
    """Set text off from lines beneath it."""
    text.set_bbox({"facecolor": PAPER, "edgecolor": "none", "alpha": 0.8, "pad": 1.0})
