"""`gate`."""

from __future__ import annotations

import secrets
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import click

from harness import host, schedule
from harness.cli.output import print_json, progress_bar
from harness.cli.running import code_version
from harness.engines.local import exclusive
from harness.errors import ConfigError
from harness.gate import calibrating, lines, running, slots, targets, writing
from harness.gate.exits import exit_of
from harness.gate.junit import render_junit
from harness.gate.markdown import render_markdown
from harness.gate.model import GateResult
from harness.gate.survey import Folders
from harness.plan import matcher
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
        calibration=calibrating.history(fingerprint),
        strict=options.strict,
        exit_code=code,
        exit_reasons=reasons,
        notes=outcome.notes,
    )
    tell(result, folder, options)
    return code


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
