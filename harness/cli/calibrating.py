"""`calibrate-power`: fits this host's watts per vCPU against a meter and keeps them as a power profile."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from harness import __version__, calibration, host
from harness.cli.output import print_json
from harness.engines.local import exclusive
from harness.errors import INTERRUPTED_EXIT, UsageError
from harness.meters import modelled, open_meters, profiles
from harness.meters.profiles import Profile
from harness.meters.window import MeterWindow
from harness.units import parse_duration_s

_NO_METER = (
    "nothing here measures what this CPU draws, so there is nothing to calibrate against ({reason}). Run "
    "`joulebench calibrate-power` on a bare-metal host with the same CPU and copy its profile to {home}, or give the "
    "readings of a wall meter with `--against wall:FILE.csv`"
)


def calibrate_power(
    against: str,
    duration: str,
    levels: int,
    output: Path | None,
    *,
    as_json: bool,
    opened: Callable[[Sequence[str]], MeterWindow] = open_meters,
) -> int:
    """Calibrate, keep the profile, and print it; return 0, or 130 when interrupted."""
    if not sys.platform.startswith("linux"):
        raise UsageError("calibrate-power reads CPU time from Linux's /proc; it runs on Linux only")
    for_s = parse_duration_s(duration)
    cpu = profiles.cpu_type()
    if not cpu.known:
        raise UsageError("/proc/cpuinfo does not name this CPU, so a profile of it could not be found again")
    was = modelled.for_host(billed=True).info()
    with exclusive():
        window = _opened(against, opened)
        try:
            found, todo, measurements = _calibrated(window, for_s, levels)
        except KeyboardInterrupt:
            click.echo("interrupted; no profile was kept, the burners are gone", err=True)
            return INTERRUPTED_EXIT
        finally:
            window.close()
    info = window.infos()[0]
    whole = any(getattr(meter, "contains_everything", False) for meter in window.meters)
    profile = calibration.make_profile(
        found,
        calibration.Against(meter=_named(against, info.name), boundary=info.boundary, whole_machine=whole),
        todo=todo,
        measurements=measurements,
        cpu=cpu,
        host=host.probe(),
        code_version=__version__,
    )
    path = output or profiles.home() / f"{profile.name}.json"
    profiles.write(profile, path)
    if as_json:
        print_json({"file": str(path), "coefficients": profile.coefficients, "profile": profile, "was": was})
        return 0
    _print(profile, found, path, was.coefficients, was.notes[0])
    return 0


def _opened(against: str, opened: Callable[[Sequence[str]], MeterWindow]) -> MeterWindow:
    if against == "auto":
        try:
            return opened(("rapl",))
        except UsageError as error:
            reason = str(error).removesuffix(". Use `auto` to take what there is")
            raise UsageError(_NO_METER.format(reason=reason, home=profiles.home())) from error
    if against.split(":", 1)[0] not in {"rapl", "wall", "prometheus"}:
        raise UsageError(
            f"cannot calibrate against {against!r}; give --against auto, rapl, wall:FILE.csv or prometheus:QUERY"
        )
    return opened((against,))


def _calibrated(
    window: MeterWindow, for_s: float, levels: int
) -> tuple[calibration.Fit, calibration.Plan, calibration.Measurements]:
    usable = len(os.sched_getaffinity(0))
    todo = calibration.plan(
        for_s, levels=levels, vcpus=usable, refresh_s=window.infos()[0].refresh_s, seed=secrets.randbits(32)
    )
    click.echo(
        f"{todo.total} windows of {todo.window_s:.2g} s ({', '.join(todo.kinds)}; {', '.join(map(str, todo.levels))} "
        f"of {usable} vCPUs; seed {todo.seed}), about {todo.duration_s:.0f} s",
        err=True,
    )
    measurements = calibration.measure(window, todo, vcpus=os.cpu_count() or usable, tell=_tell)
    return calibration.fit(measurements.windows), todo, measurements


def _tell(done: int, total: int, words: str) -> None:
    click.echo(f"[{done}/{total}] {words}", err=True)


def _named(against: str, meter: str) -> str:
    """Return the meter as the profile names it: a file or an address of one host means nothing on another."""
    return meter if against == "auto" else against.split(":", 1)[0]


def _print(profile: Profile, found: calibration.Fit, path: Path, was: str | None, was_words: str) -> None:
    click.echo(f"{'load':<10}{'busy vCPUs':>12}{'W':>10}{'W per vCPU over idle':>23}{'windows':>9}")
    idle = next(level for level in profile.levels if level.kind == "idle")
    for level in profile.levels:
        risen = level.busy_vcpus - idle.busy_vcpus
        share = f"{(level.power_w - idle.power_w) / risen:.2f}" if level is not idle and risen > 0 else ""
        click.echo(f"{level.kind:<10}{level.busy_vcpus:>12.2f}{level.power_w:>10.2f}{share:>23}{level.windows:>9}")
    click.echo(
        f"\n{profile.dynamic_w:.2f} W per busy vCPU (95 %: {profile.dynamic_low_w:.2f} to "
        f"{profile.dynamic_high_w:.2f}), idle {profile.idle_w:.2f} W\n"
        f"residual {profile.residual_w:.2g} W, error at a load left out {profile.error_w:.2g} W\n"
        f"other work at another load: {profile.low_w:.2f} to {profile.high_w:.2f} W per busy vCPU"
    )
    if not found.linear:
        click.echo(
            "NOT LINEAR: the watts per vCPU change with the load (see the table): sibling threads share cores, or "
            "clocks fall as more cores work. The interval spans the loads."
        )
    if profile.refused:
        click.echo(f"{profile.refused} windows were refused and measured again")
    click.echo(
        f"boundary: {profile.boundary}\n\nkept in {path}\n`modelled` here was {was}: {was_words}\n"
        f"`modelled` is now {profile.coefficients}: {profile.dynamic_w:.2f} W per busy vCPU"
    )
    if not any(path.parent.resolve() == folder.resolve() for folder in profiles.folders()):
        click.echo(
            f"NOT YET IN USE: move the file to {profiles.home()} or to the folder that {profiles.FOLDER_VARIABLE} names"
        )
