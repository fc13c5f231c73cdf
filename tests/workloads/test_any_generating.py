"""Generating models of the user's: their texts begin as they were trained to, and training keeps no cache."""

from __future__ import annotations

import numpy as np
import pytest

from harness import workloads
from harness.contract import Examples
from harness.records import WorkloadSpec

LINE = "Every day the old man walks along the river to the market and buys three apples from her.\n"


def llama_words(begins):
    """Return a tokeniser as Llama's is: a space before every text, and its beginning."""
    from tokenizers import Tokenizer, decoders, models, normalizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["<unk>", "<s>", "</s>", "▁"]
    pieces = [(piece, 0.0) for piece in special] + [(chr(code), -1.0) for code in range(ord("!"), ord("~"))]
    made = Tokenizer(models.Unigram(pieces, unk_id=0))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Replace("▁", " ")
    if begins:
        made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


@pytest.fixture
def prepare(tmp_path):
    """Return a function that prepares a Llama with such a tokeniser."""
    import transformers

    def make(*, begins=True):
        words = llama_words(begins)
        sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
        config = transformers.LlamaConfig(vocab_size=len(words), bos_token_id=1, eos_token_id=2, **sizes)
        transformers.LlamaForCausalLM(config).save_pretrained(tmp_path / "model")
        words.save_pretrained(tmp_path / "model")
        data = {"source": "file"}
        for split in ("train", "validation", "test"):
            (tmp_path / f"{split}.txt").write_text(LINE * 4)
            data[split] = str(tmp_path / f"{split}.txt")
        model = {"source": "folder", "path": str(tmp_path / "model")}
        params = {"task": "causal", "model": model, "data": data, "max_length": 64, "prompt_words": 8, "new_tokens": 8}
        workload = workloads.load(WorkloadSpec(name="any", params=params), 3)
        workload.check()
        workload.prepare(tmp_path / "cache")
        return workload

    return make


def read_by(model):
    """Return the list that `input_ids` and `attention_mask` of every pass are added to."""
    seen = []

    def note(module, args, inputs):
        seen.append((inputs["input_ids"], inputs.get("attention_mask")))

    model.register_forward_pre_hook(note, with_kwargs=True)
    return seen


def first_tokens(ids, mask):
    return {int(row[int(here.argmax())]) for row, here in zip(ids, mask, strict=True)}


@pytest.mark.parametrize("begins", [True, False])
def test_a_text_begins_with_the_token_that_the_tokeniser_puts_there(begins, prepare):
    workload = prepare(begins=begins)
    examples = workload.examples("test")
    model = workload.new_model(pretrained=True, seed=1)
    seen = read_by(model)
    workload.evaluate(model, examples, "cpu")
    evaluated = seen[0]
    seen.clear()
    workload.answer(model, [examples.texts[0], "the river"], batch_size=2, padding="max_length", device="cpu")
    ids, mask = seen[0]
    assert ids.shape == (2, 56)
    space = workload.tokenizer().convert_tokens_to_ids("▁")
    assert first_tokens(*evaluated) == first_tokens(ids, mask) == {1 if begins else space}
    seen.clear()
    goal = workload.objective("cpu")
    goal.loss(model, range(goal.size))
    stream = seen[0][0].flatten().tolist()
    ends = [place for place, token in enumerate(stream[:-1]) if token == 2]
    assert ends
    assert {stream[0], *(stream[place + 1] for place in ends)} == {1 if begins else space}


def test_a_prompt_that_is_cut_keeps_its_beginning(prepare):
    workload = prepare()
    model = workload.new_model(pretrained=True, seed=1).eval()
    seen = read_by(model)
    workload.answer(model, [LINE.strip()], batch_size=1, padding="longest", device="cpu")
    ids = seen[0][0][0].tolist()
    assert len(ids) == 56
    assert ids[0] == 1
    assert workload.tokenizer().decode(ids[1:]) == LINE.strip()[-55:]


def test_a_continuation_is_scored_by_its_tokens_in_the_whole_text(prepare):
    workload = prepare()
    words = workload.tokenizer()
    examples = Examples(item_ids=(0,), texts=("buys three",), targets=("apples from her.",))
    whole = words("buys three apples from her.", add_special_tokens=False)["input_ids"]
    outputs = np.array([whole[len("▁buys three") :][:8]], dtype=np.int32)
    assert words.decode(outputs[0]) == " apples "
    assert workload.scores(outputs, examples) == (1.0,)


def test_training_to_write_a_target_keeps_no_keys_and_values(tmp_path):
    for split in ("train", "val", "test"):
        (tmp_path / f"{split}.en").write_text("I see a dog\nI see a cat\n")
        (tmp_path / f"{split}.de").write_text("Ich sehe einen Hund\nIch sehe eine Katze\n")
    data = {"source": "parallel", "path": str(tmp_path), "source_language": "en", "target_language": "de"}
    params = {"data": data, "vocabulary": 300, "max_length": 16, "new_tokens": 4}
    workload = workloads.load(WorkloadSpec(name="translate", params=params), 3)
    workload.prepare(tmp_path / "cache")
    model = workload.new_model(pretrained=False, seed=1).train()
    kept = []
    model.register_forward_hook(lambda module, args, output: kept.append(output.past_key_values))
    workload.objective("cpu").loss(model, [0, 1])
    assert kept == [None]
