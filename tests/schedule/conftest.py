"""An engine whose workers are simulated: their truth is known, their clock is counted, nothing sleeps."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import pytest

from harness import schedule, store
from harness.config import Infer, Measure, Suite
from harness.errors import WorkerFailed
from harness.messages import (
    Build,
    Done,
    Evaluate,
    Evaluated,
    Finish,
    Finished,
    Idle,
    Items,
    Keep,
    Kept,
    Ready,
    Resume,
    Run,
    Start,
    Train,
    Trained,
    Warm,
)
from harness.plan import Group, Plan
from harness.records import (
    Case,
    DataInfo,
    Energy,
    HostLoad,
    Measured,
    MeterInfo,
    ModelInfo,
    Phase,
    Provenance,
    RunInfo,
    Window,
    WindowKind,
    WorkloadSpec,
)

SPEC = WorkloadSpec(name="simulated")


@dataclasses.dataclass
class World:
    """What is true of the simulated machine: watts drift linearly with every window that is run."""

    joules_per_task: dict[str, float]
    drift_per_window: float = 0.0
    counter: bool = False
    chunk_s: float = 0.5
    chunks: int = 3
    dies: dict[str, type] = dataclasses.field(default_factory=dict)
    windows_run: int = 0
    started: list[tuple[str, int]] = dataclasses.field(default_factory=list)
    order: list[tuple[int, int, int, str, int]] = dataclasses.field(default_factory=list)
    interrupt_after: int | None = None


class SimulatedSession:
    def __init__(self, world: World, case: Case, fork: int) -> None:
        self.world, self.case, self.fork = world, case, fork
        self.replies: list[object] = []
        self.chunks = 0
        self.closed = False

    def send(self, message: object) -> None:
        if isinstance(message, self.world.dies.get(self.case.technique, ())):
            raise WorkerFailed(f"{self.case.name} died, as the test wanted")
        self.replies.append(self.answer(message))

    def receive(self, timeout_s: float) -> object:
        return self.replies.pop(0)

    def close(self) -> None:
        self.closed = True

    kill = close

    def answer(self, message: object) -> object:
        match message:
            case Start():
                return self.ready()
            case Build():
                return Done(window=self.window(WindowKind.BUILD, 0, 0.1, 5.0))
            case Warm():
                return Done(window=self.window(WindowKind.WARMUP, message.repeats, 0.1, 1.0))
            case Idle():
                return Done(window=self.window(WindowKind.IDLE, 0, message.duration_s, 1.0))
            case Run():
                return self.run(message)
            case Train():
                return self.train()
            case Evaluate():
                return self.evaluate()
            case Keep():
                return Kept(resume=Resume(file="training/x/1.safetensors", steps=self.chunks, examples=8 * self.chunks))
            case Finish():
                return Finished(
                    item_ids=(0, 1),
                    scores=(1.0, 1.0),
                    measures={"loss_nats": 0.5},
                    artefact="models/m",
                    windows=(self.window(WindowKind.EVAL, 2, 0.1, 1.0),),
                )
            case _:
                raise AssertionError(message)

    def ready(self) -> Ready:
        provenance = Provenance.COUNTER if self.world.counter else Provenance.MODELLED
        return Ready(
            metric="accuracy",
            pid=1,
            data=DataInfo(source="s", content_sha256="d", classes=("a", "b"), n_train=4, n_validation=2, n_test=4),
            model=ModelInfo(source="m", architecture="a", parameters=1),
            meters=(MeterInfo(name="m", domains=("d",), provenance=provenance, boundary="b"),),
            missing=(),
            slices=2,
        )

    def run(self, message: Run) -> Done:
        world = self.world
        world.windows_run += 1
        if world.interrupt_after is not None and world.windows_run > world.interrupt_after:
            raise KeyboardInterrupt
        world.order.append((self.fork, message.block, message.slot, self.case.technique, message.batch))
        tasks = 2 * message.repeats
        energy_j = tasks * world.joules_per_task[self.case.technique] * (1 + world.drift_per_window * world.windows_run)
        window = self.window(
            WindowKind.RUN, tasks, 0.1, energy_j, block=message.block, slot=message.slot, batch=message.batch
        )
        ids = (2 * message.batch, 2 * message.batch + 1)
        return Done(window=window, items=Items(item_ids=ids, scores=(1.0, 0.0), outputs=((0.5,), (0.25,))))

    def train(self) -> Trained:
        self.chunks += 1
        if self.chunks > self.world.chunks:
            return Trained(finished=True, window=self.window(WindowKind.TRAIN, 0, 0.0, 0.0))
        duration_s = self.world.chunk_s
        window = self.window(WindowKind.TRAIN, 8, duration_s, 10.0)
        last = self.chunks == self.world.chunks
        return Trained(finished=False, window=window, last=last, steps=self.chunks, examples=8 * self.chunks)

    def evaluate(self) -> Evaluated:
        right = min(2, self.chunks - 1)
        return Evaluated(window=self.window(WindowKind.EVAL, 2, 0.1, 1.0), scores=(1.0,) * right + (0.0,) * (2 - right))

    def window(self, kind: WindowKind, tasks: int, duration_s: float, energy_j: float, **more: object) -> Window:
        energy = Energy(
            domain="d", energy_j=energy_j, provenance=Provenance.FAKE, boundary="simulated", meter="simulated"
        )
        load = HostLoad(busy_other_share=0.0, steal_share=0.0, load_1m=0.0)
        measured = Measured(duration_s=duration_s, cpu_s=duration_s, energies=(energy,), load=load)
        return Window(kind=kind, fork=self.fork, tasks=tasks, measured=measured, outputs_sha256="same", **more)


class SimulatedEngine:
    def __init__(self, world: World) -> None:
        self.world = world
        self.sessions: list[SimulatedSession] = []

    def start(self, case: Case, fork: int, environment: dict[str, str]) -> SimulatedSession:
        self.world.started.append((case.technique, fork))
        session = SimulatedSession(self.world, case, fork)
        self.sessions.append(session)
        return session


def train_case(technique: str = "teach") -> Case:
    return Case(workload=SPEC, phase=Phase.TRAIN, technique=technique, device="cpu", seed=1)


def infer_case(technique: str) -> Case:
    return Case(
        workload=SPEC,
        phase=Phase.INFER,
        technique=technique,
        device="cpu",
        seed=1,
        scenario="offline",
        trained_by=train_case().case_id,
    )


@dataclasses.dataclass
class Bench:
    """A small run in a folder, to be executed as often as a test likes."""

    root: Path
    world: World
    measure: Measure
    techniques: tuple[str, ...] = ("base", "half", "third")
    extra: dict[str, object] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        self.suite = Suite(
            suite="simulated",
            workload={"name": "simulated"},
            train=("teach",),
            infer=Infer(techniques=self.techniques, model_from=("teach",), slice=2),
            measure=self.measure,
            **self.extra,
        )
        cases = tuple(infer_case(name) for name in self.techniques)
        group = Group(cases=cases, baseline=cases[0].case_id)
        self.plan = Plan(train=(train_case(),), groups=(group,), skips=())
        self.folder = store.create_run(self.root, self.info())
        self.engine = SimulatedEngine(self.world)
        self.said: list[schedule.Progress] = []

    def info(self) -> RunInfo:
        return RunInfo(
            run_id="r",
            suite_name="simulated",
            suite_sha256=self.suite.sha256,
            suite=msgspec.to_builtins(self.suite),
            host={},
            host_fingerprint="f" * 64,
            code_version="0",
            started_utc="2026-01-01T00:00:00Z",
            confidence=0.95,
            quality_margin=0.02,
            case_ids=self.plan.case_ids,
        )

    def execute(self) -> dict[str, object]:
        run = store.load_run(self.folder)
        done = schedule.execute(self.plan, self.suite, self.root, self.root, run, self.engine, self.said.append)
        return {record.case.technique: record for record in done.records}


@pytest.fixture
def bench(tmp_path):
    """Return a function that makes a bench; `base` draws 6 J a task, `half` 3 J, `third` 2 J."""

    def make(**changes: object) -> Bench:
        measure = changes.pop("measure", Measure(forks=2, max_forks=2, blocks=3, min_window_s=0.1))
        extra = changes.pop("extra", {})
        world = World(joules_per_task={"base": 6.0, "half": 3.0, "third": 2.0}, **changes)
        return Bench(root=tmp_path, world=world, measure=measure, extra=extra)

    return make
