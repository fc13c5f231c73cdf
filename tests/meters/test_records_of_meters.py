"""A record made with each meter says of every joule what it is and how far it may be out, and of the meter its test."""

import sys
import threading
import time
import types
from itertools import cycle

import pytest

from harness import stats, store
from harness.counters.rapl import open_source
from harness.errors import NotMeasured
from harness.meters.fake import FakeMeter
from harness.meters.modelled import ModelledMeter
from harness.meters.nvml import open_nvml
from harness.meters.plugins import codecarbon, loading, wall
from harness.meters.rapl import RaplMeter, open_rapl
from harness.meters.selftest import self_test
from harness.meters.window import MeterWindow
from harness.records import (
    Case,
    Missing,
    Ok,
    Phase,
    Provenance,
    Record,
    RunInfo,
    Window,
    WindowKind,
    WorkloadSpec,
)

FOREIGN = """
import time
from harness.records import Energy, MeterInfo, Provenance

class Meter:
    name, billed, doubts = "strange", frozenset({"board"}), ()
    def read(self): return time.perf_counter_ns()
    def energies(self, begin, end, *, duration_s, cpu_s):
        energy_j = 12.0 * (end - begin) / 1e9
        return (Energy(domain="board", energy_j=energy_j, low_j=0.9 * energy_j, high_j=1.1 * energy_j,
                       provenance=Provenance.COUNTER, boundary="a board", meter="strange"),), ()
    def info(self):
        return MeterInfo(name="strange", domains=("board",), provenance=Provenance.COUNTER, boundary="a board",
                         refresh_s=0.0)
    def close(self): pass

def open_meter(argument, device): return Meter(), ()
"""


@pytest.fixture
def repeating():
    """Return a function that calls another every few milliseconds until the test ends."""
    ended, threads = threading.Event(), []

    def start(call, period_s):
        def run():
            while not ended.wait(period_s):
                call()

        threads.append(threading.Thread(target=run))
        threads[-1].start()

    yield start
    ended.set()
    for thread in threads:
        thread.join()


@pytest.fixture
def rapl(powercap, repeating):
    """RAPL counters of a powercap tree, which draw 30 W and 5 W in steps of some milliseconds."""
    powercap.zone("intel-rapl:0", "package-0")
    powercap.zone("intel-rapl:0:0", "dram")
    last_s = [time.perf_counter()]

    def draw():
        now_s = time.perf_counter()
        powercap.add("intel-rapl:0", 30 * (now_s - last_s[0]))
        powercap.add("intel-rapl:0:0", 5 * (now_s - last_s[0]))
        last_s[0] = now_s

    repeating(draw, 0.002)
    return lambda: open_rapl(powercap.root, refresh_s=0.01)[0]


@pytest.fixture
def perf(power_pmu):
    def opened():
        power_pmu.describe(["energy-pkg"])
        source, gaps = open_source(power_pmu.root)
        if source is None:
            pytest.skip(gaps[0][1])
        return RaplMeter(source, refresh_s=0.001)

    return opened


@pytest.fixture
def gpu_counter(stub_nvml):
    stub_nvml.gpus = [stub_nvml.Gpu("GPU-a", refresh_s=0.005)]
    return lambda: open_nvml(watch_s=0.2)[0]


@pytest.fixture
def gpu_power(stub_nvml):
    gpu = stub_nvml.Gpu("GPU-a")
    gpu.error = "Not Supported"  # of the counter
    now_s = time.perf_counter()
    gpu.curve = type(gpu.curve)(*((now_s + 0.02 * step, 100.0 + step % 2) for step in range(2000)))
    stub_nvml.gpus = [gpu]
    return lambda: open_nvml(watch_s=0.5)[0]


@pytest.fixture
def wall_csv(tmp_path, repeating):
    path = tmp_path / "power.csv"
    path.write_text("time,power_w\n")

    flicker_w = cycle((80.0, 80.1))  # a value that never changes is that of a dead meter

    def log():
        with path.open("a") as file:
            file.write(f"{time.time():.6f},{next(flicker_w)}\n")

    repeating(log, 0.02)
    time.sleep(0.3)
    return lambda: wall.open_meter(str(path), None)[0]


