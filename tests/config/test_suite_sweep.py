"""A suite may have axes; what cannot be swept is refused with what could."""

import pytest

from harness import axes
from harness.config import load_suite, write_suite
from harness.errors import ConfigError
from harness.records import Case, Phase, WorkloadSpec

SUITE = """\
suite: sizes
workload: {name: sentence_classification, model: {source: random, layers: 1}}
train: [from_scratch]
infer: {model_from: [from_scratch], techniques: [torch_eager]}
sweep:
  workload.model.layers: [1, 2, 4]
  infer.batch_size: [1, 8]
  measure.threads: [1, 2]
"""


def suite_file(folder, text=SUITE):
    path = folder / "sizes.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def explanation(folder, text, sweep=None):
    with pytest.raises(ConfigError) as caught:
        load_suite(suite_file(folder, text), (), sweep)
    return str(caught.value)


def test_every_combination_is_a_point_and_the_first_has_the_first_values(tmp_path):
    points = list(axes.points(load_suite(suite_file(tmp_path)).sweep))
    assert len(points) == 12
    assert points[0] == {"workload.model.layers": 1, "infer.batch_size": 1, "measure.threads": 1}
    assert axes.label(points[0]) == "layers=1,batch_size=1,threads=1"
    assert axes.on_workload(points[-1]) == {"workload.model.layers": 4}
    assert axes.params_at(points[-1]) == {"batch_size": 8}


def test_a_point_changes_the_workload_and_leaves_the_suite_as_it_is(tmp_path):
    suite = load_suite(suite_file(tmp_path))
    changed = axes.workload_at(suite.workload, {"workload.model.layers": 4, "workload.max_length": 9})
    assert changed["model"] == {"source": "random", "layers": 4}
    assert changed["max_length"] == 9
    assert suite.workload["model"]["layers"] == 1
    with pytest.raises(ConfigError, match=r"sweep\.workload\.name\.x: workload\.name is no mapping"):
        axes.workload_at(suite.workload, {"workload.name.x": 1})


def test_a_case_says_where_it_lies_on_each_axis():
    case = Case(workload=WorkloadSpec(name="w", params={"model": {"layers": 2}}), phase=Phase.INFER, technique="t",
                device="cpu", seed=1, threads=2, params={"batch_size": 8})  # fmt: skip
    found = [axes.value_of(case, axis) for axis in ("workload.model.layers", "infer.batch_size", "measure.threads")]
    assert found == [2, 8, 2]
    assert axes.value_of(case, "workload.model.width") is None


def test_axes_that_end_in_the_same_word_are_called_by_all_of_theirs():
    assert axes.label({"workload.a.size": 1, "workload.b.size": 2}) == "workload.a.size=1,workload.b.size=2"


def test_axes_from_the_command_line_go_over_those_of_the_file(tmp_path):
    suite = load_suite(suite_file(tmp_path), (), {"measure.threads": [1, 4], "workload.max_length": [32, 64]})
    assert suite.sweep["measure.threads"] == (1, 4)
    assert suite.sweep["workload.max_length"] == (32, 64)
    assert len(suite.sweep) == 4
    assert suite.sha256 != load_suite(suite_file(tmp_path)).sha256


def test_a_written_sweep_reads_back_the_same(tmp_path):
    suite = load_suite(suite_file(tmp_path))
    write_suite(suite, tmp_path / "copy.yaml")
    assert load_suite(tmp_path / "copy.yaml") == suite


@pytest.mark.parametrize(
    ("axis", "values", "message"),
    [
        ("measure.thread", [1, 2], "did you mean 'measure.threads'? (valid: workload.<parameter>"),
        ("measure.forks", [1, 2], "cannot be swept"),
        ("train.params.epochs", [1, 2], "cannot be swept"),
        ("workload", [1, 2], "cannot be swept"),
        ("workload.name", ["a", "b"], "joules of unlike tasks have no ratio"),
        ("infer.slice", [1, 2], "infer.slice is the same for all points"),
        ("infer.a.b", [1, 2], "cannot be swept"),
        ("workload.size", ["tiny"], "at least two values"),
        ("workload.size", ["tiny", "tiny"], "a value stands twice"),
        ("workload.size", [["tiny"], ["mini"]], "values must be words or numbers"),
        ("measure.threads", [0, 1], "threads are whole numbers from 1 on"),
        ("infer.batch_size", [8, 64], "a batch of 64 is never full, 32 are handed over at once; set infer.slice=64"),
    ],
)
def test_an_axis_that_cannot_be_swept_is_refused(tmp_path, axis, values, message):
    text = explanation(tmp_path, SUITE, {axis: values})
    assert f"sweep.{axis}: " in text
    assert message in text


def test_the_line_of_a_wrong_axis_is_named(tmp_path):
    wrong = SUITE.replace("measure.threads", "measure.thread")
    assert "sizes.yaml:8: sweep.measure.thread: " in explanation(tmp_path, wrong)
    assert "sizes.yaml:5: sweep" in explanation(tmp_path, SUITE.replace("[1, 8]", "many"))


def test_a_sweep_needs_one_workload_and_inference(tmp_path):
    assert "sweep: measures inference" in explanation(tmp_path, SUITE.replace("infer: {", "budget: 3m  # {"))
    parts = "suite: x\nparts: [{workload: {name: w}, train: [t], infer: {model_from: [t], techniques: [e]}}]\n"
    text = explanation(tmp_path, parts, {"measure.threads": [1, 2]})
    assert "sweep: goes over one workload" in text


def test_a_sweep_that_is_no_mapping_is_refused(tmp_path):
    text = SUITE.split("sweep:", maxsplit=1)[0] + "sweep: [1]\n"
    assert "sweep" in explanation(tmp_path, text, {"measure.threads": [1, 2]})
