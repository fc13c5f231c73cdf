"""`export`, and `report` of a pytest-benchmark file: other tools' formats. They measure nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click
import msgspec

from harness import report, store
from harness.cli.output import print_json
from harness.errors import ResultsError, UsageError
from harness.interop import exports, foreign
from harness.interop.figures import Figures, load


def export(path: Path, form: str, output: Path | None, *, as_json: bool = False) -> int:
    """Write a run or a gate in another tool's format, by default to standard output; return 0."""
    if as_json and output is None:
        raise UsageError("the export itself goes to standard output; name a file with --output, or leave --json out")
    figures = load(path)
    for name, reason in figures.left_out.items():
        click.echo(f"left out: {name}: {reason}", err=True)
    if not figures.figures:
        raise UsageError(f"{path} holds no figures to export: every case was skipped, failed or not measured")
    if form in ("csv", "parquet"):
        _write_table(path, figures, form, output)
    else:
        _write_json(_DOCUMENTS[form](figures), output)
    if as_json:
        cases = [figure.fullname for figure in figures.figures]
        print_json({"wrote": str(output), "format": form, "cases": cases, "left_out": figures.left_out})
    elif output is not None:
        click.echo(f"wrote {output}", err=True)
    return 0


def show_foreign(path: Path, *, as_json: bool) -> int:
    """Print a pytest-benchmark file; return 0. It never gets a verdict."""
    read = foreign.read(path)
    if as_json:
        print_json(read)
        return 0
    made = ", ".join(part for part in (read.machine, read.datetime) if part)
    click.echo(f"{read.path}: pytest-benchmark {read.version or '(version not given)'}" + (f", {made}" if made else ""))
    table = [("benchmark", "median s", "mean s", "stddev s", "rounds", "energy a call")]
    table += [
        (row.name, _number(row.median_s), _number(row.mean_s), _number(row.stddev_s), _rounds(row), _energy(row))
        for row in read.rows
    ]
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    for name, *cells in table:
        click.echo("  ".join([name.ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells, widths[1:], strict=True))]))
    click.echo(f"note: {read.notice}")
    return 0


_DOCUMENTS = {
    "bmf": exports.bmf,
    "github-action-benchmark": exports.github_action_benchmark,
    "pytest-benchmark": exports.pytest_benchmark,
}


def _write_json(document: Any, output: Path | None) -> None:
    content = msgspec.json.format(msgspec.json.encode(document)) + b"\n"
    if output is None:
        click.echo(content.decode(), nl=False)
        return
    try:
        store.write_atomically(output, content)
    except OSError as error:
        raise _unwritable(output, error) from error


def _write_table(path: Path, figures: Figures, form: str, output: Path | None) -> None:
    """Write every window of a run, or every block of a gate."""
    gated = any(figure.arm is not None for figure in figures.figures)
    frame = exports.to_frame(exports.rows(figures)) if gated else report.to_frame(store.load_run(path))
    if output is not None:
        try:
            exports.write_table(frame, form, output)
        except OSError as error:
            raise _unwritable(output, error) from error
    elif form == "parquet":
        raise UsageError("Parquet is no text for a terminal; name a file with --output")
    else:
        with tempfile.TemporaryDirectory() as folder:
            exports.write_table(frame, form, Path(folder) / "table.csv")
            click.echo((Path(folder) / "table.csv").read_text(encoding="utf-8"), nl=False)


def _unwritable(path: Path, error: OSError) -> ResultsError:
    return ResultsError(f"cannot write {path}: {error.strerror or error}; choose another place with --output")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _rounds(row: foreign.ForeignRow) -> str:
    if row.rounds is None:
        return "–"
    return f"{row.rounds} × {row.iterations}" if row.iterations and row.iterations > 1 else str(row.rounds)


def _energy(row: foreign.ForeignRow) -> str:
    if row.energy_j is None:
        return row.energy or "–"
    return f"{row.energy_j:.4g} J, {row.energy}"
