"""pytest-benchmark's files both ways, with its real command line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli import exporting
from harness.errors import ResultsError
from harness.interop import exports, figures, foreign

COMPARE = [str(Path(sys.executable).with_name("pytest-benchmark")), "compare"]


def compare(folder, *arguments):
    result = subprocess.run([*COMPARE, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    return result.returncode, result.stdout + result.stderr


def test_pytest_benchmark_compares_our_runs(tmp_path, joulebench, real_run):
    for name in ("a.json", "b.json"):
        result = joulebench("export", str(real_run), "--to", "pytest-benchmark", "--output", name)
        assert result.returncode == 0, result.stderr
    code, said = compare(tmp_path, "a.json", "b.json", "--columns=min,median,mean,stddev,iqr,outliers,ops,rounds")
    assert code == 0
    assert "WARNING" not in said
    for case in ("infer/torch_eager@cpu/offline", "train/full_finetune@cpu"):
        assert f"{case} (a)" in said
        assert f"{case} (b)" in said


def test_pytest_benchmark_sets_our_files_side_by_side_by_name(tmp_path, real_run):
    for name in ("a.json", "b.json"):
        exporting.export(real_run, "pytest-benchmark", tmp_path / name)
    code, said = compare(tmp_path, "a.json", "b.json", "--between=median,mean", "--csv=out.csv")
    assert code == 0
    assert "length_bucketing" in said
    assert "length_bucketing" in (tmp_path / "out.csv").read_text()


def test_a_document_holds_seconds_in_its_stats_and_joules_beside_them(make, tmp_path):
    run = make.realistic_run(tmp_path)
    document = exports.pytest_benchmark(figures.of_run(run))
    eager = next(entry for entry in document["benchmarks"] if "torch_eager" in entry["name"])
    joules = eager["extra_info"]["joulebench"]
    assert eager["stats"]["median"] == pytest.approx(0.004)
    assert eager["stats"]["rounds"] == len(eager["stats"]["data"]) == len(joules["joules"]) == 32
    assert joules["energy_j"] == pytest.approx(0.0224, rel=0.1)
    assert joules["provenance"] == "fake"
    left_out = " ".join(f"{name}: {reason}" for name, reason in document["joulebench"]["left_out"].items())
    assert "infer/bf16_autocast" in left_out
    assert "no bf16 instructions" in left_out
    assert "killed by signal 9" in left_out


def test_any_file_of_pytest_benchmark_is_shown_and_never_judged(tmp_path, joulebench):
    test = tmp_path / "test_it.py"
    test.write_text("def test_sum(benchmark):\n    assert benchmark(sum, [1, 2]) == 3\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--benchmark-max-time=0.01"]
    subprocess.run([*command, "--benchmark-json=theirs.json", str(test)], cwd=tmp_path, check=True, capture_output=True)
    result = joulebench("report", "theirs.json")
    assert result.returncode == 0, result.stderr
    assert "test_it.py::test_sum" in result.stdout
    assert "no verdict" in result.stdout
    document = json.loads(joulebench("report", "theirs.json", "--json").stdout)
    assert document["rows"][0]["median_s"] > 0
    assert document["rows"][0]["energy_j"] is None


def test_our_own_export_reads_back_with_its_joules(tmp_path, real_run):
    exporting.export(real_run, "pytest-benchmark", tmp_path / "ours.json")
    rows = {row.name: row for row in foreign.read(tmp_path / "ours.json").rows}
    written = {figure.fullname: figure for figure in figures.load(real_run).figures}
    assert rows.keys() == written.keys()
    for name, row in rows.items():
        assert row.energy_j == written[name].energy_j
        assert row.energy == "modelled"


def test_files_without_data_and_with_numbers_that_are_none_are_read(tmp_path):
    path = tmp_path / "old.json"
    path.write_text('{"benchmarks": [{"name": "test_a", "stats": {"mean": 0.5, "stddev": NaN}}], "version": "3.0"}')
    (row,) = foreign.read(path).rows
    assert (row.name, row.mean_s, row.stddev_s, row.median_s) == ("test_a", 0.5, None, None)


@pytest.mark.parametrize("content", ['{"not": "theirs"}', "[1, 2]", "not JSON", '{"benchmarks": [{"name": "a"}]}'])
def test_what_is_no_such_file_is_an_error_that_names_it(tmp_path, content):
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(ResultsError, match=r"other\.json"):
        foreign.read(path)
