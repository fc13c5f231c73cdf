"""Every command answers in text and in JSON, and shows an example in its help."""

import json
import shutil
import textwrap

import msgspec
import pytest

from harness import meters, store
from harness.cli import cli
from harness.cli.output import left_text
from harness.meters.plugins import loading
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


@pytest.mark.parametrize("what", ["techniques", "workloads", "meters", "recipes"])
def test_ls_lists_names_with_a_summary(joulebench, what):
    rows = json.loads(joulebench("ls", what, "--json").stdout)
    text = joulebench("ls", what).stdout
    assert rows
    assert all(row["summary"] and row["name"] in text for row in rows)


def test_ls_meters_names_those_of_joulebench_and_the_plug_ins(joulebench):
    rows = {row["name"]: row for row in json.loads(joulebench("ls", "meters", "--json").stdout)}
    assert {name for name, row in rows.items() if not row["plugin"]} == set(meters.NAMES)
    assert {name for name, row in rows.items() if row["plugin"]} == set(loading.names())
    assert "CSV" in rows["wall"]["summary"]


def test_doctor_names_what_can_and_what_cannot_be_measured(joulebench):
    result = joulebench("doctor", "--json")
    made = json.loads(result.stdout)
    text = joulebench("doctor").stdout
    assert result.returncode == (13 if made["failed"] else 0)
    assert made["fingerprint"][:8] in text
    assert "modelled" in {meter["name"] for meter in made["survey"]["meters"]}
    assert all(missing["reason"] in text for missing in made["survey"]["missing"])
    assert "CPU time of a case: " in text
    assert set(made["plugins"]) == set(loading.names())
    for meter in made["survey"]["meters"]:
        assert meter["self_test"]["windows"] > 0
        assert meter["boundary"] in text
        for idle in meter["self_test"]["idle"]:
            assert f"{idle['domain']} " in text
    assert "self-test passed: monotonic, plausible over" in text
    assert "idle (mean ± sd): " in text
    assert "any window is long enough" in text


def test_doctor_tests_the_meters_that_are_named(joulebench):
    text = joulebench("doctor", "--meters", "fake:2.5").stdout
    assert "  fake: fake: fake, fake: for tests, no joules were measured (billed)" in text
    assert "modelled" not in text.split("can be measured:")[1].split("CPU time")[0]


def test_doctor_of_a_meter_that_does_not_exist_says_which_do(joulebench):
    result = joulebench("doctor", "--meters", "wal:power.csv")
    assert result.returncode == 2
    assert "did you mean 'wall'" in result.stderr


@pytest.fixture
def falling(tmp_path, environment, monkeypatch):
    """A billed meter of another distribution whose counter goes backwards."""
    code = """
    from harness.meters.plugins.counted import Channel, CountedMeter
    from harness.records import Provenance
    counts = iter(range(10**9, 0, -1000))
    def open_meter(argument, device):
        channel = Channel(domain="board", label="board", boundary="a board", j_per_count=1e-6, ceiling_w=1e3)
        return CountedMeter("falling", (channel,), lambda: (next(counts),), provenance=Provenance.COUNTER), ()
    """
    info = tmp_path / "site" / "falling-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: falling\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[joulebench.meters]\nfalling = falling_meter:open_meter\n")
    (tmp_path / "site" / "falling_meter.py").write_text(textwrap.dedent(code))
    environment["PYTHONPATH"] = str(tmp_path / "site")


def test_doctor_fails_where_a_billed_meter_fails_its_self_test(falling, joulebench):
    result = joulebench("doctor", "--meters", "falling")
    assert result.returncode == 13, result.stderr
    assert "self-test FAILED: not monotonic, not plausible" in result.stdout
    assert "fault: board: " in result.stdout
    assert "falling failed the self-test" in result.stderr
    made = json.loads(joulebench("doctor", "--meters", "falling", "--json").stdout)
    assert made["failed"] == ["falling"]


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
