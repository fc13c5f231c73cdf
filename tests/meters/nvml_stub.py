"""A `pynvml` with scripted GPUs: power follows a curve, counters and readings refresh by a clock.

The names and the shapes of the answers are those of nvidia-ml-py 13; what a GPU does not offer raises
`NVMLError` or comes back as a field value with an error code, as there.
"""
# ruff: noqa: N802 (the names are those of pynvml)

import time
import types
from bisect import bisect_right
from itertools import pairwise

NOT_SUPPORTED = 3


class ScriptedTime:
    """A clock that moves only when someone sleeps."""

    def __init__(self, now_s=1000.0):
        self.now_ns = round(now_s * 1e9)

    @property
    def now_s(self):
        return self.now_ns / 1e9

    def clock_ns(self):
        return self.now_ns

    def sleep(self, duration_s):
        self.now_ns += round(duration_s * 1e9)


class Curve:
    """Watts that hold from one time to the next: `[(from_s, watts), ...]`; the first hold since ever."""

    def __init__(self, *steps):
        self.times = [start_s for start_s, _ in steps]
        self.watts = [watts for _, watts in steps]

    def at(self, t_s):
        return self.watts[max(0, bisect_right(self.times, t_s) - 1)]

    def joules(self, begin_s, end_s):
        edges = [begin_s, *(t_s for t_s in self.times if begin_s < t_s < end_s), end_s]
        return sum(self.at(low_s) * (high_s - low_s) for low_s, high_s in pairwise(edges))


class StubGpu:
    """A GPU: what it draws, what it offers, and what is wrong with it."""

    def __init__(self, uuid, name="Stub 100", power_w=100.0, refresh_s=0.01, power_refresh_s=0.02):
        self.uuid = uuid
        self.name = name
        self.curve = Curve((0.0, power_w))
        self.cpu_w = 0.0  # what the rest of the module draws
        self.counts = "gpu"  # what the counter covers: gpu or module
        self.refresh_s = refresh_s
        self.power_refresh_s = power_refresh_s
        self.offers = {("instant", "gpu"), ("average", "gpu")}
        self.clock_ns = time.perf_counter_ns
        self.fixed_mj = None
        self.fixed_mw = None
        self.error = None  # of the counter
        self.power_error = None
        self.silent = None  # of every question
        self.mig = None
        self.limit_mw = None  # the highest power limit
        self.architecture = 9
        self.capability = [9, 0]
        self.state = {}
        self.old_driver = False

    def refreshed_s(self, refresh_s):
        now_ns, step_ns = self.clock_ns(), round(refresh_s * 1e9)
        return now_ns // step_ns * step_ns / 1e9

    def energy_mj(self):
        if self.fixed_mj is not None:
            return self.fixed_mj
        t_s = self.refreshed_s(self.refresh_s)
        energy_j = self.curve.joules(0.0, t_s) + (self.cpu_w * t_s if self.counts == "module" else 0.0)
        return int(energy_j * 1000)

    def power_mw(self, kind, scope="gpu"):
        if self.fixed_mw is not None:
            return self.fixed_mw
        t_s = self.refreshed_s(self.power_refresh_s)
        power_w = self.curve.at(t_s) if kind == "instant" else self.curve.joules(t_s - 1.0, t_s)
        return round((power_w + (self.cpu_w if scope == "module" else 0.0)) * 1000)


class NVMLError(Exception):
    pass


def told(gpu, value):
    """Return an answer of a GPU that answers at all; None is what it does not say."""
    if gpu.silent is not None:
        raise NVMLError(gpu.silent)
    if value is None:
        raise NVMLError("Not Supported")
    return value


