"""NVML counters: scripted GPUs behind a stand-in for `pynvml`, and the real one where there is a GPU."""

import subprocess
import sys
import time

import pytest

from harness.meters.nvml import open_nvml, opening
from harness.meters.nvml.devices import CEILING_W, choose, driver_present
from harness.meters.window import MeterWindow
from harness.records import Doubt, Provenance


def test_the_refresh_period_is_found_by_watching(gpus):
    meter = gpus.open(gpus.nvml.Gpu("GPU-a", refresh_s=0.02))
    assert not gpus.missing
    info = meter.info()
    assert info.refresh_s == pytest.approx(0.02, rel=0.05)
    assert info.window_for_1_percent_s == pytest.approx(41 * info.refresh_s)
    assert info.provenance is Provenance.COUNTER
    assert meter.billed == {"gpu0"}


def test_a_window_gives_the_joules_of_each_gpu_within_its_bounds(gpus):
    gpus.open(gpus.nvml.Gpu("GPU-a", power_w=100), gpus.nvml.Gpu("GPU-b", power_w=300, refresh_s=0.1))
    energies, missing = gpus.window(2.0345)
    assert not missing
    for domain, power_w in (("gpu0", 100), ("gpu1", 300)):
        energy = energies[domain]
        assert energy.provenance is Provenance.COUNTER
        assert "board" in energy.boundary
        assert energy.low_j <= power_w * 2.0345 <= energy.high_j
    assert energies["gpu1"].high_j - energies["gpu1"].low_j == pytest.approx(2 * 300 * 0.1, rel=0.1)


def test_the_weakest_refresh_is_the_meters(gpus):
    meter = gpus.open(gpus.nvml.Gpu("GPU-a", refresh_s=0.02), gpus.nvml.Gpu("GPU-b", refresh_s=0.1))
    assert meter.info().refresh_s == pytest.approx(0.1, rel=0.05)


def test_a_window_of_fewer_than_three_refreshes_is_refused(gpus):
    gpus.open(gpus.nvml.Gpu("GPU-a", refresh_s=0.1))
    energies, missing = gpus.window(0.25)
    assert not energies
    assert "put more tasks into one window" in missing["gpu0"]


@pytest.mark.parametrize(
    ("after_mj", "words"),
    [(4_000, "backwards"), (5_000, "stale"), (5_000 + 10**9, "implausibly"), (0, "backwards")],
)
def test_a_reset_a_stale_and_an_impossible_counter_are_missing(gpus, after_mj, words):
    gpu = gpus.nvml.Gpu("GPU-a")
    gpus.open(gpu)
    gpu.fixed_mj = 5_000
    energies, missing = gpus.window(1.0, between=lambda: setattr(gpu, "fixed_mj", after_mj))
    assert not energies
    assert words in missing["gpu0"]


def test_twice_the_highest_power_limit_is_implausible(gpus):
    gpu = gpus.nvml.Gpu("GPU-a")
    gpu.limit_mw = 350_000
    gpus.open(gpu)
    gpu.fixed_mj = 0
    _, missing = gpus.window(1.0, between=lambda: setattr(gpu, "fixed_mj", 800_000))
    assert "ceiling of 700 W" in missing["gpu0"]


def test_a_gpu_that_falls_off_the_bus_in_mid_window_is_missing_and_the_others_stay(gpus):
    lost, good = gpus.nvml.Gpu("GPU-a"), gpus.nvml.Gpu("GPU-b")
    gpus.open(lost, good)
    energies, missing = gpus.window(1.0, between=lambda: setattr(lost, "silent", "GPU is lost"))
    assert energies.keys() == {"gpu1"}
    assert "GPU is lost" in missing["gpu0"]


def test_a_gpu_that_does_not_answer_at_opening_keeps_its_place(gpus):
    lost, good = gpus.nvml.Gpu("GPU-a"), gpus.nvml.Gpu("GPU-b")
    lost.silent = "GPU requires restart"
    meter = gpus.open(lost, good)
    assert meter.info().domains == ("gpu1",)
    assert [gap.domain for gap in gpus.missing] == ["gpu0"]
    assert "requires restart" in gpus.missing[0].reason


