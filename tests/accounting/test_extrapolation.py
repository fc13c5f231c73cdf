import math

import msgspec
import numpy as np
import pytest
from scipy import stats

from harness.accounting import (
    Fixed,
    FullRun,
    Hardware,
    Overhead,
    PhaseSample,
    Scaling,
    StepEnergy,
    Target,
    full_run,
    load_recipe,
    published_overhead,
    scaled_from,
)
from harness.errors import NotMeasured, UsageError
from harness.records import Missing, Provenance
from harness.stats.batch_means import batch_means

HERE = Target(sampled="host A", target="host A")
NO_FIXED = Fixed(energy_j=0, low_j=0, high_j=0, duration_s=0, provenance=Provenance.COUNTER)
NO_OVERHEAD = Overhead(value=0, low=0, high=0, source="none")


def series(mean, spread=1.0, n=640, seed=1):
    return batch_means(np.random.default_rng(seed).normal(mean, spread, n), dropped=0)


def phase(name="all", steps=1000.0, mean=100.0, *, ratios=(1.0, 1.0), provenance=Provenance.COUNTER, seed=1, **more):
    energy = StepEnergy(value=series(mean, seed=seed), low_ratio=ratios[0], high_ratio=ratios[1], provenance=provenance)
    return PhaseSample(**{"name": name, "steps": steps, "energy": energy, "duration": series(0.5, 0.01), **more})


def missing(name="512", steps=100.0):
    gap = Missing(domain="total", reason="the time was spent on phase 128")
    return PhaseSample(name=name, steps=steps, energy=gap, duration=gap)


def test_a_full_run_is_fixed_plus_steps_times_mean_and_overhead():
    fixed = Fixed(energy_j=500, low_j=400, high_j=700, duration_s=60, provenance=Provenance.COUNTER)
    one = phase(steps=1000)
    run = full_run([one], fixed, Overhead(value=0.05, low=0.05, high=0.05, source="measured"), HERE)
    assert run.energy_j.value == pytest.approx(500 + 1000 * one.energy.value.mean * 1.05)
    assert run.duration_s.value == pytest.approx(60 + 1000 * one.duration.mean * 1.05)
    assert run.energy_kwh().value == pytest.approx(run.energy_j.value / 3.6e6)
    assert run.required_duration_s() == run.duration_s


def steady(one):
    """Return the phase as a machine that does not wander would give it."""
    value = msgspec.structs.replace(one.energy.value, wander=0.0)
    return msgspec.structs.replace(one, energy=msgspec.structs.replace(one.energy, value=value))


def test_where_nothing_wanders_the_interval_is_that_of_the_batches():
    one = steady(phase(steps=1e6))
    run = full_run([one], NO_FIXED, NO_OVERHEAD, HERE)
    found = one.energy.value
    half = stats.t.ppf(0.975, found.degrees_of_freedom) * found.standard_error * math.sqrt(1 + 640 / 1e6) * 1e6
    assert run.energy_j.high - run.energy_j.value == pytest.approx(half)
    assert run.energy_j.value - run.energy_j.low == pytest.approx(half)


@pytest.mark.parametrize("steps", [1e4, 1e6, 1e9])
def test_what_a_machine_wanders_grows_with_the_run_and_is_never_averaged_away(steps):
    one = phase(steps=steps)
    run = full_run([one], NO_FIXED, NO_OVERHEAD, HERE)
    error = one.energy.value.wander * math.sqrt(math.log(1 + steps / 640) + 1)
    assert run.energy_j.high - run.energy_j.value == pytest.approx(stats.t.ppf(0.975, 7) * error * steps)


def test_the_machine_wanders_through_all_phases_together():
    both = [phase("128", 9e5, seed=1), phase("512", 9e5, seed=2)]
    each = [full_run([one], NO_FIXED, NO_OVERHEAD, HERE).energy_j for one in both]
    together = full_run(both, NO_FIXED, NO_OVERHEAD, HERE).energy_j
    assert together.high - together.value == pytest.approx(sum(one.high - one.value for one in each))


def test_samples_of_two_phases_add_in_squares_and_gain_degrees_of_freedom():
    both = [steady(phase("128", 9e5, seed=1)), steady(phase("512", 9e5, seed=2))]
    each = [full_run([one], NO_FIXED, NO_OVERHEAD, HERE).energy_j for one in both]
    together = full_run(both, NO_FIXED, NO_OVERHEAD, HERE).energy_j
    halves = [one.high - one.value for one in each]
    assert max(halves) < together.high - together.value <= math.hypot(*halves) * 1.0001


def test_a_drift_widens_the_full_run_by_what_it_changed():
    rising = batch_means(np.linspace(100, 110, 640) + np.random.default_rng(1).normal(0, 1, 640), dropped=0)
    energy = StepEnergy(value=rising, low_ratio=1, high_ratio=1, provenance=Provenance.COUNTER)
    run = full_run([phase(energy=energy)], NO_FIXED, NO_OVERHEAD, HERE)
    assert run.energy_j.high - run.energy_j.value > 1000 * rising.widening > 9000


