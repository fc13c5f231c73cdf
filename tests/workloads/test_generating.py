"""What generating workloads promise beyond the contract: BLEU that means something, prompts, prefill, perplexity."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sacrebleu

from harness import device, workloads
from harness.contract import Examples
from harness.errors import ConfigError, DataError
from harness.records import WorkloadSpec
from harness.training import padded
from harness.workloads.decoding import NOTHING
from harness.workloads.sequence_to_sequence import corpus_bleu, sentence_bleu

ANIMALS = ["dog", "cat", "cow", "bird", "fish", "horse"]
TIERE = ["Hund", "Katze", "Kuh", "Vogel", "Fisch", "Pferd"]


def load(name, tmp_path, **params):
    workload = workloads.load(WorkloadSpec(name=name, params=params), 5)
    device.prepare("cpu", threads=1, seed=5)
    workload.prepare(tmp_path / "cache")
    return workload


def fit(workload, model, steps, learning_rate=2e-3):
    import torch

    goal = workload.objective("cpu")
    optimiser = torch.optim.AdamW(model.parameters(), lr=learning_rate)
    model.train()
    for _ in range(steps):
        goal.loss(model, range(goal.size)).backward()
        optimiser.step()
        optimiser.zero_grad()
    return model.eval()


@pytest.fixture
def zoo(tmp_path):
    """Return a prepared translation of six sentences."""
    for split in ("train", "val", "test"):
        (tmp_path / f"{split}.en").write_text("".join(f"I see a {one} and it runs away\n" for one in ANIMALS))
        (tmp_path / f"{split}.de").write_text("".join(f"Ich sehe: {one} läuft weg.\n" for one in TIERE), "utf-8")
    data = {"source": "parallel", "path": str(tmp_path), "source_language": "en", "target_language": "de"}
    return load("translate", tmp_path, data=data, vocabulary=300, max_length=40, new_tokens=40)


def test_a_transformer_learns_a_translation_by_heart_and_bleu_says_so(zoo):
    model = zoo.new_model(pretrained=False, seed=1)
    test = zoo.examples("test")
    before = zoo.evaluate(model.eval(), test, "cpu")
    after = zoo.evaluate(fit(zoo, model, 120), test, "cpu")
    assert before.measures["bleu"] < 5
    assert after.measures["bleu"] > 90
    assert np.mean(after.scores) > 0.9
    assert before.measures["loss_nats"] == pytest.approx(math.log(300), rel=0.25)
    assert after.measures["loss_nats"] < 0.5


def test_what_follows_the_end_of_a_sentence_is_nothing(zoo):
    model = fit(zoo, zoo.new_model(pretrained=False, seed=1), 120)
    outputs = zoo.answer(model, zoo.examples("test").texts, batch_size=6, padding="longest", device="cpu")
    end = zoo.tokenizer().eos_token_id
    for row in outputs:
        (ended,) = np.flatnonzero(row == end)
        assert (row[ended + 1 :] == NOTHING).all()
        assert (row[:ended] >= 0).all()
    assert zoo.texts(outputs)[0] == "Ich sehe: Hund läuft weg."


def test_the_data_say_what_copying_them_would_score(zoo):
    for found, split in zip(zoo.data_info().trivial, ("validation", "test"), strict=True):
        examples = zoo.examples(split)
        assert (found.split, found.metric, found.answer) == (split, zoo.learned, "the source copied unchanged")
        assert found.value == pytest.approx(np.mean(sentence_bleu(examples.texts, examples.targets)))


def test_bleu_is_sacrebleus_on_its_scale():
    written, targets = ["The cat sat on the mat.", "no"], ["The cat sat on a mat.", "yes indeed"]
    assert sentence_bleu(targets, targets) == (1.0, 1.0)
    assert sentence_bleu(["", "x"], targets) == (0.0, 0.0)
    expected = sacrebleu.sentence_bleu(written[0], [targets[0]]).score / 100
    assert sentence_bleu(written, targets)[0] == pytest.approx(expected)
    assert corpus_bleu(written, targets) == pytest.approx(sacrebleu.corpus_bleu(written, [targets]).score)


def test_label_smoothing_is_for_training_only(zoo):
    import torch

    model = zoo.new_model(pretrained=False, seed=1).eval()
    with torch.inference_mode():
        smoothed = float(zoo.objective("cpu").loss(model, range(6)))
    plain = zoo.evaluate(model, zoo.examples("train"), "cpu").measures["loss_nats"]
    assert smoothed != pytest.approx(plain, rel=1e-4)
    assert smoothed == pytest.approx(plain, rel=0.3)


def test_the_tokeniser_is_the_same_in_every_process_and_gives_every_text_back(zoo, tmp_path):
    import subprocess
    import sys

    text = "Ich sehe: Kuh läuft weg. ☃\n\tx"
    tokenizer = zoo.tokenizer()
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text
    code = (
        "from pathlib import Path; import sys; from harness.workloads import vocabularies;"
        "texts = [f'word{n} and {n * 7} things' for n in range(500)];"
        "print(vocabularies.file(texts, 600, Path(sys.argv[1])).read_text())"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / str(n))], capture_output=True, text=True, check=True
        ).stdout
        for n in range(2)
    ]
    assert runs[0] == runs[1]


@pytest.fixture
def story(tmp_path):
    """Return a prepared GPT-2 on a text that repeats itself."""
    line = "Every day the old man walks along the river to the market and buys three apples from her.\n"
    for split in ("train", "validation", "test"):
        (tmp_path / f"{split}.txt").write_text(line * (12 if split == "train" else 2))
    data = {"source": "file", **{split: str(tmp_path / f"{split}.txt") for split in ("train", "validation", "test")}}
    return load("gpt2", tmp_path, data=data, vocabulary=320, max_length=40, prompt_words=8, new_tokens=8)


def test_a_gpt2_learns_a_text_by_heart_and_goes_on_with_it(story):
    model = story.new_model(pretrained=False, seed=1)
    test = story.examples("test")
    before = story.evaluate(model.eval(), test, "cpu")
    fit(story, model, 80)
    after = story.evaluate(model, test, "cpu")
    outputs = story.answer(model, test.texts, batch_size=2, padding="longest", device="cpu")
    assert before.measures["perplexity"] == pytest.approx(320, rel=0.3)
    assert before.measures["perplexity"] == pytest.approx(math.exp(before.measures["loss_nats"]))
    assert after.measures["perplexity"] < 2
    assert np.mean(after.scores) > 0.9
    assert np.mean(story.scores(outputs, test)) == 1.0
    assert test.targets[0].startswith(story.tokenizer().decode(outputs[0]).strip())


def test_no_model_that_always_predicts_one_token_does_better_than_is_said(story):
    import torch

    class Always(torch.nn.Module):
        def __init__(self, token):
            super().__init__()
            self.token = token

        def forward(self, input_ids, attention_mask, use_cache):
            logits = torch.zeros(*input_ids.shape, 320)
            logits[..., self.token] = 1.0
            return type("Output", (), {"logits": logits})

    test = story.examples("test")
    shares = [np.mean(story.evaluate(Always(token), test, "cpu").scores) for token in range(320)]
    (said,) = [each for each in story.data_info().trivial if (each.split, each.metric) == ("test", story.learned)]
    assert 0 < said.value == pytest.approx(max(shares))


def test_prefill_reads_the_prompts_and_gives_the_first_token(story):
    model = story.new_model(pretrained=False, seed=1).eval()
    texts = story.examples("test").texts
    whole = story.answer(model, texts, batch_size=2, padding="max_length", device="cpu")
    first = story.prefill(model, texts, batch_size=2, padding="max_length", device="cpu")
    assert whole.shape == (2, 8)
    assert np.array_equal(first, whole[:, :1])


def test_nothing_ends_a_generation_before_its_length(story):
    import torch

    model = story.new_model(pretrained=False, seed=1).eval()
    end = story.tokenizer().eos_token_id
    with torch.no_grad():  # the output layer is the embedding: its longest row is the likeliest token
        model.transformer.wte.weight[end] *= 50
    outputs = story.answer(model, story.examples("test").texts, batch_size=2, padding="longest", device="cpu")
    assert (outputs >= 0).all()


def test_a_prompt_that_leaves_nothing_to_go_on_with_is_no_item(story, tmp_path):
    (tmp_path / "test.txt").write_text("Too short a line to be cut.\n")
    data = {"source": "file", **{split: str(tmp_path / f"{split}.txt") for split in ("train", "test")}}
    with pytest.raises(DataError, match=r"no paragraph of the test split is longer than a prompt of 8 words"):
        load("gpt2", tmp_path, data=data, vocabulary=320, max_length=40, prompt_words=8)


def test_a_text_shorter_than_one_block_cannot_be_trained_on(tmp_path):
    (tmp_path / "t.txt").write_text("One line of nine words is all there is.\n")
    data = {"source": "file", **dict.fromkeys(("train", "validation", "test"), str(tmp_path / "t.txt"))}
    workload = load("gpt2", tmp_path, data=data, vocabulary=300, max_length=64, prompt_words=4)
    with pytest.raises(DataError, match=r"fewer than one block of 64"):
        workload.objective("cpu")


def test_more_new_tokens_than_the_length_are_refused_where_the_suite_is_read():
    with pytest.raises(ConfigError, match=r"workload\.new_tokens: 64 leave no room for a prompt"):
        workloads.load(WorkloadSpec(name="gpt2", params={"new_tokens": 64, "max_length": 64}), 1)


def test_padding_stands_on_the_side_that_is_asked_for():
    rows = [[5], [6, 7]]
    right, left = (padded(rows, 0, "cpu", width=3, side=side) for side in ("right", "left"))
    assert right["input_ids"].tolist() == [[5, 0, 0], [6, 7, 0]]
    assert left["input_ids"].tolist() == [[0, 0, 5], [0, 6, 7]]
    assert left["attention_mask"].tolist() == [[0, 0, 1], [0, 1, 1]]
    with pytest.raises(DataError):
        padded(rows, 0, "cpu", width=1)


@pytest.fixture
def masked(tmp_path):
    """Return a prepared BERT that fills in masked words of a few sentences."""
    lines = [f"The {one} runs after the {other} in our garden every day." for one in ANIMALS for other in ANIMALS]
    for split in ("train", "validation", "test"):
        (tmp_path / f"{split}.txt").write_text("\n".join(lines) + "\n")
    data = {"source": "file", **{split: str(tmp_path / f"{split}.txt") for split in ("train", "validation", "test")}}
    return load("bert", tmp_path, goal="masked_words", data=data, vocabulary=400, max_length=32)


def test_masks_stand_where_the_words_were_and_stand_still(masked, tmp_path):
    test = masked.examples("test")
    for text, target in zip(test.texts, test.targets, strict=True):
        filled = text
        for word in target.split():
            filled = filled.replace("[MASK]", word, 1)
        assert "[MASK]" not in filled
        assert filled.lower().startswith("the ")
        assert len(target.split()) == 2  # 15 % of 11 words
    again = workloads.load(
        WorkloadSpec(
            name="bert",
            params={
                "goal": "masked_words",
                "data": {"source": "file", **{s: str(tmp_path / f"{s}.txt") for s in ("train", "validation", "test")}},
                "vocabulary": 400,
                "max_length": 32,
            },
        ),
        99,
    )
    again.prepare(tmp_path / "cache")
    assert again.examples("test") == test


def test_a_bert_learns_the_words_behind_masks(masked):
    model = masked.new_model(pretrained=False, seed=1)
    test = masked.examples("test")
    before = masked.evaluate(model.eval(), test, "cpu")
    after = masked.evaluate(fit(masked, model, 60), test, "cpu")
    assert before.measures["loss_nats"] == pytest.approx(math.log(400), rel=0.25)
    assert after.measures["loss_nats"] < 0.6 * before.measures["loss_nats"]
    assert np.mean(after.scores) > np.mean(before.scores) + 0.3
    outputs = masked.answer(model, test.texts, batch_size=5, padding="max_length", device="cpu")
    assert masked.scores(outputs, test) == pytest.approx(after.scores)


def test_about_15_percent_of_the_tokens_are_masked_and_no_special_one(masked):
    import torch

    goal, seen = masked.objective("cpu"), []
    special = set(masked.tokenizer().all_special_ids)

    class Spy:
        def __call__(self, input_ids, attention_mask):
            seen.append((input_ids, attention_mask))
            return type("Output", (), {"logits": torch.zeros(*input_ids.shape, 400, requires_grad=True)})

    ids = goal._ids
    for _ in range(40):
        goal.loss(Spy(), range(goal.size))
    changed = total = 0
    for input_ids, mask in seen:
        for row, real, true in zip(input_ids.tolist(), mask.tolist(), ids, strict=True):
            for token, here, word in zip(row, real, [*true, *[0] * (len(row) - len(true))], strict=True):
                if here and word in special:
                    assert token == word
                elif here:
                    total += 1
                    changed += token != word
    assert changed / total == pytest.approx(0.15 * 0.9, abs=0.01)


def test_elmo_learns_words_and_classes_and_the_classifier_leaves_elmo_alone(tmp_path):
    import torch

    rows = [(f"my {one} is very fast today", "pet") for one in ANIMALS] + [
        (f"the {one} was sold for two pounds", "ware") for one in ANIMALS
    ]
    for split in ("train", "validation", "test"):
        (tmp_path / f"{split}.tsv").write_text("".join(f"{text}\t{label}\n" for text, label in rows))
    data = {"source": "file", "header": False, "text": 0, "label": 1}
    data |= {split: str(tmp_path / f"{split}.tsv") for split in ("train", "validation", "test")}
    workload = load("elmo", tmp_path, data=data, vocabulary=40, max_length=12)
    model = workload.new_model(pretrained=False, seed=1)
    test = workload.examples("test")
    before = workload.evaluate(model.eval(), test, "cpu")
    after = workload.evaluate(fit(workload, model, 60), test, "cpu")
    assert before.measures["perplexity"] == pytest.approx(40, rel=0.3)
    assert after.measures["perplexity"] < 8
    assert np.mean(after.scores) == 1.0

    model.zero_grad()
    logits_BC = model.classified(model.elmo.model(workload.characters(test.texts, "cpu")))
    torch.nn.functional.cross_entropy(logits_BC, torch.tensor(test.labels)).backward()
    assert all(tensor.grad is None for tensor in model.elmo.parameters())
    assert all(tensor.grad is not None for tensor in model.head.parameters())


def test_words_that_training_never_saw_are_the_unknown_word(tmp_path):
    workload = load(
        "elmo",
        tmp_path,
        data={"source": "docstrings", "limit": {"train": 40, "validation": 10, "test": 10}},
        vocabulary=50,
    )
    numbers = workload.numbers("Return xqzzt .")
    assert numbers[0] == 0
    assert numbers[-1] == 1
    assert numbers[2] == 2
    assert max(max(workload.numbers(text)) for text in workload.examples("train").texts) == 49


def test_an_elmo_of_other_data_is_not_loaded(tmp_path):
    limits = {"train": 40, "validation": 10, "test": 10}
    made = [
        load("elmo", tmp_path, data={"source": "docstrings", "limit": limits}, vocabulary=size) for size in (50, 60)
    ]
    device.save_model(lambda folder: made[0].save(made[0].new_model(pretrained=False, seed=1), folder), tmp_path / "m")
    with pytest.raises(Exception, match="of other data or another size; train it again"):
        made[1].load(tmp_path / "m")


def test_scores_of_generated_tokens_are_the_share_that_the_text_really_has(story):
    tokenizer = story.tokenizer()
    truth = tokenizer(" apples from her.", add_special_tokens=False)["input_ids"]
    examples = Examples(item_ids=(0, 1), texts=("buys three", "buys three"), targets=("apples from her.",) * 2)
    width = 8
    right = np.array([truth[:width] + [0] * (width - len(truth))], dtype=np.int32)
    wrong = np.full((1, width), 3, dtype=np.int32)
    assert story.scores(np.concatenate([right, wrong]), examples) == (1.0, 0.0)
