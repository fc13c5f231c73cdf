"""Infer with eager PyTorch, every text padded to the maximum length.

What it does
    Loads the trained model and runs it as the first page of a tutorial would: batches in the order in
    which texts arrive, each text padded to `max_length` where the task pads at all, evaluation and inference mode on.

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
    """Return None: every workload can be answered so."""
    return None


@contextmanager
def build(trained: Trained, workload: Any, params: Params, device: str) -> Iterator[Task]:
    """Yield the task; the weights are released on exit."""
    kind = _EagerGeneration if workload.task == "causal_generation" else _Eager
    yield kind(workload.load(trained.folder).to(device), workload, params, device)


class _Eager:
    def __init__(self, model: Any, workload: Any, params: Params, device: str) -> None:
        self._model = model
        self._workload = workload
        self._params = params
        self._device = device

    def run(self, batch: Sequence[str]) -> Outputs:
        outputs: Outputs = self._workload.answer(
            self._model, batch, batch_size=self._params.batch_size, padding="max_length", device=self._device
        )
        return outputs


class _EagerGeneration(_Eager):
    def prefill(self, batch: Sequence[str]) -> Outputs:
        outputs: Outputs = self._workload.prefill(
            self._model, batch, batch_size=self._params.batch_size, padding="max_length", device=self._device
        )
        return outputs