@pytest.fixture
def foreign(tmp_path, monkeypatch):
    """A plug-in of another distribution, found through its entry point."""
    info = tmp_path / "site" / "stranger-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{loading.ENTRY_POINT_GROUP}]\nstrange = stranger_meter:open_meter\n")
    (tmp_path / "site" / "stranger_meter.py").write_text(FOREIGN)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    yield lambda: loading.load("strange")("", None)[0]
    sys.modules.pop("stranger_meter", None)


@pytest.fixture
def imported(monkeypatch):
    """A `codecarbon` whose totals run by the clock."""
    module = types.ModuleType("codecarbon")
    module.__version__ = "9.9.9"

    class OfflineEmissionsTracker:
        def __init__(self, **asked):
            self._conf = {"hardware": ["CPU(Cpu Load)"]}
            self._handler = asked["output_handlers"][0]

        def start(self):
            pass

        def get_detected_hardware(self):
            return {"gpu_count": 0}

        def flush(self):
            kwh = int(time.perf_counter() / 0.02) * 0.02 * 8 / 3.6e6
            self._handler.out(types.SimpleNamespace(cpu_energy=kwh, ram_energy=kwh, gpu_energy=0.0), None)

        def stop(self):
            pass

    module.OfflineEmissionsTracker = OfflineEmissionsTracker
    monkeypatch.setitem(sys.modules, "codecarbon", module)
    monkeypatch.setattr(codecarbon, "WATCH_S", 0.4)
    return lambda: codecarbon.open_meter("", None)[0]


@pytest.fixture
def modelled():
    return lambda: ModelledMeter("EPYC 3", billed=True)


@pytest.fixture
def fake():
    return lambda: FakeMeter(2.5)


def work(duration_s):
    end_s = time.perf_counter() + duration_s
    while time.perf_counter() < end_s:
        sum(range(1000))


def record_of(*opened, attribute=False, work_s=0.3):
    """Return the record of one case: one window over the meters, and the meters with their self-tests."""
    meters = MeterWindow(opened, infos=self_test(opened), attribute=attribute)
    try:
        begun = meters.begin()
        work(work_s)
        measured = meters.end(begun)
        infos = meters.infos()
    finally:
        meters.close()
    case = Case(workload=WorkloadSpec(name="any"), phase=Phase.INFER, technique="torch_eager", device="cpu", seed=1)
    return Record(
        run_id="run", case_id=case.case_id, case=case, outcome=Ok(), started_utc="2026-11-23T12:00:00Z",
        host_fingerprint="0" * 64, code_version="test", meters=infos,
        windows=(Window(kind=WindowKind.RUN, fork=0, tasks=1, measured=measured),),
    )  # fmt: skip


def stored(record, folder):
    """Return the record as it is read back from a results folder."""
    info = RunInfo(run_id="run", suite_name="any", suite_sha256="0" * 64, suite={}, host={}, host_fingerprint="0" * 64,
                   code_version="test", started_utc="2026-11-23T12:00:00Z", confidence=0.95, quality_margin=0.02,
                   case_ids=(record.case_id,))  # fmt: skip
    made = store.create_run(folder, info)
    store.append_record(made, record)
    (found,) = store.load_run(made).records
    return found


