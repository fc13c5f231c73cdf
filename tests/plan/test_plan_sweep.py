"""The plan of a sweep: one training a workload, one interleaved group over all points and techniques."""

from pathlib import Path

import pytest

from harness import config, plan
from harness.errors import ConfigError

SWEEP = """\
suite: sizes
workload:
  name: sentence_classification
  data: {source: docstrings, limit: {train: 64, validation: 16, test: 32}}
  model: {source: random, layers: 1, hidden: 32, heads: 2, vocabulary: 500}
  max_length: 16
train: [{technique: from_scratch, params: {epochs: 1}}]
infer: {model_from: [from_scratch], techniques: [length_bucketing, torch_eager], slice: 16}
sweep:
  workload.model.layers: [1, 2]
  infer.batch_size: [4, 8]
  measure.threads: [1, 2]
"""


@pytest.fixture
def expand(tmp_path):
    def make(*overrides, select="", sweep=None):
        path = tmp_path / "sizes.yaml"
        path.write_text(SWEEP, encoding="utf-8")
        return plan.expand(config.load_suite(path, overrides, sweep), tmp_path, select)

    return make


def test_each_workload_is_trained_once_and_all_points_are_one_group(expand):
    made = expand()
    assert [made.name_of(case) for case in made.train] == [
        "layers=1/train/from_scratch@cpu",
        "layers=2/train/from_scratch@cpu",
    ]
    (group,) = made.groups
    assert len(group.cases) == 2 * 2 * 2 * 2
    assert len(set(made.case_ids)) == len(made.case_ids)


def test_every_point_infers_with_the_model_of_its_workload(expand):
    made = expand()
    by_id = {case.case_id: case for case in made.train}
    for case in made.groups[0].cases:
        assert by_id[case.trained_by].workload == case.workload
        assert {case.threads} <= {1, 2}
        assert case.params["batch_size"] in (4, 8)


def test_training_runs_at_the_suites_own_threads(expand):
    assert {case.threads for case in expand("measure.threads=3").train} == {3}


def test_the_baseline_is_the_first_point_of_the_baseline_technique(expand):
    (group,) = expand().groups
    base = next(case for case in group.cases if case.case_id == group.baseline)
    assert base.technique == "torch_eager"
    assert (base.workload.params["model"]["layers"], base.params["batch_size"], base.threads) == (1, 4, 1)


def test_without_a_baseline_technique_it_is_the_first_point(expand):
    (group,) = expand("infer.techniques=[length_bucketing]").groups
    assert group.baseline == group.cases[0].case_id


def test_points_are_selected_by_their_values(expand):
    made = expand(select="layers=2 and threads=1 and eager")
    assert {made.name_of(case) for case in made.groups[0].cases} == {
        "layers=2,batch_size=4,threads=1/infer/torch_eager@cpu/offline",
        "layers=2,batch_size=8,threads=1/infer/torch_eager@cpu/offline",
    }
    assert [made.name_of(case) for case in made.train] == ["layers=2/train/from_scratch@cpu"]


def test_each_scenario_is_a_group_of_its_own(expand):
    made = expand("infer.scenarios=[offline, single]")
    assert [len(group.cases) for group in made.groups] == [16, 16]


def test_a_plan_says_how_many_workers_are_alive_at_once(expand):
    assert "16 workers are alive at once" in expand().note


def test_a_parameter_that_a_technique_does_not_have_names_the_point_and_the_nearest(expand):
    with pytest.raises(ConfigError, match=r"sweep at .*batchsize=4.*has no parameter 'batchsize'; did you mean"):
        expand(sweep={"infer.batchsize": [4, 8]})


def test_the_suite_on_scaling_measures_four_sizes_of_bert_in_turns_from_random_weights():
    path = Path(__file__).parents[2] / "configs" / "scaling.yaml"
    made = plan.expand(config.load_suite(path), path.parent)
    (group,) = made.groups
    assert [case.workload.params["size"] for case in group.cases] == ["tiny", "mini", "small", "base"]
    assert {case.technique for case in made.train} == {"untrained"}


def test_a_device_that_is_not_here_skips_its_points_once_each(expand):
    made = expand("devices=[cpu, cuda:9]")
    assert len(made.skips) == 2 + 16
    assert len(set(made.case_ids)) == len(made.case_ids)
