"""Running text of any length and labelled texts of any number: all of both is trained on."""

from __future__ import annotations

import pytest

from harness import catalogue, device, workloads
from harness.records import Phase, WorkloadSpec
from harness.training import encode
from harness.workloads.language import stretches
from harness.workloads.words_and_classes import pieces, words

LONG = " ".join(f"The {one} runs , and number {place} follows ." for place, one in enumerate(["dog", "cat", "cow"] * 9))
SHORT = "A short paragraph ends here ."


def prepared(name, tmp_path, **params):
    workload = workloads.load(WorkloadSpec(name=name, params=params), 5)
    workload.check()
    device.prepare("cpu", threads=1, seed=5)
    workload.prepare(tmp_path / "cache")
    return workload


@pytest.fixture
def elmo(tmp_path):
    """Return a function that prepares an ELMo on a corpus beside so many labelled texts."""

    def make(train, labels=4, test=SHORT, max_length=12):
        for split, text in (("train", train), ("validation", test), ("test", test)):
            (tmp_path / f"{split}.txt").write_text(text + "\n")
            rows = [f"labelled text number {row} of {split}\t{row % 2}\n" for row in range(labels)]
            (tmp_path / f"{split}.tsv").write_text("".join(rows))
        splits = ("train", "validation", "test")
        corpus = {"source": "file", **{split: str(tmp_path / f"{split}.txt") for split in splits}}
        data = {"source": "file", "header": False, "text": 0, "label": 1}
        data |= {split: str(tmp_path / f"{split}.tsv") for split in splits}
        return prepared("elmo", tmp_path, data=data, corpus=corpus, vocabulary=40, max_length=max_length)

    return make


@pytest.fixture
def masked(tmp_path):
    """Return a function that prepares a BERT that fills in masked words of a text."""

    def make(text):
        for split in ("train", "test"):
            (tmp_path / f"{split}.txt").write_text(text + "\n")
        data = {"source": "file", **{split: str(tmp_path / f"{split}.txt") for split in ("train", "test")}}
        data["validation"] = data["test"]
        return prepared("bert", tmp_path, goal="masked_words", data=data, vocabulary=300, max_length=16)

    return make


@pytest.mark.parametrize("most", [1, 5, 12])
@pytest.mark.parametrize("places", [0, 1, 5, 6, 11, 12, 13, 120])
def test_stretches_hold_every_place_once_and_none_is_much_shorter_than_another(places, most):
    found = stretches(places, most)
    assert [place for stretch in found for place in stretch] == list(range(places))
    lengths = [len(stretch) for stretch in found]
    assert max(lengths, default=0) <= most
    assert max(lengths, default=0) - min(lengths, default=0) <= 1


def test_pieces_of_a_text_have_the_words_of_the_whole():
    found = pieces(LONG, 7)
    assert [word for piece in found for word in words(piece, 7)] == words(LONG, len(LONG))
    assert pieces(SHORT, 7) == [SHORT]
    assert pieces(" ", 7) == []


def test_marks_that_text_came_with_are_words_of_their_own():
    found = words("A co @-@ star of 1 @,@ 500 <unk> , isn't it <b> ?", 99)
    assert found == [
        *("A", "co", "@-@", "star", "of", "1", "@,@", "500", "<unk>", ",", "isn", "'", "t", "it", "<", "b", ">", "?")
    ]


@pytest.mark.parametrize(("labels", "paragraphs"), [(11, 3), (4, 9)])
def test_an_epoch_trains_on_every_labelled_text_and_on_every_paragraph(elmo, monkeypatch, labels, paragraphs):
    lines = [f"The paragraph of the number {row} ." for row in range(paragraphs)]
    workload = elmo("\n".join(lines), labels)
    read, seen = workload.characters, set()

    def reading(texts, *rest):
        seen.update(texts)
        return read(texts, *rest)

    monkeypatch.setattr(workload, "characters", reading)
    technique = catalogue.load(Phase.TRAIN, "from_scratch")
    params = catalogue.parse_params(technique, {"epochs": 1, "batch_size": 2, "checkpoints_per_epoch": 1})
    *_, last = technique.train(workload, params, "cpu")
    assert seen == {*lines, *workload.examples("train").texts}
    assert last.examples == max(labels, paragraphs)


def test_an_elmo_is_trained_on_all_of_a_long_paragraph_and_says_in_how_many_rows(elmo):
    workload = elmo(f"{LONG}\n{SHORT}")
    goal = workload.objective("cpu")
    inner = [numbers[1:-1] for numbers in goal._numbers]
    assert sum(map(len, inner)) == len(words(f"{LONG} {SHORT}", 999))
    assert all(6 <= len(row) <= 12 for row in inner)
    assert f"2 paragraphs in {goal.size} pieces of at most 12 words" in workload.data_info().note


def test_perplexity_is_of_pieces_from_all_over_the_text(elmo):
    workload = elmo(SHORT, labels=4, test="\n".join([LONG] + [f"Paragraph {row} is here ." for row in range(30)]))
    found = workload._beside(workload.examples("test"))
    assert len(found) == 4
    assert found == workload._beside(workload.examples("test"))
    assert any(text.startswith("Paragraph") for text in found)


def test_the_unknown_word_of_a_text_is_the_unknown_word_of_elmo(elmo):
    workload = elmo("\n".join(["<unk> and <unk> met ."] * 5))
    unknown = 2
    assert workload.numbers("<unk> and <unk> met .")[1:-1].count(unknown) == 2
    assert workload.numbers("and")[1] > unknown


def test_a_bert_is_trained_on_all_of_a_long_paragraph_and_short_ones_stay_as_they_are(masked):
    short = "The dog runs ."
    workload = masked(f"{LONG}\n{short}")
    tokenizer, rows = workload.tokenizer(), workload.objective("cpu")._ids
    assert all({row[0], row[-1]} == {tokenizer.cls_token_id, tokenizer.sep_token_id} for row in rows)
    inner = [token for row in rows for token in row[1:-1]]
    assert inner == [
        token for text in (LONG, short) for token in tokenizer(text, add_special_tokens=False)["input_ids"]
    ]
    assert all(9 <= len(row) <= 16 for row in rows[:-1])
    assert rows[-1] == encode(tokenizer, [short], 16)[0]
    assert "longer ones are trained on in pieces of at most 16 tokens" in workload.data_info().note


def test_the_unknown_word_of_a_text_is_never_masked(masked):
    workload = masked("\n".join(f"The <unk> runs after the unknown {one} ." for one in ("dog", "cat", "cow")))
    tokenizer, test = workload.tokenizer(), workload.examples("test")
    assert "unk" in tokenizer.get_vocab()
    assert len(test.texts) == 3
    for text in test.texts:
        assert text.count("[UNK]") == text.count("[MASK]") == 1
    assert all(row.count(tokenizer.unk_token_id) == 1 for row in workload.objective("cpu")._ids)


def test_the_masks_of_many_sentences_are_set_as_they_are_of_few(masked, monkeypatch):
    from transformers import PreTrainedTokenizerFast

    calls = []
    for name in ("get_vocab", "__call__"):
        real = getattr(PreTrainedTokenizerFast, name)

        def counted(*args, real=real, **kwargs):
            calls.append(real)
            return real(*args, **kwargs)

        monkeypatch.setattr(PreTrainedTokenizerFast, name, counted)
    numbers = []
    for count in (2, 60):
        calls.clear()
        workload = masked("\n".join(f"The dog number {row} runs after the cat ." for row in range(count)))
        assert len(workload.examples("test").texts) == count
        numbers.append(len(calls))
    assert numbers[0] == numbers[1]
