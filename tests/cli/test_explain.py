"""`explain` finds a case by whatever name the gate gave it."""

import importlib.util
from pathlib import Path

import pytest

from harness.gate import writing
from harness.gate.model import Verdict


@pytest.fixture
def folder(tmp_path):
    """Return a gate of a suite with two cases of one name, of which the second got a number."""
    spec = importlib.util.spec_from_file_location("outcomes", Path(__file__).parents[1] / "gate" / "outcomes.py")
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    result = make.result(make.case(Verdict.PASS, "suite/x"), make.case(Verdict.REGRESSED, "suite/x#2"))
    folder = writing.create_gate(tmp_path / "results", result.host_fingerprint, result.started_utc)
    for case in result.cases:
        for block in make.blocks(case.name, 0.0):
            writing.append_block(folder, block)
    writing.write_gate(folder, result)
    return folder


def test_a_name_that_holds_the_sign_itself_is_found(folder, joulebench):
    ended = joulebench("explain", f"{folder}#suite/x#2")
    assert ended.returncode == 0, ended.stderr
    assert "suite/x#2" in ended.stdout
    assert "FAIL" in ended.stdout
    assert "PASS" in joulebench("explain", f"{folder.name}#suite/x").stdout
