"""A series of samples gives joules whose bounds hold the truth, or a reason why it gives none."""

import math
from bisect import bisect_right

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harness.meters.integration import Joules, Trust, awaited_s, energy_between
from harness.meters.series import CEILING_W, Kind, Recording, refresh_s, sample_period_s
from harness.records import Missing

T0 = 1_790_000_000.0


def power(samples, where="power.csv"):
    recording = Recording(Kind.POWER)
    for line, (unix_s, power_w) in enumerate(samples, start=2):
        recording.add(unix_s, power_w, f"{where}, line {line}")
    return recording


def counter(samples):
    recording = Recording(Kind.ENERGY)
    for line, (unix_s, energy_j) in enumerate(samples, start=2):
        recording.add(unix_s, energy_j, f"energy.csv, line {line}")
    return recording


def flicker(n=60, period_s=1.0, power_w=100.0):
    """Return samples of a nearly constant load: 0.1 W of noise, as a live meter has."""
    return [(T0 + index * period_s, power_w + 0.1 * (index % 2)) for index in range(n)]


def between(recording, begin_s, end_s, **trust):
    return energy_between(recording.part(T0 + begin_s), T0 + begin_s, T0 + end_s, Trust(**trust))


def reason(result):
    assert isinstance(result, Missing), result
    assert result.domain == "wall"
    return result.reason


def test_a_ramp_is_integrated_exactly_at_edges_between_the_samples():
    recording = power([(T0 + t, 50.0 + 2 * t) for t in range(60)])
    joules = between(recording, 10.25, 40.75)
    assert joules.energy_j == pytest.approx(
        50 * 30.5 + 40.75**2 - 10.25**2, abs=1e-4
    )  # a float holds unix time to 0.2 µs
    assert joules.refresh_s == 1.0


def test_a_constant_load_is_known_to_one_period_at_either_side():
    joules = between(power(flicker(power_w=100.0)), 10.0, 50.0)
    assert joules.energy_j == pytest.approx(4002, rel=1e-4)
    assert joules.low_j == pytest.approx(3900, rel=1e-2)
    assert joules.high_j == pytest.approx(4104, rel=1e-2)


def test_stated_accuracy_and_clock_widen_the_bounds():
    plain = between(power(flicker()), 10.0, 50.0)
    accurate = between(power(flicker()), 10.0, 50.0, accuracy=0.02)
    clocked = between(power(flicker()), 10.0, 50.0, clock_s=0.5)
    assert accurate.low_j == pytest.approx(plain.low_j / 1.02)
    assert accurate.high_j == pytest.approx(plain.high_j / 0.98)
    assert plain.low_j - clocked.low_j == pytest.approx(100, rel=1e-2)  # half a second at each edge
    assert clocked.high_j - plain.high_j == pytest.approx(100, rel=1e-2)
    assert clocked.energy_j == plain.energy_j


@pytest.mark.parametrize(
    ("begin_s", "end_s", "words"),
    [
        (-5.0, 20.0, "begins 5.000 s too late"),
        (30.0, 59.5, "ends 1.500 s too early"),
        (30.0, 90.0, "ends 32.000 s too early"),
        (10.0, 12.5, "less than 3 refreshes"),
    ],
)
def test_a_window_that_the_samples_do_not_reach_is_missing_by_that_many_seconds(begin_s, end_s, words):
    assert words in reason(between(power(flicker()), begin_s, end_s))


def test_how_long_to_wait_is_what_lacks_at_the_end_and_nothing_else():
    part = power(flicker()).part(T0)
    assert awaited_s(part, T0 + 30, T0 + 59.5, Trust()) == pytest.approx(1.5)
    assert awaited_s(part, T0 + 30, T0 + 50, Trust()) == 0
    assert awaited_s(part, T0 - 30, T0 + 90, Trust()) == 0, "what was never logged does not come by waiting"
    assert awaited_s(part, T0 + 59, T0 + 60, Trust()) == 0, "a window too short stays too short"


def test_a_gap_is_missing_in_the_windows_it_touches_and_only_there():
    recording = power([sample for sample in flicker(120) if not 50 < sample[0] - T0 < 56])
    assert "no sample came for 6.000 s" in reason(between(recording, 40, 80))
    assert "no sample came" in reason(between(recording, 20, 50.5)), "the bounds need the sample behind the edge"
    assert isinstance(between(recording, 10, 40), Joules)
    assert isinstance(between(recording, 60, 100), Joules)


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0, 0.0, 0.06, CEILING_W * 1.01])
def test_an_impossible_power_is_refused_by_line_where_it_stands(value):
    samples = flicker(120)
    samples[60] = (samples[60][0], value)
    recording = power(samples)
    assert "power.csv, line 62" in reason(between(recording, 40, 80))
    assert isinstance(between(recording, 10, 40), Joules)
    assert isinstance(between(recording, 70, 100), Joules)


def test_two_samples_at_one_time_are_refused_by_line_where_they_stand():
    samples = flicker(120)
    samples.insert(61, samples[60])
    recording = power(samples)
    assert "line 63: two samples bear the same time" in reason(between(recording, 40, 80))
    assert isinstance(between(recording, 70, 100), Joules)


