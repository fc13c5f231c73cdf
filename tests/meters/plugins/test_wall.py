"""A CSV file that a logger writes while we measure: right joules within bounds, or the line that forbids them."""

import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest

from harness.errors import UsageError
from harness.meters.aligned import Mark
from harness.meters.plugins import conformance, wall
from harness.records import Provenance

LOGGER = """
import sys, time
from datetime import datetime, timezone
path, style, period_s = sys.argv[1], sys.argv[2], float(sys.argv[3])

def power_w(at_s):  # the script: 60 W and 180 W by turns of half a second, with the 0.1 W that a live meter flickers
    return (180.0 if int(at_s * 2) % 2 else 60.0) + 0.1 * (int(at_s / period_s) % 2)

def drawn_j(begin_s, end_s):  # what a counter counts, however late its line is written
    energy_j = 0.0
    while begin_s < end_s:
        next_s = min(end_s, max((int(begin_s * 2) + 1) / 2, begin_s + 1e-6))
        energy_j += ((180.0 if int(begin_s * 2) % 2 else 60.0) + 0.05) * (next_s - begin_s)
        begin_s = next_s
    return energy_j

header = {"seconds": "time,power_w", "iso": "Timestamp,phase,W", "counter": "unix_ms,energy_wh"}[style]
sum_j = 0.0
with open(path, "w", buffering=1) as file:
    file.write(header + "\\n")
    last_s = time.time()
    while True:
        now_s = time.time()
        sum_j += drawn_j(last_s, now_s)
        last_s = now_s
        if style == "seconds":
            line = f"{now_s:.6f},{power_w(now_s):.1f}"
        elif style == "iso":
            line = f"{datetime.fromtimestamp(now_s, timezone.utc).isoformat()},L1,{power_w(now_s):.1f}"
        else:
            line = f"{now_s * 1000:.0f},{(5e8 + sum_j) / 3600:.7f}"
        file.write(line[:9])
        file.flush()  # half a line, as any buffer may leave it
        time.sleep(period_s / 4)
        file.write(line[9:] + "\\n")
        time.sleep(period_s * 3 / 4)
"""


def true_j(begin_s, end_s):
    """Return the joules of the logger's script, flicker at its mean."""
    steps, at_s, energy_j = 0, begin_s, 0.0
    while at_s < end_s:
        next_s = min(end_s, (int(at_s * 2) + 1) / 2)
        energy_j += (180.0 if int(at_s * 2) % 2 else 60.0) * (next_s - at_s)
        at_s, steps = max(next_s, at_s + 1e-6), steps + 1
    return energy_j + 0.05 * (end_s - begin_s)


@pytest.fixture
def logger(tmp_path):
    """Return a function that starts a real logger and returns its file once it has samples."""
    processes = []

    def start(style="seconds", period_s=0.05):
        path = tmp_path / f"{style}.csv"
        processes.append(subprocess.Popen([sys.executable, "-c", LOGGER, str(path), style, str(period_s)]))
        deadline_s = time.monotonic() + 20
        while not path.exists() or len(path.read_text().splitlines()) < 10:
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        return path

    yield start
    for process in processes:
        process.kill()
        process.wait()


def opened(argument):
    meter, missing = wall.open_meter(str(argument), None)
    assert not missing, missing
    return meter


def refused(argument):
    meter, missing = wall.open_meter(str(argument), None)
    assert meter is None
    (gap,) = missing
    assert gap.domain == "wall"
    return gap.reason


def window(meter, pause_s):
    begin = meter.read()
    time.sleep(pause_s)
    end = meter.read()
    duration_s = (end.monotonic_ns - begin.monotonic_ns) / 1e9
    energies, missing = meter.energies(begin, end, duration_s=duration_s, cpu_s=0.0)
    assert not conformance.window_violations(meter, energies, missing, duration_s=duration_s)
    return energies, missing, true_j(begin.unix_ns / 1e9, end.unix_ns / 1e9)


def lines(path, samples, header="time,power_w"):
    path.write_text("\n".join([header, *samples]) + "\n")


def steady(n=60, until_s=None, period_s=1.0, form="{:.3f},{:.1f}"):
    """Return lines of the last `n` seconds."""
    until_s = time.time() if until_s is None else until_s
    return [form.format(until_s - (n - 1 - i) * period_s, 100 + 0.1 * (i % 2)) for i in range(n)]


