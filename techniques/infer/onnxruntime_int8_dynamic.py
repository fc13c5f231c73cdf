"""Infer with ONNX Runtime on 8-bit integers, activations quantised as they come.

What it does
    Exports the trained model to ONNX and turns its weights into signed 8-bit integers, one scale a channel
    and 7 bits used. Activations are quantised at run time, one scale a tensor, so no calibration data is needed.

Why it may save energy
    Integer products move a quarter of the bytes and, with VNNI or AMX, take a fraction of the instructions.
    The gain grows with the hidden size, because quantising costs in proportion to the activations only.

What it costs
    The export and the quantisation: several seconds of one core. Outputs change: look at the quality beside
    the energy. Weights on disk shrink to about a quarter.

Limits
    CPU only. Without VNNI the gain is small for narrow models. Without `reduce_range` outputs are wrong on
    CPUs that have AVX2 but no VNNI, so the eighth bit is given up everywhere. One scale a tensor means that an
    answer depends a little on the other texts of its batch.

Source
    ONNX Runtime, dynamic quantisation; onnxruntime issue 6004 (saturation on AVX2).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.contract import Task, TechniqueInfo, Trained
from harness.records import Phase
from techniques._batching import refuse_other_tasks
from techniques._onnx import IMPORTS, OnnxParams, OnnxTask, export, open_session, quantise, scratch_folder

INFO = TechniqueInfo(
    name="onnxruntime_int8_dynamic",
    phase=Phase.INFER,
    family="quantisation",
    summary="ONNX Runtime with 8-bit weights and activations quantised at run time",
    source="https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html",
    imports=IMPORTS,
)


class Params(OnnxParams, frozen=True, kw_only=True):
    """See `OnnxParams`: batch_size, padding."""


def supports(workload: Any, device: str) -> str | None:
    """Return None for text classification on a CPU, else the reason why not."""
    reason = refuse_other_tasks(workload)
    if reason or device == "cpu":
        return reason
    return "ONNX Runtime runs dynamically quantised graphs on the CPU only"


@contextmanager
def build(trained: Trained, workload: Any, params: Params, device: str) -> Iterator[Task]:
    """Yield the task; the graphs on disk and the session are released on exit."""
    with scratch_folder() as folder:
        path, quantised = Path(folder) / "model.onnx", Path(folder) / "int8.onnx"
        model, tokenizer = workload.load(trained.folder), workload.tokenizer()
        export(model, tokenizer, workload.max_length, path)
        del model
        quantise(path, quantised)
        yield OnnxTask(open_session(quantised, device), tokenizer, params, workload.max_length)
