"""Text in, text out: an encoder-decoder that writes greedily; one task is one sentence.

Quality is sentence BLEU, with the corpus BLEU and the loss beside it. BLEU is sacrebleu's (Post 2018, WMT), with its
default tokenisation (13a) and smoothing.

Shape suffixes: N items, T tokens, V pieces of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import msgspec

from harness.contract import Evaluation, Examples
from harness.records import DataInfo, Frozen, Trivial
from harness.training import encode, padded
from harness.workloads import pairs, vocabularies
from harness.workloads.architectures.building import Fitting
from harness.workloads.decoding import generate
from harness.workloads.evaluating import answers, evaluation_batch
from harness.workloads.params import SPLITS
from harness.workloads.sourced import Sourced, unprepared
from harness.workloads.sources import Kept, Sized

if TYPE_CHECKING:
    import torch

    from harness.contract import Outputs, Padding

IGNORED = -100
"""The label of a place that no loss is taken at."""


class Settings(Frozen, frozen=True, kw_only=True):
    """What the task is beside its data and its model.

    `max_length` cuts sources and targets, in tokens; at most `new_tokens` are written. `vocabulary` is the number of
    tokens of a sized model, None the published one. `smoothing` is the label smoothing of training.
    """

    seed: int
    max_length: int
    new_tokens: int
    vocabulary: int | None = None
    smoothing: float = 0.0


class SequenceToSequence(Sourced[Sized | Kept]):
    """The workload, as `harness.contract.Workload` describes it; its parts are read on first use after `prepare`."""

    task = "sequence_to_sequence"
    metric = learned = "sentence BLEU"

    def __init__(self, name: str, data: pairs.PairData, source: Sized | Kept, settings: Settings) -> None:
        super().__init__(name, source, seed=settings.seed, max_length=settings.max_length)
        self._settings = settings
        self._data = data
        self._pairs: pairs.PairSet | None = None

    def check(self) -> None:
        """Refuse what cannot work, cheaply: reads the user's files, no torch.

        Raises: DataError, ModelError.
        """
        if isinstance(self._data, pairs.ParallelFiles):
            pairs.files(self._data)
        self._source.check(self._longest())

    def prepare(self, cache: Path) -> None:
        """Read the data; train or load the tokeniser.

        Raises: DataError, ModelError: among others, the model's positions are too few.
        """
        self._pairs = pairs.read(self._data, cache)
        train = self._pairs.train
        if isinstance(self._source, Kept):
            self._tokenizer = self._source.tokenizer(self._longest())
            return
        rows = self._settings.vocabulary or self._source.preset.vocabulary
        file = vocabularies.file([*train.texts, *train.targets], rows, cache)
        self._tokenizer = vocabularies.load(file, ends=True)
        self._source.fit(Fitting(vocabulary=rows, special=vocabularies.SPECIAL))

    def data_info(self) -> DataInfo:
        """Return what the data are, with what copying the sources would score."""
        copied = []
        for split in SPLITS[1:]:
            examples = self.examples(split)
            value = fmean(sentence_bleu(examples.texts, examples.targets))
            copied.append(Trivial(split=split, metric=self.metric, value=value, answer="the source copied unchanged"))
        return msgspec.structs.replace(self._prepared().info, trivial=tuple(copied))

    def examples(self, split: str) -> Examples:
        """Return `train`, `validation` or `test`; texts are sources.

        Raises: DataError: no such split.
        """
        return self._prepared().split(split)

    def scores(self, outputs: Outputs, examples: Examples) -> tuple[float, ...]:
        """Return the sentence BLEU (0 to 1) of `ids_NT` against the targets."""
        return sentence_bleu(self.texts(outputs), examples.targets)

    def texts(self, outputs: Outputs) -> list[str]:
        """Return the texts of `ids_NT`."""
        rows = [[int(token) for token in row if token >= 0] for row in outputs]
        decoded: list[str] = self.tokenizer().batch_decode(rows, skip_special_tokens=True)
        return [text.strip() for text in decoded]

    def evaluate(self, model: Any, examples: Examples, device: str) -> Evaluation:
        """Return sentence BLEU, and the corpus BLEU (0 to 100) and the loss in nats a target token beside it."""
        outputs = answers(self, model, examples.texts, device)
        written = self.texts(outputs)
        return Evaluation(
            scores=sentence_bleu(written, examples.targets),
            measures={
                "bleu": corpus_bleu(written, examples.targets),
                "loss_nats": self._loss(model, examples, device),
            },
        )

    def objective(self, device: str) -> TargetLoss:
        """Return the training split, tokenised, to be written token by token."""
        return TargetLoss(self.tokenizer(), self.examples("train"), self.max_length, device, self._settings.smoothing)

    def answer(self, model: Any, texts: Sequence[str], *, batch_size: int, padding: Padding, device: str) -> Outputs:
        """Return `ids_NT` that the model writes greedily, T the most that are written, -1 after the end of each."""
        import numpy as np

        tokenizer = self.tokenizer()
        ids = encode(tokenizer, texts, self.max_length)
        width = self.max_length if padding == "max_length" else None
        parts = [
            generate(
                model,
                padded(ids[start : start + batch_size], tokenizer.pad_token_id, device, width=width),
                new_tokens=self._settings.new_tokens,
                pad=tokenizer.pad_token_id,
                end=tokenizer.eos_token_id,
            )
            for start in range(0, len(ids), batch_size)
        ]
        written: Outputs = np.concatenate(parts)
        return written

    def _loss(self, model: Any, examples: Examples, device: str) -> float:
        import torch

        goal = TargetLoss(self.tokenizer(), examples, self.max_length, device, smoothing=0.0)
        total, tokens = 0.0, 0
        size = evaluation_batch(self.max_length)
        with torch.inference_mode():
            for start in range(0, goal.size, size):
                rows = range(start, min(goal.size, start + size))
                counted = goal.tokens(rows)
                total += float(goal.loss(model, rows)) * counted
                tokens += counted
        return total / tokens

    def _longest(self) -> int:
        return max(self.max_length, self._settings.new_tokens)

    def _prepared(self) -> pairs.PairSet:
        if self._pairs is None:
            raise unprepared()
        return self._pairs


class TargetLoss:
    """Cross-entropy of each target token, given the source and the target's tokens before it."""

    def __init__(self, tokenizer: Any, examples: Examples, max_length: int, device: str, smoothing: float) -> None:
        self.size = len(examples.texts)
        self._sources = encode(tokenizer, examples.texts, max_length)
        self._targets = encode(tokenizer, examples.targets, max_length)
        self._pad = tokenizer.pad_token_id
        self._device = device
        self._smoothing = smoothing

    def tokens(self, rows: Sequence[int]) -> int:
        """Return how many target tokens these examples have."""
        return sum(len(self._targets[row]) for row in rows)

    def loss(self, model: Any, rows: Sequence[int]) -> torch.Tensor:
        """Return the mean loss in nats a target token."""
        import torch

        inputs = padded([self._sources[row] for row in rows], self._pad, self._device)
        targets = padded([self._targets[row] for row in rows], self._pad, self._device)
        labels_NT = targets["input_ids"].masked_fill(targets["attention_mask"] == 0, IGNORED)
        before_NT = model.prepare_decoder_input_ids_from_labels(labels_NT)
        # Without the keys and values that only a text still being written is kept for.
        logits_NTV = model(**inputs, decoder_input_ids=before_NT, use_cache=False).logits
        return torch.nn.functional.cross_entropy(
            logits_NTV.flatten(0, 1), labels_NT.flatten(), ignore_index=IGNORED, label_smoothing=self._smoothing
        )


def sentence_bleu(written: Sequence[str], targets: Sequence[str]) -> tuple[float, ...]:
    """Return BLEU of each text against its target, from 0 to 1 (effective order, so that short ones have any)."""
    import sacrebleu

    return tuple(
        min(1.0, sacrebleu.sentence_bleu(text, [target]).score / 100)
        for text, target in zip(written, targets, strict=True)
    )


def corpus_bleu(written: Sequence[str], targets: Sequence[str]) -> float:
    """Return BLEU over all texts, from 0 to 100."""
    import sacrebleu

    return float(sacrebleu.corpus_bleu(list(written), [list(targets)]).score)
