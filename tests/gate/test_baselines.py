"""Stored baselines: kept append-only, refused where they are foreign or edited, and held against as trends."""

import importlib.util
import json
import shutil
import sys
from pathlib import Path

import msgspec
import pytest

from harness.errors import IncomparableRecords, ResultsError
from harness.gate import baselines, targets, trends
from harness.gate.model import Verdict
from harness.records import Failed, Skipped
from harness.store import append_record, create_run, load_run

ROOT = Path(__file__).parents[2]
WHEN = "2026-11-23T15:00:00Z"
OTHER_HOST = {"cpu_brand": "Another CPU", "cores_online": 2, "memory_bytes": 4 * 2**30, "os": "Linux",
              "kernel": "6.1.0", "python": "3.11.7", "vm": True, "gpus": [], "versions": {"torch": "2.12.0"},
              "thread_env": {}}  # fmt: skip


@pytest.fixture(scope="module")
def factory():
    name, path = "joulebench_test_factory", ROOT / "tests" / "stats" / "factory.py"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture
def records(factory):
    """Return a function that makes the records of a run with one technique beside its baseline."""

    def records(run_id, ratio=0.6, *, seed=1, others=(), forks=8, **more):
        truths = (factory.Truth("torch_eager"), factory.Truth("length_bucketing", ratio, **more), *others)
        noise = factory.Noise(block_sd=0.01, seed=seed)
        return factory.infer_group(truths, forks=forks, blocks=10, noise=noise, run_id=run_id)

    return records


@pytest.fixture
def stored(tmp_path, factory):
    """Return a function that writes a run to disk and returns its folder."""

    def stored(run_id, records, **more):
        info = factory.run_info(records, run_id=run_id, suite={"seed": 1234}, **more)
        folder = create_run(tmp_path / "results", info)
        for record in records:
            append_record(folder, record)
        return folder

    return stored


@pytest.fixture
def file(tmp_path):
    return tmp_path / "results" / baselines.FILE


def against(base, run, **more):
    result = trends.against(load_run(base), load_run(run), gate_id="g", **more)
    return result, {case.name: case for case in result.cases}


CASE = "quick/length_bucketing@cpu/offline"


def test_entries_form_a_chain_and_come_back_in_order(file, stored, records):
    first = baselines.add(file, stored("run-a", records("run-a")), added_utc=WHEN, note="release 1")
    second = baselines.add(file, stored("run-b", records("run-b", seed=2)), added_utc=WHEN)
    assert baselines.load(file) == (first, second)
    assert first.previous_sha256 is None
    assert second.previous_sha256 == first.sha256
    assert first.files.keys() == {"run.json", "records.jsonl"}
    assert baselines.find(file.parent, load_run(file.parent / second.run).info).info.run_id == "run-b"


def rewritten(file, number, **changes):
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[number - 1] |= changes
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_rewritten_entry_is_named(file, stored, records):
    for seed in (1, 2, 3):
        baselines.add(file, stored(f"run-{seed}", records(f"run-{seed}", seed=seed)), added_utc=WHEN)
    rewritten(file, 2, note="better than it was")
    with pytest.raises(IncomparableRecords, match=r"entry 2 \(run run-2\) was rewritten") as caught:
        baselines.load(file)
    assert caught.value.exit_code == 12
    forged = baselines.Entry(**{**json.loads(file.read_text().splitlines()[1]), "sha256": ""})
    rewritten(file, 2, sha256=baselines._sha256(forged))
    with pytest.raises(IncomparableRecords, match=r"entry 2 \(run run-2\) was rewritten, or an entry beside it"):
        baselines.load(file)


def test_a_line_that_is_no_entry_or_of_another_format_is_refused(file, stored, records):
    baselines.add(file, stored("run-1", records("run-1")), added_utc=WHEN)
    sound = file.read_text()
    file.write_text("<<<<<<< HEAD\n" + sound)
    with pytest.raises(IncomparableRecords, match=r"jsonl:1 is not a Entry .* only ever appended to"):
        baselines.load(file)
    file.write_text(sound)
    rewritten(file, 1, schema=2)
    with pytest.raises(IncomparableRecords, match="entry 1 has format 2, this joulebench reads 1"):
        baselines.load(file)


