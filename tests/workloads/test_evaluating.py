"""What an evaluation makes of a model that diverged."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from harness import workloads
from harness.contract import Checkpoint, Evaluation, Examples
from harness.errors import InvalidMeasurement
from harness.worker.training import Training
from harness.workloads.evaluating import of_loss

torch = pytest.importorskip("torch")


def test_answers_that_are_no_numbers_are_refused_rather_than_scored(load, files, tmp_path):
    workload = load(data=files("good film\t1\nbad film\t0\n" * 10), max_length=16)
    workload.prepare(tmp_path)
    model = workload.new_model(pretrained=False, seed=1)
    texts = workload.examples("train").texts
    assert np.isfinite(workloads.answers(workload, model, texts, "cpu")).all()
    with torch.no_grad():
        model.classifier.weight.fill_(float("nan"))
    with pytest.raises(InvalidMeasurement, match=r"outputs are not all finite numbers; .* lower learning_rate"):
        workloads.answers(workload, model, texts, "cpu")


def test_a_perplexity_that_no_float_holds_is_left_out():
    assert of_loss(0.0) == {"perplexity": 1.0, "loss_nats": 0.0}
    assert of_loss(800.0) == {"loss_nats": 800.0}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_measure_that_is_no_number_is_named_before_it_is_sent(value):
    """A line of JSON has no word for it."""
    examples = Examples(item_ids=(0,), texts=("a",))
    workload = SimpleNamespace(
        examples=lambda _: examples, evaluate=lambda *_: Evaluation(scores=(0.0,), measures={"loss_nats": value})
    )
    fork = SimpleNamespace(
        case=SimpleNamespace(name="train/x", device="cpu"),
        start=SimpleNamespace(resume=None),
        params=None,
        workload=workload,
        technique=SimpleNamespace(train=lambda *_: iter([Checkpoint(model=object(), steps=7, examples=70)])),
        measured=lambda work: (None, work()),
        window=lambda *_, **__: None,
    )
    training = Training(fork)
    training.train()
    with pytest.raises(
        InvalidMeasurement, match=rf"train/x: loss_nats on the validation split is {value} after 7 steps"
    ):
        training.validate()
