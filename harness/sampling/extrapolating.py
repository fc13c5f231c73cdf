"""From measured cycles to the full run: batch means a phase, what warm-up and building cost once, the interval."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from msgspec.structs import replace

from harness import stats
from harness.accounting import Fixed, FullRun, Overhead, PhaseSample, StepEnergy, Target, full_run
from harness.errors import InvalidMeasurement, NotMeasured
from harness.records import Energy, Frozen, Measured, Missing, Provenance
from harness.sampling import domains
from harness.sampling.planning import Part, PhasePlan
from harness.sampling.taking import Series
from harness.stats.batch_means import BatchMeans, batch_means
from harness.stats.totals import billed_total

_GAPS_MOST = 0.05

Rows = Sequence[Sequence[float]]
"""One row a cycle, one number a window."""


class Aim(Frozen, frozen=True, kw_only=True):
    """What the full run is extrapolated with.

    `least_wander` is how the kind of machine is known to wander (`harness.stats.wander`), as a share of the level; a
    sample that wandered less is taken for a quiet stretch of it.
    """

    overhead: Overhead
    target: Target
    confidence: float = 0.95
    least_wander: float = 0.0


class PartFound(Frozen, frozen=True, kw_only=True):
    """The raw series of one kind of window, a number a window: each holds `times` of what it is named after.

    The joules are None where any window has none; `mean_j` and `mean_s` are of one, after the warm-up.
    """

    name: str
    times: int
    weight: float
    energy_j: tuple[float, ...] | None
    energy_low_j: tuple[float, ...] | None
    energy_high_j: tuple[float, ...] | None
    duration_s: tuple[float, ...]
    cpu_s: tuple[float, ...]
    mean_j: float | None
    mean_s: float | None


class PhaseFound(Frozen, frozen=True, kw_only=True):
    """One phase as it was sampled; `energy` and `duration` are of one published step, as this machine runs it.

    `domains` are what the billed domains drew of `energy`, nothing where that is missing. `window_doubts` counts
    windows by doubt, `series_doubts` are those of the means.
    """

    plan: PhasePlan
    cycles: int
    parts: tuple[PartFound, ...]
    energy: StepEnergy | Missing
    duration: BatchMeans | Missing
    domains: tuple[Energy, ...]
    peak_memory_bytes: int | None
    window_doubts: dict[str, int]
    series_doubts: tuple[str, ...]
    notes: tuple[str, ...]

    def sample(self) -> PhaseSample:
        """Return the phase as the extrapolation takes it."""
        return PhaseSample(
            name=self.plan.phase.name,
            steps=self.plan.phase.steps.number,
            energy=self.energy,
            duration=self.duration,
            notes=self.notes,
        )


def extrapolate(series: Sequence[Series], build: Measured | None, aim: Aim) -> tuple[FullRun, tuple[PhaseFound, ...]]:
    """Return the full run, and what was found of each phase.

    Args:
        series: What was measured of each phase of the recipe.
        build: What making the model cost; None leaves it out.
        aim: Overhead, target and confidence.

    Raises: UsageError: the confidence is not between 0 and 1.
    """
    found = tuple(_phase(each, aim) for each in series)
    fixed, notes = _fixed(found, build)
    run = full_run([each.sample() for each in found], fixed, aim.overhead, aim.target, confidence=aim.confidence)
    return replace(run, notes=(*run.notes, *notes)), found


def means_of(energy: StepEnergy | Missing) -> BatchMeans | None:
    """Return the batch means behind joules a step; None where there are none."""
    return energy.value if isinstance(energy, StepEnergy) and isinstance(energy.value, BatchMeans) else None


def domains_of(phases: Sequence[PhaseFound]) -> tuple[Energy, ...]:
    """Return what each domain draws in the steps of the full run, without what is paid once and without overhead.

    Nothing where a phase has no joules: then the full run has none either.
    """
    if not all(each.domains for each in phases):
        return ()
    return domains.added((energy, each.plan.phase.steps.number) for each in phases for energy in each.domains)


def _phase(sampled: Series, aim: Aim) -> PhaseFound:
    series, lost = _readable(sampled)
    plan = series.plan
    durations = [[each.duration_s for each in cycle] for cycle in series.cycles]
    duration = _mean(durations, plan, aim, "seconds")
    energy, joules = _energy(series, aim)
    means = means_of(energy)
    windows = Counter(doubt.value for cycle in series.cycles for each in cycle for doubt in each.doubts)
    doubts = [*(means.doubts if means else ()), *(() if isinstance(duration, Missing) else duration.doubts)]
    return PhaseFound(
        plan=plan,
        cycles=len(series.cycles),
        parts=tuple(_part(part, number, series, joules, means, duration) for number, part in enumerate(plan.parts)),
        energy=energy,
        duration=duration,
        domains=() if means is None else domains.of_series(series, means.dropped),
        peak_memory_bytes=series.peak_memory_bytes,
        window_doubts=dict(sorted(windows.items())),
        series_doubts=tuple(dict.fromkeys(doubt.value for doubt in doubts)),
        notes=(*_as_run(plan), *lost),
    )


def _readable(series: Series) -> tuple[Series, tuple[str, ...]]:
    """Return the series without the few cycles that a meter lost a reading in, and a note of them.

    A reading is lost when its meter was late, not by what it would have read, so the others stand for it. Where more
    than one cycle in twenty has a gap nothing is left out, and the phase has no joules.
    """
    reasons: list[str] = []
    kept = []
    for cycle in series.cycles:
        try:
            for each in cycle:
                billed_total(each.energies, each.missing, "a window")
        except InvalidMeasurement:
            return series, ()  # one reading that cannot be casts doubt on all of them
        except NotMeasured as error:
            reasons.append(str(error))
        else:
            kept.append(cycle)
    if not reasons or len(reasons) > _GAPS_MOST * len(series.cycles):
        return series, ()
    note = f"{len(reasons)} of {len(series.cycles)} cycles are left out, because {reasons[0]}"
    return replace(series, cycles=tuple(kept)), (f"{series.plan.phase.name}: {note}",)


def _energy(series: Series, aim: Aim) -> tuple[StepEnergy | Missing, list[list[stats.Total]] | None]:
    """Return joules a published step with what the meter knows of its error, and the raw joules."""
    plan = series.plan
    where = f"phase {plan.phase.name}"
    try:
        joules = [
            [billed_total(each.energies, each.missing, f"{where}: a window") for each in cycle]
            for cycle in series.cycles
        ]
    except (NotMeasured, InvalidMeasurement) as error:
        return Missing(domain="total", reason=str(error)), None
    means = _mean([[each.energy_j for each in cycle] for cycle in joules], plan, aim, "joules")
    if isinstance(means, Missing):
        return means, joules
    kept = joules[means.dropped :]
    value_j, low_j, high_j = (
        math.fsum(_step(plan, [getattr(each, side) for each in cycle]) for cycle in kept)
        for side in ("energy_j", "low_j", "high_j")
    )
    ratios = (low_j / value_j, high_j / value_j) if value_j > 0 else (1.0, 1.0)
    energy = StepEnergy(
        value=means,
        low_ratio=min(1.0, ratios[0]),
        high_ratio=max(1.0, ratios[1]),
        provenance=stats.weakest(each.provenance for cycle in joules for each in cycle),
    )
    return energy, joules


def _step(plan: PhasePlan, windows: Sequence[float]) -> float:
    """Return a published step's share of one cycle: each window by what it holds, times what a step has of it."""
    return math.fsum(part.weight * value / part.times for part, value in zip(plan.parts, windows, strict=True))