def test_a_run_of_another_format_is_not_compared(stored, records):
    old, new = stored("run-a", records("run-a"), schema=99), stored("run-b", records("run-b"))
    for asked, current in ((old, new), (new, old)):
        with pytest.raises(IncomparableRecords, match="run run-a has format 99, this joulebench reads 1"):
            baselines.find(asked, load_run(current).info)


def test_a_case_that_failed_is_invalid_and_costs_no_other_its_verdict(stored, records):
    now = records("run-b", seed=2)
    died = msgspec.structs.replace(now[1], outcome=Failed(error="WorkerFailed", message="died"), windows=())
    result, cases = against(stored("run-a", records("run-a")), stored("run-b", (now[0], died)))
    assert cases[CASE].verdict is Verdict.INVALID
    assert (cases[CASE].head_j, cases[CASE].estimate) == (None, None)
    assert cases["quick/torch_eager@cpu/offline"].verdict is Verdict.INCONCLUSIVE
    assert result.exit_code == 13


def test_runs_of_uncommitted_code_are_noted(stored, records):
    dirty = stored("run-a", records("run-a"), code_version="0.1.0+1a2b3c4d5e6f-dirty")
    result, _ = against(dirty, stored("run-b", records("run-b", seed=2)))
    assert result.notes == ("run run-a was measured with uncommitted changes, so no commit holds what it stands for",)


def test_a_removed_entry_is_noticed(file, stored, records):
    for seed in (1, 2, 3):
        baselines.add(file, stored(f"run-{seed}", records(f"run-{seed}", seed=seed)), added_utc=WHEN)
    lines = file.read_text().splitlines(keepends=True)
    file.write_text(lines[0] + lines[2])
    with pytest.raises(IncomparableRecords, match="removed or inserted"):
        baselines.load(file)


def test_a_baseline_whose_numbers_were_edited_is_refused_and_the_file_named(file, stored, records):
    folder = stored("run-a", records("run-a"))
    baselines.add(file, folder, added_utc=WHEN)
    path = folder / "records.jsonl"
    path.write_text(path.read_text().replace('"duration_s":0', '"duration_s":9', 1))
    current = load_run(stored("run-b", records("run-b", seed=2))).info
    for asked in (file, file.parent, folder):
        with pytest.raises(IncomparableRecords, match=r"edited after it was added \(records\.jsonl: changed\)"):
            baselines.find(asked, current)


def test_a_foreign_baseline_is_refused_with_every_field_that_differs(file, stored, records):
    foreign = stored("run-a", records("run-a"), host=OTHER_HOST, host_fingerprint="ab" * 32)
    baselines.add(file, foreign, added_utc=WHEN)
    current = load_run(stored("run-b", records("run-b"))).info
    for asked in (file, foreign):
        with pytest.raises(IncomparableRecords, match="unlike host") as caught:
            baselines.find(asked, current)
        assert "cpu_brand: Another CPU | AMD EPYC 7763" in str(caught.value)
        assert "versions.torch: 2.12.0 | 2.13.0" in str(caught.value)
        assert "cores_online" not in str(caught.value)


def test_among_baselines_of_several_hosts_this_hosts_newest_counts(file, stored, records):
    baselines.add(file, stored("run-a", records("run-a")), added_utc=WHEN)
    baselines.add(file, stored("run-b", records("run-b"), host=OTHER_HOST, host_fingerprint="ab" * 32), added_utc=WHEN)
    current = load_run(stored("run-c", records("run-c"))).info
    assert baselines.find(file, current).info.run_id == "run-a"


