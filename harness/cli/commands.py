"""The commands and their options. Each imports what it needs when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

_SUITE = click.argument("suite", type=click.Path(path_type=Path))
_OVERRIDES = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
_RESULTS = click.option(
    "--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True, help="Results folder."
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
_BUDGET = click.option("--budget", metavar="DURATION", help="Wall time the run may take, for example 90s or 10m.")
_FRESH = click.option(
    "--fresh", is_flag=True, help="Start anew even if an interrupted run of this suite could be resumed."
)
_SELECT = click.option(
    "-k", "select", default="", metavar="EXPRESSION", help="Keep cases whose name matches, as in pytest."
)


@click.command()
@_SUITE
@_OVERRIDES
@_BUDGET
@_SELECT
@_RESULTS
@_FRESH
@_JSON
def run(
    suite: Path, overrides: tuple[str, ...], budget: str | None, select: str, results: Path, fresh: bool, as_json: bool
) -> int:
    """Run a suite, then print and write its report.

    An interrupted run of the same suite on the same host is resumed: cases already done are kept.

    \b
    joulebench run configs/quick.yaml
    joulebench run configs/quick.yaml --budget 2m -k "full_finetune or onnxruntime"
    joulebench run configs/sst2.yaml measure.forks=4 workload.max_length=128
    """
    from harness.cli import running

    return running.run(running.Request(suite, overrides, budget, select, results, fresh, as_json))


@click.command()
@_SUITE
@_OVERRIDES
@click.option(
    "--over",
    multiple=True,
    metavar="AXIS=VALUE,VALUE",
    help="An axis and its values: workload.* (size, max_length), infer.* (a technique's parameter: batch_size) "
    "or measure.threads; may be given again.",
)
@_BUDGET
@_SELECT
@_RESULTS
@_FRESH
@_JSON
def sweep(suite: Path, over: tuple[str, ...], **options: Any) -> int:
    """Run a suite at every combination of values, interleaved, and fit how energy a task of inference scales.

    Axes come from `sweep:` in the suite and from --over; every point is compared with the first value of every axis.
    Each model is trained once, as the suite says: what training costs is recorded, but not swept.

    \b
    joulebench sweep configs/scaling.yaml
    joulebench sweep configs/quick.yaml --over workload.max_length=32,64,128
    joulebench sweep configs/quick.yaml --over infer.batch_size=4,16 --over measure.threads=1,2
    """
    from harness.cli import running, sweeping

    return sweeping.sweep(running.Request(path=suite, **options), over)


@click.command()
@_SUITE
@_OVERRIDES
@_SELECT
@_RESULTS
@_JSON
def plan(suite: Path, overrides: tuple[str, ...], select: str, results: Path, as_json: bool) -> int:
    """Show what a suite would run and what it skips, and why; run nothing.

    \b
    joulebench plan configs/quick.yaml
    """
    from harness.cli import running

    return running.plan(suite, overrides, select, results, as_json=as_json)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@_RESULTS
@click.option("--format", "form", type=click.Choice(["terminal", "markdown", "html"]), default="terminal")
@click.option("--output", type=click.Path(path_type=Path), help="Write to this file instead of standard output.")
@_JSON
def report(folder: Path | None, results: Path, form: str, output: Path | None, as_json: bool) -> int:
    """Report a run (default: the newest): which technique to use, what it saves, what saved nothing.

    A file of `pytest --benchmark-json` is shown as a table, without a verdict.

    \b
    joulebench report
    joulebench report results/1a2b3c4d/20261123T140000Z-quick --format html --output report.html
    """
    from harness.cli import reading

    return reading.report(folder, results, form, output, as_json=as_json)


@click.command()
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--alpha", default=0.01, show_default=True, help="Chance of any false difference, over all comparisons.")
@click.option("--tolerance", default=0.03, show_default=True, help="A change certain to be smaller than this passes.")
@_JSON
def compare(a: Path, b: Path, alpha: float, tolerance: float, as_json: bool) -> int:
    """Compare run B with run A, technique by technique; refuses unlike hosts, data and models.

    \b
    joulebench compare results/1a2b3c4d/20261123T140000Z-quick results/1a2b3c4d/20261123T150000Z-quick
    """
    from harness.cli import reading

    return reading.compare(a, b, alpha, tolerance, as_json=as_json)


@click.command()
@click.argument("what", type=click.Choice(["techniques", "workloads", "meters", "recipes"]))
@_JSON
def ls(what: str, as_json: bool) -> int:
    """List techniques, workloads or meters that a suite can name, or published recipes that can be sampled.

    \b
    joulebench ls techniques
    """
    from harness.cli import looking

    return looking.ls(what, as_json=as_json)


@click.command()
@click.option(
    "--meters",
    "names",
    multiple=True,
    metavar="NAME",
    help="Test these meters instead of all this host offers; may be given again.",
)
@_JSON
def doctor(names: tuple[str, ...], as_json: bool) -> int:
    """Say what can be measured on this host, what cannot, and why; self-test each meter.

    Exits with 13 where a meter whose joules would be billed fails its test.

    \b
    joulebench doctor
    joulebench doctor --meters rapl --meters wall:power.csv
    """
    from harness.cli import looking

    return looking.doctor(names, as_json=as_json)


@click.command("calibrate-power")
@click.option(
    "--against",
    default="auto",
    show_default=True,
    metavar="METER",
    help="What measures the truth: auto (RAPL), rapl, wall:FILE.csv or prometheus:QUERY.",
)
@click.option("--for", "duration", default="2m", show_default=True, metavar="DURATION", help="How long to measure.")
@click.option(
    "--levels", type=click.IntRange(min=1), default=4, show_default=True, help="Numbers of busy vCPUs, beside idle."
)
@click.option("--output", type=click.Path(path_type=Path), help="Keep the profile in this file.")
@_JSON
def calibrate_power(against: str, duration: str, levels: int, output: Path | None, as_json: bool) -> int:
    """Fit what a busy vCPU of this host draws, and keep it as a power profile.

    Loads this host with several kinds of work, in random order, beside a counter or a wall meter. Hosts with
    the same CPU use the profile for the `modelled` meter; runs with and without it are not comparable.

    \b
    joulebench calibrate-power
    joulebench calibrate-power --against wall:meter.csv --for 15m --output team/epyc-7763.json
    """
    from harness.cli import calibrating

    return calibrating.calibrate_power(against, duration, levels, output, as_json=as_json)


@click.command()
@click.argument("trace", type=click.Path(path_type=Path))
@click.option("--from", "begin", metavar="TIME", help="Begin this long after the first sample, for example 2s.")
@click.option("--to", "end", metavar="TIME", help="End this long after the first sample.")
@click.option("--every", "step", metavar="DURATION", help="Print a table of slices of this length, for example 1s.")
@_JSON
def replay(trace: Path, begin: str | None, end: str | None, step: str | None, as_json: bool) -> int:
    """Work out again what a recorded trace of raw readings held, through the code that measured it.

    Suites record traces with `measure.trace=true`, code with `harness.measure(..., trace="trace.parquet")`. Times
    snap to the nearest samples; what is printed says which.

    \b
    joulebench replay trace.parquet
    joulebench replay trace.parquet --from 2s --to 8s
    joulebench replay trace.parquet --every 1s
    """
    from harness.cli import replaying

    return replaying.replay(trace, begin, end, step, as_json=as_json)


@click.command()
@click.argument("config", type=click.Path(path_type=Path), default=Path("gate.yaml"), required=False)
@click.option("--base", metavar="REF", help="A git ref, a folder, or a Python interpreter.")
@click.option(
    "--baseline",
    type=click.Path(path_type=Path),
    help="Instead of --base: a stored run, or the results folder that keeps baselines.",
)
@click.option(
    "--run", "held", type=click.Path(path_type=Path), help="With --baseline: the run held against it (the newest)."
)
@click.option("--head", metavar="REF", help="A git ref; by default the working tree.")
@click.option(
    "--budget",
    default="10m",
    show_default=True,
    metavar="DURATION",
    help="Wall time the gate may take; undecided cases get what is left of it.",
)
@click.option("--seed", type=int, help="Repeats the orders of an earlier gate; by default drawn, and always logged.")
@click.option("--strict", is_flag=True, help="Fail with 11 where a case could not be settled.")
@_SELECT
@click.option("--build", metavar="COMMAND", help="Run this in each slot; its .venv/bin/python is then used.")
@click.option("--junit", type=click.Path(path_type=Path), help="Write the cases as JUnit to this file too.")
@click.option("--md", type=click.Path(path_type=Path), help="Write the Markdown summary to this file too.")
@_RESULTS
@_JSON
def gate(config: Path, baseline: Path | None, held: Path | None, **options: Any) -> int:
    """Say whether head costs more energy a task than base, measured in turns on this machine.

    CONFIG names what is gated: functions, commands, pytest tests and suites. Exits with 0 where nothing got worse,
    10 where a case regressed (confirmed in fresh processes), 12 where a case vanished, 13 where it could not be
    measured, 14 where head answers worse. With --baseline nothing is measured: a run is held against a stored one of
    the same host; its verdicts are trends, and fail only where the whole interval is beyond the tolerance. Of CONFIG
    it takes the promises and what is accepted; options that only a measurement has are refused.

    \b
    joulebench gate --base origin/main
    joulebench gate ci/gate.yaml --base v1.2 --budget 5m -k "encode or decode" --junit gate.xml
    joulebench gate --base main --build "uv sync --frozen"
    joulebench gate --baseline results
    """
    if (baseline is None) == (options["base"] is None):
        raise click.UsageError("give --base, to measure both sides now, or --baseline, to look at a stored run")
    from harness.cli import gating

    gating.check_typed(click.get_current_context())
    if baseline is not None:
        from harness.cli import baselining

        return baselining.gate(baseline, held, config, options)
    return gating.gate(gating.Options(config=config, **options))


@click.command()
@click.argument("target", metavar="RUN#CASE")
@_RESULTS
@_JSON
def explain(target: str, results: Path, as_json: bool) -> int:
    """Explain what the gate said of one case: the numbers, each fork, voided blocks, what more time would settle.

    RUN is a folder, or the id of a gate run under the results folder; CASE is its number or its name.

    \b
    joulebench explain 20261123T140000Z-gate#3
    joulebench explain results/1a2b3c4d/20261123T140000Z-gate#encode
    """
    from harness.cli import explaining

    return explaining.explain(target, results, as_json=as_json)
