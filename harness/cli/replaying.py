"""`replay`: what a recorded trace held, whole or in slices. It reads a file and measures nothing."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import click

from harness.cli.output import print_json
from harness.errors import NotMeasured
from harness.meters.replay import Slice, Stretch, every, slices
from harness.meters.tracefile import Trace
from harness.meters.traceformat import Header
from harness.records import Energy
from harness.stats.totals import billed_total
from harness.units import parse_duration_s


def replay(path: Path, begin: str | None, end: str | None, step: str | None, *, as_json: bool) -> int:
    """Print the energies of a trace between two of its times, or of slices of it."""
    trace = Trace(path)
    begin_s, end_s = _offset_s(begin), _offset_s(end)
    found = slices(trace, [(begin_s, end_s)]) if step is None else every(trace, parse_duration_s(step), begin_s, end_s)
    if as_json:
        print_json(
            {
                "trace": str(path),
                "finished": trace.finished,
                "samples": len(trace.wall_ns),
                "duration_s": trace.duration_s,
                "header": trace.header,
                "slices": found,
            }
        )
        return 0
    _print_header(trace)
    if step is None:
        _print_slice(found[0])
    else:
        _print_table(found)
    return 0


def _offset_s(text: str | None) -> float | None:
    """Return seconds from the beginning of the trace; unlike a duration this may be 0."""
    if text is None:
        return None
    return 0.0 if text.strip().rstrip("ms") in ("0", "0.0") else parse_duration_s(text)


def _print_header(trace: Trace) -> None:
    header = trace.header
    click.echo(
        f"{trace.path}: {trace.duration_s:.3f} s, {len(trace.wall_ns)} samples every {header.period_s:.3g} s, recorded "
        f"by joulebench {header.joulebench} on {header.host.cpu_brand or 'an unknown CPU'}, {header.cores or '?'} cores"
    )
    if not trace.finished:
        click.echo("  unfinished: its process died or still records; what follows is what was complete")
    if header.context:
        click.echo("  " + ", ".join(f"{key} {value}" for key, value in header.context.items()))
    if header.sampler == "kernel":
        click.echo("  the kernel took the samples between the edges of windows: they hold energies, no CPU time")
    for note in header.sampler_notes:
        click.echo(f"  {note}")
    if (cost := _cost(header, trace.duration_s)) is not None:
        click.echo(f"  {cost}")


def _cost(header: Header, duration_s: float) -> str | None:
    if header.sampler_cpu_s is None:
        return None
    cpu_s = header.sampler_cpu_s
    return f"recording it took {cpu_s:.3g} CPU-s, {cpu_s / duration_s:.3%} of a core; the process's CPU-s hold them"


def _print_slice(found: Slice) -> None:
    measured = found.measured
    began = dt.datetime.fromtimestamp(measured.begun_unix_s or 0.0, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
    click.echo(f"from {found.from_s:.3f} s to {found.to_s:.3f} s ({measured.duration_s:.3f} s, began {began}Z)")
    for energy in measured.energies:
        power_w = energy.energy_j / measured.duration_s
        known = f"{energy.provenance.value} of {energy.meter}{'' if energy.billed else ', not billed'}"
        click.echo(f"  {energy.domain}: {_joules(energy)}, {power_w:.3g} W; {known}; {energy.boundary}")
    for gap in measured.missing:
        click.echo(f"  {gap.domain}: missing{'' if gap.billed else ' (not billed)'}: {gap.reason}")
    click.echo(f"  total: {_total(measured)}")
    cpu = "not known" if measured.cpu_s is None else f"{measured.cpu_s:.3f} s"
    click.echo(f"  CPU: {cpu} of the process and its children; others: {_others(measured)}")
    click.echo(f"  doubts: {_doubts(measured)}")


def _print_table(found: tuple[Slice, ...]) -> None:
    domains = list(dict.fromkeys(energy.domain for one in found for energy in one.measured.energies))
    domains += [
        gap for gap in dict.fromkeys(gap.domain for one in found for gap in one.measured.missing) if gap not in domains
    ]
    rows = [["from s", "to s", *(f"{domain} J" for domain in domains), "CPU-s", "doubts"]]
    reasons: dict[str, None] = {}
    for one in found:
        by_domain = {energy.domain: energy for energy in one.measured.energies}
        cells = [
            _joules(by_domain[domain]).removesuffix(" J") if domain in by_domain else "missing" for domain in domains
        ]
        reasons |= {f"{gap.domain} missing: {gap.reason}": None for gap in one.measured.missing}
        cpu = "unknown" if one.measured.cpu_s is None else f"{one.measured.cpu_s:.3f}"
        rows.append([f"{one.from_s:.3f}", f"{one.to_s:.3f}", *cells, cpu, _doubts(one.measured)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        click.echo(
            "  ".join(cell.rjust(width) for cell, width in zip(row[:-1], widths[:-1], strict=True)) + f"  {row[-1]}"
        )
    for reason in reasons:
        click.echo(f"  {reason}")


def _joules(energy: Energy) -> str:
    if energy.low_j is None or energy.high_j is None:
        return f"{energy.energy_j:.4g} J"
    return f"{energy.energy_j:.4g} ({energy.low_j:.4g} to {energy.high_j:.4g}) J"


def _total(measured: Stretch) -> str:
    try:
        billed = billed_total(measured.energies, measured.missing, "the trace")
    except NotMeasured as error:
        return f"not measured: {error}"
    return f"{billed.energy_j:.4g} J ({billed.low_j:.4g} to {billed.high_j:.4g}), {billed.label}"


def _others(measured: Stretch) -> str:
    busy, steal = measured.load.busy_other_share, measured.load.steal_share
    if busy is None or steal is None:
        return "not known here"
    return f"{busy:.1%} of the host, stolen {steal:.1%}"


def _doubts(measured: Stretch) -> str:
    return ", ".join(doubt.value for doubt in measured.doubts) or "none"
