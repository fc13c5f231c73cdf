"""Infer with eager PyTorch, every text padded to the maximum length.

What it does
    Loads the trained model and runs it as the first page of a tutorial would: batches in the order in
    which texts arrive, each text padded to `max_length`, evaluation and inference mode on.

Why it may save energy
    It does not try to; it is what the other ways of inferring are measured against.

What it costs
    Nothing to build beyond loading the weights. It computes on padding: a text of 16 tokens in a row of 64
    takes the work of 64.

Limits
    Weights stay in float32. On CUDA the same code runs on the GPU; kernels are launched one by one.

Source
    Devlin et al. 2019, arXiv 1810.04805 (padding to a fixed length); PyTorch's `inference_mode`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from harness.contract import Task, TechniqueInfo, Trained
from harness.records import Frozen, Phase
from techniques._batching import arrival_batches, load_trained, refuse_other_tasks, tokens

if TYPE_CHECKING:
    from harness.contract import Outputs

INFO = TechniqueInfo(
    name="torch_eager",
    phase=Phase.INFER,
    family="baseline",
    summary="Eager PyTorch, padded to the maximum length",
    source="arXiv 1810.04805",
    baseline=True,
    imports=("torch", "transformers"),
)


class Params(Frozen, frozen=True, kw_only=True):
    """batch_size: texts a forward pass."""

    batch_size: Annotated[int, Meta(ge=1)] = 16


def supports(workload: Any, device: str) -> str | None:  # noqa: ARG001 (the contract's signature)
    """Return None for text classification, else the reason why not."""
    return refuse_other_tasks(workload)


@contextmanager
def build(trained: Trained, workload: Any, params: Params, device: str) -> Iterator[Task]:
    """Yield the task; the weights are released on exit."""
    model, tokenizer = load_trained(trained)
    model.to(device)
    yield _Padded(model, tokenizer, params, workload.max_length, device)


class _Padded:
    def __init__(self, model: Any, tokenizer: Any, params: Params, max_length: int, device: str) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._params = params
        self._max_length = max_length
        self._device = device

    def run(self, batch: Sequence[str]) -> Outputs:
        import numpy as np
        import torch

        parts = []
        with torch.inference_mode():
            for texts in arrival_batches(batch, self._params.batch_size):
                inputs = tokens(self._tokenizer, texts, self._max_length, padding="max_length", kind="pt")
                logits_NC = self._model(**{name: tensor.to(self._device) for name, tensor in inputs.items()}).logits
                parts.append(logits_NC.cpu().numpy())
        return np.concatenate(parts)
