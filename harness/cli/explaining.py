"""`explain`: why the gate said what it said of one case."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.output import print_json
from harness.errors import UsageError
from harness.gate import explaining, writing


def explain(target: str, results: Path, *, as_json: bool) -> int:
    """Print what stands behind the verdict on one case; return 0."""
    # The first sign, for names of cases can hold more: two alike are `suite/x` and `suite/x#2`.
    name, sign, which = target.partition("#")
    folder = writing.find_gate(name, results)
    result = writing.read_gate(folder)
    if not sign:
        listed = "\n".join(f"  {target}#{number}  {case.name}" for number, case in enumerate(result.cases, start=1))
        raise UsageError(f"say which case of {target}, by its number or its name:\n{listed}")
    seen = explaining.explain(result, writing.read_blocks(folder), which, dropped=writing.read_dropped(folder))
    if as_json:
        print_json(seen)
    else:
        click.echo(explaining.render_explanation(seen))
    return 0
