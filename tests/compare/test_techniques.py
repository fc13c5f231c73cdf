"""Techniques against the baseline of their group."""

import msgspec
import pytest

from harness.compare import Verdict, compare_techniques
from harness.records import Failed, Provenance, Skipped
from harness.stats import Payback, bill


@pytest.fixture
def compared(make, tmp_path):
    """Return technique → comparison of the realistic run."""
    (group,) = compare_techniques(make.realistic_run(tmp_path), make.BASELINES)
    return {each.technique: each for each in group.comparisons}


def test_verdicts_follow_the_interval(compared):
    assert {name: each.verdict for name, each in compared.items()} == {
        "length_bucketing": Verdict.SAVES,
        "onnxruntime_fp32": Verdict.NO_DIFFERENCE_SHOWN,
        "onnxruntime_int8_dynamic": Verdict.SAVES,
        "torch_compile": Verdict.COSTS_MORE,
        "bf16_autocast": Verdict.NOT_MEASURED,
    }


def test_the_truth_lies_in_the_intervals(compared):
    for name, truth in (("length_bucketing", 0.55), ("onnxruntime_int8_dynamic", 0.41), ("torch_compile", 1.12)):
        assert compared[name].ratio.low <= truth <= compared[name].ratio.high


def test_intervals_hold_together_at_the_family_s_confidence(make, tmp_path):
    (group,) = compare_techniques(make.realistic_run(tmp_path), make.BASELINES)
    assert group.each_confidence == pytest.approx(1 - 0.05 / 4)
    assert all(each.ratio.confidence == group.each_confidence for each in group.comparisons if each.ratio)


def test_outputs_are_compared_item_by_item(compared):
    assert compared["length_bucketing"].largest_output_difference == pytest.approx(3e-6, rel=1e-3)
    assert compared["onnxruntime_int8_dynamic"].largest_output_difference == pytest.approx(0.31)


def test_building_is_charged_and_paid_back_or_never(compared):
    int8 = compared["onnxruntime_int8_dynamic"]
    assert int8.break_even.tasks == pytest.approx(28.9 / (0.0224 * 0.59), rel=0.05)
    assert int8.break_even.low < int8.break_even.tasks < int8.break_even.high
    assert compared["torch_compile"].break_even.payback is Payback.NEVER
    assert compared["length_bucketing"].break_even.payback is Payback.AT_ONCE
    assert compared["onnxruntime_fp32"].break_even.payback is Payback.NOT_SHOWN


def test_a_skipped_case_carries_its_reason(compared):
    assert "bf16 instructions" in compared["bf16_autocast"].reason
    assert compared["bf16_autocast"].ratio is None


def test_a_failed_baseline_makes_every_comparison_not_measured(make, tmp_path):
    base, other = make.infer_group((make.Truth("torch_eager"), make.Truth("b")))
    base = msgspec.structs.replace(base, outcome=Failed(error="WorkerFailed", message="killed"))
    (group,) = compare_techniques(make.fake_run(tmp_path, (base, other)), make.BASELINES)
    assert group.comparisons[0].verdict is Verdict.NOT_MEASURED
    assert "baseline failed: WorkerFailed: killed" in group.comparisons[0].reason


def test_without_a_baseline_nothing_is_compared(make, tmp_path):
    records = make.infer_group((make.Truth("b"), make.Truth("c")))
    (group,) = compare_techniques(make.fake_run(tmp_path, records), make.BASELINES)
    assert group.baseline_id is None
    assert {each.reason for each in group.comparisons} == {"its group has no baseline"}


def test_one_block_is_not_measured_and_says_why(make, tmp_path):
    records = make.infer_group((make.Truth("torch_eager"), make.Truth("b")), forks=1, blocks=1)
    (group,) = compare_techniques(make.fake_run(tmp_path, records), make.BASELINES)
    assert group.comparisons[0].verdict is Verdict.NOT_MEASURED
    assert "at least two" in group.comparisons[0].reason


def test_scenarios_are_groups_of_their_own(make, tmp_path):
    truths = (make.Truth("torch_eager"), make.Truth("b", 0.5))
    records = (*make.infer_group(truths), *make.infer_group(truths, scenario="single"))
    groups = compare_techniques(make.fake_run(tmp_path, records), make.BASELINES)
    assert [group.name for group in groups] == ["cpu/offline", "cpu/single"]


def test_lost_outputs_are_a_gap_not_a_crash(make, tmp_path):
    run = make.realistic_run(tmp_path)
    for file in (tmp_path / "outputs").iterdir():
        file.unlink()
    (group,) = compare_techniques(run, make.BASELINES)
    assert group.comparisons[0].largest_output_difference is None
    assert any("outputs of infer/length_bucketing" in gap for gap in group.comparisons[0].gaps)


def test_comparisons_are_plain_data(make, tmp_path):
    run = make.realistic_run(tmp_path)
    plain = msgspec.to_builtins(compare_techniques(run, make.BASELINES))
    assert plain[0]["comparisons"][0]["verdict"] == "saves"
    assert isinstance(run.records[-1].outcome, Skipped)


