"""What a trace holds: its columns and its header, as docs/traces.md says. Only this file imports pyarrow."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from harness.errors import MissingExtra, UsageError
from harness.host import Cpu
from harness.records import DeviceState, Doubt, Frozen, MeterInfo, Missing

SCHEMA = 1
"""Version of the trace format. 1: first format (2026-11)."""

METADATA_KEY = b"joulebench"
"""Where the header stands in the file's metadata."""

DIGEST_KEY = b"joulebench.sha256"
"""Where the SHA-256 of the header stands; pages have checksums, metadata do not."""

COLUMNS = (
    *("wall_ns", "boot_ns", "unix_ns", "cpu_ns"),
    *("children_user_ns", "children_system_ns", "group_ns", "host_busy_ns", "host_steal_ns"),
)
"""What every trace holds beside the meters' channels; see docs/traces.md."""

_NULLABLE = frozenset({"group_ns", "host_busy_ns", "host_steal_ns"})
_NOT_OF_THE_KERNEL = frozenset({"cpu_ns", "children_user_ns", "children_system_ns"})

TEXT = ".text"
"""Ends the name of the column that holds what a channel said in words: why there was no number."""


Raw = int | str | None


class TracedInfo(Frozen, frozen=True, kw_only=True):
    """One meter of a trace: what it was, which columns are its channels, and what `replayed` needs.

    `reason` says why a meter has none of those; its domains are then missing from every replay.
    """

    name: str
    info: MeterInfo
    billed: tuple[str, ...]
    doubts: tuple[Doubt, ...] = ()
    contains_everything: bool = False
    columns: tuple[str, ...] = ()
    description: dict[str, Any] | None = None
    reason: str | None = None


class Header(Frozen, frozen=True, kw_only=True):
    """What a trace says of itself; times in seconds.

    `cores` are the logical cores of the host, `attribute` whether shares of the package were billed,
    `states` what devices said at the ends, `context` whatever the recorder was given (a case, a window's
    name). `sampler_cpu_s` is the CPU time that recording took of the process; None where it never ended.
    `sampler` says who took the rows between the edges of windows, `sampler_notes` why not the kernel, or
    which of its samples are missing.
    """

    schema: int = SCHEMA
    joulebench: str
    period_s: float
    pid: int
    cores: int | None
    host: Cpu
    attribute: bool
    meters: tuple[TracedInfo, ...]
    missing: tuple[Missing, ...]
    states: tuple[DeviceState, ...] = ()
    context: dict[str, Any] = {}
    sampler: Literal["thread", "kernel"] = "thread"
    sampler_notes: tuple[str, ...] = ()
    sampler_cpu_s: float | None = None


def require_arrow() -> None:
    """Check that traces can be written and read, without loading anything.

    Raises: MissingExtra: pyarrow is not installed.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise MissingExtra(
            "traces are Parquet files and need pyarrow: `pip install 'joulebench[trace]'`, or measure without a trace"
        )


def import_arrow() -> Any:
    """Return `pyarrow` with what is needed of it loaded.

    Raises: MissingExtra: it is not installed.
    """
    require_arrow()
    import pyarrow as pa
    import pyarrow.ipc
    import pyarrow.parquet

    return pa


def partial_of(path: Path) -> Path:
    """Return where a trace lies while it is recorded."""
    return path.with_name(f"{path.name}.partial")


def check_free(path: Path) -> None:
    """Refuse a path that a new trace cannot have.

    Raises: UsageError: the file or its unfinished twin exists, or the folder does not or cannot be written to.
    """
    partial = partial_of(path)
    if path.exists():
        raise UsageError(f"the trace {path} exists and is not written over; give the new one another name")
    if partial.exists():
        raise UsageError(
            f"{partial} exists: a trace is being recorded there, or one was never finished (`joulebench replay "
            f"{partial}` reads what it holds); give the new one another name, or remove it"
        )
    if not path.parent.is_dir():
        raise UsageError(f"the folder of the trace {path} does not exist; make it first")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"the folder of the trace {path} cannot be written to; give the trace another place")


def arrow_schema(arrow: Any, header: Header) -> Any:
    """Return the Arrow schema of a trace with this header, which its metadata hold."""
    nullable = _NULLABLE | _NOT_OF_THE_KERNEL if header.sampler == "kernel" else _NULLABLE
    fields = [arrow.field(name, arrow.int64(), nullable=name in nullable) for name in COLUMNS]
    for meter in header.meters:
        for column in meter.columns:
            fields += [arrow.field(column, arrow.int64()), arrow.field(column + TEXT, arrow.string())]
    text = msgspec.json.encode(header)
    return arrow.schema(fields, metadata={METADATA_KEY: text, DIGEST_KEY: hashlib.sha256(text).hexdigest()})


def read_header(path: Path, metadata: Mapping[bytes, bytes]) -> Header:
    """Return the header in a file's metadata.

    Raises: UsageError: there is none, it was altered, or a newer joulebench wrote it.
    """
    text = metadata.get(METADATA_KEY)
    if text is None:
        raise UsageError(f"{path} holds a table but no trace: joulebench's header is not in its metadata")
    if metadata.get(DIGEST_KEY) != hashlib.sha256(text).hexdigest().encode():
        raise UsageError(f"{path}: its header was altered after it was recorded, so nothing in it can be trusted")
    try:
        schema = msgspec.json.decode(text)["schema"]
        if schema == SCHEMA:
            return msgspec.json.decode(text, type=Header)
    except (msgspec.MsgspecError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: its header cannot be understood: {error}") from error
    raise UsageError(
        f"{path} is a trace of format {schema}, this joulebench reads format {SCHEMA}; a newer joulebench wrote it: "
        "`pip install --upgrade joulebench`"
    )
