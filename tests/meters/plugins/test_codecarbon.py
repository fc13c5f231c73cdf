"""codecarbon's numbers as a cross-check: a scripted `codecarbon` always, the real one where it is installed."""

import importlib.util
import logging
import socket
import sys
import threading
import time
import types

import pytest

from harness.errors import UsageError
from harness.meters.plugins import codecarbon, conformance
from harness.records import Provenance

POWERS_W = {"cpu_energy": 8.0, "ram_energy": 20.0, "gpu_energy": 0.0}


@pytest.fixture
def stub(monkeypatch):
    """A tracker whose totals run by the clock; like the real one it keeps its errors to itself."""
    module = types.ModuleType("codecarbon")
    module.__version__ = "9.9.9"
    module.state = types.SimpleNamespace(
        powers_w=dict(POWERS_W), broken=False, gpus=0, flushes=0, inside=0, stops=0, asked={}
    )

    class OfflineEmissionsTracker:
        def __init__(self, **asked):
            module.state.asked = asked
            self._conf = {"hardware": ["RAM", "CPU(Cpu Load)"]}
            self._last_s = 0.0

        def start(self):
            logging.getLogger("codecarbon").warning("No CPU tracking mode found.")

        def get_detected_hardware(self):
            return {"gpu_count": module.state.gpus}

        def stop(self):
            module.state.stops += 1

        def flush(self):
            state = module.state
            state.flushes += 1
            state.inside += 1
            assert state.inside == 1, "codecarbon is not safe from two threads at once"
            now_s = time.perf_counter()
            if now_s - self._last_s >= 0.05:
                self._last_s = now_s
            totals = {field: watts * self._last_s / 3.6e6 for field, watts in state.powers_w.items()}
            if not state.broken:
                asked_handler = state.asked["output_handlers"][0]
                asked_handler.out(types.SimpleNamespace(**totals), None)
            state.inside -= 1

    module.OfflineEmissionsTracker = OfflineEmissionsTracker
    monkeypatch.setitem(sys.modules, "codecarbon", module)
    monkeypatch.setattr(codecarbon, "WATCH_S", 0.4)
    return module.state


@pytest.fixture
def meter(stub):
    opened, _ = codecarbon.open_meter("", None)
    yield opened
    opened.close()


def window(meter, pause_s=0.3):
    begin, start_s = meter.read(), time.perf_counter()
    time.sleep(pause_s)
    end, lasted_s = meter.read(), time.perf_counter() - start_s
    energies, missing = meter.energies(begin, end, duration_s=lasted_s, cpu_s=0.0)
    return {energy.domain: energy for energy in energies}, {gap.domain: gap for gap in missing}, lasted_s


def test_codecarbon_is_imported_and_never_billed(meter):
    assert not meter.billed
    assert not conformance.violations(meter)
    energies, lost, lasted_s = window(meter)
    assert not lost
    for domain, watts in (("codecarbon-cpu", 8.0), ("codecarbon-ram", 20.0)):
        energy = energies[domain]
        assert energy.low_j <= watts * lasted_s <= energy.high_j
        assert energy.provenance is Provenance.IMPORTED
        assert not energy.billed


def test_its_refresh_is_the_interval_in_which_it_does_not_measure_again(meter):
    assert meter.info().refresh_s == pytest.approx(0.05, abs=0.03)
    _, lost, _ = window(meter, pause_s=0.01)
    assert all("refreshes" in gap.reason and not gap.billed for gap in lost.values())


def test_what_it_set_up_is_in_the_notes_because_its_results_do_not_say(meter):
    assert any("CPU(Cpu Load)" in note for note in meter.info().notes)
    assert meter.info().coefficients == "codecarbon 9.9.9, machine mode"


@pytest.mark.parametrize(("gpus", "words"), [(0, "no GPU"), (1, "stood still")])
def test_a_part_that_it_does_not_follow_or_that_never_counts_is_missing_and_not_zero(stub, gpus, words):
    stub.gpus = gpus
    meter, missing = codecarbon.open_meter("", None)
    meter.close()
    assert [gap.domain for gap in missing] == ["codecarbon-gpu"]
    assert words in missing[0].reason
    assert "codecarbon-gpu" not in meter.channels


