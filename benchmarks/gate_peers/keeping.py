"""What is kept of a run, so that it can go on where it stopped and be scored again by anyone.

    run.json         what was asked for and on what host and versions: a run goes on only as it began
    trials.jsonl     one line a trial: seeds, order, exit codes, last lines, times, load, verdicts
    blocks.csv.gz    every block that joulebench measured: joules a task of its four slots and of its control
    samples.csv.gz   microseconds a call that asv and pyperf kept, one row an arm
    neighbours.csv.gz   lengths in seconds of the neighbour's phases, one row a trial; idle ones are negative

A trial counts once its line is on disk. The line says how long the other files were then; what is beyond that, or
half a line, belongs to a trial that was cut off and is taken away when the run goes on.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.gate.model import Block, Slot, Stage
from harness.records import Provenance

from .running import without_paths

RUN, TRIALS = "run.json", "trials.jsonl"
TABLES = {
    "blocks.csv.gz": ("trial", "stage", "fork", "index", "order", "first_j", "second_j", "third_j", "fourth_j",
                      "known", "control_j", "control_cpu_s", "void"),
    "samples.csv.gz": ("trial", "tool", "arm", "microseconds"),
    "neighbours.csv.gz": ("trial", "phases_s"),
}  # fmt: skip
BLOCKS, SAMPLES, NEIGHBOURS = TABLES
CASE = "encode"

Row = Sequence[object]
Line = dict[str, Any]


def begin(folder: Path, asked: Mapping[str, object], about: Mapping[str, object]) -> Line:
    """Write what is asked for, or go on with a run of the same; return what `run.json` holds.

    Raises: SystemExit: the folder holds a run that was asked for otherwise.
    """
    path = folder / RUN
    if path.exists():
        kept: Line = json.loads(path.read_text(encoding="utf-8"))
        unlike = [key for key, value in asked.items() if kept["asked"].get(key) != value]
        if unlike:
            listed = ", ".join(f"{key} {kept['asked'].get(key)} (now {asked[key]})" for key in unlike)
            raise SystemExit(f"{folder.name} holds a run with {listed}; go on with the same, or give another --out")
        _repair(folder)
        return kept
    folder.mkdir(parents=True, exist_ok=True)
    if any((folder / name).exists() for name in (TRIALS, *TABLES)):
        raise SystemExit(f"{folder.name} holds trials without their {RUN}; give another --out")
    begun = {"asked": dict(asked), "about": dict(about)}
    _write(path, "wb", json.dumps(begun, indent=1).encode() + b"\n")
    for name, columns in TABLES.items():
        _write(folder / name, "wb", _packed([columns]))
    return begun


def append(folder: Path, line: Line, rows: Mapping[str, Iterable[Row]]) -> None:
    """Keep a trial: its rows first, then its line."""
    sizes = {}
    for name in TABLES:
        content = list(rows.get(name, ()))
        if content:
            _write(folder / name, "ab", _packed(content))
        sizes[name] = (folder / name).stat().st_size
    _write(folder / TRIALS, "ab", json.dumps({**line, "kept_bytes": sizes}, ensure_ascii=False).encode() + b"\n")


def trials(folder: Path) -> list[Line]:
    """Return the lines of all trials that were kept whole.

    Raises: SystemExit: there is no run in the folder.
    """
    if not (folder / RUN).exists():
        raise SystemExit(f"{folder.name} holds no run: there is no {RUN} in it")
    path = folder / TRIALS
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.split("\n")[:-1]]


def table(folder: Path, name: str) -> Iterator[dict[str, str]]:
    """Yield the rows of a table by column, of the trials that were kept whole."""
    kept = trials(folder)
    size = kept[-1]["kept_bytes"][name] if kept else 0
    with (folder / name).open("rb") as file:
        content = gzip.decompress(file.read(size)) if size else b""
    yield from csv.DictReader(io.StringIO(content.decode()))


def block_rows(trial: int, blocks: Iterable[Block]) -> list[Row]:
    """Return the rows of joulebench's blocks, in the order in which they were measured; joules a task to 7 digits."""
    return [
        (
            trial,
            block.stage.value,
            block.fork,
            block.index,
            block.order,
            *(_per_task(slot) for slot in block.slots),
            _known(block.slots),
            *_control(block.control),
            "" if block.void is None else without_paths(block.void),
        )
        for block in blocks
    ]


def sample_rows(trial: int, tool: str, samples: Mapping[str, Sequence[float]]) -> list[Row]:
    """Return the rows of what a peer kept, seconds a call by arm, to a tenth of a microsecond."""
    return [(trial, tool, arm, " ".join(f"{1e6 * value:.1f}" for value in kept)) for arm, kept in samples.items()]


def block_of(row: Mapping[str, str]) -> Block:
    """Return a block from its row: everything that a decision uses is in it."""
    arms = ("base", "head", "head", "base") if row["order"] == "ABBA" else ("head", "base", "base", "head")
    joules = (row["first_j"], row["second_j"], row["third_j"], row["fourth_j"])
    known = row["known"].split("/") * (1 if "/" in row["known"] else 4)
    control = (_slot("control", row["control_j"], "", row["control_cpu_s"]),) if row["control_cpu_s"] else ()
    return Block(
        case=CASE,
        stage=Stage(row["stage"]),
        fork=int(row["fork"]),
        index=int(row["index"]),
        order=row["order"],
        slots=tuple(_slot(*each) for each in zip(arms, joules, known, strict=True)),
        control=control,
        void=row["void"] or None,
    )


def _slot(arm: str, joules: str, known: str, cpu_s: str = "0") -> Slot:
    return Slot(
        arm=arm,
        tasks=1,
        duration_s=0.0,
        cpu_s=float(cpu_s),
        energy_j=float(joules) if joules else None,
        provenance=Provenance(known) if known else None,
    )


def _known(slots: Sequence[Slot]) -> str:
    """Return how the joules of all slots are known, or of each where they differ."""
    known = ["" if slot.provenance is None else slot.provenance.value for slot in slots]
    return known[0] if len(set(known)) == 1 else "/".join(known)


def _per_task(slot: Slot) -> str:
    return "" if slot.energy_j is None or slot.tasks < 1 else f"{slot.energy_j / slot.tasks:.7g}"


def _control(slots: Sequence[Slot]) -> tuple[str, str]:
    """Return the joules and CPU-seconds a task of a block's one control slot."""
    if len(slots) != 1 or slots[0].tasks < 1:
        return "", ""
    return _per_task(slots[0]), f"{slots[0].cpu_s / slots[0].tasks:.7g}"


def _packed(rows: Iterable[Row]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return gzip.compress(text.getvalue().encode(), mtime=0)


def _write(path: Path, mode: str, content: bytes) -> None:
    with path.open(mode) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _repair(folder: Path) -> None:
    """Take away what a trial that was cut off left behind."""
    path = folder / TRIALS
    if path.exists():
        content = path.read_bytes()
        os.truncate(path, content.rfind(b"\n") + 1)
    kept = trials(folder)
    for name, columns in TABLES.items():
        whole = kept[-1]["kept_bytes"][name] if kept else len(_packed([columns]))
        os.truncate(folder / name, whole)
