"""A real run to export, and the record factory."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def make() -> ModuleType:
    """The record factory, loaded once whatever room's tests ask for it."""
    name, path = "joulebench_test_factory", ROOT / "tests" / "stats" / "factory.py"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture(scope="session")
def real_run() -> Path:
    """The folder of a run that was really measured."""
    return ROOT / "results" / "reference" / "quick-epyc4-2vcpu"


@pytest.fixture
def gate_folder(tmp_path) -> Path:
    """The folder of a gate with two cases, one void block and one confirming block."""
    from harness.gate.model import Stage, Verdict
    from harness.gate.writing import append_block, create_gate, write_gate

    spec = importlib.util.spec_from_file_location("joulebench_test_gates", ROOT / "tests" / "gate" / "outcomes.py")
    outcomes = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(outcomes)
    result = outcomes.result(outcomes.case(Verdict.PASS, "encode"), outcomes.case(Verdict.REGRESSED, "decode"))
    folder = create_gate(tmp_path / "results", result.host_fingerprint, result.started_utc)
    for block in (*outcomes.blocks("encode", 0.0), *outcomes.blocks("decode", 0.041)):
        append_block(folder, block)
    append_block(folder, outcomes.block("encode", 9, 0, 0.5, void="a wrong answer"))
    append_block(folder, outcomes.block("decode", 0, 0, 0.5, Stage.CONFIRM))
    write_gate(folder, result)
    return folder
