"""The quality guard: how few items can prove that answers became worse."""

import pytest

from harness.gate.guarding import quality


@pytest.mark.parametrize(
    ("base", "head"), [([1.0, 1.0], [0.5, 0.5]), ([1.0, 1.001], [0.5, 0.5]), ([0.9] * 6, [0.1] * 6)]
)
def test_a_few_items_prove_no_loss_however_alike_they_fall(base, head):
    found = quality(base, head, 0.0, metric="bleu")
    assert found.difference < 0
    assert not found.worse
    assert found.high == 0.0


def test_as_many_items_as_cannot_all_fall_by_chance_prove_it():
    assert quality([1.0] * 7, [0.5] * 7, 0.0, metric="bleu").worse
    assert not quality([1.0] * 7, [0.5] * 7, 0.0, metric="bleu", cases=24).worse
    assert quality([1.0] * 12, [0.5] * 12, 0.0, metric="bleu", cases=24).worse
