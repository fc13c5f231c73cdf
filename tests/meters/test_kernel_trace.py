"""Traces that the kernel samples: the real system call, on a PMU that is simulated in its sysfs files only.

The simulated `power` PMU has the type of the kernel's software PMU (see `test_perf_events.py`): one joule a second.
"""

import contextlib
import ctypes
import itertools
import json
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from harness.counters import perf_events, ring
from harness.counters.perf_events import EnergyCount, Event, exact_ratio, open_channels
from harness.counters.rapl import open_source
from harness.counters.ring import open_ring
from harness.counters.wrapping import close
from harness.meters import kernelsampler
from harness.meters import trace as tracing
from harness.meters.kernelsampler import BESIDE_NS, KernelSampler
from harness.meters.modelled import ModelledMeter
from harness.meters.rapl import RaplMeter
from harness.meters.replay import every, powers, replay, replay_window, slices
from harness.meters.trace import Recorder, noted
from harness.meters.tracefile import Trace
from harness.meters.window import MeterWindow

pq = pytest.importorskip("pyarrow.parquet", reason="needs the trace extra")

ENERGIES = ("energy-pkg", "energy-ram")


def descriptors():
    return sorted(str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink())


def perf_mappings():
    return Path("/proc/self/maps").read_text(encoding="ascii").count("anon_inode:[perf_event]")


@pytest.fixture
def counts(power_pmu):
    """The energy events of a simulated PMU; skip where this kernel lets nobody count."""
    power_pmu.describe(ENERGIES)
    channels, gaps = open_channels(str(power_pmu.root))
    if not channels:
        pytest.skip(gaps[0][1])
    yield [channel.read for channel in channels]
    close(channels)


@pytest.fixture
def rapl(power_pmu):
    power_pmu.describe(ENERGIES)
    source, gaps = open_source(power_pmu.root)
    if source is None:
        pytest.skip(gaps[0][1])
    meter = RaplMeter(source, refresh_s=0.001)
    yield meter
    meter.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "trace.parquet"


@contextlib.contextmanager
def recording(window, path, **options):
    recorder = Recorder(window, path, **options)
    recorder.start()
    try:
        yield recorder
    finally:
        recorder.stop()


def measured(window, *lengths_s):
    found = []
    for length_s in lengths_s:
        begun = window.begin()
        time.sleep(length_s)
        found.append(window.end(begun))
    return found


def plain(one):
    return msgspec.structs.replace(one, states=(), load=msgspec.structs.replace(one.load, load_1m=None))


def cpu_known(path):
    return [value is not None for value in pq.read_table(path)["cpu_ns"].to_pylist()]


def test_ten_samples_a_second_come_from_the_kernel_and_no_thread_wakes_for_them(rapl, path):
    window = MeterWindow([rapl])
    with recording(window, path):
        before = sum_of_switches()
        time.sleep(1.53)
        woken = sum_of_switches() - before
    rows = cpu_known(path)
    assert rows.count(False) in (14, 15), "fifteen, less one that the host held up"
    assert rows[0]
    assert rows[-1]
    assert woken <= 3, "this thread's own sleep and what the interpreter does beside it"
    header = Trace(path).header
    assert header.sampler == "kernel"
    assert header.sampler_cpu_s == 0
    steps_ns = [later - earlier for earlier, later in itertools.pairwise(Trace(path).wall_ns[1:-1])]
    assert sorted(steps_ns)[len(steps_ns) // 2] == pytest.approx(1e8, rel=0.02)


def sum_of_switches():
    """Return how often any thread of this process slept and woke."""
    tasks = (task / "status" for task in Path("/proc/self/task").iterdir())
    lines = (line for task in tasks for line in task.read_text(encoding="ascii").splitlines())
    return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))


