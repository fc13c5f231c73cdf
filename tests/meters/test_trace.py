"""Traces: what is recorded live replays to the same joules and refusals, and nothing else passes for a trace."""

import contextlib
import itertools
import json
import os
import subprocess
import sys
import threading
import time

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import harness
from harness.counters.edges import Edges
from harness.counters.process import OwnGroup
from harness.counters.rapl import RaplSource
from harness.counters.wrapping import Channel
from harness.errors import MissingExtra, ResultsError, UsageError
from harness.meters import trace as tracing
from harness.meters import traceformat
from harness.meters.fake import FakeMeter
from harness.meters.modelled import ModelledMeter
from harness.meters.nvml import open_nvml
from harness.meters.plugins import loading
from harness.meters.plugins.counted import Channel as CountedChannel
from harness.meters.plugins.counted import CountedMeter
from harness.meters.rapl import RaplMeter, open_rapl
from harness.meters.replay import every, powers, replay, replay_window, slices
from harness.meters.trace import Recorder
from harness.meters.tracefile import Trace, Writer
from harness.meters.window import MeterWindow
from harness.records import DeviceState, Doubt, Provenance

pa = pytest.importorskip("pyarrow", reason="needs the trace extra")
pq = pytest.importorskip("pyarrow.parquet")

PERIOD_S = 0.02


@pytest.fixture
def path(tmp_path):
    return tmp_path / "trace.parquet"


@pytest.fixture
def recorded(path):
    """Return a function that measures windows while a trace is recorded, and gives them back."""
    opened = []

    def run(meters, *works, period_s=PERIOD_S, **options):
        window = MeterWindow(meters, **options)
        opened.append(window)
        recorder = Recorder(window, path, period_s=period_s, context={"case": "a test"})
        recorder.start()
        measured = []
        try:
            for work in works:
                begun = window.begin()
                work()
                measured.append(window.end(begun))
        finally:
            recorder.stop()
        return measured

    yield run
    for window in opened:
        window.close()


def plain(measured):
    """Return what of a window a trace can know."""
    load = msgspec.structs.replace(measured.load, load_1m=None)
    return msgspec.structs.replace(measured, states=(), load=load)


def drive(tree, duration_s, watts, step_s=0.005):
    """Let the counters of a tree rise as they would, from a thread of their own."""
    stop = threading.Event()

    def rise():
        last_s = time.perf_counter()
        while not stop.wait(step_s):
            now_s = time.perf_counter()
            for name, power_w in watts.items():
                tree.add(name, power_w * (now_s - last_s))
            last_s = now_s

    thread = threading.Thread(target=rise)
    thread.start()
    time.sleep(duration_s)
    stop.set()
    thread.join()


def test_a_window_over_rapl_replays_to_the_same_joules_with_wraps_inside(powercap, recorded, path):
    turn_uj = 400_000_000
    powercap.zone("intel-rapl:0", "package-0", raw_uj=turn_uj - 20_000_000, turn_uj=turn_uj)
    powercap.zone("intel-rapl:0:0", "dram", raw_uj=turn_uj - 1_000_000, turn_uj=turn_uj)
    meter, _ = open_rapl(powercap.root, refresh_s=0.005)
    watts = {"intel-rapl:0": 500.0, "intel-rapl:0:0": 30.0}
    live = recorded(
        [meter, ModelledMeter("EPYC 3", billed=False)],
        lambda: drive(powercap, 0.25, watts),
        lambda: drive(powercap, 0.9, watts),
    )
    again = [replay_window(path, one) for one in live]
    assert [plain(one) for one in again] == [plain(one) for one in live]
    by_domain = {energy.domain: energy for energy in live[1].energies}
    assert by_domain["cpu-package"].energy_j > turn_uj / 1e6  # more than one turn of the counter
    assert by_domain["cpu-package"].low_j < by_domain["cpu-package"].energy_j < by_domain["cpu-package"].high_j