def test_no_baseline_is_exit_12_and_says_how_to_store_one(file, stored, records):
    current = load_run(stored("run-a", records("run-a"))).info
    with pytest.raises(IncomparableRecords, match=r"no baseline of suite 'quick'.*baseline add") as caught:
        baselines.find(file, current)
    assert caught.value.exit_code == 12


def test_a_run_that_proves_nothing_cannot_become_a_baseline(file, stored, records, factory):
    with pytest.raises(ResultsError, match="has not ended"):
        baselines.add(file, stored("run-a", records("run-a"), finished_utc=None), added_utc=WHEN)
    bad = (factory.record(factory.train_case("lora"), outcome=Failed(error="WorkerFailed", message="died")),)
    with pytest.raises(ResultsError, match=r"failed cases \(train/lora@cpu\)"):
        baselines.add(file, stored("run-b", bad), added_utc=WHEN)
    good = stored("run-c", records("run-c"))
    baselines.add(file, good, added_utc=WHEN)
    with pytest.raises(ResultsError, match="already"):
        baselines.add(file, good, added_utc=WHEN)


def test_a_run_that_lies_elsewhere_cannot_become_a_baseline(tmp_path, stored, records):
    folder = stored("run-a", records("run-a"))
    with pytest.raises(ResultsError, match="does not lie beside"):
        baselines.add(tmp_path / "elsewhere" / baselines.FILE, folder, added_utc=WHEN)


def test_the_same_code_again_is_no_alarm_and_says_what_would_have_been_found(stored, records):
    result, cases = against(stored("run-a", records("run-a")), stored("run-b", records("run-b", seed=2)))
    assert result.exit_code == 0
    assert cases[CASE].verdict in (Verdict.PASS, Verdict.INCONCLUSIVE)
    assert cases[CASE].advisory
    assert 0 < cases[CASE].estimate.detectable < 0.2
    assert "would have been found" in cases[CASE].reason
    assert cases["quick/torch_eager@cpu/offline"].verdict is Verdict.INCONCLUSIVE
    assert "not interleaved" in cases["quick/torch_eager@cpu/offline"].reason


def test_a_cost_far_beyond_the_tolerance_fails_and_a_small_one_is_a_trend(stored, records):
    base = stored("run-a", records("run-a"))
    result, cases = against(base, stored("run-b", records("run-b", 0.6 * 1.2, seed=2)))
    assert (cases[CASE].verdict, cases[CASE].advisory) == (Verdict.REGRESSED, False)
    assert result.exit_code == 10
    assert cases[CASE].estimate.low > 0.03
    assert cases[CASE].estimate.same_sign == cases[CASE].estimate.forks == 8
    assert 0.015 < cases[CASE].head_j < 0.018
    result, cases = against(base, stored("run-c", records("run-c", 0.6 * 1.035, seed=3)))
    assert cases[CASE].advisory
    assert result.exit_code == 0


def test_a_saving_bought_with_quality_is_exit_14(stored, records):
    base = stored("run-a", records("run-a"))
    result, cases = against(base, stored("run-b", records("run-b", 0.3, seed=2, accuracy_flips=(0, 60))))
    assert cases[CASE].verdict is Verdict.WORSE_QUALITY
    assert cases[CASE].quality.worse
    assert result.exit_code == 14


def test_a_case_that_vanished_is_exit_12_and_a_new_one_is_listed(stored, records, factory):
    extra = (factory.Truth("onnxruntime_fp32", 0.9),)
    base, run = stored("run-a", records("run-a", others=extra)), stored("run-b", records("run-b", seed=2))
    result, cases = against(base, run)
    assert cases["quick/onnxruntime_fp32@cpu/offline"].verdict is Verdict.VANISHED
    assert result.exit_code == 12
    result, cases = against(run, base)
    assert cases["quick/onnxruntime_fp32@cpu/offline"].verdict is Verdict.NEW
    assert result.exit_code == 0