def test_time_that_goes_back_refuses_the_series_from_there_on():
    recording = power(flicker(60))
    recording.add(T0 + 58.5, 100.0, "power.csv, line 62")
    assert recording.refused.startswith("power.csv, line 62: the time goes back by 0.500 s")
    recording.add(T0 + 100, 100.0, "power.csv, line 63")
    assert recording.newest_s() == T0 + 59


def test_a_meter_logged_faster_than_it_refreshes_counts_by_its_changes():
    staircase = [(T0 + index * 0.1, 100.0 + (index // 20) % 7) for index in range(1200)]
    part = power(staircase).part(T0 + 60)
    assert sample_period_s(part) == pytest.approx(0.1)
    assert refresh_s(part) == pytest.approx(2.0)
    assert "less than 3 refreshes of 2 s" in reason(between(power(staircase), 60, 65))
    assert between(power(staircase), 60, 90).refresh_s == pytest.approx(2.0)


def test_a_value_that_stands_still_is_refused_unless_the_period_is_stated():
    still = [(T0 + index, 60.0) for index in range(60)]
    assert "stands still" in reason(between(power(still), 10, 40))
    assert between(power(still), 10, 40, refresh_s=1.0).energy_j == pytest.approx(1800)


def test_a_feed_that_freezes_in_the_window_is_refused():
    frozen = [(unix_s, power_w if index < 80 else 100.0) for index, (unix_s, power_w) in enumerate(flicker(120))]
    assert isinstance(between(power(frozen), 40, 75), Joules)
    assert "did not change for" in reason(between(power(frozen), 60, 110))


def test_a_running_sum_gives_its_difference():
    joules = between(counter([(T0 + t, 5e6 + 80.0 * t) for t in range(60)]), 10.5, 40.5)
    assert joules.energy_j == pytest.approx(2400)
    assert joules.low_j <= 2400 - 80 < 2400 + 80 <= joules.high_j


def test_a_coarse_sum_counts_by_its_changes_and_waits_for_the_next():
    steps = counter([(T0 + t, 3600.0 * (t * 90 // 3600)) for t in range(600)])  # 0.001 kWh at 90 W: every 40 s
    joules = between(steps, 100, 400)
    assert joules.refresh_s == pytest.approx(40)
    assert joules.low_j <= 90 * 300 <= joules.high_j
    assert "less than 3 refreshes" in reason(between(steps, 100, 200))
    assert "a change of the counter is needed" in reason(between(steps, 300, 595))


def test_a_count_is_rounded_down_so_the_first_after_the_end_is_no_upper_bound():
    """Counted in 360 J, published each second, logged each half: 179 J drawn before the end are in no count yet."""

    def sum_j(at_s):
        return 5039 + (100 if at_s < 50 else 360) * (at_s - 50)

    coarse = counter([(T0 + index / 2, 360.0 * (sum_j(index // 2) // 360)) for index in range(140)])
    joules = between(coarse, 25.0, 50.5)
    assert joules.low_j <= sum_j(50.5) - sum_j(25.0) <= joules.high_j


def test_a_fine_counter_keeps_its_narrow_bounds():
    sums_j = [round(80.0 * t + 0.01 * (t % 7), 3) for t in range(120)]
    joules = between(counter([(T0 + t, 3.6e6 + sum_j) for t, sum_j in enumerate(sums_j)]), 20.5, 100.5)
    assert joules.high_j - joules.low_j == pytest.approx(4 * 80, rel=0.01), "two periods at either edge"


def test_a_reset_sum_is_missing_in_the_windows_that_hold_it_and_counts_on_behind_it():
    samples = [(T0 + t, 9e6 + 80.0 * t if t < 60 else 80.0 * (t - 60)) for t in range(120)]
    assert "line 62: the energy fell by" in reason(between(counter(samples), 40, 80))
    assert between(counter(samples), 70, 100).energy_j == pytest.approx(2400)
    assert between(counter(samples), 20, 50).energy_j == pytest.approx(2400)


def test_a_sum_that_leaps_is_missing_and_names_the_unit():
    samples = [(T0 + t, 80.0 * t + (1e6 if t >= 60 else 0)) for t in range(120)]
    assert "is the unit right?" in reason(between(counter(samples), 40, 80))


def test_a_sum_in_the_wrong_unit_is_no_power_of_a_machine():
    assert "implausible" in reason(between(counter([(T0 + t, 80.0 / 3.6e3 * t) for t in range(60)]), 10, 40))


# Truth: power that steps at arbitrary times, as work begins and ends, integrated exactly.


class Steps:
    def __init__(self, times_s, powers_w):
        self.times_s = [-1e9, *times_s]
        self.powers_w = powers_w
        self.sums_j = [0.0]
        for index in range(1, len(self.times_s) - 1):
            self.sums_j.append(self.sums_j[-1] + powers_w[index] * (self.times_s[index + 1] - self.times_s[index]))

    def power_w(self, at_s):
        return self.powers_w[bisect_right(self.times_s, at_s) - 1]

    def sum_j(self, at_s):
        index = bisect_right(self.times_s, at_s) - 1
        if index == 0:
            return (at_s - self.times_s[1]) * self.powers_w[0]
        return self.sums_j[index - 1] + self.powers_w[index] * (at_s - self.times_s[index])

    def energy_j(self, begin_s, end_s):
        return self.sum_j(end_s) - self.sum_j(begin_s)


@st.composite
def loads(draw, apart_s=1.0):
    """Return a load whose steps lie at least `apart_s` apart: no burst hides between two samples."""
    pauses = draw(st.lists(st.floats(apart_s, 15.0), min_size=1, max_size=12))
    times_s = [sum(pauses[: index + 1]) for index in range(len(pauses))]
    powers_w = draw(st.lists(st.floats(5.0, 900.0), min_size=len(pauses) + 1, max_size=len(pauses) + 1))
    return Steps(times_s, powers_w)


windows = st.tuples(st.floats(2.0, 40.0), st.floats(0.5, 60.0))


def held(result, truth_j):
    """Tell whether a result holds the truth; a refusal lies about nothing."""
    if isinstance(result, Missing):
        return True
    slack_j = 1e-6 * truth_j + 1e-3  # a float holds unix time to 0.2 µs
    return (
        result.low_j - slack_j <= truth_j <= result.high_j + slack_j
        and result.low_j <= result.energy_j <= result.high_j
    )


@settings(max_examples=150, deadline=None)
@given(load=loads(2.0), window=windows, jitter=st.randoms(use_true_random=False), ahead_s=st.floats(-0.3, 0.3))
def test_the_bounds_hold_the_truth_of_sampled_power(load, window, jitter, ahead_s):
    begin_s, duration_s = window
    times_s = [index + jitter.uniform(-0.2, 0.2) for index in range(120)]
    recording = power([(T0 + at_s + ahead_s, load.power_w(at_s)) for at_s in times_s])
    result = between(recording, begin_s, begin_s + duration_s, clock_s=0.3, refresh_s=1.0)
    assert held(result, load.energy_j(begin_s, begin_s + duration_s))
    assert isinstance(result, Joules) or duration_s < 6, "a long window on a whole series is no reason to refuse"


@settings(max_examples=150, deadline=None)
@given(load=loads(2.0), window=windows, late_s=st.floats(0.0, 0.7))
def test_the_bounds_hold_the_truth_of_a_meter_that_publishes_late(load, window, late_s):
    begin_s, duration_s = window
    recording = power([(T0 + at_s, load.power_w(at_s - late_s)) for at_s in range(120)])
    result = between(recording, begin_s, begin_s + duration_s, refresh_s=1.0)
    assert held(result, load.energy_j(begin_s, begin_s + duration_s))


@settings(max_examples=150, deadline=None)
@given(load=loads(0.1), window=windows)
def test_the_bounds_hold_the_truth_of_a_meter_that_averages(load, window):
    begin_s, duration_s = window
    recording = power([(T0 + at_s, load.energy_j(at_s - 1, at_s)) for at_s in range(120)])
    result = between(recording, begin_s, begin_s + duration_s, refresh_s=1.0)
    assert held(result, load.energy_j(begin_s, begin_s + duration_s))


@settings(max_examples=150, deadline=None)
@given(load=loads(0.1), window=windows, quantum_j=st.sampled_from([0.001, 1.0, 360.0]), every=st.integers(1, 4))
def test_the_bounds_hold_the_truth_of_a_counter_however_coarse_and_slow(load, window, quantum_j, every):
    begin_s, duration_s = window
    start_j = load.sum_j(-10.0)
    samples = []
    for index in range(-10, 400):
        published_s = index // every * every * 0.5  # the meter's own refresh: `every` samples
        sum_j = math.floor((load.sum_j(published_s) - start_j) / quantum_j) * quantum_j
        samples.append((T0 + index * 0.5, max(0.0, sum_j)))
    result = between(counter(samples), begin_s, begin_s + duration_s)
    assert held(result, load.energy_j(begin_s, begin_s + duration_s))


@settings(max_examples=150, deadline=None)
@given(
    load=loads(3.1),
    window=windows,
    garbage=st.lists(st.tuples(st.integers(0, 119), st.sampled_from(["value", "time", "lost", "twice"]), st.floats())),
)
def test_garbage_among_the_samples_never_moves_a_result_out_of_its_bounds(load, window, garbage):
    begin_s, duration_s = window
    lines = [[(T0 + at_s, load.power_w(at_s))] for at_s in range(120)]
    for index, how, value in garbage:
        assume(how != "value" or not 0.1 <= value <= CEILING_W)
        (unix_s, power_w) = (lines[index] or [(T0, 1.0)])[0]
        lines[index] = {
            "value": [(unix_s, value)],
            "time": [(unix_s - 1e5, power_w)],
            "lost": [],
            "twice": [(unix_s, power_w), (unix_s, power_w * 1.5)],
        }[how]
    recording = power([sample for line in lines for sample in line])
    result = between(recording, begin_s, begin_s + duration_s, refresh_s=1.0)
    assert held(result, load.energy_j(begin_s, begin_s + duration_s))
