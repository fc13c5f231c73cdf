"""Where the prompt was also read alone, prefill and decode stand apart, and nothing is billed twice."""

import msgspec
import pytest

from harness import report, stats, store
from harness.errors import NotMeasured
from harness.records import WindowKind, WorkloadSpec
from harness.schedule.measured import MeasuredCase

PREFILL_SHARE = 0.25


def generating(make, record, *, new_tokens=17, share=PREFILL_SHARE, params=True):
    """Return the record with a prefill window beside each of its runs, which draws a share of its joules."""
    workload = WorkloadSpec(name="gpt2", params={"new_tokens": new_tokens} if params else {})
    case = msgspec.structs.replace(record.case, workload=workload)
    windows = []
    for window in record.windows:
        windows.append(window)
        if window.kind is WindowKind.RUN:
            (energy,) = window.measured.energies
            part = msgspec.structs.replace(energy, energy_j=energy.energy_j * share)
            measured = msgspec.structs.replace(window.measured, energies=(part,), duration_s=0.1)
            windows.append(msgspec.structs.replace(window, kind=WindowKind.PREFILL, measured=measured))
    return msgspec.structs.replace(record, case=case, case_id=case.case_id, windows=tuple(windows))


@pytest.fixture
def record(make):
    (found,) = make.infer_group((make.Truth("torch_eager"),), base_j=0.08)
    return found


def test_prefill_and_decode_add_up_to_the_task(make, record):
    made = generating(make, record)
    prefill, decode = stats.prefill_interval(made, 0.95), stats.decode_interval(made, 0.95)
    assert prefill.estimate == pytest.approx(0.02, rel=0.03)
    assert decode.estimate == pytest.approx(0.06, rel=0.03)
    assert decode.low < 0.06 < decode.high
    assert prefill.estimate + decode.estimate == pytest.approx(stats.energy_interval(made, 0.95).estimate, rel=0.01)


def test_prefill_windows_change_no_total(make, record):
    made = generating(make, record)
    for total in (stats.energy_per_task_j, stats.duration_per_task_s, stats.cpu_per_task_s):
        assert total(made) == total(record)
    assert stats.build_total(made) == stats.build_total(record)
    assert stats.energy_interval(made, 0.95) == stats.energy_interval(record, 0.95)
    assert stats.log_ratios(made.windows, made.windows) == stats.log_ratios(record.windows, record.windows)


def test_what_decoding_drew_is_known_as_well_as_the_whole_on_a_machine_that_drifts(make):
    (steady,) = make.infer_group((make.Truth("torch_eager"),), base_j=0.08, noise=make.Noise(block_sd=0, drift_sd=2.0))
    made = generating(make, steady)
    decode = stats.decode_interval(made, 0.95)
    whole = stats.energy_interval(made, 0.95)
    assert (decode.high - decode.low) / decode.estimate == pytest.approx(
        (whole.high - whole.low) / whole.estimate, rel=0.2
    )


def test_a_block_without_its_prefill_does_not_count(make, record):
    made = generating(make, record)
    torn = tuple(w for w in made.windows if not (w.kind is WindowKind.PREFILL and w.block == 0 and w.fork == 0))
    assert stats.decode_interval(msgspec.structs.replace(made, windows=torn), 0.95).n_blocks == 31
    with pytest.raises(NotMeasured, match="no block holds a run with its prefill"):
        stats.decode_interval(record, 0.95)


def phases(make, folder, *records):
    content = report.build(make.fake_run(folder, records), make.BASELINES)
    found = [table for table in content.tables if table.key.startswith("inference-phases")]
    return [dict(zip([c.name for c in table.columns], table.rows[0], strict=True)) for table in found]


def test_the_report_shows_both_and_what_a_decoded_token_costs(make, tmp_path, record):
    (row,) = phases(make, tmp_path, generating(make, record))
    assert row["prefill, energy a task"].text.startswith(("19.", "20."))
    assert row["decode, energy a task"].text.startswith(("59.", "60."))
    assert row["tokens decoded a task"].text == "16"
    assert row["decode, energy a token"].text.startswith(("3.6", "3.7", "3.8"))


@pytest.mark.parametrize("made", [{"params": False}, {"new_tokens": 1}])
def test_without_a_number_of_tokens_nothing_is_divided_by_it(make, tmp_path, record, made):
    (row,) = phases(make, tmp_path, generating(make, record, **made))
    assert row["decode, energy a token"].text == "–"


def test_a_task_that_does_not_generate_has_no_such_table(make, tmp_path, record):
    assert phases(make, tmp_path, record) == []


def test_an_interrupted_block_loses_its_prefill_too(make, record):
    made = generating(make, record)
    state = MeasuredCase(made.case, "now")
    for window in made.windows:
        state.add(window, None)
    state.forget_partial({(0, 0)}, {0})
    kept = [window for window in state.windows if window.block is not None]
    assert {(window.fork, window.block) for window in kept} == {(0, 0)}
    assert [window.kind for window in kept].count(WindowKind.PREFILL) == 2


def outputs_columns(make, folder, *rows, tokens):
    """Return the output cells of the baseline and of another technique that answered one item with these rows."""
    records = make.infer_group((make.Truth("torch_eager"), make.Truth("other")), folder=folder)
    for record, row in zip(records, rows, strict=True):
        store.write_answers(folder, record.case_id, store.Answers(item_ids=(1,), outputs=(row,), tokens=tokens))
    content = report.build(make.fake_run(folder, records), make.BASELINES)
    (table,) = [table for table in content.tables if table.key.startswith("inference-time")]
    names = [column.name for column in table.columns]
    found = {name for name in names if name in {"token agreement", "largest output difference"}}
    (name,) = found
    return name, [row[names.index(name)].text for row in table.rows]


def test_two_that_write_tokens_are_compared_by_the_tokens_in_the_same_place(make, tmp_path):
    rows = (5.0, 6.0, 7.0, -1.0), (5.0, 9.0, 7.0, 8.0)
    assert outputs_columns(make, tmp_path, *rows, tokens=True) == ("token agreement", ["–", "66.7 %"])


def test_two_that_answer_numbers_are_compared_by_their_largest_difference(make, tmp_path):
    rows = (0.5, 0.25), (0.5, 0.75)
    assert outputs_columns(make, tmp_path, *rows, tokens=False) == ("largest output difference", ["–", "5.0e-01"])
