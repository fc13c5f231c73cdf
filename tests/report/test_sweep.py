"""The report of a sweep: its points, the exponent with its interval, and whether claim C3 holds."""

import io
import math
import re

import msgspec
import pytest
from rich.console import Console

from harness import compare, report
from harness.records import Failed, ModelInfo, Provenance, WorkloadSpec
from harness.report.model import Kind
from harness.report.sweep_charts import sweep_svg


def sweep_of(make, folder, *, exponent=0.8, sizes=(1, 2, 4, 8), noise=None, bend=0.0, threads=(1,), named=False,
             techniques=("torch_eager",), maker=None):  # fmt: skip
    """Return a run over model sizes (4 million parameters each) and threads with a known law."""
    points = [(size, count, technique) for size in sizes for count in threads for technique in techniques]

    def ratio(size, count, technique):
        log = math.log(size)
        factor = {"torch_eager": 1.0}.get(technique, 0.5)
        return factor * math.exp(exponent * log + bend * log**2) * (1 + 0.1 * (count - 1))

    truths = tuple(make.Truth("|".join(map(str, point)), ratio(*point)) for point in points)
    records = []
    labels = {}
    group = make.infer_group(truths, noise=noise or make.Noise(block_sd=0.01), maker=maker or make.Maker())
    for point, record in zip(points, group, strict=True):
        size, count, technique = point
        shown = f"s{size}" if named else size
        workload = WorkloadSpec(name="sentence_classification", params={"size": shown})
        case = msgspec.structs.replace(record.case, workload=workload, technique=technique, threads=count)
        model = ModelInfo(source="random", architecture="Bert", parameters=4_000_000 * size)
        records.append(msgspec.structs.replace(record, case=case, case_id=case.case_id, model=model))
        labels[case.case_id] = f"size={shown}" + (f",threads={count}" if len(threads) > 1 else "")
    axes = {"workload.size": [f"s{size}" if named else size for size in sizes]}
    if len(threads) > 1:
        axes["measure.threads"] = list(threads)
    return make.fake_run(folder, tuple(records), suite={"sweep": axes}, labels=labels)


def built(make, run):
    return report.build(run, make.BASELINES)


def said(content):
    return [each.text for each in content.sentences if each.kind is Kind.SCALING]


def test_the_exponent_of_the_parameters_is_found_with_its_interval(make, tmp_path):
    (sweep,) = compare.compare_sweep(sweep_of(make, tmp_path), make.BASELINES)
    (scaling,) = [each for each in sweep.scalings if each.against == compare.PARAMETERS]
    assert scaling.sizes == (4e6, 8e6, 16e6, 32e6)
    assert scaling.law.exponent == pytest.approx(0.8, abs=0.02)
    assert scaling.law.low <= 0.8 <= scaling.law.high


def test_ratios_are_to_the_first_point_and_hold_together(make, tmp_path):
    (sweep,) = compare.compare_sweep(sweep_of(make, tmp_path), make.BASELINES)
    first, *others = sweep.points
    assert (first.case_id, first.ratio) == (sweep.base_id, None)
    assert [point.ratio.estimate for point in others] == pytest.approx([2**0.8, 4**0.8, 8**0.8], rel=0.05)
    assert sweep.each_confidence == pytest.approx(1 - 0.05 / 3)


def test_the_sentence_gives_the_exponent_its_interval_and_what_becomes_of_the_claim(make, tmp_path):
    text = next(text for text in said(built(make, sweep_of(make, tmp_path))) if "parameters^" in text)
    assert re.match(
        r"Energy per task of inference grows as parameters\^0\.\d\d \(95 % interval 0\.\d\d to 0\.\d\d, 4 sizes; fit",
        text,
    )
    assert "Claim C3, that cost grows in proportion to model size (an exponent of 1), does not hold here" in text
    assert "below 1, energy grows more slowly" in text


def test_where_one_lies_in_the_interval_the_claim_is_not_contradicted(make, tmp_path):
    run = sweep_of(make, tmp_path, exponent=1.0, noise=make.Noise(block_sd=0.05))
    text = next(text for text in said(built(make, run)) if "parameters^" in text)
    assert "is not contradicted: 1 lies in the interval" in text


