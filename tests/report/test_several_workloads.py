"""A run of several workloads: nothing of one is ever set beside anything of another."""

import io
import re

import msgspec
import pytest
from rich.console import Console

from harness import compare, report
from harness.lifecycle import lifecycle
from harness.records import WorkloadSpec
from harness.report.model import Kind


def on(records, name, metric):
    """Return the records as if they were of another workload with another measure of quality."""
    moved = []
    ids = {}
    for record in records:
        case = msgspec.structs.replace(
            record.case, workload=WorkloadSpec(name=name), trained_by=ids.get(record.case.trained_by)
        )
        ids[record.case_id] = case.case_id
        changes = {"case": case, "case_id": case.case_id, "outputs_file": None}
        if record.quality is not None:
            changes["quality"] = msgspec.structs.replace(record.quality, metric=metric)
        changes["curve"] = tuple(
            msgspec.structs.replace(point, quality=msgspec.structs.replace(point.quality, metric=metric))
            for point in record.curve
        )
        moved.append(msgspec.structs.replace(record, **changes))
    return tuple(moved)


def workload(make, name, metric, *, chunk_j, base_j, target):
    train = make.train_record("from_scratch", chunk_j=chunk_j, curve=(0.1, 0.5, 0.7, 0.9), target=target)
    other = make.train_record("slow", chunk_j=2 * chunk_j, curve=(0.1, 0.2, 0.3), target=target)
    truths = (make.Truth("torch_eager"), make.Truth("b_b", 0.5))
    infers = make.infer_group(truths, base_j=base_j, trained_by=train.case_id)
    return on((train, other, *infers), name, metric)


@pytest.fixture
def run(make, tmp_path):
    translate = workload(make, "translate", "sentence BLEU", chunk_j=10.0, base_j=0.5, target=0.6)
    bert = workload(make, "bert", "accuracy", chunk_j=30.0, base_j=0.02, target=0.8)
    records = (*translate[:2], *bert[:2], *translate[2:], *bert[2:])
    labels = {record.case_id: record.case.workload.name for record in records}
    return make.fake_run(tmp_path, records, labels=labels)


@pytest.fixture
def content(make, run):
    return report.build(run, make.BASELINES)


def tables(content):
    return {table.key: table for table in content.tables}


def test_techniques_are_compared_within_their_workload(make, run):
    groups = compare.compare_techniques(run, make.BASELINES)
    assert [group.name for group in groups] == ["translate/cpu/offline", "bert/cpu/offline"]
    assert all(len(group.comparisons) == 1 for group in groups)


def test_pipelines_are_ranked_within_their_workload(make, run):
    found = lifecycle(run, make.BASELINES)
    assert len(found.pipelines) == 4
    assert {(each.workload, each.among) for each in found.cheapest} == {("translate", 2), ("bert", 2)}
    assert len(found.cheapest) == 2 * 7
    for each in found.cheapest:
        assert each.group == f"{each.workload}/cpu/offline"
    for each in found.pipelines:
        other = {"translate": "bert", "bert": "translate"}[each.workload]
        assert other not in each.group


def test_every_workload_has_its_own_tables(content):
    found = tables(content)
    for name in ("translate", "bert"):
        assert (
            found[f"inference-energy-{name}/cpu/offline"].title
            == f"Inference on {name}/cpu/offline: energy and quality"
        )
        assert found[f"training-{name}"].title == f"Training on {name}"
        assert [row[0].text for row in found[f"training-{name}"].rows] == ["from_scratch", "slow"]
        assert len(found[f"lifecycle-{name}"].rows) == 2
    assert "training" not in found
    assert "lifecycle" not in found


def test_one_table_shows_all_workloads_a_row_each(content):
    overview = content.tables[0]
    assert overview.key == "overview"
    assert [row[0].text for row in overview.rows] == ["translate", "bert"]
    rows = {
        row[0].text: {column.name: cell for column, cell in zip(overview.columns, row, strict=True)}
        for row in overview.rows
    }
    own = tables(content)
    for name, metric, last in (("translate", "sentence BLEU", "90.0 %"), ("bert", "accuracy", "90.0 %")):
        training = own[f"training-{name}"]
        at = [column.name for column in training.columns]
        assert rows[name]["energy of training"] == training.rows[0][at.index("energy to the end")]
        assert rows[name]["energy a training step"] == training.rows[0][at.index("energy a step")]
        assert rows[name]["energy a task"] == own[f"inference-energy-{name}/cpu/offline"].rows[0][1]
        assert rows[name]["learned, on validation"].text.endswith(last)
        assert rows[name]["learned, on validation"].detail == metric


def test_a_run_of_one_workload_has_no_such_table(make, tmp_path):
    records = workload(make, "bert", "accuracy", chunk_j=30.0, base_j=0.02, target=0.8)
    alone = report.build(make.fake_run(tmp_path, records), make.BASELINES)
    assert "overview" not in {table.key for table in alone.tables}