def test_it_is_asked_for_no_network_no_file_no_log_and_no_timer_of_its_own(stub, capfd):
    meter, _ = codecarbon.open_meter("process", None)
    meter.close()
    assert stub.asked["output_methods"] == []
    assert stub.asked["emissions_endpoint"] is None
    assert stub.asked["electricitymaps_api_token"] is None
    assert stub.asked["force_carbon_intensity_g_co2e_kwh"] == 0.0
    assert stub.asked["allow_multiple_runs"]
    assert stub.asked["tracking_mode"] == "process"
    assert stub.asked["measure_power_secs"] > 1e7
    assert capfd.readouterr() == ("", "")


def test_it_is_flushed_every_period_and_never_by_two_threads_at_once(stub, monkeypatch):
    monkeypatch.setattr(codecarbon, "PERIOD_S", 0.01)
    meter, _ = codecarbon.open_meter("", None)
    before = stub.flushes
    threads = [threading.Thread(target=lambda: [meter.read() for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    time.sleep(0.1)
    meter.close()
    assert stub.flushes > before + 4 * 50
    assert not any(thread.name == "joulebench-codecarbon" for thread in threading.enumerate())
    meter.close()
    assert stub.stops == 1


def test_errors_that_it_swallows_are_missing(stub, meter):
    begin = meter.read()
    stub.broken = True
    energies, missing = meter.energies(begin, meter.read(), duration_s=1.0, cpu_s=0.0)
    assert not energies
    assert all("gave no numbers" in gap.reason for gap in missing)


def test_a_tracker_that_never_gives_a_number_is_refused_and_stopped(stub):
    stub.broken = True
    meter, missing = codecarbon.open_meter("", None)
    assert meter is None
    assert "gave no numbers" in missing[0].reason
    assert stub.stops == 1


def test_an_unknown_mode_is_refused_with_the_valid_ones(stub):
    with pytest.raises(UsageError, match="machine or process"):
        codecarbon.open_meter("thread", None)


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "codecarbon", None)
    meter, missing = codecarbon.open_meter("", None)
    assert meter is None
    assert "joulebench[codecarbon]" in missing[0].reason


needs_codecarbon = pytest.mark.skipif(
    importlib.util.find_spec("codecarbon") is None, reason="needs the extra codecarbon"
)


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """An empty home and working folder, a hostile configuration, and no network."""

    def refuse(*_):
        raise AssertionError("codecarbon asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CODECARBON_FORCE_CPU_POWER", "9999")
    monkeypatch.setenv("CODECARBON_PUE", "3")
    monkeypatch.setenv("CODECARBON_SAVE_TO_API", "true")
    monkeypatch.setenv("CODECARBON_CO2_SIGNAL_API_TOKEN", "none")
    monkeypatch.setenv("CODECARBON_LOG_LEVEL", "debug")
    return tmp_path


@needs_codecarbon
@pytest.mark.parametrize("mode", ["machine", "process"])
def test_the_real_codecarbon_measures_nested_windows_offline_in_silence_and_leaves_nothing(nowhere, capfd, mode):
    before = {thread.name for thread in threading.enumerate()}
    meter, _ = codecarbon.open_meter(mode, None)
    assert not conformance.violations(meter)
    assert any("RAM" in note for note in meter.info().notes)
    outer, start_s = meter.read(), time.perf_counter()
    parts = []
    for _ in range(2):
        spun_s = time.process_time() + 0.8
        inner, inner_s = meter.read(), time.perf_counter()
        while time.process_time() < spun_s:
            pass
        end, lasted_s = meter.read(), time.perf_counter() - inner_s
        energies, missing = meter.energies(inner, end, duration_s=lasted_s, cpu_s=0.8)
        assert not conformance.window_violations(meter, energies, missing, duration_s=lasted_s)
        assert not missing
        parts.append({energy.domain: energy for energy in energies})
    whole, lost = meter.energies(outer, meter.read(), duration_s=time.perf_counter() - start_s, cpu_s=1.6)
    meter.close()
    assert not lost
    assert "codecarbon-cpu" in meter.channels
    for energy in whole:
        inner_j = sum(part[energy.domain].energy_j for part in parts)
        assert 0 < inner_j <= energy.energy_j * 1.001
        assert energy.energy_j < 500, "neither the forced watts nor the factor of the configuration are in it"
    assert not list(nowhere.iterdir())
    assert capfd.readouterr() == ("", "")
    assert {thread.name for thread in threading.enumerate() if thread.is_alive()} <= before
