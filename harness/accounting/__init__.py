"""Published training recipes as data, and the full run extrapolated from a sample of one."""

from __future__ import annotations

from harness.accounting.extrapolation import full_run
from harness.accounting.recipes import Level, Recipe, load_recipes, published_overhead
from harness.accounting.sampled import (
    Estimate,
    Fixed,
    FullRun,
    Hardware,
    Overhead,
    PhaseSample,
    SampledMean,
    StepEnergy,
    Target,
)

__all__ = [
    "Estimate",
    "Fixed",
    "FullRun",
    "Hardware",
    "Level",
    "Overhead",
    "PhaseSample",
    "Recipe",
    "SampledMean",
    "StepEnergy",
    "Target",
    "full_run",
    "load_recipes",
    "published_overhead",
]
