"""What is done with time: what is found last can still be confirmed, nothing is started in vain, the rest is spent."""

import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from harness.gate import overtime
from harness.gate.arms import Reading
from harness.gate.cohorts import Lab
from harness.gate.findings import Finding, Kind, Recurrence, Terms
from harness.gate.forks import Gated
from harness.gate.model import Arm, Policy, Slot, Stage
from harness.gate.slots import Built, Pair, Slots
from harness.gate.stages import Deciding, Gate, measure
from harness.records import Provenance
from harness.stats import Taken

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
    """A gate whose looks find what `finds` says of a look: its kind, its estimate or None, how many more blocks."""

    def __init__(self, tmp_path, finds, deadline_s, names, *, again=True):
        self.now_s, self.finds = 0.0, finds
        self.again, self.confirmed, self.taken, self.said = again, [], [], []
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
            say=self.said.append,
            deadline_s=deadline_s,
        )
        terms = {name: Terms(policy=POLICY) for name in names}
        decide = Deciding(look=self.look, confirm=self.confirm)
        self.gate = Gate(lab=self.lab, policy=POLICY, terms=terms, decide=decide, deadline_s=deadline_s)
        self.cases = [Gated(name, agree=True, metric="score", start=self.start) for name in names]

    def start(self, arm, pair, seed, log):
        return Clocked(self, arm)

    def look(self, blocks, policy, taken, names, *, terms):
        self.taken.append(taken)
        return {name: self.finding(name, taken[-1].look) for name in names}

    def finding(self, name, index):
        kind, estimate, *more = self.finds(index, name)
        return Finding(
            case=name,
            kind=kind,
            reason="so",
            look=index,
            family=1,
            estimate=estimate,
            more_blocks=next(iter(more), None),
        )

    def confirm(self, finding, blocks, policy, *, terms):
        self.confirmed.append((finding.case, len(blocks), {block.fork for block in blocks}))
        return Recurrence(again=self.again, reason="again")

    def blocks(self, stage):
        return sum(block.stage is stage for each in self.lab.blocks.values() for block in each)


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """Return a function that measures cases until a deadline, of which each look finds something."""

    def run(finds, deadline_s, names=("a",), most=4, *, until_s=None, again=True):
        world = World(tmp_path, finds, deadline_s, names, again=again)
        monkeypatch.setattr(time, "monotonic", lambda: world.now_s)
        measure(world.gate, world.cases, until_s or deadline_s)
        told = []
        overtime.spend(world.gate, world.cases, most, lambda: told.append(world.now_s))
        world.told = told
        return world

    return run


def found_last(index, _):
    return (Kind.SUSPECTED if index == 2 else Kind.GO_ON), None


def test_enough_time_is_kept_to_confirm_what_the_last_look_finds(measured):
    deadline_s = MAIN_S + 0.7 * CONFIRM_S
    world = measured(found_last, deadline_s)
    assert 24 < world.blocks(Stage.MAIN) < 48
    assert [each.again for each in world.gate.recurrences["a"]] == [True]
    assert world.now_s <= deadline_s
    assert world.gate.missing_s() == {}


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
    assert world.gate.missing_s() == {"a": pytest.approx(CONFIRM_S, rel=0.1)}


@pytest.mark.parametrize(("change", "blocks"), [(0.001, 48), (0.015, 36)])
def test_time_is_kept_only_for_what_may_be_found(measured, make, change, blocks):
    estimate = replace(make.COSTLIER, change=change)
    world = measured(lambda *_: (Kind.GO_ON, estimate), MAIN_S + 0.5 * CONFIRM_S)
    assert world.blocks(Stage.MAIN) == pytest.approx(blocks, abs=4)


def test_where_time_is_enough_for_one_of_two_confirmations_one_is_run(measured):
    world = measured(found_last, 2 * MAIN_S + 1.2 * CONFIRM_S, ("a", "b"))
    assert len(world.gate.recurrences) == 1
    assert len(world.gate.missing_s()) == 1


def undecided(*, until=99, more=48, estimate=None, then=Kind.PASS):
    """Return findings that stay open until a look, with so many more blocks to go."""
    return lambda index, _: (Kind.GO_ON, estimate, more) if index < until else (then, estimate)


def test_time_that_is_left_goes_to_what_is_undecided_in_fresh_forks(measured, make):
    cheap = replace(make.COSTLIER, change=0.001)
    world = measured(undecided(until=4, estimate=cheap), 10 * MAIN_S)
    assert world.gate.latest["a"].look == 4
    assert {block.fork for block in world.lab.blocks["a"]} == set(range(18))
    assert world.blocks(Stage.MAIN) == 3 * 48
    assert world.now_s == pytest.approx(3 * MAIN_S, rel=0.05)
    assert len(world.told) == 2


def test_what_overtime_finds_is_confirmed_with_as_large_a_part_of_its_blocks(measured):
    world = measured(undecided(until=3, then=Kind.SUSPECTED), 10 * MAIN_S)
    assert world.confirmed == [("a", 48, set(range(12, 24)))]
    assert world.gate.recurrences["a"][0].again
    assert world.gate.missing_s() == {}


