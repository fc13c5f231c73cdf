"""Records survive interruptions, and half a line is never read as one."""

import os
import stat

import msgspec
import pytest

from harness import store
from harness.errors import ResultsError
from harness.records import Case, Failed, Ok, Phase, Record, RunInfo, WorkloadSpec


def case(technique: str) -> Case:
    return Case(workload=WorkloadSpec(name="w"), phase=Phase.TRAIN, technique=technique, device="cpu", seed=1)


def record(technique: str, outcome: Ok | Failed | None = None) -> Record:
    return Record(
        run_id="r",
        case_id=case(technique).case_id,
        case=case(technique),
        outcome=outcome or Ok(),
        started_utc="2026-01-01T00:00:00Z",
        host_fingerprint="f" * 64,
        code_version="0",
    )


def run_info(*techniques: str, **changes: object) -> RunInfo:
    info = RunInfo(
        run_id="20260101T000000Z-tiny",
        suite_name="tiny",
        suite_sha256="s",
        suite={},
        host={},
        host_fingerprint="f" * 64,
        code_version="0",
        started_utc="2026-01-01T00:00:00Z",
        confidence=0.95,
        quality_margin=0.02,
        case_ids=tuple(case(name).case_id for name in techniques),
    )
    return msgspec.structs.replace(info, **changes)


@pytest.fixture
def folder(tmp_path):
    return store.create_run(tmp_path, run_info("a", "b"))


def test_records_come_back_in_the_order_of_the_plan(folder):
    store.append_record(folder, record("b"))
    store.append_record(folder, record("a"))
    assert [r.case.technique for r in store.load_run(folder).records] == ["a", "b"]


def test_a_half_written_last_line_is_never_read(folder):
    store.append_record(folder, record("a"))
    with (folder / "records.jsonl").open("ab") as file:
        file.write(msgspec.json.encode(record("b"))[:-1])
    assert [r.case.technique for r in store.load_run(folder).records] == ["a"]


def test_a_complete_line_without_its_newline_is_not_yet_a_record(folder):
    (folder / "records.jsonl").write_bytes(msgspec.json.encode(record("a")))
    assert store.load_run(folder).records == ()


def test_an_append_after_a_half_line_cuts_it_off(folder):
    store.append_record(folder, record("a"))
    with (folder / "records.jsonl").open("ab") as file:
        file.write(b'{"schema":1,"run_id":"r","case')
    store.append_record(folder, record("b"))
    assert [r.case.technique for r in store.load_run(folder).records] == ["a", "b"]


def test_a_damaged_line_in_the_middle_is_an_error_that_names_it(folder):
    store.append_record(folder, record("a"))
    with (folder / "records.jsonl").open("ab") as file:
        file.write(b"garbage\n")
    with pytest.raises(ResultsError, match=r"records.jsonl:2 is not a Record"):
        store.load_run(folder)


def test_an_unknown_field_is_refused(folder):
    line = msgspec.json.encode(record("a"))[:-1] + b',"surprise":1}\n'
    (folder / "records.jsonl").write_bytes(line)
    with pytest.raises(ResultsError, match="surprise"):
        store.load_run(folder)


def test_a_case_that_failed_and_then_went_well_counts_once(folder):
    store.append_record(folder, record("a", Failed(error="WorkerFailed", message="died")))
    store.append_record(folder, record("a"))
    assert [r.outcome for r in store.load_run(folder).records] == [Ok()]


def test_failed_cases_are_run_again_and_others_kept():
    records = (record("a"), record("b", Failed(error="WorkerFailed", message="died")))
    assert list(store.settled(records)) == [case("a").case_id]


def test_the_newest_unfinished_run_of_the_same_suite_is_resumed(tmp_path):
    store.create_run(tmp_path, run_info("a", run_id="20260101T000001Z-tiny"))
    newest = store.create_run(tmp_path, run_info("a", run_id="20260101T000002Z-tiny"))
    assert store.unfinished(tmp_path, run_info("a", run_id="20260101T000003Z-tiny")) == newest


@pytest.mark.parametrize(
    "change",
    [
        {"suite_sha256": "other"},
        {"code_version": "other"},
        {"host_fingerprint": "e" * 64},
        {"case_ids": ("other",)},
    ],
)
def test_a_run_that_asks_anything_else_is_not_resumed(tmp_path, change):
    store.create_run(tmp_path, run_info("a"))
    assert store.unfinished(tmp_path, run_info("a", **change)) is None


def test_a_finished_run_is_not_resumed(tmp_path):
    store.create_run(tmp_path, run_info("a", finished_utc="2026-01-01T01:00:00Z"))
    assert store.unfinished(tmp_path, run_info("a")) is None


def test_runs_are_listed_by_their_time_and_copies_under_other_names_are_not(tmp_path):
    late = store.create_run(tmp_path, run_info("a", run_id="20260102T000000Z-a"))
    early = store.create_run(tmp_path, run_info("a", run_id="20260101T000000Z-z", host_fingerprint="e" * 64))
    (tmp_path / "reference").mkdir()
    late.rename(tmp_path / "reference" / "zen")
    late = store.create_run(tmp_path, run_info("a", run_id="20260102T000000Z-a"))
    assert store.runs(tmp_path) == (early, late)


def answered(folder, technique, rows, *, tokens):
    answers = store.Answers(item_ids=tuple(rows), outputs=tuple(rows.values()), tokens=tokens)
    (folder / "outputs").mkdir(exist_ok=True)
    name = store.write_answers(folder, case(technique).case_id, answers)
    return msgspec.structs.replace(record(technique), outputs_file=name)


def test_token_agreement_is_the_share_of_the_baselines_tokens_in_the_same_place(folder):
    base = answered(folder, "a", {1: (5.0, 6.0, -1.0), 2: (7.0, 8.0, 9.0), 3: (1.0, 1.0, 1.0)}, tokens=True)
    other = answered(folder, "b", {1: (5.0, 4.0, 3.0), 2: (7.0, 8.0, 9.0)}, tokens=True)
    assert store.token_agreement(folder, other, base) == 4 / 5
    assert store.token_agreement(folder, base, base) == 1.0
    assert store.largest_output_difference(folder, other, base) == 4.0


def test_logits_have_no_token_agreement(folder):
    base = answered(folder, "a", {1: (0.5, 0.25)}, tokens=False)
    assert store.token_agreement(folder, base, base) is None


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(ResultsError, match=r"is not a run: it has no run\.json"):
        store.load_run(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_results_folder_is_an_error(tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(ResultsError, match="choose another folder with --results"):
        store.create_run(tmp_path, run_info("a"))


def test_a_results_folder_that_is_a_file_is_an_error(tmp_path):
    (tmp_path / "results").write_text("not a folder")
    with pytest.raises(ResultsError, match="choose another folder with --results"):
        store.create_run(tmp_path / "results", run_info("a"))
