"""Running text and parallel text out of the user's files."""

from __future__ import annotations

import pytest

from harness.errors import ConfigError, DataError
from harness.records import WorkloadSpec
from harness.workloads import language, load, pairs
from harness.workloads.params import Limit


@pytest.fixture
def parallel(tmp_path):
    """Return a function that writes parallel files and gives their data parameters."""

    def write(train=("one dog\ntwo cats\n", "ein Hund\nzwei Katzen\n"), **more):
        splits = {"train": train, "val": ("a cat\n", "eine Katze\n"), "test": ("a dog\n", "ein Hund\n"), **more}
        for stem, contents in splits.items():
            for suffix, content in zip(("en", "de"), contents, strict=True):
                data = content if isinstance(content, bytes) else content.encode()
                (tmp_path / f"{stem}.{suffix}").write_bytes(data)
        return pairs.ParallelFiles(path=str(tmp_path), source_language="en", target_language="de")

    return write


@pytest.fixture
def text(tmp_path):
    """Return a function that writes text files and gives their data parameters."""

    def write(**contents):
        for name, content in contents.items():
            (tmp_path / f"{name}.txt").write_text(content, encoding="utf-8")
        return language.TextFiles(**{name: str(tmp_path / f"{name}.txt") for name in contents})

    return write


def test_line_n_of_one_file_belongs_to_line_n_of_the_other(parallel, tmp_path):
    found = pairs.read(parallel(), tmp_path)
    assert found.train.texts == ("one dog", "two cats")
    assert found.train.targets == ("ein Hund", "zwei Katzen")
    assert (found.info.n_train, found.info.n_validation, found.info.n_test) == (2, 1, 1)
    assert "en to de" in found.info.source


def test_other_pairs_have_another_hash(parallel, tmp_path):
    first = pairs.read(parallel(), tmp_path).info.content_sha256
    second = pairs.read(parallel(train=("one dog\ntwo cats\n", "zwei Katzen\nein Hund\n")), tmp_path).info
    assert first != second.content_sha256


@pytest.mark.parametrize(
    ("train", "says"),
    [
        (("one\ntwo\n", "eins\n"), r"train\.en has 2 lines and train\.de 1: line n of one must belong to line n"),
        (("", ""), r"the train split is empty"),
        (("one\n\nthree\n", "eins\nzwei\ndrei\n"), r"train\.en, line 2: empty, while the other file has a sentence"),
        (("one\ntwo\n", "eins\n \n"), r"train\.de, line 2: empty"),
        ((b"caf\xe9\n", "Caf\n"), r"train\.en, line 1: byte 0xe9 is not UTF-8; convert the file"),
    ],
)
def test_parallel_text_that_is_not_is_refused_with_the_line(parallel, tmp_path, train, says):
    with pytest.raises(DataError, match=says):
        pairs.read(parallel(train=train), tmp_path)


def test_a_missing_parallel_file_names_the_nearest(parallel, tmp_path):
    data = parallel()
    (tmp_path / "val.de").rename(tmp_path / "vali.de")
    with pytest.raises(DataError, match=r"there is no file .*val\.de; did you mean 'vali\.de'"):
        pairs.read(data, tmp_path)


def test_bad_parallel_text_is_refused_before_anything_starts(parallel, tmp_path):
    parallel(train=("one\ntwo\n", "eins\n"))
    params = {"data": {"source": "parallel", "path": str(tmp_path), "source_language": "en", "target_language": "de"}}
    with pytest.raises(DataError, match="line n of one must belong"):
        load(WorkloadSpec(name="translate", params=params), 1).check()


def test_a_limit_draws_the_same_pairs_every_time_in_their_order(parallel, tmp_path):
    lines = [f"number {number}" for number in range(50)]
    numbers = "\n".join(lines) + "\n"
    data = parallel(train=(numbers, numbers.replace("number", "Nummer")))
    limited = pairs.ParallelFiles(path=data.path, source_language="en", target_language="de", limit=Limit(train=10))
    first, second = (pairs.read(limited, tmp_path).train for _ in range(2))
    assert first == second
    assert len(first.texts) == 10
    assert list(first.item_ids) == sorted(first.item_ids)
    assert all(first.texts[place] == lines[row] for place, row in enumerate(first.item_ids))


def test_restoring_leaves_words_and_takes_case_and_marks():
    assert pairs.restored("The file's name (a str), isn't it?") == "the file s name a str isn t it"


def test_the_embedded_pairs_are_sentences_and_what_is_left_of_them(tmp_path):
    found = pairs.read(pairs.DocumentationPairs(), tmp_path)
    assert found.info.n_train > 1000
    for source, target in zip(found.test.texts, found.test.targets, strict=True):
        assert pairs.restored(target) == source
        assert source != target
        assert pairs.FEWEST_WORDS <= len(source.split()) <= pairs.MOST_WORDS
    for held_out in (found.validation, found.test):
        assert set(found.train.texts).isdisjoint(held_out.texts), "not even in other marks or case"


def test_every_line_is_a_paragraph_and_headings_are_left_out(text, tmp_path):
    data = text(
        train=" = A title = \n\n The first <unk> line . \n = = Part = = \nThe second = line\n",
        validation="v\n",
        test="t\n",
    )
    found = language.read(data, tmp_path)
    assert found.train == ("The first <unk> line .", "The second = line")
    assert found.validation == ("v",)


def test_without_a_validation_file_every_tenth_paragraph_is_held_out(text, tmp_path):
    data = text(train="".join(f"line {number}\n" for number in range(25)), test="t\n")
    found = language.read(data, tmp_path)
    assert found.validation == ("line 9", "line 19")
    assert len(found.train) == 23
    assert "held out" in found.note


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_split_without_text_is_refused(text, tmp_path, split):
    data = text(**{"train": "a\n", "validation": "b\n", "test": "c\n", split: "\n = Title = \n"})
    with pytest.raises(DataError, match=f"the {split} split holds no paragraph of text"):
        language.read(data, tmp_path)


def test_text_in_another_encoding_is_refused_before_anything_starts(text, tmp_path):
    data = text(train="a\n", validation="b\n", test="c\n")
    (tmp_path / "test.txt").write_bytes("naïve\n".encode("latin-1"))
    params = {"data": {"source": "file", "train": data.train, "validation": data.validation, "test": data.test}}
    with pytest.raises(DataError, match=r"test\.txt, line 1: byte 0xef is not UTF-8"):
        load(WorkloadSpec(name="gpt2", params=params), 1).check()


def test_a_source_that_the_workload_does_not_know_names_those_it_does():
    with pytest.raises(ConfigError, match=r"workload\.data\.source: there is no source 'docstrings'.*documentation"):
        load(WorkloadSpec(name="gpt2", params={"data": {"source": "docstrings"}}), 1)
    with pytest.raises(ConfigError, match=r"workload\.data: unknown key 'lang'"):
        load(WorkloadSpec(name="translate", params={"data": {"source": "parallel", "lang": "en"}}), 1)