def test_a_board_cut_into_mig_slices_is_refused_and_a_whole_one_is_not(gpus):
    sliced, whole = gpus.nvml.Gpu("GPU-a"), gpus.nvml.Gpu("GPU-b")
    sliced.mig, whole.mig = 1, 0
    meter = gpus.open(sliced, whole)
    assert meter.info().domains == ("gpu1",)
    assert "MIG is enabled" in gpus.missing[0].reason
    assert "neighbours" in gpus.missing[0].reason


def test_a_gpu_with_neither_counter_nor_power_is_missing_with_both_reasons(gpus):
    gpu = gpus.nvml.Gpu("GPU-a")
    gpu.error, gpu.offers = "Not Supported", set()
    assert gpus.open(gpu) is None
    assert "no energy counter (Not Supported" in gpus.missing[0].reason
    assert "no power reading answers either" in gpus.missing[0].reason
    assert gpus.nvml.shutdowns == 1


@pytest.mark.parametrize(
    ("asked", "uuids"),
    [
        ("1", ["GPU-bb"]),
        ("1,0", ["GPU-bb", "GPU-aa"]),
        ("GPU-b", ["GPU-bb"]),
        ("GPU-bb,GPU-aa", ["GPU-bb", "GPU-aa"]),
        ("0,7,1", ["GPU-aa"]),
        ("0,-1,1", ["GPU-aa"]),
        (None, ["GPU-aa", "GPU-bb"]),
    ],
)
def test_visible_devices_are_honoured_in_cuda_order(gpus, monkeypatch, asked, uuids):
    if asked is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", asked)
    meter = gpus.open(gpus.nvml.Gpu("GPU-aa"), gpus.nvml.Gpu("GPU-bb"))
    named = [note for note in meter.info().notes if ", GPU-" in note]
    assert named == [f"gpu{place}: Stub 100, {uuid}" for place, uuid in enumerate(uuids)]


@pytest.mark.parametrize(
    ("asked", "words"),
    [("", "hides every GPU"), ("-1", "hides every GPU"), ("0,0", "hides every GPU"), ("MIG-1", "MIG")],
)
def test_hidden_gpus_are_missing_with_the_variable_named(gpus, monkeypatch, asked, words):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", asked)
    assert gpus.open(gpus.nvml.Gpu("GPU-aa")) is None
    assert "CUDA_VISIBLE_DEVICES" in gpus.missing[0].reason
    assert words in gpus.missing[0].reason
    assert gpus.nvml.shutdowns == 1


def test_odd_entries_end_the_list_and_an_ambiguous_prefix_names_nothing():
    uuids = ["GPU-aa", "GPU-ab"]
    assert choose(["0", "²", "1"], uuids) == [0]
    assert choose(["GPU-a"], uuids) == []
    assert choose(["GPU-ab", "1"], uuids) == []


def test_an_index_among_unlike_gpus_is_refused_because_cuda_orders_them_otherwise(gpus, monkeypatch):
    unlike = gpus.nvml.Gpu("GPU-a", name="small"), gpus.nvml.Gpu("GPU-b", name="big")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert gpus.open(*unlike) is None
    assert "PCI_BUS_ID" in gpus.missing[0].reason
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    assert gpus.open(*unlike).info().domains == ("gpu0",)


def test_unlike_gpus_that_nobody_chose_are_all_metered_and_the_order_is_doubted(gpus):
    meter = gpus.open(gpus.nvml.Gpu("GPU-a", name="small"), gpus.nvml.Gpu("GPU-b", name="big"))
    assert meter.info().domains == ("gpu0", "gpu1")
    assert any("may differ from CUDA's" in note for note in meter.info().notes)


