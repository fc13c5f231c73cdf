"""zeus's numbers as a cross-check: a scripted `zeus` always, the real one where it is installed."""

import importlib
import importlib.util
import sys
import threading
import time
import types
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.meters.plugins import conformance, zeus
from harness.records import Provenance

TURN_UJ = 262_143_328_850


class ZeusBaseError(Exception):
    pass


class StubCpus:
    """Zones as zeus lists them: a package with memory, then psys, which zeus takes for another CPU."""

    def __init__(self):
        self.powers_w = [(20.0, 4.0), (50.0, None)]
        self.fixed_mj = {}
        self.error = None
        self.helper_alive = True
        tracker = types.SimpleNamespace(process=types.SimpleNamespace(is_alive=lambda: self.helper_alive))
        self.cpus = [
            types.SimpleNamespace(
                rapl_file=types.SimpleNamespace(name=name, wraparound_tracker=tracker),
                dram=None,
                supports_get_dram_energy_consumption=lambda with_dram=with_dram: with_dram,
            )
            for name, with_dram in (("package-0", True), ("psys", False))
        ]

    def __len__(self):
        return len(self.cpus)

    def get_total_energy_consumption(self, index):
        if self.error is not None:
            raise ZeusBaseError(self.error)
        ticks_s = int(time.perf_counter() / 0.005) * 0.005
        cpu_w, dram_w = self.powers_w[index]
        cpu_mj = self.fixed_mj.get(index, ticks_s * cpu_w * 1000)
        return types.SimpleNamespace(cpu_mj=cpu_mj, dram_mj=None if dram_w is None else ticks_s * dram_w * 1000)


class StubGpus:
    def __len__(self):
        return 2

    def get_name(self, index):
        return f"Stub {index}"

    def supports_get_total_energy_consumption(self, index):
        return index == 0

    def get_total_energy_consumption(self, index):
        return int(time.perf_counter() / 0.02) * 2000  # mJ: 100 W in steps of 20 ms


@pytest.fixture
def host(monkeypatch):
    def no_gpus():
        raise ZeusBaseError("NVML and AMDSMI unavailable.")

    state = types.SimpleNamespace(cpus=StubCpus())
    modules = {name: types.ModuleType(name) for name in ("zeus", "zeus.device", "zeus.exception")}
    modules["zeus"].__version__ = "9.9.9"
    modules["zeus.exception"].ZeusBaseError = ZeusBaseError
    modules["zeus.device"].get_cpus = lambda: state.cpus
    modules["zeus.device"].get_gpus = no_gpus
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(zeus, "WATCH_S", 0.3)
    return state


def window(meter, begin=None, pause_s=0.15):
    begin, start_s = begin or meter.read(), time.perf_counter()
    time.sleep(pause_s)
    end, lasted_s = meter.read(), time.perf_counter() - start_s
    energies, missing = meter.energies(begin, end, duration_s=lasted_s, cpu_s=0.0)
    return {energy.domain: energy for energy in energies}, {gap.domain: gap for gap in missing}, lasted_s


def test_zeus_is_imported_and_never_billed(host):
    meter, missing = zeus.open_meter("", None)
    assert {gap.domain for gap in missing} == {"zeus-gpu"}
    assert not any(gap.billed for gap in missing)
    assert not meter.billed
    assert not conformance.violations(meter)
    energies, lost, lasted_s = window(meter)
    assert not lost
    assert energies["zeus-cpu0"].energy_j == pytest.approx(20 * lasted_s, abs=2 * 20 * 0.005)
    assert energies["zeus-dram0"].energy_j == pytest.approx(4 * lasted_s, abs=2 * 4 * 0.005)
    assert all(energy.provenance is Provenance.IMPORTED and not energy.billed for energy in energies.values())
    assert meter.info().coefficients == "zeus 9.9.9"


def test_the_platform_zone_that_zeus_takes_for_a_cpu_is_labelled(host):
    meter, _ = zeus.open_meter("", None)
    assert any("zeus-cpu1" in note and "psys" in note for note in meter.info().notes)


def test_windows_nest_and_overlap_because_the_totals_run_on(host):
    meter, _ = zeus.open_meter("", None)
    outer = meter.read()
    first, _, _ = window(meter)
    second, _, _ = window(meter)
    energies, _ = meter.energies(outer, meter.read(), duration_s=0.3, cpu_s=0.0)
    whole_j = {energy.domain: energy.energy_j for energy in energies}
    parts_j = first["zeus-cpu0"].energy_j + second["zeus-cpu0"].energy_j
    assert whole_j["zeus-cpu0"] == pytest.approx(parts_j, abs=2 * 20 * 0.005)


@pytest.mark.parametrize(
    ("after_uj", "words"), [(1000 - TURN_UJ, "backwards by 262143"), (1000 + TURN_UJ, "implausibly")]
)
def test_a_turn_that_its_helper_counts_too_late_is_refused_in_both_directions(host, after_uj, words):
    meter, _ = zeus.open_meter("", None)
    host.cpus.fixed_mj[0] = 1.0
    begin = meter.read()
    host.cpus.fixed_mj[0] = after_uj / 1000
    energies, missing = meter.energies(begin, meter.read(), duration_s=1.0, cpu_s=0.0)
    assert "zeus-cpu0" not in {energy.domain for energy in energies}
    assert words in {gap.domain: gap.reason for gap in missing}["zeus-cpu0"]


