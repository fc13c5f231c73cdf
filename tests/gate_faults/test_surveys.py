"""Accidents that are seen before anything is measured: the gate ends with a result, and blames the right case."""

import pytest

TWO = "cases: [{name: bad, target: 'package.bad:work'}, {name: fresh, target: 'package.fresh:work'}]\n"
ONE = "def work(): return 1\n"


@pytest.mark.accident("module that ends the interpreter", exits=13)
def test_a_module_that_takes_the_interpreter_with_it_is_one_invalid_case_among_others(repository, gate):
    head = {"package/bad.py": "import os\nos._exit(0)\n", "package/fresh.py": ONE}
    ended = gate(repository(TWO, {"package/bad.py": ONE}, head))
    ended.ends(13, verdicts=["invalid", "new"])
    ended.case_ends("bad", 13, "invalid", "head: worker", "ended with exit code 0 before its work was done")


@pytest.mark.accident("broken conftest.py in head", exits=13)
def test_a_conftest_that_cannot_be_loaded_is_no_vanished_case(repository, gate):
    base = {"tests/test_speed.py": "def test_a(energy): energy(sum, [1])\n", "tests/conftest.py": ""}
    case = "cases: [{name: a, pytest: 'tests/test_speed.py::test_a'}]\n"
    ended = gate(repository(case, base, {"tests/conftest.py": "import nothing_of_that_name\n"}))
    ended.ends(13, "GATE INVALID a", "nothing_of_that_name", verdict="invalid")


@pytest.mark.accident("command that is the same program in both arms", exits=13)
def test_a_command_that_is_compared_with_itself_is_no_pass(repository, gate):
    ended = gate(repository("cases: [{name: a, command: [python, -m, json.tool]}]\n"))
    ended.ends(13, "GATE INVALID a", "both would measure the same code", verdict="invalid")


@pytest.mark.accident("target changed to one that base lacks", exits=12)
def test_a_case_cannot_leave_the_gate_by_naming_a_new_target(repository, gate):
    folder = repository("cases: [{name: a, target: 'package.work:encode'}]\n", head={"package/fresh.py": ONE})
    config = folder / "gate.yaml"
    config.write_text(config.read_text(encoding="utf-8").replace("package.work:encode", "package.fresh:work"))
    gate(folder).ends(12, "GATE VANISHED a", "its target changed", verdict="vanished")
