"""A tiny trained model that every inference technique must answer like the baseline."""

from __future__ import annotations

import pytest

from harness import device, workloads
from harness.contract import Trained
from harness.records import WorkloadSpec

TINY = {
    "data": {"source": "docstrings", "limit": {"train": 160, "validation": 30, "test": 40}},
    "model": {"source": "random", "layers": 2, "hidden": 64, "heads": 2},
    "max_length": 32,
}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Return a prepared workload: docstrings and a random BERT of 2 layers × 64."""
    workload = workloads.load(WorkloadSpec(name="sentence_classification", params=TINY), 11)
    workload.prepare(tmp_path_factory.mktemp("cache"))
    device.prepare("cpu", threads=1, seed=11)
    return workload


@pytest.fixture(scope="session")
def pretrained(tiny, tmp_path_factory):
    """Return the same workload on a folder of weights, so that there is something to fine-tune.

    The weights are widened, or the [CLS] state of a random encoder would hardly depend on the text.
    """
    import torch

    folder = tmp_path_factory.mktemp("pretrained") / "model"
    model = tiny.new_model(pretrained=False, seed=3)
    with torch.no_grad():
        for tensor in model.bert.encoder.parameters():
            if tensor.ndim == 2:
                tensor.mul_(8)
    device.save_model(lambda place: tiny.save(model, place), folder)
    params = {**TINY, "model": {"source": "folder", "path": str(folder)}}
    workload = workloads.load(WorkloadSpec(name="sentence_classification", params=params), 11)
    workload.prepare(tmp_path_factory.mktemp("cache"))
    return workload


@pytest.fixture(scope="session")
def trained(tiny, tmp_path_factory):
    """Return a model whose logits differ from class to class: random weights with a widened head."""
    import torch

    model = tiny.new_model(pretrained=False, seed=5)
    with torch.no_grad():
        model.classifier.weight.mul_(20)
    folder = tmp_path_factory.mktemp("trained") / "model"
    device.save_model(lambda place: tiny.save(model, place), folder)
    return Trained(folder=folder, case_id="0123456789ab")
