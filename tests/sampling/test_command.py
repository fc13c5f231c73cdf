"""`joulebench sample` as a process: what it prints, what it keeps, how it ends."""

import json
import signal
import time

import pytest

slow = pytest.mark.slow


def test_a_sample_in_json(joulebench, recipes, tmp_path):
    result = joulebench("sample", "bert@test", "--recipes", str(recipes), "--for", "8s", "--json")
    assert result.returncode == 0, result.stderr
    made = json.loads(result.stdout)
    sample = made["sample"]
    run = sample["full_run"]
    assert 0 < run["energy_j"]["low"] < run["energy_j"]["value"] < run["energy_j"]["high"]
    assert run["provenance"] in {"counter", "modelled"}
    assert run["hardware"] == "same-hardware"
    assert [phase["plan"]["phase"]["name"] for phase in sample["phases"]] == ["16", "32"]
    assert sample["options"]["threads"] == 1
    assert sample["about"]["hardware"].endswith("1 thread")
    assert sample["about"]["recipes_file"] == str(recipes)
    assert json.loads((tmp_path / made["folder"] / "sample.json").read_text()) == sample
    assert "[0/8] building the model" in result.stderr
    assert "left)" in result.stderr


@slow
def test_a_sample_in_words(joulebench, recipes):
    options = ("--for", "8s", "--meters", "fake:2", "--recipes", str(recipes))
    result = joulebench("sample", "bert@test", *options)
    assert result.returncode == 0, result.stderr
    for said in (
        "bert@test: a BERT for tests",
        "the full run on this hardware (same-hardware):",
        "kWh (",
        " kWh), fake",
        " h (",
        "what each source of error does alone:",
        "overhead",
        "published runs of this recipe, on their hardware; the full run above is no estimate of them:",
        "3 x an abacus (primary): 5 h (primary), 7 kWh (secondary)",
        "16: a published step is run as ",
        "float32, chosen: none was published (nobody says)",
        "drawn at random",
    ):
        assert said in " ".join(result.stdout.split()), said
    claimed = joulebench("sample", "gpt2@test", "--steps", "10", *options, "--target", "an abacus")
    assert claimed.returncode == 0, claimed.stderr
    assert "for an abacus: nothing is claimed" in claimed.stdout
    assert "10 steps, chosen by whoever asked; none were published" in " ".join(claimed.stdout.split())
    assert "published runs of this recipe: none is known to us" in claimed.stdout


def test_what_cannot_be_sampled_is_said_at_once(joulebench, recipes):
    cases = {
        ("bert@bsae",): "did you mean 'bert@base'",
        ("gpt2@small",): "gpt2@small-nanogpt",
        ("bert@base", "--length", "64"): "leave --length out",
        ("bert@base", "--for", "soon"): "is not a duration",
        ("bert@test", "--recipes", "nowhere.yaml"): "nowhere.yaml cannot be read",
        ("bert@base", "--device", "abacus"): "there is no device 'abacus'",
        ("bert@base", "--micro-batch", "0"): "--micro-batch",
        ("bert@base", "--ratio", "2"): "--target",
        ("bert@base", "--meters", "wishes"): "unknown meter 'wishes'",
    }
    for arguments, message in cases.items():
        result = joulebench("sample", *arguments)
        assert result.returncode == 2, (arguments, result.stderr)
        assert message in result.stderr
        assert "Traceback" not in result.stderr
        assert result.stdout == ""


@slow
def test_ctrl_c_ends_in_130_and_keeps_the_sample(start, recipes, tmp_path):
    stopped = start("sample", "bert@test", "--recipes", str(recipes), "--for", "60s", "--meters", "fake")
    deadline = time.monotonic() + 120
    while not any(path.stat().st_size > 20_000 for path in tmp_path.glob("results/*/*/windows.jsonl")):
        assert time.monotonic() < deadline
        assert stopped.poll() is None
        time.sleep(0.05)
    stopped.send_signal(signal.SIGINT)
    stdout, stderr = stopped.communicate(timeout=60)
    assert stopped.returncode == 130, stderr
    assert "interrupted; what was measured is kept" in stderr
    assert "INTERRUPTED" in stdout
    (path,) = tmp_path.glob("results/*/*/sample.json")
    assert json.loads(path.read_text())["interrupted"] == "by the user"


def test_the_commands_of_its_page_exist():
    import re
    from pathlib import Path

    from harness.cli import cli

    page = (Path(__file__).resolve().parents[2] / "docs" / "sampling.md").read_text(encoding="utf-8")
    options = {name for option in cli.commands["sample"].params for name in option.opts}
    assert set(re.findall(r"(--[a-z][a-z-]+)", page)) <= options
