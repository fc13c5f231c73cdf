"""The schedule interleaves, stops, resumes, and loses nothing."""

import math

import pytest

from harness import stats, store
from harness.config import Measure
from harness.messages import Build, Run, Train
from harness.records import Doubt, Failed, Ok, WindowKind


def blocks(world):
    found = {}
    for fork, block, slot, technique, batch in world.order:
        found.setdefault((fork, block), []).append((slot, technique, batch))
    return found


def runs(record):
    return [window for window in record.windows if window.kind is WindowKind.RUN]


def test_every_block_visits_each_case_once_and_then_in_the_mirrored_order(bench):
    made = bench()
    made.execute()
    found = blocks(made.world)
    assert len(found) == 2 * 3
    for visits in found.values():
        names = [technique for _, technique, _ in sorted(visits)]
        assert names == names[::-1]
        assert sorted(names[:3]) == ["base", "half", "third"]
        assert len({batch for _, _, batch in visits}) == 1


def test_the_order_differs_between_blocks(bench):
    made = bench(measure=Measure(forks=2, max_forks=2, blocks=8, min_window_s=0.1))
    made.execute()
    assert len({tuple(technique for _, technique, _ in sorted(v)) for v in blocks(made.world).values()}) > 1


def test_a_linear_drift_of_the_machine_cancels_in_the_ratios(bench):
    made = bench(drift_per_window=0.05)
    records = made.execute()
    ratios = stats.log_ratios(records["base"].windows, records["half"].windows)
    for values in ratios.values():
        assert values == pytest.approx([math.log(0.5)] * 3, abs=1e-9)


def test_every_fork_is_a_fresh_worker_of_every_case(bench):
    made = bench()
    made.execute()
    assert sorted(made.world.started) == sorted(
        [("teach", 0), *((name, fork) for name in ("base", "half", "third") for fork in (0, 1))]
    )


def test_build_windows_are_kept_for_every_fork(bench):
    records = bench().execute()
    assert [w.fork for w in records["half"].windows if w.kind is WindowKind.BUILD] == [0, 1]


def test_more_forks_are_made_until_the_intervals_are_tight(bench):
    made = bench(measure=Measure(forks=2, max_forks=5, blocks=3, min_window_s=0.1, half_width=1e-9), drift_per_window=0)
    records = made.execute()
    assert {window.fork for window in runs(records["base"])} == {0, 1}, "no spread: tight after the first two forks"


def test_forks_end_at_their_maximum_when_intervals_stay_wide(bench):
    made = bench(measure=Measure(forks=2, max_forks=4, blocks=3, min_window_s=0.1, half_width=1e-9))
    truth = made.world.joules_per_task
    original = made.engine.start

    def start_and_shift(case, fork, environment):
        truth["half"] = 3.0 * (1 + 0.1 * fork)
        return original(case, fork, environment)

    made.engine.start = start_and_shift
    records = made.execute()
    assert {window.fork for window in runs(records["base"])} == {0, 1, 2, 3}


def test_a_case_that_dies_leaves_a_failed_record_and_the_others_go_on(bench):
    records = bench(dies={"half": Run}).execute()
    assert isinstance(records["half"].outcome, Failed)
    assert "died, as the test wanted" in records["half"].outcome.message
    assert isinstance(records["third"].outcome, Ok)
    assert len(runs(records["third"])) == 2 * 2 * 3


def test_a_case_that_cannot_be_built_fails_alone(bench):
    records = bench(dies={"half": Build}).execute()
    assert [type(records[name].outcome) for name in ("base", "half", "third")] == [Ok, Failed, Ok]


def test_when_training_fails_its_infer_cases_fail_with_that_reason(bench):
    records = bench(dies={"teach": Train}).execute()
    assert isinstance(records["teach"].outcome, Failed)
    assert "which failed or was skipped" in records["base"].outcome.message


def test_a_run_with_a_failed_case_is_not_finished_and_runs_it_again(bench):
    made = bench(dies={"half": Run})
    made.execute()
    assert store.read_info(made.folder).finished_utc is None
    made.world.dies.clear()
    records = made.execute()
    assert all(isinstance(record.outcome, Ok) for record in records.values())
    assert store.read_info(made.folder).finished_utc is not None


