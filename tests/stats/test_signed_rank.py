"""The signed-rank test agrees with scipy and with brute force, and its interval keeps what it promises."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from harness import stats
from harness.errors import InvalidMeasurement, NotMeasured


def scipy_p(values, side):
    return scipy_stats.wilcoxon(values, alternative=side, zero_method="zsplit", correction=True).pvalue


@pytest.mark.parametrize("n", [1, 6, 24, 50, 51, 160])
def test_p_values_are_those_of_scipy(n):
    rows = np.random.default_rng(n).standard_t(3, size=(20, n)) + 0.3
    above, below = stats.signed_rank_p(rows)
    assert above == pytest.approx([scipy_p(row, "greater") for row in rows], rel=1e-9)
    assert below == pytest.approx([scipy_p(row, "less") for row in rows], rel=1e-9)


def test_far_tails_are_exact_and_never_negative():
    above, below = stats.signed_rank_p(np.arange(1.0, 41.0)[None])
    assert above[0] == pytest.approx(0.5**40)
    assert below[0] == 1.0


def test_p_values_of_few_differences_are_those_of_all_signs():
    values = np.array([0.3, -0.1, 0.7, 0.2, 1.1, -0.05, 0.4])
    ranks = np.argsort(np.argsort(np.abs(values))) + 1
    sums = [sum(ranks[list(kept)]) for k in range(8) for kept in itertools.combinations(range(7), k)]
    observed = ranks[values > 0].sum()
    above, below = stats.signed_rank_p(values[None])
    assert above[0] == pytest.approx(np.mean([each >= observed for each in sums]))
    assert below[0] == pytest.approx(np.mean([each <= observed for each in sums]))


def test_ties_and_zeros_are_scipy_s_with_zeros_split():
    rows = np.round(np.random.default_rng(0).normal(0.1, 1, size=(10, 60)), 1)
    rows[:, :5] = 0.0
    above, _ = stats.signed_rank_p(rows)
    assert above == pytest.approx([scipy_p(row, "greater") for row in rows])


def test_blocks_that_show_no_difference_speak_against_a_difference():
    few = stats.signed_rank_p(np.array([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]]))[0][0]
    among_zeros = stats.signed_rank_p(np.array([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8] + [0.0] * 60]))[0][0]
    assert among_zeros > 10 * few
    assert stats.signed_rank_p(np.zeros((1, 30))) == (1.0, 1.0)


def test_blocks_that_do_not_count_are_left_out_row_by_row():
    rows = np.random.default_rng(3).normal(0.2, 1, size=(4, 60))
    holed = np.insert(rows, [5, 30], np.nan, axis=1)
    holed[2, :20] = np.nan
    above, _ = stats.signed_rank_p(holed)
    assert above[0] == pytest.approx(stats.signed_rank_p(rows)[0][0])
    assert above[2] == pytest.approx(scipy_p(holed[2][np.isfinite(holed[2])], "greater"))
    assert stats.signed_rank_p(np.full((1, 4), np.nan))[0][0] == 1.0


def test_the_estimate_is_the_median_of_the_walsh_averages():
    values = [1.0, 4.0, 2.5, -3.0]
    averages = [(values[i] + values[j]) / 2 for i in range(4) for j in range(i, 4)]
    assert stats.hodges_lehmann(values, 0.1).estimate == np.median(averages)


@pytest.mark.parametrize(("n", "tail"), [(8, 0.01), (12, 0.02), (50, 0.01), (51, 0.01), (120, 0.0003)])
def test_the_interval_holds_every_shift_that_the_test_keeps(n, tail):
    values = np.random.default_rng(n).standard_t(3, size=n)
    found = stats.hodges_lehmann(values, tail)
    for bound, side in ((found.low, 0), (found.high, 1)):
        inward = 1e-9 if side == 0 else -1e-9
        assert stats.signed_rank_p((values - bound - inward)[None])[side][0] > tail
        assert stats.signed_rank_p((values - bound + inward)[None])[side][0] <= tail


def test_too_few_differences_have_an_estimate_and_no_bounds():
    found = stats.hodges_lehmann([0.1, 0.2, 0.3], 0.01)
    assert found.estimate == pytest.approx(0.2)
    assert found.low is found.high is None


def test_equal_differences_narrow_the_interval_as_they_narrow_the_test():
    values = np.round(np.random.default_rng(5).normal(size=80), 0)
    found = stats.hodges_lehmann(values, 0.01)
    assert stats.signed_rank_p((values - found.high - 0.01)[None])[1][0] <= 0.01
    assert found.low <= found.estimate <= found.high


@pytest.mark.parametrize("noise", ["normal", "t3"])
@pytest.mark.parametrize("n", [20, 80])
def test_98_percent_intervals_hold_the_truth_98_times_in_100(noise, n):
    rng = np.random.default_rng([n, len(noise)])
    draws = rng.normal(size=(1500, n)) if noise == "normal" else rng.standard_t(3, size=(1500, n))
    found = [stats.hodges_lehmann(row, 0.01) for row in draws]
    assert np.mean([each.low <= 0 <= each.high for each in found]) == pytest.approx(0.98, abs=0.012)


def test_what_cannot_be_estimated_is_refused():
    with pytest.raises(NotMeasured, match="at least one difference"):
        stats.hodges_lehmann([], 0.01)
    with pytest.raises(InvalidMeasurement, match="not finite"):
        stats.hodges_lehmann([0.1, math.inf], 0.01)
