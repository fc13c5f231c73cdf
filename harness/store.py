"""Results on disk: `results/<host fingerprint>/<run>/`, appended and fsynced as they are made.

    run.json         what was asked, on which host (RunInfo)
    suite.yaml       the resolved suite
    records.jsonl    one finished case a line (Record)
    windows.jsonl    one measured window a line, of cases not finished yet (Logged)
    models/          what train cases left
    outputs/         what infer cases answered, item by item
    logs/            what each worker wrote to standard error

A line counts only once its newline is on disk: a half-written last line is cut off before the
next append and never read. Any other unreadable line is an error that names file and line.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from harness.errors import IncomparableRecords, NotMeasured, ResultsError
from harness.messages import Items
from harness.records import Failed, Frozen, Record, RunInfo, Window

T = TypeVar("T")


class Logged(Frozen, frozen=True, kw_only=True):
    """One line of `windows.jsonl`: a window of a case whose record is not written yet."""

    case_id: str
    window: Window
    items: Items | None = None


@dataclass(frozen=True)
class Run:
    """One run as it stands on disk."""

    folder: Path
    info: RunInfo
    records: tuple[Record, ...]


def create_run(root: Path, info: RunInfo) -> Path:
    """Make the run's folder and write `run.json`; return the folder.

    Raises: ResultsError: the folder cannot be written.
    """
    folder = root / info.host_fingerprint[:8] / info.run_id
    try:
        for name in ("models", "outputs", "logs"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        write_info(folder, info)
    except OSError as error:
        raise ResultsError(
            f"cannot write results to {folder}: {error.strerror or error}; choose another folder with --results"
        ) from error
    return folder


def write_info(folder: Path, info: RunInfo) -> None:
    """Write `run.json` atomically."""
    write_atomically(folder / "run.json", msgspec.json.format(msgspec.json.encode(info)) + b"\n")


def write_atomically(path: Path, content: bytes) -> None:
    """Write a whole file so that a reader sees the old one or the new one, never half."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def append_record(folder: Path, record: Record) -> None:
    """Append a finished case; it is on disk when this returns."""
    append_line(folder / "records.jsonl", record)


def append_window(folder: Path, logged: Logged) -> None:
    """Append a measured window of an unfinished case; it is on disk when this returns."""
    append_line(folder / "windows.jsonl", logged)


def read_windows(folder: Path) -> tuple[Logged, ...]:
    """Return the windows logged so far."""
    return read_lines(folder / "windows.jsonl", Logged)


def load_run(path: Path) -> Run:
    """Return a run from its folder, its `run.json`, or its `records.jsonl`.

    When a case has several records (it failed, and a later attempt went well), the last one counts.

    Raises: ResultsError: this is not a run, or one of its files is damaged.
    """
    folder = path if path.is_dir() else path.parent
    info = read_info(folder)
    latest = {record.case_id: record for record in read_lines(folder / "records.jsonl", Record)}
    ordered = [latest[case_id] for case_id in info.case_ids if case_id in latest]
    return Run(folder=folder, info=info, records=tuple(ordered))


def read_info(folder: Path) -> RunInfo:
    """Return `run.json`.

    Raises: ResultsError: it is missing or damaged.
    """
    path = folder / "run.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=RunInfo)
    except FileNotFoundError:
        raise ResultsError(f"{folder} is not a run: it has no run.json; `joulebench run` makes one") from None
    except (OSError, msgspec.DecodeError) as error:
        raise ResultsError(f"{path} cannot be read: {error}") from error


class Answers(Frozen, frozen=True, kw_only=True):
    """What an infer case answered (`outputs/<case_id>.json`): one row of outputs an item.

    `tokens` says that they are ids of tokens, with -1 after the last.
    """

    item_ids: tuple[int, ...]
    outputs: tuple[tuple[float, ...], ...]
    tokens: bool = False


def write_answers(folder: Path, case_id: str, answers: Answers) -> str:
    """Write the answers of a case; return the file's name, relative to the run's folder."""
    name = f"outputs/{case_id}.json"
    write_atomically(folder / name, msgspec.json.encode(answers))
    return name


def largest_output_difference(folder: Path, record: Record, base: Record) -> float:
    """Return the largest absolute difference of any output value over the items that both answered.

    Raises: NotMeasured: a case left no answers. IncomparableRecords: no item in common, or outputs of unlike shape.
    ResultsError: an outputs file cannot be read.
    """
    pairs = _paired_answers(folder, record, base)
    return max(abs(a - b) for mine, theirs in pairs for a, b in zip(mine, theirs, strict=True))


