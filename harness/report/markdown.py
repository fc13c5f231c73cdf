"""The report as Markdown, for a pull request or a lab book."""

from __future__ import annotations

from harness.report.model import Cell, Kind, Report, Table


def render_markdown(report: Report) -> str:
    """Return the report as GitHub-flavoured Markdown."""
    lines = [f"# {_escape(report.title)}", "", _escape(report.subtitle), ""]
    if report.banner:
        lines += [f"> **{report.banner}**", ""]
    lines += ["## What was found", ""]
    for sentence in report.sentences:
        text = _escape(sentence.text)
        lines.append(f"- **{text}**" if sentence.kind is Kind.RECOMMEND else f"- {text}")
    lines.append("")
    if report.doubts:
        lines += ["## Doubts", "", *(f"- {_escape(doubt)}" for doubt in report.doubts), ""]
    for table in report.tables:
        lines += _table(table)
    if report.banner:
        lines += [f"> **{report.banner}**", ""]
    return "\n".join(lines)


def _table(table: Table) -> list[str]:
    lines = [f"## {_escape(table.title)}", ""]
    if table.intro:
        lines += [_escape(table.intro), ""]
    lines.append("| " + " | ".join(_escape(column.name) for column in table.columns) + " |")
    lines.append("|" + "|".join("---:" if column.numeric else "---" for column in table.columns) + "|")
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in table.rows]
    lines.append("")
    if table.notes:
        lines += [_escape(" ".join(table.notes)), ""]
    return lines


def _cell(cell: Cell) -> str:
    return _escape(f"{cell.text} ({cell.detail})" if cell.detail else cell.text)


def _escape(text: str) -> str:
    """Keep text from being read as markup, and cells on one line."""
    for sign in ("\\", "|", "*", "`", "<", "_"):
        text = text.replace(sign, f"\\{sign}")
    return text.replace("\n", " ")
