"""How forks take turns, come in waves, are started anew, and how time is spent; with simulated workers."""

import collections
import itertools
import math
import time
from pathlib import Path

import pytest

from harness.errors import WorkerFailed
from harness.gate import stages
from harness.gate.arms import Reading, Reported
from harness.gate.cohorts import Cohort, Lab, Step, steps
from harness.gate.findings import Finding, Kind, Recurrence, Terms
from harness.gate.forks import Gated
from harness.gate.model import Arm, Policy, Slot, Stage
from harness.gate.slots import Built, Pair, Slots
from harness.gate.stages import Deciding, Gate, measure
from harness.records import Provenance

POLICY = Policy(forks=6, blocks=24, looks=2, confirmations=1)
FOREVER = math.inf


def never():
    return FOREVER


class Simulated:
    """A worker that draws so many joules a task, and dies where it is told to."""

    pid = 0

    def __init__(self, arm, energy_j=1.0, dies=None, answer="same"):
        self.arm, self.energy_j, self.answer = arm, energy_j, answer
        self.dies = dies
        self.runs = 0
        self.closed = False

    def ready(self, timeout_s):
        if self.dies is not None and self.dies[0] == "ready":
            raise self.dies[1]

    def run(self, repeats, part, timeout_s):
        self.runs += 1
        if self.dies is not None and self.runs == self.dies[0]:
            raise self.dies[1]
        slot = Slot(
            arm=self.arm,
            tasks=repeats,
            duration_s=0.02 * repeats,
            cpu_s=0.02 * repeats,
            energy_j=self.energy_j * repeats,
            provenance=Provenance.FAKE,
            checksum=self.answer,
        )
        return Reading(slot=slot, scores={})

    def close(self):
        self.closed = True

    kill = close


def places(name):
    built = [Built(place=Path(f"/{name}/{arm}"), root=Path(f"/{name}/{arm}"), python=Path("python")) for arm in "ab"]
    return Pair(base=built[0], head=built[1])


class World:
    """A laboratory without processes; `started` says who was started, in which pair."""

    def __init__(self, tmp_path, policy=POLICY, seed=1):
        self.kept = []
        self.started = []
        self.workers = []
        arm = Arm(ref="r", commit=None, dirty=False, lock_sha256=None)
        self.lab = Lab(
            slots=Slots(base=arm, head=arm, pairs=(places("one"), places("two"))),
            policy=policy,
            control=Simulated("control"),
            control_repeats=1,
            logs=tmp_path,
            seed=seed,
            slot_s=0.02,
            timeout_s=1.0,
            keep=self.kept.append,
            say=lambda _: None,
        )

    def case(self, name="a", dying=(), **changes):
        """Return a case; `dying` are deaths of the first, second … worker of head that is started."""
        deaths = iter(dying)

        def start(arm, pair, seed, log):
            self.started.append((arm, pair.base.place.parts[1], seed))
            worker = Simulated(arm, dies=next(deaths, None) if arm == "head" else None, **changes.get(arm, {}))
            self.workers.append(worker)
            return worker

        return Gated(name=name, agree=True, metric="score", start=start)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def counts(blocks):
    return dict(sorted(collections.Counter(block.fork for block in blocks).items()))


def test_with_all_forks_alive_every_look_sees_all_of_them():
    assert steps(Policy(forks=8, blocks=160, looks=4), 160, 4, 8) == (
        Step(0, 8, 5, 1),
        Step(0, 8, 10, 2),
        Step(0, 8, 15, 3),
        Step(0, 8, 20, 4),
    )


def test_forks_that_do_not_fit_come_in_waves_with_a_look_after_whole_ones():
    assert steps(Policy(forks=8, blocks=160, looks=4), 160, 4, 3) == (
        Step(0, 3, 20, 1),
        Step(3, 6, 20, 3),
        Step(6, 8, 20, 4),
    )


def test_of_looks_that_would_see_the_same_blocks_the_last_is_taken():
    policy = Policy(forks=8, blocks=24, looks=4)
    assert [(step.blocks, step.look) for step in steps(policy, 24, 4, 8)] == [(1, 1), (2, 2), (3, 4)]


def test_the_look_of_an_overtime_is_counted_on():
    assert steps(Policy(forks=8, blocks=160, looks=4), 160, 1, 8, seen=4) == (Step(0, 8, 20, 5),)
    assert [step.look for step in steps(Policy(forks=8, blocks=160, looks=4), 160, 1, 3, seen=5)] == [0, 0, 6]


def test_every_fork_gets_as_many_blocks_which_may_be_a_few_more():
    policy = Policy(forks=6, blocks=160)
    last = steps(policy, policy.blocks, policy.looks, policy.forks)[-1]
    assert last.last * last.blocks == policy.most_blocks == 162
    assert Policy().most_blocks == Policy().blocks


