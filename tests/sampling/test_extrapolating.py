"""From series whose joules are known to the full run: what is added, what is charged once, what is not known."""

import math

import msgspec
import numpy as np
import pytest

from harness.accounting import Overhead
from harness.records import Doubt, Missing, Provenance
from harness.sampling import Part, PhasePlan, Series, extrapolate, means_of
from harness.stats.batch_means import batch_means

GAP = Missing(domain="cpu-package", reason="the counter stood still")


def plan_of(phase, micro_batch, *parts):
    return PhasePlan(
        phase=phase,
        micro_batch=micro_batch,
        accumulations=phase.sequences / micro_batch,
        whole=len(parts) == 1,
        parts=parts,
        cycle_s=0.1,
        for_s=10.0,
    )


def pairs(phase, runs=2, updates=1):
    """Return a plan of pairs: micro-batches of 2 of the phase's sequences."""
    return plan_of(
        phase,
        2,
        Part(name="forward and backward", times=runs, weight=phase.sequences / 2),
        Part(name="update", times=updates, weight=1.0),
    )


def whole(phase, times=1):
    return plan_of(phase, int(phase.sequences), Part(name="step", times=times, weight=1.0))


def series(plan, rows, measured, **more):
    return Series(plan=plan, cycles=tuple(tuple(measured(each, **more) for each in row) for row in rows))


def noisy(level, n, seed=1, spread=0.01):
    return level * (1 + spread * np.random.default_rng(seed).normal(size=n))


def test_a_step_is_k_micro_batches_and_one_update(phase, measured, aim):
    # Two micro-batches of 3 J a window, three updates of 5 J a window; a step is four of the one and one of the other.
    rows = [(2 * 3.0, 3 * 5.0)] * 40
    run, (found,) = extrapolate([series(pairs(phase(), runs=2, updates=3), rows, measured)], None, aim)
    assert means_of(found.energy).mean == pytest.approx(4 * 3 + 5)
    assert run.energy_j.value == pytest.approx(1000 * 17)
    runs, updates = found.parts
    assert (runs.mean_j, updates.mean_j) == (pytest.approx(3), pytest.approx(5))
    assert runs.energy_j == (6.0,) * 40
    assert "4 micro-batches of 2 sequences of 16 tokens" in run.notes[0]
    assert "windows of 2 micro-batch(es) and of 3 update(s) take turns" in run.notes[0]


def test_whole_steps_are_taken_as_they_are(phase, measured, aim):
    run, (found,) = extrapolate([series(whole(phase(), times=5), [(35.0,)] * 40, measured)], None, aim)
    assert run.energy_j.value == pytest.approx(7000)
    assert means_of(found.energy).steps == 5 * 40
    assert found.parts[0].mean_s == pytest.approx(0.1 / 5)
    assert run.duration_s.value == pytest.approx(1000 * 0.1 / 5)
    assert "run as one micro-batch of 8 sequences of 16 tokens and one update; windows hold whole steps" in run.notes[0]


def test_the_interval_is_that_of_the_pairs_so_what_moves_both_is_in_it(phase, measured, aim):
    together = noisy(1.0, 200, spread=0.05)
    rows = [(3 * each, 5 * each) for each in together]
    run, (found,) = extrapolate([series(pairs(phase(), runs=1), rows, measured)], None, aim)
    theirs = batch_means([17 * each for each in together])
    assert found.energy.value.standard_error == pytest.approx(theirs.standard_error)
    apart = math.hypot(
        batch_means([12 * each for each in together]).standard_error,
        batch_means([5 * each for each in together]).standard_error,
    )
    assert found.energy.value.standard_error > 1.2 * apart
    assert run.energy_j.low < run.energy_j.value < run.energy_j.high


def test_the_warm_up_is_charged_once_and_for_what_was_run(phase, measured, aim):
    warm = list(zip(noisy(3.0, 60), noisy(5.0, 60, seed=2), strict=True))
    rows = [(30.0, 50.0)] * 3 + warm
    run, (found,) = extrapolate([series(pairs(phase(), runs=1), rows, measured)], None, aim)
    means = means_of(found.energy)
    assert means.mean == pytest.approx(17, rel=0.01)
    # Three pairs, each 72 J dearer than a warm one: not three steps of four micro-batches.
    assert run.fixed.energy_j == pytest.approx(3 * 72, rel=0.05)
    assert run.energy_j.value == pytest.approx(1000 * means.mean + run.fixed.energy_j)


def test_phases_add_up_each_by_its_own_steps(phase, measured, aim):
    short = series(whole(phase("16", steps=900.0)), [(2.0,)] * 30, measured)
    long = series(whole(phase("32", steps=100.0)), [(5.0,)] * 30, measured)
    run, found = extrapolate([short, long], None, aim)
    assert run.energy_j.value == pytest.approx(900 * 2 + 100 * 5)
    assert [each.plan.phase.name for each in found] == ["16", "32"]


def test_a_few_cycles_without_a_reading_are_left_out_and_said(phase, measured, aim):
    plan = pairs(phase())
    full = series(plan, [(2.0, 1.0)] * 40, measured)
    gap = (measured(2.0), measured(0, missing=(GAP,)))
    two = msgspec.structs.replace(full, cycles=(*full.cycles[:20], gap, gap, *full.cycles[20:]))
    run, (found,) = extrapolate([two], None, aim)
    assert found.cycles == 40
    assert run.energy_j.value == pytest.approx(1000 * 5)
    said = " ".join(run.notes)
    assert "2 of 42 cycles are left out" in said
    assert "the counter stood still" in said


