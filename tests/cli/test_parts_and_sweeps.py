"""Suites of several parts, and sweeps, through the real command line and real models."""

import json
import re

import msgspec
import pytest

from harness import store
from harness.records import Ok

WORKLOAD = """
    name: sentence_classification
    data: {source: docstrings, limit: {train: 64, validation: 16, test: 32}}
    model: {source: random, layers: LAYERS, hidden: 32, heads: 2, vocabulary: 500}
    max_length: 16
"""

PARTS = f"""\
suite: two
parts:
- name: shallow
  workload: {WORKLOAD.replace("LAYERS", "1")}
  train: [{{technique: from_scratch, params: {{epochs: 1}}}}]
  infer: {{model_from: [from_scratch], techniques: [torch_eager, length_bucketing], slice: 16}}
  target_quality: 0.999
- name: deep
  workload: {WORKLOAD.replace("LAYERS", "2")}
  train: [{{technique: from_scratch, params: {{epochs: 1}}}}]
  infer: {{model_from: [from_scratch], techniques: [torch_eager], slice: 8}}
measure: {{forks: 1, max_forks: 1, blocks: 2, min_window_s: 0.05, timeout_s: 120, idle_s: 0.2}}
budget: 5m
"""


@pytest.fixture
def parts(tmp_path):
    path = tmp_path / "two.yaml"
    path.write_text(PARTS, encoding="utf-8")
    return path


def test_plan_shows_the_cases_of_all_parts(joulebench, parts):
    made = json.loads(joulebench("plan", str(parts), "--json").stdout)
    assert [(row["part"], row["name"].split("/")[0]) for row in made["run"]] == [
        (0, "shallow"), (1, "deep"), (0, "shallow"), (0, "shallow"), (1, "deep"),
    ]  # fmt: skip


def test_plan_shows_every_point_of_a_sweep(joulebench, tiny):
    text = tiny.read_text(encoding="utf-8") + "sweep: {workload.model.layers: [1, 2], measure.threads: [1, 2]}\n"
    tiny.write_text(text, encoding="utf-8")
    result = joulebench("plan", str(tiny))
    assert result.returncode == 0, result.stderr
    assert "layers=2,threads=2/infer/length_bucketing@cpu/offline" in result.stdout
    assert "8 workers are alive at once" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "has no `sweep:` and no axis was given"),
        (("--over", "measure.threads"), "is not of the form path=value,value"),
        (("--over", "measure.threads="), "is not of the form path=value,value"),
        (("--over", "measure.thread=1,2"), "did you mean 'measure.threads'?"),
        (("--over", "workload.max_length=16"), "an axis needs at least two values"),
        (("--over", "measure.threads=1", "--over", "measure.threads=2"), "--over names measure.threads twice"),
        (("--over", "infer.batch_size=1,999"), "set infer.slice=999"),
        (("--over", "train.epochs=1,2"), "a sweep measures inference"),
    ],
)
def test_a_sweep_without_an_axis_that_can_be_read_is_refused(joulebench, tiny, arguments, message):
    result = joulebench("sweep", str(tiny), *arguments)
    assert result.returncode == 2
    assert message in result.stderr


@pytest.mark.slow
def test_a_run_of_two_parts_keeps_them_apart_and_is_resumed(joulebench, parts, tmp_path):
    first = joulebench("run", str(parts))
    assert first.returncode == 0, first.stderr
    (folder,) = (path.parent for path in (tmp_path / "results").glob("*/*/run.json"))
    run = store.load_run(folder)
    assert all(isinstance(record.outcome, Ok) for record in run.records)
    targets = {run.info.labels[record.case_id]: record.target_quality for record in run.records if record.curve}
    assert targets == {"shallow": 0.999, "deep": None}
    batches = {run.info.labels[r.case_id]: {w.tasks for w in r.windows if w.kind == "warmup"} for r in run.records}
    assert batches["shallow"] == {16}
    assert batches["deep"] == {8}
    assert "Inference on shallow/cpu/offline" in first.stdout
    assert "Training on deep" in first.stdout
    shown = joulebench("report", str(folder)).stdout
    assert "On shallow/cpu/offline: " in shown
    lines = (folder / "records.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "records.jsonl").write_text("".join(lines[:-1]), encoding="utf-8")
    store.write_info(folder, msgspec.structs.replace(run.info, finished_utc=None))
    again = joulebench("run", str(parts))
    assert again.returncode == 0, again.stderr
    assert "resuming" in again.stderr
    assert len(store.load_run(folder).records) == len(lines)


@pytest.mark.slow
def test_a_sweep_ends_with_an_exponent_along_each_axis(joulebench, tiny, tmp_path):
    axes = {"model.layers": "1,6", "max_length": "16,64"}
    over = [f"workload.{axis}={values}" for axis, values in axes.items()]
    over += ["infer.batch_size=1,8", "measure.threads=1,2"]
    first = ("layers=1,", "max_length=16,", "batch_size=1,", "threads=1/")
    pairs = [(a, b) for number, a in enumerate(first) for b in first[number + 1 :]]
    star = " and ".join(f"({a} or {b})" for a, b in pairs)  # the first point, and those that differ from it in one axis
    result = joulebench(
        "sweep", str(tiny), "infer.techniques=[torch_eager]", "-k", star, *(f"--over={each}" for each in over)
    )
    assert result.returncode == 0, result.stderr
    said = " ".join(result.stdout.split())
    for size in ("parameters", "layers", "max_length", "batch_size", "threads"):
        assert re.search(rf"Energy per task of inference (grows|falls) as {size}\^", said), said
    assert "Claim C3" in said
    assert "Sweep: energy a task of inference at every point" in said
    (folder,) = (path.parent for path in (tmp_path / "results").glob("*/*/run.json"))
    run = store.load_run(folder)
    infers = [record for record in run.records if record.case.phase.value == "infer"]
    assert len(infers) == 5
    assert len(run.records) - len(infers) == 3
    blocks = [{(w.fork, w.block) for w in record.windows if w.kind == "run"} for record in infers]
    assert all(each == blocks[0] for each in blocks)
    assert "Energy per task of inference" in joulebench("report", str(folder), "--format", "markdown").stdout
