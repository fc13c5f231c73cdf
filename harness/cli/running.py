"""`run` and `plan`."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import click
import msgspec

from harness import __version__, config, host, report, schedule, store
from harness import plan as planning
from harness.cli.output import cache_folder, console, print_json, progress_bar
from harness.engines.local import LocalEngine, exclusive
from harness.errors import InvalidMeasurement, UsageError
from harness.records import Case, Failed, RunInfo


class Request(NamedTuple):
    """What was typed; `sweep` are axes with their values, beside those of the suite."""

    path: Path
    overrides: tuple[str, ...]
    budget: str | None
    select: str
    results: Path
    fresh: bool
    as_json: bool
    sweep: Mapping[str, Sequence[Any]] = MappingProxyType({})


def run(request: Request) -> int:
    """Run a suite; return 0, or 13 when a case failed."""
    path = request.path
    suite = _suite(path, request.overrides, request.budget, request.sweep)
    plan = _expand(suite, path, request.select)
    if not plan.cases:
        reasons = "; ".join(sorted({skip.reason for skip in plan.skips}))
        raise UsageError(f"nothing of {path} can run here, every case is skipped: {reasons}")
    if plan.note:
        click.echo(f"note: {plan.note}", err=True)
    if suite.measure.trace:
        from harness.meters.traceformat import require_arrow

        require_arrow()
    info = _run_info(suite, plan)
    with exclusive():
        earlier = None if request.fresh else store.unfinished(request.results, info)
        folder = earlier or store.create_run(request.results, info)
        config.write_suite(suite, folder / "suite.yaml")
        existing = store.load_run(folder)
        kept = len(store.settled(existing.records))
        click.echo(("resuming " if earlier else "run ") + f"{folder} ({schedule.describe(info, kept)})", err=True)
        with progress_bar(suite.suite) as show:
            finished = schedule.execute(
                plan, suite, path.parent, cache_folder(), existing, LocalEngine(folder / "logs"), show
            )
    return _report(finished, as_json=request.as_json)


def plan(path: Path, overrides: tuple[str, ...], select: str, results: Path, *, as_json: bool) -> int:
    """Print what would run; return 0."""
    suite = _suite(path, overrides, None)
    plan = _expand(suite, path, select)
    here = host.fingerprint(host.probe())
    earlier = (store.load_run(folder) for folder in store.runs(results))
    history = [record for run in earlier if run.info.host_fingerprint == here for record in run.records]
    seconds, unknown = planning.estimate_s(plan, suite, history)
    if as_json:
        print_json(
            {
                "suite": suite.suite,
                "run": [_case_row(case, plan) for case in plan.cases],
                "skip": [{**_case_row(skip.case, plan), "reason": skip.reason} for skip in plan.skips],
                "note": plan.note,
                "estimate_s": seconds,
                "estimate_leaves_out": unknown,
                "budget_s": suite.budget_s,
            }
        )
        return 0
    for case in plan.cases:
        after = f"  (on the model of {case.trained_by})" if case.trained_by else ""
        click.echo(f"run   {case.case_id}  {plan.name_of(case)}{after}")
    for skip in plan.skips:
        click.echo(f"skip  {skip.case.case_id}  {plan.name_of(skip.case)}: {skip.reason}")
    if plan.note:
        click.echo(f"note  {plan.note}")
    left_out = f", and the training time of {', '.join(unknown)}, never run on this host" if unknown else ""
    click.echo(f"about {seconds:.0f} s{left_out}; at most {suite.budget_s:.0f} s (budget)")
    return 0


def _suite(
    path: Path, overrides: tuple[str, ...], budget: str | None, sweep: Mapping[str, Sequence[Any]] | None = None
) -> config.Suite:
    return config.load_suite(path, (*overrides, *((f"budget={budget}",) if budget else ())), sweep)


def _expand(suite: config.Suite, path: Path, select: str) -> planning.Plan:
    try:
        return planning.expand(suite, path.parent, select)
    except UsageError as error:
        raise type(error)(f"{path}: {error}") from error


def _case_row(case: Case, plan: planning.Plan) -> dict[str, Any]:
    about = {"case_id": case.case_id, "name": plan.name_of(case), "part": plan.part_of.get(case.case_id, 0)}
    return {**about, **msgspec.to_builtins(case)}


def _run_info(suite: config.Suite, plan: planning.Plan) -> RunInfo:
    machine = host.probe()
    started = schedule.utc_now()
    return RunInfo(
        run_id=f"{started.replace('-', '').replace(':', '')}-{suite.suite}",
        suite_name=suite.suite,
        suite_sha256=suite.sha256,
        suite=suite.plain,
        host=msgspec.to_builtins(machine),
        host_fingerprint=host.fingerprint(machine),
        code_version=code_version(),
        started_utc=started,
        confidence=suite.measure.confidence,
        quality_margin=suite.measure.quality_margin,
        case_ids=plan.case_ids,
        labels=plan.labels,
    )


def code_version() -> str:
    """Return the package's version, with the commit when it runs from a checkout."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],  # noqa: S607 git from the PATH, as users have it
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return __version__
    commit = described.stdout.strip()
    return f"{__version__}+{commit}" if described.returncode == 0 and commit else __version__


def _report(finished: store.Run, *, as_json: bool) -> int:
    paths = report.write(finished)
    if as_json:
        print_json(report.build(finished))
    else:
        report.render_terminal(report.build(finished), console())
        click.echo(f"report: {paths['html']}")
    failed = [record for record in finished.records if isinstance(record.outcome, Failed)]
    for record in failed:
        if isinstance(record.outcome, Failed):
            click.echo(f"joulebench: {record.outcome.message}", err=True)
    return InvalidMeasurement.exit_code if failed else 0
