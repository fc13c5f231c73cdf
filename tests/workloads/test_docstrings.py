"""Real English out of the running Python."""

from __future__ import annotations

import sys

import pytest

from harness.errors import DataError
from harness.workloads import docstrings


def test_the_library_gives_ten_classes_split_by_hash(tmp_path):
    splits = docstrings.read(tmp_path)
    sizes = {split: len(rows) for split, rows in splits.items()}
    total = sum(sizes.values())
    assert total > 1200
    assert 0.66 < sizes["train"] / total < 0.74
    assert 0.16 < sizes["test"] / total < 0.24
    for rows in splits.values():
        assert {label for _, label in rows} == set(docstrings.PACKAGES)
    texts = [text for rows in splits.values() for text, _ in rows]
    assert len(texts) == len(set(texts))
    assert all(len(text) >= 20 and len(text.split()) >= 4 and "\n" not in text for text in texts)


@pytest.fixture
def two(monkeypatch):
    """Read two small packages only, to be quick."""
    monkeypatch.setattr(docstrings, "PACKAGES", ("mailbox", "tarfile"))


@pytest.mark.usefixtures("two")
def test_nothing_of_the_library_is_imported(tmp_path):
    before = set(sys.modules)
    docstrings.read(tmp_path)
    assert "mailbox" in before or "mailbox" not in sys.modules


@pytest.mark.usefixtures("two")
def test_the_second_reading_comes_from_the_cache(tmp_path):
    first = docstrings.read(tmp_path)
    (file,) = tmp_path.iterdir()
    changed = file.stat().st_mtime_ns
    assert docstrings.read(tmp_path) == first
    assert file.stat().st_mtime_ns == changed


@pytest.mark.usefixtures("two")
def test_a_damaged_cache_is_written_anew(tmp_path):
    first = docstrings.read(tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:1000])
    assert docstrings.read(tmp_path) == first


@pytest.mark.usefixtures("two")
def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DataError, match=r"the cache .*file"):
        docstrings.read(tmp_path / "file" / "cache")


def test_a_library_without_sources_is_refused(tmp_path):
    with pytest.raises(DataError, match="has 0 usable docstrings in 'asyncio'"):
        docstrings.read(tmp_path / "cache", tmp_path / "no library")


def test_the_data_say_which_python_they_come_from(load, tmp_path):
    workload = load(data={"source": "docstrings", "limit": {"train": 50, "validation": 20, "test": 20}})
    workload.prepare(tmp_path)
    info = workload.data_info()
    assert info.source == f"docstrings of Python {docstrings.python_version()}"
    assert "another version has other docstrings" in info.note
    assert (info.n_train, info.n_validation, info.n_test) == (50, 20, 20)
