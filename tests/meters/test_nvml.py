"""NVML counters: a scripted `pynvml`, and the real one where there is a GPU."""

import time

import pytest

from harness.meters import nvml
from harness.records import Doubt, Provenance


def open_stub(watch_s=0.4):
    meter, missing = nvml.open_nvml(watch_s=watch_s)
    return meter, missing


def test_the_refresh_period_is_found_by_watching(stub_nvml):
    stub_nvml.gpus = [stub_nvml.Gpu("GPU-a", refresh_s=0.02)]
    meter, missing = open_stub()
    assert not missing
    info = meter.info()
    assert info.refresh_s == pytest.approx(0.02, rel=0.3)
    assert info.window_for_1_percent_s == pytest.approx(41 * info.refresh_s)
    assert meter.billed == {"gpu0"}


def test_a_window_gives_the_joules_of_each_gpu(stub_nvml):
    stub_nvml.gpus = [stub_nvml.Gpu("GPU-a", power_w=100), stub_nvml.Gpu("GPU-b", power_w=300)]
    meter, _ = open_stub()
    begin, start_s = meter.read(), time.perf_counter()
    time.sleep(0.2)
    end, duration_s = meter.read(), time.perf_counter() - start_s
    energies, missing = meter.energies(begin, end, duration_s=duration_s, cpu_s=0.0)
    assert not missing
    assert [e.domain for e in energies] == ["gpu0", "gpu1"]
    for energy, power_w in zip(energies, (100, 300), strict=True):
        assert energy.energy_j == pytest.approx(power_w * duration_s, abs=2 * power_w * 0.01)
        assert energy.provenance is Provenance.COUNTER


@pytest.mark.parametrize(
    ("after_mj", "words"),
    [(4_000, "backwards"), (5_000, "did not change"), (5_000 + 10**9, "implausibly")],
)
def test_a_reset_a_stale_and_an_impossible_counter_are_missing(stub_nvml, after_mj, words):
    gpu = stub_nvml.Gpu("GPU-a")
    stub_nvml.gpus = [gpu]
    meter, _ = open_stub()
    gpu.fixed_mj = 5_000
    begin = meter.read()
    gpu.fixed_mj = after_mj
    energies, missing = meter.energies(begin, meter.read(), duration_s=1.0, cpu_s=0.0)
    assert not energies
    assert missing[0].domain == "gpu0"
    assert words in missing[0].reason


def test_a_gpu_that_falls_off_the_bus_in_mid_window_is_missing(stub_nvml):
    gpu = stub_nvml.Gpu("GPU-a")
    stub_nvml.gpus = [gpu]
    meter, _ = open_stub()
    begin = meter.read()
    gpu.error = "GPU is lost"
    energies, missing = meter.energies(begin, meter.read(), duration_s=1.0, cpu_s=0.0)
    assert not energies
    assert "GPU is lost" in missing[0].reason


def test_old_gpus_mig_and_stuck_counters_are_missing_and_the_others_stay(stub_nvml):
    good, old, sliced, stuck = (stub_nvml.Gpu(f"GPU-{letter}") for letter in "abcd")
    old.error, sliced.mig, stuck.fixed_mj = "Not Supported", 1, 9_000
    good.mig = 0
    stub_nvml.gpus = [old, sliced, stuck, good]
    meter, missing = open_stub()
    assert meter.info().domains == ("gpu3",)
    reasons = {gap.domain: gap.reason for gap in missing}
    assert "no energy counter" in reasons["gpu0"]
    assert "planned" in reasons["gpu0"]
    assert "MIG" in reasons["gpu1"]
    assert "stood still" in reasons["gpu2"]


@pytest.mark.parametrize(
    ("asked", "uuids"),
    [
        ("1", ["GPU-bb"]),
        ("1,0", ["GPU-bb", "GPU-aa"]),
        ("GPU-b", ["GPU-bb"]),
        ("0,7,1", ["GPU-aa"]),
        (None, ["GPU-aa", "GPU-bb"]),
    ],
)
def test_visible_devices_are_honoured_in_cuda_order(stub_nvml, monkeypatch, asked, uuids):
    stub_nvml.gpus = [stub_nvml.Gpu("GPU-aa"), stub_nvml.Gpu("GPU-bb")]
    if asked is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", asked)
    meter, _ = open_stub()
    notes = meter.info().notes
    assert [note.rsplit(", ", 1)[1] for note in notes] == uuids
    assert [note.split(":")[0] for note in notes] == [f"gpu{place}" for place in range(len(uuids))]


@pytest.mark.parametrize(("asked", "words"), [("", "hides every GPU"), ("-1", "hides every GPU"), ("MIG-1", "MIG")])
def test_hidden_gpus_are_missing_with_the_variable_named(stub_nvml, monkeypatch, asked, words):
    stub_nvml.gpus = [stub_nvml.Gpu("GPU-aa")]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", asked)
    meter, missing = open_stub()
    assert meter is None
    assert "CUDA_VISIBLE_DEVICES" in missing[0].reason
    assert words in missing[0].reason
    assert stub_nvml.shutdowns == 1


def test_an_index_among_unlike_gpus_is_refused_because_cuda_orders_them_otherwise(stub_nvml, monkeypatch):
    stub_nvml.gpus = [stub_nvml.Gpu("GPU-a", name="small"), stub_nvml.Gpu("GPU-b", name="big")]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    meter, missing = open_stub()
    assert meter is None
    assert "PCI_BUS_ID" in missing[0].reason
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    meter, missing = open_stub()
    assert meter.info().domains == ("gpu0",)


def test_a_counter_seen_changing_once_has_no_refresh_and_no_window_is_long_enough(stub_nvml):
    gpu = stub_nvml.Gpu("GPU-a")
    values = iter([1000, 1000, 1000] + [2000] * 10**6)
    gpu.energy_mj = lambda: next(values)
    stub_nvml.gpus = [gpu]
    meter, _ = open_stub(watch_s=0.05)
    assert meter.info().refresh_s is None
    from harness.meters.window import MeterWindow

    window = MeterWindow([meter])
    assert Doubt.WINDOW_TOO_SHORT in window.end(window.begin()).doubts
    window.close()
    window.close()
    assert stub_nvml.shutdowns == 1


def test_without_a_driver_nothing_is_imported_and_the_reason_is_given(monkeypatch):
    monkeypatch.setattr(nvml, "driver_present", lambda: False)
    meter, missing = nvml.open_nvml()
    assert meter is None
    assert "NVIDIA driver library not found" in missing[0].reason


def test_a_driver_that_does_not_start_says_what_to_check(stub_nvml):
    def broken():
        raise stub_nvml.NVMLError("Driver/library version mismatch")

    stub_nvml.nvmlInit = broken
    meter, missing = nvml.open_nvml()
    assert meter is None
    assert "version mismatch" in missing[0].reason
    assert "nvidia-smi" in missing[0].reason


@pytest.mark.gpu
def test_a_real_gpu_draws_plausible_power():
    if not nvml.driver_present():
        pytest.skip("no NVIDIA driver on this machine")
    meter, missing = nvml.open_nvml()
    if meter is None:
        pytest.skip(f"no GPU with an energy counter: {missing[0].reason}")
    begin, start_s = meter.read(), time.perf_counter()
    time.sleep(max(1.0, 41 * (meter.info().refresh_s or 0.1)))
    end, duration_s = meter.read(), time.perf_counter() - start_s
    energies, lost = meter.energies(begin, end, duration_s=duration_s, cpu_s=0.0)
    meter.close()
    assert not lost
    assert all(3 < energy.energy_j / duration_s < nvml.CEILING_W for energy in energies)
