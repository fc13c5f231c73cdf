"""Words behind masks: BERT's masked-language pretraining; one task is to fill in one sentence.

Quality is the share of masked words that the model names as its likeliest, with the loss beside it. In training the
masks are drawn anew for every batch (15 % of the tokens; of these 80 % masked, 10 % exchanged, 10 % left; Devlin et al.
2019, section 3.1, dynamic as in RoBERTa). In validation and test they stand still: about 15 % of a sentence's words, of
those that are one token, by a hash, so that every technique and seed meets the same. A word that the text itself has
as `<unk>` is never masked.

Shape suffixes: N items, T tokens, V pieces of the vocabulary, M masks.
"""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness.contract import Evaluation, Examples
from harness.errors import DataError
from harness.records import Frozen, Trivial
from harness.training import encode, padded
from harness.workloads import documentation, language, random_bert
from harness.workloads.architectures.building import Fitting
from harness.workloads.decoding import NOTHING
from harness.workloads.evaluating import evaluation_batch
from harness.workloads.params import SPLITS
from harness.workloads.sourced import RunningText
from harness.workloads.sources import Sized
from harness.workloads.splits import text_hash
from harness.workloads.trivial import constant

if TYPE_CHECKING:
    import torch

    from harness.contract import Outputs, Padding

MASKED = 0.15
"""Share of tokens that are to be named."""

MOST_MASKS = 8
"""Masks of one item at most; outputs have so many columns."""

_MASK, _UNKNOWN = "[MASK]", "[UNK]"
_WORD = re.compile(r"\[UNK\]|[A-Za-z]+")
"""The unknown word is one match, which is no word of the vocabulary, so that its letters are none of their own."""

_FEWEST_WORDS = 6


class Settings(Frozen, frozen=True, kw_only=True):
    """What the task is beside its data and its size: texts are cut into pieces of at most `max_length` tokens.

    `vocabulary` is the number of tokens, None the published one.
    """

    seed: int
    max_length: int
    vocabulary: int | None = None


class MaskedWords(RunningText[Sized]):
    """The workload, as `harness.contract.Workload` describes it; its parts are read on first use after `prepare`."""

    task = "masked_words"
    metric = learned = "masked word accuracy"

    def __init__(self, name: str, data: language.TextData, source: Sized, settings: Settings) -> None:
        super().__init__(name, data, source, seed=settings.seed, max_length=settings.max_length)
        self._settings = settings

    def prepare(self, cache: Path) -> None:
        """Read the data, make the tokeniser, set the masks of validation and test.

        Raises: DataError: among others, no sentence has a word to mask.
        """
        corpus = self._marked(language.read(self._data, cache))
        rows = self._settings.vocabulary or self._source.preset.vocabulary
        file = random_bert.tokenizer_file([text.replace(_UNKNOWN, " ") for text in corpus.train], rows, cache)
        self._tokenizer = random_bert.tokenizer(file, self.max_length)
        self._source.fit(Fitting(vocabulary=rows, special=random_bert.SPECIAL))
        self._cut(corpus, self._masked, self._trivially)

    def scores(self, outputs: Outputs, examples: Examples) -> tuple[float, ...]:
        """Return the share of each item's masked words that `ids_NM` name."""
        shares = []
        for row, ids in zip(outputs, self._truths(examples), strict=True):
            shares.append(sum(int(row[place]) == truth for place, truth in enumerate(ids)) / len(ids))
        return tuple(shares)

    def evaluate(self, model: Any, examples: Examples, device: str) -> Evaluation:
        """Return the share of masked words named an item, and the loss in nats a masked word beside it."""
        import numpy as np
        import torch

        model.to(device).eval()
        truths = self._truths(examples)
        ids = encode(self.tokenizer(), examples.texts, self.max_length)
        found, total = [], 0.0
        size = evaluation_batch(self.max_length)
        with torch.inference_mode():
            for start in range(0, len(ids), size):
                rows = range(start, min(len(ids), start + size))
                inputs = padded([ids[row] for row in rows], self.tokenizer().pad_token_id, device)
                logits_MV = _behind_masks(model, inputs, self.tokenizer().mask_token_id)
                words_M = torch.tensor([truth for row in rows for truth in truths[row]], device=logits_MV.device)
                total += float(torch.nn.functional.cross_entropy(logits_MV, words_M, reduction="sum"))
                found.append(_rows(logits_MV.argmax(-1), inputs, self.tokenizer().mask_token_id))
        loss = total / sum(map(len, truths))
        return Evaluation(scores=self.scores(np.concatenate(found), examples), measures={"loss_nats": loss})

    def objective(self, device: str) -> MaskedLoss:
        """Return the training paragraphs, tokenised and cut into pieces, whose masks are drawn batch by batch."""
        texts = list(self._read().train)
        ids = self.tokenizer()(texts, add_special_tokens=False, verbose=False)["input_ids"]
        room = self.max_length - 2
        special = random_bert.SPECIAL
        rows = [
            [special.start, *row[part.start : part.stop], special.end]
            for row in ids
            for part in language.stretches(len(row), room)
        ]
        return MaskedLoss(rows, self.tokenizer(), device)

    def answer(self, model: Any, texts: Sequence[str], *, batch_size: int, padding: Padding, device: str) -> Outputs:
        """Return `ids_NM` of the likeliest word behind each mask in order, M = `MOST_MASKS`, -1 after the last."""
        import numpy as np
        import torch

        tokenizer = self.tokenizer()
        ids = encode(tokenizer, texts, self.max_length)
        width = self.max_length if padding == "max_length" else None
        parts = []
        with torch.inference_mode():
            for start in range(0, len(ids), batch_size):
                inputs = padded(ids[start : start + batch_size], tokenizer.pad_token_id, device, width=width)
                words_M = _behind_masks(model, inputs, tokenizer.mask_token_id).argmax(-1)
                parts.append(_rows(words_M, inputs, tokenizer.mask_token_id))
        named: Outputs = np.concatenate(parts)
        return named

    def _masked(self, corpus: language.Corpus, split: str) -> Examples:
        sentences = [text for paragraph in corpus.split(split) for text in documentation.sentences(paragraph)]
        sentences = [text for text in dict.fromkeys(sentences) if len(text.split()) >= _FEWEST_WORDS]
        known = self.tokenizer().get_vocab()
        pairs = self._whole([(row, *_behind(text, known)) for row, text in enumerate(sentences)])
        if not pairs:
            raise DataError(
                f"{corpus.source}: no sentence of the {split} split has a word to mask; it needs sentences of at least "
                f"{_FEWEST_WORDS} words of which some occur in training"
            )
        kept = language.drawn([text for _, text, _ in pairs], getattr(self._data.limit, split))
        return Examples(
            item_ids=tuple(pairs[place][0] for place in kept),
            texts=tuple(pairs[place][1] for place in kept),
            targets=tuple(pairs[place][2] for place in kept),
        )

    def _whole(self, pairs: list[tuple[int, str, str]]) -> list[tuple[int, str, str]]:
        """Return the row, text and words of those that have masks, none of them cut off."""
        ids = encode(self.tokenizer(), [text for _, text, _ in pairs], self.max_length)
        mask = self.tokenizer().mask_token_id
        return [pair for pair, row in zip(pairs, ids, strict=True) if 0 < row.count(mask) == len(pair[2].split())]

    def _marked(self, corpus: language.Corpus) -> language.Corpus:
        """Return the corpus with its unknown words as the tokeniser has them, and what a row of it is."""
        marked = {
            split: tuple(text.replace(language.UNKNOWN, _UNKNOWN) for text in corpus.split(split)) for split in SPLITS
        }
        rows = f"n_train counts paragraphs; longer ones are trained on in pieces of at most {self.max_length} tokens"
        return msgspec.structs.replace(corpus, **marked, note="; ".join(note for note in (corpus.note, rows) if note))

    def _trivially(self, split: str, examples: Examples) -> tuple[Trivial]:
        """Return what one word behind all masks scores."""
        return (constant(split, self.metric, self._truths(examples)),)

    def _truths(self, examples: Examples) -> list[list[int]]:
        tokenizer = self.tokenizer()
        return [tokenizer.convert_tokens_to_ids(target.split()) for target in examples.targets]


