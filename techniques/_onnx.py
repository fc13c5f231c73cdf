"""What the ONNX Runtime techniques share: export, session, task. No technique itself.

Shape suffixes: N items, C classes, T tokens.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta

from harness.errors import ModelError
from harness.records import Frozen
from techniques._batching import arrival_batches, tokens
from techniques._quiet import quiet

if TYPE_CHECKING:
    from harness.contract import Outputs

IMPORTS = ("torch", "torch.onnx", "transformers", "onnx", "onnxscript", "onnxruntime", "onnxruntime.quantization")
"""What the worker imports before the build window."""

_SILENT_BELOW = 3
"""ONNX Runtime's log level for errors; its warnings go straight to file descriptor 2."""


class OnnxParams(Frozen, frozen=True, kw_only=True):
    """Parameters of a task on ONNX Runtime.

    batch_size: texts a call of the runtime.
    padding: `max_length` pads as the baseline does, so that only the runtime differs; `longest` pads to the
        longest text of each batch.
    """

    batch_size: Annotated[int, Meta(ge=1)] = 16
    padding: Literal["max_length", "longest"] = "max_length"


class OnnxTask:
    """Texts in, logits out, on one ONNX Runtime session."""

    def __init__(self, session: Any, tokenizer: Any, params: OnnxParams, max_length: int) -> None:
        self._session = session
        self._tokenizer = tokenizer
        self._params = params
        self._max_length = max_length
        self._names = [given.name for given in session.get_inputs()]

    def run(self, batch: Sequence[str]) -> Outputs:
        """Return `logits_NC` for N texts, in their order."""
        import numpy as np

        parts = []
        for texts in arrival_batches(batch, self._params.batch_size):
            inputs = tokens(self._tokenizer, texts, self._max_length, padding=self._params.padding, kind="np")
            feed = {name: inputs[name].astype(np.int64, copy=False) for name in self._names}
            parts.append(self._session.run(["logits"], feed)[0])
        logits_NC: Outputs = np.concatenate(parts).astype(np.float32, copy=False)
        return logits_NC


def export(model: Any, tokenizer: Any, max_length: int, path: Path) -> None:
    """Write the classifier as an ONNX graph with dynamic batch and token axes, weights beside it.

    Uses `transformers.exporters` where it exists, else `torch.onnx.export`. The axes are named, which
    spares the exporter from working out which of all axes may vary.

    Raises: ModelError: the exported graph does not take what the tokeniser gives.
    """
    import onnx_ir
    import torch

    sample = tokens(tokenizer, ["two texts of unlike length", "for tracing"], max_length, padding="longest", kind="pt")
    batch, length = torch.export.Dim("batch", min=1, max=4096), torch.export.Dim("tokens", min=2, max=max_length)
    shapes = {name: {0: batch, 1: length} for name in sample}
    # Plain attention traces to fewer nodes than the fused call, whose graph keeps guards for fully masked rows.
    model.set_attn_implementation("eager")
    with quiet():
        if importlib.util.find_spec("transformers.exporters") is not None:
            graph = _by_transformers(model, sample, shapes)
        else:
            graph = _by_torch(model, sample, shapes)
        onnx_ir.save(graph, str(path), external_data=f"{path.name}.data")
    given = {value.name for value in graph.graph.inputs}
    if not given <= set(sample) or [value.name for value in graph.graph.outputs] != ["logits"]:
        raise ModelError(f"the exported graph takes {sorted(map(str, given))}; the tokeniser gives {sorted(sample)}")


def _by_transformers(model: Any, sample: dict[str, Any], shapes: dict[str, Any]) -> Any:
    from transformers.exporters.exporter_onnx import OnnxConfig, OnnxExporter

    exported = OnnxExporter().export(model, sample, OnnxConfig(dynamic=True, dynamic_shapes=shapes))
    # 5.17 returns torch's ONNXProgram (.model), later versions an ExportedModel (.program), both with onnx_ir inside.
    return exported.program if hasattr(exported, "program") else exported.model


def _by_torch(model: Any, sample: dict[str, Any], shapes: dict[str, Any]) -> Any:
    import torch

    program = torch.onnx.export(
        model,
        kwargs=sample,
        dynamo=True,
        dynamic_shapes=shapes,
        input_names=list(sample),
        output_names=["logits"],
        verbose=False,
    )
    return program.model


def quantise(path: Path, target: Path) -> None:
    """Write the graph with signed 8-bit weights, one scale a channel, activations quantised as they come.

    `reduce_range` keeps weights to 7 bits: without it, products of two saturate in the 16-bit
    additions of CPUs that have AVX2 but no VNNI, and outputs are wrong (onnxruntime issue 6004).
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    graph = onnx.load(str(path), load_external_data=False)
    # The quantiser transposes Gemm weights and then infers shapes anew, against which the exporter's notes clash.
    del graph.graph.value_info[:]
    onnx.save(graph, str(path))
    with quiet():
        quantize_dynamic(
            str(path),
            str(target),
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            use_external_data_format=True,
        )


def open_session(path: Path, device: str) -> Any:
    """Return a session at torch's thread count, all graph optimisations, no spinning.

    Raises: ModelError: the runtime would silently take another device.
    """
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = _SILENT_BELOW
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    provider: Any = "CPUExecutionProvider"
    if device != "cpu":
        provider = ("CUDAExecutionProvider", {"device_id": torch.device(device).index or 0})
    session = onnxruntime.InferenceSession(str(path), options, providers=[provider])
    wanted = provider if isinstance(provider, str) else provider[0]
    if wanted not in session.get_providers():
        raise ModelError(f"onnxruntime did not load {wanted} for device {device!r}; check its CUDA libraries")
    return session


def scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """Return a folder for exported graphs that is removed when its scope ends."""
    return tempfile.TemporaryDirectory(prefix="joulebench-onnx-", ignore_cleanup_errors=True)
