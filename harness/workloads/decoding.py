"""Greedy decoding of `transformers` models into rows of one width.

Shape suffixes: N items, T tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.workloads.quiet import quiet_loading

if TYPE_CHECKING:
    from harness.contract import Outputs
    from harness.training import Inputs

NOTHING = -1
"""What stands in a row after its last token."""


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
