"""The infer cases of a suite, arm by arm, through the real workers of joulebench."""

import random
import sys
from pathlib import Path

import msgspec
import pytest

from harness.errors import ConfigError
from harness.gate.arms import start_control
from harness.gate.control import TARGET
from harness.gate.forks import Fork, Gated
from harness.gate.model import Stage
from harness.gate.slots import Built, build
from harness.gate.suites import SOURCE, expand, start_suite, train, unlike
from harness.gate.targets import SuiteTarget
from harness.meters import open_meters

TIMEOUT_S = 120


@pytest.mark.slow
def test_base_trains_one_model_and_both_arms_answer_every_item_with_it(
    project, tmp_path, tiny, cache, monkeypatch, request
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    text = tiny.read_text(encoding="utf-8")
    repository = project.repository(tmp_path / "repository", {"tiny.yaml": text})
    project.write(repository, {"tiny.yaml": text.replace(", length_bucketing", "")})
    target = SuiteTarget(suite="tiny.yaml")
    meters = open_meters(("modelled",))
    request.addfinalizer(meters.close)
    with build(repository, "HEAD") as slots:
        pair = slots.pairs[0]
        log = tmp_path / "log"
        base, head = (expand(target, getattr(pair, arm), arm, log, TIMEOUT_S) for arm in ("base", "head"))
        assert set(base) == {"tiny/torch_eager@cpu/offline", "tiny/length_bucketing@cpu/offline"}
        assert set(head) == {"tiny/torch_eager@cpu/offline"}
        name = "tiny/torch_eager@cpu/offline"
        assert unlike(base[name], head[name]) is None
        model = train(base[name], pair.base, tmp_path, log, TIMEOUT_S)
        cases = {"base": base[name], "head": head[name]}

        def start(arm, where, seed, log):
            built: Built = getattr(where, arm)
            return start_suite(cases[arm], model, arm, built, seed=seed, log=log, meters=meters)

        case = Gated(name=name, agree=False, metric="accuracy", start=start)
        fork = measured(case, pair, tmp_path, meters)
    assert [block.void for block in fork.blocks] == [None, None]
    assert fork.scores["base"].keys() == fork.scores["head"].keys()
    assert len(fork.scores["base"]) == 32
    for block in fork.blocks:
        assert len({slot.checksum for slot in block.slots}) == 1
        assert all(slot.energy_j > 0 and slot.tasks == 16 * fork.repeats for slot in block.slots)


def measured(case, pair, folder, meters):
    here = Built(place=SOURCE, root=SOURCE, python=pair.head.python)
    control = start_control(TARGET, here, log=folder / "control.log", meters=meters)
    fork = Fork(case, 0, Stage.MAIN, pair, random.Random(1), folder)
    try:
        control.ready(TIMEOUT_S)
        fork.prepare(0.01, TIMEOUT_S)
        for _ in range(2):
            fork.block(control, 1, TIMEOUT_S)
    finally:
        fork.kill()
        control.kill()
    return fork


def test_cases_on_unlike_work_are_told_apart(project, tmp_path, tiny):
    text = tiny.read_text(encoding="utf-8")
    repository = project.repository(tmp_path / "repository", {"tiny.yaml": text})
    with build(repository, "HEAD") as slots:
        target = SuiteTarget(suite="tiny.yaml", k="torch_eager")
        found = expand(target, slots.pairs[0].base, "base", tmp_path / "log", TIMEOUT_S)
        (base,) = found.values()
    other = base._replace(case=msgspec.structs.replace(base.case, threads=2))
    assert unlike(base, other) == "threads differs between base (1) and head (2)"
    tuned = base._replace(case=msgspec.structs.replace(base.case, params={"more": 1}))
    assert unlike(base, tuned) is None


def test_an_arm_that_cannot_plan_its_suite_is_named_with_its_last_words(tmp_path):
    (tmp_path / "tiny.yaml").write_text("suite: tiny\nworklaod: {}\n", encoding="utf-8")
    built = Built(place=tmp_path, root=tmp_path, python=Path(sys.executable))
    target = SuiteTarget(suite="tiny.yaml")
    with pytest.raises(ConfigError, match=r"(?s)^head cannot plan tiny\.yaml: .*worklaod"):
        expand(target, built, "head", tmp_path / "log", TIMEOUT_S)
    with pytest.raises(ConfigError, match=r"^head did not plan tiny\.yaml within 0 s"):
        expand(target, built, "head", tmp_path / "log", 0.01)