def test_an_interruption_keeps_complete_blocks_and_goes_on_with_new_forks(bench):
    made = bench(interrupt_after=4 * 3 + 2)
    with pytest.raises(KeyboardInterrupt):
        made.execute()
    assert all(session.closed for session in made.engine.sessions)
    made.world.interrupt_after = None
    records = made.execute()
    by_fork = {}
    for window in runs(records["base"]):
        by_fork.setdefault(window.fork, set()).add(window.block)
    assert by_fork == {0: {0, 1}, 1: {0, 1, 2}}
    assert made.world.started.count(("teach", 0)) == 1


def test_a_finished_run_measures_nothing_when_run_again(bench):
    made = bench()
    made.execute()
    before = (made.folder / "records.jsonl").read_bytes()
    started = len(made.world.started)
    made.execute()
    assert (len(made.world.started), (made.folder / "records.jsonl").read_bytes()) == (started, before)


def test_quality_comes_from_the_answers_inside_the_windows(bench):
    record = bench().execute()["base"]
    assert record.item_ids == (0, 1, 2, 3)
    assert record.item_scores == (1.0, 0.0, 1.0, 0.0)
    assert record.quality.value == 0.5
    assert record.quality.low < 0.5 < record.quality.high


def test_idle_windows_bracket_the_blocks_where_a_counter_sees_the_host(bench):
    kinds = [window.kind for window in bench(counter=True).execute()["base"].windows if window.fork == 0]
    first_run, last_run = kinds.index(WindowKind.RUN), len(kinds) - 1 - kinds[::-1].index(WindowKind.RUN)
    assert WindowKind.IDLE in kinds[:first_run]
    assert WindowKind.IDLE in kinds[last_run:]


def test_modelled_hosts_have_no_idle_windows(bench):
    assert all(window.kind is not WindowKind.IDLE for window in bench().execute()["base"].windows)


def test_training_keeps_a_curve_and_evaluates_outside_the_training_windows(bench):
    record = bench().execute()["teach"]
    points = [(point.windows_done, point.examples, point.quality.value) for point in record.curve]
    assert points == [(1, 8, 0.0), (2, 16, 0.5), (3, 24, 1.0)]
    kinds = [window.kind for window in record.windows]
    assert kinds.count(WindowKind.TRAIN) == 4, "three chunks and what came after the last"
    assert kinds.count(WindowKind.EVAL) == 4
    assert record.artefact == "models/m"


def test_training_cheaper_than_its_evaluation_is_evaluated_less_often(bench):
    record = bench(chunk_s=0.06).execute()["teach"]
    assert [point.windows_done for point in record.curve] == [1, 3]


def test_the_last_checkpoint_is_always_evaluated(bench):
    record = bench(chunk_s=0.001).execute()["teach"]
    assert [point.examples for point in record.curve] == [8, 24]


def test_training_stops_at_its_target(bench):
    record = bench(extra={"target_quality": 0.5}).execute()["teach"]
    assert [point.quality.value for point in record.curve] == [0.0, 0.5]


def test_training_runs_on_past_its_target_when_told_to(bench):
    record = bench(extra={"target_quality": 0.5, "stop_at_target": False}).execute()["teach"]
    assert len(record.curve) == 3


def test_a_spent_budget_ends_training_early_and_says_so(bench):
    record = bench(extra={"budget": "0.001ms"}).execute()["teach"]
    assert len(record.curve) == 1
    assert Doubt.BUDGET_SPENT in record.doubts


def test_a_budget_spent_in_the_last_chunk_has_cut_nothing_off(bench):
    record = bench(chunks=1, extra={"budget": "0.001ms"}).execute()["teach"]
    assert len(record.curve) == 1
    assert Doubt.BUDGET_SPENT not in record.doubts


def test_a_single_fork_is_a_doubt(bench):
    record = bench(measure=Measure(forks=1, max_forks=1, blocks=3, min_window_s=0.1)).execute()["base"]
    assert Doubt.ONE_FORK in record.doubts


def test_progress_tells_how_many_cases_are_done(bench):
    made = bench()
    made.execute()
    assert made.said[-1].total == 4
    assert {progress.done for progress in made.said} == {0, 1}
