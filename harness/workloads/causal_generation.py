"""Text goes on: a decoder that generates a fixed number of tokens from a prompt; one task is one such text.

While it trains, quality is the share of tokens of unseen text that it predicts as its likeliest, each from the true
tokens before it; perplexity and loss stand beside it. What it generates is scored by the tokens that the text really
goes on with, which even a good model seldom hits: there it serves to tell techniques apart.

Shape suffixes: N items, T tokens, V pieces of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.contract import Evaluation, Examples
from harness.errors import ConfigError, DataError
from harness.records import Frozen, Trivial
from harness.training import padded
from harness.workloads import language, vocabularies
from harness.workloads.architectures.building import Fitting, SpecialIds
from harness.workloads.decoding import generate
from harness.workloads.evaluating import evaluation_batch, of_loss
from harness.workloads.sourced import RunningText
from harness.workloads.sources import Kept, Sized
from harness.workloads.trivial import constant

if TYPE_CHECKING:
    import torch

    from harness.contract import Outputs, Padding
    from harness.training import Inputs


class Settings(Frozen, frozen=True, kw_only=True):
    """What the task is beside its data and its model.

    A training example holds `max_length` tokens of running text. A prompt is the first `prompt_words` words of a
    paragraph that goes on for at least half as many; `new_tokens` are generated after it. `vocabulary` is the number of
    tokens of a sized model, None the published one.
    """

    seed: int
    max_length: int
    prompt_words: int
    new_tokens: int
    vocabulary: int | None = None


class CausalGeneration(RunningText[Sized | Kept]):
    """The workload, as `harness.contract.Generation` describes it; its parts are read on first use after `prepare`."""

    task = "causal_generation"
    metric = "continuation accuracy"
    learned = "next-token accuracy"

    def __init__(self, name: str, data: language.TextData, source: Sized | Kept, settings: Settings) -> None:
        if settings.new_tokens >= settings.max_length:
            raise ConfigError(
                f"workload.new_tokens: {settings.new_tokens} leave no room for a prompt within max_length "
                f"({settings.max_length}); take fewer"
            )
        super().__init__(name, data, source, seed=settings.seed, max_length=settings.max_length)
        self.new_tokens = settings.new_tokens
        self._settings = settings
        self._begin: list[int] = []

    def prepare(self, cache: Path) -> None:
        """Read the data; train or load the tokeniser; cut the prompts.

        Raises: DataError: among others, no paragraph is long enough for a prompt. ModelError.
        """
        corpus = language.read(self._data, cache)
        if isinstance(self._source, Kept):
            self._tokenizer = self._source.tokenizer(self.max_length)
        else:
            rows = self._settings.vocabulary or self._source.preset.vocabulary
            self._tokenizer = vocabularies.load(vocabularies.file(corpus.train, rows, cache), ends=False)
            # One mark begins and ends a text, as published: each text ends where the next begins.
            end = vocabularies.SPECIAL.end
            self._source.fit(
                Fitting(vocabulary=rows, special=SpecialIds(pad=vocabularies.SPECIAL.pad, start=end, end=end))
            )
        self._begin = _beginning(self._tokenizer)
        self._cut(corpus, self._prompts, self._trivially)

    def scores(self, outputs: Outputs, examples: Examples) -> tuple[float, ...]:
        """Return the share of each item's `ids_NT` that are the tokens the text really goes on with."""
        return tuple(
            sum(int(token) == truth for token, truth in zip(row, ids, strict=False)) / min(len(row), len(ids))
            for row, ids in zip(outputs, self._continuations(examples), strict=True)
        )

    def evaluate(self, model: Any, examples: Examples, device: str) -> Evaluation:
        """Return the share of tokens predicted right an item, and perplexity and loss in nats a token beside it.

        Each token after the first is predicted from the true ones before it, in texts cut at `max_length` tokens.
        """
        import torch

        model.to(device).eval()
        ids = self._whole(examples)
        scores: list[float] = []
        total, tokens = 0.0, 0
        size = evaluation_batch(self.max_length)
        with torch.inference_mode():
            for start in range(0, len(ids), size):
                losses_NT, right_NT, mask_NT = _predicted(model, self._padded(ids[start : start + size], device))
                total += float((losses_NT * mask_NT).sum())
                tokens += int(mask_NT.sum())
                scores += ((right_NT * mask_NT).sum(1) / mask_NT.sum(1)).tolist()
        loss = total / tokens
        return Evaluation(scores=tuple(scores), measures=of_loss(loss))

    def objective(self, device: str) -> NextToken:
        """Return the training text as one stream, cut into blocks of `max_length`.

        Each paragraph is followed by an end, and preceded by a beginning where the model's tokeniser puts one.

        Raises: DataError: there is less text than one block.
        """
        end = self.tokenizer().eos_token_id
        stream = [token for row in self._ids(self._read().train) for token in (*self._begin, *row, end)]
        return NextToken(stream, self.max_length, device)

    def answer(self, model: Any, texts: Sequence[str], *, batch_size: int, padding: Padding, device: str) -> Outputs:
        """Return `ids_NT` that the model generates greedily, T = `new_tokens`; nothing ends a text before that."""
        return self._generated(model, texts, batch_size, padding, device, self.new_tokens)

    def prefill(self, model: Any, texts: Sequence[str], *, batch_size: int, padding: Padding, device: str) -> Outputs:
        """Read the prompts and return the first token of each, `ids_N1`."""
        return self._generated(model, texts, batch_size, padding, device, 1)

    def _generated(
        self, model: Any, texts: Sequence[str], batch_size: int, padding: Padding, device: str, new_tokens: int
    ) -> Outputs:
        import numpy as np

        room = self.max_length - self.new_tokens
        words = room - len(self._begin)
        ids = [[*self._begin, *row[max(0, len(row) - words) :]] for row in self._ids(texts)]
        width = room if padding == "max_length" else None
        parts = [
            generate(
                model,
                # A prompt stands at the right edge, where its continuation begins.
                self._padded(ids[start : start + batch_size], device, width=width, left=True),
                new_tokens=new_tokens,
                pad=self.tokenizer().pad_token_id,
                end=None,
            )
            for start in range(0, len(ids), batch_size)
        ]
        written: Outputs = np.concatenate(parts)
        return written

    def _prompts(self, corpus: language.Corpus, split: str) -> Examples:
        words = self._settings.prompt_words
        cut = [text.split() for text in corpus.split(split)]
        rows = [row for row, each in enumerate(cut) if len(each) >= words + max(1, words // 2)]
        if not rows:
            raise DataError(
                f"{corpus.source}: no paragraph of the {split} split is longer than a prompt of {words} words and half "
                "as many after it; set a smaller workload.prompt_words"
            )
        kept = language.drawn([" ".join(cut[row]) for row in rows], getattr(self._data.limit, split))
        rows = [rows[place] for place in kept]
        return Examples(
            item_ids=tuple(rows),
            texts=tuple(" ".join(cut[row][:words]) for row in rows),
            targets=tuple(" ".join(cut[row][words:]) for row in rows),
        )

    def _trivially(self, split: str, examples: Examples) -> tuple[Trivial, Trivial]:
        """Return what one token for all places scores, among the predicted ones and among the generated ones."""
        continued = [ids[: self.new_tokens] for ids in self._continuations(examples)]
        predicted = [ids[1:] for ids in self._whole(examples)]
        return constant(split, self.learned, predicted), constant(split, self.metric, continued)

    def _whole(self, examples: Examples) -> list[list[int]]:
        """Return each item's prompt and continuation as one row of ids, begun and cut at `max_length`."""
        return [[*self._begin, *row][: self.max_length] for row in self._ids(_joined(examples))]

    def _continuations(self, examples: Examples) -> list[list[int]]:
        """Return the ids of each item's continuation, as they are in the whole text.

        Alone it can have others: where a space is a piece of its own, or every text is given one in front.
        """
        prompts, wholes = self._ids(examples.texts), self._ids(_joined(examples))
        return [whole[len(prompt) :] for prompt, whole in zip(prompts, wholes, strict=True)]

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        found: list[list[int]] = self.tokenizer()(list(texts), add_special_tokens=False)["input_ids"]
        return found

    def _padded(self, ids: list[list[int]], device: str, *, width: int | None = None, left: bool = False) -> Inputs:
        return padded(ids, self.tokenizer().pad_token_id, device, width=width, side="left" if left else "right")


class NextToken:
    """Cross-entropy of each token of a block of running text, given the block's tokens before it."""

    def __init__(self, stream: Sequence[int], length: int, device: str) -> None:
        import torch

        self.size = len(stream) // length
        if self.size == 0:
            raise DataError(
                f"the training text has {len(stream)} tokens, fewer than one block of {length}; give more text, or a "
                "smaller workload.max_length"
            )
        self._blocks_NT = torch.tensor(stream[: self.size * length], dtype=torch.long).view(self.size, length)
        self._device = device

    def loss(self, model: Any, rows: Sequence[int]) -> torch.Tensor:
        """Return the mean loss in nats a predicted token."""
        import torch

        ids_NT = self._blocks_NT[list(rows)].to(self._device)
        logits_NTV = model(input_ids=ids_NT, use_cache=False).logits[:, :-1]
        return torch.nn.functional.cross_entropy(logits_NTV.flatten(0, 1), ids_NT[:, 1:].flatten())


def _beginning(tokenizer: Any) -> list[int]:
    """Return the token that a tokeniser puts before every text, as a row; an empty one where it puts none."""
    begin = tokenizer.bos_token_id
    return [begin] if begin is not None and tokenizer("a")["input_ids"][:1] == [begin] else []


def _joined(examples: Examples) -> list[str]:
    """Return each item's prompt and continuation as one text."""
    return [f"{text} {target}" for text, target in zip(examples.texts, examples.targets, strict=True)]


def _predicted(model: Any, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the loss of each token after the first, whether it was the likeliest, and whether it is one."""
    import torch

    ids_NT = inputs["input_ids"][:, 1:]
    logits_NTV = model(**inputs, use_cache=False).logits[:, :-1].float()
    losses_NT = torch.nn.functional.cross_entropy(logits_NTV.transpose(1, 2), ids_NT, reduction="none")
    return losses_NT, logits_NTV.argmax(-1) == ids_NT, inputs["attention_mask"][:, 1:]
