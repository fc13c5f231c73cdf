"""`harness.measure` in a user's own code: no configuration, threads, coroutines, forks, and no torch."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time

import pytest

import harness
from harness.counters.rapl import open_source
from harness.errors import NotMeasured, UsageError
from harness.measuring import session
from harness.records import Doubt, Provenance


@pytest.fixture(autouse=True)
def sessions(monkeypatch, tmp_path):
    """Meters opened anew, and tested anew: nothing is remembered of other runs."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    opened = {}
    monkeypatch.setattr(session, "_sessions", opened)
    yield
    for each in opened.values():
        each.interpreter().close()


@pytest.fixture
def on_a_tree(monkeypatch, powercap, clock):
    """A host with a package counter and a DRAM counter."""
    powercap.zone("intel-rapl:0", "package-0")
    powercap.zone("intel-rapl:0:2", "dram")
    real = session.open_source
    monkeypatch.setattr(session, "open_source", lambda: real(powercap.root, clock_ns=clock))
    return powercap


def burn(cpu_s):
    end_ns = time.thread_time_ns() + cpu_s * 1e9
    while time.thread_time_ns() < end_ns:
        pass


def test_a_block_is_measured_without_configuration():
    with harness.measure("burn", tasks=4) as window:
        burn(0.1)
    assert window.cpu_s == pytest.approx(0.1, rel=0.2)
    assert window.energy_j > 0
    assert window.energy_per_task_j == window.energy_j / 4
    assert window.low_j <= window.energy_j <= window.high_j
    assert isinstance(window.provenance, Provenance)
    assert str(window).startswith("burn: ")
    assert "mJ a task" in str(window)


def test_what_could_not_be_measured_here_is_named():
    with harness.measure("nothing") as window:
        pass
    assert all(gap.reason for gap in window.missing)


def test_an_open_window_has_no_energy_yet():
    with harness.measure("open") as window, pytest.raises(NotMeasured, match="still open"):
        _ = window.energy_j


def test_a_window_ended_by_an_exception_is_closed_and_says_so():
    measurement = harness.measure("fails")

    def fail():
        with measurement:
            burn(0.02)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    (window,) = measurement.windows
    assert window.failed == "KeyError"
    assert window.cpu_s >= 0.02
    with harness.measure("after") as after:
        pass
    assert Doubt.WINDOWS_OVERLAP not in after.doubts, "nothing is left open"


def test_nested_windows_are_both_right_and_not_doubted():
    with harness.measure("outer") as outer:
        burn(0.05)
        with harness.measure("inner") as inner:
            burn(0.05)
    assert inner.cpu_s < outer.cpu_s
    assert Doubt.WINDOWS_OVERLAP not in (*inner.doubts, *outer.doubts)


def test_windows_of_two_threads_hold_each_others_work_and_say_so():
    barrier = threading.Barrier(2)
    measurement = harness.measure("thread")

    def work():
        with measurement:
            barrier.wait()
            burn(0.05)
            barrier.wait()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(measurement.windows) == 2
    assert all(Doubt.WINDOWS_OVERLAP in window.doubts for window in measurement.windows)
    assert all(window.cpu_s > 0.09 for window in measurement.windows), "the CPU clock sees the whole process"


def test_coroutines_are_measured_until_they_end_and_interleaved_ones_overlap():
    @harness.measure("request")
    async def request():
        burn(0.01)
        await asyncio.sleep(0.02)

    async def both():
        await asyncio.gather(request(), request())

    asyncio.run(request())
    asyncio.run(both())
    alone, *together = request.windows
    assert alone.duration_s >= 0.02
    assert Doubt.WINDOWS_OVERLAP not in alone.doubts
    assert all(Doubt.WINDOWS_OVERLAP in window.doubts for window in together)


def test_a_decorated_function_keeps_its_name_its_result_and_its_windows():
    @harness.measure("step", tasks=2)
    def step(n):
        """Add up."""
        return sum(range(n))

    assert [step(10), step(20)] == [45, 190]
    assert (step.__name__, step.__doc__) == ("step", "Add up.")
    assert [window.tasks for window in step.windows] == [2, 2]


def test_a_recursive_function_gives_a_window_a_call():
    @harness.measure("down")
    def down(n):
        return n if n == 0 else down(n - 1)

    assert down(3) == 0
    assert len(down.windows) == 4
    assert not any(window.overlaps for window in down.windows)


