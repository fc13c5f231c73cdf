"""A suite file is read strictly, and a bad one is explained."""

from pathlib import Path

import pytest

from harness.config import Suite, load_suite, locate, write_suite
from harness.errors import ConfigError
from harness.records import WorkloadSpec

MINIMAL = """\
suite: tiny
workload: {name: sentence_classification}
train: [from_scratch]
infer:
  model_from: [from_scratch]
  techniques: [torch_eager]
measure:
  forks: 2
"""


def suite_file(folder: Path, text: str = MINIMAL) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def explanation(folder: Path, text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_suite(suite_file(folder, text), overrides)
    return str(caught.value)


def test_defaults_are_filled_in(tmp_path):
    suite = load_suite(suite_file(tmp_path))
    assert (suite.seed, suite.devices, suite.measure.threads) == (1234, ("cpu",), 1)


def test_an_unknown_key_names_file_line_path_and_nearest_key(tmp_path):
    text = explanation(tmp_path, MINIMAL.replace("forks: 2", "frks: 2"))
    assert f"{tmp_path}/tiny.yaml:8: measure.frks: unknown key 'frks'; did you mean 'forks'?" in text


def test_an_unknown_key_deep_in_a_list_names_its_place(tmp_path):
    text = explanation(tmp_path, MINIMAL.replace("[from_scratch]", "[{technique: from_scratch, parms: {}}]", 1))
    assert "tiny.yaml:3: train.0.parms: unknown key 'parms'; did you mean 'params'?" in text


def test_a_wrong_type_names_the_expected_one(tmp_path):
    text = explanation(tmp_path, MINIMAL.replace("forks: 2", "forks: many"))
    assert "tiny.yaml:8: measure.forks: Expected `int`, got `str`" in text


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("measure.forks=0", "measure.forks: must be from 1 to max_forks"),
        ("measure.blocks=1", "measure.blocks: must be 2 or more"),
        ("measure.confidence=95", "measure.confidence: must lie between 0.5 and 1"),
        ("budget=soon", "budget: 'soon' is not a duration"),
        ("budget=-3", "budget: -3.0 is not a duration"),
        ("infer.scenarios=[ofline]", "infer.scenarios.0: Invalid enum value 'ofline' (valid: offline, single)"),
        ("train=[]", "train: name at least one training technique"),
        ("nonsense", "override 'nonsense' is not of the form dotted.path=value"),
        ("train.7.params={}", "override 'train.7.params={}': train.7 is not in the suite"),
        ("workload={}", "workload.name: name one"),
    ],
)
def test_a_value_that_cannot_work_is_refused(tmp_path, override, message):
    assert message in explanation(tmp_path, MINIMAL, override)


def test_a_key_that_stands_twice_is_refused(tmp_path):
    assert "the key 'suite' stands twice" in explanation(tmp_path, MINIMAL + "suite: again\n")


def test_what_is_not_yaml_is_refused(tmp_path):
    assert "is not YAML" in explanation(tmp_path, "suite: [unclosed\n")


def test_what_is_not_a_mapping_is_refused(tmp_path):
    assert "must be a mapping" in explanation(tmp_path, "- a\n- b\n")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read the suite .*nowhere\.yaml"):
        load_suite(tmp_path / "nowhere.yaml")


def test_overrides_change_the_suite_and_its_hash(tmp_path):
    path = suite_file(tmp_path)
    plain, changed = load_suite(path), load_suite(path, ("measure.forks=3", "infer.techniques.0=length_bucketing"))
    assert (changed.measure.forks, changed.infer.techniques) == (3, ("length_bucketing",))
    assert plain.sha256 != changed.sha256


def test_a_longer_budget_is_still_the_same_suite(tmp_path):
    path = suite_file(tmp_path)
    assert load_suite(path).sha256 == load_suite(path, ("budget=2h",)).sha256


def test_a_written_suite_reads_back_the_same(tmp_path):
    suite = load_suite(suite_file(tmp_path))
    write_suite(suite, tmp_path / "copy.yaml")
    assert load_suite(tmp_path / "copy.yaml") == suite
    assert isinstance(suite, Suite)


def test_relative_paths_are_taken_from_the_suites_folder(tmp_path):
    params = {
        "data": {"source": "file", "train": "a.tsv", "test": "/abs/b.tsv", "text": "sentence"},
        "model": {"source": "folder", "path": "model"},
    }
    located = locate(WorkloadSpec(name="x", params=params), tmp_path)
    assert located.params["data"]["train"] == str(tmp_path / "a.tsv")
    assert located.params["data"]["test"] == "/abs/b.tsv"
    assert located.params["data"]["text"] == "sentence"
    assert located.params["model"]["path"] == str(tmp_path / "model")