def test_the_meters_bounds_are_laid_around_the_sampling_error():
    exact, bounded = (
        full_run([phase(ratios=ratios)], NO_FIXED, NO_OVERHEAD, HERE).energy_j for ratios in ((1, 1), (0.8, 1.3))
    )
    assert bounded.value == exact.value
    assert bounded.low == pytest.approx(0.8 * exact.low)
    assert bounded.high == pytest.approx(1.3 * exact.high)


def test_the_published_overhead_spans_its_two_calibrations():
    run = full_run([phase()], NO_FIXED, published_overhead(), HERE)
    plain = full_run([phase()], NO_FIXED, NO_OVERHEAD, HERE)
    assert run.energy_j.low == pytest.approx(1.008 * plain.energy_j.low)
    assert run.energy_j.high == pytest.approx(1.08 * plain.energy_j.high)


def test_the_influences_say_what_moves_the_result_most():
    run = full_run([phase(ratios=(0.7, 1.4))], NO_FIXED, published_overhead(), HERE)
    assert [each.source for each in run.influences] == ["meter", "overhead", "sampling", "scaling"]
    scaling = run.influences[-1]
    assert scaling.low == pytest.approx(scaling.high)


def test_a_result_is_known_as_weakly_as_its_weakest_phase():
    weak = [phase("128"), phase("512", provenance=Provenance.MODELLED)]
    assert full_run(weak, NO_FIXED, NO_OVERHEAD, HERE).provenance is Provenance.MODELLED


def test_a_smaller_batch_is_scaled_between_its_bounds_and_said():
    eighth = Scaling(published=256, sampled=32, unit="sequences", fixed_share_low=0.0, fixed_share_high=0.1)
    assert (eighth.low, eighth.high) == (pytest.approx(0.1 + 0.9 * 8), 8.0)
    run = full_run([phase(scaling=eighth)], NO_FIXED, NO_OVERHEAD, HERE)
    plain = full_run([phase()], NO_FIXED, NO_OVERHEAD, HERE)
    assert run.energy_j.value == pytest.approx(7.65 * plain.energy_j.value)
    assert run.energy_j.low < 7.3 * plain.energy_j.value
    assert run.energy_j.high > 8.0 * plain.energy_j.value
    assert "256 sequences, a sampled one 32" in run.notes[0]


def test_scaling_holds_the_truth_of_a_step_with_a_fixed_part():
    fixed_j, per_example_j = 20.0, 2.5
    sampled, published = fixed_j + 32 * per_example_j, fixed_j + 256 * per_example_j
    scaling = Scaling(published=256, sampled=32, unit="examples", fixed_share_low=0.1, fixed_share_high=0.3)
    assert scaling.low * sampled <= published <= scaling.high * sampled


def test_gradient_accumulation_to_the_published_batch_needs_no_scaling():
    same = Scaling(published=256, sampled=256, unit="sequences", fixed_share_low=0, fixed_share_high=1)
    assert (same.low, same.value, same.high) == (1, 1, 1)


def test_a_phase_that_was_not_sampled_is_never_guessed():
    run = full_run([phase("128", 900), missing()], NO_FIXED, NO_OVERHEAD, HERE)
    assert isinstance(run.energy_j, Missing)
    assert "phase 512 was not measured: the time was spent" in run.energy_j.reason
    assert run.provenance is None
    assert run.influences == ()
    assert run.phases[0].energy_j.value > 0
    with pytest.raises(NotMeasured, match="phase 512"):
        run.energy_kwh()
    with pytest.raises(NotMeasured, match="phase 512"):
        run.required_duration_s()


def test_a_phase_may_be_scaled_from_another_if_someone_says_so():
    sampled = phase("128", 900)
    guessed = scaled_from(
        missing(), sampled, factor_low=4, factor_high=6, reason="four times the tokens, and attention"
    )
    run = full_run([sampled, guessed], NO_FIXED, NO_OVERHEAD, HERE)
    assert run.energy_j.value == pytest.approx((900 + 100 * 5) * sampled.energy.value.mean)
    assert run.energy_j.low < (900 + 100 * 4) * sampled.energy.value.mean
    assert run.energy_j.high > (900 + 100 * 6) * sampled.energy.value.mean
    assert run.provenance is Provenance.MODELLED
    assert "not sampled: 4 to 6 times a step of 128" in run.notes[0]


