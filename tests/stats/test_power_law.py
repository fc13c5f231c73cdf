"""A fitted exponent holds what it promises, says what leaves it open, and notices where there is no power law."""

import importlib.util
import math
import sys
from pathlib import Path

import msgspec
import pytest

from harness import stats
from harness.errors import NotMeasured
from harness.stats import Limit
from harness.stats.power_law import fit

_spec = importlib.util.spec_from_file_location("simulate_power_law", Path(__file__).with_name("simulate_power_law.py"))
simulate = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = simulate
_spec.loader.exec_module(simulate)

SIZES = simulate.SIZES


def exact(sizes, energies, *, forks=2, blocks=3):
    """Return blocks without any noise."""
    keys = [(fork, block) for fork in range(forks) for block in range(blocks)]
    return [dict.fromkeys(keys, math.log(energy)) for energy in energies]


def test_an_exact_law_is_found_exactly():
    sizes = (1e6, 1e7, 1e8)
    law = fit(sizes, exact(sizes, [2e-9 * size**0.87 for size in sizes]), 0.95)
    assert law.exponent == pytest.approx(0.87)
    assert law.scale_j == pytest.approx(2e-9)
    assert law.residual_sd == pytest.approx(0.0, abs=1e-9)
    assert law.at(1e7) == pytest.approx(2e-9 * 1e7**0.87)
    assert (law.n, law.n_blocks, law.n_forks) == (3, 6, 2)


def test_two_sizes_have_an_exponent_and_only_the_error_of_measurement():
    law = simulate.draw(simulate.Truth(SIZES[2]), simulate.np.random.default_rng(1))
    assert law.residual_sd is None
    assert law.curvature is None
    assert (law.low, law.high) == (law.measured_low, law.measured_high)
    assert law.limited_by is Limit.MEASUREMENT
    assert law.low < 0.9 < law.high


def test_a_drift_that_all_sizes_share_is_not_in_the_exponent():
    calm = simulate.draw(simulate.Truth(SIZES[4], drift=0.0), simulate.np.random.default_rng(5))
    wild = simulate.draw(simulate.Truth(SIZES[4], drift=1.0), simulate.np.random.default_rng(5))
    assert wild.high - wild.low < 3 * (calm.high - calm.low)
    assert wild.exponent == pytest.approx(0.9, abs=0.1)


def test_what_leaves_the_exponent_open_is_named():
    rng = simulate.np.random.default_rng(2)
    scattered = simulate.draw(simulate.Truth(SIZES[4], scatter=0.3, noise=0.005), rng)
    assert scattered.limited_by is Limit.SCATTER
    assert scattered.high - scattered.low > scattered.measured_high - scattered.measured_low
    rough = [simulate.draw(simulate.Truth(SIZES[6], noise=0.3, forks=2, blocks=2), rng) for _ in range(20)]
    assert sum(law.limited_by is Limit.MEASUREMENT for law in rough) > 10


@pytest.mark.parametrize("n", [2, 3, 4, 6])
@pytest.mark.parametrize("luck", [0.0, 0.02])
def test_intervals_hold_the_truth_as_often_as_they_say_where_only_measurement_errs(n, luck):
    held, _ = simulate.coverage(simulate.Truth(SIZES[n], luck=luck), samples=150)
    assert held >= 0.90


@pytest.mark.parametrize("scatter", [0.02, 0.2])
@pytest.mark.parametrize("n", [3, 4, 6])
def test_intervals_hold_the_truth_as_often_as_they_say_where_sizes_scatter(n, scatter):
    held, _ = simulate.coverage(simulate.Truth(SIZES[n], scatter=scatter), samples=150)
    assert held >= 0.90


def test_a_straight_line_is_seldom_called_curved():
    for n in (4, 6):
        _, curved = simulate.coverage(simulate.Truth(SIZES[n], luck=0.01), samples=150)
        assert curved <= 0.10


def test_a_cost_that_does_not_depend_on_size_at_the_small_end_is_called_curved():
    sizes = SIZES[6]
    law = fit(sizes, exact(sizes, [0.05 + 1e-8 * size for size in sizes]), 0.95)
    assert law.curvature.shown
    assert law.curvature.at_smallest < 0.7 < law.exponent < law.curvature.at_largest < 1
    assert simulate.coverage(simulate.Truth(sizes, bend=0.05), samples=20)[1] > 0.9


def test_curvature_is_not_looked_for_in_three_sizes():
    law = fit(SIZES[3], exact(SIZES[3], [1.0, 2.0, 8.0]), 0.95)
    assert law.curvature is None


def test_records_are_fitted_over_the_blocks_they_share(make):
    truths = tuple(make.Truth(name, ratio) for name, ratio in (("a", 1.0), ("b", 3.0), ("c", 9.0)))
    records = make.infer_group(truths, noise=make.Noise(block_sd=0.01))
    law = stats.power_law((1e6, 3e6, 9e6), records, 0.95)
    assert law.low < 1.0 < law.high
    assert law.n_blocks == 32
    cut = msgspec.structs.replace(records[1], windows=tuple(w for w in records[1].windows if w.fork != 3))
    assert stats.power_law((1e6, 3e6, 9e6), (records[0], cut, records[2]), 0.95).n_forks == 3


@pytest.mark.parametrize("sizes", [(), (1e6,), (1e6, 1e6), (0.0, 1e6)])
def test_without_two_sizes_there_is_no_law(sizes):
    with pytest.raises(NotMeasured, match="at least two sizes"):
        fit(sizes, exact(sizes, [1.0] * len(sizes)), 0.95)


def test_without_two_blocks_in_common_there_is_no_law():
    one, other = exact((1.0, 2.0), (1.0, 2.0))
    with pytest.raises(NotMeasured, match="0 blocks"):
        fit((1.0, 2.0), (one, {(9, 9): 0.0}), 0.95)
    with pytest.raises(NotMeasured, match="1 block"):
        fit((1.0, 2.0), ({(0, 0): 0.0}, other), 0.95)
