"""What ELMo's training makes small: the words of running text both ways, and the classes of labelled texts beside them.

Shape suffixes: B batch, T words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from harness.contract import Examples
from harness.errors import DataError
from harness.workloads.language import UNKNOWN, stretches

if TYPE_CHECKING:
    import torch

_WORD = re.compile(rf"{UNKNOWN}|@[-,.]@|\w+|[^\w\s]")
"""Text that came in words has marks of its own: a word left out, and WikiText's `@-@`, `@,@`, `@.@` inside one."""


class Reader(Protocol):
    """How texts become numbers."""

    def characters(self, texts: Sequence[str], device: str, width: int | None = None) -> torch.Tensor:
        """Return `chars_BTC` of texts."""

    def numbers(self, text: str) -> list[int]:
        """Return the numbers of a text's words between the marks of its sentence."""


class WordsAndClasses:
    """Loss of the language model on running text, plus that of the classifier on labelled texts, if there are any.

    An epoch reads all of both: those of which there are fewer are read again.
    """

    def __init__(self, reader: Reader, texts: Sequence[str], examples: Examples | None, device: str) -> None:
        if not texts:
            raise DataError("there is no running text with a word in it; give a corpus that has some")
        self.size = max(len(texts), len(examples.texts) if examples is not None else 0)
        self._reader = reader
        self._texts = texts
        self._numbers = [reader.numbers(text) for text in texts]
        self._examples = examples
        self._shared = examples is not None and tuple(texts) == examples.texts
        self._device = device

    def predicted(self, rows: Sequence[int]) -> int:
        """Return how many words either direction predicts in these rows."""
        return sum(len(self._numbers[row]) - 1 for row in rows)

    def loss(self, model: Any, rows: Sequence[int]) -> torch.Tensor:
        """Return the mean loss in nats a word of both directions, plus the classifier's mean in nats an item."""
        import torch

        read = [row % len(self._texts) for row in rows]
        states = model.elmo.model(self._reader.characters([self._texts[row] for row in read], self._device))
        words_BT = torch.nn.utils.rnn.pad_sequence([torch.tensor(self._numbers[row]) for row in read], batch_first=True)
        loss = model.elmo.loss(states, words_BT.to(self._device))
        if self._examples is None:
            return loss
        count = len(self._examples.texts)
        chosen = list(rows) if self._shared else [row % count for row in rows]
        if not self._shared:
            texts = [self._examples.texts[row] for row in chosen]
            with torch.no_grad():
                states = model.elmo.model(self._reader.characters(texts, self._device))
        labels_B = torch.tensor([self._examples.labels[row] for row in chosen], device=self._device)
        return loss + torch.nn.functional.cross_entropy(model.classified(states), labels_B)


def words(text: str, most: int) -> list[str]:
    """Return the first words of a text; a mark is a word of its own."""
    return _WORD.findall(text)[:most]


def pieces(text: str, most: int) -> list[str]:
    """Return a text cut into consecutive pieces of at most `most` words that hold all of them."""
    spans = [match.span() for match in _WORD.finditer(text)]
    return [text[spans[part[0]][0] : spans[part[-1]][1]] for part in stretches(len(spans), most)]