def token_agreement(folder: Path, record: Record, base: Record) -> float | None:
    """Return the share (0-1) of the baseline's tokens that the other wrote in the same place; None: no tokens.

    Raises: as `largest_output_difference`.
    """
    if not _read_answers(folder, base).tokens:
        return None
    pairs = _paired_answers(folder, record, base)
    equal = [a == b for mine, theirs in pairs for a, b in zip(mine, theirs, strict=True) if b >= 0]
    if not equal:
        raise NotMeasured(f"{base.case.name} wrote no token")
    return sum(equal) / len(equal)


def _paired_answers(folder: Path, record: Record, base: Record) -> list[tuple[tuple[float, ...], tuple[float, ...]]]:
    """Return both rows of outputs of each item that both answered."""
    mine, theirs = (
        dict(zip(found.item_ids, found.outputs, strict=True))
        for found in (_read_answers(folder, record), _read_answers(folder, base))
    )
    common = mine.keys() & theirs.keys()
    if not common:
        raise IncomparableRecords(f"{record.case.name} and {base.case.name} answered no item in common")
    if any(len(mine[item]) != len(theirs[item]) for item in common):
        raise IncomparableRecords(f"{record.case.name} and {base.case.name} give outputs of unlike shape")
    return [(mine[item], theirs[item]) for item in common]


def _read_answers(folder: Path, record: Record) -> Answers:
    if record.outputs_file is None:
        raise NotMeasured(f"{record.case.name} left no outputs")
    path = folder / record.outputs_file
    try:
        return msgspec.json.decode(path.read_bytes(), type=Answers)
    except (OSError, msgspec.DecodeError) as error:
        raise ResultsError(f"{path}: outputs of {record.case.name} cannot be read: {error}") from error


def runs(root: Path) -> tuple[Path, ...]:
    """Return the folders of the runs made under a results folder, oldest first.

    Runs are named by their time; what was copied beside them under another name (`reference/`) is not among them.
    """
    found = root.glob("*/[0-9]*T[0-9]*Z-*/run.json")
    return tuple(sorted((path.parent for path in found), key=lambda folder: folder.name))


def unfinished(root: Path, info: RunInfo) -> Path | None:
    """Return the newest run that was asked the same by the same code on the same host and has not ended."""
    for folder in reversed(runs(root)):
        other = read_info(folder)
        same = (
            other.finished_utc is None
            and other.host_fingerprint == info.host_fingerprint
            and other.suite_sha256 == info.suite_sha256
            and other.case_ids == info.case_ids
            and other.code_version == info.code_version
        )
        if same:
            return folder
    return None


def settled(records: Iterable[Record]) -> dict[str, Record]:
    """Return the records that a resumed run keeps, by case: all but the failed ones."""
    return {record.case_id: record for record in records if not isinstance(record.outcome, Failed)}


def append_line(path: Path, value: Frozen) -> None:
    """Append a value as one line of JSON; it is on disk when this returns. A torn last line is cut off first.

    Raises: ResultsError: the file cannot be written.
    """
    line = msgspec.json.encode(value) + b"\n"
    try:
        with path.open("ab+") as file:
            _cut_half_line(file.fileno())
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ResultsError(f"cannot append to {path}: {error.strerror or error}; what it holds is kept") from error


def _cut_half_line(descriptor: int) -> None:
    size = os.fstat(descriptor).st_size
    if size == 0 or os.pread(descriptor, 1, size - 1) == b"\n":
        return
    content = os.pread(descriptor, size, 0)
    os.ftruncate(descriptor, content.rfind(b"\n") + 1)


def read_lines(path: Path, kind: type[T]) -> tuple[T, ...]:
    """Return the values of a file's complete lines; () where there is no file.

    Raises: ResultsError: a complete line is not of that kind; names file and line.
    """
    if not path.exists():
        return ()
    decoder = msgspec.json.Decoder(kind)
    values = []
    complete = path.read_bytes().split(b"\n")[:-1]
    for number, line in enumerate(complete, start=1):
        try:
            values.append(decoder.decode(line))
        except msgspec.DecodeError as error:
            raise ResultsError(
                f"{path}:{number} is not a {kind.__name__} of this version of joulebench: {error}; "
                "read it with the version that wrote it, or move the file away"
            ) from error
    return tuple(values)
