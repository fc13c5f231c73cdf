"""`calibrate`: no alarm is lost, each is kept to be explained, and an interruption leaves nothing behind."""

import importlib.util
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.cli import aa
from harness.errors import ConfigError, InvalidMeasurement, UsageError
from harness.gate import calibrating, writing
from harness.gate.model import Calibration, Verdict
from harness.gate.running import Outcome

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def make():
    """Results of gates that never ran, of every verdict."""
    name = "joulebench_test_outcomes"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, TESTS / "gate" / "outcomes.py")
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture
def calibrated(make, monkeypatch, tmp_path):
    """Return a function that calibrates where every trial ends with the same cases; it returns what was counted."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    fingerprint = "7c1e90ab" + "0" * 56
    monkeypatch.setattr(aa.host, "fingerprint", lambda _: fingerprint)

    def calibrated(*cases, trials=1, budget="10m", **typed):
        def run(config, slots, asked):
            for case in cases:
                for block in make.blocks(case.name, 0.0, forks=1, each=2):
                    asked.keep(block)
            return Outcome(results=cases, notes=())

        monkeypatch.setattr(aa.running, "run", run)
        request = {
            "config": None,
            "select": "",
            "build": None,
            "results": tmp_path / "results",
            "as_json": False,
            **typed,
        }
        assert aa.calibrate(aa.Request(trials=trials, budget=budget, **request)) == 0
        return calibrating.history(fingerprint)

    return calibrated


def test_a_trial_that_alarmed_counts_though_another_case_was_cut_short(calibrated, make):
    alarmed, cut_short = make.case(Verdict.REGRESSED, "a"), make.case(Verdict.INCONCLUSIVE, "b")
    assert calibrated(alarmed, cut_short, budget="1s") == Calibration(alarms=1, trials=1)


def test_a_trial_that_alarmed_counts_though_another_case_could_not_be_measured(calibrated, make):
    alarmed, died = make.case(Verdict.REGRESSED, "a"), make.case(Verdict.INVALID, "b")
    assert calibrated(alarmed, died) == Calibration(alarms=1, trials=1)


def test_a_quiet_trial_that_was_cut_short_does_not_count(calibrated, make):
    with pytest.raises(InvalidMeasurement, match="no trial counted"):
        calibrated(make.case(Verdict.PASS, "a"), make.case(Verdict.INCONCLUSIVE, "b"), budget="1s")


def test_an_alarm_is_shown_with_its_seed_and_can_be_explained(calibrated, make, tmp_path, joulebench, capsys):
    calibrated(make.case(Verdict.REGRESSED, "a"), make.case(Verdict.PASS, "b"))
    (folder,) = (tmp_path / "results" / "7c1e90ab").iterdir()
    kept = writing.read_gate(folder)
    assert (
        f"false alarm with seed {kept.seed}: a; `joulebench explain '{folder}#a'` says more" in capsys.readouterr().err
    )
    assert kept.gate_id == folder.name
    assert "base and head are the same code" in kept.notes[-1]
    assert len(writing.read_blocks(folder)) == 4
    assert "FAIL" in joulebench("explain", f"{folder}#a").stdout


def test_quiet_trials_leave_no_results(calibrated, make, tmp_path):
    assert calibrated(make.case(Verdict.PASS, "a"), trials=3) == Calibration(alarms=0, trials=3)
    assert not (tmp_path / "results").exists()


def test_a_selection_that_fits_no_case_counts_no_quiet_trial(calibrated, tmp_path, make):
    with pytest.raises(UsageError, match="name one, or leave them out"):
        calibrated(select="encode")
    with pytest.raises(ConfigError, match="there is no"):
        calibrated(config=tmp_path / "gate.yaml", select="encode")
    with pytest.raises(UsageError, match="matches"):
        calibrated()


def test_a_selection_and_a_build_reach_the_gate_runs(joulebench, tmp_path):
    config = "cases: [{name: encode, target: 'work:encode'}]\n"
    (tmp_path / "gate.yaml").write_text(config, encoding="utf-8")
    (tmp_path / "work.py").write_text("def encode(): return 1\n", encoding="utf-8")
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "a"]):
        subprocess.run(["git", *who, *command], cwd=tmp_path, check=True)
    ended = joulebench("calibrate", "gate.yaml", "-k", "decode", "--build", f"echo built >> {tmp_path}/log")
    assert ended.returncode == 2
    assert "no case of gate.yaml matches 'decode'" in ended.stderr
    assert (tmp_path / "log").read_text() == "built\n" * 4


def test_a_calibration_that_ci_cancels_leaves_no_slots(start, environment, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment |= {"TMPDIR": str(scratch), "XDG_DATA_HOME": str(tmp_path / "data")}
    process = start("calibrate")
    deadline = time.monotonic() + 60
    while not list(scratch.glob("joulebench-logs-*")) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "interrupted: the trials that had ended are counted" in err
    assert [path.name for path in scratch.iterdir() if path.suffix != ".lock"] == []
