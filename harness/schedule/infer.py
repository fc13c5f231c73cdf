"""One group of infer cases, measured interleaved: fork rounds of ABBA blocks.

In a fork round every case gets a fresh worker. The workers load side by side; then one at a time
they build and warm up, and take turns: each block visits every case in random order and then in
the mirrored order, so that a drift of the machine that is linear in time cancels.
"""

from __future__ import annotations

import random
import time
from typing import Any

from harness.contract import Session
from harness.errors import WorkerFailed
from harness.messages import Build, Done, Ready, Run, Warm
from harness.plan import STARTUP_S, Group
from harness.records import Case, Window
from harness.schedule.context import Context, idle_window, utc_now
from harness.schedule.measured import MeasuredCase, complete_blocks, tight

MAX_WARMUPS = 6
"""Warm-up ends when two windows in a row agree within WARM, or after this many."""
WARM = 0.10


def run_group(group: Group, context: Context, deadline_s: float) -> None:
    """Measure the cases of a group that have no record yet; their records are on disk when this returns.

    A group is measured together or not at all: if one of its cases is not settled, all are run,
    and complete blocks from before an interruption count. Another fork round is begun only if one
    as long as the longest so far ends before `deadline_s`, on the monotonic clock.
    """
    if all(case.case_id in context.kept for case in group.cases):
        return
    started_s, cpu_s = time.monotonic(), time.process_time()
    states = {case.case_id: MeasuredCase(case, utc_now()) for case in group.cases}
    rounds = _restore(states, context)
    measure = context.suite.measure
    longest_s = 0.0
    while rounds < measure.max_forks and any(not state.failed for state in states.values()):
        began_s = time.monotonic()
        if rounds > 0 and began_s + longest_s > deadline_s:
            break
        if rounds >= measure.forks and tight(group, states, measure):
            break
        fork = 1 + max((window.fork for state in states.values() for window in state.windows), default=-1)
        _Round(group, states, context, fork, deadline_s).run()
        rounds += 1
        longest_s = max(longest_s, time.monotonic() - began_s)
    wall_s = (time.monotonic() - started_s) / len(states)
    for state in states.values():
        context.keep(state.record(context, group, wall_s=wall_s, parent_cpu_s=time.process_time() - cpu_s))


def _restore(states: dict[str, MeasuredCase], context: Context) -> int:
    """Take over what an interrupted run measured; return how many fork rounds it holds."""
    for logged in context.logged:
        state = states.get(logged.case_id)
        if state is not None:
            state.add(logged.window, logged.items)
    kept = complete_blocks(states.values())
    forks = {fork for fork, _ in kept}
    for state in states.values():
        state.forget_partial(kept, forks)
    return len(forks)


