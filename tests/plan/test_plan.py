"""A plan says what runs, what does not and why, and keeps what its cases need."""

import pytest

from harness import catalogue, config, plan, selecting
from harness.errors import ConfigError, UsageError
from harness.records import Phase


@pytest.fixture
def expand(tiny):
    """Return a function that expands the tiny suite with overrides."""

    def make(*overrides, select=""):
        suite = config.load_suite(tiny, overrides)
        return plan.expand(suite, tiny.parent, select)

    return make


def names(cases):
    return [case.name for case in cases]


def test_train_comes_before_what_infers_with_its_model(expand):
    made = expand()
    assert names(made.cases) == [
        "train/from_scratch@cpu",
        "infer/torch_eager@cpu/offline",
        "infer/length_bucketing@cpu/offline",
    ]
    assert {case.trained_by for case in made.groups[0].cases} == {made.train[0].case_id}


def test_the_baseline_of_a_group_is_the_techniques_that_says_so(expand):
    made = expand("infer.techniques=[length_bucketing, torch_eager]")
    assert made.groups[0].baseline == made.groups[0].cases[1].case_id


def test_expanding_twice_gives_the_same_cases(expand):
    assert expand().case_ids == expand().case_ids


def test_parameters_and_seeds_make_different_cases(expand):
    made = expand("train=[{technique: from_scratch, seeds: [1, 2, 3]}]")
    assert len(set(made.case_ids)) == len(made.case_ids) == 5
    assert [case.seed for case in made.train] == [1, 2, 3]


def test_defaults_spelled_out_are_the_same_case(expand):
    spelled = expand("infer.techniques=[{technique: torch_eager, params: {batch_size: 16}}, length_bucketing]")
    assert spelled.case_ids == expand().case_ids


def test_what_needs_pretrained_weights_is_skipped_with_the_reason(expand):
    made = expand("train=[from_scratch, full_finetune, frozen_features]")
    assert names(made.train) == ["train/from_scratch@cpu"]
    assert [skip.case.technique for skip in made.skips] == ["full_finetune", "frozen_features"]
    assert all("pretrained" in skip.reason for skip in made.skips)


def test_the_first_model_that_is_not_skipped_is_inferred_with(expand):
    made = expand("train=[from_scratch, full_finetune]", "infer.model_from=[full_finetune, from_scratch]")
    assert {case.trained_by for case in made.groups[0].cases} == {made.train[0].case_id}


def test_without_any_model_every_infer_case_is_skipped(expand):
    made = expand("infer.model_from=[full_finetune]")
    assert made.groups == ()
    assert {skip.reason.split(":")[0] for skip in made.skips} == {"no model to infer with"}


def test_a_device_that_is_not_here_skips_everything_on_it(expand):
    made = expand("devices=[cpu, cuda:9]")
    assert {case.device for case in made.cases} == {"cpu"}
    assert {skip.case.device for skip in made.skips} == {"cuda:9"}


def test_each_scenario_is_a_group_of_its_own(expand):
    made = expand("infer.scenarios=[offline, single]")
    assert [{case.scenario for case in group.cases} for group in made.groups] == [{"offline"}, {"single"}]


def test_k_keeps_matching_cases_and_the_training_they_need(expand):
    made = expand(select="bucketing")
    assert names(made.cases) == ["train/from_scratch@cpu", "infer/length_bucketing@cpu/offline"]
    assert made.groups[0].baseline is None


def test_k_that_matches_nothing_is_an_error_that_names_the_cases(expand):
    with pytest.raises(UsageError, match="infer/torch_eager@cpu/offline"):
        expand(select="nothing_like_it")


@pytest.mark.parametrize(
    ("expression", "matches"),
    [
        ("eager", True),
        ("EAGER", True),
        ("eager and infer", True),
        ("eager and not infer", False),
        ("not train", True),
        ("(train or infer) and eager", True),
        ("train or int8", False),
    ],
)
def test_k_reads_like_pytest(expression, matches):
    assert selecting.matcher(expression)("infer/torch_eager@cpu/offline") is matches


@pytest.mark.parametrize("expression", ["and", "eager or", "(eager", "not", "eager infer"])
def test_k_that_cannot_be_read_is_an_error(expression):
    with pytest.raises(UsageError, match="write for example"):
        selecting.matcher(expression)("infer/torch_eager")


def test_an_estimate_names_what_it_leaves_out(expand, tiny):
    made = expand()
    seconds, unknown = plan.estimate_s(made, config.load_suite(tiny), [])
    assert seconds > 0
    assert unknown == ("train/from_scratch@cpu",)


def test_every_phase_has_one_baseline():
    assert catalogue.baseline(Phase.TRAIN) == "from_scratch"
    assert catalogue.baseline(Phase.INFER) == "torch_eager"


def test_a_parameter_that_is_not_there_names_the_nearest():
    technique = catalogue.load(Phase.INFER, "torch_eager")
    with pytest.raises(ConfigError, match="torch_eager has no parameter 'batchsize'; did you mean 'batch_size'"):
        catalogue.parse_params(technique, {"batchsize": 3})


def test_a_module_that_breaks_the_contract_is_told_how():
    import harness.units as not_a_technique

    assert catalogue.violations(not_a_technique, "units", Phase.INFER) == ("it has no INFO = TechniqueInfo(...)",)
