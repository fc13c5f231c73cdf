"""How charts look: one palette safe for colour-blind readers, colours that follow the page's light or dark theme.

matplotlib draws with the placeholder colours below; in the page each becomes a CSS variable.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

INK, MUTED, GRID, PAPER = "#101112", "#606162", "#d0d1d2", "#fefdfc"
SERIES = ("#0072b1", "#d55e01", "#009e72", "#cc79a6", "#e69f01", "#56b4e8")
"""Okabe & Ito 2008, each nudged by one so that no other colour of the page is mistaken for it."""

TONES = {"baseline": "#8a8b8c", "saves": SERIES[0], "costs more": SERIES[1], "no difference shown": "#b4b5b6"}

_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    PAPER: "--paper",
    TONES["baseline"]: "--tone-baseline",
    TONES["no difference shown"]: "--tone-none",
    **{colour: f"--series-{index}" for index, colour in enumerate(SERIES, start=1)},
}

_RC: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10.5,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "lines.linewidth": 2.0,
    "path.simplify": False,
}


def draw(key: str, alt: str, paint: Callable[[Any], None], *, width: float = 7.2, height: float = 4.0) -> str:
    """Return a chart as an inline `<svg>` element; `paint` is given one matplotlib axes.

    The same data give the same bytes: no date, no random identifiers. Identifiers carry `key`, so that several
    charts can stand in one page. `alt` is what a screen reader says.
    """
    import io
    import warnings

    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({**_RC, "svg.hashsalt": key}), warnings.catch_warnings():
        # A glyph missing in matplotlib's own font matters nothing: the browser sets the text.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = Figure(figsize=(width, height), layout="constrained")
        paint(figure.add_subplot())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Type": None, "Format": None})
    return _inline(buffer.getvalue(), key, alt)


def _inline(svg: str, key: str, alt: str) -> str:
    """Return the `<svg>` element without prolog, metadata and foreign addresses, with page-wide unique ids."""
    from html import escape

    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\s+xmlns(?::\w+)?="[^"]*"', "", svg)
    slug = re.sub(r"[^a-z0-9]+", "-", key.lower())
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{slug}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{slug}-\1)", svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{slug}-\1"', svg)
    for colour, variable in _VARIABLES.items():
        svg = re.sub(colour, f"var({variable})", svg, flags=re.IGNORECASE)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px var(--font)", svg)
    svg = re.sub(r'<svg ([^>]*?)width="[^"]*pt" height="[^"]*pt"|<svg height="[^"]*pt"', r"<svg \1", svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(alt, quote=True)}" ', 1)


def spread_labels(positions: list[float], gap: float) -> list[float]:
    """Return label positions near the wanted ones, at least `gap` apart, in the same order of height."""
    order = sorted(range(len(positions)), key=positions.__getitem__)
    placed = list(positions)
    for _ in range(50):
        moved = False
        for low, high in itertools.pairwise(order):
            overlap = gap - (placed[high] - placed[low])
            if overlap > 1e-9 * max(1.0, abs(gap)):
                placed[low] -= overlap / 2
                placed[high] += overlap / 2
                moved = True
        if not moved:
            break
    return placed
