"""A training that is killed goes on from its last kept state, and each joule is counted once."""

import os
import signal
import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from harness import stats, store
from harness.interop import figures
from harness.records import Doubt, Ok, WindowKind

pytestmark = pytest.mark.slow

EPOCHS, EXAMPLES = 30, 160


@pytest.fixture
def long_suite(tmp_path):
    """Return a suite whose only train case takes many steps."""
    path = tmp_path / "long.yaml"
    path.write_text(
        "suite: long\n"
        "workload:\n"
        "  name: sentence_classification\n"
        f"  data: {{source: docstrings, limit: {{train: {EXAMPLES}, validation: 30, test: 30}}}}\n"
        "  model: {source: random, layers: 2, hidden: 64, heads: 2, vocabulary: 800}\n"
        "  max_length: 32\n"
        "train:\n"
        f"  - {{technique: from_scratch, params: {{epochs: {EPOCHS}, batch_size: 8, checkpoints_per_epoch: 1}}}}\n"
        "stop_at_target: false\n"
        "measure: {keep_s: 0, idle_s: 0}\n"
        "budget: 10m\n"
    )
    return path


def progress_of(results: Path) -> dict | None:
    files = list(results.glob("*/*/training/*/progress.json"))
    return msgspec.json.decode(files[0].read_bytes()) if files else None


def train_windows(windows):
    return [window for window in windows if window.kind is WindowKind.TRAIN]


def kill_once_kept(process, results, least):
    deadline = time.monotonic() + 120
    while (found := progress_of(results)) is None or found["resume"]["steps"] < least:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(1.0)  # the worker dies with its parent
    return progress_of(results)


def test_a_training_killed_twice_counts_each_example_and_each_window_once(start, joulebench, long_suite, tmp_path):
    results = tmp_path / "results"
    first = kill_once_kept(start("run", str(long_suite)), results, 60)
    second = kill_once_kept(start("run", str(long_suite)), results, first["resume"]["steps"] + 60)
    again = joulebench("run", str(long_suite))
    assert again.returncode == 0, again.stderr

    (folder,) = store.runs(results)
    (record,) = store.load_run(folder).records
    assert isinstance(record.outcome, Ok)
    assert Doubt.RESUMED in record.doubts
    windows = train_windows(record.windows)
    assert sum(window.tasks for window in windows) == EPOCHS * EXAMPLES
    assert record.curve[-1].examples == EPOCHS * EXAMPLES
    begun = Counter(window.measured.begun_unix_s for window in record.windows)
    assert set(begun.values()) == {1}
    assert [window.fork for window in windows] == sorted(window.fork for window in windows)
    assert {window.fork for window in windows} == {0, 1, 2}
    taken_up = [window for window in windows if window.label == "taken up again"]
    assert [window.tasks for window in taken_up] == [0, 0]

    kept = msgspec.json.encode(list(record.windows[: len(second["windows"])]))
    assert msgspec.json.decode(kept) == second["windows"], (
        "what was measured before the kill is in the record as it was"
    )
    assert second["windows"][: len(first["windows"])] == first["windows"]

    logged = [each.window for each in store.read_windows(folder)]
    energy_j = sum(energy.energy_j for window in windows for energy in window.measured.energies if energy.billed)
    spent_j = sum(
        energy.energy_j for window in train_windows(logged) for energy in window.measured.energies if energy.billed
    )
    assert 0 < energy_j <= spent_j * (1 + 1e-9)
    assert stats.training_total(record).energy_j == pytest.approx(energy_j)
    assert stats.training_interval([record], 0.95).total.energy_j == pytest.approx(energy_j)
    assert stats.training_interval([record], 0.95).spread is not stats.Spread.BETWEEN_RUNS
    assert stats.training_duration_s(record) == pytest.approx(sum(window.measured.duration_s for window in windows))
    (figure,) = figures.load(folder).figures
    assert (figure.energy_j, len(figure.joules)) == (pytest.approx(energy_j), 1)
    steps = [point.steps for point in record.curve]
    assert steps == sorted(set(steps))
    assert not list((folder / "training").glob("*")), "what was kept is gone once the record is there"


def test_a_damaged_state_is_named_with_what_to_do(start, joulebench, long_suite, tmp_path):
    results = tmp_path / "results"
    kept = kill_once_kept(start("run", str(long_suite)), results, 40)
    (folder,) = store.runs(results)
    state = folder / kept["resume"]["file"]
    os.truncate(state, 100)
    again = joulebench("run", str(long_suite))
    assert again.returncode != 0
    (record,) = store.load_run(folder).records
    assert f"{state.parent.name} to train from the start" in record.outcome.message
    for file in state.parent.iterdir():
        file.unlink()
    state.parent.rmdir()
    assert joulebench("run", str(long_suite)).returncode == 0
    (record,) = store.load_run(folder).records
    assert isinstance(record.outcome, Ok)
    assert Doubt.RESUMED not in record.doubts
