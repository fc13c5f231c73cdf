"""`baseline` and `gate --baseline`: stored runs that later ones are held against. They measure nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from harness import schedule, store
from harness.cli import gating
from harness.cli.output import print_json
from harness.cli.reading import newest
from harness.errors import IncomparableRecords, ResultsError, UsageError
from harness.gate import baselines, calibrating, targets, trends, writing
from harness.gate.baselines import Entry
from harness.gate.model import GateResult
from harness.gate.targets import GateConfig

_REFUSED = "refused"
"""Stands for the id of a gate that has no folder, for it compared nothing."""


def add(folder: Path, results: Path, note: str, *, as_json: bool) -> int:
    """Append a run to the baselines; return 0."""
    path = results / baselines.FILE
    entry = baselines.add(path, folder, added_utc=schedule.utc_now(), note=note)
    if as_json:
        print_json(entry)
    else:
        click.echo(f"added {_line(entry)}\ncommit {path} together with {results / entry.run}")
    return 0


def show_all(results: Path, *, as_json: bool) -> int:
    """Print the baselines, oldest first; return 0."""
    entries = baselines.load(results / baselines.FILE)
    if as_json:
        print_json(entries)
        return 0
    for entry in entries:
        click.echo(_line(entry))
    if not entries:
        click.echo(f"there is no baseline in {results / baselines.FILE}; `joulebench baseline add RUN` stores one")
    return 0


def show(number: int, results: Path, *, as_json: bool) -> int:
    """Check the files of one baseline and print what it holds; return 0."""
    path = results / baselines.FILE
    entry = next((entry for entry in baselines.load(path) if entry.number == number), None)
    if entry is None:
        raise ResultsError(f"{path} has no entry {number}; `joulebench baseline list` shows what there is")
    baselines.verify(path, entry)
    run = store.load_run(path.parent / entry.run)
    if as_json:
        print_json(
            {"entry": entry, "cases": [run.info.name_of(record.case) for record in run.records], "host": run.info.host}
        )
        return 0
    click.echo(_line(entry))
    click.echo(f"  chain {entry.previous_sha256 or 'begins here'} -> {entry.sha256}")
    for name, sha256 in entry.files.items():
        click.echo(f"  {sha256[:12]}  {name}: as it was added")
    for record in run.records:
        click.echo(f"  {record.case_id}  {run.info.name_of(record.case)}")
    return 0


def gate(baseline: Path, held: Path | None, config: Path, options: Mapping[str, Any]) -> int:
    """Hold a run (the newest by default) against a stored one, print and write the result; return its exit code.

    Policy and accepted costs are those of `config`, where there is such a file. A refusal is written as JUnit and
    Markdown where those were asked for, and raised.
    """
    results, reports = options["results"], (options["junit"], options["md"])
    for place in filter(None, reports):
        writing.check_place(place)
    current = store.load_run(held or newest(results))
    if current.info.finished_utc is None:
        raise ResultsError(
            f"run {current.info.run_id} has not ended, so its missing cases say nothing; `joulebench run` goes on with "
            "it, or name another one with --run"
        )
    asked = targets.load(config) if config.is_file() else None
    try:
        result = _result(baseline, current, asked, strict=options["strict"])
    except IncomparableRecords as error:
        refusal = trends.refused(str(error), str(baseline), current.info, gate_id=_REFUSED, config=asked)
        gating.write_reports(refusal, *reports)
        raise
    folder = writing.create_gate(results, current.info.host_fingerprint, schedule.utc_now())
    result = msgspec.structs.replace(result, gate_id=folder.name)
    gating.tell(result, folder, gating.Options(config=config, **options))
    return result.exit_code


def _result(baseline: Path, current: store.Run, config: GateConfig | None, *, strict: bool) -> GateResult:
    stored = baselines.find(baseline, current.info)
    if stored.info.run_id == current.info.run_id:
        raise UsageError(
            f"run {current.info.run_id} is the baseline itself; run the suite again, or name one with --run"
        )
    return trends.against(
        stored,
        current,
        gate_id="",
        config=config,
        calibration=calibrating.history(current.info.host_fingerprint),
        strict=strict,
    )


def _line(entry: Entry) -> str:
    note = f"  {entry.note}" if entry.note else ""
    return (
        f"{entry.number}  {entry.added_utc}  {entry.suite_name}  host {entry.host_fingerprint[:8]}  "
        f"{entry.code_version}  {entry.run_id}{note}"
    )
