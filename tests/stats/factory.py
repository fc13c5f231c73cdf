"""Small factories of records with a known truth. Every joule they make is FAKE unless a test says otherwise."""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from harness import stats
from harness.records import (
    Case,
    CurvePoint,
    DataInfo,
    DeviceState,
    Doubt,
    Energy,
    Failed,
    HostLoad,
    Measured,
    MeterInfo,
    ModelInfo,
    Ok,
    Phase,
    Provenance,
    Quality,
    Record,
    RunInfo,
    Skipped,
    Trivial,
    Window,
    WindowKind,
    WorkloadSpec,
)

BASELINES = {Phase.TRAIN: "from_scratch", Phase.INFER: "torch_eager"}
WORKLOAD = WorkloadSpec(name="text_classification", params={"model": "minilm"})


@dataclass(frozen=True)
class FakeRun:
    """What `store.load_run` gives, made by hand."""

    folder: Path
    info: RunInfo
    records: tuple[Record, ...]


@dataclass(frozen=True)
class Truth:
    """The truth about one infer technique: everything is exact but the noise."""

    name: str
    ratio: float = 1.0
    build_j: float = 5.0
    accuracy_flips: tuple[int, int] = (0, 0)
    outputs_off: float = 0.0
    ms: float = 4.0
    doubts: tuple[Doubt, ...] = ()


@dataclass(frozen=True)
class Noise:
    """Noise of log energy: of a block, of a fork (both by case), and a drift that all cases share."""

    block_sd: float = 0.02
    fork_sd: float = 0.0
    drift_sd: float = 0.2
    heavy: bool = False
    seed: int = 1


@dataclass
class Maker:
    """Makes windows of one kind of joules."""

    provenance: Provenance = Provenance.FAKE
    low: float | None = None
    high: float | None = None
    busy: float = 0.0
    rng: random.Random = field(default_factory=lambda: random.Random(7))

    def measured(self, energy_j: float, duration_s: float, doubts: tuple[Doubt, ...] = ()) -> Measured:
        energy = Energy(
            domain="cpu-process",
            energy_j=energy_j,
            provenance=self.provenance,
            boundary="vm-model",
            meter=self.provenance.value,
            low_j=energy_j * self.low if self.low else None,
            high_j=energy_j * self.high if self.high else None,
        )
        busy = self.rng.random() < self.busy
        return Measured(
            duration_s=duration_s,
            cpu_s=duration_s * 0.99,
            energies=(energy,),
            load=HostLoad(busy_other_share=0.2 if busy else 0.01, steal_share=0.0, load_1m=1.0),
            doubts=(*doubts, *((Doubt.HOST_BUSY,) if busy else ())),
        )

    def window(self, kind: WindowKind, energy_j: float, *, duration_s: float = 1.0, tasks: int = 1, fork: int = 0,
               doubts: tuple[Doubt, ...] = (), **more: object) -> Window:  # fmt: skip
        measured = self.measured(energy_j, duration_s, doubts)
        return Window(
            kind=kind, fork=fork, tasks=tasks, measured=measured, peak_memory_bytes=420 * 2**20, **more
        )  # fmt: skip

    def meter(self) -> MeterInfo:
        modelled = self.provenance is Provenance.MODELLED
        return MeterInfo(
            name=self.provenance.value,
            domains=("cpu-process",),
            provenance=self.provenance,
            boundary="model of this process tree: share of a whole server at the wall",
            refresh_s=0.0,
            read_cost_s=1.2e-6,
            coefficients="cpu_watts@1:EPYC 3" if modelled else None,
            notes=("1.50 W per busy vCPU over idle, sources between 1.03 and 2.02; idle 0.4 W is shown, not billed",)
            if modelled
            else (),
        )


@dataclass
class MixedMaker(Maker):
    """Makes windows whose joules a GPU's counter and the model of the CPU know together, with the GPU's states."""

    provenance: Provenance = Provenance.MODELLED
    low: float | None = 0.7
    high: float | None = 1.4
    gpu_share: float = 0.8

    def measured(self, energy_j: float, duration_s: float, doubts: tuple[Doubt, ...] = ()) -> Measured:
        cpu = super().measured(energy_j * (1 - self.gpu_share), duration_s, doubts)
        gpu_j = energy_j * self.gpu_share
        gpu = Energy(domain="gpu0", energy_j=gpu_j, low_j=0.99 * gpu_j, high_j=1.01 * gpu_j, meter="nvml",
                     provenance=Provenance.COUNTER, boundary="GPU board")  # fmt: skip
        states = (
            DeviceState(domain="gpu0", edge="begin", temperature_c=55.0, core_clock_hz=1.41e9, power_limit_w=300.0,
                        throttled=()),
            DeviceState(domain="gpu0", edge="end", temperature_c=61.0, core_clock_hz=1.2e9, power_limit_w=300.0,
                        throttled=("power cap",)),
        )  # fmt: skip
        return msgspec.structs.replace(
            cpu, energies=(*cpu.energies, gpu), states=states, doubts=(*cpu.doubts, Doubt.THROTTLED)
        )


