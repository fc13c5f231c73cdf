"""What the report says in words, on runs whose truth is known."""

import re

import msgspec
import pytest

from harness import report
from harness.records import Doubt, Failed, Provenance
from harness.report import wider_words
from harness.report.model import Kind


def said(make, run, kind=None):
    found = report.build(run, make.BASELINES).sentences
    return [each.text for each in found if kind is None or each.kind is kind]


@pytest.fixture
def run(make, tmp_path):
    maker = make.Maker(provenance=Provenance.MODELLED, low=0.7, high=1.4)
    return make.realistic_run(tmp_path, maker)


def test_the_first_sentence_is_the_advice_with_its_interval_and_the_accuracy(make, run):
    first = said(make, run)[0]
    assert first.startswith("Use length_bucketing: it draws 4")
    assert "% less energy a task than torch_eager" in first
    assert "family-wise 95 % interval 0.5" in first
    assert "its outputs are the same as torch_eager's (largest difference 3e-06 on 420 test items)" in first


def test_a_cheaper_technique_with_unsettled_accuracy_is_named_with_the_items_it_needs(make, run):
    (text,) = [each for each in said(make, run) if each.startswith("onnxruntime_int8_dynamic draws")]
    assert "its accuracy is not settled: −1.0 points" in text
    assert "test items would settle it at the rates seen (420 were used)" in text


def test_what_saved_nothing_is_said_to_save_nothing(make, run):
    assert any(each.startswith("torch_compile saved nothing: it draws 1") for each in said(make, run, Kind.COSTS))
    assert any(each.startswith("onnxruntime_fp32 showed no saving") for each in said(make, run, Kind.UNDECIDED))


def test_when_nothing_saves_the_baseline_is_kept(make, tmp_path):
    records = make.infer_group((make.Truth("torch_eager"), make.Truth("worse", 1.3)))
    assert said(make, make.fake_run(tmp_path, records))[0].startswith("Keep torch_eager (22.")


def test_a_saving_at_the_price_of_accuracy_is_not_advised(make, tmp_path):
    records = make.infer_group((make.Truth("torch_eager"), make.Truth("lossy", 0.3, accuracy_flips=(0, 60))))
    first, second, *_ = said(make, make.fake_run(tmp_path, records))
    assert first.startswith("Keep torch_eager")
    assert "at the price of accuracy: −14.3 points" in second


def test_training_says_who_reaches_the_target_and_who_does_not(make, run):
    texts = said(make, run, Kind.TRAINING)
    assert texts[0].startswith(
        "full_finetune reaches the target of 80.0 % validation accuracy for the fewest joules: 1"
    )
    assert "from_scratch: the target of 80.0 % validation accuracy was not reached within 24" in " ".join(texts)


def test_without_a_target_trainings_are_not_ranked(make, tmp_path):
    full, slow = (make.train_record(name, chunk_j=10.0, curve=(0.1, 0.5, 0.8)) for name in ("full", "slow"))
    (text,) = said(make, make.fake_run(tmp_path, (full, slow)), Kind.TRAINING)
    assert text.startswith(
        "No target quality was set, so trainings are not ranked: full ended at 80.0 % test accuracy (the best constant "
        "answer: 27.0 %) for "
    )


def test_a_training_on_its_own_is_not_said_to_be_unranked(make, tmp_path):
    run = make.fake_run(tmp_path, (make.train_record("full", chunk_j=10.0, curve=(0.1, 0.5, 0.8)),))
    (text,) = said(make, run, Kind.TRAINING)
    assert text.startswith("full ended at 80.0 % test accuracy (the best constant answer: 27.0 %) for ")
    assert text.endswith(" J; no target quality was set.")


