"""Every way of training starts untrained, ends trained, and leaves a model that anyone can use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness import catalogue, device, workloads
from harness.contract import Trained
from harness.records import Phase, WorkloadSpec

NAMES = list(catalogue.find(Phase.TRAIN))
LEARNING = [name for name in NAMES if "epochs" in catalogue.load(Phase.TRAIN, name).Params.__struct_fields__]
SST2 = Path(__file__).parents[2].parent / "shared" / "data" / "sst2"


def accuracy(model, workload, split):
    examples = workload.examples(split)
    logits_NC = workloads.answers(workload, model, examples.texts, "cpu")
    return float(np.mean(workload.scores(logits_NC, examples)))


@pytest.mark.parametrize("name", LEARNING)
def test_it_yields_at_step_zero_and_at_the_end_and_learns(name, pretrained, tmp_path):
    technique = catalogue.load(Phase.TRAIN, name)
    assert technique.supports(pretrained, "cpu") is None
    epochs = 40 if name == "frozen_features" else 6
    params = catalogue.parse_params(
        technique, {"epochs": epochs, "batch_size": 8, "learning_rate": 2e-3, "checkpoints_per_epoch": 0.5}
    )
    steps, examples, quality = [], [], []
    for checkpoint in technique.train(pretrained, params, "cpu"):
        steps.append(checkpoint.steps)
        examples.append(checkpoint.examples)
        if checkpoint.steps == 0:
            quality.append(accuracy(checkpoint.model, pretrained, "train"))
    quality.append(accuracy(checkpoint.model, pretrained, "train"))
    assert steps[0] == examples[0] == 0
    assert steps == sorted(set(steps))
    assert (steps[-1], examples[-1]) == (epochs * 20, epochs * 160)
    assert quality[-1] > quality[0] + 0.1

    device.save_model(lambda folder: pretrained.save(checkpoint.model, folder), tmp_path / "left")
    baseline = catalogue.load(Phase.INFER, "torch_eager")
    left = Trained(folder=tmp_path / "left", case_id="x")
    with baseline.build(left, pretrained, catalogue.parse_params(baseline, {}), "cpu") as task:
        found_NC = task.run(pretrained.examples("test").texts)
    texts = pretrained.examples("test").texts
    again_NC = workloads.answers(pretrained, checkpoint.model, texts, "cpu")
    assert np.abs(found_NC - again_NC).max() < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_it_says_at_its_last_checkpoint_and_at_no_other_that_nothing_is_left_to_train(name, pretrained):
    technique = catalogue.load(Phase.TRAIN, name)
    params = catalogue.parse_params(technique, {"epochs": 1} if name in LEARNING else {})
    *earlier, final = technique.train(pretrained, params, "cpu")
    assert final.last
    assert not any(checkpoint.last for checkpoint in earlier)


@pytest.mark.parametrize("name", NAMES)
def test_training_twice_with_one_seed_gives_the_same_model(name, pretrained):
    import torch

    technique = catalogue.load(Phase.TRAIN, name)
    params = catalogue.parse_params(technique, {"epochs": 1} if name in LEARNING else {})
    first, second = (list(technique.train(pretrained, params, "cpu"))[-1].model for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_untrained_leaves_the_model_as_it_came(pretrained, tiny):
    import torch

    technique = catalogue.load(Phase.TRAIN, "untrained")
    for workload, known in ((pretrained, True), (tiny, False)):
        (only,) = technique.train(workload, technique.Params(), "cpu")
        fresh = workload.new_model(pretrained=known, seed=workload.seed)
        assert (only.steps, only.examples) == (0, 0)
        assert all(torch.equal(a, b) for a, b in zip(only.model.parameters(), fresh.parameters(), strict=True))


@pytest.mark.parametrize("name", ["full_finetune", "frozen_features"])
def test_without_pretrained_weights_it_is_skipped_with_the_reason(name, tiny):
    assert "nothing is pretrained" in catalogue.load(Phase.TRAIN, name).supports(tiny, "cpu")


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.skipif(not SST2.is_dir(), reason=f"no SST-2 under {SST2}")
def test_frozen_minilm_features_learn_sst2(tmp_path):
    names = {"train": "train.tsv", "validation": "dev.tsv", "test": "dev.tsv"}
    data = {"source": "file", "header": False, "text": 0, "label": 1}
    data |= {split: str(SST2 / file) for split, file in names.items()}
    params = {"data": {**data, "limit": {"train": 300, "validation": 100, "test": 100}}, "model": {"source": "minilm"}}
    workload = workloads.load(WorkloadSpec(name="sentence_classification", params=params), 1)
    workload.check()
    workload.prepare(tmp_path)
    technique = catalogue.load(Phase.TRAIN, "frozen_features")
    *_, last = technique.train(workload, catalogue.parse_params(technique, {}), "cpu")
    assert accuracy(last.model, workload, "test") > 0.65
