"""Cases that are measured side by side: their forks are alive together and take turns, block by block.

With all forks of a case alive, every look sees all of them, and drift of the machine falls on all alike. Where memory
does not allow that, forks come in waves. A fork whose worker died is dropped as a whole and started anew.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec

from harness.counters import memory
from harness.errors import WorkerFailed
from harness.gate.arms import Reported, Worker
from harness.gate.forks import BASE, HEAD, Fork, Gated
from harness.gate.model import Block, Policy, Stage
from harness.gate.slots import Slots
from harness.gate.writing import DROPPED

MAX_WORKERS = 64
"""Live workers of one cohort: processes and pipes stay far below the limits of any host."""

MAX_RESTARTS = 2
"""How often one fork of a case may be started anew before the case is invalid."""

_MEMORY_SHARE = 0.6
"""Part of the free memory that live workers may take."""


class Step(NamedTuple):
    """Forks `first` to `last` (not included) get to `blocks` blocks each; then comes look `look`, if that is not 0."""

    first: int
    last: int
    blocks: int
    look: int


@dataclass
class Lab:
    """What all cohorts of a gate share; `blocks`, `scores` and `failed` grow as they measure, by case.

    `slot_s` is the least length of a slot, `start_s` how long starting and warming up a fork of a case took, and
    `block_s` a block of it, waiting not included. After `deadline_s` (monotonic clock) no worker that died is started
    anew.
    """

    slots: Slots
    policy: Policy
    control: Worker
    control_repeats: int
    logs: Path
    seed: int
    slot_s: float
    timeout_s: float
    keep: Callable[[Block], None]
    say: Callable[[str], None]
    deadline_s: float = math.inf
    blocks: dict[str, list[Block]] = field(default_factory=dict)
    scores: dict[str, dict[str, dict[int, float]]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    start_s: dict[str, float] = field(default_factory=dict)
    block_s: dict[str, float] = field(default_factory=dict)


def steps(policy: Policy, blocks: int, looks: int, live: int, *, seen: int = 0) -> tuple[Step, ...]:
    """Return how a stage of `blocks` blocks a case goes from look to look, with `live` forks of each alive at once.

    Every fork gets as many blocks, so all of them may be a few more. Looks are counted from those that were `seen`.
    """
    forks = policy.forks
    whole = math.ceil(blocks / forks)
    if live >= forks:
        targets = [max(1, math.ceil(whole * look / looks)) for look in range(1, looks + 1)]
        # Of looks that would see the same blocks only the last is taken.
        last = {target: look for look, target in enumerate(targets, start=seen + 1)}
        return tuple(Step(0, forks, target, look) for target, look in last.items())
    waves = [(first, min(first + live, forks)) for first in range(0, forks, live)]
    reached = [looks * last // forks for _, last in waves]
    before = [0, *reached[:-1]]
    return tuple(
        Step(first, last, whole, seen + now if now > earlier else 0)
        for (first, last), now, earlier in zip(waves, reached, before, strict=True)
    )


class Cohort:
    """Some cases in one stage. Close it, whatever happened."""

    def __init__(self, lab: Lab, cases: Sequence[Gated], stage: Stage, *, first_fork: int = 0) -> None:
        self.cases = {case.name: case for case in cases}
        self._lab = lab
        self._stage = stage
        self._first = first_fork
        self._forks: dict[tuple[str, int], Fork] = {}
        self._restarts: dict[tuple[str, int], int] = {}
        # Half of the forks in either pair of places, at random; a later stage exchanges them.
        self._random = random.Random(f"{lab.seed}/{stage.value}/{first_fork}/{sorted(self.cases)}")  # noqa: S311 an order
        places = random.Random(f"{lab.seed}/places")  # noqa: S311 an order, not a secret
        self._pairs = [number % 2 for number in range(lab.policy.forks)]
        places.shuffle(self._pairs)
        if stage is Stage.CONFIRM:
            self._pairs = [1 - pair for pair in self._pairs]

    def begin(self) -> int:
        """Start the first fork of every case; return how many forks of each this host can hold at once."""
        free = memory.free_bytes()
        self._open(self.cases, 0)
        taken = sum(_resident_bytes(pid) for fork in self._forks.values() for pid in fork.pids)
        if free is None or taken == 0:
            return self._lab.policy.forks
        return max(1, min(self._lab.policy.forks, int(_MEMORY_SHARE * free / taken)))

    def advance(self, names: Iterable[str], step: Step, ends_s: Callable[[], float]) -> bool:
        """Measure these cases up to a step; return whether it was reached in time.

        `ends_s` says when to end (monotonic clock), and is asked again as more is known of how long things take.
        """
        names = [name for name in names if name not in self._lab.failed]
        for key in [key for key in self._forks if not step.first <= key[1] < step.last]:
            self._forks.pop(key).close()
        for number in range(step.first, step.last):
            self._open([name for name in names if (name, number) not in self._forks], number)
            if time.monotonic() >= ends_s():
                return False
        while waiting := self._waiting(names, step):
            self._random.shuffle(waiting)
            for key in waiting:
                if time.monotonic() >= ends_s():
                    return False
                if key[0] not in self._lab.failed:
                    self._attempt(key, self._block)
        return True

    def drop(self, name: str) -> None:
        """End the workers of a case."""
        for key in [key for key in self._forks if key[0] == name]:
            self._forks.pop(key).close()

    def close(self) -> None:
        """End every worker."""
        for name in self.cases:
            self.drop(name)

    def kill(self) -> None:
        """End every worker now."""
        for fork in self._forks.values():
            fork.kill()
        self._forks.clear()

    def _waiting(self, names: Iterable[str], step: Step) -> list[tuple[str, int]]:
        return [
            (name, number)
            for name in names
            if name not in self._lab.failed
            for number in range(step.first, step.last)
            if len(self._forks[name, number].blocks) < step.blocks
        ]

    def _open(self, names: Iterable[str], number: int) -> None:
        """Start one fork of each case: they load side by side, and are warmed up one at a time."""
        names = [name for name in names if name not in self._lab.failed]
        self._random.shuffle(names)
        began_s = time.monotonic()
        for name in names:
            self._attempt((name, number), self._start)
        for name in names:
            if name not in self._lab.failed:
                self._attempt((name, number), self._prepare)
        for name in names:
            _learn(self._lab.start_s, name, (time.monotonic() - began_s) / len(names))

    def _start(self, key: tuple[str, int]) -> None:
        name, number = key
        lab, restarts = self._lab, self._restarts.get(key, 0)
        order = random.Random(f"{lab.seed}/{self._stage.value}/{self._first}/{name}/{number}/{restarts}")  # noqa: S311
        pair = lab.slots.pairs[self._pairs[number % len(self._pairs)]]
        self._forks[key] = Fork(self.cases[name], self._first + number, self._stage, pair, order, lab.logs)

    def _prepare(self, key: tuple[str, int]) -> None:
        self._lab.say(f"{key[0]}: {self._stage.value}, warming up fork {key[1] + 1}")
        # What loads beside it may keep it waiting.
        self._forks[key].prepare(self._lab.slot_s, self._lab.timeout_s)

    def _block(self, key: tuple[str, int]) -> None:
        name = key[0]
        lab, fork = self._lab, self._forks[key]
        began_s = time.monotonic()
        block = fork.block(lab.control, lab.control_repeats, lab.timeout_s)
        _learn(lab.block_s, name, time.monotonic() - began_s)
        lab.keep(block)
        lab.blocks.setdefault(name, []).append(block)
        for arm in (BASE, HEAD):
            lab.scores.setdefault(name, {}).setdefault(arm, {}).update(fork.scores[arm])

    def _attempt(self, key: tuple[str, int], what: Callable[[tuple[str, int]], None]) -> None:
        """Do it; where a worker dies of it, drop the fork and start it anew, or give the case up."""
        while True:
            try:
                what(key)
            except WorkerFailed as error:
                self._bury(key, error)
                if key[0] in self._lab.failed:
                    return
                what = self._again
            else:
                return

    def _again(self, key: tuple[str, int]) -> None:
        self._start(key)
        self._prepare(key)

    def _bury(self, key: tuple[str, int], error: WorkerFailed) -> None:
        """Drop a fork with all its blocks; give the case up where that cannot help, or has not helped."""
        name, lab = key[0], self._lab
        fork = self._forks.pop(key, None)
        if fork is not None:
            fork.kill()
            for block in fork.blocks:
                lab.keep(msgspec.structs.replace(block, void=f"{DROPPED}{error}"))
            gone = {id(block) for block in fork.blocks}
            lab.blocks[name] = [block for block in lab.blocks.get(name, []) if id(block) not in gone]
        self._restarts[key] = self._restarts.get(key, 0) + 1
        late = time.monotonic() >= lab.deadline_s
        if isinstance(error, Reported) or late or self._restarts[key] > MAX_RESTARTS:
            lab.failed[name] = f"{error}{'' if isinstance(error, Reported) else _tries(self._restarts[key], late=late)}"
            self.drop(name)


def _learn(known_s: dict[str, float], name: str, took_s: float) -> None:
    known_s[name] = 0.8 * known_s.get(name, took_s) + 0.2 * took_s


def _tries(number: int, *, late: bool) -> str:
    often = f", {number} times in a row" if number > 1 else ""
    return f"{often}; no time was left to start it anew" if late and number <= MAX_RESTARTS else often


def _resident_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    # What is shared (libraries) is there once, however many workers use it.
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))
