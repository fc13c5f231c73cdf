"""Blocks that do not count: readings that were lost for a moment, and faults that stay."""

import pytest
from msgspec.structs import replace

from harness.gate.evidence import gather
from harness.gate.model import Stage


@pytest.fixture
def first_look(make):
    """Return a function that gives eight forks of five blocks, of which the first of fork 3 do not count."""

    def blocks(void, *, lost):
        measured = make.blocks("encode", 0.0, forks=8, each=5)
        for place in range(15, 15 + void):
            block = measured[place]
            slots = (replace(block.slots[0], energy_j=None, gap="the counter went backwards"), *block.slots[1:])
            measured[place] = replace(block, slots=slots if lost else block.slots, void="lost" if lost else "wrong")
        return measured

    return blocks


def test_two_readings_that_one_fork_lost_before_the_first_look_cost_their_blocks_alone(first_look):
    seen = gather(first_look(2, lost=True), Stage.MAIN)
    assert seen.fault is None
    assert (seen.blocks, seen.void) == (38, 2)
    assert len(seen.differences[3]) == 3


def test_a_control_that_lost_its_reading_is_a_lost_reading_too(make, first_look):
    measured = first_look(0, lost=True)
    for place in (15, 16):
        control = (replace(measured[place].control[0], energy_j=0.0),)
        measured[place] = replace(measured[place], control=control, void="no energy of control")
    assert gather(measured, Stage.MAIN).fault is None


def test_a_meter_that_goes_on_losing_readings_is_seen_at_the_first_look(first_look):
    assert "3 of 5 blocks of fork 3 do not count" in gather(first_look(3, lost=True), Stage.MAIN).fault


def test_wrong_answers_are_no_accident_of_the_meter(first_look):
    assert "2 of 5 blocks of fork 3 do not count" in gather(first_look(2, lost=False), Stage.MAIN).fault
