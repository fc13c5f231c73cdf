"""A BERT of given depth and width from random weights, with a tokeniser made of the training texts."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.workloads import caching
from harness.workloads.architectures.building import SpecialIds
from harness.workloads.params import RandomModel

_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SPECIAL = SpecialIds(pad=_SPECIAL.index("[PAD]"), start=_SPECIAL.index("[CLS]"), end=_SPECIAL.index("[SEP]"))
_TOKENISER = 1
"""Version of the recipe below; a change counts anew."""

_LONGEST_PART = 5
"""Beginnings and endings of words of up to so many characters are pieces."""


def config(model: RandomModel, vocabulary: int, max_length: int) -> Any:
    """Return the BERT configuration; the feed-forward width is four times the hidden, as in BERT."""
    from transformers import BertConfig

    return BertConfig(
        vocab_size=vocabulary,
        hidden_size=model.hidden,
        num_hidden_layers=model.layers,
        num_attention_heads=model.heads,
        intermediate_size=4 * model.hidden,
        max_position_embeddings=max(max_length, 128),
        pad_token_id=0,
    )


def tokenizer_file(texts: Sequence[str], size: int, cache: Path) -> Path:
    """Return the WordPiece tokeniser of `texts` with at most `size` pieces, made once and kept under `cache`.

    Raises: DataError: the cache cannot be written.
    """
    digest = hashlib.sha256(f"{_TOKENISER}|{size}".encode())
    for text in texts:
        digest.update(text.encode("utf-8", "surrogatepass") + b"\x1e")
    path = cache / f"wordpiece-{digest.hexdigest()[:16]}.json"
    if path.is_file():
        return path
    caching.write(path, _build(texts, size).encode())
    return path


def _build(texts: Sequence[str], size: int) -> str:
    """Return a WordPiece tokeniser as JSON, its vocabulary counted from the texts.

    The pieces are all single characters, then the words, beginnings and endings that occur more than once,
    the most frequent first, ties in alphabetical order. `tokenizers` has a trainer, but it breaks ties
    differently every time it runs.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    normalise, cut = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    words = Counter(word for text in texts for word, _ in cut.pre_tokenize_str(normalise.normalize_str(text)))
    vocabulary = {piece: number for number, piece in enumerate([*_SPECIAL, *_pieces(words)][:size])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))  # noqa: S106 (a token of text)
    tokenizer.normalizer = normalise
    tokenizer.pre_tokenizer = cut
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", _SPECIAL.index("[SEP]")), ("[CLS]", _SPECIAL.index("[CLS]"))
    )
    return str(tokenizer.to_str())


def _pieces(words: Counter[str]) -> list[str]:
    characters = {character for word in words for character in word}
    single = sorted(characters) + sorted(f"##{character}" for character in characters)
    counts: Counter[str] = Counter()
    for word, count in words.items():
        parts = {word, *(word[:end] for end in range(2, _LONGEST_PART + 1))}
        parts |= {f"##{word[-length:]}" for length in range(2, _LONGEST_PART + 1) if length < len(word)}
        counts.update(dict.fromkeys(parts, count))
    common = {piece for piece, count in counts.items() if count > 1}
    rest = sorted(common - set(single), key=lambda piece: (-counts[piece], piece))
    return single + rest


def tokenizer(path: Path, max_length: int) -> Any:
    """Return that tokeniser as `transformers` uses it."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_file=str(path),
        model_max_length=max_length,
        pad_token="[PAD]",  # noqa: S106 (tokens of text)
        unk_token="[UNK]",  # noqa: S106
        cls_token="[CLS]",  # noqa: S106
        sep_token="[SEP]",  # noqa: S106
        mask_token="[MASK]",  # noqa: S106
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
