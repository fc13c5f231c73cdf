"""`ls` and `doctor`: what there is, and what can be measured here."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from harness import accounting, catalogue, host, meters, workloads
from harness.cli.output import print_json
from harness.counters.process import enter_own_group
from harness.errors import InvalidMeasurement, UsageError
from harness.meters import Survey
from harness.meters.plugins import loading
from harness.records import MeterInfo, Missing, Phase
from harness.report import formats as f
from harness.report.gather import faulty

_BUILT_IN = {
    "auto": "everything this host offers, each joule billed once",
    "rapl": "the energy counters of the processor package and its DRAM, by perf events or powercap",
    "attributed": "this case's share, by CPU time, of the package and DRAM counters",
    "nvml": "the energy counters of NVIDIA GPUs, or their power integrated where they have none",
    "modelled": "CPU-seconds of the case times the watts of a vCPU, with a low and a high",
    "fake": "joules for tests, which say so everywhere; fake:2.5 sets the watts",
}

_INSTEAD = {
    "cpu-package": "a wall meter can measure the whole machine instead: --meters wall:FILE.csv or prometheus:QUERY",
    "gpu": "for other GPUs there are plug-ins: --meters amd or --meters apple",
}


def ls(what: str, *, as_json: bool) -> int:
    """List what a suite, or `joulebench sample`, can name."""
    rows = {"techniques": _techniques, "workloads": _workloads, "meters": _meters, "recipes": _recipes}[what]()
    if as_json:
        print_json(rows)
        return 0
    width = max((len(str(row["name"])) for row in rows), default=0)
    for row in rows:
        click.echo(f"{row['name']:<{width}}  {row['summary']}")
    return 0


def doctor(names: Sequence[str] = (), *, as_json: bool) -> int:
    """Self-test meters of this host (by default all it offers) and say what is missing.

    Returns the exit code: 13 where a meter whose joules are billed fails its self-test.
    """
    machine = host.probe()
    survey = meters.survey(names or ("auto",))
    own_group, how = _cpu_time()
    plugins = loading.names()
    failed = [meter.name for meter in survey.meters if meter.name in survey.billed and faulty(meter)]
    if as_json:
        print_json(
            {
                "host": machine,
                "fingerprint": host.fingerprint(machine),
                "survey": survey,
                "cpu_time": {"own_group": own_group, "how": how},
                "plugins": plugins,
                "failed": failed,
            }
        )
    else:
        click.echo(host.describe(machine))
        click.echo(f"fingerprint {host.fingerprint(machine)[:8]}")
        _say_meters(survey)
        click.echo(f"\nCPU time of a case: {how}")
        click.echo(f"\nplug-in meters installed: {', '.join(plugins) or 'none'}")
        click.echo(
            "  a suite names them under measure.meters, --meters tests them here; wall:power.csv has an argument"
        )
    if failed:
        click.echo(f"joulebench: {_failure(failed)}", err=True)
        return InvalidMeasurement.exit_code
    return 0


def _failure(failed: Sequence[str]) -> str:
    return (
        f"{', '.join(failed)} failed the self-test, so windows may have no joules; the faults above say why. "
        "Name other meters under measure.meters, for example [modelled]"
    )


def _say_meters(survey: Survey) -> None:
    click.echo("\ncan be measured:")
    for meter in survey.meters:
        billed = "billed" if meter.name in survey.billed else "not billed"
        click.echo(f"  {meter.name}: {', '.join(meter.domains)}: {meter.provenance.value}, {meter.boundary} ({billed})")
        for line in (*_details(meter), *meter.notes):
            click.echo(f"    {line}")
    if survey.missing:
        click.echo("\ncannot be measured:")
    for gap in survey.missing:
        for line in _gap(gap):
            click.echo(f"  {line}")


def _gap(gap: Missing) -> list[str]:
    instead = _INSTEAD.get(gap.domain)
    return [f"{gap.domain}: {gap.reason}", *([f"  {instead}"] if instead else [])]


def _details(meter: MeterInfo) -> list[str]:
    """Return what the self-test showed, the idle noise, and what reading costs, a line each."""
    lines = []
    test = meter.self_test
    if test is not None:
        verdict = "FAILED" if faulty(meter) else "passed"
        monotonic, plausible = ("" if good else "not " for good in (test.monotonic, test.plausible))
        over = f"over {test.windows} idle windows of {f.si(test.window_s, 's')}"
        lines.append(f"self-test {verdict}: {monotonic}monotonic, {plausible}plausible {over}")
        lines += [f"fault: {fault}" for fault in test.faults]
        idle = [f"{each.domain} {f.digits(each.mean_w)} ± {f.digits(each.sd_w, 2)} W" for each in test.idle]
        if idle:
            lines.append(f"idle (mean ± sd): {', '.join(idle)}")
    read = "unknown" if meter.read_cost_s is None else f.si(meter.read_cost_s, "s")
    coefficients = f"; coefficients {meter.coefficients}" if meter.coefficients else ""
    return [*lines, f"read cost {read}; {_refresh(meter)}{coefficients}"]


def _refresh(meter: MeterInfo) -> str:
    if meter.refresh_s is None:
        return "refresh not known, so no window is known to be long enough"
    if meter.refresh_s == 0:
        return "refresh on demand; any window is long enough for it"
    window_s = meter.window_for_1_percent_s
    lasts = f"; a 1 % window must last {f.si(window_s, 's')}" if window_s is not None else ""
    return f"refresh {f.si(meter.refresh_s, 's')}{lasts}"


def _cpu_time() -> tuple[bool, str]:
    """Try to make a control group as a case does, undo it, and say how the CPU time of a case is taken here."""
    group, why = enter_own_group()
    if group is None:
        return False, f"its own clock and that of its reaped children; {why}"
    group.close()
    return True, "that of a control group of its own (tried and undone here), children that outlive it included"


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
    """Return the meters of joulebench, then the plug-ins; whether they work here is the doctor's to say."""
    built_in = [{"name": name, "plugin": False, "summary": _BUILT_IN[name]} for name in meters.NAMES]
    plugins = [{"name": name, "plugin": True, "summary": f"plug-in: {_summary(name)}"} for name in loading.names()]
    return [*built_in, *plugins]


def _recipes() -> list[dict[str, Any]]:
    """Return the published trainings that can be sampled."""
    return [
        {
            "name": recipe.name,
            "steps": recipe.steps.value,
            "summary": f"{recipe.title}; {_steps(recipe.steps.value)}",
        }
        for recipe in accounting.load_recipes().values()
    ]


def _steps(number: int | None) -> str:
    return "its steps were not published: give --steps" if number is None else f"{number:,} steps"


def _summary(name: str) -> str:
    """Return the first line of what a plug-in's module says of itself, or why it cannot be imported."""
    try:
        function = loading.load(name)
    except UsageError as error:
        return str(error)
    module = sys.modules.get(getattr(function, "__module__", ""))
    text = (getattr(module, "__doc__", None) or function.__doc__ or "").strip()
    return text.split("\n", 1)[0] or "says nothing of itself"
