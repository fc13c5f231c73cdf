"""A small git repository with a package whose head can be made to differ from its base."""

from __future__ import annotations

import subprocess
import textwrap
from pathlib import Path

WORK = """\
UNITS = 20


def unit():
    total = 0
    for number in range(400):
        total += number * number % 7
    return total


def encode(more=0):
    return [unit() for _ in range(UNITS + more)][0]
"""
CLI = """\
from package.work import encode

print(encode())
"""


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")


def repository(folder: Path, files: dict[str, str] | None = None) -> Path:
    """Return a repository with one commit: the package, and whatever else is given."""
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "--quiet")
    write(folder, {"package/__init__.py": "", "package/work.py": WORK, "package/cli.py": CLI, **(files or {})})
    commit(folder)
    return folder


def commit(folder: Path) -> str:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "a change")
    return git(folder, "rev-parse", "HEAD")