def test_the_claim_is_tested_against_parameters_only(make, tmp_path):
    texts = said(built(make, sweep_of(make, tmp_path, threads=(1, 2))))
    threads = next(text for text in texts if "threads^" in text)
    assert "Claim C3" not in threads
    assert "two sizes have an exponent, but cannot show that a power law holds" in threads


def test_sizes_that_are_words_are_counted_in_parameters(make, tmp_path):
    content = built(make, sweep_of(make, tmp_path, named=True))
    assert len(said(content)) == 1
    assert "parameters^" in said(content)[0]
    (chart,) = content.sweep_charts
    assert chart.against == "parameters"


def test_words_without_any_difference_in_parameters_make_a_table_and_no_law(make, tmp_path):
    run = sweep_of(make, tmp_path, named=True)
    model = ModelInfo(source="random", architecture="Bert", parameters=4_000_000)
    records = tuple(msgspec.structs.replace(record, model=model) for record in run.records)
    content = built(make, make.FakeRun(run.folder, run.info, records))
    (text,) = said(content)
    assert text == "Along size no law was fitted to energy a task: its values are no sizes."
    assert content.sweep_charts == ()
    tables = {table.key: table for table in content.tables}
    assert len(tables["sweep-cpu/offline"].rows) == 4


def test_where_zero_lies_in_the_interval_no_change_is_claimed(make, tmp_path):
    texts = said(built(make, sweep_of(make, tmp_path, exponent=0.0, noise=make.Noise(block_sd=0.05))))
    assert all("Whether such a law grows or falls is not shown: 0 lies in the interval." in text for text in texts)
    shown = said(built(make, sweep_of(make, tmp_path)))
    assert not any("is not shown" in text for text in shown)


def test_modelled_joules_give_exponents_of_cpu_seconds_and_the_report_says_so(make, tmp_path):
    for known in (Provenance.MODELLED, Provenance.COUNTER):
        content = built(make, sweep_of(make, tmp_path / known.value, maker=make.Maker(provenance=known)))
        notes = " ".join(note for table in content.tables if table.key == "scaling-cpu/offline" for note in table.notes)
        assert ("so these are exponents of CPU-seconds" in notes) == (known is Provenance.MODELLED)
        assert "Parameters are all weights of a model, its embedding tables included" in notes


def test_one_ratio_stands_alone(make, tmp_path):
    tables = {table.key: table for table in built(make, sweep_of(make, tmp_path, sizes=(1, 2))).tables}
    assert tables["sweep-cpu/offline"].notes[-1].endswith("; the ratio to the first point is at 95%.")


def drawn(make, run):
    """Return what is written in the first chart of a run: its title, and the texts of its SVG."""
    content = built(make, run)
    return content.sweep_charts[0].title, re.findall(r">([^<>]+)</text>", sweep_svg(content.sweep_charts[0]))


def test_the_chart_names_its_sizes_its_exponent_and_what_in_proportion_would_be(make, tmp_path):
    title, texts = drawn(make, sweep_of(make, tmp_path, named=True))
    assert re.fullmatch(
        r"Energy a task of inference against parameters: exponent 0\.\d\d, 95 % interval 0\.\d\d to 0\.\d\d", title
    )
    assert {"s1", "4 M", "s8", "32 M"} <= set(texts)
    assert "parameters (lines: fitted power laws; dashed: in proportion)" in texts


def test_a_title_names_no_exponent_of_one_line_for_several(make, tmp_path):
    title, _ = drawn(make, sweep_of(make, tmp_path, named=True, threads=(1, 2)))
    assert re.search(r": exponents (all 0\.\d\d|0\.\d\d to 0\.\d\d)$", title)


@pytest.mark.parametrize("exponent", [0.02, -0.05, 0.3, 0.8, 3.0])
def test_energies_have_ticks_however_far_they_lie_apart(make, tmp_path, exponent):
    _, texts = drawn(make, sweep_of(make, tmp_path, exponent=exponent, noise=make.Noise(block_sd=0.001)))
    assert len([text for text in texts if re.fullmatch(r"[\d.,]+ [nµmk]?J", text)]) >= 3


