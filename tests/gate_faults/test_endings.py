"""Gates that do not come to their end: interrupted, hung, out of room, or not the only one; nothing of them is left."""

import signal
import subprocess

import pytest

BESIDE = """\
import functools
import subprocess


@functools.cache
def beside(): return subprocess.Popen(["sleep", "300"])
def work(): return beside() and sum(range(9999))
"""
HANGS = "cases: [{name: hangs, target: 'package.hangs:work'}]\n"
MOUNT = 'mount -t tmpfs -o size="$1" none "$2" && shift 2 && exec "$@"'


@pytest.fixture
def running(repository, start):
    """A gate that measures, with a program that each worker has started beside it."""
    folder = repository("cases: [{name: a, target: 'package.beside:work'}]\n", {"package/beside.py": BESIDE})
    process = start(folder, "gate", "--base", "HEAD")
    blocks = folder / "results"
    process.wait_for(lambda: any(path.stat().st_size for path in blocks.glob("*/*-gate*/blocks.jsonl")))
    assert len(process.descendants()) >= 2 * 12
    return process


def interrupted(process):
    ended = process.end(timeout_s=30)
    ended.ends(130, "interrupted: nothing was decided, and all processes and slots of this gate are gone; run it again")
    assert ended.out == ""


@pytest.mark.accident("interrupted by Ctrl-C", exits=130)
def test_ctrl_c_leaves_no_process_and_no_slot(running):
    running.process.send_signal(signal.SIGINT)
    interrupted(running)


@pytest.mark.accident("cancelled by CI (SIGTERM, and again)", exits=130)
def test_a_job_that_ci_cancels_leaves_no_process_and_no_slot(running):
    running.process.send_signal(signal.SIGTERM)
    running.process.send_signal(signal.SIGTERM)
    running.process.send_signal(signal.SIGINT)
    interrupted(running)


@pytest.mark.accident("two gates at once; the first cancelled while it builds", exits=2)
def test_a_second_gate_on_one_host_is_refused_and_a_build_ends_with_its_gate(repository, start, tmp_path):
    folder = repository()
    first = start(folder, "gate", "--base", "HEAD", "--build", f"touch {tmp_path}/begun; sleep 300; true")
    first.wait_for((tmp_path / "begun").exists)
    again = start(folder, "gate", "--base", "HEAD", TMPDIR=first.temporary).end(alone=False)
    again.ends(2, f"process {first.process.pid} is measuring on this host")
    first.process.send_signal(signal.SIGTERM)
    interrupted(first)


@pytest.mark.slow
@pytest.mark.accident("hung worker", exits=13)
def test_a_worker_that_hangs_is_ended_and_not_started_anew_when_time_is_over(repository, gate):
    hangs = {"package/hangs.py": "import time\ndef work(): time.sleep(3600)\n"}
    folder = repository(HANGS, {"package/hangs.py": "def work(): return 1\n"}, hangs)
    ended = gate(folder, "--budget", "1s")
    ended.ends(13, "GATE INVALID hangs", "said nothing for 10 s and was ended", "no time was left to start it anew",
               verdict="invalid")  # fmt: skip
    assert "head: worker" in ended.cases["hangs"].reason


@pytest.fixture
def small():
    """Return a function that gives the beginning of a command which sees a folder as a small disk."""

    def prefix(size, folder):
        folder.mkdir(exist_ok=True)
        own = ["unshare", "--map-root-user", "--mount", "sh", "-c", MOUNT, "sh", size, str(folder)]
        tried = subprocess.run([*own, "true"], capture_output=True, text=True, check=False)
        if tried.returncode != 0:
            pytest.skip(f"no small disk can be mounted here: {tried.stderr.strip()}")
        return own

    return prefix


@pytest.mark.accident("disk of the results full", exits=2)
def test_results_that_no_longer_fit_end_the_gate(repository, gate, small):
    folder = repository()
    gate(folder, prefix=small("16k", folder / "results")).ends(2, "cannot append to", "No space left on device")


@pytest.mark.accident("disk of the slots full", exits=2)
def test_slots_that_do_not_fit_end_the_gate(repository, gate, small, tmp_path):
    folder = repository(base={"large.txt": "x" * 200_000})
    ended = gate(folder, prefix=small("512k", tmp_path / "small"), TMPDIR=str(tmp_path / "small"))
    ended.ends(2, "base and head cannot be laid out in", "set TMPDIR to another folder")
