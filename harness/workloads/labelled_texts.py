"""Labelled texts: the running Python's docstrings, the user's files or a hub data set, in three splits."""

from __future__ import annotations

from pathlib import Path

from harness.records import DataInfo
from harness.workloads import docstrings, hub_data, splits, tables
from harness.workloads.language import documentation_note
from harness.workloads.params import SPLITS, Data, DocstringData, FileData, HubData
from harness.workloads.trivial import constant


def check(data: Data) -> splits.Dataset | None:
    """Refuse cheaply what cannot work; return the user's files where they are read for it.

    Raises: DataError, MissingExtra.
    """
    if isinstance(data, HubData):
        hub_data.check()
    return _files(data) if isinstance(data, FileData) else None


def read(data: Data, cache: Path) -> splits.Dataset:
    """Return the checked and limited splits.

    Raises: DataError, MissingExtra.
    """
    if isinstance(data, FileData):
        return _files(data)
    if isinstance(data, HubData):
        return splits.assemble(hub_data.read(data), data.limit, dict.fromkeys(SPLITS, data.id))
    return splits.assemble(docstrings.read(cache), data.limit, dict.fromkeys(SPLITS, "the standard library"))


def info(data: Data, found: splits.Dataset) -> DataInfo:
    """Return what the data are, with the sha256 over their texts, labels and splits."""
    if isinstance(data, DocstringData):
        source, note = f"docstrings of Python {docstrings.python_version()}", documentation_note("docstrings")
    elif isinstance(data, FileData):
        source, note = f"file {Path(data.train).name}, {Path(data.validation).name}, {Path(data.test).name}", ""
    else:
        source = "hub " + "/".join(part for part in (data.id, data.config) if part)
        note = f"revision {data.revision or 'not pinned'}"
    return DataInfo(
        source=source,
        content_sha256=found.content_sha256,
        classes=found.classes,
        n_train=len(found.train.texts),
        n_validation=len(found.validation.texts),
        n_test=len(found.test.texts),
        note=note,
        trivial=tuple(
            constant(split, "accuracy", [(label,) for label in found.split(split).labels]) for split in SPLITS[1:]
        ),
    )


def _files(data: FileData) -> splits.Dataset:
    where = {split: str(getattr(data, split)) for split in SPLITS}
    return splits.assemble(tables.read(data), data.limit, where)
