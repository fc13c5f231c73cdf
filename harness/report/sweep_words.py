"""How the report of a sweep calls axes, sizes and exponents."""

from __future__ import annotations

from harness import axes
from harness.compare import PARAMETERS, Scaling, SweepComparison
from harness.stats import PowerLaw


def signed(value: float) -> str:
    """Return an exponent with two decimals and a true minus; a zero has no sign."""
    return f"{value:z.2f}".replace("-", "−")


def exponent(law: PowerLaw) -> str:
    """Return a law's exponent."""
    return signed(law.exponent)


def span(low: float, high: float) -> str:
    """Return two exponents that bound something."""
    return f"{signed(low)} to {signed(high)}"


def short_of(axis: str, sweep: SweepComparison) -> str:
    """Return what an axis is called in its sweep."""
    return axes.short(axis, tuple(sweep.axes))


def unit_of(scaling: Scaling, sweep: SweepComparison) -> str:
    """Return what sizes are counted in."""
    return PARAMETERS if scaling.against == PARAMETERS else short_of(scaling.against, sweep)


def else_of(scaling: Scaling, sweep: SweepComparison) -> str:
    """Return where on the other axes all points of a line lie."""
    return ", ".join(f"{short_of(axis, sweep)} {value}" for axis, value in scaling.at.items())
