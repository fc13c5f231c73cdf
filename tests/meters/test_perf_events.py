"""RAPL through perf events: the real system call on a PMU that is simulated in its sysfs files only.

The simulated `power` PMU has the type of the kernel's software PMU, whose event 0 is a CPU clock in
nanoseconds; with a scale of 1e-9 it "draws" one joule a second on each CPU.
"""

import os
import tempfile
import time
import zlib
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.counters import perf_events
from harness.counters.perf_events import exact_ratio, open_channels
from harness.counters.rapl import open_source
from harness.counters.wrapping import close
from harness.meters.rapl import RaplMeter

NOBODY = 65534
RAPL_SCALE = "2.3283064365386962890625e-10"  # what the kernel writes: 2^-32


@pytest.fixture
def open_tree(power_pmu):
    """Open the tree for real; skip where this kernel lets nobody count."""
    opened = []

    def open_it():
        source, gaps = open_source(power_pmu.root)
        if source is None and "refused" in gaps[0][1]:
            pytest.skip(gaps[0][1])
        if source is not None:
            opened.append(source)
        return source, gaps

    yield open_it
    for source in opened:
        source.close()


def measured(source, duration_s):
    meter = RaplMeter(source, refresh_s=0.001)
    start_s, begin = time.perf_counter(), meter.read()
    time.sleep(duration_s)
    duration_s, end = time.perf_counter() - start_s, meter.read()
    energies, missing = meter.energies(begin, end, duration_s=duration_s, cpu_s=0.0)
    assert not missing
    return {energy.domain: energy for energy in energies}, duration_s


def test_the_kernel_counts_one_joule_a_second_and_every_reading_is_whole_microjoules(power_pmu, open_tree):
    power_pmu.describe(["energy-pkg", "energy-ram"])
    source, gaps = open_tree()
    assert "powercap" not in {domain for domain, _ in gaps}
    energies, duration_s = measured(source, 0.2)
    assert energies["cpu-package"].energy_j == pytest.approx(duration_s, rel=0.05)
    assert energies["dram"].energy_j == pytest.approx(duration_s, rel=0.05)
    assert energies["cpu-package"].low_j < energies["cpu-package"].energy_j < energies["cpu-package"].high_j
    assert [label.split("=")[1] for label in RaplMeter(source).channels] == ["energy-pkg", "energy-ram"]
    assert source.channels[0].turn_uj is None


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two CPUs")
def test_two_sockets_are_summed(power_pmu, open_tree):
    power_pmu.describe(cpus="0-1")
    power_pmu.packages(0, 1)
    source, _ = open_tree()
    energies, duration_s = measured(source, 0.2)
    assert energies["cpu-package"].energy_j == pytest.approx(2 * duration_s, rel=0.05)


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two CPUs")
def test_two_cpus_of_one_socket_that_cannot_be_told_apart_are_refused(power_pmu, open_tree):
    power_pmu.describe(cpus="0,1")  # a clock never stands still between two looks, so there is nothing to compare
    power_pmu.packages(0, 0)
    source, gaps = open_tree()
    assert source is None
    assert "watching could not tell" in gaps[0][1]


def test_a_cpu_that_does_not_exist_takes_its_domain_with_it(power_pmu):
    power_pmu.describe(cpus="0,4000")
    before = len(list(Path("/proc/self/fd").iterdir()))
    channels, gaps = open_channels(str(power_pmu.root))
    assert not channels
    assert "was refused" in gaps[0][1]
    assert len(list(Path("/proc/self/fd").iterdir())) == before, "the event of CPU 0 must be closed again"


def test_permission_refused_tells_the_setting_and_what_to_run(power_pmu):
    paranoid = Path(perf_events.PARANOID).read_text(encoding="ascii").strip()
    if int(paranoid) <= 0:
        pytest.skip("this kernel lets everybody count")
    reader, writer = os.pipe()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        type(power_pmu)(Path(folder)).describe()
        child = os.fork()
        if child == 0:
            if os.getuid() == 0:
                os.setuid(NOBODY)
            _, gaps = open_channels(folder)
            os.write(writer, gaps[0][1].encode() if gaps else b"it was allowed")
            os._exit(0)
        os.waitpid(child, 0)
    os.close(writer)
    reason = os.read(reader, 4096).decode()
    os.close(reader)
    assert "CAP_PERFMON" in reason
    assert f"kernel.perf_event_paranoid at 0 or below, here {paranoid}" in reason
    assert "sudo sysctl kernel.perf_event_paranoid=0" in reason


@pytest.mark.parametrize("missing", ["type", "cpumask", "events/energy-pkg.scale", "events/energy-pkg.unit"])
def test_a_missing_file_is_a_reason_not_a_guess(power_pmu, missing):
    power_pmu.describe()
    (power_pmu.folder / missing).unlink()
    channels, gaps = open_channels(str(power_pmu.root))
    assert not channels
    assert "cannot be understood" in gaps[0][1]
    assert missing.rsplit("/", 1)[-1] in gaps[0][1]


