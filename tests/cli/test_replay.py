"""`joulebench replay`, and the traces that a suite leaves."""

import json
import sys
import time

import pytest

from harness import store
from harness.meters.modelled import ModelledMeter
from harness.meters.replay import replay_window
from harness.meters.trace import Recorder
from harness.meters.tracefile import Trace
from harness.meters.window import MeterWindow
from harness.records import WindowKind

pytest.importorskip("pyarrow", reason="needs the trace extra")


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    path = tmp_path_factory.mktemp("traces") / "trace.parquet"
    window = MeterWindow([ModelledMeter("EPYC 3", billed=True)])
    recorder = Recorder(window, path, period_s=0.05, context={"case": "a test"})
    recorder.start()
    begun = window.begin()
    time.sleep(0.6)
    window.end(begun)
    recorder.stop()
    window.close()
    return path


def test_a_trace_is_shown_with_joules_bounds_provenance_cpu_time_and_doubts(trace, joulebench):
    shown = joulebench("replay", str(trace))
    assert shown.returncode == 0, shown.stderr
    assert "case a test" in shown.stdout
    assert "cpu-process: " in shown.stdout
    assert "modelled" in shown.stdout
    assert "CPU: " in shown.stdout
    assert "doubts: " in shown.stdout
    assert "MODELLED" in shown.stdout
    assert "of a core" in shown.stdout


def test_a_stretch_snaps_to_samples_and_says_which(trace, joulebench):
    shown = json.loads(joulebench("replay", str(trace), "--from", "101ms", "--to", "0.4s", "--json").stdout)
    (one,) = shown["slices"]
    assert one["from_s"] == pytest.approx(0.1, abs=0.03)
    assert one["to_s"] == pytest.approx(0.4, abs=0.03)
    assert one["measured"]["duration_s"] == pytest.approx(one["to_s"] - one["from_s"])
    assert shown["finished"] is True
    assert shown["header"]["context"] == {"case": "a test"}


def test_slices_are_a_table_that_adds_up(trace, joulebench):
    table = joulebench("replay", str(trace), "--every", "200ms", "--from", "0").stdout
    assert "from s" in table
    assert "cpu-process J" in table
    parts = json.loads(joulebench("replay", str(trace), "--every", "200ms", "--json").stdout)["slices"]
    whole = json.loads(joulebench("replay", str(trace), "--json").stdout)["slices"][0]
    assert len(parts) in (3, 4)
    cpu_s = sum(part["measured"]["cpu_s"] for part in parts)
    assert cpu_s == pytest.approx(whole["measured"]["cpu_s"])


def test_what_cannot_be_replayed_ends_with_2_and_names_the_file(trace, joulebench, tmp_path):
    (tmp_path / "notes.parquet").write_text("no")
    for arguments, words in (
        (["notes.parquet"], "notes.parquet is no trace"),
        (["absent.parquet"], "cannot read the trace absent.parquet"),
        ([str(trace), "--from", "9s"], "9 s lies outside it"),
        ([str(trace), "--every", "1ms"], "too short"),
        ([str(trace), "--to", "soon"], "'soon' is not a duration"),
    ):
        ended = joulebench("replay", *arguments)
        assert ended.returncode == 2
        assert words in ended.stderr
        assert ended.stdout == ""


@pytest.mark.slow
def test_a_suite_with_traces_leaves_one_a_fork_that_replays_to_its_windows(tiny, joulebench, tmp_path):
    ended = joulebench("run", str(tiny), "measure.trace=true", "-k", "torch_eager or from_scratch")
    assert ended.returncode == 0, ended.stderr
    (folder,) = (path.parent for path in (tmp_path / "results").glob("*/*/run.json"))
    run = store.load_run(folder)
    for record in run.records:
        path = folder / "traces" / f"{record.case_id}-fork0.parquet"
        assert Trace(path).header.context["case_id"] == record.case_id
        assert any("a trace was recorded every 0.1 s" in note for meter in record.meters for note in meter.notes)
        window = next(one for one in record.windows if one.kind in (WindowKind.RUN, WindowKind.TRAIN))
        again = replay_window(path, window.measured)
        assert again.energies == window.measured.energies
        assert again.cpu_s == window.measured.cpu_s
    assert not list((folder / "traces").glob("*.partial"))


def test_a_suite_with_traces_is_refused_before_anything_runs_where_pyarrow_is_missing(tiny, environment, tmp_path):
    import subprocess

    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as util\nfind = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'pyarrow' else find(name, *rest)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-m", "harness", "run", str(tiny), "measure.trace=true"],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "joulebench[trace]" in ended.stderr
    assert not (tmp_path / "results").exists()
