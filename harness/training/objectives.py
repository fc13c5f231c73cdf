"""Objectives that workloads and techniques share: what a batch of examples costs a model.

Shape suffixes: N items, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.training.batches import Collate

if TYPE_CHECKING:
    import torch


class Labelled:
    """Inputs with one class each: cross-entropy. The model returns `logits_NC`, or an output that has `.logits`."""

    def __init__(self, collate: Collate, labels: Sequence[int], device: str) -> None:
        import torch

        self.size = len(labels)
        self._collate = collate
        self._labels_N = torch.tensor(labels, dtype=torch.long, device=device)

    def loss(self, model: Any, rows: Sequence[int]) -> torch.Tensor:
        """Return the mean cross-entropy of the items at these rows."""
        import torch

        outputs = model(**self._collate(rows))
        logits_NC = outputs if isinstance(outputs, torch.Tensor) else outputs.logits
        return torch.nn.functional.cross_entropy(logits_NC, self._labels_N[list(rows)])
