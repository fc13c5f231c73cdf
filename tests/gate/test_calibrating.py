"""The counts of false alarms: kept by host, never lost, and made by real gate runs of identical code."""

import json

import pytest

from harness.errors import InvalidMeasurement, ResultsError, UsageError
from harness.gate import calibrating
from harness.gate.model import Calibration, Verdict

HERE, THERE = "7c1e90ab" + "0" * 56, "7c1e90ab" + "1" * 56


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "joulebench" / "calibration"


def entry(alarms=0, trials=1, **changes):
    fields = {"recorded_utc": "2026-11-23T15:00:00Z", "host_fingerprint": HERE, "what": "the control kernel",
              "cases": 1, "alarms": alarms, "trials": trials, "alpha": 0.01, **changes}  # fmt: skip
    return calibrating.Entry(**fields)


def test_counts_add_up_on_one_host_and_not_over_hosts():
    assert calibrating.history(HERE) is None
    calibrating.record(entry(0, 12))
    calibrating.record(entry(1, 8))
    calibrating.record(entry(3, 3, host_fingerprint=THERE))
    assert calibrating.history(HERE) == Calibration(alarms=1, trials=20)
    assert calibrating.history(THERE) == Calibration(alarms=3, trials=3)


def test_the_file_is_only_appended_to(data):
    path = calibrating.record(entry())
    before = path.read_bytes()
    calibrating.record(entry())
    assert path.parent == data
    assert path.read_bytes().startswith(before)


def test_a_half_written_line_is_not_counted():
    path = calibrating.record(entry())
    path.write_bytes(path.read_bytes() + b'{"recorded_utc":"2026')
    assert calibrating.history(HERE) == Calibration(alarms=0, trials=1)
    calibrating.record(entry())
    assert calibrating.history(HERE) == Calibration(alarms=0, trials=2)


def test_a_damaged_line_is_named_and_never_passed_over():
    path = calibrating.record(entry())
    path.write_bytes(b"alarms: none\n" + path.read_bytes())
    with pytest.raises(ResultsError, match=r"7c1e90ab\.jsonl:1"):
        calibrating.history(HERE)


@pytest.mark.parametrize(("alarms", "trials"), [(0, 0), (2, 1), (-1, 3)])
def test_what_is_no_count_is_refused(alarms, trials):
    with pytest.raises(UsageError, match="is no count"):
        calibrating.record(entry(alarms, trials))


def test_a_regression_or_a_loss_of_quality_is_an_alarm_and_an_invalid_trial_is_none_at_all(make):
    quiet = [make.case(verdict) for verdict in (Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.IMPROVED)]
    assert calibrating.alarmed(quiet) == ()
    loud = [*quiet, make.case(Verdict.REGRESSED), make.case(Verdict.WORSE_QUALITY)]
    assert calibrating.alarmed(loud) == ("infer/regressed", "infer/worse-quality")
    with pytest.raises(InvalidMeasurement, match="a worker of head died"):
        calibrating.alarmed([*quiet, make.case(Verdict.INVALID)])


@pytest.mark.slow
def test_calibrate_runs_the_real_gate_on_identical_arms_and_keeps_the_count(joulebench, data):
    result = joulebench("calibrate", "--trials", "1", "--budget", "3m", "--json")
    assert result.returncode == 0, result.stderr
    said = json.loads(result.stdout)
    assert said["now"]["trials"] == said["all"]["trials"] == 1
    assert said["all"]["alarms"] == 0
    (path,) = data.glob("*.jsonl")
    kept = json.loads(path.read_text())
    assert (kept["what"], kept["trials"], kept["cases"]) == ("the control kernel", 1, 1)


def test_a_budget_too_short_for_one_trial_counts_nothing(joulebench, data):
    result = joulebench("calibrate", "--trials", "1", "--budget", "1s")
    assert result.returncode == 13
    assert "does not count" in result.stderr
    assert not data.exists()
