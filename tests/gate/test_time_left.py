"""What is done with little time: what is found last can still be confirmed, and nothing is started in vain."""

import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from harness.gate.arms import Reading
from harness.gate.cohorts import Lab
from harness.gate.findings import Finding, Kind, Recurrence, Terms
from harness.gate.forks import Gated
from harness.gate.model import Arm, Policy, Slot, Stage
from harness.gate.slots import Built, Pair, Slots
from harness.gate.stages import Deciding, Gate, measure
from harness.records import Provenance

POLICY = Policy(forks=6, blocks=48, looks=2)
SLOT_S, START_S = 1.0, 2.0
BLOCK_S = 5 * SLOT_S
FORK_S = 2 * START_S + 6 * SLOT_S
"""Both workers load one after the other, and run three slots each until they are warm."""

MAIN_S = 6 * FORK_S + 48 * BLOCK_S
CONFIRM_S = 6 * FORK_S + 24 * BLOCK_S


class Clocked:
    """A worker of a world whose clock goes on only while it works."""

    pid = 0

    def __init__(self, world, arm):
        self.world, self.arm = world, arm

    def ready(self, timeout_s):
        self.world.now_s += START_S

    def run(self, repeats, part, timeout_s):
        self.world.now_s += SLOT_S
        slot = Slot(arm=self.arm, tasks=1, duration_s=SLOT_S, cpu_s=SLOT_S, energy_j=1.0, provenance=Provenance.FAKE)
        return Reading(slot=slot, scores={})

    def close(self):
        pass

    kill = close


class World:
    """A gate whose looks find what `finds` says of a case: its kind, and its estimate or None."""

    def __init__(self, tmp_path, finds, deadline_s, names):
        self.now_s, self.finds = 0.0, finds
        arm = Arm(ref="r", commit=None, dirty=False, lock_sha256=None)
        built = Built(place=tmp_path, root=tmp_path, python=Path("python"))
        self.lab = Lab(
            slots=Slots(base=arm, head=arm, pairs=(Pair(base=built, head=built),) * 2),
            policy=POLICY,
            control=Clocked(self, "control"),
            control_repeats=1,
            logs=tmp_path,
            seed=1,
            slot_s=SLOT_S,
            timeout_s=1.0,
            keep=lambda _: None,
            say=lambda _: None,
            deadline_s=deadline_s,
        )
        terms = {name: Terms(policy=POLICY) for name in names}
        decide = Deciding(look=self.look, confirm=lambda *_, **__: Recurrence(again=True, reason="again"))
        self.gate = Gate(lab=self.lab, policy=POLICY, terms=terms, decide=decide, deadline_s=deadline_s)
        self.cases = [Gated(name, agree=True, metric="score", start=self.start) for name in names]

    def start(self, arm, pair, seed, log):
        return Clocked(self, arm)

    def look(self, blocks, policy, index, *, decided, terms):
        return {name: decided.get(name) or self.finding(name, index) for name in blocks}

    def finding(self, name, index):
        kind, estimate = self.finds(index)
        return Finding(case=name, kind=kind, reason="so", look=index, family=1, estimate=estimate)

    def blocks(self, stage):
        return sum(block.stage is stage for each in self.lab.blocks.values() for block in each)


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """Return a function that measures cases until a deadline, of which each look finds something."""

    def run(finds, deadline_s, names=("a",)):
        world = World(tmp_path, finds, deadline_s, names)
        monkeypatch.setattr(time, "monotonic", lambda: world.now_s)
        measure(world.gate, world.cases, deadline_s)
        return world

    return run


def found_last(index):
    return (Kind.SUSPECTED if index == 2 else Kind.GO_ON), None


def test_enough_time_is_kept_to_confirm_what_the_last_look_finds(measured):
    deadline_s = MAIN_S + 0.7 * CONFIRM_S
    world = measured(found_last, deadline_s)
    assert 24 < world.blocks(Stage.MAIN) < 48
    assert [each.again for each in world.gate.recurrences["a"]] == [True]
    assert world.now_s <= deadline_s
    assert world.gate.unconfirmed_s() == {}


def test_with_time_for_both_stages_none_is_given_away(measured):
    world = measured(found_last, MAIN_S + 1.2 * CONFIRM_S)
    assert world.blocks(Stage.MAIN) == 48
    assert world.gate.recurrences["a"]


def test_where_a_confirmation_would_take_most_of_the_time_all_of_it_goes_to_the_looks(measured):
    deadline_s = 1.5 * CONFIRM_S
    world = measured(found_last, deadline_s)
    assert world.blocks(Stage.MAIN) > 40
    assert world.now_s <= deadline_s + BLOCK_S


def test_no_worker_is_started_for_a_confirmation_that_cannot_end_in_time(measured):
    deadline_s = 1.5 * CONFIRM_S
    world = measured(found_last, deadline_s)
    assert (world.blocks(Stage.CONFIRM), world.gate.recurrences) == (0, {})
    assert world.now_s <= deadline_s + BLOCK_S
    assert world.gate.unconfirmed_s() == {"a": pytest.approx(CONFIRM_S, rel=0.1)}


@pytest.mark.parametrize(("change", "blocks"), [(0.001, 48), (0.015, 36)])
def test_time_is_kept_only_for_what_may_be_found(measured, make, change, blocks):
    estimate = replace(make.COSTLIER, change=change)
    world = measured(lambda _: (Kind.GO_ON, estimate), MAIN_S + 0.5 * CONFIRM_S)
    assert world.blocks(Stage.MAIN) == pytest.approx(blocks, abs=4)


def test_where_time_is_enough_for_one_of_two_confirmations_one_is_run(measured):
    world = measured(found_last, 2 * MAIN_S + 1.2 * CONFIRM_S, ("a", "b"))
    assert len(world.gate.recurrences) == 1
    assert len(world.gate.unconfirmed_s()) == 1
