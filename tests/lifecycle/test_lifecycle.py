"""Training, building and N requests together."""

import msgspec
import pytest

from harness.lifecycle import PUBLISHED_SPLITS, cheapest_at, energy_at, inference_share, lifecycle, total_at
from harness.stats import Payback


@pytest.fixture
def exact(make, tmp_path):
    """Return a lifecycle whose truth is exact: 100 J of training, 20 and 10 mJ a task, 30 J more of building."""
    train = make.train_record("full", chunk_j=24.0, setup_j=4.0, curve=(0.1, 0.4, 0.6, 0.8, 0.9), spread=0)
    truths = (make.Truth("torch_eager", 1.0, build_j=1.0), make.Truth("half", 0.5, build_j=31.0),
              make.Truth("dear", 1.5, build_j=1.0))  # fmt: skip
    noise = make.Noise(block_sd=0.001, drift_sd=0)
    records = make.infer_group(truths, base_j=0.02, noise=noise, trained_by=train.case_id)
    found = lifecycle(make.fake_run(tmp_path, (train, *records)), make.BASELINES)
    return {each.infer_technique: each for each in found.pipelines}


def test_inference_overtakes_training_at_their_ratio(exact):
    assert exact["torch_eager"].parity_tasks == pytest.approx(5000, rel=0.01)
    assert exact["half"].parity_low < 10_000 < exact["half"].parity_high
    n = exact["half"].parity_tasks
    half = exact["half"]
    assert n * half.per_task.estimate == pytest.approx(half.train_j)


def test_energy_and_share_at_n_count_training_building_and_tasks(exact):
    assert energy_at(exact["half"], 1000) == pytest.approx(100 + 31 + 10, rel=0.01)
    assert inference_share(exact["half"], 1000) == pytest.approx(10 / 141, rel=0.02)


def test_a_costlier_build_is_paid_back_after_extra_over_saving(exact):
    paid = exact["half"].against_baseline
    assert paid.tasks == pytest.approx(3000, rel=0.01)
    assert paid.low < 3000 < paid.high
    assert exact["dear"].against_baseline.payback is Payback.NEVER
    assert exact["torch_eager"].against_baseline is None


def test_the_cheapest_pipeline_changes_with_n(exact):
    pipelines = tuple(exact.values())
    assert cheapest_at(pipelines, 1000).pipeline == "full + torch_eager"
    assert cheapest_at(pipelines, 10_000).pipeline == "full + half"


def test_a_cheaper_pipeline_that_may_be_worse_is_not_called_cheapest(make, tmp_path):
    found = lifecycle(make.realistic_run(tmp_path), make.BASELINES)
    assert {each.infer_technique: each.not_worse for each in found.pipelines}["onnxruntime_int8_dynamic"] is False
    assert {each.pipeline for each in found.cheapest} == {"full_finetune + length_bucketing"}
    assert [each.requests for each in found.cheapest] == [10**n for n in range(3, 10)]


def test_a_model_from_elsewhere_is_a_gap(make, tmp_path):
    records = make.infer_group((make.Truth("torch_eager"),), trained_by="0123456789ab")
    found = lifecycle(make.fake_run(tmp_path, records), make.BASELINES)
    assert found.pipelines == ()
    assert found.gaps == ("infer/torch_eager@cpu/offline: the training of its model is not in this run",)


def test_training_is_the_mean_over_seeds(make, tmp_path):
    trainings = [make.train_record("full", chunk_j=j, curve=(0.1, 0.5, 0.8), seed=seed, spread=0, setup_j=0.0)
                 for seed, j in ((1, 40.0), (2, 50.0), (3, 60.0))]  # fmt: skip
    records = make.infer_group((make.Truth("torch_eager"),), trained_by=trainings[0].case_id)
    (found,) = lifecycle(make.fake_run(tmp_path, (*trainings, *records)), make.BASELINES).pipelines
    assert found.train_j == pytest.approx(100.0)


def test_published_shares_say_what_they_are_a_share_of():
    assert len({each.share_of for each in PUBLISHED_SPLITS}) == len(PUBLISHED_SPLITS) == 4
    assert msgspec.to_builtins(PUBLISHED_SPLITS)[0]["inference_share_high"] == 0.9


def test_where_modelled_joules_weigh_more_in_training_their_error_is_in_the_number_of_requests(make, tmp_path):
    heavy, light = make.MixedMaker(gpu_share=0.1), make.MixedMaker(gpu_share=0.9)
    train = make.train_record("full", chunk_j=24.0, setup_j=4.0, curve=(0.1, 0.4, 0.6, 0.9), maker=heavy)
    noise = make.Noise(block_sd=0.001, drift_sd=0)
    infers = make.infer_group((make.Truth("torch_eager"),), noise=noise, trained_by=train.case_id, maker=light)
    (found,) = lifecycle(make.fake_run(tmp_path, (train, *infers)), make.BASELINES).pipelines
    assert found.parity_low / found.parity_tasks < (0.1 + 0.7 * 0.9) / (0.9 + 0.7 * 0.1) < 1
    assert found.parity_high / found.parity_tasks > (0.1 + 1.4 * 0.9) / (0.9 + 1.4 * 0.1) > 1
    assert total_at(found, 1000).energy_j == pytest.approx(energy_at(found, 1000))
    assert total_at(found, 10**9).label == "mixed: 90 % counter, 10 % modelled"