def _mean(rows: Rows, plan: PhasePlan, aim: Aim, unit: str) -> BatchMeans | Missing:
    """Return the mean of a published step; its warm-up is what the sampled windows cost beyond warm ones."""
    name = plan.phase.name
    try:
        found = batch_means(
            [_step(plan, row) for row in rows], confidence=aim.confidence, what=f"{unit} a step of {name}"
        )
    except (NotMeasured, InvalidMeasurement) as error:
        return Missing(domain="total", reason=str(error))
    return replace(
        found,
        wander=max(found.wander, aim.least_wander * abs(found.mean)),
        steps=max(1, round(found.n * plan.steps_each)),
        warm_up_excess=_excess(rows, found.dropped),
    )


def _excess(rows: Rows, dropped: int) -> float:
    """Return what the first windows cost beyond the mean of the others; counted as run, not per published step."""
    warm = [math.fsum(column) / len(column) for column in zip(*rows[dropped:], strict=True)]
    return math.fsum(value - mean for row in rows[:dropped] for value, mean in zip(row, warm, strict=True))


def _part(
    part: Part,
    number: int,
    series: Series,
    joules: list[list[stats.Total]] | None,
    means: BatchMeans | None,
    duration: BatchMeans | Missing,
) -> PartFound:
    windows = [cycle[number] for cycle in series.cycles]
    totals = None if joules is None else [cycle[number] for cycle in joules]
    seconds = [each.duration_s for each in windows]
    return PartFound(
        name=part.name,
        times=part.times,
        weight=part.weight,
        energy_j=None if totals is None else tuple(each.energy_j for each in totals),
        energy_low_j=None if totals is None else tuple(each.low_j for each in totals),
        energy_high_j=None if totals is None else tuple(each.high_j for each in totals),
        duration_s=tuple(seconds),
        cpu_s=tuple(each.cpu_s for each in windows),
        mean_j=None if totals is None or means is None else _warm([t.energy_j for t in totals], means, part),
        mean_s=None if isinstance(duration, Missing) else _warm(seconds, duration, part),
    )


