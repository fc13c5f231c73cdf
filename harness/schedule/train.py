"""One train case: chunk by chunk, quality beside each, until its end, its target or its share of the budget."""

from __future__ import annotations

import time
from typing import Any

from harness.contract import Session
from harness.errors import WorkerFailed
from harness.messages import Evaluate, Finish, Keep, Ready, Train, Trained
from harness.records import Case, CurvePoint, Doubt, Failed, Ok, Outcome, Record, Window, WindowKind
from harness.schedule import keeping
from harness.schedule.context import Context, facts, idle_window, utc_now
from harness.stats import quality


def run_train(case: Case, context: Context, deadline_s: float, to_come: int) -> Record:
    """Measure one train case in one fresh worker; its record is on disk when this returns."""
    started_s, cpu_s, started_utc = time.monotonic(), time.process_time(), utc_now()
    context.say(f"{context.name(case)}: starting", context.train_left_s(to_come + 1))
    kept = keeping.load(context.folder, case)
    progress = _Training(case, context, deadline_s, to_come, kept)
    outcome: Outcome
    session: Session | None = None
    try:
        session = context.start(case, progress.fork, kept.resume if kept else None)
        progress.run(session)
        session.close()
        outcome = Ok()
    except BaseException as error:
        if session is not None:
            session.kill()
        if not isinstance(error, WorkerFailed):
            raise
        outcome = Failed(error=type(error).__name__, message=str(error))
    wall_s = time.monotonic() - started_s
    context.note_train(wall_s)
    record = context.record(
        case,
        outcome,
        started_utc=started_utc,
        target_quality=context.part(case).target_quality,
        parent_cpu_s=time.process_time() - cpu_s,
        wall_s=wall_s,
        **progress.fields(),
    )
    context.keep(record)
    if isinstance(outcome, Ok):
        keeping.drop(context.folder, case)
    return record


class _Training:
    """What is known of a train case so far, so that a failure keeps what was measured."""

    def __init__(
        self, case: Case, context: Context, deadline_s: float, to_come: int, kept: keeping.TrainProgress | None
    ) -> None:
        self._case, self._context = case, context
        self._deadline_s, self._to_come = deadline_s, to_come
        self.fork = kept.fork + 1 if kept else 0
        self._windows: list[Window] = list(kept.windows) if kept else []
        self._curve: list[CurvePoint] = list(kept.curve) if kept else []
        self._doubts: set[Doubt] = {Doubt.RESUMED, *kept.doubts} if kept else set()
        self._kept_s = time.monotonic()
        self._ready: Ready | None = None
        self._metric = ""
        self._last: Trained | None = None
        self._unseen_s = self._eval_s = 0.0
        self._final: dict[str, Any] = {}

    def run(self, session: Session) -> None:
        """Train to the end, then evaluate on the test split and save."""
        timeout_s = self._context.suite.measure.timeout_s
        ready: Any = session.receive(timeout_s)
        self._ready, self._metric = ready, ready.metric
        self._windows += idle_window(session, ready, self._context)
        while self._chunk(session, timeout_s):
            pass
        session.send(Finish())
        finished: Any = session.receive(timeout_s)
        for window in finished.windows:
            self._add(window)
        self._windows += idle_window(session, ready, self._context)
        self._final = {
            "quality": quality(finished.scores, self._context.info.confidence, self._metric),
            "measures": finished.measures,
            "item_ids": finished.item_ids,
            "item_scores": finished.scores,
            "artefact": finished.artefact,
        }

    def fields(self) -> dict[str, Any]:
        """Return what a record of the case holds beside its outcome."""
        doubts = self._doubts.union(*(window.measured.doubts for window in self._windows))
        return {
            "windows": tuple(self._windows),
            "curve": tuple(self._curve),
            "doubts": tuple(sorted(doubts)),
            **facts(self._ready),
            **self._final,
        }

    def _chunk(self, session: Session, timeout_s: float) -> bool:
        """Train one chunk, evaluate it if that is due; return whether there is more to do."""
        session.send(Train())
        reply: Any = session.receive(timeout_s)
        self._add(reply.window)
        if not reply.finished:
            self._unseen_s += reply.window.measured.duration_s
            self._last = reply
        late = time.monotonic() >= self._deadline_s
        ended = reply.finished or late
        # Training that is cheaper than its evaluation is not evaluated after every chunk.
        reached = self._evaluate(session, timeout_s) if ended or self._unseen_s >= self._eval_s else False
        if late and not (reply.finished or reply.last or reached):
            self._doubts.add(Doubt.BUDGET_SPENT)
        go_on = not (ended or reached)
        if go_on and time.monotonic() - self._kept_s >= self._context.suite.measure.keep_s:
            self._keep(session, timeout_s)
        return go_on

    def _keep(self, session: Session, timeout_s: float) -> None:
        """Put on disk what a fresh worker needs to go on from the last checkpoint."""
        session.send(Keep())
        reply: Any = session.receive(timeout_s)
        if reply.resume is not None:
            progress = keeping.TrainProgress(
                fork=self.fork,
                resume=reply.resume,
                windows=tuple(self._windows),
                curve=tuple(self._curve),
                doubts=tuple(sorted(self._doubts)),
            )
            keeping.write(self._context.folder, self._case, progress)
        self._kept_s = time.monotonic()

    def _evaluate(self, session: Session, timeout_s: float) -> bool:
        """Evaluate the last checkpoint, unless it is already; return whether training may stop at its target."""
        last = self._last
        if last is None or (self._curve and self._curve[-1].steps == last.steps):
            return False
        session.send(Evaluate())
        reply: Any = session.receive(timeout_s)
        self._add(reply.window)
        self._eval_s, self._unseen_s = reply.window.measured.duration_s, 0.0
        point = CurvePoint(
            windows_done=sum(window.kind is WindowKind.TRAIN for window in self._windows),
            steps=last.steps,
            examples=last.examples,
            quality=quality(reply.scores, self._context.info.confidence, self._metric),
            measures=reply.measures,
        )
        self._curve.append(point)
        self._context.say(
            f"{self._context.name(self._case)}: {last.examples} examples, validation {point.quality.value:.1%}",
            self._context.train_left_s(self._to_come + 0.5),
        )
        part = self._context.part(self._case)
        target = part.target_quality
        return part.stop_at_target and target is not None and point.quality.value >= target

    def _add(self, window: Window) -> None:
        self._windows.append(window)
        self._context.log(self._case, window)