def test_a_case_that_is_skipped_now_vanished_and_says_why(stored, records):
    base, now = records("run-a"), records("run-b", seed=2)
    skipped = msgspec.structs.replace(now[1], outcome=Skipped(reason="onnxruntime is not installed"), windows=())
    result, cases = against(stored("run-a", base), stored("run-b", (now[0], skipped)))
    assert cases[CASE].verdict is Verdict.VANISHED
    assert "onnxruntime is not installed" in cases[CASE].reason
    assert result.exit_code == 12


def test_other_meters_data_or_models_are_refused(stored, records, factory):
    base = stored("run-a", records("run-a"))
    changes = {
        "data": msgspec.structs.replace(factory.DATA, content_sha256="e0" * 32),
        "model": msgspec.structs.replace(factory.MODEL, weights_sha256="b2" * 32),
    }
    for number, (name, value) in enumerate(changes.items()):
        other = tuple(msgspec.structs.replace(each, **{name: value}) for each in records(f"run-{number}"))
        with pytest.raises(IncomparableRecords, match=rf"\n  {name}: "):
            against(base, stored(f"run-{number}", other))
    maker = factory.Maker(provenance=factory.Provenance.COUNTER)
    truths = (factory.Truth("torch_eager"), factory.Truth("length_bucketing", 0.6))
    metered = factory.infer_group(truths, forks=8, blocks=10, maker=maker, run_id="run-m")
    with pytest.raises(IncomparableRecords, match=r"meters: .*fake.* \| .*counter"):
        against(base, stored("run-m", metered))


def test_an_accepted_cost_passes_until_its_entry_expires(tmp_path, stored, records):
    import datetime as dt

    path = tmp_path / "gate.yaml"
    path.write_text(
        "cases: [{suite: quick.yaml}]\n"
        f'accept: [{{case: "{CASE}", up_to: 30%, reason: checks its input, expires: 2026-12-31}}]\n'
    )
    base, run = stored("run-a", records("run-a")), stored("run-b", records("run-b", 0.6 * 1.2, seed=2))
    result, cases = against(base, run, config=targets.load(path, today=dt.date(2026, 12, 31)))
    assert (result.exit_code, cases[CASE].verdict) == (0, Verdict.REGRESSED)
    assert "checks its input" in cases[CASE].accepted
    result, cases = against(base, run, config=targets.load(path, today=dt.date(2027, 1, 1)))
    assert (result.exit_code, cases[CASE].accepted) == (10, None)


def accepting(tmp_path, case):
    path = tmp_path / "gate.yaml"
    path.write_text(
        "cases: [{suite: quick.yaml}]\n"
        f'accept: [{{case: "{case}", up_to: 30%, reason: on purpose, expires: 2999-12-31}}]\n'
    )
    return targets.load(path)


def test_an_entry_acknowledges_a_case_that_vanished_or_is_new(tmp_path, stored, records, factory):
    case = "quick/onnxruntime_fp32@cpu/offline"
    extra = (factory.Truth("onnxruntime_fp32", 0.9),)
    with_it, without = stored("run-a", records("run-a", others=extra)), stored("run-b", records("run-b", seed=2))
    config = accepting(tmp_path, case)
    for base, run, verdict in ((with_it, without, Verdict.VANISHED), (without, with_it, Verdict.NEW)):
        result, cases = against(base, run, config=config)
        assert cases[case].verdict is verdict
        assert "on purpose" in cases[case].accepted
        assert not [reason for reason in result.exit_reasons if case in reason]
        assert result.exit_code == 0


def test_strict_fails_what_is_inconclusive_but_for_what_nothing_was_interleaved_with(stored, records):
    base = stored("run-a", records("run-a", forks=2))
    few, cases = against(base, stored("run-b", records("run-b", forks=2, seed=2)), strict=True)
    assert cases[CASE].verdict is Verdict.INCONCLUSIVE
    assert few.exit_code == 11
    assert [reason.split(": ")[1] for reason in few.exit_reasons] == [CASE]
    assert against(base, stored("run-c", records("run-c", forks=2, seed=2)))[0].exit_code == 0