def test_the_share_of_a_package_replays_too(powercap, recorded, path):
    powercap.zone("intel-rapl:0", "package-0")
    meter, _ = open_rapl(powercap.root, refresh_s=0.005)
    (live,) = recorded([meter], lambda: drive(powercap, 0.4, {"intel-rapl:0": 100.0}), attribute=True)
    assert plain(replay_window(path, live)) == plain(live)
    assert Trace(path).header.attribute


@pytest.mark.parametrize("fault", ["reset", "leap", "unreadable"])
def test_what_was_refused_live_is_refused_in_the_replay(powercap, recorded, path, fault):
    powercap.zone("intel-rapl:0", "package-0", raw_uj=5_000_000_000)
    meter, _ = open_rapl(powercap.root, refresh_s=0.005)
    file = powercap.folder("intel-rapl:0") / "energy_uj"

    def break_it():
        drive(powercap, 0.1, {"intel-rapl:0": 50.0})
        if fault == "reset":
            powercap.put("intel-rapl:0", 100)
        elif fault == "leap":
            powercap.add("intel-rapl:0", 10_000.0)
        else:
            file.write_text("nothing\n")
            time.sleep(3 * PERIOD_S)
            powercap.put("intel-rapl:0", 5_100_000_000)
        drive(powercap, 0.1, {"intel-rapl:0": 50.0})

    good = lambda: drive(powercap, 0.15, {"intel-rapl:0": 50.0})  # noqa: E731
    before, broken, after = recorded([meter], good, break_it, good)
    assert not before.missing
    assert not after.missing
    assert [gap.domain for gap in broken.missing] == ["cpu-package"]
    again = [replay_window(path, one) for one in (before, broken, after)]
    assert [one.energies for one in again] == [before.energies, (), after.energies]
    assert [one.doubts for one in again] == [before.doubts, broken.doubts, after.doubts]
    words = {"reset": "went backwards", "leap": "rose implausibly", "unreadable": "could not be read"}[fault]
    assert words in broken.missing[0].reason
    assert words in again[1].missing[0].reason


def test_a_gpu_counter_and_integrated_power_replay_to_the_same_joules(stub_nvml, recorded, path):
    with_power = stub_nvml.Gpu("GPU-b", power_w=300.0)
    with_power.error = "Not Supported"
    stub_nvml.gpus = [stub_nvml.Gpu("GPU-a", power_w=100.0), with_power]
    meter, _ = open_nvml(watch_s=0.15)
    live = recorded([meter], lambda: time.sleep(0.3), lambda: time.sleep(0.2))
    again = [replay_window(path, one) for one in live]
    assert [plain(one) for one in again] == [plain(one) for one in live]
    provenances = {energy.domain: energy.provenance for energy in again[0].energies}
    assert provenances == {"gpu0": Provenance.COUNTER, "gpu1": Provenance.INTEGRATED_POWER}


def test_a_gpu_that_fails_in_mid_window_is_missing_in_the_replay(stub_nvml, recorded, path):
    gpu = stub_nvml.Gpu("GPU-a")
    stub_nvml.gpus = [gpu]
    meter, _ = open_nvml(watch_s=0.15)

    def lose_it():
        time.sleep(0.1)
        gpu.error = "GPU is lost"

    (live,) = recorded([meter], lose_it)
    assert "GPU is lost" in live.missing[0].reason
    assert plain(replay_window(path, live)) == plain(live)


def test_the_modelled_meter_replays_to_the_last_bit_children_included(recorded, path):
    def burn():
        subprocess.run([sys.executable, "-S", "-c", "sum(range(2_000_000))"], check=True)
        sum(range(1_000_000))

    (live,) = recorded([ModelledMeter("EPYC 3", billed=True)], burn)
    assert plain(replay_window(path, live)) == plain(live)
    assert live.cpu_s > 0.02


def test_a_control_group_replays_too(recorded, path, tmp_path):
    stat = tmp_path / "cpu.stat"
    stat.write_text("usage_usec 1000000\nuser_usec 1\n")
    group = OwnGroup(str(tmp_path), str(tmp_path), os.open(stat, os.O_RDONLY))
    meters = [ModelledMeter("EPYC 3", billed=True)]
    edges = Edges(meters, group=group)
    (live,) = recorded(meters, lambda: stat.write_text("usage_usec 3500000\nuser_usec 1\n"), edges=edges)
    assert live.cpu_s == 2.5
    assert replay_window(path, live).cpu_s == 2.5


