"""AMD SMI counters: a scripted `amdsmi`, because neither ROCm nor an AMD GPU is at hand."""

import sys
import time
import types

import pytest

from harness.errors import UsageError
from harness.meters.plugins import amd, conformance
from harness.records import Provenance

UNIT_UJ = 15.300000190734863  # the float32 that Instinct cards report


class StubGpu:
    """A GPU whose accumulator steps every `refresh_s` by the clock, unless the test sets `fixed`."""

    def __init__(self, hip_id, uuid, name="Stub MI300", power_w=100.0, refresh_s=0.01):
        self.hip_id, self.uuid, self.name = hip_id, uuid, name
        self.power_w, self.refresh_s = power_w, refresh_s
        self.fixed = self.error = None
        self.partition = "SPX"
        self.unit_uj = UNIT_UJ

    def count(self):
        if self.fixed is not None:
            return self.fixed
        steps = int(time.perf_counter() / self.refresh_s)
        return int(steps * self.refresh_s * self.power_w * 1e6 / UNIT_UJ)


@pytest.fixture
def amdsmi(monkeypatch):
    """An `amdsmi` with scripted GPUs; fill `stub.gpus` before opening."""
    stub = types.ModuleType("amdsmi")

    class AmdSmiException(Exception):
        pass

    def energy(gpu):
        if gpu.error is not None:
            raise AmdSmiException(f"Error code:\n\t2 | {gpu.error}")
        return {"energy_accumulator": gpu.count(), "counter_resolution": gpu.unit_uj, "timestamp": 1}

    def partition(gpu):
        if gpu.partition is None:
            raise AmdSmiException("AMDSMI_STATUS_NOT_SUPPORTED")
        return gpu.partition

    stub.AmdSmiException = AmdSmiException
    stub.AmdSmiInitFlags = types.SimpleNamespace(INIT_AMD_GPUS=2)
    stub.gpus, stub.inits, stub.shutdowns = [], [], []
    stub.amdsmi_init = stub.inits.append
    stub.amdsmi_shut_down = lambda: stub.shutdowns.append(1)
    stub.amdsmi_get_processor_handles = lambda: stub.gpus
    stub.amdsmi_get_gpu_asic_info = lambda gpu: {"market_name": gpu.name}
    stub.amdsmi_get_gpu_enumeration_info = lambda gpu: {"hip_id": gpu.hip_id, "hip_uuid": gpu.uuid}
    stub.amdsmi_get_gpu_compute_partition = partition
    stub.amdsmi_get_energy_count = energy
    monkeypatch.setitem(sys.modules, "amdsmi", stub)
    monkeypatch.setattr(amd, "WATCH_S", 0.2)
    for variable in ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"):
        monkeypatch.delenv(variable, raising=False)
    return stub


def test_a_window_gives_the_joules_of_each_gpu_with_the_refresh_seen_at_opening(amdsmi):
    amdsmi.gpus = [StubGpu(0, "GPU-a", power_w=100), StubGpu(1, "GPU-b", power_w=300)]
    meter, missing = amd.open_meter("", "cuda")
    assert not missing
    assert meter.info().refresh_s == pytest.approx(0.01, rel=0.5)
    assert meter.billed == {"gpu0", "gpu1"}
    begin, start_s = meter.read(), time.perf_counter()
    time.sleep(0.2)
    end, duration_s = meter.read(), time.perf_counter() - start_s
    energies, lost = meter.energies(begin, end, duration_s=duration_s, cpu_s=0.0)
    assert not lost
    for energy, power_w in zip(energies, (100, 300), strict=True):
        assert energy.energy_j == pytest.approx(power_w * duration_s, abs=2 * power_w * 0.01)
        assert energy.low_j < energy.energy_j < energy.high_j
        assert energy.provenance is Provenance.COUNTER
    assert not conformance.violations(meter)
    assert not conformance.window_violations(meter, energies, lost, duration_s=duration_s)
    meter.close()
    meter.close()
    assert len(amdsmi.shutdowns) == 1


def test_a_count_is_worth_the_resolution_the_card_reports(amdsmi):
    gpu = StubGpu(0, "GPU-a")
    amdsmi.gpus = [gpu]
    meter, _ = amd.open_meter("", None)
    gpu.fixed = 4_750_896_266
    begin = meter.read()
    gpu.fixed += 1_000_000
    (energy,), _ = meter.energies(begin, meter.read(), duration_s=1.0, cpu_s=0.0)
    assert energy.energy_j == pytest.approx(15.3, rel=1e-6)