def train_case(technique: str, seed: int = 1234, **more: object) -> Case:
    return Case(workload=WORKLOAD, phase=Phase.TRAIN, technique=technique, device="cpu", seed=seed, **more)


def infer_case(technique: str, trained_by: str | None = None, scenario: str = "offline") -> Case:
    return Case(workload=WORKLOAD, phase=Phase.INFER, technique=technique, device="cpu", seed=1234, scenario=scenario,
                trained_by=trained_by)  # fmt: skip


def record(
    case: Case, *, run_id: str = "run-a", outcome: Ok | Failed | Skipped | None = None, **more: object
) -> Record:
    more.setdefault("data", DATA)
    more.setdefault("model", MODEL)
    return Record(
        run_id=run_id,
        case_id=case.case_id,
        case=case,
        outcome=outcome or Ok(),
        started_utc="2026-11-20T10:00:00Z",
        host_fingerprint="7c1e90ab" * 8,
        code_version="0.1.0+test",
        **more,
    )


DATA = DataInfo(
    source="embedded: standard library docstrings, Python 3.11.7",
    content_sha256="d0" * 32,
    classes=("asyncio", "email", "json", "unittest"),
    n_train=2000,
    n_validation=400,
    n_test=420,
    trivial=(
        Trivial(split="validation", metric="accuracy", value=0.28, answer="the best constant answer"),
        Trivial(split="test", metric="accuracy", value=0.27, answer="the best constant answer"),
    ),
)
MODEL = ModelInfo(source="packaged MiniLM", architecture="BertForSequenceClassification", parameters=22_713_604,
                  weights_sha256="a1" * 32)  # fmt: skip


def infer_group(
    truths: tuple[Truth, ...],
    *,
    forks: int = 4,
    blocks: int = 8,
    base_j: float = 0.0224,
    noise: Noise | None = None,
    maker: Maker | None = None,
    trained_by: str | None = None,
    scenario: str = "offline",
    items: int = 420,
    run_id: str = "run-a",
    folder: Path | None = None,
) -> tuple[Record, ...]:
    """Interleaved records: every block visits every case twice, mirrored, on a machine that drifts."""
    noise, maker = noise or Noise(), maker or Maker()
    rng = random.Random(noise.seed)
    windows: dict[str, list[Window]] = {truth.name: [] for truth in truths}
    drift = 0.0
    for fork in range(forks):
        luck = {truth.name: rng.gauss(0, noise.fork_sd) for truth in truths}
        for truth in truths:
            windows[truth.name].append(maker.window(WindowKind.BUILD, truth.build_j, fork=fork, duration_s=2.0))
            windows[truth.name].append(maker.window(WindowKind.WARMUP, 99.0, fork=fork, tasks=32))
        for block in range(blocks):
            own = {truth.name: _noise(rng, noise) for truth in truths}
            order = list(truths)
            rng.shuffle(order)
            for slot, truth in enumerate([*order, *reversed(order)]):
                drift = 0.8 * drift + rng.gauss(0, noise.drift_sd) * 0.02
                tasks = 32 * (1 + (truth.ratio < 0.7))
                log_j = math.log(base_j * truth.ratio) + drift + own[truth.name] + luck[truth.name]
                window = maker.window(
                    WindowKind.RUN,
                    math.exp(log_j) * tasks,
                    fork=fork,
                    tasks=tasks,
                    block=block,
                    slot=slot,
                    batch=block,
                    duration_s=tasks * truth.ms * truth.ratio / 1000,
                    doubts=truth.doubts,
                )
                windows[truth.name].append(window)
    return tuple(_infer_record(t, windows[t.name], items, maker, trained_by, scenario, run_id, folder) for t in truths)


def _noise(rng: random.Random, noise: Noise) -> float:
    value = rng.gauss(0, noise.block_sd)
    return value * 6 if noise.heavy and rng.random() < 0.1 else value


def _infer_record(truth, windows, items, maker, trained_by, scenario, run_id, folder):  # noqa: PLR0917
    case = infer_case(truth.name, trained_by, scenario)
    scores = [1.0 if item % 7 else 0.0 for item in range(items)]
    gained, lost = truth.accuracy_flips
    for item in [i for i in range(items) if i % 7 == 0][:gained]:
        scores[item] = 1.0
    for item in [i for i in range(items) if i % 7][:lost]:
        scores[item] = 0.0
    name = None
    if folder is not None:
        name = f"outputs/{case.case_id}.json"
        (folder / "outputs").mkdir(parents=True, exist_ok=True)
        outputs = [[0.1 * item + truth.outputs_off, -0.1] for item in range(items)]
        (folder / name).write_text(json.dumps({"item_ids": list(range(items)), "outputs": outputs}))
    return record(
        case,
        run_id=run_id,
        windows=tuple(windows),
        quality=stats.quality(scores, 0.95, "accuracy") if items else None,
        item_ids=tuple(range(items)),
        item_scores=tuple(scores),
        outputs_file=name,
        meters=(maker.meter(),),
        doubts=truth.doubts,
    )


