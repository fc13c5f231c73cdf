"""RAPL through powercap: simulated counters whose truth is known."""

import os
import threading
import time

import pytest

from harness.meters.rapl import open_rapl
from harness.meters.window import MeterWindow
from harness.records import Doubt, Provenance


@pytest.fixture
def open_tree(powercap, clock):
    """Open the tree with a known refresh period and the test's clock; closed afterwards."""
    opened = []

    def open_it():
        meter, missing = open_rapl(powercap.root, refresh_s=0.001, clock_ns=clock)
        if meter is not None:
            opened.append(meter)
        return meter, missing

    yield open_it
    for meter in opened:
        meter.close()


def measure(meter, clock, duration_s, during):
    begin = meter.read()
    clock.now_s += duration_s
    during()
    return meter.energies(begin, meter.read(), duration_s=duration_s, cpu_s=0.0)


def test_package_and_dram_are_billed_core_and_psys_are_not(powercap, clock, open_tree):
    for name, label in (("intel-rapl:0", "package-0"), ("intel-rapl:0:0", "core"), ("intel-rapl:0:1", "dram"),
                        ("intel-rapl:1", "psys")):  # fmt: skip
        powercap.zone(name, label)
    meter, missing = open_tree()

    def work():
        for name, energy_j in (("intel-rapl:0", 100), ("intel-rapl:0:0", 80), ("intel-rapl:0:1", 10),
                               ("intel-rapl:1", 150)):  # fmt: skip
            powercap.add(name, energy_j)

    energies, lost = measure(meter, clock, 1.0, work)
    assert not missing
    assert not lost
    assert {e.domain: (e.energy_j, e.billed) for e in energies} == {
        "cpu-package": (100.0, True),
        "cpu-core": (80.0, False),
        "dram": (10.0, True),
        "psys": (150.0, False),
    }
    assert sum(e.energy_j for e in energies if e.billed) == 110.0
    assert {e.provenance for e in energies} == {Provenance.COUNTER}
    assert meter.billed == {"cpu-package", "dram"}


def test_sockets_are_summed_and_one_lost_socket_makes_the_domain_missing(powercap, clock, open_tree):
    powercap.zone("intel-rapl:0", "package-0")
    powercap.zone("intel-rapl:1", "package-1", raw_uj=77)
    meter, _ = open_tree()
    energies, _ = measure(
        meter, clock, 1.0, lambda: (powercap.add("intel-rapl:0", 50), powercap.add("intel-rapl:1", 7))
    )
    assert [(e.domain, e.energy_j) for e in energies] == [("cpu-package", 57.0)]
    energies, lost = measure(
        meter, clock, 1.0, lambda: (powercap.add("intel-rapl:0", 50), powercap.put("intel-rapl:1", 3))
    )
    assert not energies
    assert "package-1" in lost[0].reason
    assert "backwards" in lost[0].reason


def test_the_same_package_seen_through_mmio_and_mirrored_dies_is_counted_once(powercap, clock, open_tree):
    powercap.zone("intel-rapl-mmio:0", "package-0")
    powercap.zone("intel-rapl:0", "package-0-die-0", raw_uj=5_000_000_000)
    powercap.zone("intel-rapl:1", "package-0-die-1", raw_uj=5_000_000_061)
    powercap.zone("intel-rapl:1:0", "core")
    powercap.zone("intel-rapl:2", "package-1-die-0", raw_uj=5_000_000_030)
    meter, missing = open_tree()
    energies, _ = measure(
        meter, clock, 1.0, lambda: [powercap.add(name, 68) for name in ("intel-rapl:0", "intel-rapl:1", "intel-rapl:2")]
    )
    assert [(e.domain, e.energy_j) for e in energies] == [("cpu-package", 136.0)]
    assert {gap.domain for gap in missing} == {"intel-rapl:1", "intel-rapl:1:0"}


def test_dies_with_counters_of_their_own_are_all_counted(powercap, clock, open_tree):
    powercap.zone("intel-rapl:0", "package-0-die-0", raw_uj=5_000_000_000)
    powercap.zone("intel-rapl:1", "package-0-die-1", raw_uj=9_000_000_000)
    meter, _ = open_tree()
    energies, _ = measure(meter, clock, 1.0, lambda: [powercap.add(name, 10) for name in powercap.raw_uj])
    assert energies[0].energy_j == 20.0