def test_each_table_names_the_measure_and_the_target_of_its_workload(content):
    found = tables(content)
    names = {key: [column.name for column in found[key].columns] for key in ("training-translate", "training-bert")}
    assert {"energy to 60.0 % validation sentence BLEU", "test sentence BLEU"} <= set(names["training-translate"])
    assert {"energy to 80.0 % validation accuracy", "test accuracy"} <= set(names["training-bert"])
    energy = found["inference-energy-translate/cpu/offline"]
    assert "sentence BLEU" in [column.name for column in energy.columns]
    assert energy.rows[1][4].detail.startswith("sentence BLEU ")
    assert not any("accuracy" in note for note in energy.notes)


def test_every_sentence_says_of_which_workload_it_is(content):
    for sentence in content.sentences:
        if sentence.kind is Kind.PROVENANCE:
            continue
        assert re.match(r"On (translate|bert)\b", sentence.text), sentence.text
    texts = [sentence.text for sentence in content.sentences]
    assert any(
        text.startswith("On bert: from_scratch reaches the target of 80.0 % validation accuracy") for text in texts
    )
    missed = "On translate: slow: the target of 60.0 % validation sentence BLEU was not reached within"
    assert any(text.startswith(missed) for text in texts)
    for name in ("translate", "bert"):
        assert any(text.startswith(f"On {name}: at 1 million requests the cheapest pipeline") for text in texts)


def test_no_sentence_names_two_workloads(content):
    for sentence in content.sentences:
        assert not ("translate" in sentence.text and "bert" in sentence.text), sentence.text


def test_every_workload_has_its_own_charts(content):
    assert [chart.group for chart in content.curve_charts] == ["translate", "bert"]
    assert [chart.metric for chart in content.curve_charts] == ["sentence BLEU", "accuracy"]
    assert [chart.target for chart in content.curve_charts] == [0.6, 0.8]
    assert [chart.group for chart in content.life_charts] == ["translate", "bert"]
    page = report.render_html(content)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert "test sentence BLEU" in page
    assert "validation sentence BLEU" in page


def test_data_and_models_are_told_by_workload(content):
    names = {row[0].text for row in tables(content)["material"].rows}
    assert {"translate: data", "bert: data", "translate: classes"} <= names


def test_all_outputs_hold_both_workloads(content):
    out = io.StringIO()
    report.render_terminal(content, Console(file=out, width=140))
    for text in (out.getvalue(), report.render_markdown(content), report.render_html(content)):
        assert "Training on translate" in text
        assert "Training on bert" in text


def test_the_table_of_windows_names_the_workload(run):
    frame = report.to_frame(run)
    assert set(frame.workload) == {"translate", "bert"}


def test_two_runs_are_compared_case_by_case_under_the_names_of_their_workloads(make, run):
    result = compare.compare_runs(run, run, baselines=make.BASELINES)
    assert {case.name.split("/")[0] for case in result.cases} == {"translate", "bert"}
    assert {case.metric for case in result.cases} == {"sentence BLEU", "accuracy"}
    out = io.StringIO()
    report.render_comparison(result, Console(file=out, width=140))
    assert "quality," in out.getvalue()
    assert "accuracy" not in out.getvalue()


def test_trainings_on_two_devices_are_not_ranked_against_each_other(make, tmp_path):
    record = make.train_record("full", chunk_j=10.0, curve=(0.1, 0.9), target=0.8)
    case = msgspec.structs.replace(record.case, device="cuda:0")
    other = msgspec.structs.replace(record, case=case, case_id=case.case_id)
    content = report.build(make.fake_run(tmp_path, (record, other)), make.BASELINES)
    texts = [each.text for each in content.sentences if each.kind is Kind.TRAINING]
    assert [text.split(" reaches")[0] for text in texts] == ["On cpu: full", "On cuda:0: full"]


def test_workloads_of_one_technique_each_are_named_in_one_sentence(make, tmp_path):
    records = []
    for name in ("bert", "elmo", "gpt2"):
        train = make.train_record("from_scratch", chunk_j=10.0, curve=(0.1, 0.5))
        infers = make.infer_group((make.Truth("torch_eager"),), trained_by=train.case_id)
        records += on((train, *infers), name, "accuracy")
    labels = {record.case_id: record.case.workload.name for record in records}
    content = report.build(make.fake_run(tmp_path, tuple(records), labels=labels))
    (said,) = [each.text for each in content.sentences if "nothing to compare" in each.text]
    assert all(chart.title.startswith("Only the baseline was measured") for chart in content.energy_charts)
    assert re.search(r"^On bert\S*, elmo\S* and gpt2\S* only the baseline of inference ran", said), said
    assert content.sentences[0].text.startswith("3 of 3 trainings are shown to have learned: ")
