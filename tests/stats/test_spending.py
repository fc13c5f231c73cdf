"""Spending: the published boundaries, and the promised chance of error over all looks together."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from harness import stats
from harness.errors import UsageError

# Two-sided 5 %, evenly spaced looks, spending function of O'Brien & Fleming's type, to four decimals: the values of
# Lan & DeMets' program, which the R packages ldbounds and gsDesign print too (recalled, not looked up).
PUBLISHED = {
    2: (2.9626, 1.9686),
    3: (3.7103, 2.5114, 1.9930),
    4: (4.3326, 2.9631, 2.3590, 2.0141),
    5: (4.8769, 3.3569, 2.6803, 2.2898, 2.0310),
}


@pytest.mark.parametrize("looks", PUBLISHED)
def test_boundaries_are_the_published_ones(looks):
    levels = stats.nominal_levels(0.025, stats.even_looks(looks))
    assert scipy_stats.norm.isf(levels) == pytest.approx(PUBLISHED[looks], abs=2e-4)


def test_spending_begins_at_nothing_and_ends_at_alpha():
    assert stats.spent(0.01, 0.0) == 0.0
    assert stats.spent(0.01, 1.0) == pytest.approx(0.01)
    assert stats.spent(0.01, 0.25) == pytest.approx(2 * scipy_stats.norm.sf(scipy_stats.norm.isf(0.005) * 2))


def test_what_is_kept_is_spent_beyond_the_plan_and_never_used_up():
    assert stats.spent(0.01, 1.0, kept=0.2) == pytest.approx(0.008)
    assert stats.spent(0.01, 2.0, kept=0.2) == pytest.approx(0.009)
    assert 0.00999 < stats.spent(0.01, 1000.0, kept=0.2) < 0.01


def test_going_on_for_as_long_as_it_takes_errs_as_seldom_as_promised():
    times = np.array([0.25, 0.5, 0.75, 1, 2, 3, 4, 5, 6, 7, 8])
    steps = np.random.default_rng(5).normal(size=(200_000, len(times))) * np.sqrt(np.diff(times, prepend=0))
    p = scipy_stats.norm.sf(steps.cumsum(axis=1) / np.sqrt(times))
    levels = np.array([stats.level_at(0.05, stats.planned(look, 4), 4) for look in range(1, len(times) + 1)])
    assert (p <= levels)[:, :4].any(axis=1).mean() == pytest.approx(0.8 * 0.05, abs=0.0015)
    assert (p <= levels).any(axis=1).mean() == pytest.approx((1 - 0.2 / 8) * 0.05, abs=0.0015)


@pytest.mark.parametrize("alpha", [1e-6, 0.01, 0.05])
def test_what_is_kept_changes_the_last_planned_look_only(alpha):
    plain = stats.nominal_levels(alpha, stats.even_looks(4))
    kept = stats.nominal_levels(alpha, stats.even_looks(4), 0.2)
    assert kept[:3] == pytest.approx(plain[:3])
    assert 0.6 * plain[3] < kept[3] < plain[3]


@pytest.mark.parametrize("looks", [1, 2, 4])
@pytest.mark.parametrize("cut", [0.03, 0.3, 0.6, 0.9])
def test_a_look_that_was_taken_early_and_went_on_errs_as_seldom_as_promised(looks, cut):
    before = [each for each in stats.planned(looks, looks) if each.share < cut]
    taken = (*before, stats.Taken(len(before) + 1, cut), *(stats.Taken(looks + n, cut + n) for n in range(1, 6)))
    times = np.array([each.share for each in taken])
    levels = [stats.level_at(0.05, taken[: n + 1], looks) for n in range(len(taken))]
    steps = np.random.default_rng(7).normal(size=(400_000, len(times))) * np.sqrt(np.diff(times, prepend=0))
    crossed = (scipy_stats.norm.sf(steps.cumsum(axis=1) / np.sqrt(times)) <= levels).any(axis=1)
    assert crossed.mean() == pytest.approx((1 - 0.2 / 6) * 0.05, abs=0.0012)


def test_every_overtime_has_less_left_to_spend():
    levels = [stats.level_at(0.01, stats.planned(look, 4), 4) for look in range(4, 12)]
    assert levels == sorted(levels, reverse=True)
    assert 0.0005 < levels[1] < levels[0] < 0.01


def test_one_look_spends_everything():
    assert stats.nominal_levels(0.01, (1.0,)) == pytest.approx((0.01,))


@pytest.mark.parametrize("looks", [2, 4, 5])
def test_levels_agree_with_the_multivariate_normal(looks):
    alpha, times = 0.05, np.array(stats.even_looks(looks))
    bounds = scipy_stats.norm.isf(stats.nominal_levels(alpha, tuple(times)))
    covariance = np.sqrt(np.minimum.outer(times, times) / np.maximum.outer(times, times))
    inside = scipy_stats.multivariate_normal(cov=covariance).cdf(bounds, rng=np.random.default_rng(0))
    assert 1 - inside == pytest.approx(alpha, abs=2e-4)


def test_looking_often_errs_as_seldom_as_promised():
    steps = np.random.default_rng(1).normal(size=(200_000, 4))
    scores = steps.cumsum(axis=1) / np.sqrt([1, 2, 3, 4])
    crossed = (scipy_stats.norm.sf(scores) <= np.array(stats.nominal_levels(0.05, stats.even_looks(4)))).any(axis=1)
    assert crossed.mean() == pytest.approx(0.05, abs=0.0015)
    naive = (scipy_stats.norm.sf(scores) <= 0.05).any(axis=1)
    assert naive.mean() > 0.1


def test_looks_that_see_the_same_evidence_again_err_less_often():
    score = np.random.default_rng(2).normal(size=200_000)
    p = scipy_stats.norm.sf(score)
    crossed = np.any([p <= level for level in stats.nominal_levels(0.05, stats.even_looks(4))], axis=0)
    assert crossed.mean() < 0.05


@pytest.mark.parametrize("look", [1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("alpha", [1e-9, 4e-4, 0.01, 0.3])
def test_a_p_value_at_the_level_of_its_look_is_that_alpha_overall(look, alpha):
    taken = stats.planned(look, 4)
    level = stats.level_at(alpha, taken, 4)
    assert stats.overall_p([level], taken, 4)[0] == pytest.approx(alpha, rel=2e-3 if alpha < 0.1 else 0.05)


def test_overall_p_values_rise_with_p_and_are_never_below_it():
    p = np.geomspace(1e-30, 1.0, 400)
    for look in (1, 2, 3, 4, 5, 9):
        overall = stats.overall_p(p, stats.planned(look, 4), 4)
        assert (np.diff(overall) >= 0).all()
        assert (overall >= p).all()
        assert overall[-1] == 1.0


@pytest.mark.parametrize("fractions", [(), (0.5, 0.5), (0.5, 0.2), (0.0, 1.0), (0.5, 1.2)])
def test_looks_that_do_not_rise_to_one_are_refused(fractions):
    with pytest.raises(UsageError, match="must rise"):
        stats.nominal_levels(0.05, fractions)
