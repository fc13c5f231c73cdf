"""NVIDIA GPUs through NVML: the energy counter where there is one, sampled power where there is none.

`opening` finds the GPUs and settles what each can be metered with, `views` says what two readings are
worth in joules, `power` integrates and samples, `state` asks for temperature, clocks and limits. Nothing
here imports `pynvml` before `open_nvml` has seen a driver.

Domains are `gpu0`, `gpu1` … in the order CUDA shows the GPUs to this process, so `gpu0` is torch's
`cuda:0`. The caller synchronises the GPU before a window ends.
"""

from harness.meters.nvml.meter import NvmlMeter, replayed
from harness.meters.nvml.opening import open_nvml
from harness.meters.nvml.power import PowerIntegrator
from harness.meters.nvml.state import slowed

__all__ = ["NvmlMeter", "PowerIntegrator", "open_nvml", "replayed", "slowed"]
