"""Apple silicon's counters: a scripted `zeus_apple_silicon`, because it installs only on macOS."""

import sys
import time
import types

import pytest

from harness.errors import UsageError
from harness.meters.plugins import apple, conformance
from harness.records import Provenance

POWERS_W = {"cpu_total_mj": 10.0, "dram_mj": 2.0, "gpu_mj": 5.0, "gpu_sram_mj": 1.0, "ane_mj": 3.0}


class Metrics:
    def __init__(self, **counts):
        vars(self).update(counts)


@pytest.fixture
def chip(monkeypatch):
    """A chip whose parts count `powers_w` by the clock, unless the test fixes a count or an error."""
    stub = types.ModuleType("zeus_apple_silicon")
    state = types.SimpleNamespace(powers_w=dict(POWERS_W), fixed={}, error=None)

    class AppleEnergyMonitor:
        def get_cumulative_energy(self):
            if state.error is not None:
                raise RuntimeError(state.error)
            ticks_s = int(time.perf_counter() / 0.01) * 0.01
            counts = {field: int(ticks_s * power_w * 1000) for field, power_w in state.powers_w.items()}
            return Metrics(**(counts | state.fixed))

    stub.AppleEnergyMonitor = AppleEnergyMonitor
    monkeypatch.setitem(sys.modules, "zeus_apple_silicon", stub)
    monkeypatch.setattr(apple, "_here", lambda: ("darwin", "arm64"))
    monkeypatch.setattr(apple, "WATCH_S", 0.15)
    return state


def window(meter, duration_s=0.2, between=lambda: None):
    begin, start_s = meter.read(), time.perf_counter()
    between()
    time.sleep(duration_s)
    end, lasted_s = meter.read(), time.perf_counter() - start_s
    energies, missing = meter.energies(begin, end, duration_s=lasted_s, cpu_s=0.0)
    assert not conformance.window_violations(meter, energies, missing, duration_s=lasted_s)
    return {energy.domain: energy for energy in energies}, {gap.domain: gap for gap in missing}, lasted_s


def test_each_part_of_the_chip_is_billed_once_and_the_gpus_sram_never(chip):
    meter, missing = apple.open_meter("", "mps")
    assert not missing
    assert not conformance.violations(meter)
    energies, lost, lasted_s = window(meter)
    assert not lost
    assert meter.billed == {"cpu", "dram", "gpu0", "ane"}
    assert {domain for domain, energy in energies.items() if energy.billed} == meter.billed
    assert energies["cpu"].energy_j == pytest.approx(10.0 * lasted_s, abs=2 * 10.0 * 0.01)
    assert energies["cpu"].provenance is Provenance.COUNTER
    assert "estimates of a model" in energies["cpu"].boundary


def test_parts_that_the_chip_does_not_report_or_never_counted_are_missing_at_opening(chip):
    chip.fixed = {"gpu_sram_mj": None, "ane_mj": 0, "dram_mj": -4}
    meter, missing = apple.open_meter("", "mps")
    reasons = {gap.domain: gap.reason for gap in missing}
    assert "does not report it" in reasons["gpu-sram"]
    assert "counted nothing" in reasons["ane"]
    assert "no energy" in reasons["dram"]
    assert meter.billed == {"cpu", "gpu0"}


def test_a_sleeping_neural_engine_drew_less_than_one_count_and_is_not_refused(chip):
    chip.fixed = {"ane_mj": 77}
    meter, missing = apple.open_meter("", "mps")
    assert not missing
    energies, lost, _ = window(meter)
    assert not lost
    assert (energies["ane"].energy_j, energies["ane"].low_j, energies["ane"].high_j) == (0.0, 0.0, 0.001)


def test_when_nothing_moves_nothing_was_measured(chip):
    meter, _ = apple.open_meter("", "cpu")

    def freeze():
        chip.fixed = dict.fromkeys(POWERS_W, 5000)

    freeze()
    energies, lost, _ = window(meter)
    assert not energies
    assert set(lost) == {"cpu", "dram", "gpu0", "ane", "gpu-sram"}


@pytest.mark.parametrize(("device", "refused"), [("cpu", False), ("mps", True), (None, True)])
def test_a_gpu_may_sleep_beside_a_case_on_the_cpu_only(chip, device, refused):
    chip.fixed = {"gpu_mj": 77}
    meter, missing = apple.open_meter("", device)
    assert not missing, "asleep while it was watched, it is kept: the case may wake it"
    energies, lost, _ = window(meter)
    assert ("gpu0" in lost) is refused
    assert ("gpu0" in energies) is not refused


def test_a_cpu_that_stands_still_while_watched_refuses_the_chip(chip):
    chip.fixed = {"cpu_total_mj": 77}
    meter, missing = apple.open_meter("", None)
    assert meter is None
    assert "stood still" in missing[0].reason


@pytest.mark.parametrize(("after", "words"), [(1, "backwards"), (None, "does not report"), (-5, "no energy")])
def test_a_count_that_falls_or_disappears_in_mid_window_is_missing(chip, after, words):
    meter, _ = apple.open_meter("", "cpu")
    _, lost, _ = window(meter, between=lambda: chip.fixed.update(cpu_total_mj=after))
    assert words in lost["cpu"].reason
    assert lost["cpu"].billed


def test_a_sample_that_fails_is_missing_for_every_part(chip):
    meter, _ = apple.open_meter("", "cpu")
    energies, lost, _ = window(meter, between=lambda: setattr(chip, "error", "no subscription"))
    assert not energies
    assert all("no subscription" in gap.reason for gap in lost.values())


def test_elsewhere_than_on_a_mac_it_is_refused_without_importing_anything(monkeypatch):
    monkeypatch.setitem(sys.modules, "zeus_apple_silicon", None)
    meter, missing = apple.open_meter("", None)
    assert meter is None
    assert "only on macOS" in missing[0].reason


def test_on_a_mac_without_the_package_the_extra_is_named(chip, monkeypatch):
    monkeypatch.setitem(sys.modules, "zeus_apple_silicon", None)
    meter, missing = apple.open_meter("", None)
    assert meter is None
    assert "joulebench[apple]" in missing[0].reason


def test_an_argument_is_refused():
    with pytest.raises(UsageError, match="takes no argument"):
        apple.open_meter("gpu", None)
