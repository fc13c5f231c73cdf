"""Greedy decoding of `transformers` models into rows of one width.

Shape suffixes: N items, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import DataError
from harness.workloads.quiet import quiet_loading

if TYPE_CHECKING:
    from harness.contract import Outputs
    from harness.training import Inputs

NOTHING = -1
"""What stands in a row after its last token."""


def padded(
    ids: Sequence[Sequence[int]],
    pad: int,
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
    ids_NT = torch.full((len(ids), columns), pad, dtype=torch.long)
    mask_NT = torch.zeros((len(ids), columns), dtype=torch.long)
    for item, row in enumerate(ids):
        place = slice(0, len(row)) if side == "right" else slice(columns - len(row), columns)
        ids_NT[item, place] = torch.tensor(row, dtype=torch.long)
        mask_NT[item, place] = 1
    return {"input_ids": ids_NT.to(device), "attention_mask": mask_NT.to(device)}


def generate(model: Any, inputs: Inputs, *, new_tokens: int, pad: int, end: int | None) -> Outputs:
    """Return `ids_NT` (int32) of `new_tokens` columns that the model writes, the likeliest token each time.

    A row ends with `end`, which stands in it; what follows is -1. Without `end` every row is full.
    """
    import numpy as np
    import torch
    from transformers import GenerationConfig

    kept = model.generation_config
    settings = GenerationConfig(
        max_new_tokens=new_tokens,
        do_sample=False,
        num_beams=1,
        use_cache=True,
        pad_token_id=pad,
        # None would mean the model's own; no token has this id, so nothing ends a row.
        eos_token_id=NOTHING if end is None else end,
        decoder_start_token_id=kept.decoder_start_token_id,
    )
    with torch.inference_mode(), quiet_loading():
        written_NT = model.generate(**inputs, generation_config=settings)
    begun = 1 if model.config.is_encoder_decoder else inputs["input_ids"].shape[1]
    found = written_NT[:, begun:].to("cpu", torch.int32).numpy()
    rows: Outputs = np.full((len(found), new_tokens), NOTHING, dtype=np.int32)
    rows[:, : found.shape[1]] = found
    if end is not None:
        ended = np.cumsum(rows == end, axis=1) - (rows == end)
        rows[ended > 0] = NOTHING
    return rows
