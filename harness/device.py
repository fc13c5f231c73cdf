"""The device a case runs on: is it there, make it ready, wait for it, its peak memory; what it leaves on disk.

Techniques never synchronise and never read memory; the worker does it for them, here.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import ConfigError, ResultsError

if TYPE_CHECKING:
    import torch

_CUDA = re.compile(r"cuda(?::(\d+))?")
_STATUS, _CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_PEAK_RSS = "5"
"""What to write to clear_refs to reset VmHWM: proc_pid_clear_refs(5), since Linux 4.0."""


def available(device: str) -> str | None:
    """Return None if the device can be used, else the reason why not; only `cuda` imports torch."""
    if device == "cpu":
        return None
    match = _CUDA.fullmatch(device)
    if match is None:
        return f"there is no device {device!r}; joulebench knows cpu, cuda and cuda:<number>"
    import torch

    if not torch.cuda.is_available():
        build = "has no CUDA" if torch.version.cuda is None else "finds no usable NVIDIA GPU"
        return f"torch {torch.__version__} {build}"
    count = torch.cuda.device_count()
    if int(match[1] or 0) >= count:
        return f"there is no {device}; torch sees {count} CUDA device(s), counted from 0"
    return None


def environment(threads: int) -> dict[str, str]:
    """Return the variables a worker must start with: thread counts, no spinning, no bars.

    `OMP_WAIT_POLICY` because spinning threads burn CPU time as soon as anything else runs.
    """
    count = str(threads)
    return {
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_WAIT_POLICY": "PASSIVE",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
    }


def prepare(device: str, *, threads: int, seed: int) -> None:
    """Set thread counts and seeds, and what makes runs repeatable at no cost.

    On CUDA a few kernels stay non-deterministic: their deterministic forms cost energy. Float32 is float32 there, in
    matrix products, convolutions and LSTMs alike; torch would take TF32 for the latter two.

    Raises: ConfigError: the device cannot be used.
    """
    reason = available(device)
    if reason:
        raise ConfigError(f"device {device!r} cannot be used: {reason}")
    import random

    import numpy as np
    import torch

    torch.set_num_threads(threads)
    if torch.get_num_interop_threads() != threads:
        torch.set_num_interop_threads(threads)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    if device != "cpu":
        torch.cuda.set_device(torch.device(device).index or 0)
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
        _without_tf32()


def _without_tf32() -> None:
    """Let float32 on CUDA mean float32, whatever the environment says (`TORCH_ALLOW_TF32_CUBLAS_OVERRIDE`)."""
    import torch

    # Not `fp32_precision`, which torch has beside these: with that set alone, CTC losses and compiled convolutions,
    # which read `allow_tf32`, refuse to run (torch 2.13). These two set both.
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False


def synchronise(device: str) -> None:
    """Wait until the device has done all it was given."""
    if device != "cpu":
        import torch

        torch.cuda.synchronize(device)


def reset_peak_memory(device: str) -> bool:
    """Start a new peak; return False where the host cannot, so that its peak counts from the process's start."""
    if device != "cpu":
        import torch

        torch.cuda.reset_peak_memory_stats(device)
        return True
    try:
        _CLEAR_REFS.write_text(_PEAK_RSS)
    except OSError:
        return False
    return True


def peak_memory_bytes(device: str) -> int | None:
    """Return the peak since the last reset: on `cpu` resident memory, on `cuda` what torch allocated on the GPU.

    Resident memory is `VmHWM`; without /proc it is `ru_maxrss`, which no reset changes. None where neither exists.
    """
    if device != "cpu":
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    except OSError:
        found = None
    if found:
        return int(found[1]) * 1024
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def save_model(save: Callable[[Path], None], folder: Path) -> None:
    """Let `save` write a model to `folder`, all or nothing; an older model is replaced.

    Raises: ResultsError: the folder cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
            written = Path(scratch) / "model"
            written.mkdir()
            save(written)
            if folder.exists():
                folder.rename(Path(scratch) / "old")
            written.rename(folder)
    except (OSError, shutil.Error) as error:
        raise ResultsError(f"cannot write the trained model to {folder}: {error}; choose another --results") from error


def save_tensors(tensors: Mapping[str, torch.Tensor], file: Path) -> None:
    """Write tensors as safetensors, whole or not at all.

    Raises: ResultsError: the folder cannot be written.
    """
    from safetensors.torch import save_file

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f".{file.name}.partial")
        save_file(dict(tensors), partial)
        partial.replace(file)
    except OSError as error:
        raise ResultsError(f"cannot keep the state of training in {file}: {error}; choose another --results") from error


def load_tensors(file: Path) -> dict[str, torch.Tensor]:
    """Return tensors that `save_tensors` wrote, on the CPU.

    Raises: ResultsError: the file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, torch.Tensor] = load_file(file)
    except (OSError, SafetensorError) as error:
        raise ResultsError(
            f"the kept state of training {file} cannot be read: {error}; remove the folder {file.parent} to train from "
            "the start"
        ) from error
    return tensors
