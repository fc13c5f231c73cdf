"""The gate on disk: `results/<host fingerprint>/<UTC>-gate/`, strict, versioned, written whole or not at all.

    gate.json        what was decided (GateResult)
    blocks.jsonl     every block, one a line, appended and fsynced as it is measured (Block)
    gate.xml         the cases as JUnit
    gate.md          the summary for a pull request

`blocks.jsonl` alone is enough to decide again: nothing in `gate.json` was measured and is not in it. A half-written
last line of it is never read.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TypeVar

import msgspec

from harness import store
from harness.errors import InvalidMeasurement, ResultsError
from harness.gate.junit import render_junit
from harness.gate.markdown import render_markdown
from harness.gate.model import SCHEMA, Block, GateResult

T = TypeVar("T")

DROPPED = "dropped with its fork: "
"""Begins `void` of the second line of a block whose fork was dropped: append-only files take nothing back."""

GATE, BLOCKS, JUNIT, SUMMARY = "gate.json", "blocks.jsonl", "gate.xml", "gate.md"


class _Version(msgspec.Struct):
    schema: int


def create_gate(root: Path, host_fingerprint: str, started_utc: str) -> Path:
    """Make the folder of one gate run with its empty `blocks.jsonl`; its name is the `gate_id`.

    `started_utc` is `2026-11-23T14:00:00Z`. A second gate within the same second gets `-2`.

    Raises: ResultsError: the folder cannot be written.
    """
    name = f"{started_utc.replace('-', '').replace(':', '')}-gate"
    parent = root / host_fingerprint[:8]
    folder, attempt = parent / name, 1
    try:
        parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                folder.mkdir()
                break
            except FileExistsError:
                attempt += 1
                folder = parent / f"{name}-{attempt}"
        (folder / BLOCKS).touch()
    except OSError as error:
        raise ResultsError(
            f"cannot write the gate's results to {folder}: {error.strerror or error}; choose another folder with "
            "--results"
        ) from error
    return folder


def append_block(folder: Path, block: Block) -> None:
    """Append one block; it is on disk when this returns.

    Raises: ResultsError: the file cannot be written.
    """
    store.append_line(folder / BLOCKS, block)


def write_gate(folder: Path, result: GateResult) -> None:
    """Write `gate.json`, `gate.xml` and `gate.md`, each atomically.

    Raises: InvalidMeasurement: a number of the result is not finite, so no file could hold it. ResultsError: the
        folder cannot be written.
    """
    path = folder / GATE
    content = msgspec.json.encode(result)
    try:
        msgspec.json.decode(content, type=GateResult)
    except msgspec.ValidationError as error:
        raise InvalidMeasurement(
            f"{path} was not written, a number in it is not finite: {error}; the blocks are kept in {folder / BLOCKS}"
        ) from error
    write_file(path, msgspec.json.format(content) + b"\n")
    write_file(folder / JUNIT, render_junit(result))
    write_file(folder / SUMMARY, render_markdown(result).encode())


def write_file(path: Path, content: bytes) -> None:
    """Write one whole file atomically, and its folder if there is none.

    Raises: ResultsError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        store.write_atomically(path, content)
    except OSError as error:
        raise ResultsError(f"cannot write {path}: {error.strerror or error}; choose another place for it") from error


def check_place(path: Path) -> None:
    """Make sure that a whole file can be written there, before hours are spent on what it is to hold.

    Raises: ResultsError: it cannot.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent):
            problem = "it is a folder" if path.is_dir() else ""
    except OSError as error:
        problem = error.strerror or str(error)
    if problem:
        raise ResultsError(f"cannot write {path}: {problem}; choose another place for it")


def read_gate(path: Path) -> GateResult:
    """Return the result from a gate's folder or its `gate.json`.

    Raises: ResultsError: it is missing, damaged, or of another version of the format.
    """
    path = path / GATE if path.is_dir() else path
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ResultsError(f"{path} does not exist; `joulebench gate` writes it when it has ended") from None
    except OSError as error:
        raise ResultsError(f"{path} cannot be read: {error.strerror or error}") from error
    version = _decode(path, content, _Version).schema
    if version != SCHEMA:
        raise ResultsError(
            f"{path} has format {version}, this joulebench reads {SCHEMA}; read it with the version that wrote it"
        )
    return _decode(path, content, GateResult)


def read_blocks(folder: Path) -> tuple[Block, ...]:
    """Return every complete block of a gate's folder, in the order in which they were measured.

    The last line about a block counts, and blocks of a fork that was dropped are left out.

    Raises: ResultsError: the file is missing or damaged; names file and line.
    """
    latest = {(block.case, block.stage, block.fork, block.index): block for block in _block_lines(folder)}
    return tuple(block for block in latest.values() if not _dropped(block))


def read_dropped(folder: Path) -> tuple[Block, ...]:
    """Return the blocks of forks that were dropped as a whole, and began anew; their `void` says why.

    Raises: ResultsError: the file is missing or damaged.
    """
    return tuple(block for block in _block_lines(folder) if _dropped(block))


def gates(root: Path) -> tuple[Path, ...]:
    """Return the folders of all gate runs under a results folder, oldest first."""
    return tuple(sorted((path.parent for path in root.glob(f"*/*-gate*/{GATE}")), key=lambda folder: folder.name))


def find_gate(name: str, root: Path) -> Path:
    """Return the folder of a gate run from its path, the path of its `gate.json`, or its id under `root`.

    Raises: ResultsError: there is none, or several hosts have one of that id.
    """
    path = Path(name)
    if path.is_dir():
        return path
    if path.is_file():
        return path.parent
    found = [folder for folder in gates(root) if folder.name == name]
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(str(folder) for folder in found)
        raise ResultsError(f"{name} is the id of several gate runs: {listed}; give the folder instead")
    newest = gates(root)[-1:]
    hint = f"the newest is {newest[0].name}" if newest else "`joulebench gate` makes one"
    raise ResultsError(f"there is no gate run {name} under {root}; {hint}")


def _block_lines(folder: Path) -> tuple[Block, ...]:
    path = folder / BLOCKS
    if not path.is_file():
        raise ResultsError(f"{path} does not exist: without its blocks a verdict cannot be explained or scored again")
    return store.read_lines(path, Block)


def _dropped(block: Block) -> bool:
    return (block.void or "").startswith(DROPPED)


def _decode(path: Path, content: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.DecodeError as error:
        raise ResultsError(
            f"{path} is damaged, or was edited: {error}; run the gate again, or restore the file"
        ) from error