def test_what_a_training_learned_leads_where_nothing_is_compared_and_no_target_was_set(make, tmp_path):
    good, poor = (make.train_record(name, chunk_j=9.0, curve=(0.1, end)) for name, end in (("a", 0.4), ("b", 0.28)))
    (one,) = said(make, make.fake_run(tmp_path / "one", (good,)), Kind.RECOMMEND)
    assert one.startswith("a is shown to have learned: its test accuracy, 40.")
    assert one.endswith(" %), is above the 27.0 % of the best constant answer.")
    (two,) = said(make, make.fake_run(tmp_path / "two", (good, poor)), Kind.RECOMMEND)
    assert two.startswith("1 of 2 trainings is shown to have learned: ")
    assert two.endswith(", which is not shown of the others.")
    assert said(make, make.fake_run(tmp_path / "poor", (poor,)), Kind.RECOMMEND) == []


def test_a_training_has_learned_if_its_poorest_seed_has(make, tmp_path):
    ends = {1: 0.9, 2: 0.28, 3: 0.8}
    seeds = [make.train_record("a", chunk_j=9.0, curve=(0.1, end), seed=seed) for seed, end in ends.items()]
    (nothing,) = [text for text in said(make, make.fake_run(tmp_path, tuple(seeds))) if "to have learned" in text]
    assert nothing.startswith("a is not shown to have learned anything: its test accuracy in the poorest of 3 seeds, ")
    (learned,) = said(make, make.fake_run(tmp_path, (seeds[0], seeds[2])), Kind.RECOMMEND)
    assert learned.startswith("a is shown to have learned: its test accuracy in the poorest of 2 seeds, 80.")


def test_all_seeds_are_in_the_quality_that_is_told(make, tmp_path):
    ends = {1: 0.5, 2: 0.3, 3: 0.8}
    seeds = [make.train_record("a", chunk_j=9.0, curve=(0.1, end), seed=seed) for seed, end in ends.items()]
    content = report.build(make.fake_run(tmp_path, tuple(seeds)), make.BASELINES)
    (text,) = [each.text for each in content.sentences if " ended at " in each.text]
    assert re.match(r"a ended at 30\.\d–80\.\d % test accuracy .* J \(mean\) in 3 of 3 seeds;", text), text
    (table,) = [table for table in content.tables if table.key == "training"]
    cell = table.rows[0][[column.name for column in table.columns].index("test accuracy")]
    assert re.fullmatch(r"30\.\d–80\.\d %", cell.text), cell
    assert cell.detail == "3 seeds"
    assert any("are the first seed's" in note for note in table.notes)


def test_what_was_learned_does_not_lead_where_a_target_or_a_comparison_says_more(make, run, tmp_path):
    aimed = make.fake_run(tmp_path, (make.train_record("a", chunk_j=9.0, curve=(0.1, 0.9), target=0.8),))
    for each in (run, aimed):
        assert not any("to have learned" in text for text in said(make, each, Kind.RECOMMEND))


def test_a_training_that_is_no_better_than_a_constant_answer_is_said_to_show_nothing(make, tmp_path):
    good, poor = (make.train_record(name, chunk_j=9.0, curve=(0.1, end)) for name, end in (("a", 0.4), ("b", 0.28)))
    texts = said(make, make.fake_run(tmp_path, (good, poor)), Kind.TRAINING)
    (nothing,) = [text for text in texts if "learned" in text]
    assert nothing.startswith("b is not shown to have learned anything: its test accuracy, 28.1 % (")
    assert nothing.endswith("), is not above the 27.0 % of the best constant answer.")


def test_payback_and_parity_are_said(make, run):
    texts = " ".join(said(make, run))
    assert "Building onnxruntime_int8_dynamic costs 28.9 J more than building torch_eager, paid back after 2," in texts
    assert "Inference with length_bucketing overtakes its training by full_finetune" in texts
    assert "At 1 million requests the cheapest pipeline measured" in texts


def test_modelled_joules_are_called_modelled_with_their_factor(make, run):
    (text,) = said(make, run, Kind.PROVENANCE)
    assert "modelled, not metered: W per vCPU × CPU-seconds (cpu_watts@1:EPYC 3" in text
    assert "by a factor of 0.700 to 1.40" in text


