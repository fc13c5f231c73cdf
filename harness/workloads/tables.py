"""Labelled texts from the user's own TSV, CSV and JSONL files."""

from __future__ import annotations

import csv
import difflib
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.errors import DataError
from harness.workloads.files import read_text
from harness.workloads.params import SPLITS, FileData

Located = tuple[int, str, str]
"""(line number from 1, text, label)."""


def read(data: FileData) -> dict[str, list[tuple[str, str]]]:
    """Return (text, label) rows by split.

    TSV is read without quoting (a quotation mark is text), CSV with it. Files are UTF-8.

    Raises: DataError: a file is missing or undecodable, a column is missing, a cell is empty.
    """
    return {split: _rows(Path(getattr(data, split)), data, f"workload.data.{split}") for split in SPLITS}


def _rows(path: Path, data: FileData, where: str) -> list[tuple[str, str]]:
    content = read_text(path, where)
    kind = path.suffix.lower()
    if kind == ".jsonl":
        located = _jsonl(content, path, data)
    elif kind in {".tsv", ".csv"}:
        located = _separated(content, path, data)
    else:
        raise DataError(f"{where}: {path} has the extension {kind!r}; known are .tsv, .csv and .jsonl")
    rows = []
    for line, text, label in located:
        if not text.strip() or not label.strip():
            raise DataError(f"{path}, line {line}: the {'label' if text.strip() else 'text'} is empty")
        rows.append((text.strip(), label.strip()))
    return rows


def _separated(content: str, path: Path, data: FileData) -> Iterator[Located]:
    if path.suffix.lower() == ".tsv":
        reader = csv.reader(io.StringIO(content, newline=""), delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    try:
        header = next(reader, []) if data.header else None
        if header is not None and not header:
            return
        text, label = _column(data.text, header, path), _column(data.label, header, path)
        for cells in reader:
            if cells:
                if len(cells) <= max(text, label):
                    raise DataError(
                        f"{path}, line {reader.line_num}: {len(cells)} columns, but column {max(text, label)} "
                        "(counted from 0) is needed"
                    )
                yield reader.line_num, cells[text], cells[label]
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from error


def _column(wanted: str | int, header: Sequence[str] | None, path: Path) -> int:
    if isinstance(wanted, int):
        if header is not None and wanted >= len(header):
            raise DataError(f"{path}: there is no column {wanted} (counted from 0); it has {len(header)} columns")
        return wanted
    names = list(header or [])
    if wanted in names:
        return names.index(wanted)
    raise DataError(f"{path}: there is no column {wanted!r}{_hint(wanted, names)}")


def _hint(wanted: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(wanted, names, n=1, cutoff=0.4)
    return (f"; did you mean {near[0]!r}?" if near else ";") + f" It has {', '.join(map(repr, names[:20]))}"


def _jsonl(content: str, path: Path, data: FileData) -> Iterator[Located]:
    # Only \n ends a line of JSONL; str.splitlines would also cut at U+2028 inside a text.
    for number, line in enumerate(content.split("\n"), start=1):
        if line.strip():
            yield (number, *_fields(line, number, path, data))


def _fields(line: str, number: int, path: Path, data: FileData) -> tuple[str, str]:
    try:
        row: Any = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {number}: not JSON: {error.msg} (column {error.colno})") from error
    if not isinstance(row, dict):
        raise DataError(f"{path}, line {number}: a JSON object is needed, not {type(row).__name__}")
    for key in (data.text, data.label):
        if key not in row:
            raise DataError(f"{path}, line {number}: there is no key {key!r}{_hint(str(key), list(row))}")
    text, label = row[data.text], row[data.label]
    if not isinstance(text, str):
        raise DataError(f"{path}, line {number}: {data.text!r} is {type(text).__name__}, not text")
    if not isinstance(label, str | int):
        raise DataError(f"{path}, line {number}: {data.label!r} is {type(label).__name__}, neither text nor integer")
    return text, str(label)
