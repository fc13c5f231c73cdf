"""Words as ELMo reads them: the bytes of their UTF-8 between a mark of beginning and one of end.

Ids are those of the published model (bilm-tf `UnicodeCharsVocabulary`, shifted by one so that 0 is no character):
1 to 256 are the bytes, then begin and end of sentence, begin and end of word, and the filling of a short word.
Every word takes the same number of ids whatever else is in the batch, so the convolutions cannot see the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.errors import DataError

BEGIN_SENTENCE, END_SENTENCE, BEGIN_WORD, END_WORD, FILLING = 257, 258, 259, 260, 261
CHARACTERS = 262
"""Number of ids, 0 (no word here) among them."""


def word_ids(word: str, max_characters: int) -> list[int]:
    """Return the `max_characters` ids of a word; bytes that do not fit between the two marks are cut, as published.

    What UTF-8 cannot say (a lone surrogate) is left out, as published.
    """
    return _framed([byte + 1 for byte in word.encode("utf-8", "ignore")], max_characters)


def sentence_ids(words: Sequence[str], max_characters: int) -> list[list[int]]:
    """Return the ids of a sentence's words between the sentence's own two marks: `len(words) + 2` rows."""
    begin, end = ([mark] for mark in (BEGIN_SENTENCE, END_SENTENCE))
    return [
        _framed(begin, max_characters),
        *(word_ids(word, max_characters) for word in words),
        _framed(end, max_characters),
    ]


def batch(sentences: Sequence[Sequence[str]], max_characters: int, width: int | None = None) -> Any:
    """Return chars_BTC (int64) of sentences of words, with sentence marks, right-padded by rows of zeros.

    T is the longest sentence with its marks, or `width`, which no sentence may exceed.

    Raises: DataError: there is no sentence.
    """
    import torch

    if not sentences:
        raise DataError("a batch for ELMo needs at least one sentence")
    rows = [sentence_ids(words, max_characters) for words in sentences]
    chars_BTC = torch.zeros(len(rows), width or max(map(len, rows)), max_characters, dtype=torch.int64)
    for number, row in enumerate(rows):
        chars_BTC[number, : len(row)] = torch.tensor(row, dtype=torch.int64)
    return chars_BTC


def _framed(middle: list[int], max_characters: int) -> list[int]:
    ids = [BEGIN_WORD, *middle[: max_characters - 2], END_WORD]
    return ids + [FILLING] * (max_characters - len(ids))
