"""A BERT of given depth and width from random weights, with a tokeniser of the training texts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.workloads import caching
from harness.workloads.params import RandomModel

_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_TOKENISER = 1
"""Version of the recipe below; a change trains anew."""


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


def tokenizer_file(texts: Sequence[str], model: RandomModel, cache: Path) -> Path:
    """Return the WordPiece tokeniser trained on `texts`, trained once and kept under `cache`.

    Raises: DataError: the cache cannot be written.
    """
    digest = hashlib.sha256(f"{_TOKENISER}|{model.vocabulary}".encode())
    for text in texts:
        digest.update(text.encode("utf-8", "surrogatepass") + b"\x1e")
    path = cache / f"wordpiece-{digest.hexdigest()[:16]}.json"
    if path.is_file():
        return path
    caching.write(path, _train(texts, model.vocabulary).encode())
    return path


def _train(texts: Sequence[str], vocabulary: int) -> str:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106 (a token of text)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=vocabulary, special_tokens=_SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", _SPECIAL.index("[SEP]")), ("[CLS]", _SPECIAL.index("[CLS]"))
    )
    return str(tokenizer.to_str())


def tokenizer(path: Path, max_length: int) -> Any:
    """Return the trained tokeniser as `transformers` uses it."""
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
