"""What a group has measured so far, case by case, and whether that is enough."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping

from harness import stats, store
from harness.config import Measure
from harness.errors import NotMeasured, WorkerFailed
from harness.messages import Items, Ready
from harness.plan import Group
from harness.records import Case, Doubt, Failed, Ok, Outcome, Quality, Record, Skipped, Window, WindowKind
from harness.schedule.context import Context, facts

Block = tuple[int, int]
"""A block's name: (fork, block)."""


class MeasuredCase:
    """Windows and answers of one infer case, over all its forks."""

    def __init__(self, case: Case, started_utc: str) -> None:
        self.case = case
        self.started_utc = started_utc
        self.windows: list[Window] = []
        self.failed: WorkerFailed | None = None
        self.ready: Ready | None = None
        self._items: dict[int, tuple[float, tuple[float, ...]]] = {}
        self._tokens = False

    def add(self, window: Window, items: Items | None) -> None:
        """Take in one window and, where it brought them, the first answers to its items."""
        self.windows.append(window)
        if items is not None:
            self._tokens = items.tokens
            for item_id, score, row in zip(items.item_ids, items.scores, items.outputs, strict=True):
                self._items.setdefault(item_id, (score, row))

    def blocks(self) -> set[Block]:
        """Return the blocks in which this case has both its windows."""
        counts: dict[Block, int] = defaultdict(int)
        for window in self.windows:
            if window.kind is WindowKind.RUN and window.block is not None:
                counts[(window.fork, window.block)] += 1
        return {block for block, count in counts.items() if count == 2}

    def forget_partial(self, blocks: set[Block], forks: set[int]) -> None:
        """Drop windows of tasks outside the given blocks, and all windows of forks without any such block."""

        def kept(window: Window) -> bool:
            if window.kind in (WindowKind.RUN, WindowKind.PREFILL):
                return window.block is not None and (window.fork, window.block) in blocks
            return window.fork in forks

        self.windows = [window for window in self.windows if kept(window)]

    def record(self, context: Context, group: Group, *, wall_s: float, parent_cpu_s: float) -> Record:
        """Return the case's record; its answers go to a file of their own."""
        outcome = self._outcome()
        item_ids = tuple(sorted(self._items))
        scores = tuple(self._items[item_id][0] for item_id in item_ids)
        return context.record(
            self.case,
            outcome,
            started_utc=self.started_utc,
            windows=tuple(self.windows),
            quality=self._quality(scores, context.info.confidence),
            item_ids=item_ids,
            item_scores=scores,
            outputs_file=self._write_outputs(context, item_ids),
            doubts=self._doubts(),
            wall_s=wall_s,
            parent_cpu_s=parent_cpu_s / len(group.cases),
            **facts(self.ready),
        )

    def _quality(self, scores: tuple[float, ...], confidence: float) -> Quality | None:
        return stats.quality(scores, confidence, self.ready.metric) if scores and self.ready is not None else None

    def _outcome(self) -> Outcome:
        if self.failed is not None:
            return Failed(error=type(self.failed).__name__, message=str(self.failed))
        if not self.blocks():
            return Skipped(reason="the budget was spent before one block was measured; raise --budget")
        return Ok()

    def _write_outputs(self, context: Context, item_ids: tuple[int, ...]) -> str | None:
        if not item_ids:
            return None
        rows = tuple(self._items[item_id][1] for item_id in item_ids)
        answers = store.Answers(item_ids=item_ids, outputs=rows, tokens=self._tokens)
        return store.write_answers(context.folder, self.case.case_id, answers)

    def _doubts(self) -> tuple[Doubt, ...]:
        doubts = set().union(*(window.measured.doubts for window in self.windows))
        answers: dict[int | None, set[str | None]] = defaultdict(set)
        for window in self.windows:
            if window.kind is WindowKind.RUN:
                answers[window.batch].add(window.outputs_sha256)
        if any(len(hashes) > 1 for hashes in answers.values()):
            doubts.add(Doubt.OUTPUTS_DIFFER)
        if len({fork for fork, _ in self.blocks()}) == 1:
            doubts.add(Doubt.ONE_FORK)
        return tuple(sorted(doubts))


def complete_blocks(states: Iterable[MeasuredCase]) -> set[Block]:
    """Return the blocks in which every case that has not failed has both its windows."""
    return set.intersection(*(state.blocks() for state in states))


def tight(group: Group, states: Mapping[str, MeasuredCase], measure: Measure) -> bool:
    """Say whether every ratio to the baseline is known within ± half_width, all at once at `confidence`."""
    base = states.get(group.baseline or "")
    others = [state for state in states.values() if state is not base and not state.failed]
    if base is None or base.failed or not others:
        return True
    confidence = stats.familywise(measure.confidence, len(others))
    for state in others:
        try:
            interval = stats.ratio_interval(stats.log_ratios(base.windows, state.windows), confidence)
        except NotMeasured:
            return False
        if (interval.high - interval.low) / 2 > math.log1p(measure.half_width):
            return False
    return True
