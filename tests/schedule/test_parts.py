"""Parts of a suite have targets of their own, and their groups share what is left of the budget."""

import time

import msgspec
import pytest

from harness import schedule, store
from harness.config import Infer, Part, Suite
from harness.plan import Group, Plan, group_estimate_s


def part(technique, **changes):
    return Part(workload={"name": "simulated"}, train=(technique,), **changes)


def two_trainings(made, first, second):
    """Let the bench train one case a part."""
    cases = tuple(msgspec.structs.replace(made.plan.train[0], technique=each.train[0]) for each in (first, second))
    part_of = {case.case_id: number for number, case in enumerate(cases)}
    labels = {case.case_id: f"w{number}" for number, case in enumerate(cases)}
    made.suite = Suite(suite="simulated", parts=(first, second), measure=made.measure)
    made.plan = Plan(train=cases, groups=(), skips=(), part_of=part_of, labels=labels)
    made.folder = store.create_run(made.root, msgspec.structs.replace(made.info(), labels=labels))
    return made.execute()


def test_each_training_has_the_target_of_its_part(bench):
    records = two_trainings(bench(), part("early", target_quality=0.5), part("late", target_quality=0.9))
    assert [record.target_quality for record in records.values()] == [0.5, 0.9]
    assert [record.curve[-1].steps for record in records.values()] == [2, 3]


def test_one_part_may_stop_at_its_target_and_another_go_on(bench):
    going_on = part("on", target_quality=0.5, stop_at_target=False)
    records = two_trainings(bench(), part("stop", target_quality=0.5), going_on)
    assert {name: record.curve[-1].steps for name, record in records.items()} == {"stop": 2, "on": 3}


def test_progress_says_of_which_workload_a_case_is(bench):
    made = bench()
    two_trainings(made, part("a"), part("b"))
    assert {progress.text.split("/")[0] for progress in made.said} == {"w0", "w1"}


def test_groups_share_what_is_left_of_the_budget_by_their_size(bench, monkeypatch):
    made = bench(extra={"budget": 1000})
    (group,) = made.plan.groups
    small = Group(cases=group.cases[:1], baseline=None)
    large = Group(cases=group.cases[1:], baseline=None)
    made.plan = msgspec.structs.replace(made.plan, groups=(small, large))
    deadlines = []

    def note(group, context, deadline_s):
        deadlines.append((deadline_s - time.monotonic(), context.deadline_s - time.monotonic()))

    monkeypatch.setattr(schedule, "run_group", note)
    made.execute()
    sizes = [group_estimate_s(each, made.suite) for each in (small, large)]
    (first_s, whole_s), (second_s, rest_s) = deadlines
    assert first_s == pytest.approx(whole_s * sizes[0] / sum(sizes), rel=0.01)
    assert second_s == pytest.approx(rest_s, rel=0.01)


def test_a_worker_is_handed_slices_of_its_own_part(bench, monkeypatch):
    made = bench()
    infer = Infer(techniques=made.techniques, model_from=("teach",), slice=5)
    other = msgspec.structs.replace(infer, slice=9)
    made.suite = Suite(
        suite="simulated", parts=(part("teach", infer=infer), part("teach", infer=other)), measure=made.measure
    )
    last = made.plan.groups[0].cases[-1]
    made.plan = msgspec.structs.replace(made.plan, part_of={last.case_id: 1})
    sent = {}
    original = made.engine.start

    def start(case, fork, environment):
        session = original(case, fork, environment)
        answer = session.send

        def send(message):
            if hasattr(message, "slice_size"):
                sent[case.technique] = message.slice_size
            answer(message)

        session.send = send
        return session

    monkeypatch.setattr(made.engine, "start", start)
    made.execute()
    assert sent == {"teach": 5, "base": 5, "half": 5, "third": 9}
