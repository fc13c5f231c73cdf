"""Micro-batches and windows, planned with a machine whose times are known."""

import math

import pytest

from harness.errors import ModelError, NotMeasured, UsageError
from harness.sampling import Times, plan
from harness.sampling.planning import CYCLES_LEAST, CYCLES_MOST, CYCLES_WANTED, candidates


class Machine:
    """Takes so long a sequence (and a token), so long an update, and holds so many sequences."""

    def __init__(self, sequence_s=0.1, update_s=0.05, *, holds=10_000, each_run_s=0.0):
        self.sequence_s, self.update_s, self.holds, self.each_run_s = sequence_s, update_s, holds, each_run_s
        self.tried = []

    def __call__(self, phase, micro_batch):
        self.tried.append(micro_batch)
        if micro_batch > self.holds:
            raise ModelError("it does not fit")
        return Times(self.each_run_s + micro_batch * self.sequence_s * phase.tokens / 16, self.update_s)


def planned(phase, for_s, machine, **more):
    (found,) = plan([phase], for_s, timed=machine, shortest_s=more.pop("shortest_s", 0.0), **more)
    return found


def test_micro_batches_divide_a_whole_batch():
    assert candidates(256.0) == (1, 2, 4, 8, 16, 32, 64, 128, 256)
    assert candidates(1000.0) == (1, 2, 4, 5, 8, 10, 20, 25, 40, 50, 100, 125, 200, 250, 500, 1000)
    assert candidates(25_000 / 32)[-1] == 512
    assert candidates(1.0) == (1,)
    assert candidates(1.5) == (1,)


def test_whole_steps_are_taken_where_they_are_quick_enough(phase):
    found = planned(phase(sequences=8.0), 60, Machine())
    assert found.whole
    assert (found.micro_batch, found.accumulations) == (8, 1.0)
    assert [part.name for part in found.parts] == ["step"]
    assert found.steps_each == found.parts[0].times


def test_whole_steps_of_several_micro_batches_where_the_memory_is_small(phase):
    found = planned(phase(sequences=8.0), 60, Machine(holds=2))
    assert found.whole
    assert (found.micro_batch, found.accumulations) == (2, 4.0)


def test_pairs_of_windows_where_a_whole_step_takes_too_long(phase):
    found = planned(phase(sequences=256.0), 60, Machine())
    assert not found.whole
    runs, updates = found.parts
    assert (runs.name, updates.name) == ("forward and backward", "update")
    assert (runs.weight, updates.weight) == (256 / found.micro_batch, 1.0)
    assert found.micro_batch == 16
    assert CYCLES_WANTED * found.cycle_s <= 60


def test_a_batch_that_is_no_whole_number_of_micro_batches_is_put_together(phase):
    found = planned(phase(sequences=781.25), 600, Machine(sequence_s=0.001))
    assert not found.whole
    assert found.accumulations == 781.25 / 512
    assert found.steps_each == pytest.approx(found.parts[0].times * 512 / 781.25)


def test_the_memory_limits_the_micro_batch(phase):
    machine = Machine(sequence_s=1e-4, update_s=1e-4, holds=20)
    found = planned(phase(sequences=512.0), 600, machine)
    assert found.micro_batch == 16
    assert machine.tried[0] == 1
    assert max(machine.tried) > 20


def test_a_machine_that_likes_large_batches_gets_larger_ones(phase):
    slow_to_start = Machine(sequence_s=1e-4, each_run_s=1.0)
    assert planned(phase(sequences=781.25), 60, slow_to_start).micro_batch == 512


@pytest.mark.parametrize("for_s", [145.0, 190.0, 220.0])
def test_a_meter_that_needs_long_windows_leaves_micro_batches_large_where_time_is_short(phase, for_s):
    gpu = Machine(sequence_s=1e-4, each_run_s=0.015, update_s=0.001)
    found = planned(phase(sequences=256.0), for_s, gpu, shortest_s=4.1)
    assert found.micro_batch == 256
    assert CYCLES_LEAST * found.cycle_s <= 1.1 * for_s


def test_what_is_quicker_is_taken_where_neither_leaves_enough_cycles(phase):
    slow_updates = Machine(sequence_s=0.01, update_s=0.5)
    found = planned(phase(sequences=4.0), 9.0, slow_updates, micro_batch=1)
    assert found.whole, "a step of 0.54 s is quicker than a pair of windows with its update of 0.5 s and more"


def test_a_micro_batch_of_the_user_is_taken_as_it_is(phase):
    machine = Machine()
    found = planned(phase(sequences=256.0), 60, machine, micro_batch=4)
    assert found.micro_batch == 4
    assert machine.tried == [4]


@pytest.mark.parametrize("micro_batch", [0, 9])
def test_a_micro_batch_beyond_the_batch_is_refused(phase, micro_batch):
    with pytest.raises(UsageError, match="a micro-batch has 1 to 8, not"):
        planned(phase(sequences=8.0), 60, Machine(), micro_batch=micro_batch)


def test_too_little_time_is_refused_with_the_time_that_would_do(phase):
    with pytest.raises(UsageError, match=r"2 s are too short: .*all: 0\.15 s a pair\); give --for 4s"):
        planned(phase(sequences=256.0), 2, Machine())
    found = planned(phase(sequences=256.0), 4, Machine())
    assert found.micro_batch == 1
    assert CYCLES_WANTED * found.cycle_s <= 4.01


def test_the_fewest_cycles_are_accepted(phase):
    found = planned(phase(sequences=256.0), 2.5, Machine())
    assert CYCLES_LEAST * found.cycle_s <= 2.5


def test_minutes_are_asked_for_in_minutes(phase):
    with pytest.raises(UsageError, match=r"give --for 5m"):
        planned(phase(sequences=256.0), 2, Machine(sequence_s=10.0, update_s=0.0))


def test_windows_are_as_long_as_the_meter_needs(phase):
    found = planned(phase(sequences=256.0), 600, Machine(sequence_s=0.001, update_s=0.002), shortest_s=4.0)
    times = {"forward and backward": 0.001 * found.micro_batch, "update": 0.002, "step": 0.256 + 0.002}
    for part in found.parts:
        assert part.times * times[part.name] >= 4.0


def test_a_meter_of_unknown_refresh_is_refused(phase):
    with pytest.raises(NotMeasured, match="no window is long enough"):
        planned(phase(), 60, Machine(), shortest_s=math.inf)


def test_short_steps_are_put_together_so_that_windows_are_not_too_many(phase):
    found = planned(phase(sequences=8.0), 60, Machine(sequence_s=1e-4, update_s=1e-5))
    assert found.for_s / found.cycle_s <= CYCLES_MOST
    assert found.for_s / found.cycle_s > CYCLES_WANTED


def test_a_long_phase_gets_what_it_needs_and_the_rest_is_shared(phase):
    phases = [phase("16", sequences=256.0), phase("64", sequences=256.0, tokens=64)]
    short, long = plan(phases, 60, timed=Machine(), shortest_s=0.0)
    assert short.for_s + long.for_s == pytest.approx(60)
    assert long.for_s > short.for_s
    assert short.micro_batch >= long.micro_batch
    assert CYCLES_WANTED * long.cycle_s <= long.for_s