def marks(ago_s, lasting_s):
    """Return a window of the past."""
    begin_ns, length_ns = time.time_ns() - round(ago_s * 1e9), round(lasting_s * 1e9)
    return Mark(begin_ns, 0), Mark(begin_ns + length_ns, length_ns)


@pytest.mark.parametrize(
    ("style", "provenance"),
    [("seconds", Provenance.INTEGRATED_POWER), ("iso", Provenance.INTEGRATED_POWER), ("counter", Provenance.COUNTER)],
)
def test_a_window_gives_the_joules_of_the_machine_while_the_logger_still_writes(logger, style, provenance):
    meter = opened(logger(style))
    assert not conformance.violations(meter)
    (energy,), missing, truth_j = window(meter, 1.2)
    assert not missing
    assert energy.low_j <= truth_j <= energy.high_j
    assert energy.energy_j == pytest.approx(truth_j, rel=0.2)
    assert (energy.domain, energy.provenance, energy.billed) == ("wall", provenance, True)
    assert energy.boundary == "whole machine at the wall, every process"
    assert meter.contains_everything
    meter.close()


def test_nested_windows_in_threads_each_get_their_joules(logger):
    meter = opened(logger())
    results = []
    threads = [
        threading.Thread(target=lambda pause_s=pause_s: results.append(window(meter, pause_s)))
        for pause_s in (0.6, 0.9, 1.2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    meter.close()
    for energies, missing, truth_j in results:
        assert not missing
        assert energies[0].low_j <= truth_j <= energies[0].high_j


def test_the_refresh_is_measured_and_a_shorter_window_is_refused_without_waiting(logger):
    meter = opened(f"{logger()}?wait=20s")
    assert meter.info().refresh_s == pytest.approx(0.05, rel=0.5)
    assert "clocks within 0 s, refresh measured, accuracy not stated" in meter.info().notes[1]
    start_s = time.monotonic()
    energies, missing, _ = window(meter, 0.06)
    assert not energies
    assert "less than 3 refreshes" in missing[0].reason
    assert time.monotonic() - start_s < 5
    meter.close()


def test_a_logger_that_stops_makes_the_window_missing_after_a_bounded_wait(tmp_path):
    path = tmp_path / "power.csv"
    lines(path, steady(60, period_s=0.1))
    meter = opened(f"{path}?wait=300ms")
    start_s = time.monotonic()
    energies, missing, _ = window(meter, 0.5)
    assert 0.75 < time.monotonic() - start_s < 5
    assert not energies
    assert "too early" in missing[0].reason
    meter.close()


def test_a_line_half_written_is_read_once_it_is_whole(tmp_path):
    path = tmp_path / "power.csv"
    lines(path, steady())
    meter = opened(path)
    text = f"{time.time() + 0.01:.3f},100.0\n"
    for part in (text[:4], text[4:12], text[12:]):
        with path.open("a") as file:
            file.write(part)
        energies, missing = meter.energies(*marks(30, 20), duration_s=20, cpu_s=0)
        assert energies, missing
    meter.close()


def grown_after(path, change):
    """Open the file, change it behind the meter's back, and return what a window says."""
    lines(path, steady())
    meter = opened(path)
    change(path)
    energies, missing = meter.energies(*marks(30, 20), duration_s=20, cpu_s=0)
    again, _ = meter.energies(*marks(30, 20), duration_s=20, cpu_s=0)
    meter.close()
    assert not energies
    assert not again, "once refused, always refused"
    return missing[0].reason


def rotate(path):
    path.rename(path.with_suffix(".1"))
    lines(path, steady())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: lines(path, steady(5)), "truncated or written over"),
        (lambda path: os.truncate(path, 0), "truncated or written over"),
        (lambda path: lines(path, [line.replace("100", "101") for line in steady(500)]), "truncated or written over"),
        (rotate, "replaced by another file"),
        (lambda path: path.unlink(), "was removed"),
    ],
    ids=["shorter", "emptied", "longer", "rotated", "removed"],
)
def test_a_file_that_does_more_than_grow_is_refused(tmp_path, change, words):
    assert words in grown_after(tmp_path / "power.csv", change)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("{:.3f},nan", "nan is no reading"),
        ("{:.3f},-3.0", "implausible"),
        ("{:.3f},99999.0", "implausible"),
        ("{:.3f},", "could not convert"),
        ("{:.3f},100.0,7", "3 fields instead of 2"),
        ("time,power_w", "neither ISO 8601 nor unix"),
        ("yesterday,100.0", "neither ISO 8601 nor unix"),
        ("12.5,100.0", "no unix time"),
        ("2026-11-23T10:00:00,100.0", "has no zone"),
    ],
)
def test_a_bad_line_is_named_in_the_windows_that_need_it_and_only_there(tmp_path, bad, words):
    path = tmp_path / "power.csv"
    samples = steady(100)
    samples[49] = bad.format(time.time() - 50)
    lines(path, samples)
    meter = opened(path)
    energies, missing = meter.energies(*marks(60, 20), duration_s=20, cpu_s=0)
    assert not energies
    assert f"{path}, line 51: " in missing[0].reason
    assert words in missing[0].reason
    energies, missing = meter.energies(*marks(40, 20), duration_s=20, cpu_s=0)
    assert energies, missing
    meter.close()


