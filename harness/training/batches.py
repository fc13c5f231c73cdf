"""Token ids without padding, and padded batches cut from them.

Shape suffixes: N items, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

Inputs = dict[str, "torch.Tensor"]
"""Keyword arguments of a model's forward, one row an item."""

Collate = Callable[[Sequence[int]], Inputs]
"""Returns the inputs of the items at the given rows."""


def encode(tokenizer: Any, texts: Sequence[str], max_length: int) -> list[list[int]]:
    """Return the token ids of each text, special tokens included, cut at `max_length`, not padded."""
    encoded = tokenizer(
        list(texts),
        truncation=True,
        max_length=max_length,
        padding=False,
        return_attention_mask=False,
        return_token_type_ids=False,
    )
    ids: list[list[int]] = encoded["input_ids"]
    return ids


def pad(ids: Sequence[Sequence[int]], tokenizer: Any, device: str) -> Inputs:
    """Return `input_ids_NT`, `attention_mask_NT` and, where the model has them, `token_type_ids_NT`.

    T is the longest of the batch; padding stands on the right.
    """
    import torch

    longest = max(len(row) for row in ids)
    input_ids_NT = torch.full((len(ids), longest), tokenizer.pad_token_id, dtype=torch.long)
    mask_NT = torch.zeros((len(ids), longest), dtype=torch.long)
    for item, row in enumerate(ids):
        input_ids_NT[item, : len(row)] = torch.tensor(row, dtype=torch.long)
        mask_NT[item, : len(row)] = 1
    inputs = {"input_ids": input_ids_NT, "attention_mask": mask_NT}
    if "token_type_ids" in tokenizer.model_input_names:
        inputs["token_type_ids"] = torch.zeros_like(input_ids_NT)
    return {name: tensor.to(device) for name, tensor in inputs.items()}


def text_batches(tokenizer: Any, texts: Sequence[str], max_length: int, device: str) -> Collate:
    """Tokenise all texts once; return the function that cuts padded batches from them."""
    ids = encode(tokenizer, texts, max_length)

    def collate(rows: Sequence[int]) -> Inputs:
        return pad([ids[row] for row in rows], tokenizer, device)

    return collate


def by_length(lengths: Sequence[int], size: int) -> list[list[int]]:
    """Return the rows sorted by length and cut into batches of `size`; equal lengths keep their order."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    return [order[start : start + size] for start in range(0, len(order), size)]