def test_a_counter_seen_changing_once_has_no_refresh_and_no_window_is_long_enough(gpus):
    gpu = gpus.nvml.Gpu("GPU-a")
    values = iter([1000, 1000, 1000] + [2000] * 10**6)
    gpu.energy_mj = lambda: next(values)
    meter = gpus.open(gpu, watch_s=0.05)
    assert meter.info().refresh_s is None
    window = MeterWindow([meter])
    assert Doubt.WINDOW_TOO_SHORT in window.end(window.begin()).doubts
    window.close()
    window.close()
    assert gpus.nvml.shutdowns == 1


def test_a_superchip_says_whether_its_counter_holds_the_cpu(gpus):
    gpu, module, unclear, plain = (gpus.nvml.Gpu(f"GPU-{letter}", power_w=80) for letter in "abcd")
    for chip in (gpu, module, unclear):
        chip.offers |= {("instant", "module"), ("average", "module")}
        chip.cpu_w = 150.0
    module.counts = "module"
    unclear.energy_mj = lambda: int(unclear.refreshed_s(0.01) * 140_000)  # between the two
    meter = gpus.open(gpu, module, unclear, plain)
    boundaries = [view.boundary for view in meter.views]
    assert "GPU board" in boundaries[0]
    assert boundaries[3] == boundaries[0]
    assert boundaries[1].startswith("module, not the board")
    assert "does not say which" in boundaries[2]
    warned = [note.split(":")[0] for note in meter.info().notes if "do not add a CPU domain" in note]
    assert warned == ["gpu1", "gpu2"]
    energies, missing = gpus.window(2.0)
    assert not missing
    assert energies["gpu1"].energy_j == pytest.approx(460, rel=0.02)


def test_without_a_driver_nothing_is_imported_and_the_reason_is_given(monkeypatch):
    monkeypatch.setattr(opening, "driver_present", lambda: False)
    meter, missing = open_nvml()
    assert meter is None
    assert "NVIDIA driver library not found" in missing[0].reason


def test_importing_the_meter_loads_no_pynvml():
    code = "import sys, harness.meters.nvml; print('pynvml' in sys.modules, 'ctypes' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split()[0] == "False"


def test_a_driver_that_does_not_start_says_what_to_check(scripted_nvml):
    def broken():
        raise scripted_nvml.NVMLError("Driver/library version mismatch")

    scripted_nvml.nvmlInit = broken
    meter, missing = open_nvml()
    assert meter is None
    assert "version mismatch" in missing[0].reason
    assert "nvidia-smi" in missing[0].reason


def test_a_driver_that_cannot_be_shut_down_does_not_stop_the_close(gpus):
    def broken():
        raise gpus.nvml.NVMLError("Driver Not Loaded")

    meter = gpus.open(gpus.nvml.Gpu("GPU-a"))
    gpus.nvml.nvmlShutdown = broken
    meter.close()


def test_the_stand_in_has_only_names_that_pynvml_has(nvml_stub):
    import pynvml

    ours = {name for name in dir(nvml_stub.Pynvml) if name.startswith(("nvml", "NVML"))}
    assert ours
    assert [name for name in ours if not hasattr(pynvml, name)] == []
    for name in ("NVML_FI_DEV_POWER_INSTANT", "NVML_POWER_SCOPE_MODULE", "NVML_CLOCK_MEM", "NVML_DEVICE_ARCH_AMPERE"):
        assert getattr(nvml_stub.Pynvml, name) == getattr(pynvml, name)


@pytest.mark.gpu
def test_a_real_gpu_draws_plausible_power_by_counter_and_by_integral():
    if not driver_present():
        pytest.skip("no NVIDIA driver on this machine")
    meter, missing = open_nvml(also_power=True)
    if meter is None:
        pytest.skip(f"no GPU that can be metered: {missing[0].reason}")
    begin, start_s = meter.read(), time.perf_counter()
    time.sleep(max(5.0, 41 * (meter.info().refresh_s or 0.1)))
    end, duration_s = meter.read(), time.perf_counter() - start_s
    energies, lost = meter.energies(begin, end, duration_s=duration_s, cpu_s=0.0)
    states = meter.states("end")
    meter.close()
    assert not lost
    assert all(3 < energy.energy_j / duration_s < CEILING_W for energy in energies)
    assert all(state.temperature_c is not None for state in states)
