"""The full run from a sample: fixed + Σ over phases (published steps × mean step) × (1 + overhead), with its interval.

How errors are put together:

* sampling and the wandering of the machine: `accounting.sampling_error`;
* the meter and the overhead have bounds and no distribution, and err for all steps alike: the interval runs from all
  low to all high bounds, and so covers at least what it says;
* other hardware: nothing is claimed without a ratio. With one, a GSD of 1.45 is laid around it: published calculators
  miss metered runs by about 1.4 (Patterson et al. 2021, arXiv:2104.10350, Fig. 6), and Strubell et al. 2019, who took
  one GPU's power for another's, came out 1.57 times too low for the big Transformer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from harness.accounting.sampled import (
    Estimate,
    Fixed,
    FullRun,
    Hardware,
    Influence,
    Overhead,
    PhaseRun,
    PhaseSample,
    SampledMean,
    StepEnergy,
    Target,
)
from harness.accounting.sampling_error import Part, half_width
from harness.errors import UsageError
from harness.records import Frozen, Missing, Provenance

OTHER_HARDWARE_GSD = 1.45
"""Geometric standard deviation of a transfer to hardware that was not sampled; a first estimate from two sources."""

_STRENGTH = tuple(Provenance)

_Three = tuple[float, float, float]
"""A low bound, the value, a high bound."""


class _Term(Frozen, frozen=True, kw_only=True):
    """One phase: its published steps, the sample of one, and the meter's bounds as factors."""

    sample: SampledMean
    steps: float
    ratio: _Three


class _Exact(Frozen, frozen=True, kw_only=True):
    """A mean without error, to see what the other errors do."""

    mean: float
    standard_error: float = 0.0
    degrees_of_freedom: float = 1.0
    widening: float = 0.0
    wander: float = 0.0
    wander_degrees_of_freedom: float = 1.0
    steps: int = 1


def full_run(
    phases: Sequence[PhaseSample], fixed: Fixed, overhead: Overhead, target: Target, *, confidence: float = 0.95
) -> FullRun:
    """Return the energy and duration of the full run with their intervals.

    A phase that was not sampled is never guessed: the total is then missing, and says which phase and why.

    Raises: UsageError: no phases, a name twice, or a confidence that is not between 0 and 1.
    """
    names = [phase.name for phase in phases]
    if not names or len(set(names)) != len(names):
        raise UsageError(f"a full run needs phases of different names, not {names}")
    if not 0 < confidence < 1:
        raise UsageError(f"confidence must lie between 0 and 1, not {confidence}")
    energies = [_energy_term(phase) for phase in phases]
    durations = [_duration_term(phase) for phase in phases]
    fixed_s = Estimate(value=fixed.duration_s, low=fixed.duration_s, high=fixed.duration_s)
    fixed_j = Estimate(value=fixed.energy_j, low=fixed.low_j, high=fixed.high_j)
    energy_j = _whole(energies, fixed_j, overhead, confidence)
    provenance = None
    if not isinstance(energy_j, Missing):
        known = (phase.energy.provenance for phase in phases if isinstance(phase.energy, StepEnergy))
        provenance = _weakest([*known, fixed.provenance])
    target_j, target_provenance = _on_target(energy_j, provenance, target, confidence)
    return FullRun(
        energy_j=energy_j,
        duration_s=_whole(durations, fixed_s, overhead, confidence),
        target_energy_j=target_j,
        hardware=target.hardware,
        sampled_on=target.sampled,
        target=target.target,
        provenance=provenance,
        target_provenance=target_provenance,
        confidence=confidence,
        overhead=overhead,
        fixed=fixed,
        phases=tuple(
            _phase_run(phase, energy, duration, confidence)
            for phase, energy, duration in zip(phases, energies, durations, strict=True)
        ),
        influences=_influences(energies, fixed_j, overhead, confidence),
        notes=tuple(note for phase in phases for note in phase.notes),
    )


def _energy_term(phase: PhaseSample) -> _Term | Missing:
    if isinstance(phase.energy, Missing):
        return _gap(phase, phase.energy)
    return _term(phase, phase.energy.value, phase.energy.low_ratio, phase.energy.high_ratio)


def _duration_term(phase: PhaseSample) -> _Term | Missing:
    return _gap(phase, phase.duration) if isinstance(phase.duration, Missing) else _term(phase, phase.duration, 1, 1)


def _gap(phase: PhaseSample, missing: Missing) -> Missing:
    return replace(missing, reason=f"phase {phase.name} was not measured: {missing.reason}")


def _term(phase: PhaseSample, sample: SampledMean, low_ratio: float, high_ratio: float) -> _Term:
    return _Term(sample=sample, steps=phase.steps, ratio=(low_ratio, 1.0, high_ratio))