@pytest.mark.parametrize(
    ("after", "words"),
    [(4_736_943_791, "backwards"), (4_750_896_266, "did not change"), (4_750_896_266 + 10**9, "implausibly")],
)
def test_a_counter_that_falls_stands_or_leaps_in_a_window_is_missing(amdsmi, after, words):
    gpu = StubGpu(0, "GPU-a")
    amdsmi.gpus = [gpu]
    meter, _ = amd.open_meter("", None)
    gpu.fixed = 4_750_896_266  # the fall is the one reported as ROCm/amdsmi#115
    begin = meter.read()
    gpu.fixed = after
    energies, missing = meter.energies(begin, meter.read(), duration_s=1.0, cpu_s=0.0)
    assert not energies
    assert missing[0].domain == "gpu0"
    assert missing[0].billed
    assert words in missing[0].reason


def test_a_counter_that_stands_still_while_watched_is_refused_and_the_others_stay(amdsmi):
    stuck = StubGpu(0, "GPU-a", name="Stub MI100")
    stuck.fixed = 8_152_136
    amdsmi.gpus = [stuck, StubGpu(1, "GPU-b")]
    meter, missing = amd.open_meter("", None)
    assert meter.info().domains == ("gpu1",)
    assert missing[0].domain == "gpu0"
    assert "stood still" in missing[0].reason


def test_a_counter_that_falls_while_watched_is_refused(amdsmi):
    gpu = StubGpu(0, "GPU-a")
    counts = iter(range(10**6, 0, -1))
    gpu.count = lambda: next(counts)
    amdsmi.gpus = [gpu]
    meter, missing = amd.open_meter("", None)
    assert meter is None
    assert "backwards while it was watched" in missing[0].reason
    assert len(amdsmi.shutdowns) == 1


def test_a_gpu_lost_in_mid_window_is_missing_with_its_error_on_one_line(amdsmi):
    gpu = StubGpu(0, "GPU-a")
    amdsmi.gpus = [gpu]
    meter, _ = amd.open_meter("", None)
    begin = meter.read()
    gpu.error = "Device busy"
    energies, missing = meter.energies(begin, meter.read(), duration_s=1.0, cpu_s=0.0)
    assert not energies
    assert "Device busy" in missing[0].reason
    assert "\n" not in missing[0].reason


@pytest.mark.parametrize("count", [0xFFFF_FFFF_FFFF_FFFF, "N/A", None])
def test_a_reading_that_is_no_number_is_missing(amdsmi, count):
    gpu = StubGpu(0, "GPU-a")
    amdsmi.gpus = [gpu]
    meter, _ = amd.open_meter("", None)
    begin = meter.read()
    gpu.count = lambda: count
    energies, missing = meter.energies(begin, meter.read(), duration_s=1.0, cpu_s=0.0)
    assert not energies
    assert "no number" in missing[0].reason


def test_a_unit_that_changes_in_mid_window_is_missing(amdsmi):
    gpu = StubGpu(0, "GPU-a")
    amdsmi.gpus = [gpu]
    meter, _ = amd.open_meter("", None)
    begin = meter.read()
    gpu.unit_uj = 1.0
    _, missing = meter.energies(begin, meter.read(), duration_s=1.0, cpu_s=0.0)
    assert "unit" in missing[0].reason


@pytest.mark.parametrize("mode", ["CPX", "DPX", "QPX"])
def test_a_partition_is_refused_because_its_neighbours_would_be_billed(amdsmi, mode):
    gpu = StubGpu(0, "GPU-a")
    gpu.partition = mode
    amdsmi.gpus = [gpu]
    meter, missing = amd.open_meter("", None)
    assert meter is None
    assert mode in missing[0].reason
    assert "SPX" in missing[0].reason


def test_a_card_that_knows_no_partitions_is_metered(amdsmi):
    gpu = StubGpu(0, "GPU-a")
    gpu.partition = None
    amdsmi.gpus = [gpu]
    assert amd.open_meter("", None)[0] is not None


def test_the_silent_die_of_a_card_with_two_says_where_its_joules_are(amdsmi):
    silent = StubGpu(1, "GPU-b", name="AMD Instinct MI250X")
    silent.fixed = 0
    amdsmi.gpus = [StubGpu(0, "GPU-a", name="AMD Instinct MI250X"), silent]
    meter, missing = amd.open_meter("", None)
    assert "both dies" in meter.info().boundary
    assert "partner" in missing[0].reason


