"""Token ids without padding, and padded batches cut from them.

Shape suffixes: N items, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import DataError

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


def padded(
    ids: Sequence[Sequence[int]],
    filler: int,
    device: str,
    *,
    width: int | None = None,
    side: Literal["left", "right"] = "right",
) -> Inputs:
    """Return `input_ids_NT` and `attention_mask_NT`, T the longest row or `width`.

    Raises: DataError: a row is empty, or longer than `width`.
    """
    import torch

    longest = max(len(row) for row in ids)
    columns = longest if width is None else width
    if longest > columns or not all(ids):
        raise DataError(
            f"a batch of rows of 1 to {columns} tokens was given one of {0 if longest <= columns else longest}"
        )
    ids_NT = torch.full((len(ids), columns), filler, dtype=torch.long)
    mask_NT = torch.zeros((len(ids), columns), dtype=torch.long)
    for item, row in enumerate(ids):
        place = slice(0, len(row)) if side == "right" else slice(columns - len(row), columns)
        ids_NT[item, place] = torch.tensor(row, dtype=torch.long)
        mask_NT[item, place] = 1
    return {"input_ids": ids_NT.to(device), "attention_mask": mask_NT.to(device)}


def pad(ids: Sequence[Sequence[int]], tokenizer: Any, device: str) -> Inputs:
    """Return a batch as the tokeniser would pad it: on its side, with its token, T the longest row.

    That is `input_ids_NT`, `attention_mask_NT` and, where the model has them, `token_type_ids_NT`.

    Raises: DataError: a row is empty.
    """
    import torch

    inputs = padded(ids, tokenizer.pad_token_id, device, side=tokenizer.padding_side)
    if "token_type_ids" in tokenizer.model_input_names:
        inputs["token_type_ids"] = torch.zeros_like(inputs["input_ids"])
    return inputs


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
