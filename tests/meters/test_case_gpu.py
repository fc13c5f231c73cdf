"""A case on a GPU is billed for that GPU and for no other, and is refused where nothing counts it."""

import time

import pytest

from harness.errors import UsageError
from harness.meters import nvml, open_meters, opening
from harness.meters.fake import FakeMeter
from harness.records import Missing

NO_RAPL = (None, (Missing(domain="cpu-package", reason="no zones in this test"),))


@pytest.fixture(autouse=True)
def host(monkeypatch, tmp_path):
    """A host without a counter of its CPU, whose meters were never tested."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(opening, "open_rapl", lambda **_: NO_RAPL)
    monkeypatch.setattr(opening, "open_nvml", lambda **more: nvml.open_nvml(watch_s=0.1, **more))


@pytest.fixture
def three(stub_nvml):
    """Three GPUs that draw 100, 200 and 300 W."""
    stub_nvml.gpus = [
        stub_nvml.Gpu(f"GPU-{name}", power_w=power_w, refresh_s=0.005)
        for name, power_w in (("a", 100.0), ("b", 200.0), ("c", 300.0))
    ]
    return stub_nvml


def billed_w(device, names=("auto",)):
    """Return the watts of each billed domain that is no CPU."""
    window = open_meters(names, device)
    mark = window.begin()
    time.sleep(0.1)
    measured = window.end(mark)
    window.close()
    assert not measured.missing
    return {
        each.domain: pytest.approx(each.energy_j / measured.duration_s, rel=0.15)
        for each in measured.energies
        if each.billed and each.domain != "cpu-process"
    }


@pytest.mark.parametrize(
    ("device", "drawn"),
    [
        ("cuda", {"gpu0": 100.0}),
        ("cuda:0", {"gpu0": 100.0}),
        ("cuda:2", {"gpu2": 300.0}),
        (None, {"gpu0": 100.0, "gpu1": 200.0, "gpu2": 300.0}),
    ],
)
def test_a_case_is_billed_for_its_own_gpu(three, device, drawn):
    assert billed_w(device) == drawn


def test_the_gpu_of_a_case_is_the_one_that_cuda_shows_under_its_number(three, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-c,1")
    assert billed_w("cuda:0") == {"gpu0": 300.0}
    assert billed_w("cuda:1") == {"gpu1": 200.0}


def test_the_others_are_said_to_be_left_out(three):
    window = open_meters(("auto",), "cuda:1")
    window.close()
    (info,) = (each for each in window.infos() if each.name == "nvml")
    assert info.domains == ("gpu1",)
    assert "gpu0, gpu2: not metered, because the case runs on gpu1" in info.notes
    assert {gap.domain for gap in window.missing()} == {"cpu-package"}


def test_a_gpu_that_is_broken_and_is_not_the_case_s_is_nobody_s_concern(three):
    three.gpus[0].mig = 1
    assert billed_w("cuda:1") == {"gpu1": 200.0}


def test_where_nobody_knows_which_gpu_is_which_all_are_billed_and_it_is_said(three):
    three.gpus[1].name = "another model"
    window = open_meters(("auto",), "cuda:1")
    window.close()
    (info,) = (each for each in window.infos() if each.name == "nvml")
    assert info.domains == ("gpu0", "gpu1", "gpu2")
    assert "so all are metered, though the case runs on one" in info.notes


def cut(stub):
    stub.gpus[0].mig = 1


def silent(stub):
    stub.gpus[0].silent = "GPU is lost"


def none(stub):
    stub.gpus = []


@pytest.mark.parametrize(
    ("broken", "why"),
    [(cut, "MIG is enabled"), (silent, "GPU is lost"), (none, "there is no gpu0 among the GPUs that NVML shows")],
)
def test_a_case_whose_gpu_nothing_counts_is_refused_with_the_reason(three, broken, why):
    broken(three)
    with pytest.raises(UsageError, match=r"no meter counts the joules of cuda:0 \(gpu0\)") as caught:
        open_meters(("auto",), "cuda:0")
    assert why in str(caught.value)


def test_a_case_whose_gpu_nothing_counts_is_refused_though_another_could_be(three):
    three.gpus[0].mig = 1
    with pytest.raises(UsageError, match="MIG is enabled"):
        open_meters(("auto",), "cuda")
    with pytest.raises(UsageError, match="there is no gpu3 among the GPUs that NVML shows: gpu1, gpu2"):
        open_meters(("auto",), "cuda:3")


def test_a_driver_that_refuses_is_a_reason(three, monkeypatch):
    def refuse():
        raise three.NVMLError("Driver/library version mismatch")

    monkeypatch.setattr(three, "nvmlInit", refuse)
    with pytest.raises(UsageError, match="Driver/library version mismatch"):
        open_meters(("auto",), "cuda")


def test_what_was_opened_is_closed_when_the_case_is_refused(three):
    three.gpus[0].name, three.gpus[0].mig = "another model", 1
    with pytest.raises(UsageError, match="MIG is enabled"):
        open_meters(("auto",), "cuda:0")
    assert three.shutdowns == 1


def test_meters_of_the_cpu_alone_are_refused_for_a_case_on_a_gpu():
    with pytest.raises(UsageError, match="none of the meters named is of a GPU"):
        open_meters(("modelled",), "cuda")


def test_a_meter_of_the_whole_machine_counts_the_gpu(monkeypatch):
    class Wall(FakeMeter):
        name, contains_everything = "wall", True

        def __init__(self):
            super().__init__()
            self.billed = frozenset({"wall"})

    assert opening._unbilled([Wall()], (), "cuda:0") is None


def test_joules_for_tests_need_no_gpu():
    open_meters(("fake",), "cuda").close()