def test_windows_replay_to_the_joules_they_had_and_slices_between_edges_take_theirs_from_the_kernel(rapl, path):
    window = MeterWindow([rapl, ModelledMeter("EPYC 3", billed=False)])
    with recording(window, path, period_s=0.02):
        live = measured(window, 0.31, 0.2)
    assert all(not one.missing for one in live)
    assert [plain(replay_window(path, one)) for one in live] == [plain(one) for one in live]
    whole = replay(path)
    assert whole.cpu_s is not None
    parts = every(Trace(path), 0.1)
    assert len(parts) >= 5
    for domain in ("cpu-package", "dram"):
        joules = [energy.energy_j for part in parts for energy in part.measured.energies if energy.domain == domain]
        total = next(energy.energy_j for energy in whole.energies if energy.domain == domain)
        assert sum(joules) == pytest.approx(total, rel=1e-9)
    for part in parts:
        energies = {energy.domain: energy.energy_j for energy in part.measured.energies}
        # 1 J a second; each sample is the kernel's own reading at its own time
        assert energies["cpu-package"] == pytest.approx(part.measured.duration_s, rel=0.1)
    inner = parts[1].measured
    assert inner.cpu_s is None
    assert inner.load.busy_other_share is None
    assert {gap.domain: gap.billed for gap in inner.missing} == {"cpu-process": False}
    assert "CPU times" in inner.missing[0].reason
    assert parts[0].to_s == parts[1].from_s
    assert {"cpu-package", "dram"} <= set(powers(path, step_s=0.1)[1].power_w)


def test_the_times_of_a_kernels_row_fit_those_of_the_edges_around_it(rapl, path):
    window = MeterWindow([rapl])
    with recording(window, path, period_s=0.02):
        time.sleep(0.3)
    table = pq.read_table(path).to_pydict()
    full, kernels = cpu_known(path).index(True), [place for place, known in enumerate(cpu_known(path)) if not known]
    for clock in ("boot_ns", "unix_ns"):
        ahead = [there - here for there, here in zip(table[clock], table["wall_ns"], strict=True)]
        assert all(abs(ahead[place] - ahead[full]) < 5_000_000 for place in kernels)
        assert table[clock] == sorted(table[clock])
    assert all(table[column][place] is None for column in table if ".text" in column for place in kernels)