def test_what_devices_said_at_the_ends_comes_with_the_whole_trace_only(recorded, path):
    class Stateful(ModelledMeter):
        def states(self, edge):
            return (DeviceState(domain="gpu0", edge=edge, throttled=("hw-thermal",)),)

    recorded([Stateful("EPYC 3", billed=True)], lambda: time.sleep(0.05))
    whole = replay(path)
    assert [state.edge for state in whole.states] == ["begin", "end"]
    assert Doubt.THROTTLED in whole.doubts
    assert replay(path, begin_s=0.03).states == ()


def test_slices_share_their_edges_and_add_up_to_the_whole(powercap, recorded, path):
    powercap.zone("intel-rapl:0", "package-0")
    meter, _ = open_rapl(powercap.root, refresh_s=0.001)
    recorded([meter], lambda: drive(powercap, 0.6, {"intel-rapl:0": 100.0}))
    trace = Trace(path)
    whole = replay(path)
    parts = every(trace, 0.2)
    assert parts[0].from_s == 0
    assert parts[-1].to_s == trace.duration_s == whole.duration_s
    assert all(one.to_s == other.from_s for one, other in itertools.pairwise(parts))
    energies = [energy for part in parts for energy in part.measured.energies if energy.domain == "cpu-package"]
    assert sum(energy.energy_j for energy in energies) == pytest.approx(whole.energies[0].energy_j, rel=1e-12)
    assert sum(energy.low_j for energy in energies) <= whole.energies[0].energy_j
    assert whole.energies[0].energy_j <= sum(energy.high_j for energy in energies)
    shown = powers(path, step_s=0.2)
    assert [one.power_w["cpu-package"] for one in shown] == pytest.approx(
        [part.measured.energies[0].energy_j / part.measured.duration_s for part in parts]
    )
    assert len(powers(path)) == len(set(trace.wall_ns)) - 1


def test_edges_between_samples_snap_to_the_nearest_and_say_so(recorded, path):
    recorded([ModelledMeter("EPYC 3", billed=True)], lambda: time.sleep(0.2))
    trace = Trace(path)
    times_s = [(wall_ns - trace.wall_ns[0]) / 1e9 for wall_ns in trace.wall_ns]
    (one,) = slices(trace, [(0.047, 0.161)])
    assert one.from_s == min(times_s, key=lambda time_s: abs(time_s - 0.047))
    assert one.to_s == min(times_s, key=lambda time_s: abs(time_s - 0.161))
    assert one.measured.duration_s == pytest.approx(one.to_s - one.from_s, abs=1e-9)
    for begin_s, end_s, words in ((0.05, 0.05, "no two samples"), (0.1, 0.05, "no two"), (0.0, 9.0, "lies outside")):
        with pytest.raises(UsageError, match=words):
            replay(path, begin_s=begin_s, end_s=end_s)
    with pytest.raises(UsageError, match="too short"):
        every(trace, 0.001)


