"""Techniques that go wrong, offered the way another distribution would: through the entry point."""

from __future__ import annotations

import os

import pytest

HEADER = '''"""A technique for tests that {what}.

What it does: {what}.
Why it may save energy: it does not.
What it costs: nothing.
Limits: for tests.
Source: none.
"""
import contextlib, os, signal, sys, time
from harness.contract import TechniqueInfo
from harness.records import Frozen, Phase

INFO = TechniqueInfo(name="{name}", phase=Phase.INFER, family="test", summary="{what}", source="none")

class Params(Frozen, frozen=True, kw_only=True):
    """None."""

class Task:
    def run(self, batch):
        import numpy as np
        {run}
        return np.zeros((len(batch), 10), dtype=np.float32)

def supports(workload, device):
    return {supports}

@contextlib.contextmanager
def build(trained, workload, params, device):
    {build}
    yield Task()
'''

TECHNIQUES = {
    "dies": {"what": "is killed while it runs", "run": "os.kill(os.getpid(), signal.SIGKILL)"},
    "hangs": {"what": "never answers", "run": "time.sleep(3600)"},
    "raises": {"what": "raises while it builds", "build": "raise ValueError('no such kernel')"},
    "noisy": {"what": "prints to standard output", "run": "print('{not a reply}'); sys.stdout.flush()"},
    "refuses": {"what": "cannot run here", "supports": "'needs a device that is not here'"},
}


@pytest.fixture(scope="session")
def plugin(tmp_path_factory):
    """Return a folder that holds the distribution `joulebench-bad` with one technique a fault."""
    folder = tmp_path_factory.mktemp("plugin")
    package = folder / "joulebench_bad"
    package.mkdir()
    (package / "__init__.py").write_text("")
    for name, parts in TECHNIQUES.items():
        text = {"run": "pass", "supports": "None", "build": "pass", "name": name, **parts}
        (package / f"{name}.py").write_text(HEADER.format(**text))
    info = folder / "joulebench_bad-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: joulebench-bad\nVersion: 1.0\n")
    points = "\n".join(f"{name} = joulebench_bad.{name}" for name in TECHNIQUES)
    (info / "entry_points.txt").write_text(f"[joulebench.techniques]\n{points}\n")
    return folder


@pytest.fixture
def environment(environment, plugin):
    """Add the plug-in to the path of every joulebench process in these tests."""
    return {**environment, "PYTHONPATH": os.pathsep.join(filter(None, (str(plugin), os.environ.get("PYTHONPATH"))))}
