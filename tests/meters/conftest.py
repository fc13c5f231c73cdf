import sys
import time
import types

import pytest

from harness.meters import nvml as nvml_room

TURN_UJ = 262_143_328_850  # what Intel servers with 61 µJ units report


class Clock:
    """A monotonic clock that moves only when the test says so."""

    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return round(self.now_s * 1e9)


class Powercap:
    """A powercap tree whose counters the test advances; the true joules are known."""

    def __init__(self, root):
        self.root = root
        self.raw_uj = {}
        self.turn_uj = {}

    def zone(self, name, label, raw_uj=1_000_000, turn_uj=TURN_UJ):
        folder = self.root / name
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{label}\n")
        (folder / "max_energy_range_uj").write_text(f"{turn_uj}\n")
        self.turn_uj[name] = turn_uj
        self.put(name, raw_uj)

    def put(self, name, raw_uj):
        self.raw_uj[name] = raw_uj
        path = self.root / name / "energy_uj"
        with path.open("r+" if path.exists() else "w") as file:  # in place, as sysfs: the open descriptor sees it
            file.write(f"{raw_uj:020d}\n")

    def add(self, name, energy_j):
        self.put(name, (self.raw_uj[name] + round(energy_j * 1e6)) % self.turn_uj[name])


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def powercap(tmp_path):
    return Powercap(tmp_path / "powercap")


class StubGpu:
    """A GPU whose counter steps every `refresh_s` by the clock, unless the test sets `fixed_mj`."""

    def __init__(self, uuid, name="Stub 100", power_w=100.0, refresh_s=0.01):
        self.uuid = uuid
        self.name = name
        self.power_w = power_w
        self.refresh_s = refresh_s
        self.fixed_mj = None
        self.error = None
        self.mig = None

    def energy_mj(self):
        if self.fixed_mj is not None:
            return self.fixed_mj
        steps = int(time.perf_counter() / self.refresh_s)
        return int(steps * self.refresh_s * self.power_w * 1000)


@pytest.fixture
def stub_nvml(monkeypatch):
    """A `pynvml` with scripted GPUs; fill `stub.gpus` before opening."""
    stub = types.ModuleType("pynvml")

    class NVMLError(Exception):
        pass

    def energy(gpu):
        if gpu.error is not None:
            raise NVMLError(gpu.error)
        return gpu.energy_mj()

    def mig(gpu):
        if gpu.mig is None:
            raise NVMLError("Not Supported")
        return [gpu.mig, gpu.mig]

    stub.NVMLError = NVMLError
    stub.gpus = []
    stub.shutdowns = 0
    stub.nvmlInit = lambda: None
    stub.nvmlShutdown = lambda: setattr(stub, "shutdowns", stub.shutdowns + 1)
    stub.nvmlDeviceGetCount = lambda: len(stub.gpus)
    stub.nvmlDeviceGetHandleByIndex = lambda index: stub.gpus[index]
    stub.nvmlDeviceGetName = lambda gpu: gpu.name
    stub.nvmlDeviceGetUUID = lambda gpu: gpu.uuid
    stub.nvmlDeviceGetMigMode = mig
    stub.nvmlDeviceGetTotalEnergyConsumption = energy
    stub.Gpu = StubGpu
    monkeypatch.setitem(sys.modules, "pynvml", stub)
    monkeypatch.setattr(nvml_room, "driver_present", lambda: True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    return stub
