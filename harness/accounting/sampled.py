"""What was sampled of a recipe, and what the full run is made of."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Protocol

from harness.errors import NotMeasured, UsageError
from harness.records import Frozen, Missing, Provenance
from harness.units import kwh_from_j


class SampledMean(Protocol):
    """The mean of a series of steps with its error, as `harness.stats.batch_means` gives it."""

    @property
    def mean(self) -> float:
        """The mean, in the unit of the series."""

    @property
    def standard_error(self) -> float:
        """The standard error of the mean, autocorrelation included."""

    @property
    def degrees_of_freedom(self) -> float:
        """The degrees of freedom of that error."""

    @property
    def widening(self) -> float:
        """What a drift adds to either side of the interval."""

    @property
    def wander(self) -> float:
        """How the level wanders: the root of the flicker's h (`harness.stats.wander`), in the unit of the series."""

    @property
    def wander_degrees_of_freedom(self) -> float:
        """The degrees of freedom that h was read with."""

    @property
    def steps(self) -> int:
        """How many steps the mean is of."""


class StepEnergy(Frozen, frozen=True, kw_only=True):
    """Joules a sampled step.

    `value` is a `SampledMean` in joules; `low_ratio` and `high_ratio` are what the meter knows of its own error, as
    factors on the mean (a total's `low_j / energy_j` and `high_j / energy_j`; 1 and 1 where it gives no bounds).
    """

    value: SampledMean
    low_ratio: float
    high_ratio: float
    provenance: Provenance

    def __post_init__(self) -> None:
        """Refuse bounds that do not hold the value, and joules below zero.

        Raises: UsageError.
        """
        if not (0 <= self.low_ratio <= 1 <= self.high_ratio and math.isfinite(self.high_ratio)):
            raise UsageError(
                f"the meter's bounds must hold its value: 0 <= {self.low_ratio} <= 1 <= {self.high_ratio} does not hold"
            )
        if self.value.mean < 0:
            raise UsageError(f"a step cannot cost {self.value.mean} J; check the meter with `joulebench doctor`")


class PhaseSample(Frozen, frozen=True, kw_only=True):
    """One phase of a recipe: its published steps and what one of them costs, or why that is not known.

    A sampled step is a published one, run as micro-batches where it does not fit; `duration` is seconds of it. `notes`
    say how the sample departs from the recipe; they are kept in the result.
    """

    name: str
    steps: float
    energy: StepEnergy | Missing
    duration: SampledMean | Missing
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a number of steps that is not positive.

        Raises: UsageError.
        """
        if not 0 < self.steps < math.inf:
            raise UsageError(f"phase {self.name}: the published steps must be positive, not {self.steps}")


class Fixed(Frozen, frozen=True, kw_only=True):
    """What a run pays once: set-up, and what the warm-up steps cost beyond a warm one."""

    energy_j: float
    low_j: float
    high_j: float
    duration_s: float
    provenance: Provenance

    def __post_init__(self) -> None:
        """Refuse bounds that do not hold the value.

        Raises: UsageError.
        """
        if not self.low_j <= self.energy_j <= self.high_j:
            raise UsageError(f"{self.low_j} J to {self.high_j} J do not hold the fixed energy of {self.energy_j} J")


class Overhead(Frozen, frozen=True, kw_only=True):
    """What a run costs beyond its steps (evaluation, checkpoints, stalls), as a share of them, and where it is from."""

    value: float
    low: float
    high: float
    source: str

    def __post_init__(self) -> None:
        """Refuse bounds that do not hold the value.

        Raises: UsageError.
        """
        if not -1 < self.low <= self.value <= self.high < math.inf:
            raise UsageError(f"an overhead of {self.value} must lie within {self.low} to {self.high}, above -1")


class Hardware(StrEnum):
    """Whether the sampled hardware is what the result is set beside."""

    SAME = "same-hardware"
    OTHER = "other-hardware"


class Target(Frozen, frozen=True, kw_only=True):
    """The hardware that the full run is to be claimed for.

    `sampled` and `target` name hardware; they are the same only if the names are. `ratio` is joules of this work on the
    target over those on the sampled hardware, from `ratio_source`; without it nothing is claimed for other hardware.
    """

    sampled: str
    target: str
    ratio: float | None = None
    ratio_source: str = ""

    def __post_init__(self) -> None:
        """Refuse a ratio that is not positive or comes from nowhere.

        Raises: UsageError.
        """
        if self.ratio is not None and not (0 < self.ratio < math.inf and self.ratio_source):
            raise UsageError(
                f"the ratio {self.ratio} of {self.target} to {self.sampled} must be positive, with a source"
            )

    @property
    def hardware(self) -> Hardware:
        """Whether both are the same."""
        return Hardware.SAME if self.sampled == self.target else Hardware.OTHER


class Estimate(Frozen, frozen=True, kw_only=True):
    """A quantity with its interval; the unit is that of the field that holds it."""

    value: float
    low: float
    high: float


class Influence(Frozen, frozen=True, kw_only=True):
    """How far one source of error alone moves the result, in the result's unit."""

    source: str
    low: float
    high: float


class PhaseRun(Frozen, frozen=True, kw_only=True):
    """One phase of the full run, before overhead."""

    name: str
    steps: float
    energy_j: Estimate | Missing
    duration_s: Estimate | Missing
    notes: tuple[str, ...] = ()


class FullRun(Frozen, frozen=True, kw_only=True):
    """The full run on the sampled hardware, and on the target as far as it can be claimed.

    The interval is `confidence` for what was sampled, around which the meter's and the overhead's bounds are laid in
    full: they are no errors that average out. It does not hold what no sample can: another day, another host, a drift
    that goes on. `influences` show what each alone does to `energy_j`, largest first.
    """

    energy_j: Estimate | Missing
    duration_s: Estimate | Missing
    target_energy_j: Estimate | Missing
    hardware: Hardware
    sampled_on: str
    target: str
    provenance: Provenance | None
    target_provenance: Provenance | None
    confidence: float
    overhead: Overhead
    fixed: Fixed
    phases: tuple[PhaseRun, ...]
    influences: tuple[Influence, ...] = ()
    notes: tuple[str, ...] = ()

    def energy_kwh(self) -> Estimate:
        """Return the energy on the sampled hardware in kWh.

        Raises: NotMeasured: a phase has no energy.
        """
        if isinstance(self.energy_j, Missing):
            raise NotMeasured(f"the full run has no energy: {self.energy_j.reason}")
        whole = self.energy_j
        return Estimate(value=kwh_from_j(whole.value), low=kwh_from_j(whole.low), high=kwh_from_j(whole.high))

    def required_duration_s(self) -> Estimate:
        """Return the wall seconds on the sampled hardware.

        Raises: NotMeasured: a phase has no duration.
        """
        if isinstance(self.duration_s, Missing):
            raise NotMeasured(f"the full run has no duration: {self.duration_s.reason}")
        return self.duration_s
