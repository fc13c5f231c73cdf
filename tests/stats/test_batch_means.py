import math

import numpy as np
import pytest
from scipy.signal import lfilter

from harness.errors import InvalidMeasurement, NotMeasured, UsageError
from harness.stats.batch_means import SeriesDoubt, batch_means, warm_up


def autoregressive(rng, phi, n, innovations=None):
    drawn = rng.normal(size=n + 500) if innovations is None else innovations(n + 500)
    return 100 + lfilter([math.sqrt(1 - phi * phi)], [1, -phi], drawn)[500:]


def coverage(make, trials=300, seed=1):
    rng = np.random.default_rng(seed)
    found = [batch_means(make(rng)) for _ in range(trials)]
    return sum(each.low <= 100 <= each.high for each in found) / trials


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.8, 0.95])
def test_the_interval_covers_the_mean_of_a_correlated_series(phi):
    assert coverage(lambda rng: autoregressive(rng, phi, 1500)) >= 0.90


def test_the_interval_covers_under_heavy_tails():
    def heavy(rng):
        return autoregressive(rng, 0.5, 1500, lambda n: rng.standard_t(3, size=n))

    assert coverage(heavy) >= 0.90


def test_the_interval_covers_when_evaluations_come_at_even_distances():
    def spiky(rng):
        series = autoregressive(rng, 0.5, 1500)
        series[int(rng.integers(25)) :: 25] += 400
        return series - 400 / 25

    assert coverage(spiky) >= 0.90


def test_it_is_wider_than_the_error_of_independent_values_would_be():
    series = autoregressive(np.random.default_rng(3), 0.9, 3000)
    assert batch_means(series).standard_error > 2.5 * series.std() / math.sqrt(len(series))


def test_correlated_values_leave_fewer_batches():
    rng = np.random.default_rng(4)
    few = [batch_means(autoregressive(rng, 0.95, 400), dropped=0) for _ in range(50)]
    many = [batch_means(autoregressive(rng, 0.0, 400), dropped=0) for _ in range(50)]
    assert np.mean([each.n_batches for each in few]) < np.mean([each.n_batches for each in many])
    assert any(SeriesDoubt.CORRELATED_BATCHES in each.doubts for each in few)


def test_degrees_of_freedom_are_those_of_the_batches():
    found = batch_means(np.random.default_rng(1).normal(100, 1, 640), dropped=0)
    assert found.degrees_of_freedom == found.n_batches - 1
    assert found.n_batches in {8, 16, 32}


def test_dear_first_steps_are_dropped_and_their_excess_is_kept():
    series = np.random.default_rng(5).normal(100, 1, 500)
    series[:20] += 300
    found = batch_means(series)
    assert 20 <= found.dropped <= 40
    assert found.mean == pytest.approx(100, abs=0.3)
    assert found.warm_up_excess == pytest.approx(20 * 300, rel=0.02)
    assert found.mean * 500 + found.warm_up_excess == pytest.approx(series.sum(), rel=1e-2)
    assert found.doubts == ()


def test_a_quiet_series_loses_little_to_the_warm_up():
    rng = np.random.default_rng(6)
    dropped = [warm_up(rng.normal(100, 1, 400))[0] for _ in range(100)]
    assert np.median(dropped) <= 40


def test_a_series_that_never_settles_is_doubted():
    series = 100 + 50 * np.exp(-np.arange(300) / 300) + np.random.default_rng(7).normal(0, 0.1, 300)
    found = batch_means(series)
    assert SeriesDoubt.NOT_SETTLED in found.doubts
    assert found.dropped == 150


def test_a_drift_is_doubted_and_widens_the_interval_by_what_it_changed():
    series = np.linspace(100, 110, 640) + np.random.default_rng(8).normal(0, 1, 640)
    found = batch_means(series, dropped=0)
    assert SeriesDoubt.DRIFT in found.doubts
    assert found.widening == pytest.approx(10, abs=0.6)
    assert found.low < 95.2
    assert found.high > 114.8


def test_a_quiet_series_is_seldom_called_drifting():
    rng = np.random.default_rng(9)
    drifting = [SeriesDoubt.DRIFT in batch_means(autoregressive(rng, 0.5, 800)).doubts for _ in range(300)]
    assert sum(drifting) <= 9


def test_a_constant_series_has_an_interval_of_no_width():
    found = batch_means([5.0] * 40)
    assert (found.low, found.mean, found.high, found.doubts) == (5.0, 5.0, 5.0, ())


def test_values_of_several_steps_count_as_such():
    rng = np.random.default_rng(10)
    series = rng.normal(100, 1, 100)
    one, ten = batch_means(series, dropped=10), batch_means(series, dropped=10, steps_each=10)
    assert (one.steps, ten.steps) == (90, 900)
    assert ten.warm_up_excess == pytest.approx(10 * one.warm_up_excess)


@pytest.mark.parametrize("n", [0, 1, 7])
def test_too_few_values_have_no_interval(n):
    with pytest.raises(NotMeasured, match="sample for longer"):
        batch_means([1.0] * n, what="phase 128")


def test_too_few_values_after_a_warm_up_have_no_interval():
    with pytest.raises(NotMeasured, match="5 values are left of 20 after a warm-up of 15"):
        batch_means([1.0] * 20, dropped=15)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_not_finite_is_refused(value):
    with pytest.raises(InvalidMeasurement, match="phase 512"):
        batch_means([1.0] * 20 + [value], what="phase 512")


def test_nonsense_is_refused():
    with pytest.raises(UsageError, match="confidence"):
        batch_means([1.0] * 20, confidence=95)
    with pytest.raises(UsageError, match="dropped"):
        batch_means([1.0] * 20, dropped=-1)
