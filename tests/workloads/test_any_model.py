"""Any model of `transformers` out of a folder, saved as its users would save it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness import device, workloads
from harness.errors import ConfigError, ModelError
from harness.records import WorkloadSpec
from harness.workloads import vocabularies

SMALL = {"train": 40, "validation": 8, "test": 8}
TEXTS = [f"Return the number {number} of things in the list." for number in range(60)]


def folder_of(model, tmp_path, *, ends, unpadded=False):
    """Save a model with a tokeniser of 300 pieces; return the parameters that name the folder."""
    tokenizer = vocabularies.load(vocabularies.file(TEXTS, 300, tmp_path / "vocabulary"), ends=ends)
    if unpadded:
        tokenizer.pad_token = None
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return {"source": "folder", "path": str(tmp_path / "model")}


def causal(kind):
    import transformers

    sizes = {"vocab_size": 300, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    if kind == "gpt2":
        return transformers.GPT2LMHeadModel(transformers.GPT2Config(n_embd=32, n_layer=1, n_head=2, **sizes))
    llama = transformers.LlamaConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        **sizes,
    )
    return transformers.LlamaForCausalLM(llama)


def sequence_to_sequence(kind):
    import transformers

    if kind == "t5":
        config = transformers.T5Config(
            vocab_size=300, d_model=32, d_kv=16, d_ff=64, num_layers=1, num_heads=2, decoder_start_token_id=0
        )
        return transformers.T5ForConditionalGeneration(config)
    config = transformers.BartConfig(
        vocab_size=300,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=128,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        forced_eos_token_id=None,
    )
    return transformers.BartForConditionalGeneration(config)


def classes(kind):
    import transformers

    if kind == "xlnet":
        config = transformers.XLNetConfig(vocab_size=300, d_model=32, n_layer=1, n_head=2, d_inner=64, pad_token_id=0)
        return transformers.XLNetForSequenceClassification(config)
    config = transformers.ModernBertConfig(
        vocab_size=300,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        cls_token_id=1,
        sep_token_id=2,
    )
    return transformers.ModernBertForSequenceClassification(config)


MAKERS = {"causal": causal, "sequence_to_sequence": sequence_to_sequence, "classes": classes}
KINDS = [
    ("causal", "gpt2"),
    ("causal", "llama"),
    ("sequence_to_sequence", "t5"),
    ("sequence_to_sequence", "bart"),
    ("classes", "xlnet"),
    ("classes", "modernbert"),
]


def load(task, model, tmp_path, **params):
    source = "docstrings" if task == "classes" else "documentation"
    spec = {"task": task, "model": model, "data": {"source": source, "limit": SMALL}, "max_length": 32, **params}
    workload = workloads.load(WorkloadSpec(name="any", params=spec), 3)
    workload.check()
    workload.prepare(tmp_path / "cache")
    return workload


@pytest.mark.parametrize(("task", "kind"), KINDS, ids=[kind for _, kind in KINDS])
def test_a_foreign_model_trains_answers_and_is_saved_like_ours(task, kind, tmp_path):
    import torch

    device.prepare("cpu", threads=1, seed=1)
    torch.manual_seed(0)
    workload = load(task, folder_of(MAKERS[task](kind), tmp_path, ends=task != "causal"), tmp_path)
    assert workload.has_pretrained() is None
    info = workload.model_info()
    assert info.source == ("folder model, new head" if task == "classes" else "folder model")
    assert len(info.weights_sha256) == 64
    model = workload.new_model(pretrained=True, seed=1)
    goal = workload.objective("cpu")
    loss = goal.loss(model.train(), [0, 1, 2])
    loss.backward()
    assert math.isfinite(float(loss.detach()))
    examples = workload.examples("test")
    found = workload.evaluate(model, examples, "cpu")
    assert len(found.scores) == len(examples.texts) == SMALL["test"]
    longest, fixed = (
        workload.answer(model, examples.texts, batch_size=3, padding=padding, device="cpu")
        for padding in ("longest", "max_length")
    )
    assert longest.shape == fixed.shape
    device.save_model(lambda folder: workload.save(model, folder), tmp_path / "left")
    again = workload.load(tmp_path / "left")
    assert np.array_equal(
        workload.answer(again, examples.texts, batch_size=3, padding="longest", device="cpu"), longest
    )


def test_its_own_weights_are_loaded_and_random_ones_only_on_request(tmp_path):
    import torch

    source = causal("gpt2")
    workload = load("causal", folder_of(source, tmp_path, ends=False), tmp_path)
    kept, drawn = (workload.new_model(pretrained=choice, seed=1) for choice in (True, False))
    assert torch.equal(kept.transformer.wte.weight, source.transformer.wte.weight)
    assert not torch.equal(drawn.transformer.wte.weight, source.transformer.wte.weight)


def test_a_causal_tokeniser_without_padding_pads_with_its_end(tmp_path):
    workload = load("causal", folder_of(causal("gpt2"), tmp_path, ends=False, unpadded=True), tmp_path)
    assert workload.tokenizer().pad_token_id == workload.tokenizer().eos_token_id
    model = workload.new_model(pretrained=True, seed=1).eval()
    texts = workload.examples("test").texts
    outputs = workload.answer(model, texts, batch_size=4, padding="max_length", device="cpu")
    assert outputs.shape == (SMALL["test"], 16)


def test_a_model_of_another_kind_is_refused_with_what_it_is(tmp_path):
    workload = load("sequence_to_sequence", folder_of(causal("gpt2"), tmp_path, ends=True), tmp_path)
    with pytest.raises(ModelError, match="AutoModelForSeq2SeqLM"):
        workload.new_model(pretrained=False, seed=1)


def test_too_long_sequences_and_missing_folders_are_refused_before_anything_starts(tmp_path):
    model = folder_of(causal("llama"), tmp_path, ends=False)
    with pytest.raises(ModelError, match=r"workload\.max_length: 200 tokens do not fit the model"):
        load("causal", model, tmp_path, max_length=200)
    with pytest.raises(ModelError, match=r"workload\.model\.path: there is no folder"):
        load("causal", {"source": "folder", "path": str(tmp_path / "nowhere")}, tmp_path)


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({}, r"workload\.task: say which task the model does; valid: classes, sequence_to_sequence, causal"),
        ({"task": "summarise"}, r"workload\.task: .*not 'summarise'"),
        ({"task": "causal"}, r"workload: .*missing required field `model`"),
        ({"task": "causal", "model": {"source": "minilm"}}, r"workload\.model\.source: there is no source 'minilm'"),
    ],
)
def test_what_is_missing_or_wrong_is_named(params, says):
    with pytest.raises(ConfigError, match=says):
        workloads.load(WorkloadSpec(name="any", params=params), 1)