@pytest.mark.parametrize(
    ("environment", "uuids"),
    [
        ({}, ["GPU-a0", "GPU-b1", "GPU-c2"]),
        ({"HIP_VISIBLE_DEVICES": "2,0"}, ["GPU-c2", "GPU-a0"]),
        ({"CUDA_VISIBLE_DEVICES": "1"}, ["GPU-b1"]),
        ({"HIP_VISIBLE_DEVICES": "1", "CUDA_VISIBLE_DEVICES": "1"}, ["GPU-b1"]),
        ({"ROCR_VISIBLE_DEVICES": "1,2"}, ["GPU-b1", "GPU-c2"]),
        ({"ROCR_VISIBLE_DEVICES": "1,2", "HIP_VISIBLE_DEVICES": "1"}, ["GPU-c2"]),
        ({"ROCR_VISIBLE_DEVICES": "GPU-c"}, ["GPU-c2"]),
    ],
)
def test_visible_devices_are_honoured_in_the_order_of_hip_not_of_amd_smi(amdsmi, monkeypatch, environment, uuids):
    amdsmi.gpus = [StubGpu(2, "GPU-c2"), StubGpu(0, "GPU-a0"), StubGpu(1, "GPU-b1")]
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    meter, _ = amd.open_meter("", None)
    labels = [note for note in meter.info().notes if note.startswith("gpu")]
    assert [label.split(", ")[1] for label in labels] == uuids
    assert [label.split(":")[0] for label in labels] == [f"gpu{place}" for place in range(len(uuids))]


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"HIP_VISIBLE_DEVICES": ""}, "hides every GPU"),
        ({"HIP_VISIBLE_DEVICES": "-1"}, "hides every GPU"),
        ({"ROCR_VISIBLE_DEVICES": "7"}, "ROCR_VISIBLE_DEVICES"),
        ({"HIP_VISIBLE_DEVICES": "0,0"}, "HIP_VISIBLE_DEVICES"),
        ({"HIP_VISIBLE_DEVICES": "0", "CUDA_VISIBLE_DEVICES": "1"}, "differ"),
        ({"GPU_DEVICE_ORDINAL": "1"}, "GPU_DEVICE_ORDINAL"),
    ],
)
def test_a_selection_that_cannot_be_followed_is_refused_with_the_variable_named(
    amdsmi, monkeypatch, environment, words
):
    amdsmi.gpus = [StubGpu(0, "GPU-a0"), StubGpu(1, "GPU-b1")]
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    meter, missing = amd.open_meter("", None)
    assert meter is None
    assert words in missing[0].reason


def test_two_gpus_that_hip_does_not_number_are_refused_and_one_is_not(amdsmi):
    amdsmi.gpus = [StubGpu("N/A", "GPU-a0"), StubGpu("N/A", "GPU-b1")]
    meter, missing = amd.open_meter("", None)
    assert meter is None
    assert "hip_id" in missing[0].reason
    amdsmi.gpus = amdsmi.gpus[:1]
    assert amd.open_meter("", None)[0].billed == {"gpu0"}


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "amdsmi", None)
    meter, missing = amd.open_meter("", None)
    assert meter is None
    assert "joulebench[amd]" in missing[0].reason


def test_without_rocm_the_reason_says_so_and_nothing_is_printed(tmp_path, monkeypatch, capfd):
    # What the real package does where libamd_smi.so is missing: it prints, then stumbles over a key.
    (tmp_path / "amdsmi.py").write_text("print('Unable to find libamd_smi.so')\n{}['libamd_smi.so']\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "amdsmi", raising=False)
    meter, missing = amd.open_meter("", None)
    assert meter is None
    assert "libamd_smi.so" in missing[0].reason
    assert "ROCM_PATH" in missing[0].reason
    assert capfd.readouterr().out == ""


def test_a_driver_that_does_not_start_is_missing(amdsmi):
    def fail(_):
        raise amdsmi.AmdSmiException("Driver not loaded")

    amdsmi.amdsmi_init = fail
    meter, missing = amd.open_meter("", None)
    assert meter is None
    assert "Driver not loaded" in missing[0].reason
    assert not amdsmi.shutdowns


def test_an_argument_is_refused(amdsmi):
    with pytest.raises(UsageError, match="HIP_VISIBLE_DEVICES"):
        amd.open_meter("0", None)


def test_a_recorded_window_replays_to_the_same_joules(amdsmi):
    gpu = StubGpu(0, "GPU-a")
    amdsmi.gpus = [gpu]
    meter, _ = amd.open_meter("", None)
    begin = meter.read()
    time.sleep(0.1)
    end = meter.read()
    readings = iter([meter.raw(begin), meter.raw(end)])
    twin = amd.replayed(meter.describe(), lambda: next(readings), lambda: 0)
    expected = meter.energies(begin, end, duration_s=0.1, cpu_s=0.0)
    assert twin.energies(twin.read(), twin.read(), duration_s=0.1, cpu_s=0.0) == expected
    assert twin.info() == meter.info()
