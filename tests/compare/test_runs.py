"""Run B against run A."""

import msgspec
import pytest

from harness.compare import RunVerdict, compare_runs
from harness.compare.runs import NOT_INTERLEAVED
from harness.errors import IncomparableRecords
from harness.records import Failed


def run(make, tmp_path, ratios=(1.0, 0.55, 0.9, 1.0), *, seed, forks=4, fork_sd=0.02, base_j=0.0224, **more):
    names = ("torch_eager", "a", "b", "c")
    truths = tuple(make.Truth(name, ratio) for name, ratio in zip(names, ratios, strict=True))
    noise = make.Noise(block_sd=0.02, fork_sd=fork_sd, seed=seed)
    records = make.infer_group(truths, forks=forks, noise=noise, base_j=base_j, items=50)
    train = make.train_record("full", chunk_j=10.0, curve=(0.1, 0.5, 0.8), seed=1)
    return make.fake_run(tmp_path, (train, *records), run_id=f"run-{seed}", **more)


def verdicts(result):
    return {case.name.split("/")[1].split("@")[0]: case.verdict for case in result.cases}


def test_the_same_suite_twice_has_no_regression_at_the_stated_rate(make, tmp_path):
    """A/A: 60 pairs of runs with fork effects as large as block noise, each of three comparisons."""
    alarms = 0
    for seed in range(60):
        a, b = (run(make, tmp_path, seed=1000 + 2 * seed + arm, base_j=0.02 * (1 + arm)) for arm in (0, 1))
        found = verdicts(compare_runs(a, b, alpha=0.05, baselines=make.BASELINES))
        alarms += any(verdict in (RunVerdict.REGRESSED, RunVerdict.IMPROVED) for verdict in found.values())
    # 60 families at 5 %: 8 or more alarms have a chance below 1 %.
    assert alarms <= 7


@pytest.mark.parametrize("forks", [1, 2, 3])
def test_few_forks_do_not_cry_wolf_either(make, tmp_path, forks):
    alarms = 0
    for seed in range(30):
        a, b = (run(make, tmp_path, seed=5000 + 2 * seed + arm, forks=forks) for arm in (0, 1))
        found = verdicts(compare_runs(a, b, alpha=0.05, baselines=make.BASELINES))
        alarms += any(verdict in (RunVerdict.REGRESSED, RunVerdict.IMPROVED) for verdict in found.values())
    assert alarms <= 5


def test_a_real_regression_is_found_although_the_machine_became_faster(make, tmp_path):
    a = run(make, tmp_path, seed=1, forks=8, fork_sd=0.005)
    b = run(make, tmp_path, (1.0, 0.55, 1.1, 0.8), seed=2, forks=8, fork_sd=0.005, base_j=0.01)
    result = compare_runs(a, b, baselines=make.BASELINES)
    found = verdicts(result)
    assert (found["a"], found["b"], found["c"]) == (RunVerdict.PASS, RunVerdict.REGRESSED, RunVerdict.IMPROVED)
    worse = next(case for case in result.cases if "/b@" in case.name)
    assert worse.change.low <= 1.1 / 0.9 <= worse.change.high
    assert worse.raw_ratio < 1
    assert result.n_comparisons == 3
    assert "at most 1.0%" in result.statement


def test_the_baseline_and_train_cases_have_no_partner_so_they_get_no_verdict(make, tmp_path):
    result = compare_runs(run(make, tmp_path, seed=1), run(make, tmp_path, seed=2), baselines=make.BASELINES)
    cases = {case.name.split("/")[1].split("@")[0]: case for case in result.cases}
    for name in ("torch_eager", "full"):
        assert cases[name].verdict is RunVerdict.INCONCLUSIVE
        assert cases[name].reason == NOT_INTERLEAVED
        assert cases[name].raw_ratio is not None


def test_wide_intervals_are_inconclusive_not_a_pass(make, tmp_path):
    a, b = (run(make, tmp_path, seed=seed, forks=2, fork_sd=0.1) for seed in (1, 2))
    found = verdicts(compare_runs(a, b, baselines=make.BASELINES))
    assert RunVerdict.PASS not in found.values()


def test_unlike_hosts_are_refused_field_by_field(make, tmp_path):
    a = run(make, tmp_path, seed=1)
    host = {**a.info.host, "cpu_brand": "Intel Xeon Platinum 8375C"}
    b = run(make, tmp_path, seed=2, host=host, host_fingerprint="0" * 64)
    with pytest.raises(IncomparableRecords, match=r"(?s)unlike hosts.*cpu_brand: .*EPYC.* \| .*Xeon"):
        compare_runs(a, b, baselines=make.BASELINES)


@pytest.mark.parametrize(("field", "change"), [("data", "content_sha256"), ("model", "weights_sha256")])
def test_unlike_data_or_models_are_refused(make, tmp_path, field, change):
    a, b = run(make, tmp_path, seed=1), run(make, tmp_path, seed=2)
    first = b.records[0]
    other = msgspec.structs.replace(getattr(first, field), **{change: "ff" * 32})
    b = make.FakeRun(b.folder, b.info, (msgspec.structs.replace(first, **{field: other}), *b.records[1:]))
    with pytest.raises(IncomparableRecords, match=field):
        compare_runs(a, b, baselines=make.BASELINES)


def test_a_counter_is_not_compared_with_a_model(make, tmp_path):
    from harness.records import Provenance

    truths = (make.Truth("torch_eager"), make.Truth("a"))
    a, b = (
        make.fake_run(tmp_path, make.infer_group(truths, maker=make.Maker(provenance=provenance)))
        for provenance in (Provenance.COUNTER, Provenance.MODELLED)
    )
    with pytest.raises(IncomparableRecords, match="meters: cpu-process counter"):
        compare_runs(a, b, baselines=make.BASELINES)


def test_a_case_that_failed_is_invalid(make, tmp_path):
    a, b = run(make, tmp_path, seed=1), run(make, tmp_path, seed=2)
    failed = msgspec.structs.replace(b.records[2], outcome=Failed(error="WorkerFailed", message="killed by signal 9"))
    b = make.FakeRun(b.folder, b.info, (*b.records[:2], failed, *b.records[3:]))
    case = compare_runs(a, b, baselines=make.BASELINES).cases[2]
    assert case.verdict is RunVerdict.INVALID
    assert "signal 9" in case.reason


def test_vanished_and_new_cases_are_listed_and_nothing_in_common_is_an_error(make, tmp_path):
    a, b = run(make, tmp_path, seed=1), run(make, tmp_path, seed=2)
    b = make.FakeRun(b.folder, b.info, b.records[:-1])
    assert compare_runs(a, b, baselines=make.BASELINES).only_in_a == ("infer/c@cpu/offline",)
    with pytest.raises(IncomparableRecords, match="no case in common"):
        compare_runs(a, make.FakeRun(b.folder, b.info, ()), baselines=make.BASELINES)


def test_the_result_is_plain_data_and_prints(make, tmp_path):
    import io

    from rich.console import Console

    from harness.report import render_comparison

    result = compare_runs(run(make, tmp_path, seed=1), run(make, tmp_path, seed=2), baselines=make.BASELINES)
    assert msgspec.to_builtins(result)["cases"][0]["verdict"] == "inconclusive"
    out = io.StringIO()
    render_comparison(result, Console(file=out, width=160))
    assert "run-2 against run-1" in out.getvalue()
    assert "chance of any false" in out.getvalue()
