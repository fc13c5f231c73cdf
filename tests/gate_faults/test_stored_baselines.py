"""Stored baselines that are refused, each by its own reason; and what a run says against one that is sound."""

import json

import msgspec
import pytest

from harness.gate import baselines
from harness.records import Failed
from harness.store import append_record, create_run

CASE = "quick/length_bucketing@cpu/offline"
FOREIGN = {"host_fingerprint": "ab" * 32, "host": {"cpu_brand": "Another CPU", "cores_online": 64}}
STORED, RUN = "20261101T100000Z-quick", "20261124T100000Z-quick"


class Results:
    """A results folder with stored runs, and the gate of its newest."""

    def __init__(self, folder, factory, start):
        self.folder = folder
        self.factory = factory
        self._start = start

    @property
    def file(self):
        return self.folder / "results" / baselines.FILE

    def records(self, run_id, ratio=0.6, *, seed=1, others=(), maker=None, **truth):
        """The records of a run in which one technique needs `ratio` of what the one beside it needs."""
        truths = (
            self.factory.Truth("torch_eager"),
            self.factory.Truth("length_bucketing", ratio, **truth),
            *(self.factory.Truth(name, 0.9) for name in others),
        )
        noise = self.factory.Noise(block_sd=0.01, seed=seed)
        return self.factory.infer_group(truths, forks=8, blocks=10, noise=noise, maker=maker, run_id=run_id)

    def write(self, run_id, records, **info):
        info = self.factory.run_info(records, run_id=run_id, suite={"seed": 1234}, **info)
        folder = create_run(self.folder / "results", info)
        for record in records:
            append_record(folder, record)
        return folder

    def store(self, run_id=STORED, records=None, **info):
        """Write a run and add it to the baselines; return its folder."""
        folder = self.write(run_id, records or self.records(run_id), **info)
        baselines.add(self.file, folder, added_utc="2026-11-01T11:00:00Z")
        return folder

    def gate(self, *arguments, baseline="results"):
        return self._start(self.folder, "gate", "--baseline", baseline, *arguments).end()


@pytest.fixture
def results(tmp_path, factory, start):
    return Results(tmp_path, factory, start)


@pytest.fixture
def held(results):
    """Results whose newest run is to be held against what a test stores."""
    results.write(RUN, results.records(RUN, seed=2))
    return results


@pytest.mark.accident("missing baseline", exits=12)
@pytest.mark.parametrize("baseline", ["results", "nowhere"])
def test_a_missing_baseline_says_how_to_store_one(held, baseline):
    held.gate(baseline=baseline).ends(12, "holds no baseline of suite 'quick'", "joulebench baseline add RUN")


@pytest.mark.accident("foreign baseline", exits=12)
def test_a_foreign_baseline_is_refused_with_every_field_that_differs(held):
    held.store(**FOREIGN)
    held.gate().ends(
        12, "was measured on an unlike host", "cpu_brand: Another CPU | AMD EPYC 7763", "cores_online: 64 | 2"
    )


@pytest.mark.accident("renamed baseline", exits=12)
def test_a_baseline_whose_folder_was_renamed_is_named(held):
    folder = held.store()
    folder.rename(folder.with_name("20261101T100000Z-fast"))
    held.gate().ends(12, "baseline 1 names results/", "which does not exist; fetch the results it was stored with")


@pytest.mark.accident("baseline of a renamed suite", exits=12)
def test_a_baseline_of_a_suite_that_has_another_name_now_is_not_taken(held):
    held.store(suite_name="quick-cpu")
    held.gate().ends(12, "holds no baseline of suite 'quick'")


@pytest.mark.accident("edited baseline", exits=12)
@pytest.mark.parametrize("by_folder", [False, True])
def test_a_baseline_whose_numbers_were_edited_is_refused_and_the_file_named(held, by_folder):
    folder = held.store()
    path = folder / "records.jsonl"
    path.write_text(path.read_text().replace('"duration_s":0', '"duration_s":9', 1))
    held.gate(baseline=folder if by_folder else "results").ends(
        12, "was edited after it was added (records.jsonl: changed)"
    )


@pytest.mark.accident("rewritten list of baselines", exits=12)
def test_an_entry_that_was_rewritten_is_named(held):
    held.store()
    entry = json.loads(held.file.read_text())
    held.file.write_text(json.dumps(entry | {"note": "better than it was"}) + "\n")
    held.gate().ends(12, f"entry 1 (run {STORED}) was rewritten after it was added", "Restore the file")


