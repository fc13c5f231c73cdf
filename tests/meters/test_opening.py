"""Names to meters: each joule billed once, a refusal always says why."""

import subprocess
import sys
import time

import pytest

from harness.errors import UsageError
from harness.meters import memory, open_meters, opening, survey
from harness.meters.fake import FakeMeter
from harness.meters.rapl import open_rapl
from harness.records import Doubt, Missing, Provenance

NO_GPU = (None, (Missing(domain="gpu", reason="no driver in this test"),))
NO_RAPL = (None, (Missing(domain="cpu-package", reason="no zones in this test"),))


@pytest.fixture(autouse=True)
def forgetful(monkeypatch, tmp_path):
    """Nothing is remembered of meters tested earlier in this boot."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def bare(monkeypatch):
    """A host that offers nothing but a CPU clock."""
    monkeypatch.setattr(opening, "open_rapl", lambda **_: NO_RAPL)
    monkeypatch.setattr(opening, "open_nvml", lambda **_: NO_GPU)


@pytest.fixture
def metered(monkeypatch, powercap, clock):
    """A host with a package counter."""
    powercap.zone("intel-rapl:0", "package-0")
    monkeypatch.setattr(opening, "open_rapl", lambda **_: open_rapl(powercap.root, refresh_s=0.001, clock_ns=clock))
    monkeypatch.setattr(opening, "open_nvml", lambda **_: NO_GPU)


def billed(measured):
    return [energy.domain for energy in measured.energies if energy.billed]


def test_auto_bills_the_model_where_no_counter_works(bare):
    window = open_meters()
    measured = window.end(window.begin())
    assert billed(measured) == ["cpu-process"]
    assert Doubt.MODELLED in measured.doubts
    assert {gap.domain for gap in window.missing()} == {"cpu-package", "gpu"}
    window.close()


def test_auto_bills_the_counter_and_keeps_the_model_unbilled(metered, powercap, clock):
    window = open_meters()
    mark = window.begin()
    clock.now_s += 1.0
    powercap.add("intel-rapl:0", 33)
    time.sleep(0.005)
    measured = window.end(mark)
    window.close()
    assert billed(measured) == ["cpu-package"]
    assert {energy.domain for energy in measured.energies} == {"cpu-package", "cpu-process"}
    assert Doubt.MODELLED not in measured.doubts


def test_gpus_are_billed_beside_the_cpu(bare, monkeypatch, stub_nvml):
    from harness.meters import nvml

    stub_nvml.gpus = [stub_nvml.Gpu("GPU-a", refresh_s=0.005)]
    monkeypatch.setattr(opening, "open_nvml", lambda **_: nvml.open_nvml(watch_s=0.2))
    window = open_meters()
    mark = window.begin()
    time.sleep(0.05)
    measured = window.end(mark)
    window.close()
    assert billed(measured) == ["cpu-process", "gpu0"]
    assert Doubt.WINDOW_TOO_SHORT in measured.doubts


def test_a_case_on_the_cpu_is_not_billed_for_gpus_that_idle_beside_it_unless_asked(bare, monkeypatch, stub_nvml):
    from harness.meters import nvml

    stub_nvml.gpus = [stub_nvml.Gpu("GPU-a", refresh_s=0.005)]
    monkeypatch.setattr(opening, "open_nvml", lambda **_: nvml.open_nvml(watch_s=0.2))
    found = {}
    for names in (("auto",), ("modelled", "nvml")):
        window = open_meters(names, "cpu")
        mark = window.begin()
        time.sleep(0.05)
        found[names] = billed(window.end(mark))
        window.close()
    assert found == {("auto",): ["cpu-process"], ("modelled", "nvml"): ["cpu-process", "gpu0"]}


@pytest.mark.parametrize(("name", "why"), [("rapl", "no zones in this test"), ("nvml", "no driver in this test")])
def test_a_meter_asked_for_by_name_that_is_not_here_is_an_error_that_says_why(bare, name, why):
    with pytest.raises(UsageError, match=why) as caught:
        open_meters((name,))
    assert repr(name) in str(caught.value)


def test_modelled_alone_is_billed_even_where_a_counter_exists(metered):
    window = open_meters(("modelled",))
    assert billed(window.end(window.begin())) == ["cpu-process"]
    window.close()


@pytest.mark.parametrize("name", ["rappl", "gpu", "rapl:3", ""])
def test_an_unknown_name_lists_the_valid_ones(name):
    with pytest.raises(UsageError, match="auto, rapl, attributed, nvml, modelled, fake"):
        open_meters((name,))


def test_a_near_miss_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'rapl'"):
        open_meters(("rappl",))


@pytest.mark.parametrize("names", [(), ("auto", "fake"), ("fake", "modelled"), ("fake:two",)])
def test_requests_that_make_no_sense_are_refused(names):
    with pytest.raises(UsageError):
        open_meters(names)


def test_the_fake_meter_is_deterministic_and_never_hides(monkeypatch):
    window = open_meters(("fake:2.5",))
    measured = window.end(window.begin())
    window.close()
    (energy,) = measured.energies
    assert energy.energy_j == 2.5 * measured.cpu_s
    assert energy.provenance is Provenance.FAKE
    assert energy.boundary == "fake: for tests, no joules were measured"


def test_the_fake_meter_can_follow_a_script_or_the_wall_clock():
    scripted = FakeMeter(script_j=(7.0, 8.0))
    readings = [scripted.energies(None, None, duration_s=1.0, cpu_s=3.0)[0][0].energy_j for _ in range(3)]
    assert readings == [7.0, 8.0, 3.0]
    by_wall = FakeMeter(2.0, over="duration")
    assert by_wall.energies(None, None, duration_s=1.5, cpu_s=0.0)[0][0].energy_j == 3.0


def test_importing_the_meters_loads_nothing_heavy():
    script = "import sys, harness.meters; print(sorted({'torch', 'numpy', 'pynvml', 'ctypes'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_survey_tests_each_meter_quickly_and_keeps_the_reasons(bare):
    start_s = time.perf_counter()
    found = survey()
    assert time.perf_counter() - start_s < 1.0
    (info,) = found.meters
    assert info.read_cost_s is not None
    assert info.window_for_1_percent_s == 0.0
    assert info.self_test is not None
    assert (info.self_test.monotonic, info.self_test.plausible, info.self_test.faults) == (True, True, ())
    assert [gap.reason for gap in found.missing] == ["no zones in this test", "no driver in this test"]


def test_the_survey_reports_a_counter_that_fails_its_test(metered):
    (rapl, _) = survey().meters
    assert rapl.self_test is not None
    assert not rapl.self_test.plausible
    assert any("did not change" in fault for fault in rapl.self_test.faults)


def test_a_self_test_is_remembered_until_the_host_boots_again(bare, monkeypatch, tmp_path):
    first = open_meters()
    (tested,) = first.infos()
    first.close()
    again = open_meters()
    assert again.infos()[0].self_test == tested.self_test, "it was not made again"
    again.close()
    (tmp_path / "boot_id").write_text("another boot\n")
    monkeypatch.setattr(memory, "BOOT_ID", tmp_path / "boot_id")
    assert memory.recall(tested) is None


def test_a_self_test_with_a_fault_is_made_again_next_time(metered):
    open_meters().close()
    assert memory.refresh_s("rapl") is None


@pytest.mark.parametrize("left", [b"", b"{", b'{"boot_id": 3}'])
def test_a_broken_memory_only_means_that_meters_are_tested_anew(bare, left):
    memory.path().parent.mkdir(parents=True)
    memory.path().write_bytes(left)
    window = open_meters()
    assert window.infos()[0].self_test is not None
    window.close()


def test_the_share_of_a_package_is_billed_instead_of_the_package_where_asked(metered, powercap, clock):
    window = open_meters(("attributed", "modelled"))
    mark = window.begin()
    clock.now_s += 1.0
    powercap.add("intel-rapl:0", 33)
    end_s = time.perf_counter() + 0.3
    while time.perf_counter() < end_s:
        pass
    measured = window.end(mark)
    window.close()
    assert billed(measured) == ["cpu-package-share"]
    (share,) = [energy for energy in measured.energies if energy.billed]
    assert 0 < share.energy_j <= 33
    assert share.provenance is Provenance.ATTRIBUTED


def test_a_share_that_cannot_be_told_is_missing_and_not_the_whole_package(metered, powercap, clock):
    window = open_meters(("attributed",))
    mark = window.begin()
    clock.now_s += 1.0
    powercap.add("intel-rapl:0", 33)
    measured = window.end(mark)
    window.close()
    assert billed(measured) == []
    assert [gap.domain for gap in measured.missing if gap.billed] == ["cpu-package-share"]
    assert Doubt.METER_MISSING in measured.doubts


def test_the_package_and_its_share_are_never_both_billed():
    with pytest.raises(UsageError, match="same joules"):
        open_meters(("rapl", "attributed"))


def test_two_meters_that_would_bill_one_domain_are_refused():
    class Another(FakeMeter):
        name = "another"

    with pytest.raises(UsageError, match="'fake' and 'another' would both bill fake"):
        opening._no_twice([FakeMeter(), Another()])


def test_the_module_of_a_superchip_holds_its_cpu_which_is_not_billed_again(bare, monkeypatch):
    class Module(FakeMeter):
        name = "nvml"
        contains_cpu = True

    monkeypatch.setattr(opening, "open_nvml", lambda **_: (Module(), ()))
    window = open_meters()
    measured = window.end(window.begin())
    window.close()
    assert billed(measured) == ["fake"]
    assert {energy.domain for energy in measured.energies} == {"cpu-process", "fake"}
