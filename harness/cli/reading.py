"""`report` and `compare`: they read results and measure nothing."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from harness import compare as comparing
from harness import report as reporting
from harness import store
from harness.cli.output import console, print_json
from harness.errors import ResultsError
from harness.interop import foreign


def report(folder: Path | None, results: Path, form: str, output: Path | None, *, as_json: bool) -> int:
    """Print or write the report of one run; of a pytest-benchmark file, print what it holds."""
    if folder is not None and foreign.is_pytest_benchmark(folder):
        from harness.cli import exporting

        return exporting.show_foreign(folder, as_json=as_json)
    run = store.load_run(folder or newest(results))
    content = reporting.build(run)
    if as_json:
        print_json(content)
        return 0
    text = {"markdown": reporting.render_markdown, "html": reporting.render_html}.get(form)
    if text is None:
        with output.open("w", encoding="utf-8") if output else contextlib.nullcontext() as file:
            reporting.render_terminal(content, console(file))
        return 0
    if output is None:
        click.echo(text(content))
    else:
        output.write_text(text(content), encoding="utf-8")
        click.echo(f"wrote {output}", err=True)
    return 0


def compare(a: Path, b: Path, alpha: float, tolerance: float, *, as_json: bool) -> int:
    """Print how run B differs from run A."""
    result = comparing.compare_runs(store.load_run(a), store.load_run(b), alpha=alpha, tolerance=tolerance)
    if as_json:
        print_json(result)
        return 0
    reporting.render_comparison(result, console())
    return 0


def newest(results: Path) -> Path:
    """Return the folder of the newest run. Raises: ResultsError: there is none."""
    folders = store.runs(results)
    if not folders:
        raise ResultsError(f"there is no run under {results}; `joulebench run configs/quick.yaml` makes one")
    return folders[-1]