def test_a_window_of_an_hour_at_700_w_survives_its_turns(powercap, clock, open_tree):
    powercap.zone("intel-rapl:0", "package-0")
    meter, _ = open_tree()

    def hour():
        for _ in range(3600 // 50):  # what the guard thread does, at its own pace or faster
            powercap.add("intel-rapl:0", 700 * 50)
            clock.now_s += 50
            meter.read()

    assert meter.poll_s > 50
    energies, lost = measure(meter, clock, 0.0, hour)
    assert not lost
    assert energies[0].energy_j == pytest.approx(700 * 3600)


def test_a_window_that_nobody_guarded_is_missing_not_short(powercap, clock, open_tree):
    powercap.zone("intel-rapl:0", "package-0")
    meter, _ = open_tree()
    energies, lost = measure(meter, clock, 3600.0, lambda: powercap.add("intel-rapl:0", 700 * 3600))
    assert not energies
    assert "more than once" in lost[0].reason


def test_the_guard_thread_keeps_turns_from_being_lost(powercap):
    turn_uj = 400_000_000  # the guard must read every 0.1 s
    powercap.zone("intel-rapl:0", "package-0", turn_uj=turn_uj)
    stop, added_j = threading.Event(), [0.0]

    def heat():
        last_s = time.perf_counter()
        while not stop.wait(0.002):
            now_s = time.perf_counter()
            powercap.add("intel-rapl:0", 900 * (now_s - last_s))
            added_j[0] += 900 * (now_s - last_s)
            last_s = now_s

    thread = threading.Thread(target=heat)
    thread.start()
    try:
        meter, _ = open_rapl(powercap.root)
        assert meter.poll_s == pytest.approx(0.1)
        assert 0.001 < meter.refresh_s < 0.05
        begin, begin_j = meter.read(), added_j[0]
        time.sleep(1.3)
        end, end_j = meter.read(), added_j[0]
        meter.close()
    finally:
        stop.set()
        thread.join()
    energies, lost = meter.energies(begin, end, duration_s=1.3, cpu_s=0.0)
    assert not lost, lost
    assert end_j - begin_j > 2 * turn_uj / 1e6, "the window must hold several turns"
    assert energies[0].energy_j == pytest.approx(end_j - begin_j, rel=0.05)


def test_a_counter_that_stands_still_at_opening_is_no_meter(powercap):
    powercap.zone("intel-rapl:0", "package-0")
    meter, missing = open_rapl(powercap.root)
    assert meter is None
    assert "stood still" in missing[0].reason


def test_a_counter_that_stands_still_in_a_window_is_missing_not_zero(powercap, clock, open_tree):
    powercap.zone("intel-rapl:0", "package-0")
    meter, _ = open_tree()
    energies, lost = measure(meter, clock, 1.0, lambda: None)
    assert not energies
    assert "did not change" in lost[0].reason


def test_permission_refused_says_what_to_do(powercap, open_tree, monkeypatch):
    powercap.zone("intel-rapl:0", "package-0")
    real = os.open

    def refuse(path, *args, **kwargs):
        if str(path).endswith("energy_uj"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)
    meter, missing = open_tree()
    assert meter is None
    assert missing[0].domain == "cpu-package"
    assert "sudo chmod a+r" in missing[0].reason


@pytest.mark.parametrize("errno_text", ["No such device", "Permission denied"])
def test_a_counter_lost_in_mid_window_is_missing_for_every_window_it_touches(
    powercap, clock, open_tree, monkeypatch, errno_text
):
    powercap.zone("intel-rapl:0", "package-0")
    meter, _ = open_tree()
    before = meter.read()
    with monkeypatch.context() as patch:

        def gone(*_):
            raise OSError(19, errno_text)

        patch.setattr(os, "pread", gone)
        during = meter.read()
    clock.now_s += 1.0
    powercap.add("intel-rapl:0", 40)
    meter.read()
    clock.now_s += 1.0
    powercap.add("intel-rapl:0", 40)
    after = meter.read()
    for begin, end in ((before, during), (during, after), (before, after)):
        energies, lost = meter.energies(begin, end, duration_s=1.0, cpu_s=0.0)
        assert not energies
        assert errno_text in lost[0].reason
    energies, lost = measure(meter, clock, 1.0, lambda: powercap.add("intel-rapl:0", 12))
    assert energies[0].energy_j == 12.0, "once it is back, new windows are good again"


def test_a_file_emptied_in_mid_window_is_missing(powercap, clock, open_tree):
    powercap.zone("intel-rapl:0", "package-0")
    meter, _ = open_tree()
    _, lost = measure(meter, clock, 1.0, lambda: os.truncate(powercap.root / "intel-rapl:0/energy_uj", 0))
    assert "holds no number" in lost[0].reason


def test_no_powercap_says_so(tmp_path):
    meter, missing = open_rapl(tmp_path / "absent")
    assert meter is None
    assert "no RAPL zones" in missing[0].reason


def test_the_window_marks_a_lost_meter_and_a_short_window(powercap, open_tree):
    powercap.zone("intel-rapl:0", "package-0")
    meter, _ = open_tree()
    window = MeterWindow([meter])
    measured = window.end(window.begin())
    assert Doubt.WINDOW_TOO_SHORT in measured.doubts
    assert Doubt.METER_MISSING in measured.doubts
    assert Doubt.MODELLED not in measured.doubts
    assert measured.missing[0].domain == "cpu-package"
    window.close()


def test_closing_twice_is_harmless_and_ends_the_thread(powercap, open_tree):
    powercap.zone("intel-rapl:0", "package-0")
    meter, _ = open_tree()
    meter.close()
    meter.close()
    assert not any(thread.name == "joulebench-rapl" for thread in threading.enumerate())
