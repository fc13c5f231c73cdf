"""A suite of several parts has a workload in each, and everything else once."""

import msgspec
import pytest

from harness.config import Part, Suite, load_suite, write_suite
from harness.errors import ConfigError

TWO = """\
suite: two
parts:
  - workload: {name: sentence_classification}
    train: [from_scratch]
    target_quality: 0.6
  - name: long
    workload: {name: sentence_classification, max_length: 128}
    train: [{technique: from_scratch, params: {epochs: 2}}]
    infer:
      model_from: [from_scratch]
      techniques: [torch_eager]
measure: {forks: 2}
"""

ONE = """\
suite: one
workload: {name: sentence_classification}
train: [from_scratch]
target_quality: 0.6
"""


def suite_file(folder, text=TWO):
    path = folder / "two.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def explanation(folder, text, *overrides):
    with pytest.raises(ConfigError) as caught:
        load_suite(suite_file(folder, text), overrides)
    return str(caught.value)


def test_each_part_has_its_workload_its_techniques_and_its_target(tmp_path):
    short, long = load_suite(suite_file(tmp_path)).all_parts
    assert short.workload_spec.params == {}
    assert long.workload_spec.params == {"max_length": 128}
    assert (short.target_quality, long.target_quality) == (0.6, None)
    assert (short.infer, long.infer.techniques) == (None, ("torch_eager",))
    assert (short.name, long.name) == ("", "long")


def test_a_suite_of_one_workload_is_one_part(tmp_path):
    suite = load_suite(suite_file(tmp_path, ONE))
    (part,) = suite.all_parts
    assert part == Part(
        workload={"name": "sentence_classification"}, train=("from_scratch",), target_quality=0.6, stop_at_target=True
    )


def test_a_suite_of_one_workload_keeps_the_hash_it_had_before_there_were_parts(tmp_path):
    plain = load_suite(suite_file(tmp_path, ONE)).plain
    assert set(plain) == {
        "suite", "workload", "train", "infer", "devices", "target_quality", "stop_at_target", "measure", "budget",
        "seed",
    }  # fmt: skip


@pytest.mark.parametrize("key", ["workload", "train", "infer", "target_quality", "stop_at_target"])
def test_both_forms_at_once_are_refused_with_the_line_of_the_key_that_is_too_much(tmp_path, key):
    value = {"workload": "{name: x}", "train": "[from_scratch]", "infer": "null", "target_quality": "0.5"}
    text = f"{TWO}{key}: {value.get(key, 'true')}\n"
    line = len(text.splitlines())
    assert f"two.yaml:{line}: {key}: stands beside `parts`" in explanation(tmp_path, text)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("parts=[]", "parts: name at least one part"),
        ("parts.1.infer.slice=0", "two.yaml:9: parts.1.infer.slice: must be 1 or more"),
        ("parts.0.train=[]", "two.yaml:4: parts.0.train: name at least one training technique"),
        ("parts.0.workload={}", "two.yaml:3: parts.0.workload.name: name one"),
        ("parts.1.name=a b", "two.yaml:6: parts.1.name: must be one word"),
        ("parts.1.infer.scenarios=[ofline]", "parts.1.infer.scenarios.0: Invalid enum value 'ofline'"),
        ("parts.7.name=x", "parts.7 is not in the suite"),
    ],
)
def test_what_cannot_work_in_a_part_is_refused_with_its_place(tmp_path, override, message):
    assert message in explanation(tmp_path, TWO, override)


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        (TWO.replace("target_quality", "target_qualty"), "two.yaml:5: parts.0.target_qualty: unknown key"),
        (TWO.replace("model_from", "model_form"), "two.yaml:10: parts.1.infer.model_form: unknown key"),
        (TWO.replace("params", "parms"), "two.yaml:8: parts.1.train.0.parms: unknown key"),
        (TWO.replace("\nparts:", "\nprats:"), "two.yaml:2: prats: unknown key"),
    ],
)
def test_an_unknown_key_names_the_nearest_one_of_its_place(tmp_path, wrong, place):
    text = explanation(tmp_path, wrong)
    assert place in text
    nearest = {"target_qualty": "target_quality", "model_form": "model_from", "parms": "params", "prats": "parts"}
    assert f"did you mean '{nearest[text.split(chr(39))[1]]}'" in text


def test_a_part_without_a_workload_is_refused(tmp_path):
    assert "parts.0" in explanation(tmp_path, "suite: x\nparts:\n  - train: [from_scratch]\n")


def test_an_override_reaches_into_a_part(tmp_path):
    suite = load_suite(suite_file(tmp_path), ("parts.0.workload.max_length=32", "parts.1.train.0.params.epochs=5"))
    assert suite.all_parts[0].workload_spec.params == {"max_length": 32}
    assert suite.all_parts[1].train[0].params == {"epochs": 5}
    assert suite.sha256 != load_suite(suite_file(tmp_path)).sha256


@pytest.mark.parametrize("text", [ONE, TWO])
def test_a_written_suite_of_either_form_reads_back_the_same(tmp_path, text):
    suite = load_suite(suite_file(tmp_path, text))
    write_suite(suite, tmp_path / "copy.yaml")
    assert load_suite(tmp_path / "copy.yaml") == suite
    assert msgspec.convert(suite.plain, Suite) == suite