def test_samples_cross_the_end_of_the_ring_whole_and_in_order(counts):
    sampling = open_ring(counts, 0.002, 1)
    assert sampling._bytes == os.sysconf("SC_PAGE_SIZE")
    found = []
    while len(found) < 400:
        time.sleep(0.01)
        found += sampling.samples(sampling.take())
    assert sampling._head.value > 4 * sampling._bytes
    assert (sampling.lost, sampling.partial) == (0, 0)
    sampling.close()
    steps = [later.monotonic_ns - earlier.monotonic_ns for earlier, later in itertools.pairwise(found)]
    assert min(steps) > 0
    for energies_uj in zip(*(sample.energies_uj for sample in found), strict=True):
        rises_uj = [later - earlier for earlier, later in itertools.pairwise(energies_uj)]
        assert min(rises_uj) > 0
        # One joule a second: microjoules rise as microseconds do, but where the host was held up in between.
        off = sorted(abs(rise_uj - step_ns / 1e3) for rise_uj, step_ns in zip(rises_uj, steps, strict=True))
        assert off[len(off) // 2] < 100


def test_the_kernels_count_is_that_of_the_meter(counts):
    sampling = open_ring(counts, 0.01, 100)
    before = [count() for count in counts]
    time.sleep(0.025)
    after = [count() for count in counts]
    found = sampling.samples(sampling.take())
    sampling.close()
    for low, middle, high in zip(before, found[-1].energies_uj, after, strict=True):
        assert low <= middle <= high


def test_a_counter_of_the_hardware_is_sampled_too(power_pmu):
    """The time stamp counter of the `msr` PMU: no energy, but read from a register within the interrupt."""
    try:
        kind = Path("/sys/bus/event_source/devices/msr/type").read_text(encoding="ascii")
    except OSError:
        pytest.skip("this kernel has no msr PMU")
    power_pmu.describe(["energy-pkg"], kind=int(kind), scale="4e-10")
    channels, gaps = open_channels(str(power_pmu.root))
    if not channels:
        pytest.skip(gaps[0][1])
    sampling = open_ring([channels[0].read], 0.01, 100)
    before = channels[0].read()
    time.sleep(0.1)
    after = channels[0].read()
    found = [sample.energies_uj[0] for sample in sampling.samples(sampling.take())]
    sampling.close()
    close(channels)
    assert len(found) >= 8
    assert before < found[1] < found[-2] < after
    steps = sorted(later - earlier for earlier, later in itertools.pairwise(found))
    assert steps[len(steps) // 2] == pytest.approx((after - before) / 10, rel=0.1)


def test_samples_that_find_the_ring_full_are_counted(counts):
    sampling = open_ring(counts, 0.0005, 1)
    time.sleep(0.15)
    kept = len(sampling.samples(sampling.take()))
    assert kept < 80
    time.sleep(0.05)
    sampling.samples(sampling.take())
    assert sampling.lost > 50
    sampling.close()


def test_lost_samples_are_told_in_the_trace(rapl, path, monkeypatch):
    monkeypatch.setattr(tracing, "CHUNK_ROWS", 10)
    monkeypatch.setattr(kernelsampler, "CHUNKS", 1)
    monkeypatch.setattr(Recorder, "_flushed", lambda self, writer: time.sleep(0.25) or True)
    window = MeterWindow([rapl])
    recorder = Recorder(window, path, period_s=0.001)
    recorder.start()
    time.sleep(0.3)
    recorder._kernel.columns(recorder._kernel.take(), recorder._kept[:], window.meters, recorder.header.meters)
    time.sleep(0.01)
    recorder.stop()
    notes = Trace(path).header.sampler_notes
    assert any("were lost, the ring was full" in note for note in notes), notes


def test_every_kind_of_record_is_understood_and_a_partial_sample_is_left_out(counts):
    sampling = open_ring(counts, 10.0, 10)
    idle_ns = sampling._idle_ns

    def record(kind, *words):
        return struct.pack(f"=IHH{len(words)}Q", kind, 0, 8 + 8 * len(words), *words)

    data = record(5, 1, 2, 3) + record(9, 100, 3, 50 + idle_ns, 50, 7, 2000, 3000) + record(2, 0, 11)
    data += record(9, 200, 3, 90 + idle_ns, 50, 7, 2000, 3000) + record(6, 1, 2, 3) + record(99)
    (only,) = sampling.samples(data)
    assert only.monotonic_ns == 100
    offsets = sampling._offsets
    assert only.energies_uj == ((2000 + offsets[0]) // 1000, (3000 + offsets[1]) // 1000)
    assert (sampling.lost, sampling.throttled, sampling.partial) == (11, 1, 1)
    sampling.close()


def test_closing_gives_back_descriptors_and_memory(counts):
    before, mapped = descriptors(), perf_mappings()
    sampling = open_ring(counts, 0.01, 100)
    assert len(descriptors()) == len(before) + 1 + len(ENERGIES)
    assert perf_mappings() == mapped + 1
    sampling.close()
    sampling.close()
    assert sampling.take() == b""
    assert (descriptors(), perf_mappings()) == (before, mapped)
    open_ring(counts, 0.01, 100)  # forgotten
    assert (descriptors(), perf_mappings()) == (before, mapped)


def test_a_recorder_that_stopped_holds_nothing(rapl, path):
    window = MeterWindow([rapl])
    before, mapped = descriptors(), perf_mappings()
    with recording(window, path, period_s=0.02):
        assert perf_mappings() == mapped + 1
    assert (descriptors(), perf_mappings()) == (before, mapped)


def test_a_trace_that_cannot_be_made_leaves_no_ring(rapl, path):
    mapped = perf_mappings()
    recorder = Recorder(MeterWindow([rapl]), path)
    tracing.partial_of(path).write_text("someone else's")
    with pytest.raises(tracing.UsageError, match="cannot be made"):
        recorder.start()
    assert perf_mappings() == mapped


@pytest.mark.parametrize(
    ("refused", "why"),
    [
        (1, "does not permit samples of CPU 0 (Operation not permitted): it needs CAP_PERFMON"),
        (13, "does not permit samples of CPU 0 (Permission denied)"),
        (22, "does not give samples of CPU 0 (Invalid argument)"),
    ],
)
def test_where_the_kernel_refuses_a_thread_samples_and_the_trace_says_why(rapl, path, monkeypatch, refused, why):
    monkeypatch.setattr(ring, "open_event", lambda attributes, cpu, leader: (-1, refused))
    window = MeterWindow([rapl])
    with recording(window, path, period_s=0.02) as recorder:
        (live,) = measured(window, 0.1)
        told = noted(recorder, window.infos())[0].notes[-1]
    header = Trace(path).header
    assert header.sampler == "thread"
    assert why in header.sampler_notes[0]
    assert why in told
    assert all(cpu_known(path))
    assert plain(replay_window(path, live)) == plain(live)


def test_a_group_of_unlike_events_that_the_kernel_refuses_is_given_up_whole(counts):
    event = Event("energy-odd", "dram", 0, *exact_ratio("1e-9"))
    unknown = EnergyCount(counts[0].fd, 4_000_000, 0, event)
    before = descriptors()
    assert "does not give energy-odd in samples of CPU 0" in open_ring([counts[0], unknown], 0.1, 10)
    assert descriptors() == before


def test_a_real_refusal_is_explained(power_pmu):
    """A child without privileges may sample nothing where `perf_event_paranoid` is above 0."""
    if os.getuid() != 0 or int(Path(perf_events.PARANOID).read_text(encoding="ascii")) <= 0:
        pytest.skip("needs root and kernel.perf_event_paranoid above 0")
    power_pmu.describe()
    channels, _ = open_channels(str(power_pmu.root))
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setuid(65534)
        os.write(writer, str(open_ring([channels[0].read], 0.1, 10)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    reason = os.read(reader, 4096).decode()
    os.close(reader)
    close(channels)
    assert "needs CAP_PERFMON" in reason


def test_no_memory_for_the_ring_is_a_reason(counts, monkeypatch):
    before = descriptors()
    monkeypatch.setattr(ring, "_mapped", lambda fd, size: "Operation not permitted")
    assert "kernel.perf_event_mlock_kb" in open_ring(counts, 0.1, 10)
    assert descriptors() == before


def test_a_count_that_cannot_be_put_beside_the_meters_is_refused(power_pmu):
    power_pmu.describe(scale="1")  # a joule a nanosecond: never still, and leaping by more than a step between looks
    channels, _ = open_channels(str(power_pmu.root))
    mapped = perf_mappings()
    assert "cannot be put beside the meter's" in open_ring([channels[0].read], 0.1, 10)
    assert perf_mappings() == mapped
    close(channels)


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two CPUs")
def test_several_sockets_are_sampled_by_a_thread(power_pmu, path):
    power_pmu.describe(cpus="0-1")
    power_pmu.packages(0, 1)
    source, gaps = open_source(power_pmu.root)
    if source is None:
        pytest.skip(gaps[0][1])
    window = MeterWindow([RaplMeter(source, 0.001)])
    with recording(window, path, period_s=0.02):
        time.sleep(0.1)
    window.close()
    assert "several sockets" in Trace(path).header.sampler_notes[0]


def test_what_the_kernel_cannot_read_is_sampled_by_a_thread_and_named(rapl, powercap, path):
    def reason(meters, **options):
        place = path.with_name(f"{len(list(path.parent.iterdir()))}.parquet")
        with recording(MeterWindow(meters, **options), place, period_s=0.02):
            time.sleep(0.05)
        return Trace(place).header.sampler_notes[0]

    assert "the kernel cannot read the meter 'modelled'" in reason([rapl, ModelledMeter("EPYC 3", billed=True)])
    assert "no energy counter" in reason([])
    assert "shares of the package" in reason([rapl], attribute=True)
    powercap.zone("intel-rapl:0", "package-0")
    (powercap.root / "bus" / "event_source" / "devices" / "power" / "type").write_text("none\n")
    source, _ = open_source(powercap.root)
    assert "intel-rapl:0=package-0 is not read through perf events" in reason([RaplMeter(source, 0.001)])
    source.close()


class Taken:
    """A ring that gives what the test says."""

    lost = throttled = partial = 0

    def __init__(self, samples):
        self.samples = lambda data: samples


def admitted(rapl, samples, edges):
    sampler = KernelSampler(Taken(samples), 0, ["a", "b"], 0.1)
    return [(row.wall_ns, row.energies_uj) for row in sampler._admitted(samples, edges, [rapl])], sampler


def edge(rapl, at_ns, *readings_uj):
    mark = MeterWindow([rapl]).edges.begin()
    readings = (tuple((0, 0, reading) for reading in readings_uj),)
    return mark._replace(wall_ns=at_ns, readings=readings), at_ns


def test_a_sample_beside_an_edge_or_against_it_is_left_out(rapl):
    ms = 1_000_000
    edges = [edge(rapl, 0, 100, 10), edge(rapl, 500 * ms, 200, "gone"), edge(rapl, 900 * ms, 300, 30)]
    samples = [
        ring.Sample(BESIDE_NS // 2, (100, 10)),
        ring.Sample(100 * ms, (150, 15)),
        ring.Sample(200 * ms, (99, 15)),  # less than before
        ring.Sample(300 * ms, (201, 15)),  # more than after
        ring.Sample(600 * ms, (250, 5)),  # against a reading that failed nothing can be said
        ring.Sample(700 * ms, (250, 31)),
        ring.Sample(900 * ms - 1, (300, 30)),
    ]
    rows, sampler = admitted(rapl, samples, edges)
    assert rows == [(100 * ms, (150, 15)), (600 * ms, (250, 5))]
    assert (sampler._beside, sampler._contrary) == (2, 3)


def test_samples_around_a_suspension_are_left_out_for_no_one_knows_when_it_was(rapl, monkeypatch):
    edges = [edge(rapl, 0, 0, 0), edge(rapl, 10**9, 100, 100)]
    samples = [ring.Sample(5 * 10**8, (50, 50))]
    sampler = KernelSampler(Taken(samples), 0, ["a", "b"], 0.1)
    monkeypatch.setattr(kernelsampler, "boot_ns", lambda: time.perf_counter_ns() + 3600 * 10**9)
    assert sampler._admitted(samples, edges, [rapl]) == []
    (row,) = sampler._admitted(samples, edges, [rapl])  # from then on the clocks keep their distance
    assert row.boot_ns - row.wall_ns == pytest.approx(3600 * 10**9, abs=10**7)
    sampler._last = edges[-1]
    assert any("the host was suspended" in note for note in sampler.notes())


def test_chunks_are_written_meanwhile_and_hold_cpu_times(rapl, path, monkeypatch):
    monkeypatch.setattr(tracing, "CHUNK_ROWS", 10)
    window = MeterWindow([rapl])
    with recording(window, path, period_s=0.01) as recorder:
        time.sleep(0.35)
        assert recorder.sampler_cpu_s > 0
        partial = Trace(tracing.partial_of(path))
        assert len(partial.wall_ns) >= 10
    known = cpu_known(path)
    assert known.count(True) >= 4
    assert list(Trace(path).wall_ns) == sorted(Trace(path).wall_ns)
    assert not replay(path).missing


FORKED = """
import os, sys, time
from pathlib import Path
from harness.counters.rapl import open_source
from harness.meters.rapl import RaplMeter
from harness.meters.trace import Recorder
from harness.meters.window import MeterWindow
source, _ = open_source(sys.argv[2])
window = MeterWindow([RaplMeter(source, 0.001)])
recorder = Recorder(window, sys.argv[1], period_s=0.005)
recorder.start()
held = len(os.listdir("/proc/self/fd"))
for _ in range(10):
    child = os.fork()
    if child == 0:
        lost = held - len(os.listdir("/proc/self/fd"))
        window.begin()
        recorder.stop()
        sys.exit(0 if lost == 2 else 3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    time.sleep(0.02)
recorder.stop()
"""


def test_forked_children_neither_touch_the_ring_nor_keep_it(counts, power_pmu, path):
    power_pmu.describe(ENERGIES[:1])
    (power_pmu.folder / "events" / "energy-ram").unlink()
    command = [sys.executable, "-W", "ignore", "-c", FORKED, str(path), str(power_pmu.root)]
    subprocess.run(command, check=True, timeout=60)
    found = Trace(path)
    assert found.finished
    assert found.header.sampler == "kernel"
    assert cpu_known(path).count(False) >= 20
    assert not replay(path).missing


def test_the_note_of_a_record_says_who_samples(rapl, path):
    window = MeterWindow([rapl])
    with recording(window, path) as recorder:
        (info,) = noted(recorder, window.infos())
    assert "by the kernel, which interrupts one CPU for it" in info.notes[-1]


def test_a_host_that_held_samples_up_is_told(rapl):
    sampler = KernelSampler(Taken([]), 0, ["a", "b"], 0.1)
    sampler._last = edge(rapl, sampler._begun_ns + 10**9, 0, 0)
    (note,) = sampler.notes()
    assert note.startswith("10 of 10 samples of the kernel never came")


def test_the_attributes_are_as_long_as_a_size_the_kernel_knows():
    attributes = ring._attributes(None, 10**8)
    assert len(attributes) == 96
    assert ctypes.c_int32.from_buffer_copy(attributes, 92).value == time.CLOCK_MONOTONIC


def test_what_is_not_known_is_null_in_json(rapl, path):
    window = MeterWindow([rapl])
    with recording(window, path, period_s=0.02):
        measured(window, 0.2)
    said = json.loads(msgspec.json.encode(slices(Trace(path), [(0.05, 0.15)])))
    assert said[0]["measured"]["cpu_s"] is None
