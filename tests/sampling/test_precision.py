"""On CUDA float32 is float32, in LSTMs and convolutions too."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("torch")

CODE = """
import torch
from harness import device

device.available = lambda _: None
torch.cuda.set_device = lambda _: None
before = [torch.backends.cudnn.conv.fp32_precision, torch.backends.cudnn.rnn.fp32_precision]
device.prepare("cuda", threads=1, seed=0)
after = [
    torch.backends.cudnn.conv.fp32_precision,
    torch.backends.cudnn.rnn.fp32_precision,
    torch.backends.cuda.matmul.fp32_precision,
]
with torch.backends.cudnn.flags(enabled=False):  # as a CTC loss does
    pass
print(before, "tf32" in after, torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32)
"""


@pytest.mark.parametrize("override", ["0", "1"])
def test_no_operation_takes_tf32_whatever_the_environment_says(override):
    environment = {**os.environ, "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": override}
    command = [sys.executable, "-W", "error::UserWarning", "-c", CODE]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout == "['tf32', 'tf32'] False False False\n"
