"""Techniques against their baseline within a run, and one run against another."""

from __future__ import annotations

from harness.compare.runs import CaseVerdict, RunComparison, RunVerdict, compare_runs
from harness.compare.techniques import (
    GroupComparison,
    Results,
    TechniqueComparison,
    Verdict,
    compare_techniques,
    default_baselines,
    group_name,
)

__all__ = [
    "CaseVerdict",
    "GroupComparison",
    "Results",
    "RunComparison",
    "RunVerdict",
    "TechniqueComparison",
    "Verdict",
    "compare_runs",
    "compare_techniques",
    "default_baselines",
    "group_name",
]
