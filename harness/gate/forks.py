"""One fork of one case: a fresh worker of each arm, which take turns in ABBA or BAAB blocks."""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from harness.errors import WorkerFailed
from harness.gate.arms import Reading, Worker
from harness.gate.model import Block, Slot, Stage
from harness.gate.slots import Pair

BASE, HEAD = "base", "head"
MAX_REPEATS = 1_000_000
_WARM_WITHIN = 0.10
_MAX_WARMUPS = 6
"""Warm-up ends when two slots in a row agree within 10 %, or after so many (as in a suite's fork)."""


class Gated(NamedTuple):
    """One case that can be measured: how to start an arm of it in a pair of slots.

    With `agree`, both arms must give the same checksum; else each arm must only agree with itself.
    """

    name: str
    agree: bool
    metric: str
    start: Callable[[str, Pair, int, Path], Worker]


class Fork:
    """Both workers of one fork with what they measured."""

    def __init__(self, case: Gated, number: int, stage: Stage, pair: Pair, order: random.Random, logs: Path) -> None:
        self.case = case
        self.number = number
        self.stage = stage
        self.blocks: list[Block] = []
        self.scores: dict[str, dict[int, float]] = {BASE: {}, HEAD: {}}
        self.repeats = 1
        self._order = order
        self._checksums: dict[tuple[str, int], str | None] = {}
        self._workers: dict[str, Worker] = {}
        seed = order.randrange(2**31)
        arms = [BASE, HEAD]
        order.shuffle(arms)
        try:
            for arm in arms:
                log = logs / f"{stage.value}-{number}-{_file_name(case.name)}-{arm}.log"
                self._workers[arm] = case.start(arm, pair, seed, log)
        except BaseException:
            self.kill()
            raise

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of both workers."""
        return tuple(worker.pid for worker in self._workers.values())

    def prepare(self, slot_s: float, timeout_s: float) -> None:
        """Wait until both have loaded, warm them up, and choose one number of repeats for both.

        Raises: WorkerFailed: one of them died, hung or failed.
        """
        for arm, worker in self._workers.items():
            with _naming(arm):
                worker.ready(timeout_s)
        self.repeats = self._calibrated(slot_s, timeout_s)
        before_s = math.inf
        for _ in range(_MAX_WARMUPS):
            now_s = sum(self._run(arm, 0, timeout_s).slot.duration_s for arm in self._workers)
            if abs(now_s - before_s) <= _WARM_WITHIN * before_s:
                break
            before_s = now_s

    def block(self, control: Worker, control_repeats: int, timeout_s: float) -> Block:
        """Measure one block: both arms in turn and mirrored, the control in its middle.

        Raises: WorkerFailed: a worker died, hung or failed.
        """
        arms = [BASE, HEAD] if self._order.random() < 0.5 else [HEAD, BASE]
        index = len(self.blocks)
        first = [self._run(arm, index, timeout_s) for arm in arms]
        with _naming("the control"):
            steady = control.run(control_repeats, 0, timeout_s).slot
        second = [self._run(arm, index, timeout_s) for arm in reversed(arms)]
        slots = tuple(reading.slot for reading in (*first, *second))
        block = Block(
            case=self.case.name,
            stage=self.stage,
            fork=self.number,
            index=index,
            order="ABBA" if arms[0] == BASE else "BAAB",
            slots=slots,
            control=(steady,),
            void=self._void(slots, index) or _lost((steady,)),
        )
        self.blocks.append(block)
        return block

    def close(self) -> None:
        """Let both end."""
        for worker in self._workers.values():
            worker.close()

    def kill(self) -> None:
        """End both now."""
        for worker in self._workers.values():
            worker.kill()

    def _run(self, arm: str, part: int, timeout_s: float) -> Reading:
        with _naming(arm):
            reading = self._workers[arm].run(self.repeats, part, timeout_s)
        # A suite's worker scores each item once, with the first slot that asks for it: also in the warm-up.
        self.scores[arm].update(reading.scores)
        return reading

    def _calibrated(self, slot_s: float, timeout_s: float) -> int:
        """Return how many repeats make a slot of at least `slot_s` in the quicker arm."""
        while True:
            shortest_s = min(self._run(arm, 0, timeout_s).slot.duration_s for arm in self._workers)
            wanted = math.ceil(self.repeats * slot_s / max(shortest_s, 1e-9))
            # From a slot that is a good part of the wanted one, the rest may be reckoned.
            if shortest_s >= slot_s / 4 or self.repeats >= MAX_REPEATS:
                return max(1, min(wanted, MAX_REPEATS))
            self.repeats = min(wanted, 10 * self.repeats, MAX_REPEATS)

    def _void(self, slots: tuple[Slot, ...], part: int) -> str | None:
        """Return why a block does not count."""
        lost = _lost(slots)
        if lost:
            return lost
        for slot in slots:
            # Suites ask another question in every block; only the same one must be answered alike.
            key = (slot.arm, part if not self.case.agree else 0)
            if self._checksums.setdefault(key, slot.checksum) != slot.checksum:
                return f"the result of {slot.arm} changes from slot to slot; make it repeatable, or write `check: none`"
        answers = {slot.checksum for slot in slots}
        if self.case.agree and len(answers) > 1:
            return "a wrong answer: the result of head differs from that of base"
        return None


def _lost(slots: tuple[Slot, ...]) -> str | None:
    for slot in slots:
        if slot.energy_j is None:
            return f"no reading of {slot.arm}: {slot.gap}"
        if slot.energy_j <= 0:
            return f"the meters saw no energy of {slot.arm} in {slot.duration_s:.3g} s"
    return None


@contextlib.contextmanager
def _naming(arm: str) -> Iterator[None]:
    """Say which arm a failure was of."""
    try:
        yield
    except WorkerFailed as error:
        raise type(error)(f"{arm}: {error}") from error


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)
