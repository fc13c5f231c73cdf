"""A case in a control group of its own, on the real kernel where it allows one."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.counters.edges import Edges, Span
from harness.counters.process import enter_own_group, usage_s

BURN = "import time\nwhile time.process_time() < {}: pass"


def in_group(body):
    """Run `body` in a fresh process that has entered a group of its own; return what it printed."""
    script = (
        "import os, subprocess, sys, time\n"
        "from harness.counters.edges import Edges, Span\n"
        "from harness.counters.process import enter_own_group, usage_s\n"
        "group, why = enter_own_group()\n"
        "if group is None:\n    print('NO', why)\n    sys.exit(0)\n" + body
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    if run.stdout.startswith("NO"):
        pytest.skip(run.stdout.strip()[3:])
    return run.stdout.split()


def test_an_orphan_that_nobody_waits_for_is_billed():
    own_s, cpu_s = in_group(
        "edges = Edges([], group=group)\n"
        "begin = edges.begin()\n"
        f"burn = {BURN.format(0.3)!r}\n"
        'leave = \'import subprocess, sys; subprocess.Popen([sys.executable, "-S", "-c", sys.argv[1]])\'\n'
        "subprocess.run([sys.executable, '-S', '-c', leave, burn], check=True)\n"
        "time.sleep(1.2)\n"
        "end = edges.end()\n"
        "print(Span(begin._replace(group=b''), end._replace(group=b'')).cpu_s, Span(begin, end).cpu_s)\n"
        "edges.close()\n"
    )
    assert float(own_s) < 0.25, "without the group the orphan is lost"
    assert float(cpu_s) >= float(own_s) + 0.27


def test_a_child_that_is_still_running_is_billed_up_to_now():
    own_s, cpu_s = in_group(
        "edges = Edges([], group=group)\n"
        "begin = edges.begin()\n"
        "child = subprocess.Popen([sys.executable, '-S', '-c', 'while True: pass'])\n"
        "time.sleep(0.6)\n"
        "end = edges.end()\n"
        "child.kill(); child.wait()\n"
        "print(Span(begin._replace(group=b''), end._replace(group=b'')).cpu_s, Span(begin, end).cpu_s)\n"
        "edges.close()\n"
    )
    assert float(own_s) < 0.1
    assert float(cpu_s) > 0.2


def test_a_child_of_an_earlier_window_is_not_billed_to_the_one_that_reaps_it():
    own_s, cpu_s = in_group(
        "edges = Edges([], group=group)\n"
        f"child = subprocess.Popen([sys.executable, '-S', '-c', {BURN.format(0.3)!r}])\n"
        "time.sleep(1.2)\n"
        "begin = edges.begin()\n"
        "child.wait()\n"
        "end = edges.end()\n"
        "print(Span(begin._replace(group=b''), end._replace(group=b'')).cpu_s, Span(begin, end).cpu_s)\n"
        "edges.close()\n"
    )
    assert float(own_s) >= 0.3, "the clock of reaped children jumps"
    assert float(cpu_s) < 0.05


def test_the_group_is_gone_when_the_case_is_and_a_killed_ones_is_swept_by_the_next():
    (folder, inside, after) = in_group(
        "inside = os.path.isdir(group.folder)\n"
        "group.close(); group.close()\n"
        "print(group.folder, inside, os.path.isdir(group.folder))\n"
    )
    assert (inside, after) == ("True", "False")
    (left,) = in_group("print(group.folder)\n")
    assert Path(left).exists(), "nobody closed it"
    in_group("print(group.folder)\ngroup.close()\n")
    assert not Path(left).exists()
    assert not Path(folder).exists()


def test_the_sweep_leaves_a_group_alone_whose_maker_lives():
    (found,) = in_group(
        "from harness.counters import process\n"
        "parent = os.path.dirname(group.folder)\n"
        "fresh = f'{parent}/joulebench-{os.getppid()}'\n"
        "os.mkdir(fresh)\n"
        "process._sweep(parent)\n"
        "print(os.path.isdir(fresh))\n"
        "os.rmdir(fresh); group.close()\n"
    )
    assert found == "True", "it may be about to move in"


def test_without_a_group_v2_or_the_right_to_write_there_the_reason_is_given(tmp_path):
    group, why = enter_own_group(str(tmp_path))
    assert group is None
    assert "no cgroup v2" in why
    (tmp_path / "self").mkdir()
    (tmp_path / "self/cgroup").write_text("12:cpu:/\n0::/user.slice/session-2.scope\n")
    (tmp_path / "self/mountinfo").write_text(f"30 24 0:26 / {tmp_path}/absent rw - cgroup2 cgroup2 rw\n")
    group, why = enter_own_group(str(tmp_path))
    assert group is None
    assert "absent/user.slice/session-2.scope" in why


def test_usage_is_read_in_microseconds():
    assert usage_s(b"usage_usec 1500000\nuser_usec 1\n") == 1.5
    assert usage_s(b"") is None


def test_where_clock_and_group_agree_the_finer_clock_decides():
    edges = Edges([])
    begin = edges.begin()
    while time.process_time_ns() - begin.cpu_ns < 50e6:
        pass
    end = edges.end()
    edges.close()
    own_s = Span(begin, end).cpu_s
    near = Span(begin._replace(group=b"usage_usec 0\n"), end._replace(group=b"usage_usec 55000\n"))
    assert near.cpu_s == own_s
    far = Span(begin._replace(group=b"usage_usec 0\n"), end._replace(group=b"usage_usec 2055000\n"))
    assert far.cpu_s == pytest.approx(2.055)
    assert os.getpid() == begin.pid
