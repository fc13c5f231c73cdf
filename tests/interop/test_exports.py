"""What trackers are given: the right unit, and how the joules are known in the name."""

import csv
import json

import msgspec
import pytest

from harness import stats
from harness.gate.model import Stage
from harness.interop import exports, figures
from harness.records import Provenance
from harness.store import load_run

MEASURE = {"value", "lower_value", "upper_value"}


def test_bencher_gets_joules_and_seconds_named_as_what_they_are(joulebench, real_run):
    document = json.loads(joulebench("export", str(real_run), "--to", "bmf").stdout)
    assert len(document) == 7
    for measures in document.values():
        assert measures.keys() == {"energy-modelled-joules", "time-seconds", "cpu-seconds"}
        assert all(value.keys() <= MEASURE and "value" in value for value in measures.values())
        energy = measures["energy-modelled-joules"]
        assert energy["lower_value"] < energy["value"] < energy["upper_value"]
        assert max(map(len, measures)) <= 64
    run = load_run(real_run)
    record = next(record for record in run.records if record.case.technique == "length_bucketing")
    (name,) = (name for name in document if "length_bucketing" in name)
    assert document[name]["energy-modelled-joules"]["value"] == pytest.approx(stats.energy_per_task_j(record))
    assert document[name]["time-seconds"]["value"] == pytest.approx(0.00895, rel=0.01)


def test_github_action_benchmark_gets_entries_that_are_better_when_smaller(joulebench, real_run):
    entries = json.loads(joulebench("export", str(real_run), "--to", "github-action-benchmark").stdout)
    assert len({entry["name"] for entry in entries}) == len(entries) == 14
    for entry in entries:
        assert entry.keys() <= {"name", "unit", "value", "range", "extra"}
        assert isinstance(entry["value"], float)
        assert {type(entry[key]) for key in ("name", "unit", "range", "extra")} == {str}
    units = {entry["unit"] for entry in entries}
    assert units == {"J/task", "s/task", "J/training", "s/training"}
    assert all("energy, modelled" in entry["name"] for entry in entries if entry["unit"].startswith("J"))


def test_counted_joules_have_another_name_than_modelled_ones(make, tmp_path):
    def measures(provenance):
        run = make.realistic_run(tmp_path / provenance.value, make.Maker(provenance=provenance))
        return {name for each in exports.bmf(figures.of_run(run)).values() for name in each}

    assert "energy-counter-joules" in measures(Provenance.COUNTER)
    assert "energy-modelled-joules" in measures(Provenance.MODELLED)
    assert "energy-counter-joules" not in measures(Provenance.MODELLED)


def test_a_case_whose_joules_are_missing_has_seconds_and_the_reason(make, tmp_path):
    run = make.realistic_run(tmp_path)
    record = next(record for record in run.records if record.case.technique == "length_bucketing")
    lost = msgspec.structs.replace(record.windows[-1].measured, energies=())
    windows = (*record.windows[:-1], msgspec.structs.replace(record.windows[-1], measured=lost))
    broken = make.fake_run(tmp_path, (msgspec.structs.replace(record, windows=windows),))
    (figure,) = figures.of_run(broken).figures
    assert figure.energy_j is None
    assert figure.joules == ()
    assert "no billed domain" in figure.gap
    (measures,) = exports.bmf(figures.of_run(broken)).values()
    assert measures.keys() == {"time-seconds", "cpu-seconds"}


def test_csv_holds_every_window_with_its_provenance(joulebench, real_run):
    result = joulebench("export", str(real_run), "--to", "csv")
    rows = list(csv.DictReader(result.stdout.splitlines()))
    assert len(rows) == sum(len(record.windows) for record in load_run(real_run).records)
    assert {row["provenance"] for row in rows} == {"modelled"}
    assert all(float(row["energy_j"]) >= 0 for row in rows)


def test_parquet_holds_the_same_table(tmp_path, joulebench, real_run):
    parquet = pytest.importorskip("pyarrow.parquet")
    result = joulebench("export", str(real_run), "--to", "parquet", "--output", "run.parquet", "--json")
    assert result.returncode == 0, result.stderr
    assert len(json.loads(result.stdout)["cases"]) == 7
    table = parquet.read_table(tmp_path / "run.parquet")
    assert table.num_rows == sum(len(record.windows) for record in load_run(real_run).records)
    assert str(table.schema.field("energy_j").type) == "double"


def test_parquet_needs_a_file(joulebench, real_run):
    result = joulebench("export", str(real_run), "--to", "parquet")
    assert result.returncode == 2
    assert "--output" in result.stderr


def test_what_was_left_out_is_said_and_an_empty_export_is_an_error(tmp_path, joulebench, make):
    from harness.store import append_record, create_run

    failed = [record for record in make.realistic_run(tmp_path).records if not record.windows]
    info = make.run_info(tuple(failed))
    folder = create_run(tmp_path / "results", info)
    for record in failed:
        append_record(folder, record)
    result = joulebench("export", str(folder), "--to", "bmf")
    assert result.returncode == 2
    assert "left out: text_classification/train/lora@cpu" in result.stderr
    assert "no figures" in result.stderr


def test_a_folder_that_is_no_run_is_named(tmp_path, joulebench):
    result = joulebench("export", str(tmp_path), "--to", "bmf")
    assert result.returncode == 2
    assert "run.json" in result.stderr


def test_of_a_gate_trackers_get_the_head_and_tables_both_arms(gate_folder):
    read = figures.load(gate_folder)
    arms = {figure.arm for figure in read.figures}
    assert arms == {"base", "head"}
    assert all(name.endswith("[head]") for name in exports.bmf(read))
    rows = exports.rows(read)
    assert {row["arm"] for row in rows} == arms
    cases = {entry["fullname"] for entry in exports.pytest_benchmark(read)["benchmarks"]}
    assert {name.rpartition("[")[0] for name in cases} == {name.rpartition("[")[0] for name in exports.bmf(read)}


def test_void_and_confirming_blocks_of_a_gate_are_not_in_its_figures(gate_folder):
    from harness.gate.writing import read_blocks

    blocks = read_blocks(gate_folder)
    for figure in figures.load(gate_folder).figures:
        case = figure.group
        counted = [b for b in blocks if b.case == case and b.stage is Stage.MAIN and b.void is None]
        assert len(figure.seconds) == len(counted)


def test_pytest_benchmark_compares_a_gate(tmp_path, joulebench, gate_folder):
    import subprocess
    import sys
    from pathlib import Path

    joulebench("export", str(gate_folder), "--to", "pytest-benchmark", "--output", "gate.json")
    command = [str(Path(sys.executable).with_name("pytest-benchmark")), "compare", "gate.json"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0
    assert "[base]" in result.stdout
    assert "[head]" in result.stdout


def test_a_gated_case_that_is_invalid_is_left_out_whatever_of_it_was_measured(gate_folder):
    from harness.gate.model import Verdict
    from harness.gate.writing import read_blocks, read_gate

    read = read_gate(gate_folder)
    first, second = read.cases
    reset = msgspec.structs.replace(second, verdict=Verdict.INVALID, reason="the counter was reset")
    made = figures.of_gate(msgspec.structs.replace(read, cases=(first, reset)), read_blocks(gate_folder))
    assert {figure.group for figure in made.figures} == {first.name}
    assert made.left_out == {second.name: "invalid: the counter was reset"}
