"""Shared surroundings: the real command line, run as a process, on a suite small enough for a test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

ONE_AT_A_TIME = (
    "tests/calibration/",
    "tests/ci/",
    "tests/cli/",
    "tests/counters/",
    "tests/engines/",
    "tests/faults/",
    "tests/gate/",
    "tests/gate_faults/",
    "tests/interop/",
    "tests/sampling/test_command.py",
)
"""Tests that start real runs, of which a host takes one at a time, or that look at all groups of processes."""


def pytest_configure():
    """Let Ctrl-C reach the processes of tests, also where a shell started this in the background and has it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Let `-n` give those tests to one worker and the other files to whoever is free."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return "one at a time" if nodeid.startswith(ONE_AT_A_TIME) else nodeid.split("::")[0]

    return ByFile(config, log)


@pytest.fixture(scope="session", autouse=True)
def _not_a_worker():
    """Let no pytest that a test starts take itself for a worker of this one."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("PYTEST_XDIST_")]:
            patch.delenv(name)
        yield


TINY = """\
suite: tiny
workload:
  name: sentence_classification
  data: {source: docstrings, limit: {train: 64, validation: 16, test: 32}}
  model: {source: random, layers: 1, hidden: 32, heads: 2, vocabulary: 500}
  max_length: 16
train:
  - technique: from_scratch
    params: {epochs: 1}
infer:
  model_from: [from_scratch]
  techniques: [torch_eager, length_bucketing]
  slice: 16
measure: {forks: 1, max_forks: 1, blocks: 2, min_window_s: 0.05, timeout_s: 120, idle_s: 0.2}
budget: 5m
"""


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """Return a cache folder of this test session, so that nobody's own cache is touched."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def tiny(tmp_path):
    """Return the path of a suite that ends within half a minute."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY, encoding="utf-8")
    return path


@pytest.fixture
def environment(cache):
    """Return the environment of a joulebench process in a test."""
    return {**os.environ, "XDG_CACHE_HOME": str(cache), "HF_HUB_OFFLINE": "1", "COLUMNS": "120"}


@pytest.fixture
def joulebench(tmp_path, environment):
    """Return a function that runs the real command line in a process of its own, in `tmp_path`."""

    def run(*arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "harness", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture
def start(tmp_path, environment):
    """Return a function that starts the real command line and leaves it running; it is ended after the test."""
    processes = []

    def popen(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "harness", *arguments],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield popen
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def done(tmp_path_factory, cache):
    """Return one tiny run that is done: its folder on disk, and how the command line ended."""
    folder = tmp_path_factory.mktemp("done")
    (folder / "tiny.yaml").write_text(TINY, encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, "-m", "harness", "run", "tiny.yaml", "measure.forks=2", "measure.max_forks=2"],
        cwd=folder,
        env={**os.environ, "XDG_CACHE_HOME": str(cache), "COLUMNS": "160"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    (run,) = (path.parent for path in (folder / "results").glob("*/*/run.json"))
    return run, ended
