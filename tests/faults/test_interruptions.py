"""An interrupted run keeps what it measured and goes on from there."""

import os
import signal
import time
from pathlib import Path

import pytest

from harness import store
from harness.records import Ok

pytestmark = pytest.mark.slow


def wait_for(condition, timeout_s=180.0):
    """Return once the condition holds; what is waited for is another process."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{condition.__name__} did not come true within {timeout_s} s")
        time.sleep(0.05)


def folder_of(results: Path) -> Path | None:
    folders = store.runs(results)
    return folders[-1] if folders else None


def measured_run_windows(results: Path) -> int:
    folder = folder_of(results)
    return sum(logged.window.kind.value == "run" for logged in store.read_windows(folder)) if folder else 0


def workers() -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"harness.worker" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def test_a_run_killed_in_the_middle_and_run_again_has_every_record_once(start, joulebench, tiny, tmp_path):
    results = tmp_path / "results"
    longer = ("measure.blocks=12", "measure.min_window_s=0.3")
    killed = start("run", str(tiny), *longer)
    wait_for(lambda: measured_run_windows(results) >= 9)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    wait_for(lambda: not workers(), timeout_s=10)

    before = store.load_run(folder_of(results))
    assert [record.case.technique for record in before.records] == ["from_scratch"]
    kept_blocks = measured_run_windows(results) // 4

    again = joulebench("run", str(tiny), *longer)
    assert again.returncode == 0, again.stderr
    assert "resuming" in again.stderr
    (folder,) = store.runs(results)
    lines = (folder / "records.jsonl").read_text().splitlines()
    after = store.load_run(folder)
    assert len(lines) == len(after.records) == len(after.info.case_ids) == 3
    assert after.records[0] == before.records[0]
    assert all(isinstance(record.outcome, Ok) for record in after.records)

    eager = after.records[1]
    first_fork = {w.block for w in eager.windows if w.kind.value == "run" and w.fork == 0}
    assert len(first_fork) >= kept_blocks > 0


def test_ctrl_c_ends_in_130_leaves_no_worker_and_the_same_command_goes_on(start, joulebench, tiny, tmp_path):
    results = tmp_path / "results"
    stopped = start("run", str(tiny), "measure.blocks=12", "measure.min_window_s=0.3")
    wait_for(lambda: measured_run_windows(results) >= 5)
    stopped.send_signal(signal.SIGINT)
    _, stderr = stopped.communicate(timeout=30)
    assert stopped.returncode == 130
    assert "interrupted; what was measured is kept" in stderr
    assert workers() == []
    again = joulebench("run", str(tiny), "measure.blocks=12", "measure.min_window_s=0.3")
    assert again.returncode == 0, again.stderr
    assert "resuming" in again.stderr


def test_two_runs_at_once_on_one_host_are_refused(start, joulebench, tiny, tmp_path):
    first = start("run", str(tiny))
    wait_for(lambda: folder_of(tmp_path / "results") is not None)
    second = joulebench("run", str(tiny))
    assert second.returncode == 2
    assert f"process {first.pid} is measuring on this host" in second.stderr
    os.kill(first.pid, signal.SIGINT)
    first.communicate(timeout=30)
