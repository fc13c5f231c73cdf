"""Accuracies, training totals, families of comparisons, break-even."""

import math

import msgspec
import numpy as np
import pytest

from harness import stats
from harness.errors import IncomparableRecords, NotMeasured


def test_the_interval_of_right_and_wrong_is_wilson_s():
    found = stats.quality([1.0] * 9 + [0.0], 0.95, "accuracy")
    assert (found.metric, found.value, found.n) == ("accuracy", 0.9, 10)
    assert (found.low, found.high) == pytest.approx((0.5958, 0.9821), abs=1e-4)


def test_scores_between_right_and_wrong_have_student_s_interval_within_their_bounds():
    found = stats.quality([0.2, 0.4, 0.6, 0.8], 0.95, "sentence BLEU")
    assert (found.metric, found.value) == ("sentence BLEU", pytest.approx(0.5))
    assert found.high - found.value == pytest.approx(3.1824 * np.std([0.2, 0.4, 0.6, 0.8], ddof=1) / 2, rel=1e-4)
    alone = stats.quality([0.5], 0.95, "sentence BLEU")
    assert (alone.low, alone.high) == (0.0, 1.0)


def test_no_score_or_one_beyond_its_bounds_has_no_mean():
    with pytest.raises(NotMeasured, match="at least one item"):
        stats.quality([], 0.95, "accuracy")
    with pytest.raises(NotMeasured, match="not from 0 to 1"):
        stats.quality([0.5, 27.0], 0.95, "BLEU")


def test_differences_of_scores_between_right_and_wrong_hold_the_truth():
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(1500):
        base = rng.beta(2, 2, 60)
        better = np.clip(base + rng.normal(0.03, 0.1, 60), 0, 1)
        found = stats.paired_difference(list(zip(better, base, strict=True)), 0.95)
        hits += found.low <= 0.03 * 0.985 <= found.high
    assert hits / 1500 >= 0.935


def test_no_disagreement_in_n_items_does_not_mean_certainty():
    few, many = (stats.paired_difference([(True, True)] * n, 0.95) for n in (50, 5000))
    assert few.value == 0
    assert few.low < -0.03 < 0.03 < few.high
    assert many.high < 0.001


def test_the_difference_is_over_the_items_that_both_answered(make):
    base, other = make.infer_group((make.Truth("torch_eager"), make.Truth("b", accuracy_flips=(0, 5))), blocks=1)
    found = stats.quality_difference(other, base, 0.95)
    assert (found.gained, found.lost, found.n) == (0, 5, 420)
    assert found.value == pytest.approx(-5 / 420)
    assert found.low < found.value < found.high


def test_no_item_in_common_is_an_error(make):
    base, other = make.infer_group((make.Truth("torch_eager"), make.Truth("b")), blocks=1)
    import msgspec

    with pytest.raises(IncomparableRecords, match="no test item in common"):
        stats.quality_difference(msgspec.structs.replace(other, item_ids=tuple(range(1000, 1420))), base, 0.95)
    with pytest.raises(NotMeasured, match="no item scores"):
        stats.quality_difference(msgspec.structs.replace(other, item_ids=(), item_scores=()), base, 0.95)


@pytest.mark.parametrize(("n", "up", "down"), [(50, 0.02, 0.04), (400, 0.01, 0.01), (400, 0.05, 0.1), (30, 0.0, 0.05)])
def test_paired_differences_hold_the_truth(n, up, down):
    rng = np.random.default_rng(4)
    draws = rng.multinomial(n, [up, down, 1 - up - down], size=1500)
    hits = 0
    for gained, lost, same in draws:
        pairs = [(True, False)] * gained + [(False, True)] * lost + [(True, True)] * same
        found = stats.paired_difference(pairs, 0.95)
        hits += found.low <= up - down <= found.high
    assert hits / 1500 >= 0.935


def test_more_items_settle_a_small_loss_but_not_one_beyond_the_margin():
    small = stats.paired_difference([(False, True)] * 6 + [(True, False)] * 4 + [(True, True)] * 410, 0.95)
    needed = stats.items_to_resolve(small, 0.02)
    assert needed > 420
    factor = math.ceil(needed / 420)
    pairs = [(False, True)] * 6 + [(True, False)] * 4 + [(True, True)] * 410
    more = stats.paired_difference(pairs * factor, 0.95)
    assert more.low >= -0.02
    assert (
        stats.items_to_resolve(stats.paired_difference([(False, True)] * 30 + [(True, True)] * 390, 0.95), 0.02) is None
    )


