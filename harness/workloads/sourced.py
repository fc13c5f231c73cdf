"""What tasks share whose model comes from a source and whose tokeniser is theirs; those on running text share more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from harness.contract import Examples
from harness.errors import DataError
from harness.records import DataInfo, ModelInfo, Trivial
from harness.workloads import language, sources
from harness.workloads.params import SPLITS
from harness.workloads.sources import Kept, Sized

if TYPE_CHECKING:
    import torch

S = TypeVar("S", bound=Sized | Kept)


class Sourced(Generic[S]):
    """The model's side of a workload (`harness.contract.Workload`).

    The task's `prepare` sets `_tokenizer`.
    """

    def __init__(self, name: str, source: S, *, seed: int, max_length: int) -> None:
        self.name = name
        self.seed = seed
        self.max_length = max_length
        self._source: S = source
        self._tokenizer: Any = None

    def tokenizer(self) -> Any:
        """Return the `transformers` fast tokeniser.

        Raises: DataError: not prepared yet.
        """
        if self._tokenizer is None:
            raise unprepared()
        return self._tokenizer

    def has_pretrained(self) -> str | None:
        """Return None if pretrained weights are at hand, else the reason why not."""
        return self._source.has_pretrained()

    def model_info(self) -> ModelInfo:
        """Return what the model is."""
        return self._source.info()

    def new_model(self, *, pretrained: bool, seed: int) -> torch.nn.Module:
        """Return a fresh float32 model on the CPU.

        Raises: ModelError: no pretrained weights, or they do not fit.
        """
        return self._source.new(pretrained=pretrained, seed=seed)

    def refuse_unless_fits(self, *, training: bool, batch_size: int, device: str) -> None:
        """Refuse a model that needs more memory than the device has free.

        Raises: ModelError: says the estimate and what is free.
        """
        self._source.refuse_unless_fits(training=training, batch=batch_size, length=self.max_length, device=device)

    def save(self, model: Any, folder: Path) -> None:
        """Write configuration, safetensors weights and tokeniser."""
        sources.save(model, self.tokenizer(), folder)

    def load(self, folder: Path) -> torch.nn.Module:
        """Return a saved model in eval mode on the CPU.

        Raises: ModelError: the folder is not what `save` leaves.
        """
        return sources.load(folder, self._source.head)


class RunningText(Sourced[S]):
    """A task on running text: trained on its paragraphs, asked about items that are cut out of it."""

    def __init__(self, name: str, data: language.TextData, source: S, *, seed: int, max_length: int) -> None:
        super().__init__(name, source, seed=seed, max_length=max_length)
        self._data = data
        self._corpus: language.Corpus | None = None
        self._examples: dict[str, Examples] = {}
        self._trivial: tuple[Trivial, ...] = ()

    def check(self) -> None:
        """Refuse what cannot work, cheaply: reads the user's files, no torch.

        Raises: DataError, ModelError.
        """
        language.check(self._data)
        self._source.check(self.max_length)

    def data_info(self) -> DataInfo:
        """Return what the data are, and what the best constant answers score."""
        corpus = self._read()
        contents = {
            "train": corpus.train,
            **{
                split: [f"{text}\x1d{target}" for text, target in zip(each.texts, each.targets, strict=True)]
                for split, each in self._examples.items()
            },
        }
        found = language.info(corpus.source, corpus.note, contents)
        return msgspec.structs.replace(found, trivial=self._trivial)

    def examples(self, split: str) -> Examples:
        """Return the items of `validation` or `test`, or the paragraphs of `train`.

        Raises: DataError: no such split.
        """
        corpus = self._read()
        if split in self._examples:
            return self._examples[split]
        texts = corpus.split(split)
        return Examples(item_ids=tuple(range(len(texts))), texts=texts)

    def _cut(
        self,
        corpus: language.Corpus,
        items: Callable[[language.Corpus, str], Examples],
        trivial: Callable[[str, Examples], Sequence[Trivial]],
    ) -> None:
        """Keep the corpus, the items that `items` makes of its splits, and what `trivial` says of each."""
        self._corpus = corpus
        self._examples = {split: items(corpus, split) for split in SPLITS[1:]}
        self._trivial = tuple(each for split, found in self._examples.items() for each in trivial(split, found))

    def _read(self) -> language.Corpus:
        if self._corpus is None:
            raise unprepared()
        return self._corpus


def unprepared() -> DataError:
    """Return what to raise where a workload is asked for what `prepare` reads."""
    return DataError("the workload is not prepared; call prepare(cache) first")
