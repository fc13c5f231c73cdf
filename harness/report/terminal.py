"""The report in a terminal: the sentences, the doubts, then the tables that fit."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.report.model import Cell, Kind, Report, Table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

_STYLE = {
    Kind.RECOMMEND: "bold green",
    Kind.SAVES: "green",
    Kind.COSTS: "red",
    Kind.UNDECIDED: "yellow",
}
_ELSEWHERE = ("host", "material", "published")
"""Tables that the Markdown and HTML reports have, and that would bury a terminal's first screen."""


def render_terminal(report: Report, console: Console) -> None:
    """Print the report to a console."""
    from rich.panel import Panel
    from rich.text import Text

    console.rule(Text(report.title, style="bold"))
    console.print(Text(report.subtitle, style="dim"), justify="center")
    if report.banner:
        console.print(Panel(Text(report.banner, style="bold white on red", justify="center"), style="bold red"))
    console.print()
    for sentence in report.sentences:
        mark = "➜ " if sentence.kind is Kind.RECOMMEND else "• "
        _item(console, mark, Text(sentence.text, style=_STYLE.get(sentence.kind, "")))
    if report.doubts:
        console.print(Text("\nDoubts", style="bold yellow"))
        for doubt in report.doubts:
            _item(console, "! ", Text(doubt))
    for table in report.tables:
        if table.key not in _ELSEWHERE:
            console.print()
            _print_table(console, table)
    if report.banner:
        console.print(Text(f"\n{report.banner}", style="bold white on red"))


def _item(console: Console, mark: str, text: Text) -> None:
    from rich.table import Table as RichTable

    grid = RichTable.grid(padding=0)
    grid.add_column(width=2)
    grid.add_column()
    grid.add_row(mark, text)
    console.print(grid)


def _print_table(console: Console, table: Table) -> None:
    """Print a table; a console too narrow for it gets the essential columns, and is told what is left out."""
    from rich.text import Text

    console.print(Text(table.title, style="bold"))
    if table.intro:
        console.print(Text(table.intro, style="dim"))
    every = range(len(table.columns))
    shown = [index for index in every if not table.columns[index].extra]
    whole = _rich_table(table, list(every))
    fits = console.measure(whole, options=console.options.update(width=10_000)).maximum <= console.width
    console.print(whole if fits else _rich_table(table, shown))
    if not fits and len(shown) < len(table.columns):
        left_out = ", ".join(table.columns[index].name for index in every if index not in shown)
        console.print(Text(f"Not shown for want of width: {left_out}; report.html has them.", style="dim"))
    for note in table.notes:
        console.print(Text(note, style="dim"))


def _rich_table(table: Table, shown: Sequence[int]) -> RichTable:
    from rich import box
    from rich.table import Table as RichTable

    rich = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for index in shown:
        column = table.columns[index]
        cells = [row[index] for row in table.rows]
        header = _folded(column.name, cells)
        rich.add_column(header, justify="right" if column.numeric else "left", overflow="fold")
    for row in table.rows:
        rich.add_row(*(_cell(row[index]) for index in shown))
    return rich


def _folded(name: str, cells: Sequence[Cell]) -> str:
    """Return a heading in lines no wider than what stands below it."""
    widest = max((len(text) for cell in cells for text in (cell.text, cell.detail)), default=0)
    return "\n".join(textwrap.wrap(name, max(widest, 9), break_long_words=False))


def _cell(cell: Cell) -> Text:
    from rich.text import Text

    return Text.assemble(cell.text, (f"\n{cell.detail}", "dim")) if cell.detail else Text(cell.text)
