"""The small repository that every tool is given: a fixed numpy kernel, and heads that do exactly so many units more.

Each change has a commit and a work tree of its own. Under "A/A" the head differs from base in a comment only, so
commits and paths differ and the work does not. Authors and dates are fixed: commits have the same names everywhere.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

from .plan import CHANGES, UNITS

WORK = '''\
"""The workload: UNITS times tanh(x W) in float32; what it returns does not depend on UNITS."""

import numpy as np

UNITS = {units}
_rng = np.random.default_rng(1)
X = _rng.standard_normal((16, 256), dtype=np.float32)
W = _rng.standard_normal((256, 256), dtype=np.float32) / 16


def unit():
    return np.tanh(X @ W)


def encode():
    for _ in range(UNITS):
        done = unit()
    return float(done.sum())
'''
GATE = """\
cases:
  - name: encode
    target: package.work:encode
"""
TEST = """\
from package.work import encode


def test_encode(benchmark):
    benchmark(encode)
"""
PYPERF = """\
import pyperf

from package.work import encode

if __name__ == "__main__":
    pyperf.Runner().bench_func("encode", encode)
"""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class Tree(NamedTuple):
    """One version of the code: a commit, and a work tree of it."""

    commit: str
    folder: Path


class Project(NamedTuple):
    """The repository with a work tree of base and of the head of every change."""

    repository: Path
    base: Tree
    heads: dict[str, Tree]


def make(folder: Path) -> Project:
    """Make the repository and its work trees below an empty folder."""
    repository = folder / "repository"
    (repository / "package").mkdir(parents=True)
    _git(repository, "init", "--quiet")
    files = {"package/__init__.py": "", "gate.yaml": GATE, "test_speed.py": TEST, "bench_pyperf.py": PYPERF}
    for name, text in {**files, "package/work.py": WORK.format(units=UNITS)}.items():
        (repository / name).write_text(text, encoding="utf-8")
    base = Tree(_commit(repository, "base"), folder / "trees" / "base")
    _git(repository, "worktree", "add", "--quiet", "--detach", str(base.folder), base.commit)
    heads = {}
    for place, (change, units) in enumerate(CHANGES.items()):
        text = WORK.format(units=units) + ("# A comment.\n" if units == UNITS else "")
        _git(repository, "checkout", "--quiet", "--detach", base.commit)
        (repository / "package/work.py").write_text(text, encoding="utf-8")
        heads[change] = Tree(_commit(repository, change), folder / "trees" / f"head{place}")
        _git(repository, "branch", f"head{place}")
        _git(repository, "worktree", "add", "--quiet", "--detach", str(heads[change].folder), heads[change].commit)
    _git(repository, "checkout", "--quiet", "-B", "main", base.commit)
    return Project(repository, base, heads)


def clean(tree: Tree) -> None:
    """Take out of a work tree what a tool left there."""
    _git(tree.folder, "clean", "-fdxq")


def _commit(repository: Path, message: str) -> str:
    _git(repository, "add", "--all")
    _git(repository, "commit", "--quiet", "--message", message)
    return _git(repository, "rev-parse", "HEAD").strip()


def _git(folder: Path, *arguments: str) -> str:
    when = "2026-01-01T00:00:00Z"
    who = ["-c", "user.name=gate", "-c", "user.email=gate@example.org", "-c", "init.defaultBranch=main"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment |= {"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when, "GIT_CONFIG_GLOBAL": os.devnull}
    done = subprocess.run(
        ["git", *who, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"git {' '.join(arguments)} failed: {done.stderr.strip()}")
    return done.stdout