@pytest.mark.accident("conflict of two branches in the list of baselines", exits=12)
def test_marks_of_a_conflict_are_no_baseline(held):
    held.store()
    held.file.write_text("<<<<<<< HEAD\n" + held.file.read_text())
    held.gate().ends(12, "baselines.jsonl:1 is not a Entry", "only ever appended to", "Restore the file")


@pytest.mark.accident("baseline of another format", exits=12)
@pytest.mark.parametrize("what", ["run", "entry"])
def test_a_baseline_of_another_format_is_refused_with_both_versions(held, what):
    folder = held.store(schema=99 if what == "run" else 1)
    if what == "entry":
        held.file.write_text(held.file.read_text().replace('"schema":1', '"schema":99'))
    held.gate().ends(12, "has format 99, this joulebench reads 1")
    if what == "run":
        held.gate(baseline=folder).ends(12, f"run {STORED} has format 99")


@pytest.mark.accident("meters of another provenance than the baseline's", exits=12)
def test_a_baseline_whose_joules_are_known_in_another_way_is_refused(held, factory):
    maker = factory.Maker(provenance=factory.Provenance.COUNTER)
    held.store(records=held.records(STORED, maker=maker))
    held.gate().ends(12, "meters: ", "counter")


@pytest.mark.accident("baseline of a dirty tree", exits=0)
def test_a_baseline_of_a_dirty_tree_is_noted(held):
    held.store(code_version="0.1.0+1a2b3c4d5e6f-dirty")
    ended = held.gate()
    ended.ends(0, f"note: run {STORED} was measured with uncommitted changes", verdicts=["inconclusive", "pass"])
    assert (ended.result.base.dirty, ended.result.head.dirty) == (True, False)


@pytest.mark.accident("baseline that is not finished", exits=2)
def test_a_run_that_has_not_ended_is_held_against_nothing(results):
    results.store()
    results.write(RUN, results.records(RUN)[:1], finished_utc=None)
    results.gate().ends(2, f"run {RUN} has not ended", "`joulebench run` goes on with it")


@pytest.mark.accident("no run to hold against the baseline", exits=2)
def test_the_baseline_is_not_held_against_itself(results):
    results.gate().ends(2, "there is no run under results")
    results.store()
    results.gate().ends(2, f"run {STORED} is the baseline itself; run the suite again")


@pytest.mark.accident("failed case of a run", exits=13)
def test_a_case_that_failed_in_the_run_is_invalid(results):
    results.store()
    first, second = results.records(RUN, seed=2)
    died = msgspec.structs.replace(
        second, outcome=Failed(error="WorkerFailed", message="was ended by SIGKILL"), windows=()
    )
    results.write(RUN, (first, died))
    ended = results.gate()
    assert ended.code == 13, ended.said
    ended.case_ends(CASE, 13, "invalid", "SIGKILL")


@pytest.mark.accident("case that vanished since the baseline", exits=12)
def test_a_case_that_the_run_no_longer_has_vanished(held):
    held.store(records=held.records(STORED, others=("onnxruntime_fp32",)))
    ended = held.gate()
    assert ended.code == 12
    ended.case_ends(
        "quick/onnxruntime_fp32@cpu/offline", 12, "vanished", "the baseline has it, the run has no such case"
    )


@pytest.mark.accident("cost beyond the baseline's, its acceptance expired", exits=10)
def test_a_cost_whose_acceptance_expired_fails_and_the_entry_is_listed(results):
    results.store()
    results.write(RUN, results.records(RUN, 0.6 * 1.3, seed=2))
    (results.folder / "gate.yaml").write_text(
        "cases: [{suite: quick.yaml}]\n"
        f'accept: [{{case: "{CASE}", up_to: 40%, reason: checks its input, expires: 2020-01-01}}]\n'
    )
    ended = results.gate()
    assert ended.code == 10
    assert f"note: the entry that accepts {CASE} expired on 2020-01-01 and is ignored" in ended.err
    ended.case_ends(CASE, 10, "regressed")


@pytest.mark.accident("saving bought with quality since the baseline", exits=14)
def test_a_saving_bought_with_quality_is_no_saving(results):
    results.store()
    results.write(RUN, results.records(RUN, 0.3, seed=2, accuracy_flips=(0, 60)))
    ended = results.gate()
    assert ended.code == 14
    ended.case_ends(CASE, 14, "worse-quality", "accuracy changed by -14.29%")
