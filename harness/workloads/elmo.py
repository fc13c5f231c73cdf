"""Encode one sentence: ELMo at its published size, its embeddings read by a classifier; one task is one sentence.

Peters et al. 2018, arXiv 1802.05365: `tiny` (ours), `original` (93.6M). Training predicts the next word and the one
before on running text. A classifier on the mix of layers learns beside it from labelled texts; nothing flows back from
it into ELMo, as published (there ELMo is trained first and then frozen; here both learn in the same steps). Quality is
the classifier's accuracy, with the perplexity of the language model beside it.

Shape suffixes: N items, B batch, T words, C classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from harness.contract import Evaluation, Examples
from harness.errors import ConfigError, DataError, ModelError
from harness.records import DataInfo, Frozen, ModelInfo
from harness.workloads import labelled_texts, language, sources
from harness.workloads import params as labelled
from harness.workloads.architectures.presets import ElmoPreset, elmo_preset
from harness.workloads.evaluating import answers, evaluation_batch, of_loss
from harness.workloads.language import TextData
from harness.workloads.sentence_classification import right
from harness.workloads.splits import Dataset
from harness.workloads.strict import convert, spelled
from harness.workloads.words_and_classes import WordsAndClasses, pieces, words

if TYPE_CHECKING:
    import torch

    from harness.contract import Outputs, Padding

MARKS = ("<S>", "</S>", "<UNK>")
"""The first words of the vocabulary: begin and end of a sentence, and every word that is not in it."""

_CONFIG, _WEIGHTS = "elmo.json", "model.safetensors"


class Params(Frozen, frozen=True, kw_only=True):
    """All parameters of the workload.

    `data` are the labelled texts of the classifier, `corpus` what the language model reads: the labelled texts if not
    given. A labelled text ends at `max_length` words, a corpus is cut into pieces of at most as many. `vocabulary` is
    the number of words to predict, the most frequent of the corpus (None: the published 793,471; `tiny`: 4,000).
    """

    data: labelled.Data = labelled.DocstringData()
    corpus: TextData | None = None
    size: str = "tiny"
    vocabulary: Annotated[int, Meta(ge=len(MARKS) + 1)] | None = None
    max_length: Annotated[int, Meta(ge=8)] = 32


class Kept(Frozen, frozen=True, kw_only=True):
    """What a saved model's weights do not say."""

    size: str
    vocabulary: int
    classes: tuple[str, ...]


def load(params: dict[str, Any], seed: int) -> ElmoEncoding:
    """Return the workload; nothing is read yet.

    Raises: ConfigError: a parameter is not valid.
    """
    return ElmoEncoding(convert(params, Params), seed)


def settle(params: dict[str, Any]) -> tuple[dict[str, Any], None]:
    """Return the parameters spelled out; nothing is ever replaced.

    Raises: ConfigError: a parameter is not valid.
    """
    load(params, 0)
    return spelled(params, Params), None


