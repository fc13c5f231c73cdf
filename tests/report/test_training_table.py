"""Energy a step and an example, other measures beside the quality, targets that were not reached."""

import msgspec
import pytest

from harness import report, stats
from harness.errors import NotMeasured


def row(make, folder, *records):
    content = report.build(make.fake_run(folder, records), make.BASELINES)
    (table,) = [table for table in content.tables if table.key == "training"]
    names = [column.name for column in table.columns]
    return dict(zip(names, table.rows[0], strict=True))


def test_energy_a_step_is_all_that_training_is_billed_over_its_steps(make, tmp_path):
    record = make.train_record("full", chunk_j=24.0, setup_j=4.0, curve=(0.1, 0.4, 0.6, 0.8, 0.9), spread=0)
    found = row(make, tmp_path, record)
    assert record.curve[-1].steps == 32
    assert found["energy a step"].text == "3.12 J"
    assert found["energy an example"].text == "100 mJ"
    assert (found["steps"].text, found["examples"].text) == ("32", "1,000")


def test_its_interval_is_that_of_the_training(make):
    record = make.train_record("full", chunk_j=24.0, curve=(0.1, 0.4, 0.6, 0.8, 0.9), spread=0.1)
    whole, step = stats.training_interval((record,), 0.95), stats.training_per((record,), (32,), 0.95)
    assert step.low_j == pytest.approx(whole.low_j / 32)
    assert step.high_j == pytest.approx(whole.high_j / 32)
    assert step.spread is whole.spread
    assert step.total.provenance is whole.total.provenance


def test_seeds_that_stopped_at_unlike_steps_are_weighed_by_them(make):
    curves = ((0.1, 0.5, 0.9), (0.1, 0.3, 0.5, 0.9), (0.1, 0.3, 0.5, 0.7, 0.9))
    records = [
        make.train_record("full", chunk_j=16.0, setup_j=0.0, curve=curve, seed=seed, spread=0.02)
        for seed, curve in enumerate(curves)
    ]
    counts = [record.curve[-1].steps for record in records]
    assert counts == [16, 24, 32]
    step = stats.training_per(records, counts, 0.95)
    assert step.total.energy_j == pytest.approx(2.0, rel=0.03)
    assert step.low_j < 2.0 < step.high_j
    two = stats.training_per(records[:2], counts[:2], 0.95)
    assert (two.low_j, two.spread) == (None, stats.Spread.NONE)


def test_what_nothing_repeats_in_has_no_interval_and_says_so(make, tmp_path):
    found = row(make, tmp_path, make.train_record("full", chunk_j=24.0, curve=(0.1, 0.9)))
    assert found["energy a step"].detail == "no interval"
    assert "nothing repeats" in found["energy to the end"].detail


def test_a_training_without_steps_has_no_energy_a_step(make, tmp_path):
    record = make.train_record("as_drawn", chunk_j=1.0, curve=(0.1,))
    assert stats.steps_trained(record) == 0
    with pytest.raises(NotMeasured, match="trained no step"):
        stats.training_per((record,), (0,), 0.95)
    found = row(make, tmp_path, record)
    assert found["energy a step"].text == "–"
    assert "trained no step" in found["energy a step"].detail


def test_measures_beside_the_quality_have_columns_of_their_own(make, tmp_path):
    record = make.train_record("full", chunk_j=24.0, curve=(0.1, 0.9))
    found = row(make, tmp_path, msgspec.structs.replace(record, measures={"perplexity": 31.47, "loss_nats": 3.449}))
    assert (found["perplexity"].text, found["loss nats"].text) == ("31.5", "3.45")


def test_what_takes_no_model_stands_beside_what_was_learned(make, tmp_path):
    found = row(make, tmp_path, make.train_record("full", chunk_j=24.0, curve=(0.1, 0.9)))
    assert (found["test accuracy"].text, found["without a model"].text) == ("90.0 %", "27.0 %")
    assert found["without a model"].detail == "the best constant answer"


def test_without_what_takes_no_model_its_column_says_nothing(make, tmp_path):
    record = make.train_record("full", chunk_j=24.0, curve=(0.1, 0.9))
    before = msgspec.structs.replace(record, data=msgspec.structs.replace(record.data, trivial=()))
    assert row(make, tmp_path, before)["without a model"].text == "–"


def test_a_target_that_is_not_reached_has_no_energy_whatever_the_measure(make, tmp_path):
    record = make.train_record("full", chunk_j=24.0, curve=(0.1, 0.4), target=0.5)
    curve = tuple(
        msgspec.structs.replace(point, quality=msgspec.structs.replace(point.quality, metric="token accuracy"))
        for point in record.curve
    )
    quality = msgspec.structs.replace(record.quality, metric="token accuracy")
    found = row(make, tmp_path, msgspec.structs.replace(record, curve=curve, quality=quality))
    cell = found["energy to 50.0 % validation token accuracy"]
    assert (cell.text, cell.detail[:6]) == ("not reached", "within")


def test_a_target_that_nothing_was_evaluated_against_is_not_reached(make, tmp_path):
    record = msgspec.structs.replace(make.train_record("full", chunk_j=24.0, curve=(0.1, 0.9), target=0.5), curve=())
    found = row(make, tmp_path, record)
    assert found["energy to 50.0 % validation accuracy"].text == "not reached"
    assert found["energy to 50.0 % validation accuracy"].detail == "no checkpoint was evaluated"
    assert found["energy a step"].detail == "no checkpoint was evaluated, so its steps are not known"