def test_a_step_brings_every_fork_of_every_case_to_its_blocks(world):
    cohort = Cohort(world.lab, [world.case("a"), world.case("b")], Stage.MAIN)
    assert cohort.begin() == 6
    assert cohort.advance(["a", "b"], Step(0, 6, 2, 1), never)
    assert counts(world.lab.blocks["a"]) == dict.fromkeys(range(6), 2)
    assert counts(world.lab.blocks["b"]) == dict.fromkeys(range(6), 2)
    assert cohort.advance(["b"], Step(0, 6, 4, 2), never)
    assert len(world.lab.blocks["a"]) == 12
    assert len(world.lab.blocks["b"]) == 24
    assert len(world.kept) == 36
    cohort.close()
    assert all(worker.closed for worker in world.workers)


def test_cases_take_turns_within_a_round(world):
    cohort = Cohort(world.lab, [world.case("a"), world.case("b")], Stage.MAIN)
    cohort.advance(["a", "b"], Step(0, 6, 3, 1), never)
    for first in range(0, 36, 12):
        assert collections.Counter(block.case for block in world.kept[first : first + 12]) == {"a": 6, "b": 6}


def test_forks_use_both_pairs_of_places_equally_and_a_confirmation_exchanges_them(tmp_path):
    used = {}
    for stage in Stage:
        world = World(tmp_path)
        cohort = Cohort(world.lab, [world.case()], stage)
        cohort.advance(["a"], Step(0, 6, 1, 1), never)
        used[stage] = [place for arm, place, _ in world.started if arm == "head"]
    assert collections.Counter(used[Stage.MAIN]) == {"one": 3, "two": 3}
    assert all(before != after for before, after in zip(used[Stage.MAIN], used[Stage.CONFIRM], strict=True))


def test_both_arms_of_a_fork_start_with_the_same_seed_in_random_order(world):
    Cohort(world.lab, [world.case()], Stage.MAIN).advance(["a"], Step(0, 6, 1, 1), never)
    pairs = [world.started[first : first + 2] for first in range(0, 12, 2)]
    assert all(one[2] == other[2] for one, other in pairs)
    assert len({one[2] for one, _ in pairs}) == 6
    assert {one[0] for one, _ in pairs} == {"base", "head"}


@pytest.mark.parametrize("seed", [1, 2])
def test_orders_follow_from_the_seed(tmp_path, seed):
    orders = []
    for drawn in (1, seed):
        world = World(tmp_path, seed=drawn)
        Cohort(world.lab, [world.case()], Stage.MAIN).advance(["a"], Step(0, 6, 4, 1), never)
        orders.append([(block.fork, block.order) for block in world.kept])
    assert (orders[0] == orders[1]) is (seed == 1)


def test_a_fork_that_dies_is_dropped_with_its_blocks_and_catches_up(world):
    cohort = Cohort(world.lab, [world.case(dying=[(9, WorkerFailed("killed"))])], Stage.MAIN)
    assert cohort.advance(["a"], Step(0, 6, 4, 1), never)
    assert counts(world.lab.blocks["a"]) == dict.fromkeys(range(6), 4)
    dropped = [block for block in world.kept if block.void]
    assert dropped
    assert all(block.void == "dropped with its fork: head: killed" for block in dropped)
    assert len(world.kept) == 24 + 2 * len(dropped)
    assert world.lab.failed == {}


def test_three_deaths_of_one_fork_give_the_case_up_and_no_other(world):
    dead = [("ready", WorkerFailed("killed"))] * 3
    cohort = Cohort(world.lab, [world.case("a", dying=dead), world.case("b")], Stage.MAIN)
    assert cohort.advance(["a", "b"], Step(0, 6, 2, 1), never)
    assert world.lab.failed == {"a": "head: killed, 3 times in a row"}
    assert len(world.lab.blocks["b"]) == 12


def test_a_worker_that_dies_when_time_is_over_is_not_started_anew(world):
    world.lab.deadline_s = time.monotonic() - 1
    Cohort(world.lab, [world.case(dying=[("ready", WorkerFailed("said nothing"))])], Stage.MAIN).begin()
    assert world.lab.failed == {"a": "head: said nothing; no time was left to start it anew"}
    assert len(world.started) == 2


def test_a_failure_that_the_worker_tells_itself_is_not_tried_again(world):
    cohort = Cohort(world.lab, [world.case(dying=[("ready", Reported("ValueError: no data"))])], Stage.MAIN)
    cohort.advance(["a"], Step(0, 6, 2, 1), never)
    assert world.lab.failed == {"a": "head: ValueError: no data"}
    assert len(world.started) == 2