def test_same_outputs_leave_nothing_to_sample_and_other_outputs_do(make):
    a, b = (make.train_record(name, chunk_j=1.0, curve=(0.1,) * 3) for name in ("a", "b"))
    scored = {"item_ids": tuple(range(50)), "item_scores": (1.0,) * 50}
    a, b = (msgspec.structs.replace(record, **scored) for record in (a, b))
    same = stats.quality_difference(a, b, 0.95, output_difference=9e-5)
    assert (same.low, same.high, same.same_outputs) == (0.0, 0.0, True)
    for output_difference in (2e-4, None):
        other = stats.quality_difference(a, b, 0.95, output_difference=output_difference)
        assert other.low < 0 < other.high
        assert not other.same_outputs


def test_same_outputs_that_score_differently_are_sampled_all_the_same(make):
    a, b = (make.train_record(name, chunk_j=1.0, curve=(0.1,) * 3) for name in ("a", "b"))
    a = msgspec.structs.replace(a, item_ids=(0, 1), item_scores=(1.0, 1.0))
    b = msgspec.structs.replace(b, item_ids=(0, 1), item_scores=(1.0, 0.0))
    assert not stats.quality_difference(a, b, 0.95, output_difference=1e-6).same_outputs


def test_three_seeds_give_an_interval_between_runs(make):
    records = [make.train_record("a", chunk_j=10.0, curve=(0.1,) * 6, seed=seed, spread=0.1) for seed in (1, 2, 3)]
    found = stats.training_interval(records, 0.95)
    totals = [stats.training_total(record).energy_j for record in records]
    assert found.spread is stats.Spread.BETWEEN_RUNS
    assert found.total.energy_j == pytest.approx(np.mean(totals))
    assert found.high_j - found.total.energy_j == pytest.approx(4.302653 * np.std(totals, ddof=1) / math.sqrt(3))


def test_one_run_gives_batch_means_over_its_equal_chunks_and_says_so(make):
    record = make.train_record("a", chunk_j=10.0, setup_j=500.0, curve=(0.1,) * 9, spread=0.05)
    found = stats.training_interval([record], 0.95)
    assert found.spread is stats.Spread.WITHIN_ONE_RUN
    assert found.n == 7, "the first chunk may hold what is done once"
    assert found.low_j < found.total.energy_j < found.high_j < 600


def test_batch_means_hold_the_truth(make):
    hits = 0
    for seed in range(400):
        record = make.train_record("a", chunk_j=10.0, curve=(0.1,) * 7, seed=seed, spread=0.1)
        found = stats.training_interval([record], 0.95)
        hits += found.low_j <= 63.0 <= found.high_j
    assert 0.92 <= hits / 400 <= 0.98


def test_a_training_without_repeated_chunks_has_no_interval(make):
    found = stats.training_interval([make.train_record("a", chunk_j=10.0, curve=(0.1, 0.2))], 0.95)
    assert (found.low_j, found.high_j, found.spread) == (None, None, stats.Spread.NONE)


def test_holm_adjusts_in_the_given_order_and_never_below_the_smaller_ones():
    assert stats.holm([0.04, 0.01, 0.03]) == pytest.approx((0.06, 0.03, 0.06))
    assert stats.holm([]) == ()
    assert stats.familywise(0.95, 5) == pytest.approx(0.99)
    assert stats.familywise(0.95, 0) == 0.95


def test_break_even_says_after_how_many_tasks_or_never():
    paid = stats.break_even(30.0, 0.01, 0.008, 0.012)
    assert (paid.tasks, paid.low, paid.high) == pytest.approx((3000, 2500, 3750))
    assert stats.break_even(30.0, -0.01, -0.012, -0.008).payback is stats.Payback.NEVER
    assert stats.break_even(-1.0, -0.01, -0.012, -0.008).payback is stats.Payback.NEVER
    assert stats.break_even(30.0, 0.01, -0.001, 0.02).payback is stats.Payback.NOT_SHOWN
    assert stats.break_even(-1.0, 0.01, 0.008, 0.012).payback is stats.Payback.AT_ONCE
