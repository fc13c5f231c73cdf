"""The real gate as a process, over real repositories, on which accidents are let loose; and that nothing of it is left.

Every test here is an accident, `@pytest.mark.accident(what, exits=code)`, and must have seen a gate end with that code.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from harness.gate import lines, writing

TESTS = Path(__file__).resolve().parents[1]
PROMISES = """\
gate:
  {forks: 6, blocks: 24, looks: 1, confirmations: 1, min_effect: 30%, tolerance: 60%, control_drift: 90%, slot_s: 0.004}
"""
MEASURED = frozenset({0, 10, 11, 12, 13, 14})
WORDS = {"invalid": "INVALID", "vanished": "VANISHED", "new": "NEW", "worse-quality": "WORSE-QUALITY",
         "regressed": "FAIL", "inconclusive": "INCONCLUSIVE", "pass": "PASS", "improved": "IMPROVED"}  # fmt: skip
SEEN = []
"""The exit codes that the test at hand has seen a gate give for its accident."""


def pytest_configure(config):
    config.addinivalue_line("markers", "accident(what, exits): what goes wrong in CI, and the one right exit code")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Fail a test that names no accident, or that ended without having seen a gate end as the accident must."""
    SEEN.clear()
    result = yield
    accident = item.get_closest_marker("accident")
    if accident is not None:
        assert accident.kwargs["exits"] in SEEN, f"no gate was seen to end in {accident.kwargs['exits']}, but in {SEEN}"
    else:
        assert item.path.stem == "test_table", "name the accident and its exit code"
    return result


class Ended:
    """A process of the command line that has ended; its results, if it wrote some."""

    def __init__(self, code, out, err, folder):
        self.code, self.out, self.err = code, out, err
        self.folder = folder
        written = folder is not None and (folder / writing.GATE).exists()
        self.result = writing.read_gate(folder) if written else None
        self.cases = {case.name: case for case in self.result.cases} if written else {}

    @property
    def said(self):
        return f"exit {self.code}\n{self.out}\n{self.err}"

    def ends(self, code, *words, verdict=None, verdicts=None):
        """Check how all of it ended; with the verdict of its only case, or those of all, a result must agree."""
        verdicts = [verdict] if verdict is not None else verdicts
        assert self.code == code, self.said
        assert "Traceback" not in self.err, self.said
        for word in words:
            assert word in self.out + self.err, self.said
        assert (self.result is not None) is (verdicts is not None), self.said
        if verdicts is not None:
            assert [case.verdict.value for case in self.result.cases] == verdicts, self.said
            self.agrees()
        SEEN.append(code)

    def case_ends(self, name, code, verdict, *words):
        """Check what became of one case among several: the one reason for the exit that names it, and its line."""
        case = self.cases[name]
        assert case.verdict.value == verdict, f"{case.reason}\n{self.said}"
        for word in words:
            assert word in case.reason
        mine = [reason for reason in self.result.exit_reasons if f": {name}: " in reason]
        assert [reason.split(" ")[0] for reason in mine] == ([str(code)] if code else [])
        (line,) = [line for line in self.out.splitlines() if line.startswith(f"GATE {WORDS[verdict]} {name} ")]
        assert " ".join(case.reason.split()) in line
        self.agrees()
        SEEN.append(code)

    def agrees(self):
        """Check that file, log and process end alike."""
        assert self.result.exit_code == self.code
        assert f"; exit {self.code}" in self.out.splitlines()[-1]
        assert self.code in (lines.exit_codes(self.result) or (0,))
        assert (self.folder / writing.JUNIT).exists()
        assert (self.folder / writing.SUMMARY).exists()