class ElmoEncoding:
    """The workload, as `harness.contract.Workload` describes it; its parts are read on first use after `prepare`."""

    name = "elmo"
    task = "text_encoding"
    metric = learned = "accuracy"

    def __init__(self, params: Params, seed: int) -> None:
        self.params = params
        self.seed = seed
        self.max_length = params.max_length
        try:
            self._preset: ElmoPreset = elmo_preset(params.size)
        except ModelError as error:
            raise ConfigError(f"workload.size: {error}") from error
        self._labelled: Dataset | None = None
        self._corpus: language.Corpus | None = None
        self._running: dict[str, tuple[str, ...]] = {}
        self._words: dict[str, int] = {}

    def check(self) -> None:
        """Refuse what cannot work, cheaply: reads the user's files, no torch.

        Raises: DataError, ModelError, MissingExtra.
        """
        self._labelled = labelled_texts.check(self.params.data)
        if self.params.corpus is not None:
            language.check(self.params.corpus)
        if self.max_length + 2 > self._preset.positions:
            raise ModelError(
                f"workload.max_length: {self.max_length} words and two marks do not fit elmo@{self._preset.size}, "
                f"which takes {self._preset.positions}"
            )

    def prepare(self, cache: Path) -> None:
        """Read the texts and number the words by falling frequency.

        Raises: DataError, MissingExtra.
        """
        self._labelled = self._labelled or labelled_texts.read(self.params.data, cache)
        if self.params.corpus is not None:
            self._corpus = language.read(self.params.corpus, cache)
        self._running = {split: tuple(self._running_text(split)) for split in labelled.SPLITS}
        counts = Counter(word for text in self._running["train"] for word in words(text, self.max_length))
        del counts[language.UNKNOWN]
        known = sorted(counts, key=lambda word: (-counts[word], word))[: self._rows() - len(MARKS)]
        self._words = {word: number for number, word in enumerate((*MARKS, *known))}

    def data_info(self) -> DataInfo:
        """Return what the labelled texts are, and the corpus beside them."""
        found = labelled_texts.info(self.params.data, self._prepared())
        corpus = self._corpus
        if corpus is None:
            return found
        read = language.info(corpus.source, corpus.note, {split: corpus.split(split) for split in labelled.SPLITS})
        rows = (
            f"n_train counts the labelled texts; the language model trains on {len(corpus.train)} paragraphs in "
            f"{len(self._running['train'])} pieces of at most {self.max_length} words"
        )
        return msgspec.structs.replace(
            found,
            source=f"{found.source}; language model on {read.source}",
            content_sha256=language.joined_sha256(found.content_sha256, read.content_sha256),
            note="; ".join(note for note in (found.note, read.note, rows) if note),
        )

    def examples(self, split: str) -> Examples:
        """Return the labelled texts of `train`, `validation` or `test`.

        Raises: DataError: no such split.
        """
        return self._prepared().split(split)

    def scores(self, outputs: Outputs, examples: Examples) -> tuple[float, ...]:
        """Return 1.0 for each of N items whose largest of `logits_NC` is its label's, else 0.0."""
        return right(outputs, examples, self._prepared().classes)

    def evaluate(self, model: Any, examples: Examples, device: str) -> Evaluation:
        """Return whether each item is classified right, and perplexity and loss in nats a word beside it.

        The loss is the mean of both directions, over the items' own texts, or as many pieces of the corpus.
        """
        import torch

        outputs = answers(self, model, examples.texts, device)
        goal = WordsAndClasses(self, self._beside(examples), None, device)
        total, count = 0.0, 0
        size = evaluation_batch(self.max_length)
        with torch.inference_mode():
            for start in range(0, goal.size, size):
                rows = range(start, min(goal.size, start + size))
                predicted = goal.predicted(rows)
                total += float(goal.loss(model, rows)) * predicted
                count += predicted
        loss = total / count
        return Evaluation(scores=self.scores(outputs, examples), measures=of_loss(loss))

    def has_pretrained(self) -> str | None:
        """Return why there are no pretrained weights: a size is drawn at random."""
        return f"elmo@{self._preset.size} is drawn from random weights, so nothing is pretrained"

    def model_info(self) -> ModelInfo:
        """Return the size, and the parameters of everything that learns: ELMo, its softmax, the classifier."""
        model = self._built(0, "meta")
        return ModelInfo(
            source=f"random elmo@{self._preset.size}",
            architecture="Elmo",
            parameters=sum(tensor.numel() for tensor in model.parameters()),
        )

    def new_model(self, *, pretrained: bool, seed: int) -> torch.nn.Module:
        """Return a fresh float32 model on the CPU.

        Raises: ModelError: pretrained weights are asked for.
        """
        if pretrained:
            raise ModelError(str(self.has_pretrained()))
        return self._built(seed)

    def refuse_unless_fits(self, *, training: bool, batch_size: int, device: str) -> None:
        """Refuse a size that needs more memory than the device has free.

        Raises: ModelError: says the estimate and what is free.
        """
        sources.refuse_unless_fits(
            self._preset,
            self._rows(),
            training=training,
            batch=batch_size,
            length=self.max_length + len(MARKS[:2]),
            device=device,
        )

    def objective(self, device: str) -> WordsAndClasses:
        """Return the running text to predict word by word, and the labelled texts beside it."""
        return WordsAndClasses(self, self._running["train"], self.examples("train"), device)

    def answer(self, model: Any, texts: Sequence[str], *, batch_size: int, padding: Padding, device: str) -> Outputs:
        """Return `logits_NC` of N texts, in float32: each encoded, its layers mixed, its words' mean classified."""
        import numpy as np
        import torch

        parts = []
        with torch.inference_mode():
            for start in range(0, len(texts), batch_size):
                width = self.max_length + 2 if padding == "max_length" else None
                chars_BTC = self.characters(texts[start : start + batch_size], device, width)
                parts.append(model.classified(model.elmo.model(chars_BTC)).float().cpu().numpy())
        logits_NC: Outputs = np.concatenate(parts)
        return logits_NC

    def save(self, model: Any, folder: Path) -> None:
        """Write sizes and safetensors weights."""
        from safetensors.torch import save_file

        kept = Kept(size=self._preset.size, vocabulary=self._rows(), classes=self._prepared().classes)
        (folder / _CONFIG).write_bytes(msgspec.json.encode(kept))
        save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / _WEIGHTS)

    def load(self, folder: Path) -> torch.nn.Module:
        """Return a saved model in eval mode on the CPU.

        Raises: ModelError: the folder is not what `save` leaves.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        mine = Kept(size=self._preset.size, vocabulary=self._rows(), classes=self._prepared().classes)
        try:
            if msgspec.json.decode((folder / _CONFIG).read_bytes(), type=Kept) != mine:
                raise ModelError(f"the ELMo in {folder} is of other data or another size; train it again")
            model = self._built(0)
            model.load_state_dict(load_file(folder / _WEIGHTS))
        except (OSError, msgspec.DecodeError, SafetensorError, RuntimeError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise ModelError(f"cannot load the ELMo in {folder}: {reason}; train it again") from error
        return model.eval()

    def characters(self, texts: Sequence[str], device: str, width: int | None = None) -> torch.Tensor:
        """Return `chars_BTC` of texts cut at `max_length` words, T the longest with its marks, or `width`."""
        from harness.workloads.architectures import characters

        cut = [words(text, self.max_length) for text in texts]
        chars_BTC: torch.Tensor = characters.batch(cut, self._preset.max_characters, width).to(device)
        return chars_BTC

    def numbers(self, text: str) -> list[int]:
        """Return the numbers of a text's words between the marks of its sentence."""
        begin, end, unknown = (MARKS.index(mark) for mark in MARKS)
        return [begin, *(self._words.get(word, unknown) for word in words(text, self.max_length)), end]

    def _running_text(self, split: str) -> list[str]:
        if self._corpus is not None:
            return [piece for text in self._corpus.split(split) for piece in pieces(text, self.max_length)]
        return [text for text in self._prepared().split(split).texts if words(text, 1)]

    def _beside(self, examples: Examples) -> tuple[str, ...]:
        if self._corpus is None:
            return tuple(text for text in examples.texts if words(text, 1))
        named = [split for split in labelled.SPLITS if self.examples(split) == examples]
        running = self._running[named[0] if named else "test"]
        return tuple(running[row] for row in language.drawn(running, len(examples.texts)))

    def _prepared(self) -> Dataset:
        if self._labelled is None:
            raise DataError("the workload is not prepared; call prepare(cache) first")
        return self._labelled

    def _rows(self) -> int:
        return self.params.vocabulary or self._preset.vocabulary

    def _built(self, seed: int, device: str = "cpu") -> Any:
        from harness.workloads.architectures import elmo_classifier

        classes = len(self._prepared().classes)
        return elmo_classifier.build(self._preset, seed=seed, vocabulary=self._rows(), classes=classes, device=device)