def test_sizes_that_lie_close_together_share_a_tick(make, tmp_path):
    _, texts = drawn(make, sweep_of(make, tmp_path, sizes=(100, 101, 800)))
    assert "100" in texts
    assert "800" in texts
    assert "101" not in texts


def test_a_bent_line_is_said_to_be_no_power_law(make, tmp_path):
    text = said(built(make, sweep_of(make, tmp_path, bend=0.15)))[0]
    assert "One power law does not hold over these sizes: the exponent goes from" in text


def test_what_leaves_the_exponent_open_is_said(make, tmp_path):
    run = sweep_of(make, tmp_path, exponent=0.8, bend=0.15)
    text = said(built(make, run))[0]
    assert "The scatter of the sizes about the line makes that interval; the measurement alone would leave" in text


def test_there_is_a_chart_for_every_axis_with_a_line_for_every_other_value(make, tmp_path):
    content = built(make, sweep_of(make, tmp_path, threads=(1, 2)))
    kinds = [(chart.against, len(chart.lines)) for chart in content.sweep_charts]
    assert kinds == [("size", 2), ("parameters", 2), ("threads", 4)]
    page = report.render_html(content)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert page.count("<svg") == 3
    assert 'aria-label="Energy a task of inference against parameters' in page


def test_a_sweep_sets_points_side_by_side_and_nothing_else(make, tmp_path):
    content = built(make, sweep_of(make, tmp_path))
    keys = {table.key for table in content.tables}
    assert {"sweep-cpu/offline", "scaling-cpu/offline"} <= keys
    assert not any(key.startswith(("inference", "training", "lifecycle")) for key in keys)
    assert not any("nothing to compare" in sentence.text for sentence in content.sentences)
    assert "unknown size" not in content.sentences[-1].text


def test_several_techniques_have_laws_of_their_own(make, tmp_path):
    content = built(make, sweep_of(make, tmp_path, techniques=("torch_eager", "b_b")))
    parameters = [text for text in said(content) if "parameters^" in text]
    assert ["torch_eager" in parameters[0], "b_b" in parameters[1]] == [True, True]


def test_a_point_that_failed_is_in_the_table_and_not_in_the_law(make, tmp_path):
    run = sweep_of(make, tmp_path)
    last = msgspec.structs.replace(run.records[-1], outcome=Failed(error="WorkerFailed", message="killed"), windows=())
    content = built(make, make.FakeRun(run.folder, run.info, (*run.records[:-1], last)))
    (sweep,) = content.sweeps
    assert {each.law.n for each in sweep.scalings} == {3}
    table = next(table for table in content.tables if table.key == "sweep-cpu/offline")
    assert (table.rows[-1][2].text, table.rows[-1][2].detail) == ("not measured", "failed: killed")


def test_where_the_first_point_failed_there_are_no_ratios_and_it_is_said(make, tmp_path):
    run = sweep_of(make, tmp_path)
    first = msgspec.structs.replace(run.records[0], outcome=Failed(error="WorkerFailed", message="killed"), windows=())
    (sweep,) = compare.compare_sweep(make.FakeRun(run.folder, run.info, (first, *run.records[1:])), make.BASELINES)
    assert {point.ratio for point in sweep.points} == {None}
    assert sweep.points[1].gap == "the first point failed, so nothing is compared with it"
    assert sweep.points[1].energy is not None


def test_the_report_of_a_sweep_stands_in_every_form(make, tmp_path):
    content = built(make, sweep_of(make, tmp_path))
    out = io.StringIO()
    report.render_terminal(content, Console(file=out, width=120))
    for text in (out.getvalue(), report.render_markdown(content), report.render_html(content)):
        assert "Sweep: energy a task of inference at every point" in text
        assert "Scaling: energy a task" in text
    assert msgspec.json.encode(content)


def test_a_run_without_a_sweep_has_none(make, tmp_path):
    run = make.realistic_run(tmp_path)
    assert compare.compare_sweep(run, make.BASELINES) == ()
    assert built(make, run).sweep_charts == ()
