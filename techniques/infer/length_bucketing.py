"""Infer with eager PyTorch, texts of like length together.

What it does
    Tokenises all texts of a request, sorts them by their number of tokens, cuts batches from the sorted
    list, pads each batch to its own longest text, and puts the outputs back in the order of arrival.

Why it may save energy
    Work on padding is work for nothing. With real sentences most rows are far shorter than the maximum
    length, and neighbours in the sorted list need almost no padding at all.

What it costs
    A sort, and one small tensor a batch. The model and its outputs stay the same up to float rounding.

Limits
    It needs several texts at once: a single text is only spared the padding to the maximum length. Texts
    all near the maximum length leave nothing to save. A request waits for its slowest batch.

Source
    Krell et al. 2021, arXiv 2107.02027 (how much of common data is padding).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from harness.contract import Task, TechniqueInfo, Trained
from harness.records import Frozen, Phase
from harness.training import by_length, encode, pad
from techniques._batching import in_order, refuse_other_tasks

if TYPE_CHECKING:
    from harness.contract import Outputs

INFO = TechniqueInfo(
    name="length_bucketing",
    phase=Phase.INFER,
    family="padding",
    summary="Texts of like length together, padded to the longest of each batch",
    source="arXiv 2107.02027",
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
    model, tokenizer = workload.load(trained.folder), workload.tokenizer()
    model.to(device)
    yield _Bucketed(model, tokenizer, params, workload.max_length, device)


class _Bucketed:
    def __init__(self, model: Any, tokenizer: Any, params: Params, max_length: int, device: str) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._params = params
        self._max_length = max_length
        self._device = device

    def run(self, batch: Sequence[str]) -> Outputs:
        import torch

        ids = encode(self._tokenizer, batch, self._max_length)
        cut = by_length([len(row) for row in ids], self._params.batch_size)
        parts = []
        with torch.inference_mode():
            for rows in cut:
                inputs = pad([ids[row] for row in rows], self._tokenizer, self._device)
                parts.append(self._model(**inputs).logits.cpu().numpy())
        return in_order(parts, [row for rows in cut for row in rows])
