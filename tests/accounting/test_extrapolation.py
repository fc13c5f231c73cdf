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
    StepEnergy,
    Target,
    full_run,
    load_recipes,
    published_overhead,
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
    assert [each.source for each in run.influences] == ["meter", "overhead", "sampling"]


def test_a_result_is_known_as_weakly_as_its_weakest_phase():
    weak = [phase("128"), phase("512", provenance=Provenance.MODELLED)]
    assert full_run(weak, NO_FIXED, NO_OVERHEAD, HERE).provenance is Provenance.MODELLED


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
    bert = load_recipes()["bert@base"]
    run = full_run(
        [phase(each.name, each.share.value * bert.steps.value, seed=i) for i, each in enumerate(bert.phases)],
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
    ],
)
def test_what_cannot_be_is_refused(make):
    with pytest.raises(UsageError):
        make()
