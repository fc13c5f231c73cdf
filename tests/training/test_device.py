"""The device: memory peaks, evaluation, saving."""

from __future__ import annotations

import mmap
import subprocess
import sys
from pathlib import Path

import pytest

from harness import device
from harness.errors import ResultsError


def test_asking_for_the_cpu_imports_no_torch():
    code = "import sys; from harness import device; device.available('cpu'); device.peak_memory_bytes('cpu');"
    code += "device.synchronise('cpu'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_worker_starts_with_one_thread_that_does_not_spin():
    environment = device.environment(1)
    assert environment["OMP_NUM_THREADS"] == environment["MKL_NUM_THREADS"] == "1"
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
    assert environment["TOKENIZERS_PARALLELISM"] == "false"


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
def test_the_peak_starts_anew_after_a_reset():
    size = 64 * 2**20
    with mmap.mmap(-1, size) as block:  # not malloc's, which may keep what is freed
        block.write(b"x" * size)
        high = device.peak_memory_bytes("cpu")
    if not device.reset_peak_memory("cpu"):
        pytest.skip("this kernel or container does not let a process reset its peak")
    low = device.peak_memory_bytes("cpu")
    assert high - low > size // 2


def test_without_proc_the_peak_is_that_of_the_whole_process(monkeypatch, tmp_path):
    monkeypatch.setattr(device, "_STATUS", tmp_path / "status")
    monkeypatch.setattr(device, "_CLEAR_REFS", tmp_path / "nowhere" / "clear_refs")
    assert device.reset_peak_memory("cpu") is False
    pytest.importorskip("resource")
    assert device.peak_memory_bytes("cpu") > 2**20


def test_a_results_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ResultsError, match="choose another --results"):
        device.save_model(lambda _: None, tmp_path / "file" / "models" / "x")
