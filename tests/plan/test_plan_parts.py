"""The plan of a suite of several parts: every case knows its part, and is called so that it can be selected."""

import pytest

from harness import config, plan
from harness.errors import ConfigError, UsageError

WORKLOAD = """\
{name: sentence_classification, max_length: 16,
     data: {source: docstrings, limit: {train: 64, validation: 16, test: 32}},
     model: {source: random, layers: LAYERS, hidden: 32, heads: 2, vocabulary: 500}}"""

TWO = f"""\
suite: two
parts:
  - workload: {WORKLOAD.replace("LAYERS", "1")}
    train: [from_scratch]
    infer: {{model_from: [from_scratch], techniques: [torch_eager, length_bucketing], slice: 16}}
    target_quality: 0.9
  - workload: {WORKLOAD.replace("LAYERS", "2")}
    train: [from_scratch, full_finetune]
    infer: {{model_from: [from_scratch], techniques: [torch_eager], slice: 8}}
"""


@pytest.fixture
def expand(tmp_path):
    def make(*overrides, select="", text=TWO):
        path = tmp_path / "two.yaml"
        path.write_text(text, encoding="utf-8")
        return plan.expand(config.load_suite(path, overrides), tmp_path, select)

    return make


def names(made):
    return [made.name_of(case) for case in made.cases]


def test_all_training_comes_before_all_inference_and_every_case_says_its_workload(expand):
    one, two = "sentence_classification[layers=1]", "sentence_classification[layers=2]"
    made = expand()
    assert names(made) == [
        f"{one}/train/from_scratch@cpu",
        f"{two}/train/from_scratch@cpu",
        f"{one}/infer/torch_eager@cpu/offline",
        f"{one}/infer/length_bucketing@cpu/offline",
        f"{two}/infer/torch_eager@cpu/offline",
    ]
    assert [made.part_of[case.case_id] for case in made.cases] == [0, 1, 0, 0, 1]
    assert [made.name_of(skip.case) for skip in made.skips] == [f"{two}/train/full_finetune@cpu"]


def test_a_group_holds_one_workload_and_its_own_model(expand):
    first, second = expand().groups
    assert {case.workload.params["model"]["layers"] for case in first.cases} == {1}
    assert {case.workload.params["model"]["layers"] for case in second.cases} == {2}
    assert {case.trained_by for case in first.cases} != {case.trained_by for case in second.cases}


def test_a_case_is_the_same_case_whether_its_workload_stands_alone_or_in_a_part(expand):
    alone = "suite: one\n" + "\n".join(
        line.removeprefix("  - ").removeprefix("    ") for line in TWO.splitlines()[2:8]
    ).replace("\n ", "\n  ")
    made = expand(text=alone)
    assert made.labels == {}
    assert set(made.case_ids) == {case.case_id for case in expand(select="layers=1").cases}


def test_parts_are_selected_by_what_they_are_called(expand):
    made = expand(select="layers=2 and eager")
    assert names(made) == [
        "sentence_classification[layers=2]/train/from_scratch@cpu",
        "sentence_classification[layers=2]/infer/torch_eager@cpu/offline",
    ]
    named = expand("parts.0.name=small", "parts.1.name=large", select="small")
    assert {name.split("/")[0] for name in names(named)} == {"small"}
    with pytest.raises(UsageError, match="the suite has small/train/from_scratch@cpu, large/train"):
        expand("parts.0.name=small", "parts.1.name=large", select="medium")


def test_a_part_with_a_name_of_its_own_leaves_the_workloads_name_to_the_other(expand):
    assert set(expand("parts.1.name=deep").labels.values()) == {"sentence_classification", "deep"}


def test_parts_that_would_be_called_the_same_are_refused(expand):
    with pytest.raises(ConfigError, match="several would be called 'x'; give each a `name`"):
        expand("parts.0.name=x", "parts.1.name=x")
    with pytest.raises(ConfigError, match="several would be called 'sentence_classification'"):
        expand("parts.1.workload.model.layers=1")


def test_the_same_case_in_two_parts_is_refused(expand):
    with pytest.raises(ConfigError, match="holds train/from_scratch@cpu twice"):
        expand("parts.1.workload.model.layers=1", "parts.0.name=a", "parts.1.name=b")


def test_what_a_part_cannot_use_names_the_part(expand):
    with pytest.raises(ConfigError, match=r"^parts\.1: workload\.name: there is no workload 'nowhere'"):
        expand("parts.1.workload.name=nowhere")
    with pytest.raises(ConfigError, match=r"^parts\.0: there is no train technique 'from_scrach'"):
        expand("parts.0.train=[from_scrach]")


def test_the_estimate_counts_the_groups_of_all_parts(expand, tmp_path):
    made = expand("budget=10h")
    suite = config.load_suite(tmp_path / "two.yaml", ("budget=10h",))
    seconds, unknown = plan.estimate_s(made, suite, [])
    assert seconds == pytest.approx(sum(plan.group_estimate_s(group, suite) for group in made.groups))
    assert len(unknown) == 2
    assert all(name.startswith("sentence_classification[layers=") for name in unknown)
