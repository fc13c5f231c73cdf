"""The window on the real CPU clock: children are counted, neighbours are not."""

import subprocess
import sys
import time

import pytest

from harness.meters import open_meters
from harness.meters.fake import FakeMeter
from harness.meters.load import HostReader, Jiffies
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
    mark = window.begin()
    while time.process_time_ns() - mark.cpu_ns < 0.4e9:
        pass
    measured = window.end(mark)
    assert measured.cpu_s == pytest.approx(0.4, rel=0.05)
    assert measured.energies[0].energy_j == pytest.approx(measured.cpu_s * 1.5)


def test_windows_nest(window):
    outer = window.begin()
    time.sleep(0.01)
    inner = window.end(window.begin())
    whole = window.end(outer)
    assert inner.duration_s < whole.duration_s
    assert whole.duration_s >= 0.01


def test_shares_are_others_time_over_all_cores_and_never_below_zero(tmp_path):
    (tmp_path / "stat").write_text("cpu  100 10 30 900 5 2 3 40 7 0\ncpu0 0\n")
    (tmp_path / "loadavg").write_text("1.25 0.5 0.1 1/90 4009\n")
    reader = HostReader(tmp_path, cores=4)
    begin = reader.read()
    assert begin == Jiffies(busy_s=pytest.approx(1.45), steal_s=pytest.approx(0.4))
    end = Jiffies(busy_s=begin.busy_s + 1.0, steal_s=begin.steal_s + 0.2)
    load = reader.load(begin, end, duration_s=1.0, cpu_s=0.6)
    assert load == HostLoad(busy_other_share=pytest.approx(0.1), steal_share=pytest.approx(0.05), load_1m=1.25)
    assert reader.load(begin, end, duration_s=1.0, cpu_s=3.0).busy_other_share == 0.0
    assert reader.load(begin, end, duration_s=0.1, cpu_s=0.0).busy_other_share is None, "jiffies cannot say"
    reader.close()


def test_where_proc_is_absent_the_load_is_unknown_not_zero(tmp_path):
    reader = HostReader(tmp_path / "absent")
    window = MeterWindow([FakeMeter()], host=reader)
    measured = window.end(window.begin())
    assert measured.load == HostLoad(busy_other_share=None, steal_share=None, load_1m=None)
    window.close()


@pytest.mark.parametrize(("busy_s", "doubted"), [(0.04, False), (0.2, True)])
def test_a_busy_host_is_a_doubt_past_five_percent(busy_s, doubted):
    class Scripted(HostReader):
        total_s = 0.0

        def read(self):
            self.total_s += busy_s
            return Jiffies(busy_s=self.total_s, steal_s=0.0)

    window = MeterWindow([FakeMeter()], host=Scripted(cores=4))
    mark = window.begin()
    time.sleep(0.25)
    assert (Doubt.HOST_BUSY in window.end(mark).doubts) == doubted
    window.close()


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
