"""A foreign project with tests of its own, run by a pytest of its own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import textwrap

import pytest

PROJECT = """\
[project]
name = "foreign"
version = "0"

[tool.pytest.ini_options]
strict = true
filterwarnings = ["error"]
pythonpath = ["."]
addopts = ["--benchmark-max-time=0.05", "--benchmark-min-rounds=3"]
"""

MODULE = """\
def encode(n):
    return sum(number * number for number in range(n))
"""

TESTS = """\
import pytest
from codec import encode


def test_encode(energy):
    assert energy(encode, 50) == 40425


@pytest.mark.parametrize("n", [100_000, 1_000_000])
def test_sizes(energy, n):
    assert energy(encode, n) > n


def test_plain(benchmark):
    assert benchmark(encode, 10) == 285


def test_without_benchmark():
    assert encode(3) == 5
"""


@pytest.fixture
def project(tmp_path):
    """Return the folder of a small project that uses the fixture."""
    folder = tmp_path / "foreign"
    (folder / "tests").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "codec.py").write_text(MODULE)
    (folder / "tests" / "test_speed.py").write_text(TESTS)
    return folder


@pytest.fixture
def write(project):
    """Return a function that replaces the project's tests."""

    def write(text: str) -> None:
        (project / "tests" / "test_speed.py").write_text(
            f"import pytest\nfrom codec import encode\n\n{textwrap.dedent(text)}"
        )

    return write


@pytest.fixture
def run_pytest(project):
    """Return a function that runs pytest in the project, as its user would: with `-n0` where xdist is installed."""

    def run(*arguments: str, xdist: str = "-n0") -> subprocess.CompletedProcess[str]:
        parallel = [xdist] if importlib.util.find_spec("xdist") else []
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *parallel, *arguments],
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run