def test_what_is_not_found_again_is_not_tried_again_however_much_time_is_left(measured):
    def finds(index, _):
        return (Kind.SUSPECTED if index == 2 else Kind.GO_ON), None, 48

    world = measured(finds, 10 * MAIN_S, again=False)
    assert len(world.confirmed) == 1
    assert world.blocks(Stage.MAIN) == 48


def test_nothing_is_spent_on_what_the_time_left_cannot_decide(measured, make):
    cheap = replace(make.COSTLIER, change=0.001)
    hopeless = measured(undecided(more=20 * 48, estimate=cheap), 5 * MAIN_S)
    assert hopeless.blocks(Stage.MAIN) == 48
    assert hopeless.gate.missing_s() == {"a": pytest.approx(1.1 * 20 * MAIN_S, rel=0.05)}
    unknown = measured(undecided(more=None, estimate=cheap), 5 * MAIN_S)
    assert unknown.blocks(Stage.MAIN) == 48
    assert unknown.gate.missing_s() == {}


def test_an_overtime_is_not_begun_without_the_time_to_confirm_what_it_may_find(measured, make):
    may_be_costlier = replace(make.COSTLIER, change=0.015)
    short = measured(undecided(estimate=may_be_costlier), 2 * MAIN_S + CONFIRM_S)
    assert short.blocks(Stage.MAIN) == 48
    enough = measured(undecided(until=3, estimate=may_be_costlier, then=Kind.SUSPECTED), 2.2 * MAIN_S + 2.4 * CONFIRM_S)
    assert enough.blocks(Stage.MAIN) == 96
    assert enough.gate.recurrences["a"][0].again


def test_as_much_time_as_is_said_to_be_missing_lets_it_begin(measured, make):
    for change in (0.001, 0.015):
        estimate = replace(make.COSTLIER, change=change)
        short = measured(undecided(more=96, estimate=estimate), MAIN_S + CONFIRM_S)
        assert short.blocks(Stage.MAIN) == 48
        longer = measured(undecided(until=4, more=96, estimate=estimate), short.now_s + short.gate.missing_s()["a"])
        assert longer.gate.decided["a"].look == 4


def test_a_case_that_its_share_of_the_time_cut_off_goes_on_from_there(measured, make):
    cheap = replace(make.COSTLIER, change=0.001)
    world = measured(undecided(until=3, estimate=cheap), 10 * MAIN_S, until_s=0.8 * MAIN_S)
    cut = world.taken[-2]
    assert [each.look for each in cut] == [1, 2]
    assert 0.5 < cut[-1].share < 1
    assert world.taken[-1] == (*cut, Taken(3, cut[-1].share + 1))
    assert world.gate.decided["a"].look == 3


@pytest.mark.parametrize("kind", [Kind.CONTAMINATED, Kind.GO_ON])
def test_what_was_seen_on_an_unsteady_machine_is_not_outvoted_by_fresh_forks(measured, make, monkeypatch, kind):
    cheap = replace(make.COSTLIER, change=0.001)
    finding = World.finding
    monkeypatch.setattr(World, "finding", lambda *about: replace(finding(*about), unsteady=True))
    world = measured(lambda *_: (kind, cheap, 48), 9 * MAIN_S)
    assert world.blocks(Stage.MAIN) == 48


def test_an_overtime_that_time_cuts_off_ends_without_a_look(measured, make, monkeypatch):
    cheap = replace(make.COSTLIER, change=0.001)
    monkeypatch.setattr(Gate, "needed_s", lambda *_: 1.0)
    world = measured(undecided(until=3, estimate=cheap), 1.5 * MAIN_S)
    assert 48 < world.blocks(Stage.MAIN) < 96
    assert [each.look for each in world.gate.taken["a"]] == [1, 2]
    assert world.gate.latest["a"].look == 2


def test_where_too_little_was_seen_to_tell_one_overtime_is_played(measured, make):
    hardly = replace(make.COSTLIER, change=0.001, blocks=5, forks=2)
    world = measured(undecided(more=None, estimate=hardly), 9 * MAIN_S)
    assert world.blocks(Stage.MAIN) == 96


def test_time_is_not_spread_over_more_cases_than_it_can_decide(measured, make):
    cheap = replace(make.COSTLIER, change=0.001)

    def finds(index, _):
        return (Kind.GO_ON if index < 8 else Kind.PASS), cheap, 48 * (8 - max(2, index))

    world = measured(finds, 4 * MAIN_S + 8 * MAIN_S, "abcd")
    assert sorted(each.look for each in world.gate.latest.values()) == [2, 2, 2, 8]


def test_the_cases_that_need_least_go_first_and_no_more_at_once_than_allowed(measured, make):
    cheap = replace(make.COSTLIER, change=0.001)
    need = {"a": 96, "b": 48, "c": 480}

    def finds(index, name):
        return (Kind.GO_ON if index < 2 + need[name] // 48 else Kind.PASS), cheap, need[name] - 48 * max(0, index - 2)

    world = measured(finds, 3 * MAIN_S + 4.5 * MAIN_S, "abc", most=1)
    assert {name: len(each) for name, each in world.lab.blocks.items()} == {"a": 144, "b": 96, "c": 48}
    begun = [text.removeprefix("time is left: ") for text in world.said if text.startswith("time is left")]
    assert begun == ["overtime 1 of b", "overtime 1 of a", "overtime 2 of a"]
