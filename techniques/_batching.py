"""What the inference techniques share: cutting batches, padding, order.

No technique itself. Shape suffixes: N items, C classes, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.contract import Outputs


def refuse_other_tasks(workload: Any) -> str | None:
    """Return why a workload that is not text classification is skipped, else None."""
    if workload.task == "text_classification":
        return None
    return f"it needs a text classification workload, and {workload.name} is {workload.task}"


def tokens(tokenizer: Any, texts: Sequence[str], max_length: int, *, padding: str, kind: str) -> dict[str, Any]:
    """Return the model's inputs for texts, padded to `max_length` or to the `longest`; `kind` is `pt` or `np`."""
    encoded = tokenizer(list(texts), padding=padding, truncation=True, max_length=max_length, return_tensors=kind)
    return dict(encoded)


def arrival_batches(texts: Sequence[str], size: int) -> list[Sequence[str]]:
    """Return the texts in their order, cut into batches of `size`."""
    return [texts[start : start + size] for start in range(0, len(texts), size)]


def in_order(parts: Sequence[Outputs], rows: Sequence[int]) -> Outputs:
    """Return `logits_NC` whose row `rows[i]` is the i-th of all parts' rows."""
    import numpy as np

    found_NC = np.concatenate(parts)
    logits_NC: Outputs = np.empty_like(found_NC)
    logits_NC[list(rows)] = found_NC
    return logits_NC
