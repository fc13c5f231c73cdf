"""The table of accidents: what the tests of this folder claim is counted from their own text."""

import ast
from pathlib import Path

HERE = Path(__file__).parent
CODES = {0, 2, 10, 11, 12, 13, 14, 130}
"""Every exit code of docs/gate.md but 1, which is a defect."""


def accidents():
    """Return accident → exit code, as the marks that are written with a name say; rows of a table have none here."""
    found = {}
    for file in HERE.glob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "accident":
                (what,), (code,) = node.args, [word.value for word in node.keywords if word.arg == "exits"]
                if isinstance(what, ast.Constant) and isinstance(code, ast.Constant):
                    assert found.setdefault(what.value, code.value) == code.value, f"{what.value!r} stands twice"
    return found


def test_the_table_has_more_accidents_than_were_asked_for_and_every_exit_code():
    found = accidents()
    assert len(found) >= 40, sorted(found)
    assert set(found.values()) == CODES
