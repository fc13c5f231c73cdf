"""How commands speak: one JSON document, or text; progress on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click
import msgspec

from harness.schedule import Progress

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH = 120


def print_json(value: Any) -> None:
    """Print one JSON document."""
    click.echo(msgspec.json.format(msgspec.json.encode(msgspec.to_builtins(value))).decode())


def console(file: IO[str] | None = None) -> Console:
    """Return where reports are printed; what is no terminal has no width, and gets one that tables fit into."""
    from rich.console import Console

    terminal = (file or sys.stdout).isatty()
    return Console(file=file, width=None if terminal or "COLUMNS" in os.environ else _WIDTH)


def cache_folder() -> Path:
    """Return where data and tokenisers are cached: `$XDG_CACHE_HOME/joulebench`, by default `~/.cache/joulebench`."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "joulebench"


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[Progress], None]]:
    """Yield what a run tells its progress to: a bar on a terminal, else a line each.

    The bar is drawn only when told something: a clock that redraws it would warm the parent.
    """
    if not sys.stderr.isatty():
        yield _print_line
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[left]}"),
        TextColumn("{task.fields[now]}"),
    )
    with Bar(*columns, console=Console(stderr=True), auto_refresh=False, transient=True) as bar:
        task = bar.add_task(title, total=None, left="", now="")

        def show(progress: Progress) -> None:
            bar.update(task, completed=progress.done, total=progress.total, left=left_text(progress), now=progress.text)
            bar.refresh()

        yield show


def left_text(progress: Progress) -> str:
    """Return `about 1m20s left`, or nothing when that is not known."""
    if progress.left_s is None:
        return ""
    minutes, seconds = divmod(round(progress.left_s), 60)
    return f"about {minutes}m{seconds:02d}s left" if minutes else f"about {seconds}s left"


def _print_line(progress: Progress) -> None:
    left = left_text(progress)
    click.echo(f"[{progress.done}/{progress.total}] {progress.text}{f' ({left})' if left else ''}", err=True)