def test_phases_on_one_sample_err_together():
    sampled = phase("128", 1000)
    copied = scaled_from(missing(steps=1000.0), sampled, factor_low=1, factor_high=1, reason="the same step")
    twice = full_run([sampled, copied], NO_FIXED, NO_OVERHEAD, HERE).energy_j
    at_once = full_run([phase("128", 2000)], NO_FIXED, NO_OVERHEAD, HERE).energy_j
    assert (twice.low, twice.value, twice.high) == pytest.approx((at_once.low, at_once.value, at_once.high))


def test_scaling_from_nothing_is_refused():
    with pytest.raises(NotMeasured, match="cannot stand for 512"):
        scaled_from(missing(), missing("128"), factor_low=1, factor_high=2, reason="hope")
    with pytest.raises(UsageError, match="was sampled"):
        scaled_from(phase("512"), phase("128"), factor_low=1, factor_high=2, reason="doubt")
    with pytest.raises(UsageError, match="a reason"):
        scaled_from(missing(), phase("128"), factor_low=1, factor_high=2, reason="")


def test_the_sampled_hardware_itself_is_claimed_as_it_is():
    run = full_run([phase()], NO_FIXED, NO_OVERHEAD, HERE)
    assert run.hardware is Hardware.SAME
    assert run.target_energy_j == run.energy_j
    assert run.target_provenance is Provenance.COUNTER


def test_nothing_is_claimed_for_hardware_that_was_not_sampled():
    run = full_run([phase()], NO_FIXED, NO_OVERHEAD, Target(sampled="host A", target="8 x NVIDIA P100"))
    assert run.hardware is Hardware.OTHER
    assert isinstance(run.target_energy_j, Missing)
    assert "host A was sampled, not 8 x NVIDIA P100" in run.target_energy_j.reason
    assert run.energy_j.value > 0


def test_a_ratio_to_other_hardware_widens_the_interval_and_makes_it_modelled():
    target = Target(sampled="Titan X", target="P100", ratio=1.2, ratio_source="vendor's figures")
    run = full_run([phase()], NO_FIXED, NO_OVERHEAD, target)
    wide = run.target_energy_j
    assert wide.value == pytest.approx(1.2 * run.energy_j.value)
    assert wide.high / wide.value == pytest.approx(1.45**1.96, rel=1e-3)
    assert wide.value / wide.low == pytest.approx(1.45**1.96, rel=1e-3)
    assert run.target_provenance is Provenance.MODELLED


def test_a_recipe_and_a_sample_make_a_full_run():
    bert = load_recipe("bert@base")
    run = full_run(
        [phase(each.name, bert.steps_of(each.name), seed=i) for i, each in enumerate(bert.phases)],
        NO_FIXED,
        published_overhead(),
        HERE,
    )
    assert run.energy_kwh().value == pytest.approx(1e6 * 100 * 1.044 / 3.6e6, rel=0.01)
    assert run.energy_j.low < run.energy_j.value < run.energy_j.high


def test_a_full_run_can_be_written_and_read_back_as_plain_data():
    run = full_run([phase("128"), missing()], NO_FIXED, published_overhead(), HERE)
    plain = msgspec.json.decode(msgspec.json.encode(run))
    assert plain["energy_j"]["reason"] == run.energy_j.reason
    assert set(plain) == set(FullRun.__struct_fields__)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: full_run([], NO_FIXED, NO_OVERHEAD, HERE), id="no phases"),
        pytest.param(lambda: full_run([phase(), phase()], NO_FIXED, NO_OVERHEAD, HERE), id="phases of one name"),
        pytest.param(
            lambda: full_run([phase()], NO_FIXED, NO_OVERHEAD, HERE, confidence=95), id="confidence in percent"
        ),
        pytest.param(lambda: phase(steps=0), id="no steps"),
        pytest.param(lambda: phase(ratios=(1.1, 1.3)), id="meter bounds off the value"),
        pytest.param(lambda: phase(mean=-5), id="negative joules"),
        pytest.param(lambda: Overhead(value=0.1, low=0.2, high=0.3, source="x"), id="overhead off its bounds"),
        pytest.param(
            lambda: Fixed(energy_j=1, low_j=2, high_j=3, duration_s=0, provenance=Provenance.COUNTER),
            id="fixed off its bounds",
        ),
        pytest.param(lambda: Target(sampled="a", target="b", ratio=2.0), id="ratio without a source"),
        pytest.param(
            lambda: Scaling(published=0, sampled=1, unit="tokens", fixed_share_low=0, fixed_share_high=1),
            id="no work a step",
        ),
        pytest.param(
            lambda: Scaling(published=8, sampled=1, unit="tokens", fixed_share_low=0.5, fixed_share_high=0.1),
            id="shares out of order",
        ),
        pytest.param(
            lambda: Scaling(published=1, sampled=8, unit="tokens", fixed_share_low=-1, fixed_share_high=1),
            id="free step",
        ),
    ],
)
def test_what_cannot_be_is_refused(make):
    with pytest.raises(UsageError):
        make()
