"""Run B against run A, in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.compare import CaseVerdict, RunComparison, RunVerdict
from harness.report import formats as f

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_STYLE = {
    RunVerdict.REGRESSED: "bold red",
    RunVerdict.IMPROVED: "bold green",
    RunVerdict.PASS: "green",
    RunVerdict.INCONCLUSIVE: "yellow",
    RunVerdict.INVALID: "bold magenta",
}


_WORST_FIRST = (
    RunVerdict.REGRESSED,
    RunVerdict.INVALID,
    RunVerdict.INCONCLUSIVE,
    RunVerdict.IMPROVED,
    RunVerdict.PASS,
)


def render_comparison(result: RunComparison, console: Console) -> None:
    """Print the verdicts, worst first, with the error rate they hold at."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    console.print(Text(f"{result.run_b} against {result.run_a}", style="bold"))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("verdict", no_wrap=True)
    table.add_column("case, and why", overflow="fold", ratio=1)
    table.add_column("ratio to the\nbaseline, B / A", justify="right", no_wrap=True)
    metrics = {case.metric for case in result.cases if case.quality is not None and case.metric is not None}
    metric = metrics.pop() if len(metrics) == 1 else "quality"
    table.add_column(f"{metric},\npoints B − A", justify="right", no_wrap=True)
    for case in sorted(result.cases, key=lambda each: _WORST_FIRST.index(each.verdict)):
        verdict = Text(case.verdict.value, style=_STYLE[case.verdict])
        table.add_row(verdict, Text.assemble((case.name, "bold"), f"\n{case.reason}"), *map(_cell, _numbers(case)))
    console.print(table)
    for which, names in (("A", result.only_in_a), ("B", result.only_in_b)):
        if names:
            console.print(Text(f"only in run {which}: {', '.join(names)}", style="yellow"))
    console.print(Text(result.statement, style="dim"))


def _numbers(case: CaseVerdict) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return change and quality, each with what qualifies it."""
    change, quality = (f.NOTHING, ""), (f.NOTHING, "")
    if case.change is not None:
        change = (f.ratio(case.change.estimate), f.interval_of(case.change))
    elif case.raw_ratio is not None:
        change = (f.NOTHING, f"raw, with drift: {f.ratio(case.raw_ratio)}")
    if case.quality is not None:
        quality = (f.signed(case.quality.value * 100), f.difference_of(case.quality))
    return change, quality


def _cell(value: tuple[str, str]) -> Text:
    from rich.text import Text

    return Text.assemble(value[0], (f"\n{value[1]}" if value[1] else "", "dim"))