def test_a_case_that_is_invalid_is_not_judged_by_its_quality(stored, records):
    now = records("run-b", 0.3, seed=2, accuracy_flips=(0, 60))
    lost = msgspec.structs.replace(now[1].windows[-1].measured, energies=())
    windows = (*now[1].windows[:-1], msgspec.structs.replace(now[1].windows[-1], measured=lost))
    broken = (now[0], msgspec.structs.replace(now[1], windows=windows))
    result, cases = against(stored("run-a", records("run-a")), stored("run-b", broken))
    assert cases[CASE].quality.worse
    assert cases[CASE].verdict is Verdict.INVALID
    assert result.exit_code == 13


def test_a_refusal_leaves_the_reports_that_were_asked_for_and_no_empty_folder(tmp_path, joulebench, stored, records):
    stored("20261124T100000Z-quick", records("run-b"))
    before = set((tmp_path / "results").rglob("*"))
    ended = joulebench("gate", "--baseline", "results", "--junit", "out/gate.xml", "--md", "out/gate.md")
    assert ended.returncode == 12
    assert "holds no baseline of suite 'quick'" in ended.stderr
    assert set((tmp_path / "results").rglob("*")) == before
    junit, md = (tmp_path / "out" / "gate.xml").read_text(), (tmp_path / "out" / "gate.md").read_text()
    assert 'errors="1"' in junit
    assert "holds no baseline of suite" in junit
    assert "(exit 12)" in md
    assert "holds no baseline of suite" in md


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        (("--baseline", "results", "-k", "encode", "--head", "HEAD"), "--head and -k"),
        (
            ("--baseline", "results", "--build", "make", "--budget", "5m", "--seed", "1"),
            "--budget and --seed and --build",
        ),
        (("--base", "HEAD", "--run", "results"), "--run"),
    ],
)
def test_an_option_that_would_change_nothing_is_refused(joulebench, typed, named):
    ended = joulebench("gate", *typed)
    assert ended.returncode == 2
    assert f"so {named} would change nothing" in ended.stderr


def test_a_misspelt_configuration_is_not_taken_for_the_default_promises(joulebench, stored, records):
    stored("20261124T100000Z-quick", records("run-b"))
    ended = joulebench("gate", "gaet.yaml", "--baseline", "results")
    assert ended.returncode == 2
    assert "there is no gaet.yaml" in ended.stderr


def test_the_commands_keep_list_show_and_gate(tmp_path, joulebench, stored, records):
    base, run = stored("run-a", records("run-a")), stored("20261124T100000Z-quick", records("run-b", 0.72, seed=2))
    added = joulebench("baseline", "add", str(base), "--note", "release 1")
    assert added.returncode == 0, added.stderr
    assert "run-a  release 1" in joulebench("baseline", "list").stdout
    shown = joulebench("baseline", "show", "1")
    assert "records.jsonl: as it was added" in shown.stdout
    gated = joulebench("gate", "--baseline", "results", "--run", str(run), "--junit", "gate.xml")
    assert gated.returncode == 10, gated.stderr
    assert CASE in gated.stdout
    assert "length_bucketing" in (tmp_path / "gate.xml").read_text()
    (base / "run.json").write_bytes((base / "run.json").read_bytes() + b"\n")
    refused = joulebench("gate", "--baseline", "results", "--run", str(run))
    assert refused.returncode == 12
    assert "run.json: changed" in refused.stderr


def test_gate_needs_either_a_base_or_a_baseline(joulebench):
    result = joulebench("gate")
    assert result.returncode == 2
    assert "--base, to measure both sides now" in result.stderr


def test_a_baseline_whose_run_is_gone_says_what_to_fetch(file, stored, records):
    folder = stored("run-a", records("run-a"))
    entry = baselines.add(file, folder, added_utc=WHEN)
    shutil.rmtree(folder)
    with pytest.raises(IncomparableRecords, match="does not exist; fetch"):
        baselines.verify(file, entry)
