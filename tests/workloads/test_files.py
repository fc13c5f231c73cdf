"""The user's own texts: read as they are, refused with the file and the line."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from harness.errors import DataError, MissingExtra

SST2 = Path(__file__).parents[2].parent / "shared" / "data" / "sst2"
TRAIN = "good film\t1\nbad film\t0\n"


def test_tsv_csv_and_jsonl_give_the_same_data(files, load, tmp_path):
    tsv = load(data=files(TRAIN))
    csv = load(
        data=files(
            '\ufeffreview,stars\n"good film",1\nbad film,0\n',
            "review,stars\ngood film,1\n",
            "review,stars\nbad film,0\n",
            suffix=".csv",
            header=True,
            text="review",
            label="stars",
        )
    )
    jsonl = load(
        data=files(
            '{"t": "good film", "l": 1}\n\n{"t": "bad film", "l": "0"}',
            '{"t": "good film", "l": 1}',
            '{"t": "bad film", "l": 0}',
            suffix=".jsonl",
            text="t",
            label="l",
        )
    )
    infos = []
    for workload in (tsv, csv, jsonl):
        workload.prepare(tmp_path / "cache")
        infos.append(workload.data_info())
    assert {info.content_sha256 for info in infos} == {infos[0].content_sha256}
    assert infos[0].classes == ("0", "1")
    assert tsv.examples("train").texts == ("good film", "bad film")
    assert tsv.examples("train").labels == (1, 0)


def test_a_quotation_mark_in_a_tsv_is_text(files, load, tmp_path):
    workload = load(data=files('"quote at the start\t1\nplain\t0\n'))
    workload.prepare(tmp_path / "cache")
    assert workload.examples("train").texts[0] == '"quote at the start'


def test_numeric_classes_stand_in_numeric_order(files, load, tmp_path):
    workload = load(data=files("a\t10\nb\t9\nc\t1\nd\t0\n"))
    workload.prepare(tmp_path / "cache")
    assert workload.data_info().classes == ("0", "1", "9", "10")


@pytest.mark.parametrize(
    ("content", "params", "says"),
    [
        ("", {}, r"train\.tsv: the train split is empty"),
        ("one\t1\ntwo\t1\n", {}, r"every training text has the label '1'; classification needs two classes"),
        ("one\t1\n\t0\n", {}, r"train\.tsv, line 2: the text is empty"),
        ("one\t1\ntwo\t \n", {}, r"train\.tsv, line 2: the label is empty"),
        ("one\t1\ntwo\n", {}, r"train\.tsv, line 2: 1 columns, but column 1"),
        ("one\t1\ncaf\xe9\t0\n".encode("latin1"), {}, r"train\.tsv, line 2: byte 0xe9 is not UTF-8"),
        (codecs.BOM_UTF16_LE + "one\t1\n".encode("utf-16-le"), {}, r"train\.tsv: UTF-16, .*iconv -f utf-16 -t utf-8"),
        (codecs.BOM_UTF16_BE + "one\t1\n".encode("utf-16-be"), {}, r"train\.tsv: UTF-16, .*iconv -f utf-16 -t utf-8"),
        ("text\tlable\none\t1\n", {"header": True, "text": "text", "label": "label"}, r"did you mean 'lable'\?"),
        ("text\tlabel\n", {"header": True, "text": "text", "label": 7}, r"there is no column 7"),
    ],
)
def test_an_unusable_file_is_named_with_its_line(files, load, content, params, says):
    with pytest.raises(DataError, match=says):
        load(data=files(content, **params)).check()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"text": "a", "label": 1}\n{"text": ', r"line 2: not JSON"),
        ("[1]\n", r"line 1: a JSON object is needed, not list"),
        ('{"txt": "a", "label": 1}\n', r"line 1: there is no key 'text'; did you mean 'txt'\?"),
        ('{"text": 3, "label": 1}\n', r"line 1: 'text' is int, not text"),
        ('{"text": "a", "label": 1.5}\n', r"line 1: 'label' is float"),
    ],
)
def test_an_unusable_line_of_jsonl_is_named(files, load, content, says):
    data = files(content, suffix=".jsonl", header=True, text="text", label="label")
    with pytest.raises(DataError, match=says):
        load(data=data).check()


def test_a_missing_file_names_the_nearest(files, load, tmp_path):
    data = files(TRAIN)
    with pytest.raises(DataError, match=r"workload\.data\.train: there is no file .*did you mean 'train\.tsv'"):
        load(data={**data, "train": str(tmp_path / "tran.tsv")}).check()
    with pytest.raises(DataError, match="nor a folder"):
        load(data={**data, "train": str(tmp_path / "nowhere" / "x.tsv")}).check()
    (tmp_path / "folder.tsv").mkdir()
    with pytest.raises(DataError, match="cannot read"):
        load(data={**data, "test": str(tmp_path / "folder.tsv")}).check()


def test_an_unknown_extension_is_refused(files, load):
    with pytest.raises(DataError, match=r"extension '\.txt'; known are \.tsv, \.csv and \.jsonl"):
        load(data=files(TRAIN, suffix=".txt")).check()


def test_a_label_that_training_never_saw_is_refused(files, load):
    with pytest.raises(DataError, match="the validation split has labels that training never saw: '2'"):
        load(data=files(TRAIN, validation="so so\t2\n")).check()


def test_a_limit_keeps_the_classes_in_proportion_and_is_the_same_for_every_seed(files, load, tmp_path):
    rows = "".join(f"text number {n}\t{int(n % 4 == 0)}\n" for n in range(400))
    data = files(rows, limit={"train": 40})
    first, second = load(seed=1, data=data), load(seed=2, data=data)
    for workload in (first, second):
        workload.prepare(tmp_path / "cache")
    train = first.examples("train")
    assert train == second.examples("train")
    assert len(train.texts) == 40
    assert sum(train.labels) == 10
    assert all(train.texts[i] == f"text number {train.item_ids[i]}" for i in range(40))


def test_a_rare_class_keeps_an_example_under_a_limit(files, load, tmp_path):
    rows = "".join(f"text number {n}\t{int(n == 7)}\n" for n in range(400))
    workload = load(data=files(rows, limit={"train": 10}))
    workload.prepare(tmp_path / "cache")
    assert sum(workload.examples("train").labels) == 1
    assert len(workload.examples("train").labels) == 10
    with pytest.raises(DataError, match="less than one text for each of 2 classes"):
        load(data=files(rows, limit={"train": 1})).check()


def test_hub_data_without_the_extra_says_how_to_install_it(load):
    try:
        import datasets  # noqa: F401
    except ImportError:
        with pytest.raises(MissingExtra, match=r"pip install 'joulebench\[datasets\]'"):
            load(data={"source": "hub", "id": "nobody/nothing"}).check()
    else:
        pytest.skip("the extra `datasets` is installed")


@pytest.mark.skipif(not SST2.is_dir(), reason=f"no SST-2 under {SST2}")
def test_sst2_reads_without_a_header(load, tmp_path):
    names = {"train": "train.tsv", "validation": "dev.tsv", "test": "test.tsv"}
    data = {"source": "file", "header": False, "text": 0, "label": 1}
    data |= {split: str(SST2 / name) for split, name in names.items()}
    workload = load(data={**data, "limit": {"train": 800}})
    workload.prepare(tmp_path / "cache")
    info = workload.data_info()
    assert info.classes == ("0", "1")
    assert (info.n_train, info.n_validation) == (800, 872)
    assert 0.4 < sum(workload.examples("train").labels) / 800 < 0.6
