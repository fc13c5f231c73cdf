"""The window on the real CPU clock: children are counted, neighbours are not."""

import resource
import subprocess
import sys
import time

import pytest

from harness.counters.edges import Edges, Mark, Span
from harness.counters.load import HostReader, jiffies_s
from harness.errors import InvalidMeasurement
from harness.meters import open_meters
from harness.meters.fake import FakeMeter
from harness.meters.load import host_load
from harness.meters.modelled import ModelledMeter
from harness.meters.window import MeterWindow
from harness.records import Doubt, HostLoad, MeterInfo, Provenance

BURN = "import time\nwhile time.process_time() < {}: pass\nprint(time.process_time())"


@pytest.fixture
def window():
    opened = MeterWindow([ModelledMeter("EPYC 3", billed=True)])
    yield opened
    opened.close()


def test_the_cpu_time_of_a_short_child_is_captured(window):
    mark = window.begin()
    child = subprocess.run([sys.executable, "-c", BURN.format(0.3)], capture_output=True, text=True, check=True)
    measured = window.end(mark)
    assert measured.cpu_s >= 0.99 * float(child.stdout)


def test_many_children_shorter_than_any_polling_period_are_captured(window):
    mark = window.begin()
    burnt_s = 0.0
    for _ in range(4):
        child = subprocess.run(
            [sys.executable, "-S", "-c", BURN.format(0.06)], capture_output=True, text=True, check=True
        )
        burnt_s += float(child.stdout)
    assert window.end(mark).cpu_s >= 0.99 * burnt_s


def test_asleep_beside_a_busy_neighbour_bills_almost_nothing_and_says_the_host_is_busy(window):
    script = "print('burning', flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as neighbour:
        assert neighbour.stdout is not None
        neighbour.stdout.readline()
        mark = window.begin()
        time.sleep(0.6)
        measured = window.end(mark)
        neighbour.kill()
    watts_if_billed = measured.energies[0].high_j
    assert measured.cpu_s < 0.01
    assert watts_if_billed < 0.01 * 1.97 * measured.duration_s
    if measured.load.busy_other_share is None:
        pytest.skip("this system has no /proc/stat")
    assert measured.load.busy_other_share > 0
    assert (Doubt.HOST_BUSY in measured.doubts) == (measured.load.busy_other_share > 0.05)


def test_own_work_is_not_called_others_work(window):
    begun = window.begin()
    while time.process_time_ns() - begun.mark.cpu_ns < 0.4e9:
        pass
    measured = window.end(begun)
    assert measured.cpu_s == pytest.approx(0.4, rel=0.05)
    assert measured.energies[0].energy_j == pytest.approx(measured.cpu_s * 1.5)


def test_windows_nest(window):
    outer = window.begin()
    time.sleep(0.01)
    inner = window.end(window.begin())
    whole = window.end(outer)
    assert inner.duration_s < whole.duration_s
    assert whole.duration_s >= 0.01


def line(*, busy_s=0.0, steal_s=0.0):
    """A first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal in jiffies."""
    return f"cpu  {round(busy_s * 100)} 0 0 900 5 0 0 {round(steal_s * 100)} 0 0\ncpu0 0\n".encode()


def span(begin, end, *, duration_s, cpu_s=0.0):
    def mark(stat, wall_s, own_s):
        usage = resource.struct_rusage([0] * 16)
        return Mark((None,), stat, b"", usage, 1, 0, round(own_s * 1e9), round(wall_s * 1e9))

    return Span(mark(begin, 0.0, 0.0), mark(end, duration_s, cpu_s))


def test_busy_is_user_nice_system_and_interrupts_and_nothing_else():
    assert jiffies_s(b"cpu  100 10 30 900 5 2 3 40 7 0\ncpu0 0\n") == (pytest.approx(1.45), pytest.approx(0.4))
    assert jiffies_s(b"") is None
    assert jiffies_s(b"intr 1 2 3") is None


def test_shares_are_others_time_over_all_cores_and_never_below_zero():
    ends = line(busy_s=1.45, steal_s=0.4), line(busy_s=2.45, steal_s=0.6)
    load = host_load(span(*ends, duration_s=1.0, cpu_s=0.6), load_1m=1.25, cores=4)
    assert load == HostLoad(busy_other_share=pytest.approx(0.1), steal_share=pytest.approx(0.05), load_1m=1.25)
    assert host_load(span(*ends, duration_s=1.0, cpu_s=3.0), load_1m=None, cores=4).busy_other_share == 0.0
    short = host_load(span(*ends, duration_s=0.1), load_1m=None, cores=4)
    assert short.busy_other_share is None, "jiffies cannot say"


def test_where_proc_is_absent_the_load_is_unknown_not_zero(tmp_path):
    window = MeterWindow([FakeMeter()], edges=Edges([FakeMeter()], host=HostReader(str(tmp_path / "absent"))))
    measured = window.end(window.begin())
    assert measured.load == HostLoad(busy_other_share=None, steal_share=None, load_1m=None)
    window.close()


def test_a_host_line_younger_than_a_jiffy_is_given_again_and_an_older_one_is_not(tmp_path):
    (tmp_path / "stat").write_bytes(line(busy_s=1.0))
    (tmp_path / "loadavg").write_text("1.25 0.5 0.1 1/90 4009\n")
    reader = HostReader(str(tmp_path))
    first = reader.read()
    (tmp_path / "stat").write_bytes(line(busy_s=9.0))
    time.sleep(0.02)
    assert jiffies_s(first) == (1.0, 0.0)
    assert jiffies_s(reader.read()) == (9.0, 0.0)
    assert reader.load_1m() == 1.25
    reader.close()


@pytest.mark.parametrize(("busy_s", "doubted"), [(0.02, False), (0.2, True)])
def test_a_busy_host_is_a_doubt_past_five_percent(busy_s, doubted, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    window = MeterWindow([FakeMeter()])
    found = window.interpret(span(line(), line(busy_s=busy_s), duration_s=0.25))
    assert (Doubt.HOST_BUSY in found.doubts) == doubted
    window.close()


def test_a_window_ended_in_a_forked_child_is_refused(window):
    begun = window.begin()
    elsewhere = begun._replace(mark=begun.mark._replace(pid=begun.mark.pid + 1))
    with pytest.raises(InvalidMeasurement, match="after a fork"):
        window.end(elsewhere)


def test_a_window_knows_when_it_began(window):
    before_s = time.time()
    measured = window.end(window.begin())
    assert before_s <= measured.begun_unix_s <= time.time()


def test_a_window_under_41_refreshes_of_the_coarsest_billed_meter_is_too_short():
    class Coarse(FakeMeter):
        def info(self):
            return MeterInfo(
                name="fake", domains=("fake",), provenance=Provenance.FAKE, boundary="fake", refresh_s=0.005
            )

    window = MeterWindow([Coarse()])
    mark = window.begin()
    time.sleep(0.1)
    assert Doubt.WINDOW_TOO_SHORT in window.end(mark).doubts
    time.sleep(0.11)
    assert Doubt.WINDOW_TOO_SHORT not in window.end(mark).doubts
    window.close()


def test_the_meters_of_this_host_measure_a_window():
    window = open_meters()
    mark = window.begin()
    sum(range(200_000))
    measured = window.end(mark)
    window.close()
    assert measured.duration_s > 0
    assert any(energy.domain == "cpu-process" and energy.energy_j > 0 for energy in measured.energies)
    assert all(info.read_cost_s is not None for info in window.infos())
