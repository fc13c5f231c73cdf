"""Power turned into joules: right within its bounds, or refused."""

import os
import threading
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.meters.nvml import PowerIntegrator, open_nvml
from harness.meters.nvml.power import PowerMark
from harness.meters.nvml.readings import GPU, MODULE, UNCLEAR, likelier_scope
from harness.meters.nvml.views import View, energy
from harness.records import Energy, Provenance

REFRESH_S = 0.1
VIEW = View(
    domain="gpu0",
    provenance=Provenance.INTEGRATED_POWER,
    name="a GPU",
    boundary="a board",
    ceiling_w=4000.0,
    refresh_s=REFRESH_S,
)


def old(gpus, *steps, **changes):
    """Return a GPU from before Volta: no counter, and power only through the old call."""
    gpu = gpus.nvml.Gpu("GPU-a", name="Stub P100")
    gpu.error, gpu.offers, gpu.architecture, gpu.capability = "Not Supported", {("usage", "gpu")}, 4, [6, 0]
    for name, value in changes.items():
        setattr(gpu, name, value)
    if steps:
        follow(gpu, *steps)
    return gpu


def follow(gpu, *steps):
    gpu.curve = type(gpu.curve)(*steps)


def wavering(gpus):
    """Return power that changes at every refresh for two seconds, so that the refresh can be found, then holds."""
    start_s = gpus.time.now_s
    return [(start_s + 0.02 * step, 100.0 + step % 2) for step in range(100)] + [(start_s + 2.0, 100.0)]


def fed(samples, refresh_s=REFRESH_S):
    integrator = PowerIntegrator(refresh_s, 4000.0)
    for t_s, power_w in samples:
        integrator.feed(round(t_s * 1e9), round(power_w * 1e3))
    return integrator


# The integral


def test_the_integral_counts_every_reading_and_not_only_those_that_changed():
    samples = [(t / 20, 100.0 if t < 180 else 300.0) for t in range(201)]
    drawn = energy(VIEW, fed(samples[:1]).mark(), fed(samples).mark(), 10.0)
    assert drawn.energy_j == pytest.approx(1200, abs=300 * 0.05)  # joining only the changes gives 1,800
    assert drawn.low_j <= 1200 <= drawn.high_j


@given(power_mw=st.integers(1, 4_000_000), steps_ns=st.lists(st.integers(1, 10**8), min_size=1, max_size=50))
def test_constant_power_is_exact(power_mw, steps_ns):
    integrator = PowerIntegrator(REFRESH_S, 4000.0)
    now_ns = 5
    integrator.feed(now_ns, power_mw)
    for step_ns in steps_ns:
        now_ns += step_ns
        integrator.feed(now_ns, power_mw)
    assert integrator.mark().energy_uj == power_mw * sum(steps_ns) // 10**6
    assert integrator.mark().late_uj == 0


@st.composite
def measurements(draw):
    """Return a curve of power and what a reader saw of it, with the true joules between first and last reading.

    Each level lasts at least one refresh; the sensor refreshes with any phase, the reader comes at uneven
    times, at the latest after one refresh.
    """
    gaps = draw(st.lists(st.floats(0.1, 1.0), min_size=3 * 10, max_size=80))
    reads = [1.0]
    for gap in gaps:
        reads.append(reads[-1] + gap * REFRESH_S)
    levels = draw(st.lists(st.tuples(st.floats(1.01, 8.0), st.floats(1.0, 3000.0)), min_size=1, max_size=40))
    edges, t_s = [], draw(st.floats(0.0, 1.0)) - 1.0
    for lasts, power_w in levels:
        if t_s < reads[-1] - 1.01 * REFRESH_S:
            edges.append((t_s, power_w))
        t_s += lasts * REFRESH_S
    phase_s = draw(st.floats(0.0, REFRESH_S))
    return edges, phase_s, reads


