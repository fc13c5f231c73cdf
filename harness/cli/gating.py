"""`gate`."""

from __future__ import annotations

import contextlib
import secrets
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import click
from click.core import ParameterSource

from harness import host, schedule
from harness.cli.output import print_json, progress_bar
from harness.cli.running import code_version
from harness.engines.local import exclusive
from harness.errors import INTERRUPTED_EXIT, ConfigError, UsageError
from harness.gate import ancestry, calibrating, lines, running, slots, targets, writing
from harness.gate.exits import exit_of
from harness.gate.junit import render_junit
from harness.gate.markdown import render_markdown
from harness.gate.model import Calibration, GateResult
from harness.gate.slots import Slots
from harness.gate.survey import Folders
from harness.gate.targets import GateConfig
from harness.gate.ungated import training_notes
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


class Ground(NamedTuple):
    """What is known before anything is measured."""

    config: GateConfig
    fingerprint: str
    calibration: Calibration | None
    seed: int
    started_utc: str
    began_s: float
    budget_s: float

    def left_s(self) -> float:
        """Return what is left of the budget."""
        return max(0.0, self.budget_s - (time.monotonic() - self.began_s))


_UNUSED = {"baseline": ("head", "budget", "seed", "select", "build"), "base": ("held",)}
_WHY = {
    "baseline": "nothing is measured with --baseline, so {} would change nothing; leave that out, or gate with --base",
    "base": "with --base both sides are measured now, so {} would change nothing; leave that out, or give --baseline",
}


def check_typed(context: click.Context) -> None:
    """Refuse what was typed and would change nothing.

    Raises: UsageError: an option that does not apply. ConfigError: with --baseline, a configuration that is not there.
    """
    typed = {name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    kind = "baseline" if "baseline" in typed else "base"
    names = {each.name: each.opts[0] for each in context.command.params}
    unused = [names[name] for name in _UNUSED[kind] if name in typed]
    if unused:
        raise UsageError(_WHY[kind].format(" and ".join(unused)))
    config = context.params["config"]
    if kind == "baseline" and "config" in typed and not config.is_file():
        raise ConfigError(f"there is no {config}; leave it out for the default promises, with no cost accepted")


def gate(options: Options) -> int:
    """Measure, judge, print and write; return the exit code of `harness.gate.exits`."""
    try:
        with one_interruption():
            return _gate(options)
    except KeyboardInterrupt:
        click.echo(
            "interrupted: nothing was decided, and all processes and slots of this gate are gone; run it again",
            err=True,
        )
        return INTERRUPTED_EXIT


@contextlib.contextmanager
def one_interruption() -> Iterator[None]:
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


def matching(select: str) -> Callable[[str], bool]:
    """Return what says whether a case is wanted; without an expression each is."""
    return matcher(select) if select else lambda _: True


def _gate(options: Options) -> int:
    ground = _ground(options)
    for place in filter(None, (options.junit, options.md)):
        writing.check_place(place)
    with exclusive(), tempfile.TemporaryDirectory(prefix="joulebench-logs-") as scratch:
        click.echo(f"gate of {options.config} against {options.base}, seed {ground.seed}", err=True)
        project = options.config.resolve().parent
        with slots.build(project, options.base, options.head, command=options.build, apart=options.results) as built:
            folder = writing.create_gate(options.results, ground.fingerprint, ground.started_utc)
            outcome = _measured(options, ground, built, folder, Path(scratch))
            parted = ancestry.parted_note(project, built.base, built.head)
            ungated = training_notes(ground.config, built.pairs[0].head.root)
    outcome = outcome._replace(notes=(*outcome.notes, *parted, *ungated))
    result = concluded(ground, built, outcome, folder.name, strict=options.strict, asked=_asked(options))
    tell(result, folder, options)
    return result.exit_code


def _ground(options: Options) -> Ground:
    began_s = time.monotonic()
    if not options.config.is_file():
        raise ConfigError(
            f"there is no {options.config}, which names what is gated; the smallest one is\n\n{targets.EXAMPLE}"
        )
    budget_s = parse_duration_s(options.budget)
    config = targets.load(options.config)
    fingerprint = host.fingerprint(host.probe())
    return Ground(
        config=config,
        fingerprint=fingerprint,
        calibration=calibrating.history(fingerprint),
        seed=secrets.randbelow(2**31) if options.seed is None else options.seed,
        started_utc=schedule.utc_now(),
        began_s=began_s,
        budget_s=budget_s,
    )


def _measured(options: Options, ground: Ground, built: Slots, folder: Path, scratch: Path) -> running.Outcome:
    logs = folder / "logs"
    logs.mkdir()
    with progress_bar("gate") as show:
        asked = running.Asked(
            config_name=options.config.name,
            budget_s=ground.left_s(),
            seed=ground.seed,
            folders=Folders(logs=logs, scratch=scratch),
            keep=lambda block: writing.append_block(folder, block),
            on_progress=show,
            matches=matching(options.select),
        )
        return running.run(ground.config, built, asked)


def concluded(
    ground: Ground, built: Slots, outcome: running.Outcome, gate_id: str, *, strict: bool, asked: tuple[str, ...]
) -> GateResult:
    """Return the result of what was measured; `asked` is what was typed, see `GateResult`."""
    code, reasons = exit_of(outcome.results, strict=strict)
    return GateResult(
        gate_id=gate_id,
        base=built.base,
        head=built.head,
        policy=ground.config.policy,
        seed=ground.seed,
        started_utc=ground.started_utc,
        wall_s=time.monotonic() - ground.began_s,
        host_fingerprint=ground.fingerprint,
        code_version=code_version(),
        cases=outcome.results,
        calibration=ground.calibration,
        strict=strict,
        asked=asked,
        exit_code=code,
        exit_reasons=reasons,
        notes=outcome.notes,
    )


def _asked(options: Options) -> tuple[str, ...]:
    """Return what was typed beside base, seed and strictness, so that the results can say how to repeat them."""
    words = [str(options.config), "--budget", options.budget]
    for name, value in (("-k", options.select), ("--build", options.build)):
        words += [name, value] if value else []
    return tuple(words)


def tell(result: GateResult, folder: Path, options: Options) -> None:
    """Write and print a result wherever it was asked for."""
    writing.write_gate(folder, result)
    write_reports(result, options.junit, options.md)
    for note in result.notes:
        click.echo(f"note: {note}", err=True)
    if options.as_json:
        print_json(result)
    else:
        for line in lines.lines_of(result):
            click.echo(line)
    click.echo(f"results: {folder}", err=True)


def write_reports(result: GateResult, junit: Path | None, md: Path | None) -> None:
    """Write the reports that were asked for beside the results' own."""
    if junit is not None:
        writing.write_file(junit, render_junit(result))
    if md is not None:
        writing.write_file(md, render_markdown(result).encode())