def test_without_its_helper_turns_are_lost_so_the_reading_is_refused(host):
    meter, _ = zeus.open_meter("", None)
    host.cpus.helper_alive = False
    energies, lost, _ = window(meter)
    assert not energies
    assert "__main__" in lost["zeus-cpu0"].reason


def test_an_error_of_zeus_in_mid_window_is_missing(host):
    meter, _ = zeus.open_meter("", None)
    begin = meter.read()
    host.cpus.error = "Permission denied"
    energies, lost, _ = window(meter, begin)
    assert not energies
    assert "Permission denied" in lost["zeus-cpu0"].reason


def test_gpus_have_zeus_names_and_those_it_would_poll_are_missing(host, monkeypatch):
    monkeypatch.setattr(sys.modules["zeus.device"], "get_gpus", StubGpus)
    meter, missing = zeus.open_meter("", None)
    assert "zeus-gpu0" in meter.channels
    assert [gap.domain for gap in missing] == ["zeus-gpu1"]
    assert "helper process" in missing[0].reason
    energies, _, lasted_s = window(meter)
    assert energies["zeus-gpu0"].energy_j == pytest.approx(100 * lasted_s, abs=2 * 100 * 0.02)


def test_where_zeus_reads_nothing_there_is_no_meter(host, monkeypatch):
    def no_cpus():
        raise ZeusBaseError("RAPL unavailable")

    monkeypatch.setattr(sys.modules["zeus.device"], "get_cpus", no_cpus)
    meter, missing = zeus.open_meter("", None)
    assert meter is None
    assert {gap.domain for gap in missing} == {"zeus-cpu", "zeus-gpu"}
    assert all(gap.reason for gap in missing)


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "zeus", None)
    meter, missing = zeus.open_meter("", None)
    assert meter is None
    assert "joulebench[zeus]" in missing[0].reason


def test_an_argument_is_refused():
    with pytest.raises(UsageError, match="takes no argument"):
        zeus.open_meter("gpu", None)


needs_zeus = pytest.mark.skipif(importlib.util.find_spec("zeus") is None, reason="needs the extra zeus")


@pytest.fixture
def powercap(tmp_path, monkeypatch):
    """The real zeus before a powercap tree whose package draws 40 W and whose memory draws 5 W."""
    rapl = importlib.import_module("zeus.device.cpu.rapl")
    cpu = importlib.import_module("zeus.device.cpu")
    root = tmp_path / "intel-rapl"
    files = {}
    for folder, label in (("intel-rapl:0", "package-0"), ("intel-rapl:0/intel-rapl:0:0", "dram")):
        (root / folder).mkdir(parents=True)
        (root / folder / "name").write_text(f"{label}\n")
        (root / folder / "max_energy_range_uj").write_text(f"{TURN_UJ}\n")
        files[label] = root / folder / "energy_uj"
    state = types.SimpleNamespace(offset_uj=0, ended=threading.Event())

    def write():
        now_s = time.perf_counter()
        for label, power_w in (("package-0", 40), ("dram", 5)):
            new = files[label].with_suffix(".new")
            new.write_text(f"{int((now_s * power_w * 1e6 + state.offset_uj) % TURN_UJ)}\n")
            new.replace(files[label])

    def tick():
        while not state.ended.wait(0.002):
            write()

    write()
    monkeypatch.setattr(rapl, "RAPL_DIR", str(root))
    monkeypatch.setattr(cpu, "_cpus", None)
    rapl.rapl_is_available.cache_clear()
    thread = threading.Thread(target=tick)
    thread.start()
    yield state
    state.ended.set()
    thread.join()
    for zone in cpu._cpus.cpus if cpu._cpus is not None else ():
        for file in (zone.rapl_file, zone.dram):
            file.wraparound_tracker._stop()
    rapl.rapl_is_available.cache_clear()


@needs_zeus
def test_the_real_zeus_reads_a_powercap_tree_and_its_late_turn_is_refused(powercap):
    meter, _ = zeus.open_meter("", None)
    assert not conformance.violations(meter)
    energies, lost, lasted_s = window(meter, pause_s=0.5)
    assert not lost
    assert energies["zeus-cpu0"].energy_j == pytest.approx(40 * lasted_s, rel=0.1)
    assert energies["zeus-dram0"].energy_j == pytest.approx(5 * lasted_s, rel=0.1)
    begin, start_s = meter.read(), time.perf_counter()
    before_uj = int(begin[meter.channels.index("zeus-cpu0")])
    powercap.offset_uj = TURN_UJ - before_uj % TURN_UJ  # the package turns over now; the helper looks once a second
    time.sleep(0.1)
    duration_s = time.perf_counter() - start_s
    energies, missing = meter.energies(begin, meter.read(), duration_s=duration_s, cpu_s=0.0)
    assert "zeus-cpu0" not in {energy.domain for energy in energies}
    (gap,) = [gap for gap in missing if gap.domain == "zeus-cpu0"]
    assert "backwards by" in gap.reason, "zeus takes a whole turn away"


@needs_zeus
def test_the_real_zeus_refuses_a_host_without_counters():
    if any(Path(path).exists() for path in ("/sys/class/powercap/intel-rapl", "/dev/nvidiactl", "/dev/kfd")):
        pytest.skip("this host may have counters")
    meter, missing = zeus.open_meter("", None)
    assert meter is None
    assert {gap.domain for gap in missing} == {"zeus-cpu", "zeus-gpu"}
