"""Finished classifiers keep their heads, whatever the order of their classes; what no memory holds is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from harness import catalogue, workloads
from harness.errors import ModelError
from harness.records import Phase, WorkloadSpec
from harness.workloads import random_bert

TEXTS = ["a good film", "well made and long", "a bad film"]
TRAIN = "a good film, well made\tgood\na bad film, badly made and long\tbad\nit is a film\tfair\n"
THEIRS = {"good": 0, "fair": 1, "bad": 2}
"""Where the folder's head has the classes; the data have bad, fair, good."""


def finished(kind):
    """Return a classifier of three classes."""
    import torch
    import transformers

    torch.manual_seed(0)
    sizes = {"vocab_size": 200, "pad_token_id": 0, "label2id": THEIRS, "id2label": {n: c for c, n in THEIRS.items()}}
    if kind == "bert":
        small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
        return transformers.BertForSequenceClassification(transformers.BertConfig(**small, **sizes))
    if kind == "gpt2":  # an output layer without a bias
        config = transformers.GPT2Config(n_embd=16, n_layer=1, n_head=2, **sizes)
        return transformers.GPT2ForSequenceClassification(config)
    config = transformers.XLNetConfig(d_model=16, n_layer=1, n_head=2, d_inner=32, **sizes)  # a summary before it
    return transformers.XLNetForSequenceClassification(config)


@pytest.fixture
def prepare(files, tmp_path):
    """Return a function that prepares the workload with a folder's model, saved with a tokeniser of the texts."""

    def make(model, train=TRAIN, **data):
        import transformers

        file = random_bert.tokenizer_file([line.split("\t")[0] for line in TRAIN.splitlines()], 200, tmp_path)
        words = transformers.PreTrainedTokenizerFast(tokenizer_file=str(file), pad_token="[PAD]")
        model.save_pretrained(tmp_path / "model")
        words.save_pretrained(tmp_path / "model")
        given = files(train, train, train, **data)
        spec = {"task": "classes", "model": {"source": "folder", "path": str(tmp_path / "model")}, "data": given}
        workload = workloads.load(WorkloadSpec(name="any", params={**spec, "max_length": 16}), 3)
        workload.check()
        workload.prepare(tmp_path / "cache")
        return workload

    return make


@pytest.mark.parametrize("kind", ["bert", "gpt2", "xlnet"])
def test_a_finished_classifier_says_untrained_what_it_said_where_it_came_from(kind, prepare):
    source = finished(kind).eval()
    workload = prepare(source)
    (checkpoint,) = catalogue.load(Phase.TRAIN, "untrained").train(workload, None, "cpu")
    mine, theirs = (
        workload.answer(model.eval(), TEXTS, batch_size=3, padding="longest", device="cpu")
        for model in (checkpoint.model, source)
    )
    assert np.abs(mine - theirs[:, [THEIRS[name] for name in ("bad", "fair", "good")]]).max() < 1e-6
    assert np.abs(mine[:, 0] - mine[:, 2]).min() > 1e-5
    assert checkpoint.model.config.id2label == {0: "bad", 1: "fair", 2: "good"}
    assert workload.model_info().source == "folder model"


def test_a_head_for_other_classes_is_new_and_the_record_says_so(prepare):
    import torch

    source = finished("bert")
    workload = prepare(source, TRAIN.replace("fair", "neither"))
    model = workload.new_model(pretrained=True, seed=1)
    assert not torch.equal(model.classifier.weight, source.classifier.weight)
    assert torch.equal(model.bert.embeddings.word_embeddings.weight, source.bert.embeddings.word_embeddings.weight)
    assert workload.model_info().source == "folder model, new head"


def test_classes_without_the_heads_tensors_are_no_head(prepare, tmp_path):
    source = finished("bert")
    workload = prepare(source)
    source.bert.save_pretrained(tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["label2id"] == THEIRS
    assert workload.model_info().source == "folder model, new head"
    assert workload.new_model(pretrained=True, seed=1).config.num_labels == 3


@pytest.mark.parametrize(("whole", "says"), [(True, "training needs at least"), (False, "inference needs at least")])
def test_weights_that_do_not_fit_the_memory_are_refused_before_they_are_loaded(whole, says, prepare, monkeypatch):
    workload = prepare(finished("bert"))
    needed = (16 if whole else 4) * workload.model_info().parameters
    for free, refused in ((needed - 1, True), (needed, False), (None, False)):
        monkeypatch.setattr("harness.workloads.architectures.counting.free_on", lambda device, free=free: free)
        if refused:
            with pytest.raises(ModelError, match=rf"folder model: {says} 0\.0 GB .* are free on cpu; take a smaller"):
                workload.refuse_unless_fits(training=whole, batch_size=8, device="cpu")
        else:
            workload.refuse_unless_fits(training=whole, batch_size=8, device="cpu")


@pytest.mark.parametrize(("technique", "whole"), [("full_finetune", True), ("frozen_features", False)])
def test_only_what_trains_all_weights_is_charged_for_their_moments(technique, whole):
    assert catalogue.load(Phase.TRAIN, technique).Params().whole is whole
