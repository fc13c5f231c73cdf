"""From what was sampled to the columns of a trace: the rows of a thread and of the edges, and those of the kernel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from harness.counters.edges import Mark
from harness.counters.load import jiffies_s
from harness.counters.process import usage_s
from harness.meters.seam import BilledMeter
from harness.meters.traceformat import TEXT, Raw, TracedInfo

_INT64 = 2**63

Reading = tuple[Mark, int]
"""A full row before it is written: a mark, and a clock in nanoseconds that goes on while the host is suspended."""


class KernelRow(NamedTuple):
    """A row that the kernel took: three times in nanoseconds, and microjoules, one a channel of its meter."""

    wall_ns: int
    boot_ns: int
    unix_ns: int
    energies_uj: tuple[int, ...]


def columns(
    readings: Sequence[Reading], meters: Sequence[BilledMeter], traced: Sequence[TracedInfo]
) -> Iterator[tuple[str, list[Any]]]:
    """Yield each column of full rows by its name."""
    marks = [mark for mark, _ in readings]
    hosts = [jiffies_s(mark.stat) for mark in marks]
    yield "wall_ns", [mark.wall_ns for mark in marks]
    yield "boot_ns", [boot for _, boot in readings]
    yield "unix_ns", [mark.unix_ns for mark in marks]
    yield "cpu_ns", [mark.cpu_ns for mark in marks]
    yield "children_user_ns", [_ns(mark.children.ru_utime) for mark in marks]
    yield "children_system_ns", [_ns(mark.children.ru_stime) for mark in marks]
    yield "group_ns", [_ns(usage_s(mark.group)) for mark in marks]
    yield "host_busy_ns", [None if host is None else _ns(host[0]) for host in hosts]
    yield "host_steal_ns", [None if host is None else _ns(host[1]) for host in hosts]
    for index, (meter, info) in enumerate(zip(meters, traced, strict=True)):
        if not info.columns:
            continue
        source: Any = meter
        rows = [source.raw(mark.readings[index]) for mark in marks]
        for column, values in zip(info.columns, zip(*rows, strict=True), strict=True):
            yield column, [value if _is_number(value) else None for value in values]
            yield column + TEXT, [_words(value) for value in values]


def merged(full: dict[str, list[Any]], rows: Sequence[KernelRow], channels: Sequence[str]) -> dict[str, list[Any]]:
    """Return the columns of full rows and of the kernel's together, in the order of time.

    Args:
        full: the columns of full rows.
        rows: rows of the kernel, none at the time of a full one.
        channels: the names of the columns that the kernel's energies go into; they have nothing for any other.
    """
    order = sorted(
        range(len(full["wall_ns"]) + len(rows)), key=[*full["wall_ns"], *(row.wall_ns for row in rows)].__getitem__
    )
    taken: dict[str, Sequence[Any]] = {
        "wall_ns": [row.wall_ns for row in rows],
        "boot_ns": [row.boot_ns for row in rows],
        "unix_ns": [row.unix_ns for row in rows],
    } | dict(zip(channels, zip(*(row.energies_uj for row in rows), strict=True), strict=True) if rows else ())
    nothing = [None] * len(rows)
    both = {name: [*values, *taken.get(name, nothing)] for name, values in full.items()}
    return {name: [values[place] for place in order] for name, values in both.items()}


def _is_number(value: Raw) -> bool:
    return isinstance(value, int) and -_INT64 <= value < _INT64


def _words(value: Raw) -> str | None:
    if isinstance(value, int):
        return None if _is_number(value) else f"the reading {value} is outside 64 bits"
    return value


def _ns(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1e9)