def _warm(values: Sequence[float], means: BatchMeans, part: Part) -> float:
    kept = values[means.dropped :]
    return math.fsum(kept) / len(kept) / part.times


def _fixed(found: Sequence[PhaseFound], build: Measured | None) -> tuple[Fixed, tuple[str, ...]]:
    """Return what a run pays once, and what had to be left out of it."""
    sides = [[0.0, 0.0, 0.0]]
    provenances: list[Provenance] = []
    notes: list[str] = []
    if build is not None:
        try:
            total = billed_total(build.energies, build.missing, "building the model")
        except (NotMeasured, InvalidMeasurement) as error:
            notes.append(f"building the model is left out of the joules: {error}")
        else:
            sides.append([total.low_j, total.energy_j, total.high_j])
            provenances.append(total.provenance)
    for energy in (each.energy for each in found):
        means = means_of(energy)
        if isinstance(energy, StepEnergy) and means is not None:
            ratios = (energy.low_ratio, 1.0, energy.high_ratio)
            sides.append(sorted(means.warm_up_excess * ratio for ratio in ratios))
            provenances.append(energy.provenance)
    low_j, energy_j, high_j = (math.fsum(side) for side in zip(*sides, strict=True))
    warm_s = [each.duration.warm_up_excess for each in found if isinstance(each.duration, BatchMeans)]
    fixed = Fixed(
        energy_j=energy_j,
        low_j=low_j,
        high_j=high_j,
        duration_s=math.fsum(warm_s) + (0.0 if build is None else build.duration_s),
        # With no joules at all the total is missing, and the nothing that is fixed is known by nobody.
        provenance=stats.weakest(provenances) if provenances else Provenance.MODELLED,
    )
    return fixed, tuple(notes)


def _as_run(plan: PhasePlan) -> tuple[str, ...]:
    """Return how a published step is run here, in words."""
    phase, k = plan.phase, plan.accumulations
    sequences = f"{plan.micro_batch:,} sequences of {phase.tokens:,} tokens"
    if k == 1:
        step = f"one micro-batch of {sequences} and one update"
    else:
        step = f"{k:,.6g} micro-batches of {sequences}, whose gradients add up, and one update"
    if plan.whole:
        how = "windows hold whole steps"
    else:
        runs, updates = plan.parts
        how = (
            f"windows of {runs.times} micro-batch(es) and of {updates.times} update(s) take turns, and a step is put "
            "together from a pair"
        )
    return (f"{phase.name}: a published step is run as {step}; {how}",)
