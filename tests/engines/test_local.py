"""A local worker is a real process: it answers, and its end is explained."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.engines.local import LocalEngine, LocalSession, exclusive
from harness.errors import UsageError, WorkerFailed
from harness.messages import Build, Failure, encode
from harness.records import Case, Phase, WorkloadSpec

CASE = Case(workload=WorkloadSpec(name="w"), phase=Phase.INFER, technique="t", device="cpu", seed=1)


@pytest.fixture
def session(tmp_path):
    """Return a function that starts a process with this Python code as a worker."""
    made = []

    def start(code: str) -> LocalSession:
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        made.append(LocalSession(process, "worker of infer/t", tmp_path / "log"))
        return made[-1]

    yield start
    for each in made:
        each.kill()
        each.close()


def test_a_reply_that_arrives_in_pieces_is_put_together(session):
    reply = encode(Failure(error="E", message="m"))
    write = "o.write({!r}); o.flush(); time.sleep(0.1)"
    pieces = "; ".join(write.format(piece) for piece in (reply[:9], reply[9:]))
    code = f"import sys, time; o = sys.stdout.buffer; {pieces}; sys.stdin.read()"
    with pytest.raises(WorkerFailed, match="worker of infer/t failed: E: m"):
        session(code).receive(10)


def test_a_worker_that_is_killed_is_reported_with_its_signal(session):
    live = session("import sys; sys.stdin.read()")
    os.kill(live.pid, signal.SIGKILL)
    with pytest.raises(WorkerFailed, match="was ended by SIGKILL"):
        live.receive(10)


def test_a_worker_that_exits_is_reported_with_its_code(session):
    with pytest.raises(WorkerFailed, match="ended with exit code 7"):
        session("raise SystemExit(7)").receive(10)


def test_a_worker_that_hangs_is_ended(session):
    live = session("import time; time.sleep(60)")
    with pytest.raises(WorkerFailed, match=r"said nothing for 0 s and was ended; raise measure\.timeout_s"):
        live.receive(0.2)
    with pytest.raises(ProcessLookupError):
        os.kill(live.pid, 0)


def test_what_is_not_a_reply_is_refused(session):
    with pytest.raises(WorkerFailed, match="is no reply"):
        session("print('hello', flush=True); import sys; sys.stdin.read()").receive(10)


def test_sending_to_a_dead_worker_says_so(session):
    live = session("raise SystemExit(3)")
    os.waitid(os.P_PID, live.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(WorkerFailed, match="exit code 3"):
        live.send(Build())


def test_closing_lets_a_worker_end_by_itself(session):
    live = session("import sys; sys.stdin.read()")
    live.close()
    with pytest.raises(ProcessLookupError):
        os.kill(live.pid, 0)


def test_what_a_worker_left_in_the_background_ends_with_it(session, tmp_path):
    code = (
        "import subprocess, sys, pathlib;"
        f"child = subprocess.Popen(['sleep', '100']); pathlib.Path({str(tmp_path / 'pid')!r})"
        ".write_text(str(child.pid));"
        "sys.stdin.read()"
    )
    live = session(code)
    deadline_s = time.monotonic() + 10
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    child = Path("/proc") / (tmp_path / "pid").read_text()
    assert child.exists()
    live.close()
    while child.exists() and "Z" not in (child / "stat").read_text().split(")")[1].split()[0]:
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def test_a_real_worker_told_nonsense_answers_with_a_failure(tmp_path):
    live = LocalEngine(tmp_path).start(CASE, 0, {})
    live.send(Build())
    with pytest.raises(WorkerFailed, match="InvalidMeasurement: the first command to a worker must be Start"):
        live.receive(60)
    live.close()


def test_one_host_has_one_run(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with exclusive(), pytest.raises(UsageError, match=f"process {os.getpid()} is measuring on this host"), exclusive():
        pass
    with exclusive():
        pass
