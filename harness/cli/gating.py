"""`gate`."""

from __future__ import annotations

import contextlib
import secrets
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import click

from harness import host, schedule
from harness.cli.output import print_json, progress_bar
from harness.cli.running import code_version
from harness.engines.local import exclusive
from harness.errors import INTERRUPTED_EXIT, ConfigError
from harness.gate import calibrating, lines, running, slots, targets, writing
from harness.gate.exits import exit_of
from harness.gate.junit import render_junit
from harness.gate.markdown import render_markdown
from harness.gate.model import GateResult
from harness.gate.survey import Folders
from harness.selecting import matcher
from harness.units import parse_duration_s


class Options(NamedTuple):
    """What was typed."""

    config: Path
    base: str
    head: str | None
    budget: str
    seed: int | None
    strict: bool
    select: str
    build: str | None
    junit: Path | None
    md: Path | None
    results: Path
    as_json: bool


def gate(options: Options) -> int:
    """Measure, judge, print and write; return the exit code of `harness.gate.exits`."""
    try:
        with _one_interruption():
            return _gate(options)
    except KeyboardInterrupt:
        click.echo(
            "interrupted: nothing was decided, and all processes and slots of this gate are gone; run it again",
            err=True,
        )
        return INTERRUPTED_EXIT


@contextlib.contextmanager
def _one_interruption() -> Iterator[None]:
    """Take SIGTERM, which CI sends to a job that it cancels, like Ctrl-C; nothing interrupts the clearing up."""
    seen: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        del frame
        seen.append(number)
        if len(seen) == 1:
            raise KeyboardInterrupt

    before = [(each, signal.signal(each, interrupt)) for each in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield
    finally:
        for each, handler in before:
            signal.signal(each, handler)


def _gate(options: Options) -> int:
    began_s = time.monotonic()
    if not options.config.is_file():
        raise ConfigError(
            f"there is no {options.config}, which names what is gated; the smallest one is\n\n{targets.EXAMPLE}"
        )
    budget_s = parse_duration_s(options.budget)
    config = targets.load(options.config)
    seed = secrets.randbelow(2**31) if options.seed is None else options.seed
    started_utc = schedule.utc_now()
    fingerprint = host.fingerprint(host.probe())
    calibration = calibrating.history(fingerprint)
    for place in filter(None, (options.junit, options.md)):
        writing.check_place(place)
    with exclusive(), tempfile.TemporaryDirectory(prefix="joulebench-logs-") as scratch:
        click.echo(f"gate of {options.config} against {options.base}, seed {seed}", err=True)
        project = options.config.resolve().parent
        with slots.build(project, options.base, options.head, command=options.build, apart=options.results) as built:
            folder = writing.create_gate(options.results, fingerprint, started_utc)
            logs = folder / "logs"
            logs.mkdir()
            with progress_bar("gate") as show:
                asked = running.Asked(
                    config_name=options.config.name,
                    budget_s=max(0.0, budget_s - (time.monotonic() - began_s)),
                    seed=seed,
                    folders=Folders(logs=logs, scratch=Path(scratch)),
                    keep=lambda block: writing.append_block(folder, block),
                    on_progress=show,
                    matches=matcher(options.select) if options.select else lambda _: True,
                )
                outcome = running.run(config, built, asked)
    code, reasons = exit_of(outcome.results, strict=options.strict)
    result = GateResult(
        gate_id=folder.name,
        base=built.base,
        head=built.head,
        policy=config.policy,
        seed=seed,
        started_utc=started_utc,
        wall_s=time.monotonic() - began_s,
        host_fingerprint=fingerprint,
        code_version=code_version(),
        cases=outcome.results,
        calibration=calibration,
        strict=options.strict,
        asked=_asked(options),
        exit_code=code,
        exit_reasons=reasons,
        notes=outcome.notes,
    )
    tell(result, folder, options)
    return code


def _asked(options: Options) -> tuple[str, ...]:
    """Return what was typed beside base, seed and strictness, so that the results can say how to repeat them."""
    words = [str(options.config), "--budget", options.budget]
    for name, value in (("-k", options.select), ("--build", options.build)):
        words += [name, value] if value else []
    return tuple(words)


def tell(result: GateResult, folder: Path, options: Options) -> None:
    """Write and print a result wherever it was asked for."""
    writing.write_gate(folder, result)
    if options.junit is not None:
        writing.write_file(options.junit, render_junit(result))
    if options.md is not None:
        writing.write_file(options.md, render_markdown(result).encode())
    for note in result.notes:
        click.echo(f"note: {note}", err=True)
    if options.as_json:
        print_json(result)
    else:
        for line in lines.lines_of(result):
            click.echo(line)
    click.echo(f"results: {folder}", err=True)
