"""Techniques against their baseline within a run, and one run against another."""

from __future__ import annotations

from harness.compare.runs import CaseVerdict, RunComparison, RunVerdict, compare_runs
from harness.compare.sweeps import PARAMETERS, Point, Scaling, SweepComparison, axes_of, compare_sweep
from harness.compare.techniques import (
    GroupComparison,
    Results,
    TechniqueComparison,
    Verdict,
    compare_techniques,
    default_baselines,
)

__all__ = [
    "PARAMETERS",
    "CaseVerdict",
    "GroupComparison",
    "Point",
    "Results",
    "RunComparison",
    "RunVerdict",
    "Scaling",
    "SweepComparison",
    "TechniqueComparison",
    "Verdict",
    "axes_of",
    "compare_runs",
    "compare_sweep",
    "compare_techniques",
    "default_baselines",
]