def test_a_time_that_goes_back_refuses_the_file_by_line(tmp_path):
    path = tmp_path / "power.csv"
    samples = steady(100)
    samples[50], samples[40] = samples[40], samples[50]
    lines(path, samples)
    assert "line 43: the time goes back by 9.000 s" in refused(path)


def test_times_without_a_zone_are_refused_because_they_may_be_hours_off(tmp_path):
    path = tmp_path / "power.csv"
    now = datetime.now(UTC)
    lines(
        path, [f"{(now - timedelta(seconds=60 - i)).replace(tzinfo=None).isoformat()},{100 + i % 2}" for i in range(60)]
    )
    assert "has no zone" in refused(path)


def test_times_in_any_zone_and_unit_mean_the_same(tmp_path):
    now_s = float(int(time.time()))
    zone = timezone(timedelta(hours=5, minutes=45))
    for text in (
        f"{now_s:.0f}",
        f"{now_s:.3f}",
        f"{now_s * 1e3:.0f}",
        f"{now_s * 1e6:.0f}",
        f"{now_s * 1e9:.0f}",
        datetime.fromtimestamp(now_s, UTC).isoformat(),
        datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        datetime.fromtimestamp(now_s, zone).isoformat(sep=" "),
    ):
        assert wall.unix_seconds(text) == pytest.approx(now_s, abs=1e-6)
    for text in ("2026-11-23", "2026-11-23T10:00Z", "1e30", "nan", ""):
        with pytest.raises(ValueError, match="time"):
            wall.unix_seconds(text)


def test_times_of_whole_seconds_widen_the_bounds_by_the_second_they_leave_out(tmp_path):
    path = tmp_path / "power.csv"
    lines(path, steady(100, until_s=float(int(time.time())), form="{:.0f},{:.1f}"))
    meter = opened(path)
    assert "clocks within 1 s" in meter.info().notes[1]
    (energy,), _ = meter.energies(*marks(60, 20), duration_s=20, cpu_s=0)
    assert energy.high_j - energy.energy_j == pytest.approx(300, rel=0.01)  # a second either way and one period, 100 W
    meter.close()