class Running:
    """A process of the command line that goes on until it is told otherwise."""

    def __init__(self, process, surroundings, results):
        self.process = process
        self.temporary = surroundings["TMPDIR"]
        self._mark = surroundings["JOULEBENCH_TEST_MARK"]
        self._results = results
        self._before = set(results.glob("*/*-gate*"))

    def wait_for(self, condition, within_s=60.0):
        deadline = time.monotonic() + within_s
        while not condition():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline, f"{condition} did not come true"
            time.sleep(0.02)

    def descendants(self):
        """Return the processes that this one has started, directly or not: they share a mark in their environment."""
        return [pid for pid in _marked(self._mark) if pid != self.process.pid]

    def end(self, timeout_s=240.0, *, alone=True):
        """Wait for its end; check that nothing of it is left: no process, no slot, no temporary file.

        Not `alone` in its temporary folder, it may find the files of another one there.
        """
        try:
            out, err = self.process.communicate(timeout=timeout_s)
        except BaseException:
            self.process.kill()
            raise
        deadline = time.monotonic() + 5
        while (left := self.descendants()) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not left, f"processes {left} are left\n{err}"
        files = [path.name for path in Path(self.temporary).iterdir() if path.suffix != ".lock"]
        assert files == [] or not alone, err
        new = sorted(set(self._results.glob("*/*-gate*")) - self._before)
        return Ended(self.process.returncode, out, err, new[-1] if new else None)


def _marked(mark):
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"JOULEBENCH_TEST_MARK={mark}".encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
    return found


@pytest.fixture(scope="session")
def surroundings(tmp_path_factory):
    """The environment of every gate here: folders of its own, and a third party's meter installed on its path."""
    root = tmp_path_factory.mktemp("surroundings")
    info = root / "site" / "scripted_meter-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: scripted-meter\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[joulebench.meters]\nscripted = scripted_meter:open_meter\n")
    (root / "site" / "scripted_meter.py").write_text(Path(__file__).with_name("scripted_meter.py").read_text())
    path = os.pathsep.join(filter(None, (str(root / "site"), os.environ.get("PYTHONPATH"))))
    folders = {"XDG_CACHE_HOME": str(root / "cache"), "XDG_DATA_HOME": str(root / "data")}
    return {**os.environ, **folders, "PYTHONPATH": path, "COLUMNS": "200"}


@pytest.fixture(scope="session")
def start(surroundings, tmp_path_factory):
    """Return a function that starts the command line in a folder, with a temporary folder and a lock of its own."""
    started = []

    def popen(folder, *arguments, prefix=(), **environment):
        own = {"TMPDIR": str(tmp_path_factory.mktemp("tmp")), "JOULEBENCH_TEST_MARK": uuid.uuid4().hex}
        mine = {**surroundings, **own, **environment}
        process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "harness", *map(str, arguments)],
            cwd=folder,
            env=mine,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return Running(process, mine, folder / "results")

    yield popen
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.fixture(scope="session")
def gate(start):
    """Return a function that runs `joulebench gate` in a folder to its end; by default against the last commit."""

    def run(folder, *arguments, **more):
        base = () if {"--base", "--baseline"} & set(arguments) else ("--base", "HEAD")
        return start(folder, "gate", *arguments, *base, **more).end()

    return run


@pytest.fixture(scope="session")
def project():
    """Small git repositories with a package whose head can differ from its base."""
    return _loaded("joulebench_test_project", TESTS / "gate" / "project.py")


@pytest.fixture(scope="session")
def factory():
    """Records of runs with a known truth."""
    return _loaded("joulebench_test_factory", TESTS / "stats" / "factory.py")


def _loaded(name, path):
    """Load a helper of other tests; test folders are no packages."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture(scope="session")
def repository(project, tmp_path_factory):
    """Return a function that makes a repository of one commit, its gate.yaml and results beside the package.

    `cases` is the rest of gate.yaml; `base` are more files of the commit, `head` those of the working tree alone.
    """
    numbers = itertools.count()

    def make(cases="cases: [{name: encode, target: 'package.work:encode'}]\n", base=None, head=None, meter="modelled"):
        config = f'{PROMISES}meters: ["{meter}"]\n{cases}'
        folder = tmp_path_factory.mktemp(f"repository-{next(numbers)}")
        project.repository(folder, {".gitignore": "results/\n", "gate.yaml": config, **(base or {})})
        project.write(folder, head or {})
        return folder

    return make


@pytest.fixture(scope="session")
def work(project):
    """Return a function that gives `package/work.py` with so many units of work (20 in base)."""
    return lambda units: project.WORK.replace("UNITS = 20", f"UNITS = {units}")