def test_a_counter_is_called_a_counter_with_what_its_refresh_leaves_open(make, tmp_path):
    run = make.realistic_run(tmp_path, make.Maker(provenance=Provenance.COUNTER, low=0.98, high=1.03))
    (text,) = said(make, run, Kind.PROVENANCE)
    assert text.startswith("The joules are known by counter from")
    assert "leaves a factor of 0.980 to 1.03; their gain error is not in that" in text


@pytest.mark.parametrize(
    ("provenance", "words"),
    [
        (Provenance.INTEGRATED_POWER, "integrated from readings of power"),
        (Provenance.ATTRIBUTED, "attributed: the share of the case, by CPU time"),
        (Provenance.IMPORTED, "imported as another tool gave them"),
        (Provenance.FAKE, "fake: they come from a meter for tests"),
    ],
)
def test_every_provenance_is_explained_and_names_domain_and_meter(make, tmp_path, provenance, words):
    (text,) = said(make, make.realistic_run(tmp_path, make.Maker(provenance=provenance)), Kind.PROVENANCE)
    assert words in text
    assert f"(cpu-process by {provenance.value})" in text


MIXED = "mixed: 80 % counter, 20 % modelled"


@pytest.fixture
def mixed(make, tmp_path):
    return make.realistic_run(tmp_path, make.MixedMaker())


def test_every_total_in_a_sentence_says_that_it_is_mixed_with_its_shares(make, mixed):
    texts = said(make, mixed)
    assert f"mJ [both {MIXED}] (ratio" in texts[0]
    with_joules = [each for each in texts[1:-1] if re.search(r"\d [nµmkM]?J\b", each)]
    assert len(with_joules) > 5
    for text in with_joules:
        assert len(re.findall(r"\d [nµmkM]?J\b", text)) == text.count(f"J [{MIXED}]"), text


def test_mixed_joules_name_their_shares_domains_and_meters_and_that_the_model_does_not_cancel(make, mixed):
    (text,) = said(make, mixed, Kind.PROVENANCE)
    assert "80 % counter (gpu0 by nvml); 20 % modelled (cpu-process by modelled, cpu_watts@1:EPYC 3)" in text
    assert "does not cancel in ratios, so it is in their intervals" in text
    assert "with the model's error" in said(make, mixed)[0]


def test_cases_that_are_known_in_unlike_ways_are_named_and_not_ranked(make, tmp_path):
    counted = make.Maker(provenance=Provenance.COUNTER)
    modelled = make.Maker(provenance=Provenance.MODELLED, low=0.7, high=1.4)
    curve = (0.1, 0.5, 0.9)
    trainings = (
        make.train_record("a_a", chunk_j=9.0, curve=curve, target=0.8, maker=counted),
        make.train_record("b_b", chunk_j=5.0, curve=curve, target=0.8, maker=modelled),
    )
    base, other = make.infer_group((make.Truth("torch_eager"), make.Truth("c_c", 0.5)), maker=counted)
    (odd,) = make.infer_group((make.Truth("d_d", 0.3),), maker=modelled)
    run = make.fake_run(tmp_path, (*trainings, base, other, odd))
    texts = said(make, run)
    assert texts[0].startswith("Use c_c")
    assert any(each.startswith("d_d could not be compared: energy ratio: cpu-process is known") for each in texts)
    (ranking,) = [each for each in texts if each.startswith("Trainings that reach")]
    assert "are not ranked, because their joules are known in unlike ways: " in ranking
    assert re.search(r"b_b 1\d\.\d J \[modelled\]; a_a 2\d\.\d J \[counter\]", ranking)
    assert (
        "counter: train/a_a@cpu, infer/torch_eager@cpu/offline, infer/c_c@cpu/offline; modelled: train/b_b" in texts[-1]
    )


