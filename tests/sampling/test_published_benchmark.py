"""`benchmarks/published.py` sets a sampled full run beside what was published, and samples nothing twice."""

import importlib.util
import itertools
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
    known = {"boundary": "a test", "meter": "test"}
    return {
        "recipe": msgspec.to_builtins(find(name)),
        "about": {"hardware": "a machine"},
        "full_run": {"energy_j": energy, "duration_s": {"value": 36000.0}, "provenance": "modelled"},
        "domains": [
            {"domain": "gpu0", "energy_j": 1.5e10, "provenance": "counter", **known},
            {"domain": "cpu-process", "energy_j": 0.5e9, "provenance": "modelled", **known},
        ],
    }


def test_a_row_holds_the_full_run_and_the_published_one(published):
    cells = published.row(sample("translate@base"))
    assert cells == (
        "translate@base",
        "a machine",
        "4,500 kWh, mixed: 97 % counter, 3 % modelled",
        "4,170 to 5,000 kWh",
        "10 h",
        "8 x NVIDIA P100",
        "12 h",
        "27 kWh (facility, PUE 1.58)",
    )


def test_a_published_run_with_its_energy_comes_before_one_without(published):
    assert published.row(sample("bert@base"))[-3:] == ("64 x NVIDIA V100", "79 h", "1,507 kWh (facility, PUE 1.58)")
    assert published.row(sample("bert@large"))[-3:] == ("64 x Google TPUv2 chip", "96 h", "? kWh")


def test_what_was_not_published_is_a_question_mark(published):
    assert published.row({**sample("bert@base"), "recipe": {"name": "mine", "runs": []}})[-3:] == (
        "? x ?",
        "? h",
        "? kWh",
    )


NUMBERS = itertools.count()


class Sampling:
    """Stands for `joulebench sample`: writes what it writes and ends as it is told, a recipe after another."""

    def __init__(self, *codes):
        self.codes, self.asked = list(codes), []

    def __call__(self, command, **_):
        name, results = command[4], Path(command[-1])
        self.asked.append(name)
        folder = results / "abcd1234" / f"sample-{name.replace('@', '-')}-{next(NUMBERS)}"
        folder.mkdir(parents=True)
        (folder / "windows.jsonl").write_text("{}\n")
        code = self.codes.pop(0)
        if code != 2:
            (folder / "sample.json").write_text(json.dumps(sample(name)))
        return Ended(code)


class Ended:
    def __init__(self, code):
        self.code = code

    def wait(self):
        return self.code


@pytest.fixture
def run(published, tmp_path, monkeypatch):
    """Return a function that runs the benchmark on two recipes, whose samples end with these codes."""

    def main(*codes):
        command = ["published.py", "--out", str(tmp_path), "--for", "90s", "--recipes", "translate@base", "bert@base"]
        monkeypatch.setattr(sys, "argv", command)
        started = Sampling(*codes)
        monkeypatch.setattr(published.subprocess, "Popen", started)
        return published.main(), started.asked

    return main


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_samples_are_kept_whole_under_names_that_any_copy_takes(run, tmp_path, capsys):
    assert run(0, 0) == (0, ["translate@base", "bert@base"])
    kept = [f"{name}/{file}" for name in ("bert-base", "translate-base") for file in ("sample.json", "windows.jsonl")]
    assert files(tmp_path) == sorted([*kept, "published.md"])
    printed = capsys.readouterr()
    assert "2 to sample for 90s each: 3 min in all" in printed.err
    assert printed.out.strip() == (tmp_path / "published.md").read_text().strip()
    assert run() == (0, []), "what is there is not sampled again"


@pytest.mark.parametrize("code", [130, 13, 2])
def test_what_a_failed_sample_measured_stays_and_the_next_run_samples_it_again(run, tmp_path, capsys, code):
    assert run(code, 0) == (1, ["translate@base", "bert@base"])
    assert "not sampled: translate@base; what they left is in" in capsys.readouterr().err
    (left,) = (file for file in files(tmp_path) if file.startswith("translate-base/abcd1234/") and "windows" in file)
    assert "translate@base" not in (tmp_path / "published.md").read_text()
    assert run(0) == (0, ["translate@base"])
    assert left in files(tmp_path)
    assert (tmp_path / "translate-base" / "sample.json").exists()
    assert "translate@base" in (tmp_path / "published.md").read_text()
