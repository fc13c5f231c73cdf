"""The rooms hold: what may import what, and what the command line must not load."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytest.importorskip("importlinter", reason="needs the dev extra")


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path):
    for name in ("harness", "techniques"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".importlinter", tmp_path / ".importlinter")
    return tmp_path


def plant(path: Path, line: str) -> None:
    path.write_text(path.read_text(encoding="utf-8") + f"\n\ndef _planted():\n    {line}\n", encoding="utf-8")


def test_every_rule_is_kept():
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout
    assert "0 broken" in result.stdout


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("harness/records.py", "import harness.config", "harness.records is not allowed to import harness.config"),
        ("harness/store.py", "import harness.stats", "harness.store is not allowed to import harness.stats"),
        ("harness/cli/output.py", "import torch", "harness.cli.output"),
        ("harness/store.py", "import pandas", "harness.store"),
        ("harness/worker/fork.py", "import pynvml", "harness.worker.fork"),
        ("harness/plan.py", "import techniques.infer.torch_eager", "harness.plan"),
        ("techniques/infer/torch_eager.py", "import harness.meters", "techniques.infer.torch_eager"),
        (
            "techniques/infer/length_bucketing.py",
            "import techniques.infer.torch_eager",
            "techniques.infer.length_bucketing -> techniques.infer.torch_eager",
        ),
    ],
)
def test_a_planted_violation_breaks_the_rules_and_is_named(copy, file, line, message):
    plant(copy / file, line)
    result = lint_imports(copy)
    assert result.returncode == 1
    assert message in result.stdout


def test_a_room_that_nobody_placed_breaks_the_rules(copy):
    (copy / "harness" / "attic.py").write_text('"""A room without a place."""\n', encoding="utf-8")
    result = lint_imports(copy)
    assert result.returncode == 1
    assert "attic" in result.stdout


def test_the_command_line_loads_nothing_heavy():
    heavy = ("torch", "transformers", "onnxruntime", "pandas", "matplotlib", "scipy", "numpy", "rich")
    code = f"import sys, harness.cli; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
