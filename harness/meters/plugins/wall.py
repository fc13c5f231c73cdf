"""A wall-power meter that logs to a CSV file while we measure: `wall:power.csv`.

The file has a header and one sample a line; a logger appends to it, on this host or on one whose clock is
kept by NTP. Found by name, or named by an option:

    time     ISO 8601 with a zone (`2026-11-23T10:00:00.25+01:00`), or unix seconds, ms, µs or ns
    power    `power_w`, `power_mw`, `power_kw`, `watts`, `w`, `mw`, `kw`
    energy   `energy_j`, `energy_wh`, `energy_kwh`, `joules`, `wh`, `kwh`: a sum that only rises

Options, as in `wall:power.csv?power=Leistung&unit=W&clock=0.2s`:

    time=, power=, energy=   the column's name; unit=W|mW|kW|J|Wh|kWh where the name does not say it
    offset=0.4s              added to every time of the file, to correct a clock known to be wrong
    clock=0.5s               how far the file's clock may be from this host's; widens the bounds
    accuracy=1%              the meter's stated error; widens the bounds
    refresh=1s               the meter's own period; without it a repeated value counts as no new sample
    wait=5s                  how long a window waits for the samples behind its end
"""

from __future__ import annotations

import csv
import difflib
import os
import re
import time
from datetime import datetime
from pathlib import Path

import msgspec

from harness.errors import UsageError
from harness.meters.aligned import COMMON_OPTIONS, AlignedMeter, duration_s, opened, parsed, provenance, scale, setting
from harness.meters.integration import DOMAIN, Trust
from harness.meters.series import Kind, Recording, Series
from harness.records import Frozen, Missing

OPTIONS = ("time", "power", "energy", "offset", *COMMON_OPTIONS)

TIME_COLUMNS = (
    "time",
    "timestamp",
    "datetime",
    "unix_s",
    "unix_ms",
    "time_s",
    "time_ms",
    "timestamp_s",
    "timestamp_ms",
)
UNIT_OF_COLUMN = {
    "power_w": "W",
    "power_mw": "mW",
    "power_kw": "kW",
    "watts": "W",
    "w": "W",
    "mw": "mW",
    "kw": "kW",
    "energy_j": "J",
    "energy_wh": "Wh",
    "energy_kwh": "kWh",
    "joules": "J",
    "wh": "Wh",
    "kwh": "kWh",
}

TAIL_BYTES = 256 * 1024
"""What is read of the samples from before opening: enough to find the period."""
FUTURE_S = 0.1
"""A sample may be stamped this far ahead of our clock, beyond `clock=`, before the clocks are called apart."""


class Columns(Frozen, frozen=True, kw_only=True):
    """Where in a line the time and the value stand, and what one unit of the value is in W or J."""

    width: int
    time: int
    value: int
    kind: Kind
    scale: float
    words: str


class CsvSource:
    """A growing CSV file: read on from where the last reading ended, whole lines only. Open with `open_meter`."""

    def __init__(self, path: Path, columns: Columns, trust: Trust, offset_s: float) -> None:
        self.provenance = provenance(columns.kind)
        self.recording = Recording(columns.kind)
        self.coarse = True
        self.words = columns.words
        self.late_s = 0.0
        self._path = path
        self._columns = columns
        self._trust = trust
        self._offset_s = offset_s
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._offset, self._line = _start(self._fd)
        self._last_line = b""

    @property
    def trust(self) -> Trust:
        """What the user stated; times without fractions add the second that they leave out."""
        return msgspec.structs.replace(self._trust, clock_s=self._trust.clock_s + (1.0 if self.coarse else 0.0))

    def fetch(self, begin_unix_s: float) -> tuple[Series, Trust] | Missing:
        """Read what was appended; return the samples from some before `begin_unix_s` on."""
        try:
            reason = self.read_on()
        except OSError as error:
            reason = f"{self._path}: {error.strerror}"
        if reason is not None:
            return Missing(domain=DOMAIN, reason=reason)
        return self.recording.part(begin_unix_s), self.trust

    def read_on(self) -> str | None:
        """Take the whole lines that were appended; return why the file cannot be trusted any more, or None.

        Raises: OSError: the file cannot be read.
        """
        if (reason := self._replaced()) is not None:
            self.recording.refused = self.recording.refused or reason
        while self.recording.refused is None:
            chunk = os.pread(self._fd, 1 << 20, self._offset)
            whole = chunk[: chunk.rfind(b"\n") + 1]
            if not whole:
                break
            for line in whole.splitlines(keepends=True):
                self._line += 1
                self._take(line)
                self._last_line = line
            self._offset += len(whole)
        return self.recording.refused or self._ahead()

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _replaced(self) -> str | None:
        """Return why the open file is not the one that was read so far, or None."""
        here = os.fstat(self._fd)
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return f"{self._path} was removed while it was read; begin a new measurement on the new file"
        if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino):
            return f"{self._path} was replaced by another file (rotated) while it was read; measure on one file"
        before = os.pread(self._fd, len(self._last_line), self._offset - len(self._last_line))
        if here.st_size < self._offset or before != self._last_line:
            return f"{self._path} was truncated or written over while it was read; loggers must only append"
        return None

    def _take(self, line: bytes) -> None:
        where = f"{self._path}, line {self._line}"
        text = line.decode("utf-8", "replace").strip()
        if not text:
            return
        fields = next(csv.reader([text]))
        if len(fields) != self._columns.width:
            self.recording.fault(f"{where}: {len(fields)} fields instead of {self._columns.width}: {text[:80]!r}")
            return
        stamp = fields[self._columns.time].strip()
        try:
            unix_s = unix_seconds(stamp)
            value = float(fields[self._columns.value]) * self._columns.scale
        except ValueError as error:
            self.recording.fault(f"{where}: {error}")
            return
        self.coarse = self.coarse and _coarse(stamp)
        self.recording.add(unix_s + self._offset_s, value, where)

    def _ahead(self) -> str | None:
        newest_s = self.recording.newest_s()
        ahead_s = -1.0 if newest_s is None else newest_s - time.time()
        if ahead_s <= self._trust.clock_s + FUTURE_S:
            return None
        return (
            f"{self._path}: the newest sample is stamped {ahead_s:.3f} s in the future: the clocks or zones differ; "
            "set both by NTP, or correct the file's by `offset=`"
        )


