"""Labelled texts from a data set of the Hugging Face hub (extra `datasets`)."""

from __future__ import annotations

import difflib
from typing import Any

from harness.errors import DataError, MissingExtra
from harness.workloads.params import SPLITS, HubData


def check() -> None:
    """Refuse when the library is not installed.

    Raises: MissingExtra.
    """
    from importlib.util import find_spec

    if find_spec("datasets") is None:
        raise MissingExtra(
            "workload.data.source: hub needs the package `datasets`; install it with: "
            "pip install 'joulebench[datasets]'"
        )


def read(data: HubData) -> dict[str, list[tuple[str, str]]]:
    """Return (text, label) rows by split, class names where the data set has them.

    Raises: MissingExtra, DataError: not installed; not found, offline, or a column is missing.
    """
    check()
    return {split: _rows(data, getattr(data.splits, split)) for split in SPLITS}


def _rows(data: HubData, split: str) -> list[tuple[str, str]]:
    import datasets

    try:
        table: Any = datasets.load_dataset(data.id, data.config, split=split, revision=data.revision)
    except (OSError, ValueError, RuntimeError, LookupError) as error:
        raise DataError(
            f"workload.data.id: cannot load {data.id!r} (split {split!r}): {str(error).splitlines()[0]}. Check the id "
            "and the network, or save the splits as JSONL and use {source: file, ...}"
        ) from error
    for column in (data.text, data.label):
        if column not in table.column_names:
            near = difflib.get_close_matches(column, table.column_names, n=1, cutoff=0.4)
            hint = f"; did you mean {near[0]!r}?" if near else ";"
            raise DataError(f"{data.id}: there is no column {column!r}{hint} It has {', '.join(table.column_names)}")
    feature = table.features[data.label]
    named = getattr(feature, "int2str", None)
    labels = table[data.label]
    return [
        (str(text), str(named(label) if named else label)) for text, label in zip(table[data.text], labels, strict=True)
    ]
