"""Prose out of the running Python's documentation."""

from __future__ import annotations

import pytest

from harness.errors import DataError
from harness.workloads import documentation

DOCSTRING = '''"""Do a thing.

This module does one thing and explains it in a sentence.  It even
goes on in a second line, which belongs to the same paragraph.

    >>> code(here)  # and that is no prose.

* A list of things that are not running text at all.

Table of figures 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17.

lower case begins no paragraph of prose in this reading of it.

This one breaks off without an end mark as headings often do
"""
'''


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    return documentation.read(tmp_path_factory.mktemp("texts"))


def test_paragraphs_of_prose_are_kept_and_code_lists_and_tables_are_not():
    found = list(documentation.prose(DOCSTRING.strip().strip('"')))
    first, second = "This module does one thing and explains it in a sentence.", "It even goes on in a second line,"
    assert found == [f"{first} {second} which belongs to the same paragraph."]


def test_a_paragraph_falls_into_its_sentences():
    found = documentation.sentences("It works. Does it? Yes, e.g. here! And i.e. there.")
    assert found == ["It works.", "Does it?", "Yes, e.g. here!", "And i.e. there."]


def test_the_library_gives_enough_text_in_three_splits_that_share_nothing(texts):
    sizes = {split: len(found) for split, found in texts.items()}
    total = sum(sizes.values())
    assert total >= documentation.FEWEST
    assert len({text for found in texts.values() for text in found}) == total
    assert 0.6 < sizes["train"] / total < 0.85
    assert min(sizes.values()) > 0.07 * total
    trained_on = {sentence for text in texts["train"] for sentence in documentation.sentences(text)}
    for split in ("validation", "test"):
        assert trained_on.isdisjoint(sentence for text in texts[split] for sentence in documentation.sentences(text))
    assert all(text[0].isupper() and text.rstrip(")")[-1] in ".:!?" for found in texts.values() for text in found)


def test_a_second_reading_comes_from_the_cache_and_is_the_same(tmp_path, monkeypatch):
    first = documentation.read(tmp_path)

    def fail(folder):
        raise AssertionError(folder)

    monkeypatch.setattr(documentation, "extract", fail)
    assert documentation.read(tmp_path) == first


def test_a_damaged_cache_is_made_anew(tmp_path):
    first = documentation.read(tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    assert documentation.read(tmp_path) == first


def test_a_library_without_its_sources_is_refused(tmp_path):
    (tmp_path / "lonely.py").write_text(DOCSTRING)
    with pytest.raises(DataError, match="has 1 paragraphs of documentation, fewer than"):
        documentation.extract(tmp_path)


def test_a_module_that_is_no_python_is_named(tmp_path):
    (tmp_path / "broken.py").write_text("def (:")
    with pytest.raises(DataError, match=r"broken\.py"):
        documentation.extract(tmp_path)