def _whole(
    terms: Sequence[_Term | Missing], fixed: Estimate, overhead: Overhead, confidence: float
) -> Estimate | Missing:
    """Return fixed + Σ terms × (1 + overhead), or the first gap, naming all."""
    gaps = [term for term in terms if isinstance(term, Missing)]
    if gaps:
        return replace(gaps[0], reason="; ".join(gap.reason for gap in gaps))
    known = [term for term in terms if isinstance(term, _Term)]
    return _sum(known, fixed, (overhead.low, overhead.value, overhead.high), confidence)


def _sum(terms: Sequence[_Term], fixed: Estimate, overhead: _Three, confidence: float) -> Estimate:
    """Return the sum with its interval; both bounds take their own side of every bound."""
    low_o, value_o, high_o = (1 + each for each in overhead)
    steps_low, steps, steps_high = (
        math.fsum(term.steps * term.ratio[side] * term.sample.mean for term in terms) for side in range(3)
    )
    half_low, _, half_high = (_half(terms, side, confidence) for side in range(3))
    return Estimate(
        value=fixed.value + steps * value_o,
        # What is summed cannot be negative: a step costs nothing at the least.
        low=fixed.low + max(steps_low - half_low, 0.0) * low_o,
        high=fixed.high + (steps_high + half_high) * high_o,
    )


def _half(terms: Sequence[_Term], side: int, confidence: float) -> float:
    """Return the half-width that sampling gives the sum of the terms, at one side of the bounds."""
    parts = [Part(term.sample, term.steps * term.ratio[side], term.steps / term.sample.steps) for term in terms]
    return half_width(parts, confidence)


def _influences(
    terms: Sequence[_Term | Missing], fixed: Estimate, overhead: Overhead, confidence: float
) -> tuple[Influence, ...]:
    """Return what each source of error does alone, the widest first; nothing where the total is missing."""
    known = [term for term in terms if isinstance(term, _Term)]
    if len(known) < len(terms):
        return ()
    still = [replace(term, ratio=(1.0,) * 3) for term in known]
    exact = [replace(term, sample=_Exact(mean=term.sample.mean)) for term in still]
    pinned, no_fixed = (overhead.value,) * 3, Estimate(value=fixed.value, low=fixed.value, high=fixed.value)
    meter = [replace(term, ratio=each.ratio) for term, each in zip(exact, known, strict=True)]
    alone = {
        "sampling": _sum(still, no_fixed, pinned, confidence),
        "meter": _sum(meter, fixed, pinned, confidence),
        "overhead": _sum(exact, no_fixed, (overhead.low, overhead.value, overhead.high), confidence),
    }
    moved = [Influence(source=source, low=each.low, high=each.high) for source, each in alone.items()]
    return tuple(sorted(moved, key=lambda each: each.low - each.high))


def _on_target(
    energy_j: Estimate | Missing, provenance: Provenance | None, target: Target, confidence: float
) -> tuple[Estimate | Missing, Provenance | None]:
    """Return the energy that can be claimed for the target, and how it is known."""
    from scipy import stats

    if isinstance(energy_j, Missing) or target.hardware is Hardware.SAME:
        return energy_j, provenance
    if target.ratio is None or provenance is None:
        reason = (
            f"{target.sampled} was sampled, not {target.target}, and nothing says how their joules compare; "
            f"sample on {target.target}, or give a ratio with its source"
        )
        return Missing(domain="total", reason=reason), None
    # Independent errors of a product add the squares of their logarithms.
    transfer = float(stats.norm.ppf(0.5 + confidence / 2)) * math.log(OTHER_HARDWARE_GSD)
    value = energy_j.value * target.ratio
    down = math.log(energy_j.value / energy_j.low) if energy_j.low > 0 else math.inf
    up = math.log(energy_j.high / energy_j.value) if energy_j.value > 0 else 0.0
    on_target = Estimate(
        value=value,
        low=value * math.exp(-math.hypot(down, transfer)),
        high=value * math.exp(math.hypot(up, transfer)),
    )
    return on_target, _weakest([provenance, Provenance.MODELLED])


def _phase_run(phase: PhaseSample, energy: _Term | Missing, duration: _Term | Missing, confidence: float) -> PhaseRun:
    nothing = Estimate(value=0.0, low=0.0, high=0.0)

    def alone(term: _Term | Missing) -> Estimate | Missing:
        return term if isinstance(term, Missing) else _sum([term], nothing, (0.0, 0.0, 0.0), confidence)

    return PhaseRun(
        name=phase.name,
        steps=phase.steps,
        energy_j=alone(energy),
        duration_s=alone(duration),
        notes=phase.notes,
    )


def _weakest(provenances: Iterable[Provenance]) -> Provenance:
    return max(provenances, key=_STRENGTH.index)