class Pynvml(types.ModuleType):
    """The module; fill its `gpus` before opening."""

    NVMLError = NVMLError
    NVML_SUCCESS = 0
    NVML_FI_DEV_POWER_INSTANT, NVML_FI_DEV_POWER_AVERAGE = 186, 185
    NVML_POWER_SCOPE_GPU, NVML_POWER_SCOPE_MODULE = 0, 1
    NVML_DEVICE_ARCH_AMPERE, NVML_DEVICE_ARCH_UNKNOWN = 7, 0xFFFFFFFF
    NVML_TEMPERATURE_GPU, NVML_CLOCK_SM, NVML_CLOCK_MEM = 0, 1, 2

    def __init__(self, clock_ns=time.perf_counter_ns):
        super().__init__("pynvml")
        self.clock_ns = clock_ns
        self.gpus = []
        self.shutdowns = 0

    def Gpu(self, *args, **kwargs):
        gpu = StubGpu(*args, **kwargs)
        gpu.clock_ns = self.clock_ns
        return gpu

    def nvmlInit(self):
        pass

    def nvmlShutdown(self):
        self.shutdowns += 1

    def nvmlSystemGetDriverVersion(self):
        return "stub driver"

    def nvmlSystemGetNVMLVersion(self):
        return "stub nvml"

    def nvmlDeviceGetCount(self):
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index):
        told(self.gpus[index], "")
        return self.gpus[index]

    def nvmlDeviceGetName(self, gpu):
        return told(gpu, gpu.name)

    def nvmlDeviceGetUUID(self, gpu):
        return told(gpu, gpu.uuid)

    def nvmlDeviceGetMigMode(self, gpu):
        return [told(gpu, gpu.mig)] * 2

    def nvmlDeviceGetArchitecture(self, gpu):
        return told(gpu, gpu.architecture)

    def nvmlDeviceGetCudaComputeCapability(self, gpu):
        return told(gpu, gpu.capability)

    def nvmlDeviceGetPowerManagementLimitConstraints(self, gpu):
        return [0, told(gpu, gpu.limit_mw)]

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu):
        if gpu.error is not None:
            raise NVMLError(gpu.error)
        return told(gpu, gpu.energy_mj())

    def nvmlDeviceGetFieldValues(self, gpu, asked):
        told(gpu, "")
        if gpu.power_error is not None:
            raise NVMLError(gpu.power_error)
        kinds, scopes = {186: "instant", 185: "average"}, {0: "gpu", 1: "module", 2: "memory"}
        return [self._field_value(gpu, kinds[field], scopes[scope]) for field, scope in asked]

    def _field_value(self, gpu, kind, scope):
        if (kind, scope) not in gpu.offers:
            return types.SimpleNamespace(nvmlReturn=NOT_SUPPORTED, valueType=0, value=None)
        value = types.SimpleNamespace(uiVal=gpu.power_mw(kind, scope), dVal=5e-320)
        return types.SimpleNamespace(nvmlReturn=self.NVML_SUCCESS, valueType=1, value=value)

    def nvmlDeviceGetPowerUsage(self, gpu):
        if gpu.power_error is not None:
            raise NVMLError(gpu.power_error)
        before_average = gpu.architecture < self.NVML_DEVICE_ARCH_AMPERE or gpu.capability == [8, 0]
        offered = ("usage", "gpu") in gpu.offers
        return told(gpu, gpu.power_mw("instant" if before_average else "average") if offered else None)

    def nvmlDeviceGetCurrentClocksEventReasons(self, gpu):
        return told(gpu, None if gpu.old_driver else gpu.state.get("reasons"))

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, gpu):
        return told(gpu, gpu.state.get("reasons"))

    def nvmlDeviceGetTemperatureV(self, gpu, sensor):
        return told(gpu, None if gpu.old_driver else gpu.state.get("celsius"))

    def nvmlDeviceGetTemperature(self, gpu, sensor):
        return told(gpu, gpu.state.get("celsius"))

    def nvmlDeviceGetClockInfo(self, gpu, kind):
        return told(gpu, gpu.state.get({1: "sm_mhz", 2: "memory_mhz"}[kind]))

    def nvmlDeviceGetEnforcedPowerLimit(self, gpu):
        return told(gpu, gpu.state.get("limit_mw"))