def open_meter(argument: str, device: str | None = None) -> tuple[AlignedMeter | None, tuple[Missing, ...]]:
    """Open the CSV file that `argument` names, with its options (see the top of this file).

    Raises: UsageError: an option is unknown or makes no sense, or the columns are not found.
    """
    del device  # the wall feeds every device
    target, options = parsed("wall", argument, OPTIONS)
    chosen = setting("wall", options)
    offset_s = _offset_s(options)
    path = Path(target).expanduser()
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            line = file.readline()
        if not line.endswith("\n"):
            return None, (Missing(domain=DOMAIN, reason=f"{path} has no header yet; start the logger first"),)
        header = next(csv.reader([line]), [])
        source = CsvSource(path, find_columns(path, header, options), chosen.trust, offset_s)
    except (OSError, UnicodeDecodeError) as error:
        reason = f"{path} cannot be read: {getattr(error, 'strerror', None) or error}; start the logger first"
        return None, (Missing(domain=DOMAIN, reason=reason),)
    return opened("wall", source, chosen)


def find_columns(path: Path, header: list[str], options: dict[str, str]) -> Columns:
    """Return where time and value stand in the lines of a CSV file with this header.

    Raises: UsageError: a column is missing or ambiguous, or its unit is not said; the header is shown.
    """
    names = [name.strip() for name in header]
    if "power" in options and "energy" in options:
        raise UsageError("wall: give power= or energy=, not both")
    stamp = _column(path, names, options.get("time"), TIME_COLUMNS, "time")
    named = options.get("power", options.get("energy"))
    value = _column(path, names, named, tuple(UNIT_OF_COLUMN), "power or energy")
    unit = options.get("unit") or UNIT_OF_COLUMN.get(names[value].casefold())
    if unit is None:
        raise UsageError(f"{path}: the column {names[value]!r} does not say its unit; add unit=W, mW, kW, J, Wh or kWh")
    kind, factor = scale("wall", unit)
    if ("power" in options and kind is Kind.ENERGY) or ("energy" in options and kind is Kind.POWER):
        raise UsageError(f"wall: {unit} is a unit of {kind.value}; name the column with {kind.value}=")
    words = f"{path}: times from {names[stamp]!r}, {kind.value} from {names[value]!r} in {unit}"
    return Columns(width=len(names), time=stamp, value=value, kind=kind, scale=factor, words=words)


def unix_seconds(text: str) -> float:
    """Return unix seconds of an ISO 8601 time with its zone, or of unix seconds, ms, µs or ns told by size.

    Raises: ValueError: it is neither, lies outside 2001 to 2286, or its zone is not given.
    """
    try:
        number = float(text)
    except ValueError:
        pass
    else:
        for unit_s in (1.0, 1e-3, 1e-6, 1e-9):
            if 1e9 <= number * unit_s < 1e10:
                return number * unit_s
        raise ValueError(f"the time {text!r} is no unix time in s, ms, µs or ns")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"the time {text!r} is neither ISO 8601 nor unix seconds") from None
    if not re.search(r"\d\d:\d\d:\d\d", text):
        raise ValueError(f"the time {text!r} is no time of day with its seconds")
    if moment.tzinfo is None:
        raise ValueError(f"the time {text!r} has no zone, so it may be hours off; write it with Z or +01:00")
    return moment.timestamp()


def _start(fd: int) -> tuple[int, int]:
    """Return the offset of the first line to read, header and old samples skipped, and the lines before it."""
    begin = max(0, os.fstat(fd).st_size - TAIL_BYTES)
    offset, lines = 0, 0
    while offset < begin:
        chunk = os.pread(fd, min(1 << 20, begin - offset), offset)
        lines += chunk.count(b"\n")
        offset += len(chunk)
    rest_of_line = os.pread(fd, 1 << 16, offset).find(b"\n") + 1
    return offset + rest_of_line, lines + 1


def _coarse(stamp: str) -> bool:
    """Return whether a time names whole seconds only."""
    return not any(mark in stamp for mark in ".,") and not (stamp.isdigit() and len(stamp) > 11)


def _column(path: Path, names: list[str], asked: str | None, known: tuple[str, ...], what: str) -> int:
    """Return the index of the one column that is asked for, or known by name."""
    shown = ", ".join(repr(name) for name in names)
    if asked is not None:
        if asked in names:
            return names.index(asked)
        near = difflib.get_close_matches(asked, names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ";"
        raise UsageError(f"{path} has no column {asked!r}{hint} its header is {shown}")
    found = [index for index, name in enumerate(names) if name.casefold() in known]
    if len(found) == 1:
        return found[0]
    problem = "more than one column" if found else "no column"
    raise UsageError(
        f"{path} has {problem} known for {what}; its header is {shown}. Name the column with "
        f"{what.replace(' or ', '= or ')}=, or call it one of {', '.join(known)}"
    )


def _offset_s(options: dict[str, str]) -> float:
    text = options.get("offset", "")
    size_s = duration_s("wall", {"offset": text.lstrip("+-")}, "offset") if text else None
    return 0.0 if size_s is None else (-size_s if text.startswith("-") else size_s)