class Scripted:
    """A trace whose counters are made up, with the truth beside it."""

    def __init__(self, steps, turn_uj, start_uj):
        source = RaplSource([Channel("z=package-0", "cpu-package", turn_uj, turn_uj, lambda: 0)])
        self.window = MeterWindow([RaplMeter(source, 0.001)])
        self.times_ns = list(itertools.accumulate((elapsed_ns for elapsed_ns, _ in steps), initial=10**12))
        self.sums_uj = list(itertools.accumulate((rise_uj for _, rise_uj in steps), initial=start_uj))
        self.raw_uj = [sum_uj % turn_uj for sum_uj in self.sums_uj]

    def write(self, path):
        header = Recorder(self.window, path).header
        writer = Writer(path, header)
        half = len(self.times_ns) // 2
        for part in (slice(0, half), slice(half, None)):
            writer.write(self._columns(part))
        writer.finish(header)

    def _columns(self, part):
        times_ns = self.times_ns[part]
        columns = {name: [0] * len(times_ns) for name in traceformat.COLUMNS}
        columns |= {"wall_ns": times_ns, "boot_ns": times_ns, "unix_ns": times_ns}
        return columns | {"rapl.z=package-0": self.raw_uj[part], "rapl.z=package-0.text": [None] * len(times_ns)}


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_any_slice_of_any_counter_gives_its_true_joules(tmp_path_factory, data):
    turn_uj = data.draw(st.integers(400_000_000, 2**32))
    start_uj = data.draw(st.integers(0, turn_uj - 1))
    elapsed = st.integers(10_000_000, 200_000_000)
    rise = elapsed.flatmap(lambda ns: st.tuples(st.just(ns), st.integers(1, ns)))  # up to 1000 W
    steps = data.draw(st.lists(rise, min_size=3, max_size=40))
    made = Scripted(steps, turn_uj, start_uj)
    path = tmp_path_factory.mktemp("made") / "trace.parquet"
    made.write(path)
    last = len(made.times_ns) - 1
    first_index = data.draw(st.integers(0, last - 1))
    last_index = data.draw(st.integers(first_index + 1, last))
    middle = data.draw(st.integers(first_index, last_index))
    offsets_s = [(made.times_ns[index] - made.times_ns[0]) / 1e9 for index in (first_index, middle, last_index)]
    whole = replay(path, begin_s=offsets_s[0], end_s=offsets_s[2])
    assert whole.energies[0].energy_j == (made.sums_uj[last_index] - made.sums_uj[first_index]) / 1e6
    if first_index < middle < last_index:
        parts = slices(Trace(path), [(offsets_s[0], offsets_s[1]), (offsets_s[1], offsets_s[2])])
        energies = [part.measured.energies[0] for part in parts]
        assert sum(energy.energy_j for energy in energies) == pytest.approx(whole.energies[0].energy_j)
        assert energies[0].low_j <= (made.sums_uj[middle] - made.sums_uj[first_index]) / 1e6 <= energies[0].high_j


def test_a_host_that_slept_between_two_samples_is_refused_as_live(path):
    made = Scripted([(10**8, 10**6)] * 6, 400_000_000, 0)
    columns = made._columns(slice(None))
    columns["boot_ns"] = [time_ns + (3600 * 10**9 if index > 3 else 0) for index, time_ns in enumerate(made.times_ns)]
    header = Recorder(made.window, path).header
    writer = Writer(path, header)
    writer.write(columns)
    writer.finish(header)
    assert "not read for 3600" in replay(path).missing[0].reason
    assert not replay(path, end_s=0.3).missing


def test_a_meter_that_no_trace_can_hold_is_missing_with_the_reason(recorded, path):
    class Wall(FakeMeter):
        name = "wall"
        contains_everything = True

        def __init__(self):
            super().__init__()
            self.billed = frozenset({"fake"})

    (live,) = recorded([ModelledMeter("EPYC 3", billed=True), Wall()], lambda: time.sleep(0.05))
    again = replay_window(path, live)
    assert [(gap.domain, gap.billed) for gap in again.missing] == [("fake", True)]
    assert "no raw readings" in again.missing[0].reason
    assert [energy.billed for energy in again.energies] == [False]  # the wall would have contained it
    assert Doubt.METER_MISSING in again.doubts


def test_a_plug_in_is_replayed_by_its_own_module_and_missed_where_it_is_not_installed(monkeypatch, recorded, path):
    counts = itertools.count(1000, 50)
    channel = CountedChannel(
        domain="soc", label="SoC", boundary="SoC", j_per_count=0.001, ceiling_w=1e6, refresh_s=0.001
    )
    meter = CountedMeter("mine", [channel], lambda: (next(counts),))
    (live,) = recorded([meter], lambda: time.sleep(0.05))
    absent = replay_window(path, live)
    assert [(gap.domain, gap.billed) for gap in absent.missing] == [("soc", True)]
    assert "no meter plug-in 'mine'" in absent.missing[0].reason
    monkeypatch.setattr(loading, "load", lambda name: CountedMeter if name == "mine" else None)
    assert plain(replay_window(path, live)) == plain(live)
    monkeypatch.setattr(loading, "load", lambda name: FakeMeter)
    assert "cannot replay" in replay_window(path, live).missing[0].reason


