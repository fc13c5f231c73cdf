"""What evaluations share: how many texts a forward pass has, the answers, what a loss means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.errors import InvalidMeasurement

if TYPE_CHECKING:
    from harness.contract import Outputs, Workload

_TEXTS, _TOKENS = 32, 2048
"""Of a forward pass at most: its logits are tokens times vocabulary."""


def evaluation_batch(length: int) -> int:
    """Return how many texts of up to `length` tokens a forward pass of an evaluation has."""
    return max(1, min(_TEXTS, _TOKENS // length))


def answers(workload: Workload, model: Any, texts: Sequence[str], device: str) -> Outputs:
    """Return what a model says of N texts, in their order, for an evaluation; it is left in eval mode on the device.

    Texts of like length are answered together: an evaluation is no technique and should only be quick.

    Raises: InvalidMeasurement: an answer is no number.
    """
    import numpy as np

    model.to(device).eval()
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    size = evaluation_batch(workload.max_length)
    found = workload.answer(model, [texts[row] for row in order], batch_size=size, padding="longest", device=device)
    if not np.isfinite(found).all():
        raise InvalidMeasurement(
            f"{workload.name}: the model's outputs are not all finite numbers; if it was trained, its training "
            "diverged: lower learning_rate"
        )
    outputs: Outputs = np.empty_like(found)
    outputs[order] = found
    return outputs


def of_loss(loss_nats: float) -> dict[str, float]:
    """Return a mean loss, and its perplexity where a float can hold that."""
    try:
        return {"perplexity": math.exp(loss_nats), "loss_nats": loss_nats}
    except OverflowError:
        return {"loss_nats": loss_nats}
