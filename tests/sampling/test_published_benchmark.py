"""`benchmarks/published.py` sets a sampled full run beside what was published, and samples nothing twice."""

import importlib.util
import json
import sys
from pathlib import Path

import msgspec
import pytest

from harness.sampling import find

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "published.py"


@pytest.fixture(scope="module")
def published():
    spec = importlib.util.spec_from_file_location("published", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sample(name):
    """Return what the benchmark reads of a sample: 4,500 kWh in 10 hours."""
    energy = {"value": 1.62e10, "low": 1.5e10, "high": 1.8e10}
    return {
        "recipe": msgspec.to_builtins(find(name)),
        "about": {"hardware": "a machine"},
        "full_run": {"energy_j": energy, "duration_s": {"value": 36000.0}, "provenance": "counter"},
    }


def test_a_row_holds_the_full_run_and_the_published_one(published):
    cells = published.row(sample("translate@base"))
    assert cells == (
        "translate@base",
        "a machine",
        "4,500 kWh, counter",
        "4,170 to 5,000 kWh",
        "10 h",
        "8 x NVIDIA P100",
        "12 h",
        "27 kWh",
    )


def test_what_was_not_published_is_a_question_mark(published):
    assert published.row({**sample("bert@base"), "recipe": {"name": "mine", "runs": []}})[-3:] == (
        "? x ?",
        "? h",
        "? kWh",
    )


def test_a_sample_that_is_there_is_not_taken_again_and_one_that_fails_is_named(
    published, tmp_path, monkeypatch, capsys
):
    (tmp_path / "translate@base.json").write_text(json.dumps(sample("translate@base")))
    arguments = ["published.py", "--out", str(tmp_path), "--recipes", "translate@base", "nobody@nothing"]
    monkeypatch.setattr(sys, "argv", arguments)
    assert published.main() == 1
    printed = capsys.readouterr()
    assert "not sampled: nobody@nothing" in printed.err
    assert printed.out.strip() == (tmp_path / "published.md").read_text().strip()
    assert printed.out.count("translate@base") == 1
