"""The product's face: what was found in words, then tables, then charts; in a terminal, Markdown, HTML or JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.compare import Results
from harness.errors import ResultsError
from harness.records import Phase
from harness.report.build import build
from harness.report.comparison import render_comparison
from harness.report.frame import to_frame
from harness.report.html import render_html
from harness.report.markdown import render_markdown
from harness.report.model import Report
from harness.report.terminal import render_terminal


def write(run: Results, baselines: Mapping[Phase, str] | None = None) -> dict[str, Path]:
    """Write `report.md` and `report.html` into the run's folder; return their paths by format.

    Raises: ResultsError: the folder cannot be written.
    """
    report = build(run, baselines)
    contents = {"markdown": ("report.md", render_markdown(report)), "html": ("report.html", render_html(report))}
    paths = {}
    for form, (name, text) in contents.items():
        path = run.folder / name
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ResultsError(f"cannot write {path}: {error.strerror or error}; the records are kept") from error
        paths[form] = path
    return paths


__all__ = [
    "Report",
    "build",
    "render_comparison",
    "render_html",
    "render_markdown",
    "render_terminal",
    "to_frame",
    "write",
]
