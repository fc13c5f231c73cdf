"""Slices that windows can be compared over."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.contract import Examples
from harness.workloads import slices


def examples(lengths):
    n = len(lengths)
    texts = tuple("x" * length for length in lengths)
    return Examples(item_ids=tuple(range(n)), texts=texts, labels=tuple(length % 2 for length in lengths))


@given(lengths=st.lists(st.integers(1, 300), min_size=1, max_size=200), size=st.integers(1, 40))
def test_all_slices_have_one_size_and_no_item_twice(lengths, size):
    given_examples = examples(lengths)
    cut = slices(given_examples, size)
    assert {len(part.texts) for part in cut} == {min(size, len(lengths))}
    assert len(cut) == max(1, len(lengths) // size)
    ids = [item for part in cut for item in part.item_ids]
    assert len(ids) == len(set(ids))
    for part in cut:
        assert part.texts == tuple(given_examples.texts[item] for item in part.item_ids)
        assert part.labels == tuple(given_examples.labels[item] for item in part.item_ids)


def test_slices_are_about_equally_long_and_not_sorted():
    lengths = [5 + (37 * k) % 211 for k in range(200)]
    cut = slices(examples(lengths), 32)
    totals = [sum(map(len, part.texts)) for part in cut]
    assert max(totals) / min(totals) < 1.05
    assert all(list(part.texts) != sorted(part.texts, key=len) for part in cut)


def test_slices_are_the_same_every_time():
    assert slices(examples(list(range(1, 101))), 32) == slices(examples(list(range(1, 101))), 32)