@given(measurements())
def test_the_truth_lies_within_the_bounds_if_power_lasts_a_refresh(measurement):
    edges, phase_s, reads = measurement

    def at(t_s):
        return next((power_w for start_s, power_w in reversed(edges) if start_s <= t_s), edges[0][1])

    def seen(t_s):
        return at((t_s - phase_s) // REFRESH_S * REFRESH_S + phase_s)

    integrator = fed([(reads[0], seen(reads[0]))])
    begin = integrator.mark()
    for t_s in reads[1:]:
        integrator.feed(round(t_s * 1e9), round(seen(t_s) * 1e3))
    begin_s, end_s = reads[0], reads[-1]
    times = [begin_s, *(t_s for t_s, _ in edges if begin_s < t_s < end_s), end_s]
    truth_j = sum(at(low_s) * (high_s - low_s) for low_s, high_s in pairwise(times))
    drawn = energy(VIEW, begin, integrator.mark(), end_s - begin_s)
    if isinstance(drawn, Energy):
        assert drawn.low_j - 1e-2 <= truth_j <= drawn.high_j + 1e-2
    else:
        assert "refreshes" in drawn.reason


@given(
    before=st.lists(st.floats(1.0, 3000.0), min_size=1, max_size=20),
    after=st.lists(st.floats(1.0, 3000.0), min_size=1, max_size=20),
    fault=st.sampled_from(["gap", "failed", "zero", "spike", "clock"]),
)
def test_a_window_with_a_fault_anywhere_inside_is_refused(before, after, fault):
    samples = [(1.0 + place * 0.05, power_w) for place, power_w in enumerate(before)]
    integrator = fed(samples)
    begin, now_s = fed(samples[:1]).mark(), samples[-1][0] + 0.05
    if fault == "gap":
        now_s += 5 * REFRESH_S
    elif fault == "failed":
        integrator.fail("the power could not be read: GPU is lost")
    elif fault == "clock":
        now_s -= 0.2
    else:
        integrator.feed(round(now_s * 1e9), 0 if fault == "zero" else 4_000_001)
    for place, power_w in enumerate(after):
        integrator.feed(round((now_s + place * 0.05) * 1e9), round(power_w * 1e3))
    drawn = energy(VIEW, begin, integrator.mark(), 5.0)
    assert not isinstance(drawn, Energy)
    assert "fault(s) in this window" in drawn.reason


def test_after_a_fault_the_next_window_is_good_again():
    integrator = fed([(1.0, 100.0), (1.05, 100.0)])
    integrator.fail("the power could not be read: Timeout")
    assert "Timeout" in integrator.mark()
    integrator.feed(1_100_000_000, 100_000)
    begin = integrator.mark()
    for place in range(1, 21):
        integrator.feed(1_100_000_000 + place * 50_000_000, 100_000)
    assert energy(VIEW, begin, integrator.mark(), 1.0).energy_j == pytest.approx(100)


def test_time_in_which_refreshes_went_unread_widens_the_bounds():
    dense = fed([(t / 20, 100.0) for t in range(41)]).mark()
    sparse = fed([(t / 2.5, 100.0) for t in range(6)]).mark()
    nothing = PowerMark(0, 0, 100_000, 0, None)
    tight, wide = energy(VIEW, nothing, dense, 2.0), energy(VIEW, nothing, sparse, 2.0)
    assert tight.energy_j == wide.energy_j == pytest.approx(200)
    assert tight.high_j - tight.low_j == pytest.approx(2 * 100 * REFRESH_S)
    assert wide.high_j - wide.low_j == pytest.approx(2 * (100 * REFRESH_S + 5 * 100 * (0.4 - REFRESH_S)))


def test_two_readings_that_tell_of_nothing_in_between_are_refused():
    mark = fed([(1.0, 100.0)]).mark()
    assert "was not read" in energy(VIEW, mark, mark, 1.0).reason
    assert "not of one kind" in energy(VIEW, 5, mark, 1.0).reason


# GPUs without a counter that counts


def test_a_gpu_without_a_counter_is_integrated_to_the_true_joules(gpus):
    gpu = old(gpus, *wavering(gpus))
    meter = gpus.open(gpu)
    info = meter.info()
    assert not gpus.missing
    assert info.provenance is Provenance.INTEGRATED_POWER
    assert info.refresh_s == pytest.approx(0.02, rel=0.05)
    assert "instantaneous power (GA100 and before)" in info.boundary
    assert any("no energy counter (Not Supported" in note for note in info.notes)
    assert any("read every 10 ms by a thread" in note and "% of a core" in note for note in info.notes)
    gpus.run(1.0)
    start_s = gpus.time.now_s
    follow(gpu, (0.0, 100.0), (start_s + 9.0, 300.0))
    energies, missing = gpus.window(10.0)
    assert not missing
    drawn = energies["gpu0"]
    assert drawn.energy_j == pytest.approx(1200, rel=0.01)
    assert drawn.low_j <= 1200 <= drawn.high_j
    assert drawn.high_j - drawn.low_j < 0.03 * 1200
    assert drawn.provenance is Provenance.INTEGRATED_POWER
    assert drawn.billed


def test_constant_power_is_integrated_but_its_refresh_stays_unknown(gpus):
    meter = gpus.open(old(gpus, (0.0, 250.0)))
    assert meter.info().refresh_s is None
    assert any("no window can be called long enough" in note for note in meter.info().notes)
    energies, _ = gpus.window(4.0)
    assert energies["gpu0"].energy_j == pytest.approx(1000)
    assert energies["gpu0"].low_j is None


def test_a_counter_that_stands_still_gives_way_to_power_and_says_so(gpus):
    stuck = gpus.nvml.Gpu("GPU-a")
    stuck.fixed_mj = 9_000
    meter = gpus.open(stuck, gpus.nvml.Gpu("GPU-b"))
    assert [view.provenance for view in meter.views] == [Provenance.INTEGRATED_POWER, Provenance.COUNTER]
    assert meter.info().provenance is Provenance.INTEGRATED_POWER  # the weakest on the path of a total
    assert any("stood still" in note and "instantaneous power" in note for note in meter.info().notes)
    energies, _ = gpus.window(2.0)
    assert energies["gpu0"].provenance is Provenance.INTEGRATED_POWER
    assert energies["gpu1"].provenance is Provenance.COUNTER


def test_no_thread_runs_where_every_gpu_has_a_counter(stub_nvml):
    stub_nvml.gpus = [stub_nvml.Gpu("GPU-a")]
    before = threading.active_count()
    meter, _ = open_nvml(watch_s=0.1)
    assert threading.active_count() == before
    meter.close()


@pytest.mark.parametrize(
    ("offers", "kind"),
    [
        ({("instant", "gpu"), ("average", "gpu"), ("usage", "gpu")}, "instantaneous power"),
        ({("average", "gpu"), ("usage", "gpu")}, "power averaged over 1 s"),
        ({("usage", "gpu")}, "power averaged over 1 s (Ampere and later)"),
        ({("instant", "module"), ("average", "module")}, "instantaneous power"),
    ],
)
def test_the_instantaneous_reading_is_chosen_before_the_average_and_the_gpu_before_the_module(gpus, offers, kind):
    gpu = gpus.nvml.Gpu("GPU-a")
    gpu.error, gpu.offers = "Not Supported", offers
    meter = gpus.open(gpu)
    assert f"; {kind}, sampled and integrated" in meter.info().boundary
    assert meter.info().boundary.startswith("module, not the board") == (("instant", "module") in offers)


@pytest.mark.parametrize(
    ("architecture", "capability", "averaging_s"),
    [(4, [6, 1], 0.0), (6, [7, 5], 0.0), (7, [8, 0], 0.0), (7, [8, 6], 1.0), (9, [9, 0], 1.0), (0xFFFFFFFF, None, 1.0)],
)
def test_what_the_old_power_call_means_goes_by_the_architecture(gpus, architecture, capability, averaging_s):
    meter = gpus.open(old(gpus, architecture=architecture, capability=capability))
    assert meter.views[0].averaging_s == averaging_s


def test_an_average_is_as_slow_as_its_averaging_time_and_its_bounds_hold_it(gpus):
    gpu = old(gpus, *wavering(gpus), offers={("average", "gpu")}, architecture=9)
    meter = gpus.open(gpu)
    assert meter.info().refresh_s == 1.0
    assert "too short" not in meter.info().boundary
    _, missing = gpus.window(2.0)
    assert "3 refreshes of 1 s" in missing["gpu0"]
    start_s = gpus.time.now_s
    follow(gpu, (0.0, 100.0), (start_s + 0.001, 300.0))  # the load begins with the window
    energies, _ = gpus.window(5.0)
    drawn = energies["gpu0"]
    assert drawn.energy_j == pytest.approx(1400, rel=0.02)  # 100 J are still those of the second before
    assert drawn.low_j <= 1500 <= drawn.high_j
    start_s = gpus.time.now_s
    follow(gpu, (0.0, 300.0), (start_s + 4.5, 50.0))  # and ends before it
    energies, _ = gpus.window(5.0)
    assert energies["gpu0"].low_j <= 300 * 4.5 + 50 * 0.5 <= energies["gpu0"].high_j


def test_counter_and_powers_can_be_set_side_by_side_and_only_one_is_billed(gpus):
    gpu = gpus.nvml.Gpu("GPU-a", power_w=123.0)
    meter = gpus.open(gpu, also_power=True)
    assert meter.info().domains == ("gpu0", "gpu0-power-instant", "gpu0-power-average")
    assert meter.billed == {"gpu0"}
    assert meter.info().provenance is Provenance.COUNTER
    assert meter.info().refresh_s == pytest.approx(0.01, rel=0.1)
    energies, _ = gpus.window(10.0)
    assert [round(drawn.energy_j, 1) for drawn in energies.values()] == [pytest.approx(1230, rel=0.002)] * 3
    assert [drawn.billed for drawn in energies.values()] == [True, False, False]


# What goes wrong while a window runs


@pytest.mark.parametrize(
    ("attribute", "value", "words"),
    [
        ("power_error", "GPU is lost", "GPU is lost"),
        ("fixed_mw", 0, "implausible: 0 W"),
        ("fixed_mw", 9_000_000, "implausible: 9000 W"),
    ],
)
def test_a_reading_that_fails_or_cannot_be_right_spoils_the_window_and_the_next_is_good(gpus, attribute, value, words):
    gpu = old(gpus)
    gpus.open(gpu)
    healthy = getattr(gpu, attribute)

    def fail_for_a_moment():
        setattr(gpu, attribute, value)
        gpus.run(0.2)
        setattr(gpu, attribute, healthy)

    energies, missing = gpus.window(2.0, between=fail_for_a_moment)
    assert not energies
    assert words in missing["gpu0"]
    energies, missing = gpus.window(2.0)
    assert energies["gpu0"].energy_j == pytest.approx(200)


def test_a_gpu_lost_at_the_end_of_a_window_is_missing(gpus):
    gpu = old(gpus)
    gpus.open(gpu)
    begin = gpus.meter.read()
    gpus.run(1.0)
    gpu.silent = "GPU is lost"
    _, missing = gpus.interpreted(begin, gpus.meter.read(), 1.0)
    assert "GPU is lost" in missing["gpu0"]


def test_a_host_that_kept_the_sampler_from_running_spoils_the_window(gpus):
    gpus.open(old(gpus))
    energies, missing = gpus.window(2.0, between=lambda: gpus.time.sleep(1.0))
    assert not energies
    assert "was not read for 1" in missing["gpu0"]


# The thread


@pytest.fixture
def sampled(stub_nvml):
    """A meter that samples a GPU without a counter by the real clock."""
    gpu = stub_nvml.Gpu("GPU-a", power_refresh_s=0.02)
    gpu.error = "Not Supported"
    stub_nvml.gpus = [gpu]
    meter, _ = open_nvml(watch_s=0.05)
    yield meter
    meter.close()


def test_the_thread_samples_until_the_meter_is_closed(sampled):
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("joulebench-gpu-power") == 1
    begin, start_s = sampled.read(), time.perf_counter()
    time.sleep(1.0)
    end, duration_s = sampled.read(), time.perf_counter() - start_s
    (drawn,), missing = sampled.energies(begin, end, duration_s=duration_s, cpu_s=0.0)
    assert not missing
    assert drawn.energy_j == pytest.approx(100 * duration_s, rel=0.02)
    sampled.close()
    sampled.close()
    assert "joulebench-gpu-power" not in [thread.name for thread in threading.enumerate()]


def test_windows_that_overlap_in_threads_each_get_their_joules(sampled):
    drawn = {}

    def measure(name, duration_s):
        begin, start_s = sampled.read(), time.perf_counter()
        time.sleep(duration_s)
        end, took_s = sampled.read(), time.perf_counter() - start_s
        energies, _ = sampled.energies(begin, end, duration_s=took_s, cpu_s=0.0)
        drawn[name] = energies[0].energy_j / took_s

    threads = [threading.Thread(target=measure, args=(name, 0.4 + 0.1 * name)) for name in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(drawn.values()) == [pytest.approx(100, rel=0.05)] * 3


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_is_refused_and_its_parent_goes_on(sampled):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        mark = sampled.read()
        sampled._source.sampler.close()
        os.write(writer, str(mark[0]).encode())
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert b"forked after the meter was opened" in os.read(reader, 500)
    os.close(reader)
    os.close(writer)
    assert isinstance(sampled.read()[0], PowerMark)


# Scope


@pytest.mark.parametrize(
    ("counted_w", "scope"), [(100, GPU), (110, GPU), (250, MODULE), (160, UNCLEAR), (400, UNCLEAR), (0, UNCLEAR)]
)
def test_a_counter_has_the_scope_whose_power_it_agrees_with(counted_w, scope):
    assert likelier_scope(counted_w, 100, 250) == scope


def test_scopes_that_draw_alike_cannot_be_told_apart():
    assert likelier_scope(100, 100, 110) == UNCLEAR
