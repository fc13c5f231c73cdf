"""Every command answers in text and in JSON, and shows an example in its help."""

import json
import shutil

import msgspec
import pytest

from harness import store
from harness.cli import cli
from harness.cli.output import left_text
from harness.records import Ok, Provenance, WindowKind
from harness.schedule import Progress

slow = pytest.mark.slow


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_commands_help_shows_an_example(joulebench, name):
    result = joulebench(name, "--help")
    assert result.returncode == 0
    assert f"\n  joulebench {name}" in result.stdout
    assert "--json" in result.stdout


def test_plan_prints_cases_skips_and_an_estimate(joulebench, tiny):
    result = joulebench("plan", str(tiny), "train=[from_scratch, full_finetune]")
    assert result.returncode == 0
    assert "run   " in result.stdout
    assert "train/full_finetune@cpu: " in result.stdout
    assert "never run on this host" in result.stdout


def test_plan_in_json_holds_the_same(joulebench, tiny):
    made = json.loads(joulebench("plan", str(tiny), "train=[from_scratch, full_finetune]", "--json").stdout)
    assert [row["technique"] for row in made["run"]] == ["from_scratch", "torch_eager", "length_bucketing"]
    assert [row["technique"] for row in made["skip"]] == ["full_finetune"]
    assert made["budget_s"] == 300


@pytest.mark.parametrize("what", ["techniques", "workloads", "meters"])
def test_ls_lists_names_with_a_summary(joulebench, what):
    rows = json.loads(joulebench("ls", what, "--json").stdout)
    text = joulebench("ls", what).stdout
    assert rows
    assert all(row["summary"] and row["name"] in text for row in rows)


def test_doctor_names_what_can_and_what_cannot_be_measured(joulebench):
    made = json.loads(joulebench("doctor", "--json").stdout)
    text = joulebench("doctor").stdout
    assert made["fingerprint"][:8] in text
    assert "modelled" in {meter["name"] for meter in made["survey"]["meters"]}
    assert all(missing["reason"] in text for missing in made["survey"]["missing"])


@slow
def test_a_run_prints_its_report_and_leaves_it_beside_the_records(done):
    folder, ended = done
    assert "length_bucketing" in ended.stdout
    assert "modelled" in ended.stdout
    for name in ("run.json", "suite.yaml", "records.jsonl", "report.md", "report.html"):
        assert (folder / name).stat().st_size > 0


@slow
def test_a_finished_run_has_every_record_with_energy_time_memory_and_quality(done):
    run = store.load_run(done[0])
    assert run.info.finished_utc is not None
    for record in run.records:
        assert isinstance(record.outcome, Ok)
        assert record.quality is not None
        assert record.meters
        kind = WindowKind.TRAIN if record.case.phase.value == "train" else WindowKind.RUN
        for window in (window for window in record.windows if window.kind is kind and window.tasks):
            (energy,) = (energy for energy in window.measured.energies if energy.billed)
            assert energy.provenance in (Provenance.MODELLED, Provenance.COUNTER)
            assert 0 < energy.low_j <= energy.energy_j <= energy.high_j
            assert window.measured.duration_s > 0
            assert window.peak_memory_bytes > 0


@slow
def test_report_tells_the_same_again_in_every_form(done, joulebench):
    folder = str(done[0])
    assert "length_bucketing" in joulebench("report", folder).stdout
    assert joulebench("report", folder, "--format", "markdown").stdout.startswith("# ")
    assert "<!doctype html>" in joulebench("report", folder, "--format", "html").stdout.lower()
    assert json.loads(joulebench("report", folder, "--json").stdout)


@slow
def test_report_without_a_folder_takes_the_newest_run(done, joulebench):
    results = str(done[0].parents[1])
    assert joulebench("report", "--results", results).returncode == 0


@slow
def test_running_a_finished_suite_again_makes_a_new_run(done, joulebench, tmp_path):
    again = tmp_path / "results"
    shutil.copytree(done[0].parents[1], again)
    run = store.load_run(done[0])
    assert store.unfinished(again, msgspec.structs.replace(run.info, finished_utc=None)) is None


@slow
def test_comparing_a_run_with_itself_finds_no_difference(done, joulebench):
    made = joulebench("compare", str(done[0]), str(done[0]), "--json")
    assert made.returncode == 0, made.stderr
    verdicts = {case["verdict"] for case in json.loads(made.stdout)["cases"]}
    assert verdicts <= {"pass", "inconclusive"}
    assert "length_bucketing" in joulebench("compare", str(done[0]), str(done[0])).stdout


@slow
def test_runs_of_unlike_hosts_are_refused_with_the_field_that_differs(done, joulebench, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(done[0], other)
    info = store.read_info(other)
    host = {**info.host, "cpu_brand": "Imaginary 9000"}
    store.write_info(other, msgspec.structs.replace(info, host=host, host_fingerprint="0" * 64))
    result = joulebench("compare", str(done[0]), str(other))
    assert result.returncode == 12
    assert "Imaginary 9000" in result.stderr


def test_the_time_left_is_told_in_minutes_and_seconds():
    progress = Progress(text="t", done=0, total=1, left_s=80.2)
    assert left_text(progress) == "about 1m20s left"
    assert left_text(msgspec.structs.replace(progress, left_s=None)) == ""
