from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def _beside(file: str) -> ModuleType:
    """Load a helper that lies beside this file; tests are no package."""
    name, path = f"joulebench_test_{Path(file).stem}", Path(__file__).with_name(file)
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture(scope="session")
def make() -> ModuleType:
    """Results of gates that never ran, of every verdict."""
    return _beside("outcomes.py")


@pytest.fixture(scope="session")
def project() -> ModuleType:
    """Small git repositories with a package whose head can differ from its base."""
    return _beside("project.py")
