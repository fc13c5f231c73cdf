"""`sample`: from the options to the printed full run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import click
import msgspec

from harness import device, host, meters, sampling
from harness.cli.output import print_json, progress_bar
from harness.cli.running import code_version
from harness.cli.sampled import lines
from harness.engines.local import exclusive
from harness.errors import INTERRUPTED_EXIT, InvalidMeasurement
from harness.records import Frozen, Missing
from harness.schedule import Progress
from harness.units import parse_duration_s


class Wishes(Frozen, frozen=True, kw_only=True):
    """The options of the command, as they were given."""

    duration: str
    micro_batch: int | None
    length: int | None
    steps: int | None
    recipes: Path | None
    device: str
    threads: int
    meters: tuple[str, ...]
    confidence: float
    target: str | None
    ratio: float | None
    ratio_source: str
    results: Path
    as_json: bool


def sample(recipe: str, wishes: Wishes) -> int:
    """Sample a recipe; return 0, 13 where the full run has no energy or ended early, or 130 when interrupted."""
    asked = sampling.ask(sampling.find(recipe, wishes.recipes), steps=wishes.steps, length=wishes.length)
    options = _options(wishes)
    machine = host.probe()  # before its environment is changed, so that a sample's host is that of a run here
    # Thread pools read these once, when torch is loaded.
    os.environ.update(device.environment(wishes.threads))
    with exclusive():
        try:
            found, folder = _run(asked, options, wishes, machine)
        except KeyboardInterrupt:
            click.echo("interrupted before anything was measured; nothing is kept", err=True)
            return INTERRUPTED_EXIT
    if wishes.as_json:
        print_json({"folder": str(folder), "sample": found})
    else:
        click.echo("\n".join(lines(found)))
    click.echo(f"kept in {folder}", err=True)
    if found.interrupted == sampling.BY_USER:
        click.echo("interrupted; what was measured is kept, the same command begins a new sample", err=True)
        return INTERRUPTED_EXIT
    if found.interrupted:
        click.echo(f"joulebench: ended early, and what was measured is kept: {found.interrupted}", err=True)
        return InvalidMeasurement.exit_code
    if isinstance(found.full_run.energy_j, Missing):
        click.echo(f"joulebench: the full run has no energy: {found.full_run.energy_j.reason}", err=True)
        return InvalidMeasurement.exit_code
    return 0


def _run(
    asked: sampling.Asked, options: sampling.Options, wishes: Wishes, machine: host.Host
) -> tuple[sampling.Sample, Path]:
    device.prepare(wishes.device, threads=wishes.threads, seed=asked.spec.seed)
    about = sampling.About(
        host=msgspec.to_builtins(machine),
        host_fingerprint=host.fingerprint(machine),
        hardware=sampling.hardware(machine, wishes.device, wishes.threads),
        code_version=code_version(),
        recipes_file=None if wishes.recipes is None else str(wishes.recipes),
    )
    opened = meters.open_meters(options.meters, wishes.device)
    try:
        with progress_bar(f"sample {asked.recipe.name}") as bar:
            return sampling.run(
                asked,
                options,
                about,
                opened,
                shortest_s=opened.shortest_s,
                root=wishes.results,
                tell=_teller(bar),
            )
    finally:
        opened.close()


def _options(wishes: Wishes) -> sampling.Options:
    return sampling.Options(
        for_s=parse_duration_s(wishes.duration),
        device=wishes.device,
        threads=wishes.threads,
        meters=wishes.meters or ("auto",),
        micro_batch=wishes.micro_batch,
        confidence=wishes.confidence,
        target=wishes.target,
        ratio=wishes.ratio,
        ratio_source=wishes.ratio_source,
    )


def _teller(bar: Callable[[Progress], None]) -> sampling.Tell:
    """Return what turns seconds of measuring into progress; what is before it has no end known."""
    begun_s = time.monotonic()

    def tell(text: str, done_s: float, total_s: float) -> None:
        spent_s = time.monotonic() - begun_s
        left_s = total_s - done_s if done_s > 0 else None
        bar(Progress(text=f"{text} ({spent_s:.0f} s)", done=round(done_s), total=round(total_s), left_s=left_s))

    return tell
