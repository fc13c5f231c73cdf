"""Classifiers are padded as their tokenisers ask: on the left for XLNet, with the end where there is no padding."""

from __future__ import annotations

import json

import numpy as np
import pytest

from harness import workloads
from harness.errors import ModelError
from harness.records import WorkloadSpec
from harness.training import encode, pad
from harness.workloads import random_bert, vocabularies

TEXTS = ("a good film, well made", "bad", "it is a film")
TRAIN = "".join(f"{text}\t{number % 2}\n" for number, text in enumerate(TEXTS))


def xlnet(folder):
    import torch
    import transformers

    torch.manual_seed(0)

    special = ["<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>", "<eod>", "<eop>", "▁"]
    pieces = [(piece, 0.0) for piece in special] + [(chr(code), -1.0) for code in range(ord("!"), ord("~"))]
    words = transformers.XLNetTokenizer(vocab=pieces)
    config = transformers.XLNetConfig(
        vocab_size=len(words), d_model=16, n_layer=1, n_head=2, d_inner=32, pad_token_id=words.pad_token_id
    )
    model = transformers.XLNetForSequenceClassification(config)
    with torch.no_grad():  # as they are drawn, a text hardly shows
        for tensor in model.parameters():
            tensor.mul_(10 if tensor.ndim > 1 else 1)
    model.save_pretrained(folder)
    words.save_pretrained(folder)


def gpt2(folder, **changed):
    import transformers

    words = vocabularies.load(vocabularies.file(TEXTS, 300, folder.parent), ends=False)
    words.pad_token = None
    for name, value in changed.items():
        setattr(words, name, value)
    config = transformers.GPT2Config(vocab_size=300, n_embd=16, n_layer=1, n_head=2)
    transformers.GPT2ForSequenceClassification(config).save_pretrained(folder)
    words.save_pretrained(folder)


def bert(folder, side):
    import transformers

    words = random_bert.tokenizer(random_bert.tokenizer_file(TEXTS, 200, folder.parent), 16)
    config = transformers.BertConfig(
        vocab_size=200, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    words.save_pretrained(folder)
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "padding_side": side}))


@pytest.fixture
def prepare(files, tmp_path):
    def make():
        params = {"task": "classes", "data": files(TRAIN), "max_length": 40}
        model = {"source": "folder", "path": str(tmp_path / "model")}
        workload = workloads.load(WorkloadSpec(name="any", params={**params, "model": model}), 3)
        workload.check()
        workload.prepare(tmp_path / "cache")
        return workload

    return make


@pytest.mark.parametrize(("save", "side"), [(xlnet, "left"), (gpt2, "right")])
def test_a_text_is_classified_alike_alone_in_a_batch_and_in_training(save, side, prepare, tmp_path):
    import torch

    save(tmp_path / "model")
    workload = prepare()
    words = workload.tokenizer()
    model = workload.new_model(pretrained=True, seed=1).eval()
    alone, batch, widest = (
        workload.answer(model, TEXTS, batch_size=size, padding=padding, device="cpu")
        for size, padding in ((1, "longest"), (3, "longest"), (3, "max_length"))
    )
    assert words.padding_side == side
    assert np.abs(alone - batch).max() < 1e-5
    assert np.abs(alone - widest).max() < 1e-5
    assert np.abs(alone[0] - alone[1]).max() > 1e-3
    with torch.inference_mode():
        trained = model(**pad(encode(words, TEXTS, 40), words, "cpu")).logits.numpy()
    assert np.abs(alone - trained).max() < 1e-5


def test_a_tokeniser_with_neither_padding_nor_end_is_refused_when_it_is_read(prepare, tmp_path):
    gpt2(tmp_path / "model", eos_token=None)
    with pytest.raises(ModelError, match=r"has neither a padding token nor an end token"):
        prepare()


def test_padding_before_the_token_that_a_class_is_read_from_is_refused_when_it_is_read(prepare, tmp_path):
    bert(tmp_path / "model", "right")
    assert prepare().tokenizer().padding_side == "right"
    bert(tmp_path / "model", "left")
    with pytest.raises(ModelError, match=r"pads on the left, and its texts begin with \[CLS\]"):
        prepare()