def known_as(record, **changes):
    """Return the record as if its billed joules were known in another way."""
    windows = tuple(
        msgspec.structs.replace(
            window,
            measured=msgspec.structs.replace(
                window.measured,
                energies=tuple(msgspec.structs.replace(energy, **changes) for energy in window.measured.energies),
            ),
        )
        for window in record.windows
    )
    return msgspec.structs.replace(record, windows=windows)


@pytest.mark.parametrize(
    "changes",
    [
        {"provenance": Provenance.COUNTER, "meter": "rapl"},
        {"provenance": Provenance.ATTRIBUTED},
        {"meter": "another"},
        {"boundary": "another"},
    ],
)
def test_joules_known_in_unlike_ways_are_not_compared(make, tmp_path, changes):
    maker = make.Maker(provenance=Provenance.MODELLED, low=0.7, high=1.4)
    base, other = make.infer_group((make.Truth("torch_eager"), make.Truth("b", 0.5)), maker=maker)
    run = make.fake_run(tmp_path, (base, known_as(other, **changes)))
    (group,) = compare_techniques(run, make.BASELINES)
    (found,) = group.comparisons
    assert found.verdict is Verdict.NOT_MEASURED
    assert found.ratio is None
    assert found.break_even is None
    assert "cpu-process is known in unlike ways" in found.reason
    assert found.time_ratio is not None, "seconds are seconds"


def test_other_coefficients_are_another_way_of_knowing(make, tmp_path):
    maker = make.Maker(provenance=Provenance.MODELLED, low=0.7, high=1.4)
    base, other = make.infer_group((make.Truth("torch_eager"), make.Truth("b", 0.5)), maker=maker)
    meters = tuple(msgspec.structs.replace(meter, coefficients="mine@2026-11-23") for meter in other.meters)
    run = make.fake_run(tmp_path, (base, msgspec.structs.replace(other, meters=meters)))
    (group,) = compare_techniques(run, make.BASELINES)
    assert "mine@2026-11-23" in group.comparisons[0].reason


def test_a_case_whose_windows_know_one_domain_in_two_ways_is_not_compared(make, tmp_path):
    records = make.infer_group((make.Truth("torch_eager"), make.Truth("b", 0.5)))
    halves = []
    for record in records:
        changed = known_as(record, provenance=Provenance.INTEGRATED_POWER)
        half = len(record.windows) // 2
        halves.append(msgspec.structs.replace(record, windows=(*record.windows[:half], *changed.windows[half:])))
    assert bill(halves[0]) == bill(halves[1])
    (group,) = compare_techniques(make.fake_run(tmp_path, tuple(halves)), make.BASELINES)
    assert group.comparisons[0].verdict is Verdict.NOT_MEASURED


def with_gpu(make, record, share):
    """Return the record with `share` of its joules counted on a GPU and the rest modelled."""
    maker = make.MixedMaker(gpu_share=share)
    windows = []
    for window in record.windows:
        measured = maker.measured(window.measured.energies[0].energy_j, window.measured.duration_s)
        windows.append(msgspec.structs.replace(window, measured=measured))
    return msgspec.structs.replace(record, windows=tuple(windows), meters=(maker.meter(),))


def test_beside_a_counter_the_error_of_the_model_does_not_cancel_and_a_verdict_holds_for_all_of_it(make, tmp_path):
    """5 % fewer joules at the model's value; but the saving is on the GPU and the CPU's share rose."""
    records = make.infer_group((make.Truth("torch_eager"), make.Truth("b", 0.95)), noise=make.Noise(block_sd=0.002))
    base, other = (with_gpu(make, record, share) for record, share in zip(records, (0.9, 0.6), strict=True))
    (group,) = compare_techniques(make.fake_run(tmp_path, (base, other)), make.BASELINES)
    (found,) = group.comparisons
    low, high = found.at_model_bounds
    assert found.ratio.estimate == pytest.approx(0.95, rel=0.01)
    assert low.estimate == pytest.approx(0.95 * (0.6 + 0.7 * 0.4) / (0.9 + 0.7 * 0.1), rel=0.01)
    assert high.estimate == pytest.approx(0.95 * (0.6 + 1.4 * 0.4) / (0.9 + 1.4 * 0.1), rel=0.01)
    assert found.ratio.high < 1 < found.widest.high
    assert found.verdict is Verdict.NO_DIFFERENCE_SHOWN
    assert found.break_even.payback is not Payback.AFTER


def test_where_every_joule_is_modelled_the_error_cancels_and_nothing_is_widened(make, tmp_path):
    maker = make.Maker(provenance=Provenance.MODELLED, low=0.7, high=1.4)
    records = make.infer_group((make.Truth("torch_eager"), make.Truth("b", 0.95)), maker=maker)
    (group,) = compare_techniques(make.fake_run(tmp_path, records), make.BASELINES)
    assert group.comparisons[0].at_model_bounds == ()
    assert group.comparisons[0].widest == group.comparisons[0].ratio