class MaskedLoss:
    """Cross-entropy of the words behind masks that are drawn anew for every batch, from torch's global random state."""

    def __init__(self, ids: list[list[int]], tokenizer: Any, device: str) -> None:
        import torch

        self.size = len(ids)
        self._ids = ids
        self._tokenizer = tokenizer
        self._special = torch.tensor(sorted(tokenizer.all_special_ids))
        self._device = device

    def loss(self, model: Any, rows: Sequence[int]) -> torch.Tensor:
        """Return the mean loss in nats a masked token; at least one token of a batch is masked."""
        import torch

        inputs = padded([self._ids[row] for row in rows], self._tokenizer.pad_token_id, "cpu")
        ids_NT = inputs["input_ids"]
        words_NT = ~torch.isin(ids_NT, self._special)
        lots_NT = torch.rand(ids_NT.shape)
        chosen_NT = words_NT & (lots_NT < MASKED)
        if not chosen_NT.any():
            chosen_NT = words_NT & (lots_NT == lots_NT[words_NT].min())
        kinds_NT = torch.rand(ids_NT.shape)
        other_NT = torch.randint(len(self._tokenizer), ids_NT.shape)
        seen_NT = torch.where(chosen_NT & (kinds_NT < 0.8), self._tokenizer.mask_token_id, ids_NT)
        seen_NT = torch.where(chosen_NT & (kinds_NT >= 0.9), other_NT, seen_NT)
        device = self._device
        logits_NTV = model(input_ids=seen_NT.to(device), attention_mask=inputs["attention_mask"].to(device)).logits
        return torch.nn.functional.cross_entropy(logits_NTV[chosen_NT.to(device)], ids_NT[chosen_NT].to(device))


def _behind(sentence: str, known: Container[str]) -> tuple[str, str]:
    """Return the sentence with masks, and the words behind them; none where it has no known word."""
    words = [match for match in _WORD.finditer(sentence) if match[0].lower() in known]
    wanted = min(MOST_MASKS, max(1, round(MASKED * len(sentence.split()))))
    chosen = sorted(words, key=lambda match: text_hash(f"{sentence}/{match.start()}"))[:wanted]
    chosen.sort(key=lambda match: match.start())
    text = sentence
    for match in reversed(chosen):
        text = text[: match.start()] + _MASK + text[match.end() :]
    return text, " ".join(match[0].lower() for match in chosen)


def _behind_masks(model: Any, inputs: dict[str, Any], mask: int) -> Any:
    """Return `logits_MV` of all masks of a batch, item by item."""
    return model(**inputs).logits[inputs["input_ids"] == mask].float()


def _rows(words_M: Any, inputs: dict[str, Any], mask: int) -> Outputs:
    """Return `ids_NM` out of the words of all masks of a batch."""
    import numpy as np

    counts = (inputs["input_ids"] == mask).sum(1).tolist()
    rows: Outputs = np.full((len(counts), MOST_MASKS), NOTHING, dtype=np.int32)
    words = words_M.cpu().tolist()
    for item, count in enumerate(counts):
        rows[item, :count] = words[:count]
        words = words[count:]
    return rows
