"""A stretch of a published training recipe, measured on this machine and extrapolated to the published run.

`asking` makes a recipe and a user's wishes into what has to be sampled; `planning` finds micro-batches and windows that
fit the memory and the time; `taking` measures; `extrapolating` puts the interval on; `result` is what is kept.
`run` goes all the way. Nothing here imports torch: `workloads.architectures.steps` does.
"""

from __future__ import annotations

from harness.sampling.asking import CHOSEN, Asked, AskedPhase, Setting, ask, find
from harness.sampling.extrapolating import Aim, PhaseFound, extrapolate, means_of
from harness.sampling.planning import Part, PhasePlan, Times, plan
from harness.sampling.result import BY_USER, About, Options, Sample, counted
from harness.sampling.running import Tell, aim, hardware, run
from harness.sampling.taking import Series, take

__all__ = [
    "BY_USER",
    "CHOSEN",
    "About",
    "Aim",
    "Asked",
    "AskedPhase",
    "Options",
    "Part",
    "PhaseFound",
    "PhasePlan",
    "Sample",
    "Series",
    "Setting",
    "Tell",
    "Times",
    "aim",
    "ask",
    "counted",
    "extrapolate",
    "find",
    "hardware",
    "means_of",
    "plan",
    "run",
    "take",
]