def train_record(
    technique: str,
    *,
    chunk_j: float,
    curve: tuple[float, ...],
    setup_j: float = 3.0,
    target: float | None = None,
    seed: int = 1234,
    spread: float = 0.02,
    test_accuracy: float | None = None,
    maker: Maker | None = None,
) -> Record:
    """A training of `len(curve) − 1` equal chunks after the set-up window; `curve[0]` is untrained quality."""
    maker, rng = maker or Maker(), random.Random(f"{technique}{seed}")
    windows, points = [], []
    for index, value in enumerate(curve):
        energy_j = setup_j if index == 0 else chunk_j * (1 + rng.gauss(0, spread))
        windows.append(
            maker.window(WindowKind.TRAIN, energy_j, duration_s=energy_j / 1.5, tasks=0 if index == 0 else 250)
        )
        windows.append(maker.window(WindowKind.EVAL, 1.0, duration_s=0.7, tasks=400))
        half = 1.96 * math.sqrt(max(value * (1 - value), 1e-4) / 400)
        quality = Quality(metric="accuracy", value=value, low=max(0, value - half), high=min(1, value + half), n=400,
                          confidence=0.95)  # fmt: skip
        points.append(CurvePoint(windows_done=index + 1, steps=index * 8, examples=index * 250, quality=quality))
    final = curve[-1] if test_accuracy is None else test_accuracy
    scores = [1.0] * round(final * 420) + [0.0] * (420 - round(final * 420))
    return record(
        train_case(technique, seed),
        windows=tuple(windows),
        curve=tuple(points),
        target_quality=target,
        quality=stats.quality(scores, 0.95, "accuracy"),
        item_ids=tuple(range(420)),
        item_scores=tuple(scores),
        meters=(maker.meter(),),
    )


def run_info(records: tuple[Record, ...], **more: object) -> RunInfo:
    values = {
        "run_id": "run-a",
        "suite_name": "quick",
        "suite_sha256": "5e" * 32,
        "suite": {},
        "host": {"cpu_brand": "AMD EPYC 7763 64-Core Processor", "cores_online": 2, "memory_bytes": 4 * 2**30,
                 "os": "Linux", "kernel": "6.1.0", "python": "3.11.7", "vm": True, "gpus": [],
                 "versions": {"torch": "2.13.0", "onnxruntime": "1.31.0", "onnx": None}, "thread_env": {}},
        "host_fingerprint": "7c1e90ab" * 8,
        "code_version": "0.1.0+test",
        "started_utc": "2026-11-20T10:00:00Z",
        "finished_utc": "2026-11-20T10:05:10Z",
        "confidence": 0.95,
        "quality_margin": 0.02,
        "case_ids": tuple(each.case_id for each in records),
        "wall_s": 310.0,
        "measured_s": 240.0,
    }  # fmt: skip
    return RunInfo(**{**values, **more})


def fake_run(folder: Path, records: tuple[Record, ...], **more: object) -> FakeRun:
    return FakeRun(folder=folder, info=run_info(records, **more), records=records)


def realistic_run(folder: Path, maker: Maker | None = None) -> FakeRun:
    """A suite as users run it: three trainings, four inference techniques, one case skipped, one failed."""
    maker = maker or Maker()
    full = train_record("full_finetune", chunk_j=31.0, setup_j=6.0, target=0.8, maker=maker,
                        curve=(0.12, 0.41, 0.63, 0.72, 0.78, 0.81, 0.835, 0.846, 0.852))  # fmt: skip
    frozen = train_record("frozen_features", chunk_j=0.9, setup_j=24.0, target=0.8, maker=maker,
                          curve=(0.11, 0.35, 0.52, 0.61, 0.66, 0.69, 0.71, 0.72, 0.725))  # fmt: skip
    scratch = train_record("from_scratch", chunk_j=30.0, setup_j=4.0, target=0.8, maker=maker,
                           curve=(0.10, 0.12, 0.13, 0.13, 0.15, 0.16, 0.19, 0.21, 0.22))  # fmt: skip
    truths = (
        Truth("torch_eager", 1.0, build_j=2.1),
        Truth("length_bucketing", 0.55, build_j=2.1, outputs_off=3e-6),
        Truth("onnxruntime_fp32", 1.004, build_j=14.0, outputs_off=2e-5),
        Truth("onnxruntime_int8_dynamic", 0.41, build_j=31.0, outputs_off=0.31, accuracy_flips=(6, 10)),
        Truth("torch_compile", 1.12, build_j=120.0, outputs_off=1e-6),
    )
    inferred = infer_group(truths, maker=maker, trained_by=full.case_id, folder=folder)
    skipped = record(infer_case("bf16_autocast", full.case_id),
                     outcome=Skipped(reason="this CPU has no bf16 instructions (avx512_bf16 or amx_bf16)"))  # fmt: skip
    died = "the worker was killed by signal 9; it may have run out of memory: see its log"
    failed = record(train_case("lora"), outcome=Failed(error="WorkerFailed", message=died, log="logs/lora-0.log"))
    return fake_run(folder, (scratch, full, frozen, failed, *inferred, skipped))
