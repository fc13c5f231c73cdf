"""The parent's side of a worker: it is told to repeat, its clocks come back, and the meters are read around it.

The meters are open in the parent, into which no code of the repository under test is ever loaded. The clocks are the
worker's own, so what the pipe between them takes is in the joules of a counter and not in the CPU-seconds.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from harness import device
from harness.counters.edges import Mark, Span
from harness.engines.local import LocalSession, spawn
from harness.errors import InvalidMeasurement, NotMeasured, WorkerFailed
from harness.gate.model import Slot
from harness.gate.slots import Built, environment
from harness.gate.targets import CallableTarget, CommandTarget, PytestTarget
from harness.messages import Failure
from harness.meters.window import Begun, MeterWindow
from harness.records import Frozen, Measured, Window, WindowKind
from harness.stats.totals import total

Single = CallableTarget | CommandTarget | PytestTarget
"""A case that one entry of the configuration names; each has a worker program of the gate's own."""

PROBE = Path(__file__).with_name("probe.py")
_ADVICE = "a slot that takes so long cannot be gated: give the case less to do"


class Reported(WorkerFailed):
    """A worker said itself why it cannot go on; to start it again would not help."""


class Begin(Frozen, frozen=True, kw_only=True, tag_field="do", tag="start"):
    """Load what is gated. `inside` are the folders of which the module must come; empty for anywhere."""

    target: str | None = None
    test: str | None = None
    args: dict[str, object] = {}
    command: tuple[str, ...] = ()
    check: str
    seed: int
    inside: tuple[str, ...] = ()


class Repeat(Frozen, frozen=True, kw_only=True, tag_field="do", tag="repeat"):
    """Call so often in one window."""

    repeats: int


class Started(Frozen, frozen=True, kw_only=True, tag=True):
    """What is gated is loaded."""

    pid: int
    loaded_from: str


class Repeated(Frozen, frozen=True, kw_only=True, tag=True):
    """The worker's clocks at both edges of a window, and what was returned last."""

    wall_ns: tuple[int, int]
    cpu_ns: tuple[int, int]
    children_s: tuple[tuple[float, float], tuple[float, float]]
    checksum: str | None
    scores: tuple[float, ...] | None


class Reading(NamedTuple):
    """One slot with the item scores that came with it, by item."""

    slot: Slot
    scores: Mapping[int, float]


class Worker(Protocol):
    """One live worker of one arm."""

    arm: str

    @property
    def pid(self) -> int:
        """Its process id."""

    def ready(self, timeout_s: float) -> None:
        """Wait until it has loaded.

        Raises: WorkerFailed: it did not.
        """

    def run(self, repeats: int, part: int, timeout_s: float) -> Reading:
        """Repeat its task in one slot; `part` chooses among the inputs, where there are several.

        Raises: WorkerFailed: it died, hung or failed.
        """

    def close(self) -> None:
        """Let it end."""

    def kill(self) -> None:
        """End it now."""


class ProbeWorker:
    """A callable, a command or a pytest test in a process of its own."""

    def __init__(self, arm: str, session: LocalSession, meters: MeterWindow, tasks: int) -> None:
        self.arm = arm
        self._session = session
        self._meters = meters
        self._tasks = tasks

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._session.pid

    def ready(self, timeout_s: float) -> None:
        """Wait until the target is loaded."""
        self._session.receive(timeout_s)

    def run(self, repeats: int, part: int, timeout_s: float) -> Reading:
        """Repeat the call in one slot; there is only one input."""
        del part
        begun = self._meters.begin()
        self._session.send(Repeat(repeats=repeats))
        repeated: Repeated = self._session.receive(timeout_s)
        end = self._meters.edges.end()
        measured = interpret(self._meters, begun, end, repeated)
        slot = slot_of(self.arm, repeats * self._tasks, measured, repeated.checksum)
        return Reading(slot=slot, scores=dict(enumerate(repeated.scores or ())))

    def close(self) -> None:
        """Let it end."""
        self._session.close()

    def kill(self) -> None:
        """End it now."""
        self._session.kill()
        self._session.close()


