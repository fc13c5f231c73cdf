"""Expressions that keep some cases by their names, as pytest's `-k` does."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable

from harness.errors import UsageError


def matcher(expression: str) -> Callable[[str], bool]:
    """Return the test of a pytest-like `-k` expression: substrings with `and`, `or`, `not` and parentheses.

    Raises: UsageError: the expression cannot be read.
    """
    tokens = re.findall(r"\(|\)|[^\s()]+", expression)
    terms = [token for token in tokens if token not in ("and", "or", "not", "(", ")")]

    def evaluate(name: str) -> bool:
        values = iter(term.lower() in name.lower() for term in terms)
        python = " ".join(token if token in ("and", "or", "not", "(", ")") else str(next(values)) for token in tokens)
        return _boolean(python, expression)

    evaluate("")
    return evaluate


def _boolean(python: str, expression: str) -> bool:
    try:
        return _value(ast.parse(python, mode="eval").body)
    except (SyntaxError, TypeError) as error:
        raise UsageError(
            f"-k {expression!r} cannot be read; write for example -k 'onnxruntime and not int8'"
        ) from error


def _value(node: ast.expr) -> bool:
    if isinstance(node, ast.BoolOp):
        values = [_value(value) for value in node.values]
        return all(values) if isinstance(node.op, ast.And) else any(values)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return not _value(node.operand)
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        return node.value
    raise TypeError(f"not a term: {node!r}")