def test_a_generator_function_is_refused_because_calling_it_does_no_work():
    def numbers():
        yield 1

    with pytest.raises(TypeError, match="generator"):
        harness.measure("numbers")(numbers)


@pytest.mark.parametrize("arguments", [{"tasks": 0}, {"idle_s": -1.0}])
def test_requests_that_make_no_sense_are_refused_at_once(arguments):
    with pytest.raises(ValueError, match="bad"):
        harness.measure("bad", **arguments)


def test_an_unknown_meter_names_the_valid_ones():
    with pytest.raises(UsageError, match="did you mean 'rapl'"), harness.measure("x", meters=("rappl",)):
        pass


def test_the_case_waits_for_devices_at_both_edges():
    calls = []
    with harness.measure("device", synchronise=lambda: calls.append(time.perf_counter())) as window:
        inside = time.perf_counter()
    assert len(calls) == 2
    assert calls[0] < inside < calls[1]
    assert window.duration_s >= calls[1] - inside


def test_a_forked_child_measures_itself():
    with harness.measure("parent"):
        pass
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:  # pragma: no branch
        try:
            with harness.measure("child") as window:
                burn(0.05)
            os.write(writer, str(window.cpu_s).encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(writer)
    assert 0.04 < float(os.read(reader, 64)) < 0.2


def test_importing_and_measuring_loads_neither_torch_nor_the_records():
    script = (
        "import sys, harness\n"
        "with harness.measure('x') as w: pass\n"
        "print(sorted({'torch', 'numpy', 'msgspec', 'pynvml', 'ctypes', 'pandas'} & set(sys.modules)))\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_an_unknown_name_of_the_package_is_an_attribute_error():
    with pytest.raises(AttributeError, match="meazure"):
        _ = harness.meazure


def test_counters_are_billed_with_bounds_from_their_refresh(on_a_tree, clock):
    with harness.measure("work", tasks=10) as window:
        clock.now_s += 1.0
        on_a_tree.add("intel-rapl:0", 40)
        on_a_tree.add("intel-rapl:0:2", 5)
    domains = {energy.domain: energy for energy in window.measured.energies if energy.billed}
    assert {name: energy.energy_j for name, energy in domains.items()} == {"cpu-package": 40.0, "dram": 5.0}
    assert window.energy_j == 45.0
    assert window.provenance is Provenance.COUNTER


def test_net_of_idle_takes_away_what_rest_costs(on_a_tree, monkeypatch):
    stop = threading.Event()

    def physics():
        while not stop.wait(0.002):
            on_a_tree.add("intel-rapl:0", 0.02)
            on_a_tree.add("intel-rapl:0:2", 0.002)

    monkeypatch.setattr(session, "open_source", lambda: open_source(on_a_tree.root))
    thread = threading.Thread(target=physics)
    thread.start()
    try:
        with harness.measure("rest", idle_s=0.2) as window:
            time.sleep(0.2)
        with harness.measure("plain") as plain:
            time.sleep(0.05)
        assert window.energy_j > 1
        assert window.low_j < window.energy_j < window.high_j, "the refresh of the counter is known"
        assert abs(window.net_energy_j) < 0.3 * window.energy_j
        with pytest.raises(NotMeasured, match="idle_s"):
            _ = plain.net_energy_j
    finally:
        stop.set()
        thread.join()


def test_a_lost_counter_is_not_measured_never_zero(on_a_tree):
    with harness.measure("still") as window:
        time.sleep(0.01)
    with pytest.raises(NotMeasured, match="did not change"):
        _ = window.energy_j
    assert str(window).startswith("still: not measured")


def test_the_document_holds_the_meters_with_their_self_tests():
    with harness.measure("x", tasks=3) as window:
        burn(0.05)
    document = json.loads(window.to_json())
    assert document["tasks"] == 3
    assert document["measured"]["energies"][0]["provenance"] == "modelled"
    assert all(meter["self_test"]["monotonic"] for meter in document["meters"])


def test_short_calls_are_batched_until_the_window_is_long_enough():
    calls = []
    window = harness.measure_calls("short", lambda: calls.append(1), tasks=2, at_least_s=0.05)
    assert window.duration_s >= 0.05
    assert window.tasks == 2 * len(calls)


def test_another_set_of_meters_can_be_asked_for():
    with harness.measure("fake", meters=("fake:2",)) as window:
        burn(0.05)
    assert window.energy_j == 2 * window.cpu_s
    assert window.provenance is Provenance.FAKE
