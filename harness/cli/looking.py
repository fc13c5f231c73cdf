"""`ls` and `doctor`: what there is, and what can be measured here."""

from __future__ import annotations

from typing import Any

import click

from harness import catalogue, host, meters, workloads
from harness.cli.output import print_json
from harness.records import Phase


def ls(what: str, *, as_json: bool) -> int:
    """List what a suite can name."""
    rows = {"techniques": _techniques, "workloads": _workloads, "meters": _meters}[what]()
    if as_json:
        print_json(rows)
        return 0
    width = max((len(str(row["name"])) for row in rows), default=0)
    for row in rows:
        click.echo(f"{row['name']:<{width}}  {row['summary']}")
    return 0


def doctor(*, as_json: bool) -> int:
    """Self-test every meter of this host and say what is missing."""
    machine = host.probe()
    survey = meters.survey()
    if as_json:
        print_json({"host": machine, "fingerprint": host.fingerprint(machine), "survey": survey})
        return 0
    click.echo(host.describe(machine))
    click.echo(f"fingerprint {host.fingerprint(machine)[:8]}\n")
    click.echo("can be measured:")
    for meter in survey.meters:
        click.echo(f"  {meter.name}: {', '.join(meter.domains)}: {meter.provenance.value}, {meter.boundary}")
        click.echo(f"    {_details(meter)}")
        for note in meter.notes:
            click.echo(f"    {note}")
    click.echo("cannot be measured:")
    for missing in survey.missing:
        click.echo(f"  {missing.domain}: {missing.reason}")
    return 0


def _details(meter: Any) -> str:
    def micro(seconds: float | None) -> str:
        return "unknown" if seconds is None else f"{seconds * 1e6:.1f} µs"

    refresh = "on demand" if meter.refresh_s == 0 else micro(meter.refresh_s)

    window = meter.window_for_1_percent_s
    lasts = f"a 1 % window must last {window:.3g} s" if window else "any window is long enough for its refresh"
    coefficients = f"; coefficients {meter.coefficients}" if meter.coefficients else ""
    return f"read cost {micro(meter.read_cost_s)}; refresh {refresh}; {lasts}{coefficients}"


def _techniques() -> list[dict[str, Any]]:
    rows = []
    for phase in Phase:
        for name in catalogue.find(phase):
            info = catalogue.load(phase, name).INFO
            summary = f"{info.summary}{' (baseline)' if info.baseline else ''}"
            rows.append({"name": f"{phase.value}/{name}", "family": info.family, "summary": summary})
    return rows


def _workloads() -> list[dict[str, Any]]:
    return [{"name": name, "summary": workloads.describe(name)} for name in workloads.names()]


def _meters() -> list[dict[str, Any]]:
    survey = meters.survey()
    there = [
        {"name": meter.name, "summary": f"{', '.join(meter.domains)} ({meter.provenance.value}; {meter.boundary})"}
        for meter in survey.meters
    ]
    return there + [{"name": m.domain, "summary": f"not on this host: {m.reason}"} for m in survey.missing]