@pytest.mark.parametrize(
    ("file", "text", "why"),
    [
        ("energy-pkg.unit", "Watts", "is 'Watts', not Joules"),
        ("energy-pkg.scale", "much", "cannot be understood"),
        ("energy-pkg.scale", "-1e-9", "is not a scale"),
        ("energy-pkg", "umask=0x1", "cannot be understood"),
    ],
)
def test_what_is_not_plainly_joules_is_refused(power_pmu, file, text, why):
    power_pmu.describe()
    (power_pmu.folder / "events" / file).write_text(f"{text}\n")
    channels, gaps = open_channels(str(power_pmu.root))
    assert not channels
    assert why in gaps[0][1]


def test_another_machine_and_a_host_without_the_pmu_are_refused(power_pmu, monkeypatch):
    assert "this kernel has no" in open_channels(str(power_pmu.root))[1][0][1]
    power_pmu.describe()
    machine = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((*machine[:4], "riscv64")))
    assert "not for riscv64" in open_channels(str(power_pmu.root))[1][0][1]


def test_perf_events_are_preferred_and_a_domain_that_only_powercap_has_comes_from_there(power_pmu, powercap, open_tree):
    power_pmu.describe(["energy-pkg", "energy-cores"])
    powercap.zone("intel-rapl:0", "package-0")
    powercap.zone("intel-rapl:0:0", "dram")
    source, gaps = open_tree()
    assert [channel.label for channel in source.channels] == [
        "perf:cpu0=energy-pkg",
        "perf:cpu0=energy-cores",
        "intel-rapl:0:0=dram",
    ]
    assert not gaps
    assert set(source.notes) == {
        "powercap lists dram, perf events do not count it",
        "perf events count cpu-core, powercap does not list it",
    }


def test_a_dram_that_neither_way_can_read_is_missing_and_says_why(power_pmu, powercap, open_tree):
    power_pmu.describe()
    powercap.zone("intel-rapl:0", "package-0")
    powercap.zone("intel-rapl:0:0", "dram")
    (powercap.folder("intel-rapl:0:0") / "energy_uj").unlink()
    source, gaps = open_tree()
    assert [channel.domain for channel in source.channels] == ["cpu-package"]
    assert [domain for domain, _ in gaps] == ["dram"]


@given(st.decimals(min_value="1e-15", max_value="10", allow_nan=False).filter(lambda value: value > 0))
def test_the_scale_is_taken_without_rounding(scale):
    assert Fraction(*exact_ratio(str(scale))) == Fraction(scale) * 10**6


def test_the_kernels_own_scale_is_exact_to_the_last_microjoule():
    numerator, denominator = exact_ratio(RAPL_SCALE)
    assert Fraction(numerator, denominator) == Fraction(10**6, 2**32)
    assert (2**63 * numerator) // denominator == 2**31 * 10**6


def test_an_event_that_the_kernel_has_given_up_is_an_error_not_zero_joules():
    event = perf_events.Event("energy-pkg", "cpu-package", 2, *exact_ratio(RAPL_SCALE))
    fd = os.open(os.devnull, os.O_RDONLY)  # reads nothing, as such an event does
    with pytest.raises(OSError, match="in error"):
        perf_events.EnergyCount(fd, 1, 0, event)()
    os.close(fd)


@pytest.fixture
def registers(monkeypatch):
    """Replace the registers behind the events: `registers[cpu]` gives microjoules by the number of refreshes."""
    behind, looks = {}, [0]

    def reader(fd, kind, cpu, event):
        def look():
            looks[0] += 1
            return behind[fd](looks[0] // 7)

        started_uj = look()
        return lambda: look() - started_uj

    def event_open(syscall, kind, config, cpu):
        fd = os.open(os.devnull, os.O_RDONLY)
        behind[fd] = behind[f"cpu{cpu}"]
        return fd, 0

    monkeypatch.setattr(perf_events, "_perf_event_open", event_open)
    monkeypatch.setattr(perf_events, "EnergyCount", reader)
    return behind


def noisy(seed):
    return lambda refreshes: refreshes * 60_000 + zlib.crc32(b"%d %d" % (seed, refreshes)) % 20_000


def test_dies_that_mirror_their_sockets_counter_are_counted_once(power_pmu, registers):
    power_pmu.describe(cpus="0-2")
    power_pmu.packages(0, 0, 1)
    registers.update(cpu0=noisy(1), cpu1=noisy(1), cpu2=noisy(3))
    channels, gaps = open_channels(str(power_pmu.root))
    assert [channel.label for channel in channels] == ["perf:cpu0=energy-pkg", "perf:cpu2=energy-pkg"]
    assert [domain for domain, _ in gaps] == ["perf:cpu1=energy-pkg"]
    assert "counted once" in gaps[0][1]
    close(channels)


def test_dies_with_counters_of_their_own_are_all_counted(power_pmu, registers):
    power_pmu.describe(cpus="0-1")
    power_pmu.packages(0, 0)
    registers.update(cpu0=noisy(1), cpu1=noisy(2))
    channels, gaps = open_channels(str(power_pmu.root))
    assert len(channels) == 2
    assert not gaps
    close(channels)


def test_dies_at_rest_cannot_be_told_apart_and_are_refused(power_pmu, registers):
    power_pmu.describe(cpus="0-1")
    power_pmu.packages(0, 0)
    registers.update(cpu0=lambda _: 5, cpu1=lambda _: 5)
    channels, gaps = open_channels(str(power_pmu.root))
    assert not channels
    assert "watching could not tell" in gaps[0][1]
