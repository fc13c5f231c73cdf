"""Runs a plan: train cases one after another, then infer cases interleaved in ABBA blocks.

Blocks go on until every interval is tight or the budget is spent. Each finished case is on disk
before the next begins.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from harness import store
from harness.config import Suite
from harness.contract import Engine
from harness.plan import Plan, group_estimate_s
from harness.records import Failed, Record, RunInfo, Skipped, WindowKind
from harness.schedule.context import Context, Progress, utc_now
from harness.schedule.infer import run_group
from harness.schedule.train import run_train

__all__ = ["Progress", "execute", "utc_now"]

TRAIN_SHARE = 0.7
"""Part of the budget that training may take when infer cases wait for their turn."""


def execute(
    plan: Plan,
    suite: Suite,
    suite_folder: Path,
    cache: Path,
    run: store.Run,
    engine: Engine,
    on_progress: Callable[[Progress], None],
) -> store.Run:
    """Run what of the plan has no settled record yet; return the run with all its records.

    A case that fails leaves a `Failed` record and the others go on. KeyboardInterrupt ends the live
    workers and is raised again; everything measured by then is on disk.
    """
    started_s = time.monotonic()
    context = Context(
        suite=suite,
        plan=plan,
        suite_folder=suite_folder,
        cache=cache,
        folder=run.folder,
        info=run.info,
        engine=engine,
        on_progress=on_progress,
        started_s=started_s,
        kept=store.settled(run.records),
        logged=store.read_windows(run.folder),
        groups_left_s=sum(group_estimate_s(group, suite) for group in plan.groups),
    )
    for skip in plan.skips:
        if skip.case.case_id not in context.kept:
            context.keep(context.record(skip.case, Skipped(reason=skip.reason)))
    _train(plan, context)
    _infer(plan, context)
    return _finish(run, context, time.monotonic() - started_s)


def _train(plan: Plan, context: Context) -> None:
    waiting = [case for case in plan.train if case.case_id not in context.kept]
    share_s = context.suite.budget_s * (TRAIN_SHARE if plan.groups else 1.0)
    for position, case in enumerate(waiting):
        left_s = max(0.0, context.started_s + share_s - time.monotonic())
        deadline_s = time.monotonic() + left_s / (len(waiting) - position)
        run_train(case, context, deadline_s, to_come=len(waiting) - position - 1)


def _infer(plan: Plan, context: Context) -> None:
    """Measure the groups, each in its share of the time left: as large as what it would take by its design."""
    waiting = [group for group in plan.groups if any(case.case_id not in context.kept for case in group.cases)]
    sizes_s = [group_estimate_s(group, context.suite) for group in waiting]
    for position, group in enumerate(waiting):
        now_s = time.monotonic()
        share = sizes_s[position] / sum(sizes_s[position:])
        run_group(group, context, now_s + max(0.0, context.deadline_s - now_s) * share)


def _finish(run: store.Run, context: Context, wall_s: float) -> store.Run:
    records = store.load_run(run.folder).records
    failed = any(isinstance(record.outcome, Failed) for record in records)
    info = msgspec.structs.replace(
        context.info,
        finished_utc=None if failed else utc_now(),
        wall_s=context.info.wall_s + wall_s,
        measured_s=_measured_s(records),
    )
    store.write_info(run.folder, info)
    return store.Run(folder=run.folder, info=info, records=records)


def _measured_s(records: tuple[Record, ...]) -> float:
    """Wall time inside measured windows or training, in seconds."""
    counted = (WindowKind.BUILD, WindowKind.RUN, WindowKind.PREFILL, WindowKind.TRAIN)
    return sum(w.measured.duration_s for record in records for w in record.windows if w.kind in counted)


def describe(info: RunInfo, kept: int) -> str:
    """Say in one line what is about to run."""
    total = len(info.case_ids)
    return f"{info.suite_name}: {total} cases" + (f", {kept} of them kept from before" if kept else "")