def test_options_name_the_columns_and_say_what_is_known_of_the_meter(tmp_path):
    path = tmp_path / "power.csv"
    lines(
        path,
        [line + ",x" for line in steady(100, until_s=time.time() - 3600, form="{:.3f},{:.1f}")],
        header="Zeit,Leistung Dose,note",
    )
    options = "time=Zeit&power=Leistung%20Dose&unit=W&offset=1h&clock=0.5s&accuracy=2%&refresh=2s&wait=5s"
    meter = opened(f"{path}?{options}")
    info = meter.info()
    assert info.refresh_s == 2.0
    assert info.notes[0] == f"{path}: times from 'Zeit', power from 'Leistung Dose' in W"
    assert info.notes[1] == "clocks within 0.5 s, refresh 2 s or longer as stated, accuracy ±2 % as stated"
    (energy,), _ = meter.energies(*marks(60, 20), duration_s=20, cpu_s=0)
    assert energy.energy_j == pytest.approx(2001, rel=1e-3)
    assert energy.high_j == pytest.approx((2000 + 300) / 0.98, rel=0.01)
    meter.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("powr=W", "did you mean 'power'"),
        ("colour=red", "Valid options: time, power, energy"),
        ("power=watt", "did you mean 'watts'"),
        ("power=note", "does not say its unit"),
        ("power=W&unit=mw", "did you mean 'mW'"),
        ("power=W&unit=kWh", "unit of energy"),
        ("power=W&energy=W", "not both"),
        ("time=when", "its header is 'time', 'W', 'watts', 'note'"),
        ("", "more than one column known for power or energy"),
        ("power=W&clock=soon", "not a duration"),
        ("power=W&offset=x", "not a duration"),
        ("power=W&accuracy=0.01", "write for example accuracy=1%"),
        ("power=W&accuracy=80%", "below 50 %"),
        ("power=W&wait=1h", "at most 300 s"),
        ("power=W&power=watts", "given twice"),
        ("power=", "has no value"),
    ],
)
def test_an_option_that_makes_no_sense_says_what_would(tmp_path, options, words):
    path = tmp_path / "power.csv"
    lines(path, [f"{line},1,1" for line in steady()], header="time,W,watts,note")
    with pytest.raises(UsageError, match=words.replace("(", r"\(")):
        wall.open_meter(f"{path}?{options}", None)


def test_a_header_without_a_known_column_is_shown(tmp_path):
    path = tmp_path / "power.csv"
    lines(path, steady(), header="time,Leistung")
    with pytest.raises(UsageError, match="no column known for power or energy; its header is 'time', 'Leistung'"):
        wall.open_meter(str(path), None)
    with pytest.raises(UsageError, match="needs an argument"):
        wall.open_meter("", None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "start the logger first"),
        ("", "no header yet"),
        ("time,power_w", "no header yet"),
        ("time,power_w\n", "no sample yet"),
        ("time,power_w\n2026-01-01 00:00:00,12\n", "has no zone"),
    ],
)
def test_a_file_with_nothing_to_read_is_missing(tmp_path, text, words):
    path = tmp_path / "power.csv"
    if text is not None:
        path.write_text(text)
    assert words in refused(path)


def test_a_logger_that_has_stopped_or_whose_clock_is_ahead_is_found_at_opening(tmp_path):
    path = tmp_path / "power.csv"
    lines(path, steady(until_s=time.time() - 3600))
    assert "the logger has stopped" in refused(path)
    lines(path, steady(until_s=time.time() + 0.8))
    assert "in the future" in refused(path)
    opened(f"{path}?clock=1s").close()
    lines(path, steady(until_s=time.time(), period_s=30))
    assert "write wait=61s or more" in refused(path)
    opened(f"{path}?wait=61s").close()


def test_power_that_stands_still_is_refused_until_the_period_is_stated(tmp_path):
    path = tmp_path / "power.csv"
    lines(path, [f"{time.time() - i:.3f},60" for i in range(60, 0, -1)])
    assert "stands still" in refused(path)
    opened(f"{path}?refresh=1s").close()


def test_a_clock_that_was_set_in_the_window_is_missing(tmp_path):
    path = tmp_path / "power.csv"
    lines(path, steady())
    meter = opened(path)
    begin, end = marks(30, 20)
    stepped = end._replace(monotonic_ns=end.monotonic_ns + 150_000_000)
    energies, missing = meter.energies(begin, stepped, duration_s=20, cpu_s=0)
    assert not energies
    assert "clock was set by -0.150 s" in missing[0].reason
    meter.close()


def test_a_long_file_is_opened_at_its_end_and_still_counts_its_lines(tmp_path):
    path = tmp_path / "power.csv"
    samples = steady(60_000, period_s=0.1)
    samples[59_800] = samples[59_800].split(",")[0] + ",nan"
    lines(path, samples)
    assert path.stat().st_size > 2 * wall.TAIL_BYTES
    meter = opened(path)
    energies, missing = meter.energies(*marks(30, 20), duration_s=20, cpu_s=0)
    assert not energies
    assert f"{path}, line 59802: " in missing[0].reason
    meter.close()
