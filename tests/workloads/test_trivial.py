"""What takes no model: a model has learned something where it does better."""

import pytest

from harness.errors import DataError
from harness.records import Trivial
from harness.workloads.trivial import CONSTANT, constant


def test_of_classes_it_is_the_share_of_the_most_frequent_one():
    found = constant("test", "accuracy", [(0,), (1,), (1,), (2,)])
    assert found == Trivial(split="test", metric="accuracy", value=0.5, answer=CONSTANT)


def test_of_tokens_it_is_the_mean_over_items_not_over_places():
    assert constant("test", "tokens", [(8, 7, 8), (8,)]).value == pytest.approx((2 / 3 + 1) / 2)
    assert constant("test", "tokens", [(7, 7, 7, 8), (8,)]).value == pytest.approx((1 / 4 + 1) / 2)


def test_items_without_a_place_are_answered_wrong_and_no_place_at_all_is_refused():
    assert constant("test", "tokens", [(7,), ()]).value == 0.5
    with pytest.raises(DataError, match="the test split has nothing to answer"):
        constant("test", "tokens", [(), ()])
