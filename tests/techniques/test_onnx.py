"""The ONNX export where `transformers` has no exporter, and on devices that the runtime does not have."""

from __future__ import annotations

import importlib.util

import pytest

from harness import catalogue, device, workloads
from harness.contract import Trained
from harness.errors import ModelError
from harness.records import Phase, WorkloadSpec
from techniques import _onnx


@pytest.fixture
def workload(tmp_path):
    """Return a prepared workload with a random BERT of one layer."""
    (tmp_path / "texts.tsv").write_text("a good film\t1\na bad film\t0\n", encoding="utf-8")
    path = str(tmp_path / "texts.tsv")
    data = {"source": "file", "train": path, "validation": path, "test": path, "header": False, "text": 0, "label": 1}
    model = {"source": "random", "layers": 1, "hidden": 16, "heads": 2}
    spec = WorkloadSpec(name="sentence_classification", params={"data": data, "model": model, "max_length": 16})
    made = workloads.load(spec, 1)
    made.prepare(tmp_path / "cache")
    return made


@pytest.fixture
def trained(workload, tmp_path):
    """Return a saved model of that workload."""
    device.save_model(
        lambda folder: workload.save(workload.new_model(pretrained=False, seed=1), folder), tmp_path / "model"
    )
    return Trained(folder=tmp_path / "model", case_id="x")


def test_without_the_exporters_of_transformers_torch_exports(workload, trained, monkeypatch):
    import numpy as np

    find = importlib.util.find_spec
    monkeypatch.setattr(
        _onnx.importlib.util, "find_spec", lambda name: None if name == "transformers.exporters" else find(name)
    )
    texts = ("a good film", "bad", "a good bad good bad film of films")
    outputs = []
    for which in ("torch_eager", "onnxruntime_fp32"):
        technique = catalogue.load(Phase.INFER, which)
        with technique.build(trained, workload, catalogue.parse_params(technique, {}), "cpu") as task:
            outputs.append(task.run(texts))
    assert np.abs(outputs[0] - outputs[1]).max() < 1e-4


def test_the_runtime_refuses_a_gpu_it_cannot_use(workload):
    import onnxruntime

    fp32, int8 = (catalogue.load(Phase.INFER, f"onnxruntime_{kind}") for kind in ("fp32", "int8_dynamic"))
    assert "CPU only" in int8.supports(workload, "cuda")
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        assert fp32.supports(workload, "cuda") is None
    else:
        assert fp32.supports(workload, "cuda") == "this onnxruntime build has no CUDAExecutionProvider"


def test_a_folder_without_a_trained_head_is_refused(workload, trained, tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    file = trained.folder / "model.safetensors"
    weights = {name: tensor for name, tensor in load_file(file).items() if not name.startswith("classifier")}
    assert all(isinstance(tensor, torch.Tensor) for tensor in weights.values())
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(
        ModelError, match=r"lacks classifier\.bias, which BertForSequenceClassification needs; train it again"
    ):
        workload.load(trained.folder)
    with pytest.raises(ModelError, match="cannot load the model"):
        workload.load(tmp_path / "nowhere")
