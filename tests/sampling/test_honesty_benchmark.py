"""How `benchmarks/sample_honesty.py` scores trials, on series of which the truth is known."""

import argparse
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "sample_honesty.py"


@pytest.fixture(scope="module")
def honesty():
    spec = importlib.util.spec_from_file_location("sample_honesty", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def window(energy_j, duration_s):
    return {
        "energy_j": energy_j,
        "duration_s": duration_s,
        "cpu_s": duration_s,
        "provenance": "modelled",
        "busy_other_share": 0.0,
    }


def plan(honesty, *parts):
    from harness.sampling import AskedPhase, Part, Setting

    phase = AskedPhase(
        name="all",
        steps=Setting(value=400, level="primary"),
        length=Setting(value=64, level="primary"),
        sequences=16.0,
    )
    made = tuple(Part(name=name, times=1, weight=weight) for name, weight in parts)
    return honesty.to_plain(honesty.planned(phase, 4, 4, made))


def trial(honesty, number, *, later=1.0, pairs=False):
    draw = np.random.default_rng(number)
    level = np.where(np.arange(400) < 40, 1.0, later)
    cycles = [[window(each, 0.1 * each)] for each in level * draw.normal(5.0, 0.1, 400)]
    apart = [[window(each, 0.1 * each), window(1.0, 0.1)] for each in draw.normal(1.0, 0.02, 40)]
    return {
        "trial": number,
        "steps": 400,
        "sampled": 40,
        "plan": plan(honesty, ("step", 1.0)),
        "cycles": cycles,
        "pairs_plan": plan(honesty, ("forward and backward", 4.0), ("update", 1.0)) if pairs else None,
        "pairs": apart if pairs else [],
    }


def keep(folder, trials):
    (folder / "about.json").write_text("{}")
    for each in trials:
        (folder / f"trial-{each['trial']:03}.json").write_text(json.dumps(each))


def test_steady_trainings_are_held_by_their_first_tenth_and_by_pairs(honesty, tmp_path, capsys):
    keep(tmp_path, [trial(honesty, number, pairs=True) for number in range(20)])
    assert honesty.score(tmp_path) == 0
    made = json.loads((tmp_path / "scores.json").read_text())
    assert [(each["sample"], each["of"]) for each in made["summary"]] == [
        (f"{sample}{alone}", quantity)
        for sample in ("first tenth", "pairs")
        for alone in ("", honesty.ALONE)
        for quantity in ("energy", "time")
    ]
    for each in made["summary"]:
        assert each["trials"] == 20
        assert each["held"] >= 18
        assert each["low"] < each["share"] <= each["high"]
        assert abs(each["error"]) < 0.02
    printed = capsys.readouterr().out
    assert "first tenth, energy: " in printed
    assert "Wilson 95 %" in printed


def test_a_machine_that_wanders_is_held_and_batch_means_alone_would_not_hold_it(honesty, tmp_path):
    def wandering(number):
        made = trial(honesty, number)
        draw = np.random.default_rng(100 + number)
        steps = np.arange(400)
        # One octave as strong as the next: as slow as the whole training, as quick as ten steps.
        octaves = [
            0.03 * np.sin(2 * np.pi * (steps / length + draw.random())) * draw.normal()
            for length in (800, 400, 200, 100, 50, 25, 12)
        ]
        for (one,), factor in zip(made["cycles"], 1 + np.sum(octaves, axis=0), strict=True):
            one["energy_j"] *= factor
            one["duration_s"] *= factor
        return made

    keep(tmp_path, [wandering(number) for number in range(60)])
    honesty.score(tmp_path)
    found = {
        (each["sample"], each["of"]): each for each in json.loads((tmp_path / "scores.json").read_text())["summary"]
    }
    assert found["first tenth", "energy"]["share"] >= 0.9
    assert found[f"first tenth{honesty.ALONE}", "energy"]["share"] < 0.8


def test_a_training_that_changes_after_its_first_tenth_is_missed_and_fails(honesty, tmp_path, capsys):
    keep(tmp_path, [trial(honesty, number, later=1.3) for number in range(5)])
    assert honesty.score(tmp_path) == 1
    assert "0 of 5 trials held" in capsys.readouterr().out


def test_trials_whose_file_is_there_are_not_run_again(honesty, tmp_path, monkeypatch):
    keep(tmp_path, [trial(honesty, 0), trial(honesty, 2)])
    started = []
    monkeypatch.setattr(honesty.subprocess, "run", lambda command, **_: started.append(command))
    honesty.run_missing(argparse.Namespace(out=tmp_path, trials=4, recipe="bert@honest", meters="auto", pairs=False))
    assert [command[command.index("--trial") + 1] for command in started] == ["1", "3"]


def test_a_folder_goes_on_with_the_same_options_only(honesty, tmp_path):
    asked = argparse.Namespace(out=tmp_path, recipe="bert@honest", meters="auto", pairs=False)
    honesty.about(asked)
    honesty.about(asked)
    asked.pairs = True
    with pytest.raises(SystemExit, match="was made otherwise"):
        honesty.about(asked)


def test_its_recipes_can_be_asked_for():
    from harness.accounting import load_recipes
    from harness.sampling import ask

    recipes = load_recipes(PATH.with_suffix(".yaml"))
    assert {recipe.workload for recipe in recipes.values()} == {"bert", "gpt2", "translate", "elmo"}
    for recipe in recipes.values():
        (phase,) = ask(recipe).phases
        assert phase.sequences % 4 == 0