class Control:
    """The control's worker. Its death is no case's fault: another takes its place."""

    arm = "control"

    def __init__(self, start: Callable[[], ProbeWorker]) -> None:
        self._start = start
        self._worker = start()

    @property
    def pid(self) -> int:
        """The process id of the worker that lives now."""
        return self._worker.pid

    def ready(self, timeout_s: float) -> None:
        """Wait until the kernel is loaded."""
        self._worker.ready(timeout_s)

    def run(self, repeats: int, part: int, timeout_s: float) -> Reading:
        """Repeat the kernel in one slot; where the worker has died, in a new one, warmed up.

        Raises: WorkerFailed: the new one died too.
        """
        try:
            return self._worker.run(repeats, part, timeout_s)
        except WorkerFailed:
            self._worker.kill()
        self._worker = self._start()
        self._worker.ready(timeout_s)
        self._worker.run(repeats, part, timeout_s)
        return self._worker.run(repeats, part, timeout_s)

    def close(self) -> None:
        """Let it end."""
        self._worker.close()

    def kill(self) -> None:
        """End it now."""
        self._worker.kill()


def start_probe(
    case: Single,
    arm: str,
    built: Built,
    *,
    seed: int,
    log: Path,
    meters: MeterWindow,
) -> ProbeWorker:
    """Start the worker of a callable, a command or a test; it loads while others do."""
    session = start_session(f"{arm} of {case.name}", built, log, seed=seed, threads=case.threads)
    if isinstance(case, CallableTarget):
        begin = Begin(target=case.target, args=case.args, check=case.check, seed=seed, inside=inside(built))
    elif isinstance(case, PytestTarget):
        begin = Begin(test=case.pytest, check=case.check, seed=seed, inside=inside(built))
    else:
        begin = Begin(command=case.command, check=case.check, seed=seed)
    session.send(begin)
    return ProbeWorker(arm, session, meters, case.tasks)


def start_control(target: str, built: Built, *, log: Path, meters: MeterWindow) -> Control:
    """Start the worker of the control, from the gate's own installation."""

    def start() -> ProbeWorker:
        session = start_session("the control", built, log)
        session.send(Begin(target=target, check="result", seed=0, inside=inside(built)))
        return ProbeWorker("control", session, meters, 1)

    return Control(start)


def interpret(meters: MeterWindow, begun: Begun, end: Mark, repeated: Repeated) -> Measured:
    """Return what a slot drew: the meters as the parent read them, the clocks as the worker did."""
    begin, last = (
        mark._replace(
            pid=0,
            group=b"",
            wall_ns=repeated.wall_ns[edge],
            cpu_ns=repeated.cpu_ns[edge],
            children=resource.struct_rusage((*repeated.children_s[edge], *(0,) * 14)),
        )
        for edge, mark in enumerate((begun.mark, end))
    )
    return meters.interpret(Span(begin, last), begun.states + meters.states("end"))


def slot_of(arm: str, tasks: int, measured: Measured, checksum: str | None) -> Slot:
    """Return a slot; where its joules are not known, why."""
    slot = Slot(
        arm=arm,
        tasks=tasks,
        duration_s=measured.duration_s,
        cpu_s=measured.cpu_s,
        checksum=checksum,
        doubts=measured.doubts,
    )
    window = Window(kind=WindowKind.RUN, fork=0, tasks=tasks, measured=measured)
    try:
        billed = total(window, arm)
    except (NotMeasured, InvalidMeasurement) as error:
        return msgspec.structs.replace(slot, gap=str(error))
    return msgspec.structs.replace(slot, energy_j=billed.energy_j, provenance=billed.provenance)


_decoder = msgspec.json.Decoder(Started | Repeated | Failure)


def _decode(replies: msgspec.json.Decoder[Any], line: bytes) -> Any:
    reply = replies.decode(line)
    if isinstance(reply, Failure):
        raise Reported(f"{reply.error}: {reply.message}")
    return reply


def start_session(
    name: str,
    built: Built,
    log: Path,
    *,
    seed: int = 0,
    threads: int = 1,
    replies: msgspec.json.Decoder[Any] = _decoder,
) -> LocalSession:
    """Start the probe in the arm's Python; `replies` are those that it can give."""
    # The same hash seed in both arms of a fork, another one in the next: the order of sets is part of a fork's luck.
    surroundings = {**device.environment(threads), **environment(built), "PYTHONHASHSEED": str(seed)}
    process = spawn([os.fspath(built.python), os.fspath(PROBE)], surroundings, log, built.root)
    return LocalSession(process, f"worker {process.pid}, {name}", log, decode=partial(_decode, replies), advice=_ADVICE)


def inside(built: Built) -> tuple[str, ...]:
    """Return the folders that what is gated must come from: the slot."""
    return (str(built.place),)