def test_a_quiet_sample_of_a_shared_machine_is_not_taken_for_a_quiet_machine(phase, measured, aim):
    calm = series(whole(phase()), [(each,) for each in noisy(2.0, 40, spread=0.001)], measured)
    (alone, _), (shared, (found,)) = (
        extrapolate([calm], None, each) for each in (aim, msgspec.structs.replace(aim, least_wander=0.03))
    )
    assert alone.energy_j.value == shared.energy_j.value
    assert (alone.energy_j.high - alone.energy_j.low) / alone.energy_j.value < 0.01
    # 3 % of the level; a run 25 times as long; Student's t of 7.
    half = 2.365 * 0.03 * math.sqrt(math.log(26) + 1)
    assert shared.energy_j.high / shared.energy_j.value - 1 == pytest.approx(half, rel=0.02)
    assert means_of(found.energy).wander == pytest.approx(0.03 * shared.energy_j.value / 1000, rel=0.02)


def test_a_sample_that_wanders_more_than_its_kind_of_machine_counts_as_it_is(phase, measured, aim):
    restless = series(whole(phase()), [(each,) for each in noisy(2.0, 40, spread=0.5)], measured)
    (alone, _), (shared, _) = (
        extrapolate([restless], None, each) for each in (aim, msgspec.structs.replace(aim, least_wander=0.03))
    )
    assert shared.energy_j == alone.energy_j


def test_building_is_charged_once_with_its_bounds(phase, measured, aim):
    run, _ = extrapolate(
        [series(whole(phase()), [(2.0,)] * 30, measured)], measured(100.0, 4.0, bounds=(0.5, 2.0)), aim
    )
    assert (run.fixed.low_j, run.fixed.energy_j, run.fixed.high_j) == (50.0, 100.0, 200.0)
    assert run.fixed.duration_s == pytest.approx(4.0)
    assert run.energy_j.value == pytest.approx(2100)


def test_building_that_no_meter_saw_is_left_out_and_said(phase, measured, aim):
    run, _ = extrapolate([series(whole(phase()), [(2.0,)] * 30, measured)], measured(0, missing=(GAP,)), aim)
    assert run.fixed.energy_j == 0
    assert "building the model is left out of the joules" in run.notes[-1]
    assert "the counter stood still" in run.notes[-1]


def test_the_meters_bounds_are_laid_around_the_interval(phase, measured, aim):
    rows = [(2.0,)] * 30
    run, (found,) = extrapolate(
        [series(whole(phase()), rows, measured, bounds=(0.8, 1.5), provenance=Provenance.MODELLED)], None, aim
    )
    assert (found.energy.low_ratio, found.energy.high_ratio) == (pytest.approx(0.8), pytest.approx(1.5))
    assert (run.energy_j.low, run.energy_j.high) == (pytest.approx(1600), pytest.approx(3000))
    assert run.provenance is Provenance.MODELLED


def test_the_overhead_comes_on_top_of_the_steps(phase, measured, aim):
    more = msgspec.structs.replace(aim, overhead=Overhead(value=0.05, low=0.0, high=0.1, source="a guess"))
    run, _ = extrapolate([series(whole(phase()), [(2.0,)] * 30, measured)], None, more)
    assert run.energy_j.value == pytest.approx(2100)
    assert run.energy_j.high == pytest.approx(2200)


def test_a_meter_that_often_loses_readings_leaves_time_but_no_joules(phase, measured, aim):
    rows = [(measured(2.0),)] * 20 + [(measured(0, missing=(GAP,)),)] * 3 + [(measured(2.0),)] * 20
    run, (found,) = extrapolate([Series(plan=whole(phase()), cycles=tuple(rows))], None, aim)
    assert isinstance(run.energy_j, Missing)
    assert "the counter stood still" in run.energy_j.reason
    assert run.provenance is None
    assert run.duration_s.value == pytest.approx(100)
    assert found.parts[0].energy_j is None


def test_too_few_cycles_are_no_sample(phase, measured, aim):
    run, (found,) = extrapolate([series(whole(phase()), [(2.0,)] * 5, measured)], None, aim)
    assert "5 values are left of 5" in run.energy_j.reason
    assert isinstance(found.duration, Missing)
    nothing, _ = extrapolate([series(whole(phase()), [], measured)], None, aim)
    assert isinstance(nothing.energy_j, Missing)


def test_a_reading_that_cannot_be_is_no_joules(phase, measured, aim):
    run, _ = extrapolate([series(whole(phase()), [(2.0,)] * 20 + [(-1.0,)], measured)], None, aim)
    assert "which cannot be" in run.energy_j.reason


def test_doubts_are_counted(phase, measured, aim):
    busy = [(measured(2.0, doubts=(Doubt.HOST_BUSY,)),)] * 3
    rising = [(measured(2.0 + 0.05 * number),) for number in range(60)]
    _, (found,) = extrapolate([Series(plan=whole(phase()), cycles=(*busy, *rising))], None, aim)
    assert found.window_doubts == {"HOST_BUSY": 3}
    assert "DRIFT" in found.series_doubts


def test_a_sample_of_most_of_the_run_stands_for_work_not_for_windows(phase, measured, aim):
    plan = pairs(phase(sequences=64.0), runs=8)
    rows = [(8 * 3.0, 5.0)] * 40
    _, (found,) = extrapolate([series(plan, rows, measured)], None, aim)
    assert means_of(found.energy).steps == 40 * 8 / 32


def test_what_was_found_can_be_written(phase, measured, aim):
    run, found = extrapolate([series(pairs(phase()), [(2.0, 1.0)] * 30, measured)], measured(1.0), aim)
    plain = msgspec.json.decode(msgspec.json.encode({"run": run, "found": found}))
    assert plain["found"][0]["energy"]["value"]["mean"] == pytest.approx(5.0)
    assert len(plain["found"][0]["parts"][0]["energy_j"]) == 30
