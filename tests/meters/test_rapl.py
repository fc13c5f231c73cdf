"""RAPL through powercap: simulated counters whose truth is known."""

import gc
import json
import os
import subprocess
import sys
import threading
import time
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.counters.rapl import RaplSource, open_source
from harness.counters.wrapping import SLACK_NS, Channel
from harness.meters.rapl import RaplMeter, open_rapl, replayed
from harness.meters.window import MeterWindow
from harness.records import Doubt, Provenance

TURN_UJ = 262_143_328_850  # what Intel servers with 61 µJ units report


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


def source_of(meter):
    return meter._source


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
    assert source_of(meter).poll_s == pytest.approx(262.1 / 2, rel=0.01)
    begin = meter.read()
    for _ in range(3600 // 120):  # what the guard thread does, at about its own pace
        powercap.add("intel-rapl:0", 700 * 120)
        clock.now_s += 120
        end = meter.read()
    energies, lost = meter.energies(begin, end, duration_s=3600.0, cpu_s=0.0)
    assert not lost
    assert energies[0].energy_j == pytest.approx(700 * 3600)


def test_a_window_that_nobody_guarded_is_missing_not_short(powercap, clock, open_tree):
    powercap.zone("intel-rapl:0", "package-0")
    meter, _ = open_tree()
    energies, lost = measure(meter, clock, 3600.0, lambda: powercap.add("intel-rapl:0", 700 * 3600))
    assert not energies
    assert "more than once" in lost[0].reason


def test_the_guard_thread_keeps_turns_from_being_lost(powercap):
    turn_uj = 800_000_000  # the guard must read every 0.4 s
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
        assert source_of(meter).poll_s == pytest.approx(0.4)
        assert 0.001 < meter.refresh_s < 0.05
        begin, begin_j = meter.read(), added_j[0]
        time.sleep(2.2)
        end, end_j = meter.read(), added_j[0]
        meter.close()
    finally:
        stop.set()
        thread.join()
    energies, lost = meter.energies(begin, end, duration_s=2.2, cpu_s=0.0)
    assert not lost, lost
    assert end_j - begin_j > 2 * turn_uj / 1e6, "the window must hold several turns"
    assert energies[0].energy_j == pytest.approx(end_j - begin_j, rel=0.05)


def test_the_guard_reads_only_where_nobody_else_has():
    reads = []
    channel = Channel("zone", "cpu-package", TURN_UJ, 1_200_000_000, lambda: reads.append(time.monotonic()) or 5)
    source = RaplSource([channel])
    assert source.poll_s == pytest.approx(0.6)
    source.start()
    for _ in range(8):  # 1.6 s, no two readings 0.6 s apart
        time.sleep(0.2)
        source.read()
    assert len(reads) == 8
    time.sleep(1.0)  # and now nobody reads
    source.close()
    assert len(reads) == 9
    assert reads[-1] - reads[-2] == pytest.approx(0.6, abs=0.3)


@pytest.mark.parametrize("after_uj", [40, 2_000_000], ids=["looks like a turn", "looks like a rise"])
def test_a_window_in_which_the_host_was_suspended_is_refused_whatever_the_counter_says(clock, after_uj):
    raw_uj, awake_s = [1_000_000 if after_uj > 1_000_000 else TURN_UJ - 1_000_000], [0.0]
    source = RaplSource(
        [Channel("package-0", "cpu-package", TURN_UJ, TURN_UJ, lambda: raw_uj[0])],
        clock_ns=clock,
        awake_ns=lambda: int(awake_s[0] * 1e9),
    )
    meter = RaplMeter(source)

    def window(slept_s):
        begin = meter.read()
        raw_uj[0] = after_uj
        clock.now_s += 1 + slept_s
        awake_s[0] += 1
        return meter.energies(begin, meter.read(), duration_s=1.0, cpu_s=0.0)

    meter.read()
    energies, lost = window(slept_s=30.0)
    assert not energies
    assert "was suspended with the host for 30.0 s" in lost[0].reason
    after_uj += 3_000_000
    energies, lost = window(slept_s=0.0)
    assert not lost
    assert energies[0].energy_j == 3.0


def test_a_thread_set_aside_between_the_two_clocks_is_no_suspension(clock):
    late_s = [0.0]
    raw_uj = [7]
    source = RaplSource(
        [Channel("package-0", "cpu-package", TURN_UJ, TURN_UJ, lambda: raw_uj[0])],
        clock_ns=clock,
        awake_ns=lambda: int((clock.now_s + late_s[0]) * 1e9),
    )
    meter = RaplMeter(source)
    begin = meter.read()
    for late_s[0] in (0.3, 0.0, 0.2, 0.0):
        clock.now_s += 1
        raw_uj[0] += 1_000_000
        end = meter.read()
    energies, lost = meter.energies(begin, end, duration_s=4.0, cpu_s=0.0)
    assert not lost
    assert energies[0].energy_j == 4.0


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


@pytest.mark.parametrize(("flags", "why"), [(os.O_RDONLY, "Is a directory"), (os.O_PATH, "Bad file descriptor")])
def test_a_counter_lost_in_mid_window_is_missing_for_every_window_it_touches(powercap, clock, open_tree, flags, why):
    powercap.zone("intel-rapl:0", "package-0")
    meter, _ = open_tree()
    before = meter.read()
    fd = source_of(meter).channels[0].fd
    kept, other = os.dup(fd), os.open(powercap.root, flags)
    os.dup2(other, fd)  # the kernel now refuses every reading, as it does for a device that is gone
    during = meter.read()
    os.dup2(kept, fd)
    os.close(kept)
    os.close(other)
    assert meter.raw(during) == (why,)
    clock.now_s += 1.0
    powercap.add("intel-rapl:0", 40)
    meter.read()
    clock.now_s += 1.0
    powercap.add("intel-rapl:0", 40)
    after = meter.read()
    for begin, end in ((before, during), (during, after), (before, after)):
        energies, lost = meter.energies(begin, end, duration_s=1.0, cpu_s=0.0)
        assert not energies
        assert why in lost[0].reason
    energies, lost = measure(meter, clock, 1.0, lambda: powercap.add("intel-rapl:0", 12))
    assert energies[0].energy_j == 12.0, "once it is back, new windows are good again"


def test_a_file_emptied_in_mid_window_is_missing(powercap, clock, open_tree):
    powercap.zone("intel-rapl:0", "package-0")
    meter, _ = open_tree()
    _, lost = measure(meter, clock, 1.0, lambda: os.truncate(powercap.folder("intel-rapl:0") / "energy_uj", 0))
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


class Ticker:
    """A clock that the property test moves; hypothesis takes no fixture that lasts a single example."""

    now_s = 1000.0

    def __call__(self):
        return round(self.now_s * 1e9)


class Register:
    """A counter of known truth: `drawn_uj` really, `shown_uj` as far as it has published."""

    def __init__(self, turn_uj, start_uj):
        self.turn_uj = turn_uj
        self.drawn_uj = self.shown_uj = 0
        self.offset_uj = start_uj
        self.spike_uj = 0
        self.error = None
        self.counter = None

    def value_uj(self):
        return (self.offset_uj + self.shown_uj) % self.turn_uj

    def begins_a_chain(self):
        return self.counter._last_uj is None and not self.counter._distrusted

    def read(self):
        if self.error is not None:
            raise OSError(13, self.error)
        return (self.value_uj() + self.spike_uj) % self.turn_uj


CEILINGS_W = {"cpu-package": 1000, "dram": 1000, "psys": 8000}
DOMAINS = ("cpu-package", "cpu-package", "dram", "psys")
HARM = ("gap", "reset", "stale", "spike", "denied")
actions = st.tuples(
    st.sampled_from(("run",) * 6 + HARM),
    st.integers(0, 3),  # the channel it happens to
    st.floats(0.001, 1.0),  # duration, as a share of what is allowed between two readings
    st.floats(0.01, 1.0),  # power, as a share of the ceiling
)


def happen(action, registers, clock, since_change_s):
    """Let one action happen between two readings; return the domain it disturbs, if any."""
    kind, victim, length, share = action
    register, domain = registers[victim], DOMAINS[victim]
    allowed_s = min(one.turn_uj / 1e6 / CEILINGS_W[name] for one, name in zip(registers, DOMAINS, strict=True)) - 0.06
    duration_s = allowed_s * length * (12 if kind == "gap" else 0.4)
    clock.now_s += duration_s
    for index, (one, name) in enumerate(zip(registers, DOMAINS, strict=True)):
        one.spike_uj, one.error = 0, None
        one.drawn_uj += int(duration_s * share * CEILINGS_W[name] * 1e6)
        since_change_s[index] += duration_s
        if not (kind == "stale" and one is register):
            one.shown_uj = one.drawn_uj
    limit_uj = (since_change_s[victim] + SLACK_NS / 1e9) * CEILINGS_W[domain] * 1e6 + 1000  # and the clock's rounding
    if kind == "reset":
        if -register.last_uj % register.turn_uj <= limit_uj:
            return None  # no reader can tell this one from a wrap, or from standing still
        register.offset_uj = -register.shown_uj
    elif kind == "spike":
        if limit_uj + 2 >= register.turn_uj or register.begins_a_chain():
            return None  # the one false reading that nothing tells: the one that a chain begins with
        register.spike_uj = int(limit_uj) + 1 - (register.value_uj() - register.last_uj) % register.turn_uj
    elif kind == "denied":
        register.error = "Permission denied"
    return domain if kind in HARM else None


@given(
    turns_uj=st.lists(st.integers(10**9, 3 * 10**11), min_size=4, max_size=4),
    starts=st.lists(st.floats(0.0, 0.999), min_size=4, max_size=4),
    script=st.lists(actions, min_size=1, max_size=16),
)
@settings(max_examples=200, deadline=None)
def test_whatever_happens_every_window_is_right_or_refused(turns_uj, starts, script):
    clock = Ticker()
    registers = [Register(turn, int(turn * start)) for turn, start in zip(turns_uj, starts, strict=True)]
    channels = [
        Channel(f"{index}={domain}", domain, one.turn_uj, one.turn_uj, one.read)
        for index, (one, domain) in enumerate(zip(registers, DOMAINS, strict=True))
    ]
    source = RaplSource(channels, clock)
    meter = RaplMeter(source)
    for one, counter in zip(registers, source.counters, strict=True):
        one.counter = counter
    since_change_s = [0.0] * 4
    marks, truths, harmed = [meter.read()], [[0] * 4], [set()]
    for action in script:
        for one in registers:
            one.last_uj = one.read() if one.error is None else one.value_uj()
        disturbed = happen(action, registers, clock, since_change_s)
        marks.append(meter.read())
        for index, one in enumerate(registers):
            if one.shown_uj != truths[-1][index]:
                since_change_s[index] = 0.0
        truths.append([one.shown_uj for one in registers])
        harmed.append({*DOMAINS} if action[0] == "gap" else {disturbed})
    for first in range(len(marks)):
        for last in range(first + 1, len(marks)):
            check(meter, marks, truths, harmed, first, last)


def check(meter, marks, truths, harmed, first, last):
    energies, missing = meter.energies(marks[first], marks[last], duration_s=1.0, cpu_s=0.0)
    rises_uj = [after - before for before, after in zip(truths[first], truths[last], strict=True)]
    for energy in energies:
        parts = [rise for rise, domain in zip(rises_uj, DOMAINS, strict=True) if domain == energy.domain]
        assert round(energy.energy_j * 1e6) == sum(parts)
        assert all(parts), "a sum over a counter that stood still"
    excused = set().union(*harmed[max(0, first - 2) : last + 1])  # a chain begins at the second reading after harm
    for gap in missing:
        parts = [rise for rise, domain in zip(rises_uj, DOMAINS, strict=True) if domain == gap.domain]
        assert gap.domain in excused or not all(parts), gap.reason
    assert len(energies) + len(missing) == 3


def test_psys_alone_is_billed_and_says_so(powercap, clock, open_tree):
    powercap.zone("intel-rapl:0", "psys")
    meter, _ = open_tree()
    energies, _ = measure(meter, clock, 1.0, lambda: powercap.add("intel-rapl:0", 90))
    assert [(energy.domain, energy.energy_j, energy.billed) for energy in energies] == [("psys", 90.0, True)]
    assert any("psys is billed" in note for note in meter.info().notes)


def test_two_counters_of_the_platform_are_not_added_up(powercap, clock, open_tree):
    for name, label in (("intel-rapl:0", "package-0"), ("intel-rapl:1", "psys"), ("intel-rapl:2", "psys")):
        powercap.zone(name, label)
    meter, missing = open_tree()
    assert meter.info().domains == ("cpu-package",)
    assert [(gap.domain, gap.billed) for gap in missing] == [("psys", False)]


def test_dram_alone_is_no_meter_for_it_would_leave_the_package_out(powercap, open_tree):
    powercap.zone("intel-rapl:0:0", "dram")
    assert open_tree()[0] is None


@pytest.mark.parametrize("lost", ["name", "max_energy_range_uj"])
def test_a_socket_that_cannot_be_described_takes_the_package_with_it(powercap, open_tree, lost):
    powercap.zone("intel-rapl:0", "package-0")
    powercap.zone("intel-rapl:1", "package-1")
    (powercap.folder("intel-rapl:1") / lost).unlink()
    meter, missing = open_tree()
    assert meter is None, "one socket of two is half the joules"
    assert missing[0].domain == "cpu-package"
    assert lost in missing[0].reason


def test_energies_carry_the_bounds_of_the_refresh_and_a_window_under_three_is_refused(powercap, clock, open_tree):
    powercap.zone("intel-rapl:0", "package-0")
    meter, _ = open_tree()  # with a refresh of 1 ms
    (energy,), _ = measure(meter, clock, 0.1, lambda: powercap.add("intel-rapl:0", 10))
    assert (energy.low_j, energy.high_j) == (pytest.approx(9.9), pytest.approx(10.1))
    energies, lost = measure(meter, clock, 0.0029, lambda: powercap.add("intel-rapl:0", 10))
    assert not energies
    assert "less than 3 refreshes" in lost[0].reason
    assert lost[0].billed


def test_a_source_opened_without_watching_says_that_its_refresh_is_not_known(powercap, clock):
    powercap.zone("intel-rapl:0", "package-0")
    source, gaps = open_source(powercap.root, clock_ns=clock)
    meter = RaplMeter(source)
    (energy,), _ = measure(meter, clock, 0.001, lambda: powercap.add("intel-rapl:0", 1))
    meter.close()
    assert not gaps
    assert (energy.energy_j, energy.low_j, energy.high_j) == (1.0, None, None)
    assert any("refresh period is not known" in note for note in meter.info().notes)


def test_a_recorded_meter_gives_the_same_joules_and_refusals_again(powercap, clock, open_tree):
    powercap.zone("intel-rapl:0", "package-0", raw_uj=TURN_UJ - 20_000_000)
    powercap.zone("intel-rapl:0:0", "dram")
    meter, _ = open_tree()
    times_ns, rows, marks = [], [], []
    for step in range(8):
        if step == 5:
            os.truncate(powercap.folder("intel-rapl:0:0") / "energy_uj", 0)
        marks.append(meter.read())
        times_ns.append(clock())
        rows.append(meter.raw(marks[-1]))
        clock.now_s += 1.0
        powercap.add("intel-rapl:0", 15)
        powercap.add("intel-rapl:0:0", 3)
    description = json.loads(json.dumps(meter.describe()))
    now, feed = iter(times_ns), iter(rows)
    time_ns = [next(now)]
    again = replayed(description, lambda: next(feed), lambda: time_ns[0])
    for first, mark in enumerate(marks):
        assert again.read() == mark, f"sample {first}"
        time_ns[0] = next(now, 0)
    assert again.channels == meter.channels
    assert again.info() == meter.info()
    for first, last in ((0, 4), (3, 6)):
        live = meter.energies(marks[first], marks[last], duration_s=float(last - first), cpu_s=0.0)
        assert again.energies(marks[first], marks[last], duration_s=float(last - first), cpu_s=0.0) == live
    assert live[1][0].domain == "dram"


def test_reading_after_close_is_a_fault_not_the_content_of_another_file(powercap, clock, open_tree):
    powercap.zone("intel-rapl:0", "package-0")
    meter, _ = open_tree()
    begin = meter.read()
    meter.close()
    clock.now_s += 1.0
    _, lost = meter.energies(begin, meter.read(), duration_s=1.0, cpu_s=0.0)
    assert "the meter was closed" in lost[0].reason


def in_child(work):
    """Run `work` in a forked child and return its text."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, work().encode())
        finally:
            os._exit(0)
    os.close(writer)
    text = os.read(reader, 4096).decode()
    os.waitpid(child, 0)
    os.close(reader)
    return text


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("held", [False, True])
def test_a_forked_child_reads_on_and_refuses_what_the_fork_interrupted(powercap, clock, open_tree, held):
    powercap.zone("intel-rapl:0", "package-0")
    meter, _ = open_tree()
    begin = meter.read()
    clock.now_s += 1.0
    powercap.add("intel-rapl:0", 25)
    if held:
        source_of(meter)._lock.acquire()  # as the guard thread does while it reads

    def work():
        energies, lost = meter.energies(begin, meter.read(), duration_s=1.0, cpu_s=0.0)
        guarded = any(thread.name == "joulebench-rapl" for thread in threading.enumerate())
        meter.close()
        return f"{guarded} " + (lost[0].reason if lost else str(energies[0].energy_j))

    text = in_child(work)
    if held:
        source_of(meter)._lock.release()
    assert text.startswith("True ")
    assert ("while the process forked" in text) if held else (text == "True 25.0")


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_that_does_not_measure_gets_no_thread(powercap, open_tree):
    powercap.zone("intel-rapl:0", "package-0")
    open_tree()
    assert in_child(lambda: str(threading.active_count())) == "1"


def test_a_source_that_nobody_holds_any_more_is_collected_with_its_guard(powercap, clock):
    powercap.zone("intel-rapl:0", "package-0", turn_uj=500_000_000)
    source, _ = open_source(powercap.root, clock_ns=clock)
    guard, fd = source._guard, source.channels[0].fd
    held = weakref.ref(source)
    del source
    gc.collect()
    guard.join(timeout=5)
    assert held() is None
    assert not guard.is_alive()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_opening_loads_neither_msgspec_nor_ctypes():
    script = (
        "import sys; before = set(sys.modules); import harness.counters.rapl as rapl; rapl.open_source('/nowhere');"
        "heavy = {'msgspec', 'ctypes', 'dataclasses', 'pathlib', 'harness.records', 'harness.meters'};"
        "print(sorted(heavy & (set(sys.modules) - before)))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
