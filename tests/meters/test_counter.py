"""A wrapping counter gives the true sum, or says that it cannot."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.counters.wrapping import SLACK_NS, WrappingCounter, rise_alike

CEILING_W = 1000
TURN_UJ = 65_536_000_000  # 65.5 kJ: the shorter turn found in the field
LONGEST_NS = TURN_UJ * 1000 // CEILING_W - SLACK_NS


@given(
    start_uj=st.integers(0, TURN_UJ - 1),
    steps=st.lists(st.tuples(st.integers(10**6, LONGEST_NS), st.floats(0.01, 1.0)), min_size=1, max_size=60),
)
def test_readings_with_at_most_one_wrap_between_neighbours_give_the_true_sum(start_uj, steps):
    counter = WrappingCounter(TURN_UJ, CEILING_W)
    truth_uj = start_uj
    counter.advance(truth_uj, 0)
    for elapsed_ns, share in steps:
        truth_uj += int(elapsed_ns * share * CEILING_W / 1000)
        counter.advance(truth_uj % TURN_UJ, elapsed_ns)
    assert counter.faults == 0
    assert counter.total_uj == truth_uj - start_uj


def test_in_a_million_wraps_no_window_is_wrong():
    """Windows of a few readings, with gaps of several turns and readings that fail strewn in."""
    rng = random.Random(3)
    wraps = windows = refused = 0
    while wraps < 1_000_000:
        turn_uj = rng.randrange(10**9, 3 * 10**11)
        counter = WrappingCounter(turn_uj, CEILING_W)
        longest_ns = turn_uj * 1000 // CEILING_W - SLACK_NS
        truth_uj = begin_uj = rng.randrange(turn_uj)
        begin = counter.advance(truth_uj % turn_uj, 0)
        disturbed = False
        for step in range(1, 20_000):
            elapsed_ns = int(longest_ns * (1 - 0.05 * rng.random()))
            if step % 97 == 0:
                elapsed_ns = int(elapsed_ns * rng.uniform(1.2, 9.0))
                disturbed = True
            rise_uj = int(elapsed_ns * rng.uniform(0.9, 1.0) * CEILING_W / 1000)
            wraps += (truth_uj % turn_uj + rise_uj) // turn_uj
            truth_uj += rise_uj
            if step % 89 == 0:
                end, disturbed = counter.unreadable("No such device"), True
            else:
                end = counter.advance(truth_uj % turn_uj, elapsed_ns)
            if step % 5 == 0:
                windows += 1
                if end[1] != begin[1]:
                    refused += 1
                    assert disturbed
                else:
                    assert not disturbed
                    assert end[0] - begin[0] == truth_uj - begin_uj
                begin, begin_uj = end, truth_uj
                disturbed = step % 89 in {0, 1}
    assert 0 < refused < windows / 5


@given(power_w=st.floats(1.0, CEILING_W), gap_s=st.floats(66.0, 1e6))
def test_a_gap_in_which_turns_could_be_lost_is_a_fault_and_adds_nothing(power_w, gap_s):
    counter = WrappingCounter(TURN_UJ, CEILING_W)
    counter.advance(0, 0)
    counter.advance(int(gap_s * power_w * 1e6) % TURN_UJ, int(gap_s * 1e9))
    assert counter.faults == 1
    assert counter.total_uj == 0
    assert "more than once" in counter.reason


def test_a_gap_just_too_long_is_refused_although_the_slack_would_allow_its_step():
    counter = WrappingCounter(TURN_UJ, CEILING_W)
    counter.advance(0, 0)
    counter.advance(10, LONGEST_NS + 1)
    assert counter.faults == 1


@given(last_uj=st.integers(10**9, TURN_UJ // 2), to_uj=st.integers(0, 10**8))
def test_a_reset_is_not_taken_for_a_wrap(last_uj, to_uj):
    counter = WrappingCounter(TURN_UJ, CEILING_W)
    counter.advance(last_uj, 0)
    counter.advance(to_uj, 10**9)
    assert (counter.faults, counter.total_uj) == (1, 0)
    assert "backwards" in counter.reason


def test_a_spike_past_the_ceiling_is_a_fault_and_so_is_the_way_back():
    counter = WrappingCounter(TURN_UJ, CEILING_W)
    counter.advance(0, 0)
    counter.advance((10**9 + SLACK_NS) * CEILING_W // 1000 + 1, 10**9)
    assert counter.faults == 1
    assert "implausibly" in counter.reason
    counter.advance(100, 10**9)
    assert counter.faults == 2


def test_a_window_that_begins_at_a_false_reading_is_refused_although_the_next_step_is_possible():
    counter = WrappingCounter(TURN_UJ, CEILING_W)
    counter.advance(5_000_000, 0)
    begin = counter.advance(4_000_000, 10**9)  # a moment's value from before
    assert counter.advance(6_000_000, 10**9)[1] > begin[1], "2 J since the false reading, 1 J in truth"


def test_a_counter_that_catches_up_after_standing_still_is_right_and_one_that_stood_too_long_is_refused():
    counter = WrappingCounter(TURN_UJ, CEILING_W)
    counter.advance(0, 0)
    for _ in range(9):
        counter.advance(0, 10**9)
    assert counter.advance(9_000_000_000, 10**9)[:2] == (9_000_000_000, 0), "900 W over ten seconds"
    for _ in range(70):
        counter.advance(9_000_000_000, 10**9)
    assert counter.advance(9_500_000_000, 10**9)[1] == 1, "it may have turned over unseen"


def test_a_counter_past_its_own_range_is_never_wrapped():
    counter = WrappingCounter(10**9, CEILING_W)
    counter.advance(10**9 + 5_000_000, 0)
    counter.advance(1_000_000, 10**8)
    assert counter.faults == 1


def test_a_counter_that_never_turns_over_must_not_go_backwards_and_must_be_read_in_time():
    counter = WrappingCounter(None, CEILING_W, span_uj=32_768_000_000)
    counter.advance(2**63, 0)
    assert counter.advance(2**63 + 7, 10**9)[:2] == (7, 0)
    assert counter.advance(2**63 + 6, 10**9)[1] == 1
    counter.advance(2**63 + 7, 10**9)
    counter.advance(2**63 + 8, 10**9)
    assert counter.advance(2**63 + 9, 33 * 10**9)[1] == 4
    assert "more than once" in counter.reason


def test_after_an_unread_moment_a_window_must_begin_at_the_second_reading():
    counter = WrappingCounter(TURN_UJ, CEILING_W)
    counter.advance(0, 0)
    marks = [counter.unreadable("No such device")]
    marks += [counter.advance(value_uj, 10**9) for value_uj in (7_000_000, 8_000_000, 9_000_000)]
    assert marks[0][1] < marks[1][1] < marks[2][1] == marks[3][1]
    assert marks[3][0] - marks[2][0] == 1_000_000


class Ticking:
    """A register that rises by a random amount at every eleventh look at anything."""

    def __init__(self, rng):
        self.looks = 0
        self.value = 0
        self.rng = rng

    def look(self):
        self.looks += 1
        if self.looks % 11 == 0:
            self.value += self.rng.randrange(1000, 2000)
        return self.value


def test_one_counter_read_twice_is_told_from_two_and_from_one_that_stands_still():
    register, other = Ticking(random.Random(1)), Ticking(random.Random(2))
    assert rise_alike(register.look, lambda: register.look() + 77) is True
    assert rise_alike(register.look, other.look) is False
    assert rise_alike(register.look, lambda: 0) is False
    assert rise_alike(lambda: 5, lambda: 5, at_most_s=0.001) is None


@pytest.mark.parametrize("turn_uj", [10**9, TURN_UJ, 262_143_328_850])
def test_the_sum_stays_exact_where_float_would_not(turn_uj):
    counter = WrappingCounter(turn_uj, CEILING_W)
    counter.advance(0, 0)
    for _ in range(100):
        counter.advance(turn_uj - 1, int(turn_uj * 1000 / CEILING_W) - SLACK_NS)
        counter.advance(0, 10**6)
    assert counter.total_uj == 100 * turn_uj
