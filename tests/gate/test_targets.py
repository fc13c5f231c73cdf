"""What `gate.yaml` may say, and how a mistake in it is named."""

import datetime as dt

import msgspec
import pytest

from harness.errors import ConfigError
from harness.gate.targets import (
    CallableTarget,
    CommandTarget,
    PytestTarget,
    SuiteTarget,
    accepted,
    advisory,
    load,
    policy_of,
    unmatched,
)

WHOLE = """\
gate: {alpha: 1%, min_effect: 2%, tolerance: 3%, forks: 8, blocks: 160, confirmations: 1}
meters: [modelled]
cases:
  - {name: encode, target: "package.work:encode", args: {n: 100}, tasks: 32}
  - {name: cli, command: [python, -m, package.cli, data.txt]}
  - {name: decode, pytest: "tests/test_speed.py::test_decode"}
  - {suite: configs/quick.yaml, k: onnxruntime}
overrides: {"cli*": {warn: true, min_effect: 5%}}
accept: [{case: encode, up_to: +4%, reason: "checks its input now", expires: 2026-12-31}]
"""


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "gate.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_whole_file_becomes_frozen_data(file):
    config = load(file(WHOLE), today=dt.date(2026, 12, 31))
    assert [type(case) for case in config.cases] == [CallableTarget, CommandTarget, PytestTarget, SuiteTarget]
    assert (config.policy.alpha, config.policy.min_effect, config.policy.blocks) == (0.01, 0.02, 160)
    assert config.cases[3].stem == "quick"
    assert accepted(config, "encode").up_to == pytest.approx(0.04)
    assert msgspec.json.decode(msgspec.json.encode(config.policy))["alpha"] == 0.01


def test_a_case_alone_is_enough_and_the_rest_has_the_policys_defaults(file):
    config = load(file("cases: [{name: a, target: 'm:f'}]"))
    assert (config.policy.forks, config.meters, config.accept) == (8, ("auto",), ())


def test_overrides_hold_for_the_cases_whose_name_matches_and_shares_are_plain_numbers(file):
    config = load(file(WHOLE))
    assert advisory(config, "cli/long")
    assert not advisory(config, "encode")
    assert policy_of(config, "cli").min_effect == 0.05
    assert type(policy_of(config, "cli").min_effect) is float
    assert policy_of(config, "encode").min_effect == 0.02


def test_an_expired_entry_is_listed_and_ignored(file):
    config = load(file(WHOLE), today=dt.date(2027, 1, 1))
    assert accepted(config, "encode") is None
    assert [entry.case for entry in config.expired] == ["encode"]


def test_patterns_and_entries_that_fit_no_case_are_named(file):
    config = load(file(WHOLE))
    assert unmatched(config, ("encode", "cli")) == ()
    assert unmatched(config, ("render",)) == ("overrides.cli*", "accept: encode")


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("tasks: 32", "task: 32", "gate.yaml:4: cases.0.task: unknown key 'task'; did you mean 'tasks'?"),
        ("tasks: 32", "tasks: many", "cases.0.tasks: Expected `int`, got `str`"),
        ("tasks: 32", "tasks: 0", "cases.0.tasks: must be 1 or more"),
        ("alpha: 1%", "alpa: 1%", "gate.yaml:1: gate.alpa: unknown key 'alpa'; did you mean 'alpha'?"),
        ("alpha: 1%", "alpha: 1", "gate.alpha: 1 is not a share; write 2% or 0.02"),
        ("alpha: 1%", "alpha: 60%", "gate.alpha: must lie between 0 and 50%"),
        ("forks: 8", "forks: 2", "gate.forks: must be 6 or more: fewer never decide anything"),
        ("min_effect: 5%", "min_efect: 5%", "did you mean 'min_effect'?"),
        ("up_to: +4%", "upto: 4%", "gate.yaml:9: accept.0.upto: unknown key 'upto'; did you mean 'up_to'?"),
        ("alpha: 1%", "looks: 21", "gate.looks: must be 1 to 20"),
        ("alpha: 1%", "slot_s: .inf", "gate.slot_s: must be longer than zero, and 60 s at most"),
        ("alpha: 1%", "quality_loss: .inf", "gate.quality_loss: must be a number that is not negative"),
        ("min_effect: 5%", "min_effect: -0.05", "gate.yaml:8: overrides.cli*.min_effect: must not be negative"),
        ("min_effect: 5%", "tolerance: 0%", "overrides.cli*.tolerance: must be above zero"),
        ("min_effect: 5%", "quality_loss: -1", "overrides.cli*.quality_loss: must be a number that is not negative"),
        ("up_to: +4%", "up_to: -0.04", "gate.yaml:9: accept.0.up_to: must not be negative"),
        ("name: cli", "name: encode", "gate.yaml:5: cases.1.name: the name 'encode' stands twice"),
        ("meters: [modelled]", "gate: {}", "the key 'gate' stands twice"),
        ("package.work:encode", "package.work.encode", "is not of the form package.module:function"),
        ("test_speed.py::test_decode", "test_speed.py", "is not of the form tests/test_speed.py::test_encode"),
        ("command: [python, -m, package.cli, data.txt]", "command: []", "cases.1.command: name a program"),
        ("k: onnxruntime", "target: 'a:b'", "cases.3: a case has one of target, command, pytest, suite"),
        ("meters: [modelled]\n", "", None),
    ],
)
def test_a_mistake_is_named_with_its_line_its_path_and_the_nearest_key(file, right, wrong, said):
    path = file(WHOLE.replace(right, wrong, 1))
    if said is None:
        load(path)
        return
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_without_cases_shows_the_smallest_one(file):
    with pytest.raises(ConfigError, match="name at least one case, for example"):
        load(file("cases: []"))
