"""How long a sequence a model of a folder or the hub takes, by its configuration, and where a longer one is refused."""

from __future__ import annotations

import pytest

from harness import workloads
from harness.errors import ModelError
from harness.records import WorkloadSpec
from harness.workloads import folders, vocabularies

TEXTS = [f"Return the number {number} of things in the list." for number in range(60)]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("config", "tokens"),
    [
        ({"model_type": "bert", "max_position_embeddings": 512}, 512),
        ({"model_type": "gpt2", "n_positions": 1024}, 1024),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "xlm-roberta", "max_position_embeddings": 514}, 512),
        ({"model_type": "mpnet", "max_position_embeddings": 514, "pad_token_id": 0}, 512),
        ({"model_type": "t5", "n_positions": 512}, None),
        ({"model_type": "xlnet"}, None),
    ],
)
def test_positions_are_counted_as_the_architecture_uses_them(config, tokens):
    assert folders.positions(config) == tokens


@pytest.mark.parametrize("padding", [0, 1, 5])
def test_a_roberta_takes_as_many_tokens_as_are_said_and_not_one_more(padding):
    import torch
    import transformers

    config = transformers.RobertaConfig(
        vocab_size=20,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=20,
        pad_token_id=padding,
    )
    model, room = transformers.RobertaModel(config).eval(), folders.positions(config.to_dict())
    model(input_ids=torch.full((1, room), 9))
    with pytest.raises((IndexError, RuntimeError), match=r"out of (bounds|range)"):
        model(input_ids=torch.full((1, room + 1), 9))


def of(task):
    """Return a model of 40 positions."""
    import transformers

    if task == "sequence_to_sequence":
        sizes = {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
        heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
        config = transformers.BartConfig(vocab_size=300, d_model=16, max_position_embeddings=40, **sizes, **heads)
        return transformers.BartForConditionalGeneration(config)
    config = transformers.GPT2Config(vocab_size=300, n_embd=16, n_layer=1, n_head=2, n_positions=40)
    return (transformers.GPT2LMHeadModel if task == "causal" else transformers.GPT2ForSequenceClassification)(config)


def data(task, folder):
    """Return data of the task, the same in each split."""
    if task == "sequence_to_sequence":
        for split in ("train", "val", "test"):
            for language in ("en", "de"):
                (folder / f"{split}.{language}").write_text("\n".join(TEXTS))
        return {"source": "parallel", "path": str(folder), "source_language": "en", "target_language": "de"}
    file = folder / ("texts.txt" if task == "causal" else "texts.tsv")
    file.write_text("".join(f"{text} {text}\n" if task == "causal" else f"{text}\t{len(text)}\n" for text in TEXTS))
    form = {} if task == "causal" else {"header": False, "text": 0, "label": 1}
    return {"source": "file", **dict.fromkeys(("train", "validation", "test"), str(file)), **form}


@pytest.mark.parametrize("task", ["classes", "sequence_to_sequence", "causal"])
def test_a_hub_model_with_too_few_positions_is_refused_once_it_is_here(task, tmp_path, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    kept = tmp_path / "hub" / "models--me--small"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text(COMMIT)
    of(task).save_pretrained(kept / "snapshots" / COMMIT)
    words = vocabularies.load(vocabularies.file(TEXTS, 300, tmp_path / "vocabulary"), ends=task != "causal")
    words.save_pretrained(kept / "snapshots" / COMMIT)

    def prepare(max_length):
        params = {"task": task, "model": {"source": "hub", "id": "me/small"}, "max_length": max_length}
        params |= {} if task == "classes" else {"new_tokens": 16}
        workload = workloads.load(WorkloadSpec(name="any", params={**params, "data": data(task, tmp_path)}), 3)
        workload.check()
        workload.prepare(tmp_path / "cache")
        return workload

    assert prepare(40).model_info().source.startswith(f"hub me/small@{COMMIT}")
    with pytest.raises(
        ModelError, match=r"workload\.max_length: 41 tokens do not fit the model in .* has 40 positions"
    ):
        prepare(41)
