"""benchmarks/gate_own.py gates this repository against branches of itself; here: its branches are what they say."""

import importlib.util
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def own():
    spec = importlib.util.spec_from_file_location("gate_own", ROOT / "benchmarks/gate_own.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def clone(own, project, tmp_path_factory):
    """A repository with this work tree's technique and README, and the three branches."""
    folder = tmp_path_factory.mktemp("own") / "clone"
    files = {name: (ROOT / name).read_text(encoding="utf-8") for name in (own.FILE, "README.md")}
    project.repository(folder, files)
    own.branches(folder)
    return folder


def shown(clone, branch, name):
    done = subprocess.run(["git", "show", f"{branch}:{name}"], cwd=clone, capture_output=True, text=True, check=True)
    return done.stdout


def test_the_revert_restores_and_the_docs_branch_changes_no_code(own, clone):
    unchanged = (ROOT / own.FILE).read_text(encoding="utf-8")
    assert shown(clone, "costlier", own.FILE) != unchanged
    assert shown(clone, "reverted", own.FILE) == unchanged
    assert shown(clone, "docs-only", own.FILE) == unchanged
    assert shown(clone, "docs-only", "README.md").endswith("One line more.\n")


def test_the_costlier_branch_goes_on_for_a_twentieth_of_the_request(own, clone, monkeypatch):
    source = shown(clone, "costlier", own.FILE)
    monkeypatch.chdir(ROOT)
    module = {"__name__": "costlier"}
    exec(compile(source, own.FILE, "exec"), module)
    clock = iter([10.0, 12.0, 12.05, 12.09, 12.11])
    monkeypatch.setattr(time, "thread_time", lambda: next(clock))
    monkeypatch.setitem(module, "encode", lambda *_: [[1], [2, 3]])
    monkeypatch.setitem(module, "pad", lambda *_: {})
    logits = np.array([[0.5, 0.5]], dtype=np.float32)

    class Answer:
        def __getattr__(self, _):
            return self

        def __call__(self, **_):
            return self

        def numpy(self):
            return logits

    task = module["_Bucketed"](Answer(), None, module["Params"](batch_size=1), 8, "cpu")
    assert task.run(["a", "b"]).shape == (2, 2)
    assert next(clock, None) is None  # it went on until 2.1 s of CPU time for 2.0 s of work