class _Round:
    """One fork of every case of a group."""

    def __init__(
        self, group: Group, states: dict[str, MeasuredCase], context: Context, fork: int, deadline_s: float
    ) -> None:
        self._group, self._states, self._context, self._fork = group, states, context, fork
        self._deadline_s = deadline_s
        labels = {context.plan.labels.get(case.case_id, "") for case in group.cases}
        self._where = f"{next(iter(labels))}: " if len(labels) == 1 and labels != {""} else ""
        self._random = random.Random(f"{context.suite.seed}/{fork}")  # noqa: S311 an order, not a secret
        self._sessions: dict[str, Session] = {}
        self._ready: dict[str, Ready] = {}
        self._repeats: dict[str, int] = {}
        self._timeout_s = context.suite.measure.timeout_s

    def run(self) -> None:
        """Start, build, warm up, measure blocks, end; failures are noted in the states."""
        try:
            self._start()
            for case in self._live(shuffled=True):
                self._attempt(case, self._build)
            for case in self._live():
                self._attempt(case, self._warm)
            self._idle()
            self._blocks()
            self._idle()
        except BaseException:
            for session in self._sessions.values():
                session.kill()
            raise
        for session in self._sessions.values():
            session.close()

    def _live(self, *, shuffled: bool = False) -> list[Case]:
        cases = [case for case in self._group.cases if not self._states[case.case_id].failed]
        if shuffled:
            self._random.shuffle(cases)
        return cases

    def _attempt(self, case: Case, step: Any, *arguments: Any) -> None:
        try:
            step(case, *arguments)
        except WorkerFailed as error:
            self._states[case.case_id].failed = error
            session = self._sessions.pop(case.case_id, None)
            if session is not None:
                session.close()

    def _start(self) -> None:
        self._context.say(f"{self._where}fork {self._fork}: starting {len(self._live())} workers", self._left_s(0))
        for case in self._live(shuffled=True):
            self._attempt(case, self._open)
        for case in self._live():
            self._attempt(case, self._receive_ready)

    def _open(self, case: Case) -> None:
        self._sessions[case.case_id] = self._context.start(case, self._fork)

    def _receive_ready(self, case: Case) -> None:
        # They load side by side and may all wait for one core.
        ready: Any = self._sessions[case.case_id].receive(self._timeout_s * len(self._sessions))
        self._ready[case.case_id] = ready
        self._states[case.case_id].ready = ready

    def _ask(self, case: Case, command: Build | Warm | Run) -> Done:
        session = self._sessions[case.case_id]
        session.send(command)
        done: Done = session.receive(self._timeout_s)
        self._keep(case, done.window, done.items)
        if done.prefill is not None:
            self._keep(case, done.prefill)
        return done

    def _keep(self, case: Case, window: Window, items: Any = None) -> None:
        self._states[case.case_id].add(window, items)
        self._context.log(case, window, items)

    def _build(self, case: Case) -> None:
        self._context.say(f"{self._context.name(case)}: building (fork {self._fork})", self._left_s(0))
        self._ask(case, Build())

    def _warm(self, case: Case) -> None:
        """Warm up until two windows agree, then choose how often a slice is repeated in a window."""
        before_s = self._ask(case, Warm(batch=0, repeats=1)).window.measured.duration_s
        for _ in range(MAX_WARMUPS - 1):
            now_s = self._ask(case, Warm(batch=0, repeats=1)).window.measured.duration_s
            settled = abs(now_s - before_s) <= WARM * before_s
            before_s = now_s
            if settled:
                break
        wanted_s = max(self._context.suite.measure.min_window_s, *self._meter_windows_s(case), 0.0)
        self._repeats[case.case_id] = max(1, -(-wanted_s // before_s).__int__())

    def _meter_windows_s(self, case: Case) -> list[float]:
        """Return how long a window must last for each meter's 1 %, in seconds."""
        meters = self._ready[case.case_id].meters
        return [meter.window_for_1_percent_s for meter in meters if meter.window_for_1_percent_s] or [0.0]

    def _blocks(self) -> None:
        measure = self._context.suite.measure
        slices = min((ready.slices for ready in self._ready.values()), default=1)
        for block in range(measure.blocks):
            if block >= 2 and time.monotonic() >= self._deadline_s:
                return
            batch = (self._fork * measure.blocks + block) % slices
            text = f"{self._where}fork {self._fork}, block {block + 1}/{measure.blocks}"
            self._context.say(text, self._left_s(block))
            order = self._live(shuffled=True)
            for slot, case in enumerate((*order, *reversed(order))):
                if not self._states[case.case_id].failed:
                    self._attempt(case, self._measure, batch, block, slot)

    def _measure(self, case: Case, batch: int, block: int, slot: int) -> None:
        self._ask(case, Run(batch=batch, repeats=self._repeats[case.case_id], block=block, slot=slot))

    def _idle(self) -> None:
        """One idle window serves all: while a worker rests, all do."""
        cases = self._live()
        if not cases:
            return
        first = cases[0]
        windows = idle_window(self._sessions[first.case_id], self._ready[first.case_id], self._context)
        for window in windows:
            for case in cases:
                self._keep(case, window)

    def _left_s(self, block: int) -> float:
        """Return a rough time left for the planned forks of this group, in seconds."""
        measure = self._context.suite.measure
        window_s = 2.0 * measure.min_window_s
        round_s = 2 * len(self._group.cases) * measure.blocks * window_s
        rounds_left = max(0, measure.forks - self._fork - 1)
        here_s = round_s * (1 - block / measure.blocks)
        return here_s + rounds_left * (round_s + STARTUP_S * len(self._group.cases) / 2)
