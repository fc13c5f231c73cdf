"""A wrapping counter gives the true sum, or says that it cannot."""

from hypothesis import given
from hypothesis import strategies as st

from harness.meters.counter import SLACK_S, WrappingCounter

CEILING_W = 1000.0
TURN_UJ = 65_536_000_000  # 65.5 kJ: the shorter turn found in the field


def read(counter, truth_uj, now_s):
    counter.advance(truth_uj % TURN_UJ, round(now_s * 1e9))


@given(
    start_uj=st.integers(0, TURN_UJ - 1),
    steps=st.lists(st.tuples(st.floats(1e-4, 65.0), st.floats(0.0, 1.0)), min_size=1, max_size=60),
)
def test_readings_with_at_most_one_wrap_between_neighbours_give_the_true_sum(start_uj, steps):
    counter = WrappingCounter(TURN_UJ, CEILING_W)
    truth_uj, now_s = start_uj, 5.0
    read(counter, truth_uj, now_s)
    for elapsed_s, share in steps:
        now_s += elapsed_s
        truth_uj += int(elapsed_s * share * CEILING_W * 1e6)
        read(counter, truth_uj, now_s)
    assert counter.faults == 0
    assert counter.total_uj == truth_uj - start_uj


@given(power_w=st.floats(1.0, CEILING_W), gap_s=st.floats(66.0, 1e6))
def test_a_gap_in_which_turns_could_be_lost_is_a_fault_and_adds_nothing(power_w, gap_s):
    counter = WrappingCounter(TURN_UJ, CEILING_W)
    read(counter, 0, 1.0)
    read(counter, int(gap_s * power_w * 1e6), 1.0 + gap_s)
    assert counter.faults == 1
    assert counter.total_uj == 0
    assert "more than once" in counter.reason


@given(last_uj=st.integers(10**9, TURN_UJ // 2), to_uj=st.integers(0, 10**8))
def test_a_reset_is_not_taken_for_a_wrap(last_uj, to_uj):
    counter = WrappingCounter(TURN_UJ, CEILING_W)
    read(counter, last_uj, 1.0)
    read(counter, to_uj, 2.0)
    assert (counter.faults, counter.total_uj) == (1, 0)
    assert "backwards" in counter.reason


def test_a_spike_past_the_ceiling_is_a_fault():
    counter = WrappingCounter(TURN_UJ, CEILING_W)
    read(counter, 0, 1.0)
    read(counter, int((1.0 + SLACK_S) * CEILING_W * 1e6) + 1, 2.0)
    assert counter.faults == 1
    assert "implausibly" in counter.reason


def test_after_an_unread_moment_the_next_chain_begins_with_a_fault():
    counter = WrappingCounter(TURN_UJ, CEILING_W)
    read(counter, 0, 1.0)
    counter.unreadable("No such device")
    begin = counter.faults
    read(counter, 7_000_000, 2.0)
    read(counter, 8_000_000, 3.0)
    assert counter.faults > begin, "a window begun while unread would hold only part of its joules"
    before = counter.faults
    read(counter, 9_000_000, 4.0)
    assert counter.faults == before
