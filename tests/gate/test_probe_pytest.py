"""A pytest test as a gated case: run by the probe of an arm, repeated when told, checked by its own assertions."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.gate import probe

START = {"do": "start", "check": "result", "seed": 1, "target": None, "command": None, "args": {}}

TESTS = """\
import json
import pytest
from codec import encode

def test_encode(energy):
    assert energy(encode, 50) == 40425

@pytest.mark.parametrize("n", [3, 4])
def test_sizes(energy, n):
    energy.pedantic(encode, args=(n,), rounds=5, iterations=2)

def test_of_the_standard_library(energy):
    assert energy(json.dumps, [encode(2)]) == "[1]"

def test_wrong(energy):
    assert energy(encode, 3) == 1

def test_skipped(energy):
    pytest.skip("no accelerator here")

def test_silent():
    pass

def test_twice(energy):
    energy(encode, 3)
    energy(encode, 4)

def test_setup(energy):
    energy.pedantic(encode, setup=lambda: ((3,), {}))
"""


@pytest.fixture
def slot(tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "codec.py").write_text("def encode(n):\n    return sum(i * i for i in range(n))\n")
    (tmp_path / "tests" / "test_speed.py").write_text(TESTS)
    (tmp_path / "pyproject.toml").write_text(
        '[tool.pytest.ini_options]\nstrict = true\nfilterwarnings = ["error"]\npythonpath = ["."]\n'
        'addopts = ["--benchmark-disable"]\n'
    )
    return tmp_path


@pytest.fixture
def obey(slot):
    """Return a function that gives a probe commands and returns its replies."""

    def obey(*commands):
        done = subprocess.run(
            [sys.executable, probe.__file__],
            cwd=slot,
            input="".join(json.dumps(command) + "\n" for command in commands),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return [json.loads(line) for line in done.stdout.splitlines()]

    return obey


def start(slot, test):
    return {**START, "inside": [str(slot)], "test": f"tests/test_speed.py::{test}"}


REPEATS = ({"do": "repeat", "repeats": 1}, {"do": "repeat", "repeats": 500})


@pytest.mark.parametrize("test", ["test_encode", "test_sizes[4]", "test_of_the_standard_library"])
def test_what_a_test_gives_to_energy_is_repeated_as_often_as_told(slot, obey, test):
    started, once, often = obey(start(slot, test), *REPEATS)
    assert started["type"] == "Started"
    assert Path(started["loaded_from"]).name in ("codec.py", "__init__.py")
    assert once["checksum"] == often["checksum"] is not None
    spent = [reply["cpu_ns"][1] - reply["cpu_ns"][0] for reply in (once, often)]
    assert spent[1] > 5 * spent[0]


@pytest.mark.parametrize(
    ("test", "kind", "said"),
    [
        ("test_wrong", "TestFailed", "assert 5 == 1"),
        ("test_skipped", "TestFailed", "no accelerator here"),
        ("test_silent", "Unusable", "does not call `energy`"),
        ("test_twice", "Unusable", "more than once"),
        ("test_setup", "Unusable", "setup or teardown"),
        ("test_sizes", "Unusable", "names 2 tests"),
        ("test_gone", "Absent", "there is no test"),
    ],
)
def test_a_test_that_cannot_be_measured_is_refused_before_anything_is(slot, obey, test, kind, said):
    (reply,) = obey(start(slot, test), *REPEATS)
    assert (reply["type"], reply["error"]) == ("Failure", kind)
    assert said in reply["message"]


def test_code_that_does_not_come_from_the_slot_is_refused(slot, obey, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "codec.py").write_text((slot / "codec.py").read_text())
    settings = (slot / "pyproject.toml").read_text()
    (slot / "pyproject.toml").write_text(settings.replace('["."]', f'["{elsewhere}"]'))
    (reply,) = obey(start(slot, "test_encode"), *REPEATS)
    assert (reply["type"], reply["error"]) == ("Failure", "Outside")
    assert f"codec was loaded from {elsewhere}" in reply["message"]


def test_tests_that_an_arm_lacks_are_found_before_measuring(slot, obey):
    (slot / "tests" / "test_broken.py").write_text("import nothing_of_that_name\n")
    tests = {
        "here": "tests/test_speed.py::test_encode",
        "sizes": "tests/test_speed.py::test_sizes",
        "gone": "tests/test_speed.py::test_gone",
        "no file": "tests/test_other.py::test_a",
        "broken": "tests/test_broken.py::test_a",
    }
    (reply,) = obey({"do": "resolve", "targets": {}, "inside": [str(slot)], "tests": tests})
    assert reply["absent"].keys() == {"gone", "no file"}
    assert reply["broken"].keys() == {"broken"}
    assert "nothing_of_that_name" in reply["broken"]["broken"]


CONFTESTS = {
    "conftest": ("conftest.py", "import nothing_of_that_name\n", "nothing_of_that_name"),
    "options": ("pytest.ini", "[pytest]\naddopts = --no-such-option\n", "--no-such-option"),
    "hook": ("conftest.py", "def pytest_configure(config): raise ValueError('no licence')\n", "no licence"),
}


@pytest.mark.parametrize(("file", "content", "said"), CONFTESTS.values(), ids=CONFTESTS)
def test_pytest_that_ends_before_it_looks_makes_a_case_broken_and_not_absent(slot, obey, file, content, said):
    (slot / file).write_text(content)
    tests = {"a": "tests/test_speed.py::test_encode"}
    (resolved,) = obey({"do": "resolve", "targets": {}, "inside": [str(slot)], "tests": tests})
    assert resolved["absent"] == {}
    assert said in resolved["broken"]["a"]
    (reply,) = obey(start(slot, "test_encode"), *REPEATS)
    assert reply["error"] == "TestFailed"
    assert said in reply["message"]