KINDS = {
    "rapl": ({"cpu-package", "dram"}, Provenance.COUNTER, "every process", True),
    "perf": ({"cpu-package"}, Provenance.COUNTER, "every process", True),
    "gpu_counter": ({"gpu0"}, Provenance.COUNTER, "board", True),
    "gpu_power": ({"gpu0"}, Provenance.INTEGRATED_POWER, "board", True),
    "wall_csv": ({"wall"}, Provenance.INTEGRATED_POWER, "whole machine", True),
    "foreign": ({"board"}, Provenance.COUNTER, "a board", True),
    "imported": ({"codecarbon-cpu", "codecarbon-ram"}, Provenance.IMPORTED, "codecarbon", False),
    "modelled": ({"cpu-process"}, Provenance.MODELLED, "model of this process tree", True),
    "fake": ({"fake"}, Provenance.FAKE, "no joules were measured", True),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_joule_says_what_drew_it_how_it_is_known_and_how_far_it_may_be_out(kind, request, tmp_path):
    domains, provenance, boundary, billed = KINDS[kind]
    record = record_of(request.getfixturevalue(kind)())
    measured = record.windows[0].measured
    assert not measured.missing
    shares = [energy for energy in measured.energies if energy.provenance is Provenance.ATTRIBUTED]
    assert not any(energy.billed for energy in shares)
    energies = [energy for energy in measured.energies if energy not in shares]
    assert {energy.domain for energy in energies} == domains
    for energy in energies:
        assert energy.energy_j > 0
        assert energy.provenance is provenance
        assert boundary in energy.boundary
        assert energy.billed is billed
        if provenance is not Provenance.FAKE:
            assert energy.low_j <= energy.energy_j <= energy.high_j
            assert energy.low_j < energy.high_j
    (info,) = record.meters
    assert (set(info.domains), info.provenance) == (domains, provenance)
    assert info.boundary
    assert info.read_cost_s > 0
    test = info.self_test
    assert test.monotonic, test.faults
    assert test.plausible, test.faults
    assert {power.domain for power in test.idle} == domains
    assert stored(record, tmp_path / "results") == record


@pytest.mark.parametrize("kind", [kind for kind, (*_, billed) in KINDS.items() if billed])
def test_the_total_of_one_meter_bears_its_provenance(kind, request):
    total = stats.energy_per_task(record_of(request.getfixturevalue(kind)()))
    assert total.label == KINDS[kind][1].value
    assert total.low_j <= total.energy_j <= total.high_j


def test_imported_joules_alone_are_no_total(imported):
    with pytest.raises(NotMeasured, match="no billed domain"):
        stats.energy_per_task(record_of(imported()))


def test_the_share_of_a_case_is_attributed_and_the_counter_it_is_a_share_of_is_kept_unbilled(rapl, tmp_path):
    record = record_of(rapl(), attribute=True, work_s=0.5)
    energies = {energy.domain: energy for energy in record.windows[0].measured.energies}
    share = energies["cpu-package-share"]
    assert share.provenance is Provenance.ATTRIBUTED
    assert share.billed
    assert share.low_j <= share.energy_j <= share.high_j <= energies["cpu-package"].high_j
    assert "share by CPU time" in share.boundary
    assert not energies["cpu-package"].billed
    assert stats.energy_per_task(record).label == "attributed"
    assert stored(record, tmp_path / "results") == record


def test_a_gpu_counter_beside_a_modelled_cpu_is_a_mixed_total_that_says_so(gpu_counter, modelled, tmp_path):
    record = record_of(modelled(), gpu_counter())
    total = stats.energy_per_task(record)
    assert total.mixed
    assert total.provenance is Provenance.MODELLED
    counted = next(energy for energy in record.windows[0].measured.energies if energy.domain == "gpu0")
    share = 100 * counted.energy_j / total.energy_j
    shown = f"{share:.0f}" if share < 99.5 else ">99"  # the CPU beside it is as busy as it is
    assert total.label.startswith(f"mixed: {shown} % counter, ")
    assert {info.name: info.self_test.plausible for info in record.meters} == {"modelled": True, "nvml": True}
    assert stored(record, tmp_path / "results") == record


def test_a_gpu_says_how_hot_it_is_at_both_edges_and_the_record_keeps_it(gpu_counter, tmp_path):
    record = stored(record_of(gpu_counter()), tmp_path / "results")
    states = record.windows[0].measured.states
    assert [(state.domain, state.edge) for state in states] == [("gpu0", "begin"), ("gpu0", "end")]


def test_a_meter_that_dies_in_the_window_leaves_a_reason_in_the_record_and_no_joule(stub_nvml, tmp_path):
    gpu = stub_nvml.Gpu("GPU-a", refresh_s=0.005)
    stub_nvml.gpus = [gpu]
    meter, _ = open_nvml(watch_s=0.2)
    window = MeterWindow([meter], infos=self_test([meter]))
    begun = window.begin()
    work(0.1)
    gpu.error = "GPU is lost"
    measured = window.end(begun)
    window.close()
    assert not measured.energies
    (gap,) = measured.missing
    assert isinstance(gap, Missing)
    assert gap.billed
    assert "GPU is lost" in gap.reason
