"""Paired ratios: they find the truth through drift, and their intervals hold what they promise."""

import importlib.util
import math
from pathlib import Path

import msgspec
import numpy as np
import pytest

from harness import stats
from harness.errors import IncomparableRecords, InvalidMeasurement, NotMeasured
from harness.records import Doubt, WindowKind

_spec = importlib.util.spec_from_file_location("simulate_coverage", Path(__file__).with_name("simulate_coverage.py"))
simulate_coverage = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(simulate_coverage)


def ratio(records, confidence=0.95):
    base, other = records
    return stats.exponential(stats.ratio_interval(stats.paired_log_ratios(other, base), confidence))


def test_a_ratio_is_found_through_a_drift_larger_than_its_error(make):
    noise = make.Noise(block_sd=0.01, drift_sd=2.0)
    found = ratio(make.infer_group((make.Truth("torch_eager"), make.Truth("b", 0.9)), noise=noise))
    assert found.low <= 0.9 <= found.high
    assert found.high - found.low < 0.1
    assert (found.n_blocks, found.n_forks) == (32, 4)


def test_cases_with_unlike_numbers_of_tasks_a_window_are_compared_by_task(make):
    noise = make.Noise(block_sd=0, drift_sd=0)
    found = ratio(make.infer_group((make.Truth("torch_eager"), make.Truth("b", 0.5)), noise=noise))
    assert found.estimate == pytest.approx(0.5)


def test_heavy_tails_do_not_move_the_estimate(make):
    noise = make.Noise(block_sd=0.03, heavy=True, seed=3)
    found = ratio(make.infer_group((make.Truth("torch_eager"), make.Truth("b", 0.9)), forks=8, noise=noise))
    assert found.low <= 0.9 <= found.high
    assert found.estimate == pytest.approx(0.9, abs=0.02)


def test_a_block_that_only_one_case_ended_is_left_out(make):
    base, other = make.infer_group((make.Truth("torch_eager"), make.Truth("b")), forks=2, blocks=4)
    cut = msgspec.structs.replace(other, windows=other.windows[:-1])
    assert [len(values) for values in stats.paired_log_ratios(cut, base).values()] == [4, 3]


def test_one_block_is_not_resolvable(make):
    records = make.infer_group((make.Truth("torch_eager"), make.Truth("b")), forks=1, blocks=1)
    with pytest.raises(NotMeasured, match="at least two"):
        ratio(records)
    with pytest.raises(NotMeasured, match="0 blocks"):
        stats.ratio_interval({}, 0.95)


def test_one_fork_is_reported_with_a_doubt(make):
    found = ratio(make.infer_group((make.Truth("torch_eager"), make.Truth("b")), forks=1))
    assert found.doubts == (Doubt.ONE_FORK,)


def test_one_block_in_each_of_several_forks_is_judged_by_forks():
    found = stats.ratio_interval({0: [0.1], 1: [0.2], 2: [0.15], 3: [0.12]}, 0.95)
    assert found.low < found.estimate < found.high
    assert (found.n_blocks, found.n_forks) == (4, 4)


def test_forks_that_disagree_widen_the_interval_although_their_blocks_agree():
    agree = stats.ratio_interval({fork: [0.1, 0.11, 0.09, 0.1] for fork in range(4)}, 0.95)
    differ = stats.ratio_interval({fork: [0.1 * fork + x for x in (0.1, 0.11, 0.09, 0.1)] for fork in range(4)}, 0.95)
    assert differ.high - differ.low > 10 * (agree.high - agree.low)


def test_one_fork_gives_yuen_s_interval():
    d = np.random.default_rng(0).standard_t(3, size=20)
    found = stats.ratio_interval({0: d}, 0.95)
    from scipy.stats import mstats, t, trim_mean

    squares = float(np.var(mstats.winsorize(d, limits=(0.2, 0.2)))) * 20
    assert found.estimate == pytest.approx(trim_mean(d, 0.2))
    assert (found.high - found.low) / 2 == pytest.approx(t.ppf(0.975, 11) * math.sqrt(squares / (12 * 11)))


def test_joules_of_unlike_domains_have_no_ratio(make):
    base, other = make.infer_group((make.Truth("torch_eager"), make.Truth("b")), forks=1, blocks=2)

    def on_gpu(window):
        energies = tuple(msgspec.structs.replace(energy, domain="gpu0") for energy in window.measured.energies)
        return msgspec.structs.replace(window, measured=msgspec.structs.replace(window.measured, energies=energies))

    moved = msgspec.structs.replace(other, windows=tuple(on_gpu(window) for window in other.windows))
    with pytest.raises(IncomparableRecords, match="unlike domains"):
        stats.paired_log_ratios(moved, base)


def test_a_block_without_energy_is_refused(make):
    base, other = make.infer_group((make.Truth("torch_eager"), make.Truth("b")), forks=1, blocks=2)
    maker = make.Maker()
    windows = [maker.window(WindowKind.RUN, 0.0, block=0) if w.block == 0 else w for w in other.windows]
    with pytest.raises(InvalidMeasurement, match="block 0 of fork 0"):
        stats.paired_log_ratios(msgspec.structs.replace(other, windows=tuple(windows)), base)


def test_energy_per_task_of_a_typical_block_has_an_interval_that_holds_the_truth(make):
    (record,) = make.infer_group((make.Truth("torch_eager"),), noise=make.Noise(drift_sd=0, block_sd=0.03), base_j=0.02)
    found = stats.energy_interval(record, 0.95)
    assert found.low <= 0.02 <= found.high


@pytest.mark.parametrize(
    ("forks", "fork_sd", "at_least"),
    [(1, 0.0, 0.92), (2, 0.0, 0.95), (2, 0.5, 0.93), (3, 1.0, 0.87), (4, 0.0, 0.93), (4, 1.0, 0.91), (8, 0.5, 0.92)],
)
def test_nominal_95_percent_intervals_hold_the_truth(forks, fork_sd, at_least):
    """500 samples: standard error 1 point. The full table is in the docstring of harness.stats.paired."""
    for kind in ("t3", "mixed"):
        assert simulate_coverage.coverage(forks, 6, fork_sd, kind, samples=500) >= at_least


def test_the_difference_of_two_samples_counts_the_luck_of_forks_even_with_one_fork():
    a, b = (stats.locate({0: np.random.default_rng(seed).normal(size=12)}) for seed in (1, 2))
    apart = stats.interval(stats.difference(a, b), 0.95)
    alone = stats.interval(a, 0.95)
    assert apart.high - apart.low > 3 * (alone.high - alone.low)
