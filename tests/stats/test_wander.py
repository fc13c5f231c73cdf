"""Flicker noise is read from a series with the h that it was made with."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from harness.stats.wander import PARTS, SHARED, wander

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
TRIALS = (
    "sample-epyc4-2vcpu/honesty",
    "sample-xeon-2vcpu/honesty-first-11",
    "sample-xeon-2vcpu/honesty",
    "sample-epyc3-2vcpu/honesty-first",
)


def flicker(rng, n, h=1.0):
    """Return 1/f noise of one-sided spectral density h / f, in steps of one second, out of a spectrum."""
    longer = 16 * n  # so that it is not periodic over what is looked at, and wanders beyond it
    frequency = np.fft.rfftfreq(longer)[1:]
    size = np.sqrt(h / frequency * longer / 2)
    spectrum = np.concatenate([[0], size * (rng.normal(size=len(size)) + 1j * rng.normal(size=len(size))) / np.sqrt(2)])
    return np.fft.irfft(spectrum, longer)[:n]


def test_the_two_sample_variance_of_flicker_is_flat():
    rng = np.random.default_rng(1)
    for size in (8, 64):
        parts = np.array([flicker(rng, 2 * size).reshape(2, size).mean(axis=1) for _ in range(2000)])
        assert np.mean((parts[:, 1] - parts[:, 0]) ** 2) / 2 == pytest.approx(2 * math.log(2), rel=0.1)


@pytest.mark.parametrize("h", [1.0, 4.0])
def test_flicker_is_read_as_it_was_made(h):
    rng = np.random.default_rng(2)
    squares = [wander(flicker(rng, 40 * PARTS, h)) ** 2 for _ in range(2000)]
    assert np.mean(squares) == pytest.approx(h, rel=0.1)


@pytest.mark.parametrize("lengths", [9, 99])
def test_a_run_lies_off_its_first_stretch_as_the_structure_function_says(lengths):
    rng = np.random.default_rng(3)
    n = 16
    runs = (flicker(rng, (1 + lengths) * n) for _ in range(2000))
    off = [(run[:n].mean() - run.mean()) ** 2 for run in runs]
    assert np.mean(off) == pytest.approx(math.log(1 + lengths) + 1, rel=0.15)


def test_a_steady_machine_is_charged_little_for_a_long_sample():
    rng = np.random.default_rng(4)
    short, long = (np.mean([wander(rng.normal(size=n)) for _ in range(200)]) for n in (80, 8000))
    assert long == pytest.approx(short / 10, rel=0.2)


def test_a_level_that_never_moves_does_not_wander():
    assert wander([5.0] * 20) == 0.0


def test_the_figure_of_shared_machines_is_that_of_the_trials_on_three_of_them():
    scores = [json.loads((REFERENCE / folder / "scores.json").read_text(encoding="utf-8")) for folder in TRIALS]
    trials = [{row["trial"] for row in each["trials"]} for each in scores]
    weights = [len(each) - 1 for each in trials]
    square = sum(w * each["level_rms"] ** 2 for w, each in zip(weights, scores, strict=True)) / sum(weights)
    assert pytest.approx(math.sqrt(square), abs=0.0005) == SHARED