def test_the_public_window_is_in_its_own_trace_to_the_last_bit(path):
    with harness.measure("sum", trace=path) as window:
        sum(range(300_000))
    again = replay_window(path, window.measured)
    assert again.energies == window.measured.energies
    assert again.cpu_s == window.cpu_s


def test_windows_of_many_threads_are_in_the_trace_in_the_order_they_were_read(powercap, path):
    powercap.zone("intel-rapl:0", "package-0")
    meter, _ = open_rapl(powercap.root, refresh_s=1e-6)
    window = MeterWindow([meter])
    recorder = Recorder(window, path, period_s=0.002)
    recorder.start()
    found = []
    rising = threading.Lock()

    def measure():
        for _ in range(60):
            begun = window.begin()
            with rising:
                powercap.add("intel-rapl:0", 0.001)
            found.append(window.end(begun))

    threads = [threading.Thread(target=measure) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recorder.stop()
    window.close()
    assert list(Trace(path).wall_ns) == sorted(Trace(path).wall_ns)
    assert not replay(path).missing
    for one in found[::20]:
        assert replay_window(path, one).energies == one.energies


def test_a_window_that_is_not_in_the_trace_is_refused(recorded, path):
    (live,) = recorded([ModelledMeter("EPYC 3", billed=True)], lambda: time.sleep(0.05))
    with pytest.raises(UsageError, match="holds no window"):
        replay_window(path, msgspec.structs.replace(live, begun_unix_s=live.begun_unix_s + 0.01))
    with pytest.raises(UsageError, match="holds no window"):
        replay_window(path, msgspec.structs.replace(live, duration_s=live.duration_s + 0.001))


def test_parquet_alone_reads_the_documented_columns(powercap, recorded, path):
    powercap.zone("intel-rapl:0", "package-0")
    meter, _ = open_rapl(powercap.root, refresh_s=0.005)
    recorded([meter], lambda: drive(powercap, 0.1, {"intel-rapl:0": 50.0}))
    table = pq.read_table(path)
    assert table.column_names == [
        "wall_ns", "boot_ns", "unix_ns", "cpu_ns", "children_user_ns", "children_system_ns", "group_ns",
        "host_busy_ns", "host_steal_ns", "rapl.intel-rapl:0=package-0", "rapl.intel-rapl:0=package-0.text",
    ]  # fmt: skip
    frame = table.to_pandas()
    assert frame["wall_ns"].is_monotonic_increasing
    assert frame["rapl.intel-rapl:0=package-0"].iloc[-1] - frame["rapl.intel-rapl:0=package-0"].iloc[0] > 1_000_000
    assert frame["group_ns"].isna().all()
    header = json.loads(table.schema.metadata[b"joulebench"])
    assert header["context"] == {"case": "a test"}
    assert header["meters"][0]["info"]["name"] == "rapl"
    assert header["sampler_cpu_s"] > 0
    documented = (traceformat.Path(__file__).parents[2] / "docs" / "traces.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in documented for name in traceformat.COLUMNS)


def test_first_and_last_sample_are_taken_at_start_and_stop_and_the_period_does_not_drift(path):
    window = MeterWindow([ModelledMeter("EPYC 3", billed=True)])
    recorder = Recorder(window, path, period_s=0.05)
    before_ns = time.perf_counter_ns()
    recorder.start()
    started_ns = time.perf_counter_ns()
    time.sleep(0.62)
    stopped_ns = time.perf_counter_ns()
    recorder.stop()
    recorder.stop()
    trace = Trace(path)
    assert before_ns <= trace.wall_ns[0] <= started_ns
    assert stopped_ns <= trace.wall_ns[-1]
    assert len(trace.wall_ns) == recorder.samples + 2
    inside = [wall_ns - trace.wall_ns[0] for wall_ns in trace.wall_ns[1:-1]]
    assert min(ns % 50_000_000 for ns in inside) < 5_000_000  # deadlines are multiples of the period
    assert 0 < trace.header.sampler_cpu_s < 0.1


def test_an_existing_file_is_never_written_over(recorded, path):
    recorded([ModelledMeter("EPYC 3", billed=True)], lambda: None)
    held = path.read_bytes()
    window = MeterWindow([ModelledMeter("EPYC 3", billed=True)])
    with pytest.raises(UsageError, match=r"trace\.parquet exists and is not written over"):
        Recorder(window, path)
    assert path.read_bytes() == held
    with pytest.raises(UsageError, match=r"folder of the trace .* does not exist"):
        Recorder(window, path.parent / "nowhere" / "trace.parquet")
    assert tracing.free_path(path.parent, "trace").name == "trace-2.parquet"
    late = Recorder(window, path.with_name("late.parquet"))
    late.start()
    late.path.write_text("someone else's")
    with pytest.raises(ResultsError, match=r"came to exist.*replay .*late\.parquet\.partial"):
        late.stop()
    assert late.path.read_text() == "someone else's"
    assert replay(traceformat.partial_of(late.path)).duration_s > 0


def test_without_pyarrow_a_trace_is_refused_before_anything_is_measured(monkeypatch, path):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr(traceformat.importlib.util, "find_spec", lambda name: None)
    window = MeterWindow([ModelledMeter("EPYC 3", billed=True)])
    for attempt in (lambda: Recorder(window, path), lambda: replay(path)):
        with pytest.raises(MissingExtra, match=r"joulebench\[trace\]"):
            attempt()
    assert list(path.parent.iterdir()) == []


KILLED = """
import os, signal, sys, time
from harness.meters import trace
from harness.meters.modelled import ModelledMeter
from harness.meters.window import MeterWindow
trace.CHUNK_ROWS = 5
recorder = trace.Recorder(MeterWindow([ModelledMeter("EPYC 3", billed=True)]), sys.argv[1], period_s=0.01)
recorder.start()
while recorder.samples < 18:
    time.sleep(0.01)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_that_dies_loses_at_most_a_chunk_and_its_trace_is_called_unfinished(path):
    ended = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert ended.returncode == -9
    with pytest.raises(UsageError, match=r"never finished.*replay .*trace\.parquet\.partial"):
        replay(path)
    partial = traceformat.partial_of(path)
    with pytest.raises(UsageError, match=r"partial exists"):
        Recorder(MeterWindow([ModelledMeter("EPYC 3", billed=True)]), path)
    trace = Trace(partial)
    assert not trace.finished
    assert trace.header.sampler_cpu_s is None
    assert len(trace.wall_ns) >= 15
    assert replay(partial).duration_s == trace.duration_s
    cut = path.with_name("cut.partial")
    cut.write_bytes(partial.read_bytes()[:-40])
    assert 2 <= len(Trace(cut).wall_ns) < len(trace.wall_ns) + 1


FORKED = """
import os, sys, time
from harness.meters.modelled import ModelledMeter
from harness.meters.trace import Recorder
from harness.meters.window import MeterWindow
window = MeterWindow([ModelledMeter("EPYC 3", billed=True)])
recorder = Recorder(window, sys.argv[1], period_s=0.001)
recorder.start()
for _ in range(20):
    child = os.fork()
    if child == 0:
        window.begin()
        recorder.stop()
        sys.exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
recorder.stop()
"""


def test_forked_children_neither_hang_nor_touch_the_trace(path):
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED, str(path)], check=True, timeout=60)
    assert Trace(path).finished
    assert replay(path).energies


def test_a_disk_that_is_full_is_an_error_at_stop_and_harms_no_window(monkeypatch, path):
    window = MeterWindow([ModelledMeter("EPYC 3", billed=True)])
    recorder = Recorder(window, path, period_s=0.005)
    monkeypatch.setattr(tracing, "CHUNK_ROWS", 3)

    def full(writer, columns):
        raise writer._failed(OSError("No space left on device"))

    monkeypatch.setattr(Writer, "write", full)
    begun = window.begin()
    recorder.start()
    time.sleep(0.1)
    assert window.end(begun).energies
    with pytest.raises(ResultsError, match="No space left on device"):
        recorder.stop()


def test_a_reading_beyond_64_bits_is_refused_and_not_cut(path):
    made = Scripted([(10**8, 10**6)] * 3, 400_000_000, 0)
    readings = iter([1, 2**63, 3, 4, 5])
    channel = CountedChannel(domain="soc", label="SoC", boundary="SoC", j_per_count=1.0, ceiling_w=1e30)
    made.window = MeterWindow([CountedMeter("amd", [channel], lambda: (next(readings),))])
    recorder = Recorder(made.window, path, period_s=10.0)
    recorder.start()
    begun = made.window.begin()
    made.window.end(begun)
    recorder.stop()
    table = pq.read_table(path)
    assert table["amd.soc"].to_pylist()[1] is None
    assert "outside 64 bits" in table["amd.soc.text"].to_pylist()[1]


@pytest.fixture
def sound(recorded, path):
    recorded([ModelledMeter("EPYC 3", billed=True)], lambda: time.sleep(0.1))
    return path


def rewritten(path, **changes):
    """Write the trace again with its header changed, and its digest made to fit."""
    table = pq.read_table(path)
    header = json.loads(table.schema.metadata[b"joulebench"]) | changes
    text = json.dumps(header).encode()
    digest = traceformat.hashlib.sha256(text).hexdigest()
    pq.write_table(table.replace_schema_metadata({b"joulebench": text, b"joulebench.sha256": digest}), path)


def test_a_newer_format_is_refused_by_name(sound):
    rewritten(sound, schema=2)
    with pytest.raises(UsageError, match=r"trace\.parquet is a trace of format 2.*pip install --upgrade"):
        replay(sound)


def test_a_header_that_was_altered_is_refused(sound):
    table = pq.read_table(sound)
    metadata = {**table.schema.metadata, b"joulebench": table.schema.metadata[b"joulebench"].replace(b"1.", b"9.", 1)}
    pq.write_table(table.replace_schema_metadata(metadata), sound)
    with pytest.raises(UsageError, match="its header was altered"):
        replay(sound)
    rewritten(sound, unheard_of=1)
    with pytest.raises(UsageError, match="header cannot be understood"):
        replay(sound)


def test_columns_and_order_that_do_not_fit_the_header_are_refused(sound):
    table = pq.read_table(sound)
    pq.write_table(table.drop_columns(["cpu_ns"]), sound)
    with pytest.raises(UsageError, match="its columns are not those"):
        replay(sound)
    schema = table.schema
    pq.write_table(table.take(list(range(table.num_rows))[::-1]).cast(schema), sound)
    with pytest.raises(UsageError, match="not in the order of time"):
        replay(sound)


def test_files_that_are_no_traces_are_refused_by_name(sound, tmp_path):
    foreign = tmp_path / "foreign.parquet"
    pq.write_table(pa.table({"a": [1, 2]}), foreign)
    with pytest.raises(UsageError, match=r"foreign\.parquet holds a table but no trace"):
        replay(foreign)
    text = tmp_path / "notes.txt"
    text.write_text("power,time\n")
    with pytest.raises(UsageError, match=r"notes\.txt is no trace, or a damaged one"):
        replay(text)
    for content in (b"", b"PAR1", sound.read_bytes()[:-100]):
        text.write_bytes(content)
        with pytest.raises(UsageError, match=r"notes\.txt is no trace, or a damaged one"):
            replay(text)
    with pytest.raises(UsageError, match=r"cannot read the trace .*absent"):
        replay(tmp_path / "absent.parquet")
    with pytest.raises(UsageError, match="cannot read the trace"):
        replay(tmp_path)


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_no_flipped_byte_of_a_trace_gives_another_joule(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("flipped")
    path = folder / "trace.parquet"
    Scripted([(10**8, 10**6)] * 8, 400_000_000, 123).write(path)
    true = replay(path)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with contextlib.suppress(UsageError):
        assert replay(path) == true
