"""A byte-level BPE tokeniser trained on the data, for models that come without one.

Radford et al. 2019, section 2.2: pieces of bytes, so that no text is unknown. Padding, beginning and end of a sequence
have the ids 0, 1 and 2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.workloads import caching
from harness.workloads.architectures.building import SpecialIds

SPECIAL = SpecialIds(pad=0, start=1, end=2)
_SPECIAL_TOKENS = ["<pad>", "<s>", "</s>"]
_TOKENISER = 1
"""Version of the recipe below; a change trains anew."""

FEWEST = 256 + len(_SPECIAL_TOKENS)
"""One piece a byte, and the special ones."""


def file(texts: Sequence[str], size: int, cache: Path) -> Path:
    """Return the tokeniser of at most `size` pieces trained on `texts`, made once and kept under `cache`.

    Raises: DataError: the cache cannot be written.
    """
    digest = hashlib.sha256(f"{_TOKENISER}|{size}".encode())
    for text in texts:
        digest.update(text.encode("utf-8", "surrogatepass") + b"\x1e")
    path = cache / f"bpe-{digest.hexdigest()[:16]}.json"
    if not path.is_file():
        caching.write(path, _trained(texts, size).encode())
    return path


def load(path: Path, *, ends: bool) -> Any:
    """Return the tokeniser as `transformers` uses it; with `ends`, every text is followed by the end of a sequence."""
    from tokenizers import Tokenizer, processors
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer.from_file(str(path))
    if ends:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="$A </s>", special_tokens=[("</s>", SPECIAL.end)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=_SPECIAL_TOKENS[SPECIAL.pad],
        bos_token=_SPECIAL_TOKENS[SPECIAL.start],
        eos_token=_SPECIAL_TOKENS[SPECIAL.end],
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
    )


def _trained(texts: Sequence[str], size: int) -> str:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=_SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return str(tokenizer.to_str())
