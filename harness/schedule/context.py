"""What every part of the schedule shares: the run's folder, its clock, its workers' surroundings."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import device, store
from harness.config import Part, Suite
from harness.contract import Engine, Session
from harness.errors import WorkerFailed
from harness.messages import Idle, Ready, Resume, Start
from harness.plan import Plan
from harness.records import Case, Frozen, Outcome, Provenance, Record, RunInfo, Window


class Progress(Frozen, frozen=True, kw_only=True):
    """One step of a run, for whoever watches: what happens now, how much is done, seconds left if known."""

    text: str
    done: int
    total: int
    left_s: float | None = None


def utc_now() -> str:
    """Return the time of day in UTC, to the second, in ISO 8601."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Context:
    """The surroundings of a run.

    `kept` holds settled records by case, `logged` the windows of unfinished cases, `groups_left_s` what the
    infer groups will take.
    """

    suite: Suite
    plan: Plan
    suite_folder: Path
    cache: Path
    folder: Path
    info: RunInfo
    engine: Engine
    on_progress: Callable[[Progress], None]
    started_s: float
    kept: dict[str, Record]
    logged: tuple[store.Logged, ...]
    groups_left_s: float = 0.0
    _train_walls_s: list[float] = field(default_factory=list)

    @property
    def deadline_s(self) -> float:
        """When the budget is spent, on the monotonic clock."""
        return self.started_s + self.suite.budget_s

    def part(self, case: Case) -> Part:
        """Return the part of the suite that a case is of."""
        return self.suite.all_parts[self.plan.part_of.get(case.case_id, 0)]

    def name(self, case: Case) -> str:
        """Return what a case is called in this run."""
        return self.plan.name_of(case)

    def start(self, case: Case, fork: int, resume: Resume | None = None) -> Session:
        """Start a worker and tell it what to load; the caller receives its `Ready`.

        With `resume` a training goes on from what was kept of it.

        Raises: WorkerFailed: the worker could not be started.
        """
        trained = self.kept.get(case.trained_by or "")
        if case.trained_by is not None and (trained is None or trained.artefact is None):
            raise WorkerFailed(
                f"{self.name(case)} needs the model of case {case.trained_by}, which failed or was skipped"
            )
        session = self.engine.start(case, fork, device.environment(case.threads))
        infer = self.part(case).infer
        session.send(
            Start(
                case=case,
                fork=fork,
                run_folder=str(self.folder),
                cache_folder=str(self.cache),
                trained_folder=str(self.folder / trained.artefact) if trained and trained.artefact else None,
                trained_id=case.trained_by,
                meters=self.suite.measure.meters,
                slice_size=infer.slice if infer else 32,
                base_folder=str(self.suite_folder),
                trace=self.suite.measure.trace,
                resume=resume,
            )
        )
        return session

    def record(self, case: Case, outcome: Outcome, **more: Any) -> Record:
        """Return a record of the case in this run."""
        return Record(
            run_id=self.info.run_id,
            case_id=case.case_id,
            case=case,
            outcome=outcome,
            host_fingerprint=self.info.host_fingerprint,
            code_version=self.info.code_version,
            **{"started_utc": utc_now(), **more},
        )

    def keep(self, record: Record) -> None:
        """Put a finished case on disk and remember it."""
        store.append_record(self.folder, record)
        self.kept[record.case_id] = record

    def log(self, case: Case, window: Window, items: Any = None) -> None:
        """Put one measured window on disk, so that an interruption loses nothing."""
        store.append_window(self.folder, store.Logged(case_id=case.case_id, window=window, items=items))

    def note_train(self, wall_s: float) -> None:
        """Remember how long a train case took, for the time left."""
        self._train_walls_s.append(wall_s)

    def say(self, text: str, left_s: float | None = None) -> None:
        """Tell whoever watches what happens now."""
        budget_left_s = max(0.0, self.deadline_s - time.monotonic())
        left_s = None if left_s is None else min(left_s, budget_left_s)
        done = sum(case_id in self.kept for case_id in self.info.case_ids)
        self.on_progress(Progress(text=text, done=done, total=len(self.info.case_ids), left_s=left_s))

    def train_left_s(self, to_come: float) -> float | None:
        """Return the expected wall time of train cases to come and of all groups; None before one case has ended."""
        if not self._train_walls_s:
            return None
        return to_come * sum(self._train_walls_s) / len(self._train_walls_s) + self.groups_left_s


def idle_window(session: Session, ready: Ready, context: Context) -> tuple[Window, ...]:
    """Measure an idle window where a counter sees the whole host; elsewhere a process at rest draws nothing."""
    seconds = context.suite.measure.idle_s
    counters = (Provenance.COUNTER, Provenance.INTEGRATED_POWER)
    if seconds == 0 or not any(meter.provenance in counters for meter in ready.meters):
        return ()
    session.send(Idle(duration_s=seconds))
    done: Any = session.receive(seconds + context.suite.measure.timeout_s)
    return (done.window,)


def facts(ready: Ready | None) -> dict[str, Any]:
    """Return what a worker said of its data, model and meters, as fields of a record."""
    return {} if ready is None else {"data": ready.data, "model": ready.model, "meters": ready.meters}