def test_pipelines_whose_joules_are_known_in_unlike_ways_have_no_cheapest(make, tmp_path):
    makers = (make.Maker(provenance=Provenance.COUNTER), make.Maker(provenance=Provenance.MODELLED, low=0.7, high=1.4))
    records = []
    for name, maker in zip(("one", "two"), makers, strict=True):
        train = make.train_record(name, chunk_j=9.0, curve=(0.1, 0.9), maker=maker)
        records += [train, *make.infer_group((make.Truth("torch_eager"),), maker=maker, trained_by=train.case_id)]
    report_of = report.build(make.fake_run(tmp_path, tuple(records)), make.BASELINES)
    assert len(report_of.lifecycle.pipelines) == 2
    assert report_of.lifecycle.cheapest == ()
    assert any(each.startswith("pipelines are not ranked") for each in report_of.doubts)
    assert not any("the cheapest pipeline" in each.text for each in report_of.sentences)


def test_training_and_inference_known_in_unlike_ways_make_no_pipeline(make, tmp_path):
    train = make.train_record("one", chunk_j=9.0, curve=(0.1, 0.9), maker=make.Maker(provenance=Provenance.COUNTER))
    maker = make.Maker(provenance=Provenance.MODELLED, low=0.7, high=1.4)
    infers = make.infer_group((make.Truth("torch_eager"),), maker=maker, trained_by=train.case_id)
    found = report.build(make.fake_run(tmp_path, (train, *infers)), make.BASELINES)
    assert found.lifecycle.pipelines == ()
    assert any("known in another way" in each for each in found.doubts)


def test_overlapping_windows_and_held_down_clocks_are_told(make, tmp_path):
    truths = (make.Truth("torch_eager"), make.Truth("b", doubts=(Doubt.WINDOWS_OVERLAP, Doubt.THROTTLED)))
    doubts = report.build(make.fake_run(tmp_path, make.infer_group(truths)), make.BASELINES).doubts
    assert any(each.startswith("WINDOWS_OVERLAP") and "do not add them up" in each for each in doubts)
    assert any(each.startswith("THROTTLED") and "held its clocks down" in each for each in doubts)


def test_every_doubt_has_a_meaning():
    assert set(wider_words._DOUBTS) == set(Doubt)


def test_busy_windows_are_counted(make, tmp_path):
    run = make.realistic_run(tmp_path, make.Maker(busy=1.0))
    (line,) = [each for each in report.build(run, make.BASELINES).doubts if each.startswith("HOST_BUSY")]
    assert "(100%)" in line


def test_a_doubt_of_a_case_is_told(make, tmp_path):
    records = make.infer_group((make.Truth("torch_eager"), make.Truth("b", doubts=(Doubt.OUTPUTS_DIFFER,))))
    doubts = report.build(make.fake_run(tmp_path, records), make.BASELINES).doubts
    assert any(each.startswith("OUTPUTS_DIFFER") for each in doubts)


def test_failed_skipped_and_waiting_cases_are_told(make, run):
    waiting = make.FakeRun(
        run.folder, msgspec.structs.replace(run.info, case_ids=(*run.info.case_ids, "f" * 12)), run.records
    )
    doubts = report.build(waiting, make.BASELINES).doubts
    assert "1 of 11 cases failed" in doubts
    assert "1 of 11 cases skipped" in doubts
    assert "1 of 11 cases have no record yet: the run is not finished" in doubts


def test_scenarios_are_told_apart(make, tmp_path):
    truths = (make.Truth("torch_eager"), make.Truth("b_b", 0.5))
    records = (*make.infer_group(truths), *make.infer_group(truths, scenario="single"))
    advice = said(make, make.fake_run(tmp_path, records), Kind.RECOMMEND)
    assert [each.split(":")[0] for each in advice] == ["On cpu/offline", "On cpu/single"]


def test_failure_of_the_baseline_is_the_advice(make, tmp_path):
    base, other = make.infer_group((make.Truth("torch_eager"), make.Truth("b")))
    base = msgspec.structs.replace(base, outcome=Failed(error="WorkerFailed", message="killed"), windows=())
    first = said(make, make.fake_run(tmp_path, (base, other)))[0]
    assert first == "No technique can be recommended: the baseline failed: WorkerFailed: killed."