def test_a_wrong_answer_voids_the_block(world):
    Cohort(world.lab, [world.case(head={"answer": "other"})], Stage.MAIN).advance(["a"], Step(0, 6, 1, 1), never)
    assert {block.void for block in world.kept} == {"a wrong answer: the result of head differs from that of base"}


def test_no_energy_voids_the_block(world):
    Cohort(world.lab, [world.case(base={"energy_j": 0.0})], Stage.MAIN).advance(["a"], Step(0, 6, 1, 1), never)
    assert all("saw no energy of base" in block.void for block in world.kept)


def test_a_deadline_ends_a_step(world):
    cohort = Cohort(world.lab, [world.case()], Stage.MAIN)
    assert not cohort.advance(["a"], Step(0, 6, 2, 1), lambda: time.monotonic() - 1)


class Scripted:
    """Findings by case and look; notes what was asked."""

    def __init__(self, script, again=True):
        self.script, self.again = script, again
        self.asked = []

    def look(self, blocks, policy, taken, names, *, terms):
        index = taken[-1].look
        self.asked.append((index, {name: len(blocks[name]) for name in names}, taken[-1].share))
        return {name: self.finding(name, index, self.script[name].get(index, Kind.GO_ON)) for name in names}

    def finding(self, name, index, kind):
        more = self.script[name].get("more")
        return Finding(case=name, kind=kind, reason="scripted", look=index, family=1, more_blocks=more)

    def confirm(self, finding, blocks, policy, *, terms):
        assert {block.stage for block in blocks} == {Stage.CONFIRM}
        self.asked.append(("confirm", finding.case, counts(blocks)))
        return Recurrence(again=self.again, reason="scripted")


def gate_of(world, script, *, deadline_s=FOREVER, again=True):
    decide = Scripted(script, again)
    deciding = Deciding(look=decide.look, confirm=decide.confirm)
    terms = {name: Terms(policy=world.lab.policy) for name in script}
    gate = Gate(lab=world.lab, policy=world.lab.policy, terms=terms, decide=deciding, deadline_s=deadline_s)
    return gate, decide


def test_a_decided_case_leaves_and_the_others_go_on(world):
    gate, decide = gate_of(world, {"a": {1: Kind.PASS}, "b": {}})
    measure(gate, [world.case("a"), world.case("b")], FOREVER)
    assert decide.asked == [(1, {"a": 12, "b": 12}, 0.5), (2, {"b": 24}, 1.0)]
    assert gate.latest["a"].kind is Kind.PASS
    assert gate.latest["b"].kind is Kind.GO_ON


def test_what_is_suspected_is_confirmed_in_fresh_forks_with_enough_blocks(world):
    gate, decide = gate_of(world, {"a": {1: Kind.SUSPECTED}, "b": {2: Kind.PASS}})
    measure(gate, [world.case("a"), world.case("b")], FOREVER)
    assert decide.asked[-1] == ("confirm", "a", dict.fromkeys(range(6, 12), 4))
    assert [each.again for each in gate.recurrences["a"]] == [True]


def test_what_does_not_recur_is_not_looked_for_a_second_time(tmp_path):
    world = World(tmp_path, Policy(forks=6, blocks=24, looks=1, confirmations=2))
    gate, decide = gate_of(world, {"a": {1: Kind.SUSPECTED}}, again=False)
    measure(gate, [world.case("a")], FOREVER)
    assert [asked for asked in decide.asked if asked[0] == "confirm"] == [
        ("confirm", "a", dict.fromkeys(range(6, 12), 4))
    ]


def test_where_time_is_short_the_most_promising_cases_go_on(world, monkeypatch):
    gate, decide = gate_of(world, {"a": {"more": 500}, "b": {"more": 5}, "c": {"more": 900}})
    clock = itertools.count()
    monkeypatch.setattr(stages.time, "monotonic", lambda: next(clock) * 1e-3)
    world.lab.block_s.update(a=1.0, b=1.0, c=1.0)
    gate.latest.update({name: decide.finding(name, 1, Kind.GO_ON) for name in "abc"})
    left, reached = dict.fromkeys("abc", 24), dict.fromkeys("abc", 1)
    assert stages._first(gate, left, reached, 30.0) == ["b"]
    assert stages._first(gate, left, reached, 60.0) == ["b", "a"]


def test_when_time_ends_the_look_that_comes_next_is_taken_early(world):
    gate, decide = gate_of(world, {"a": {}}, deadline_s=time.monotonic() - 1)
    measure(gate, [world.case("a")], FOREVER)
    assert [asked[0] for asked in decide.asked] == [1]
