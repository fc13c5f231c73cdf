import importlib.util
import sys
from pathlib import Path

import pytest

TURN_UJ = 262_143_328_850  # what Intel servers with 61 µJ units report


class Clock:
    """A monotonic clock that moves only when the test says so."""

    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return round(self.now_s * 1e9)


class Powercap:
    """A powercap tree whose counters the test advances; the true joules are known. `root` stands for `/sys`."""

    def __init__(self, root):
        self.root = root
        self.raw_uj = {}
        self.turn_uj = {}

    def folder(self, name):
        return self.root / "class" / "powercap" / name

    def zone(self, name, label, raw_uj=1_000_000, turn_uj=TURN_UJ):
        folder = self.folder(name)
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{label}\n")
        (folder / "max_energy_range_uj").write_text(f"{turn_uj}\n")
        self.turn_uj[name] = turn_uj
        self.put(name, raw_uj)

    def put(self, name, raw_uj):
        self.raw_uj[name] = raw_uj
        path = self.folder(name) / "energy_uj"
        with path.open("r+" if path.exists() else "w") as file:  # in place, as sysfs: the open descriptor sees it
            file.write(f"{raw_uj:020d}\n")

    def add(self, name, energy_j):
        self.put(name, (self.raw_uj[name] + round(energy_j * 1e6)) % self.turn_uj[name])


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def powercap(tmp_path):
    return Powercap(tmp_path / "sys")


class PowerPmu:
    """The `power` PMU as sysfs describes it; unless told otherwise its events are CPU clocks: 1 J a second each."""

    def __init__(self, root):
        self.root = root
        self.folder = root / "bus" / "event_source" / "devices" / "power"

    def describe(self, events=("energy-pkg",), *, cpus="0", kind=1, config="event=0x00", scale="1e-9"):
        (self.folder / "events").mkdir(parents=True, exist_ok=True)
        (self.folder / "type").write_text(f"{kind}\n")
        (self.folder / "cpumask").write_text(f"{cpus}\n")
        for event in events:
            (self.folder / "events" / event).write_text(f"{config}\n")
            (self.folder / "events" / f"{event}.scale").write_text(f"{scale}\n")
            (self.folder / "events" / f"{event}.unit").write_text("Joules\n")

    def packages(self, *packages):
        for cpu, package in enumerate(packages):
            topology = self.root / "devices" / "system" / "cpu" / f"cpu{cpu}" / "topology"
            topology.mkdir(parents=True)
            (topology / "physical_package_id").write_text(f"{package}\n")


@pytest.fixture
def power_pmu(tmp_path):
    return PowerPmu(tmp_path / "sys")


def _loaded(name):
    """Load a helper that stands beside this file (test folders are no packages)."""
    spec = importlib.util.spec_from_file_location(f"joulebench_test_{name}", Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def nvml_stub():
    """The module that makes stand-ins for `pynvml`: `Curve`, `ScriptedTime`, `StubGpu`, `Pynvml`."""
    return _loaded("nvml_stub")


def _installed(monkeypatch, stub):
    from harness.meters.nvml import opening

    monkeypatch.setitem(sys.modules, "pynvml", stub)
    monkeypatch.setattr(opening, "driver_present", lambda: True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    return stub


@pytest.fixture
def stub_nvml(monkeypatch, nvml_stub):
    """A `pynvml` with GPUs that follow the real clock; fill `stub.gpus` before opening."""
    return _installed(monkeypatch, nvml_stub.Pynvml())


@pytest.fixture
def scripted_time(nvml_stub):
    """A clock that moves only when someone sleeps."""
    return nvml_stub.ScriptedTime()


@pytest.fixture
def scripted_nvml(monkeypatch, nvml_stub, scripted_time):
    """A `pynvml` with GPUs that follow `scripted_time`."""
    return _installed(monkeypatch, nvml_stub.Pynvml(scripted_time.clock_ns))


class ScriptedGpus:
    """Scripted GPUs with the meter that was opened on them; time passes only in `run`."""

    def __init__(self, nvml, time):
        self.nvml = nvml
        self.time = time
        self.meter = None
        self.missing = ()

    def open(self, *gpus, **options):
        from harness.meters.nvml.opening import Time, open_nvml

        self.nvml.gpus = list(gpus)
        clock = Time(self.time.clock_ns, self.time.sleep, background=False)
        self.meter, self.missing = open_nvml(clock=clock, **options)
        return self.meter

    def run(self, duration_s):
        """Let time pass; the powers are sampled as the thread would."""
        end_ns = self.time.now_ns + round(duration_s * 1e9)
        sampler = self.meter._source.sampler
        while sampler is not None and self.time.now_ns + round(sampler.period_s * 1e9) < end_ns:
            self.time.sleep(sampler.period_s)
            sampler.sample()
        self.time.now_ns = end_ns

    def window(self, duration_s, between=None):
        """Return energies by domain and reasons by domain over `duration_s`; `between` happens half way."""
        begin = self.meter.read()
        self.run(duration_s / 2)
        if between is not None:
            between()
        self.run(duration_s / 2)
        return self.interpreted(begin, self.meter.read(), duration_s)

    def interpreted(self, begin, end, duration_s):
        energies, missing = self.meter.energies(begin, end, duration_s=duration_s, cpu_s=0.0)
        return {energy.domain: energy for energy in energies}, {gap.domain: gap.reason for gap in missing}


@pytest.fixture
def gpus(scripted_nvml, scripted_time):
    return ScriptedGpus(scripted_nvml, scripted_time)
