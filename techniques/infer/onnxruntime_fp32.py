"""Infer with ONNX Runtime in float32.

What it does
    Exports the trained model once to an ONNX graph and runs that graph with ONNX Runtime, which fuses
    nodes ahead of time. Texts are padded as the baseline pads them, so that only the runtime differs.

Why it may save energy
    No Python and no dispatch between operators, fused normalisation and activation, memory planned once.
    The threads of the runtime do not spin while they wait.

What it costs
    The export: several seconds of one core, most of it symbolic tracing. Small savings take long to pay for it.

Limits
    On CPUs the matrix products dominate and are as dear in either runtime: expect little at batch 8 and more.
    Torch stays in the process after the export, so the peak memory is not that of a server without torch.

Source
    ONNX Runtime, graph optimisations at level ALL; the session option `session.intra_op.allow_spinning`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.contract import Task, TechniqueInfo, Trained
from harness.records import Phase
from techniques._batching import refuse_other_tasks
from techniques._onnx import IMPORTS, OnnxParams, OnnxTask, export, open_session, scratch_folder

INFO = TechniqueInfo(
    name="onnxruntime_fp32",
    phase=Phase.INFER,
    family="runtime",
    summary="ONNX Runtime in float32, padded like the baseline",
    source="https://onnxruntime.ai/docs/performance/model-optimizations/graph-optimizations.html",
    imports=IMPORTS,
)


class Params(OnnxParams, frozen=True, kw_only=True):
    """See `OnnxParams`: batch_size, padding."""


def supports(workload: Any, device: str) -> str | None:
    """Return None for text classification where ONNX Runtime has the device, else the reason why not."""
    reason = refuse_other_tasks(workload)
    if reason or device == "cpu":
        return reason
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return "this onnxruntime build has no CUDAExecutionProvider"
    return None


@contextmanager
def build(trained: Trained, workload: Any, params: Params, device: str) -> Iterator[Task]:
    """Yield the task; the graph on disk and the session are released on exit."""
    with scratch_folder() as folder:
        path = Path(folder) / "model.onnx"
        model, tokenizer = workload.load(trained.folder), workload.tokenizer()
        export(model, tokenizer, workload.max_length, path)
        del model
        yield OnnxTask(open_session(path, device), tokenizer, params, workload.max_length)
