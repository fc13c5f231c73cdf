"""Simulated training runs: how often the extrapolation of the first 10 % holds what the whole run cost.

python benchmarks/extrapolation_coverage.py [--runs 1000] [--steps 2000 10000] [--seed 1] [--json FILE]

A run is a series of joules a step around 100 J. Its first tenth goes through `harness.stats.batch_means` and
`harness.accounting.full_run` (no overhead, a meter without error), as a sample does; the truth is the sum over all its
steps. Nominal confidence is 95 %. "doubted" is the share of runs whose interval carried a doubt, "undoubted" the
coverage of the others. Rows marked "hidden" hold what a tenth of a run cannot show; they are here to say by how much
the interval fails then.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.signal import lfilter

from harness.accounting import Estimate, Fixed, Overhead, PhaseSample, StepEnergy, Target, full_run
from harness.records import Provenance
from harness.stats import wilson
from harness.stats.batch_means import batch_means

LEVEL_J, NOISE_J, SAMPLE = 100.0, 5.0, 0.1

Make = Callable[[np.random.Generator, int], np.ndarray]


class Scenario(NamedTuple):
    name: str
    make: Make
    hidden: bool = False


class Row(NamedTuple):
    scenario: str
    steps: int
    sampled: int
    hidden: bool
    runs: int
    coverage: float
    coverage_low: float
    coverage_high: float
    half_width: float
    doubted: float
    undoubted: float | None


def autoregressive(phi: float, tails: str = "normal") -> Make:
    """AR(1) noise of standard deviation NOISE_J around the level."""

    def make(rng: np.random.Generator, steps: int) -> np.ndarray:
        n = steps + 500
        kinds = {
            "normal": lambda: rng.normal(size=n),
            "t3": lambda: rng.standard_t(3, size=n) / np.sqrt(3),
            "lognormal": lambda: (rng.lognormal(0, 1, size=n) - np.exp(0.5)) / np.sqrt((np.e - 1) * np.e),
        }
        noise = lfilter([np.sqrt(1 - phi * phi)], [1, -phi], kinds[tails]())[500:]
        return LEVEL_J + NOISE_J * noise

    return make


def with_spikes(every: int, times: float) -> Make:
    """Every so many steps an evaluation is inside the step and makes it so many times as dear."""

    def make(rng: np.random.Generator, steps: int) -> np.ndarray:
        series = autoregressive(0.5)(rng, steps)
        series[int(rng.integers(every)) :: every] *= times
        return series

    return make


def with_warm_up(length: int) -> Make:
    """The first steps are up to twice as dear (caches, compilation)."""

    def make(rng: np.random.Generator, steps: int) -> np.ndarray:
        return autoregressive(0.5)(rng, steps) + LEVEL_J * np.exp(-np.arange(steps) / length)

    return make


def settling(share: float, tau: float) -> Make:
    """The level starts `share` low and settles with a time constant of `tau` samples (a die that warms up)."""

    def make(rng: np.random.Generator, steps: int) -> np.ndarray:
        level = -share * LEVEL_J * np.exp(-np.arange(steps) / (tau * SAMPLE * steps))
        return autoregressive(0.5)(rng, steps) + level

    return make


def drifting(share: float) -> Make:
    """The level rises by `share` from the first to the last step of the whole run."""

    def make(rng: np.random.Generator, steps: int) -> np.ndarray:
        return autoregressive(0.5)(rng, steps) + share * LEVEL_J * np.linspace(0, 1, steps)

    return make


def wandering(root_h: float, phi: float = 0.5) -> Make:
    """The level wanders as flicker of spectral density (root_h · level)² / f, under noise that averages out."""

    def make(rng: np.random.Generator, steps: int) -> np.ndarray:
        longer = 4 * steps
        frequency = np.fft.rfftfreq(longer)[1:]
        size = root_h * LEVEL_J * np.sqrt(longer / 4 / frequency)
        drawn = size * (rng.normal(size=len(size)) + 1j * rng.normal(size=len(size)))
        flicker = np.fft.irfft(np.concatenate([[0], drawn]), longer)
        return autoregressive(phi)(rng, steps) + flicker[:steps]

    return make


def stepping(share: float) -> Make:
    """The level changes once, in the unsampled part (a neighbour comes, a clock is lowered)."""

    def make(rng: np.random.Generator, steps: int) -> np.ndarray:
        series = autoregressive(0.5)(rng, steps)
        series[int(rng.uniform(SAMPLE, 1) * steps) :] += share * LEVEL_J
        return series

    return make


SCENARIOS = (
    *(Scenario(f"AR(1) {phi:g}", autoregressive(phi)) for phi in (0.0, 0.3, 0.5, 0.8, 0.9, 0.95)),
    Scenario("AR(1) 0.5, t with 3 df", autoregressive(0.5, "t3")),
    Scenario("AR(1) 0.5, lognormal", autoregressive(0.5, "lognormal")),
    Scenario("AR(1) 0.9, lognormal", autoregressive(0.9, "lognormal")),
    Scenario("evaluation every 20 steps, x 5", with_spikes(20, 5)),
    Scenario("evaluation every 50 steps, x 10", with_spikes(50, 10)),
    Scenario("warm-up over about 10 steps, x 2", with_warm_up(10)),
    Scenario("wanders, flicker of 0.5 %", wandering(0.005)),
    Scenario("wanders, flicker of 2 %", wandering(0.02)),
    Scenario("settles by 5 %, in 0.2 samples", settling(0.05, 0.2)),
    Scenario("settles by 5 %, in 0.5 samples", settling(0.05, 0.5)),
    Scenario("settles by 5 %, in 1 sample", settling(0.05, 1.0)),
    Scenario("settles by 5 %, in 2 samples", settling(0.05, 2.0), hidden=True),
    Scenario("drifts on by 1 % over the run", drifting(0.01), hidden=True),
    Scenario("drifts on by 10 % over the run", drifting(0.10), hidden=True),
    Scenario("steps by 3 % after the sample", stepping(0.03), hidden=True),
    Scenario("evaluation once in half a run, x 500", lambda rng, n: with_spikes(n // 2, 500)(rng, n), hidden=True),
)


def trial(series: np.ndarray) -> tuple[bool, float, bool]:
    """Return whether the extrapolation holds the truth, its relative half-width, and whether it was doubted."""
    found = batch_means(series[: int(SAMPLE * len(series))])
    step = StepEnergy(value=found, low_ratio=1.0, high_ratio=1.0, provenance=Provenance.FAKE)
    excess = found.warm_up_excess
    run = full_run(
        [PhaseSample(name="all", steps=len(series), energy=step, duration=found)],
        Fixed(energy_j=excess, low_j=excess, high_j=excess, duration_s=0.0, provenance=Provenance.FAKE),
        Overhead(value=0.0, low=0.0, high=0.0, source="simulated"),
        Target(sampled="simulation", target="simulation"),
    )
    if not isinstance(run.energy_j, Estimate):
        sys.exit(f"a simulated run has no energy: {run.energy_j.reason}")
    whole = run.energy_j
    held = whole.low <= float(series.sum()) <= whole.high
    return held, (whole.high - whole.low) / 2 / whole.value, bool(found.doubts)


def row(scenario: Scenario, steps: int, runs: int, seed: int) -> Row:
    """Return what `runs` runs of a scenario show."""
    rng = np.random.default_rng([seed, steps, SCENARIOS.index(scenario)])
    trials = [trial(scenario.make(rng, steps)) for _ in range(runs)]
    held = sum(each[0] for each in trials)
    proportion = wilson(held, runs, 0.95)
    sound = [each[0] for each in trials if not each[2]]
    return Row(
        scenario=scenario.name,
        steps=steps,
        sampled=int(SAMPLE * steps),
        hidden=scenario.hidden,
        runs=runs,
        coverage=held / runs,
        coverage_low=proportion.low,
        coverage_high=proportion.high,
        half_width=float(np.median([each[1] for each in trials])),
        doubted=1 - len(sound) / runs,
        undoubted=sum(sound) / len(sound) if sound else None,
    )


def line(each: Row) -> str:
    """Return a row of the printed table."""
    undoubted = "     -" if each.undoubted is None else f"{100 * each.undoubted:5.1f}%"
    mark = "hidden" if each.hidden else "" if each.coverage >= 0.9 else "BELOW 90 %"
    return (
        f"{each.scenario:38} {each.sampled:6} of {each.steps:6} {100 * each.coverage:6.1f}% "
        f"[{100 * each.coverage_low:.1f}, {100 * each.coverage_high:.1f}]  ±{100 * each.half_width:6.2f}% "
        f"doubted {100 * each.doubted:5.1f}%  undoubted {undoubted}  {mark}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--steps", type=int, nargs="+", default=[2000, 10000])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    for steps in options.steps:
        for scenario in SCENARIOS:
            rows.append(row(scenario, steps, options.runs, options.seed))
            print(line(rows[-1]), flush=True)
    shown = [each for each in rows if not each.hidden]
    below = [f"{each.scenario}, {each.sampled} of {each.steps}" for each in shown if each.coverage < 0.9]
    print(f"{len(shown) - len(below)} of {len(shown)} that a tenth of a run can show are held in at least 90 % of runs")
    print(f"not held: {'; '.join(below) or 'none'}")
    if options.json:
        result = {
            "seed": options.seed,
            "confidence": 0.95,
            "sample": SAMPLE,
            "rows": [each._asdict() for each in rows],
            "below_90": below,
        }
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
