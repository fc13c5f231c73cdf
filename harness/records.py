"""The frozen data of joulebench: what was asked, what was measured, what is not known.

Every struct is immutable, keyword-only and refuses unknown fields, so that a results file is
either exactly what this version writes or an error. Units end the names; SI throughout.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Any

import msgspec

SCHEMA = 1
"""Version of the record format. 1: first format (2026-11)."""


class Frozen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all records: immutable, keyword-only, strict."""


class Phase(StrEnum):
    """What a case does."""

    TRAIN = "train"
    INFER = "infer"
    SERVE = "serve"


class WindowKind(StrEnum):
    """What the worker did during a window."""

    BUILD = "build"
    IDLE = "idle"
    WARMUP = "warmup"
    RUN = "run"
    TRAIN = "train"
    EVAL = "eval"
    PREFILL = "prefill"


class Provenance(StrEnum):
    """How a joule is known, strongest first; `fake` is only for tests and never hides."""

    COUNTER = "counter"
    INTEGRATED_POWER = "integrated-power"
    ATTRIBUTED = "attributed"
    MODELLED = "modelled"
    IMPORTED = "imported"
    FAKE = "fake"


class Doubt(StrEnum):
    """A reason to trust a measurement less; data, not a log line."""

    WINDOW_TOO_SHORT = "WINDOW_TOO_SHORT"
    HOST_BUSY = "HOST_BUSY"
    THERMAL_DRIFT = "THERMAL_DRIFT"
    MODELLED = "MODELLED"
    UNKNOWN_MICROARCHITECTURE = "UNKNOWN_MICROARCHITECTURE"
    OUTPUTS_DIFFER = "OUTPUTS_DIFFER"
    BUDGET_SPENT = "BUDGET_SPENT"
    ONE_FORK = "ONE_FORK"
    NO_IDLE_BASELINE = "NO_IDLE_BASELINE"
    METER_MISSING = "METER_MISSING"
    WINDOWS_OVERLAP = "WINDOWS_OVERLAP"
    THROTTLED = "THROTTLED"
    RESUMED = "RESUMED"


class Energy(Frozen, frozen=True, kw_only=True):
    """The joules one domain drew during one window.

    `billed` says whether a total counts this domain; a domain contained in another (core in
    package) or a second view of the same joules (process share of package) is kept, not billed.
    `low_j`/`high_j` bound what the meter knows of its own error: the sources' disagreement where the
    value is modelled, the refresh of the counter at the two edges where it is read; the gain error of
    a counter is not in them. `idle_j` is the idle share that belongs to the window and is *not* in
    `energy_j`.
    """

    domain: str
    energy_j: float
    provenance: Provenance
    boundary: str
    meter: str
    billed: bool = True
    low_j: float | None = None
    high_j: float | None = None
    idle_j: float | None = None


class Missing(Frozen, frozen=True, kw_only=True):
    """A domain that could not be measured, and why. Never a number.

    `billed` says whether a total would have counted it, so that there can be no total without it.
    """

    domain: str
    reason: str
    billed: bool = True


class HostLoad(Frozen, frozen=True, kw_only=True):
    """What the rest of the host did during a window.

    `busy_other_share` is CPU time of other processes over the capacity of all cores (0–1),
    `steal_share` time the hypervisor took away, likewise; None where the system does not say.
    """

    busy_other_share: float | None
    steal_share: float | None
    load_1m: float | None


class DeviceState(Frozen, frozen=True, kw_only=True):
    """What a device said of itself just outside one edge of a window; None where it does not say.

    `edge` is `begin` or `end`; `throttled` names the reasons for which its clocks are held down, and is
    empty where there are none.
    """

    domain: str
    edge: str
    temperature_c: float | None = None
    core_clock_hz: float | None = None
    memory_clock_hz: float | None = None
    power_limit_w: float | None = None
    throttled: tuple[str, ...] | None = None


class Measured(Frozen, frozen=True, kw_only=True):
    """One begin/end pair over all meters.

    `cpu_s` is the process's own CPU clock plus its reaped children in seconds, or that of the control
    group where the case has one to itself. `begun_unix_s` is the time of day at which it began.
    """

    duration_s: float
    cpu_s: float
    energies: tuple[Energy, ...]
    missing: tuple[Missing, ...] = ()
    load: HostLoad
    doubts: tuple[Doubt, ...] = ()
    begun_unix_s: float | None = None
    states: tuple[DeviceState, ...] = ()


class Window(Frozen, frozen=True, kw_only=True):
    """One measured interval in a fork."""

    kind: WindowKind
    fork: int
    tasks: int
    measured: Measured
    block: int | None = None
    slot: int | None = None
    batch: int | None = None
    peak_memory_bytes: int | None = None
    outputs_sha256: str | None = None
    label: str | None = None


class Quality(Frozen, frozen=True, kw_only=True):
    """A quality measure with its interval; `value` is in the metric's own unit (accuracy: 0–1)."""

    metric: str
    value: float
    low: float
    high: float
    n: int
    confidence: float


class CurvePoint(Frozen, frozen=True, kw_only=True):
    """Quality after the training windows up to and including `windows_done`.

    `steps` and `examples` count from the start; `windows_done` indexes the record's training windows. `measures` are
    what was found beside the quality, by name (`perplexity`, `loss_nats`, `bleu`).
    """

    windows_done: int
    steps: int
    examples: int
    quality: Quality
    measures: dict[str, float] = {}


class WorkloadSpec(Frozen, frozen=True, kw_only=True):
    """A workload by name with the parameters the suite gave it."""

    name: str
    params: dict[str, Any] = {}


class Case(Frozen, frozen=True, kw_only=True):
    """workload × phase × technique × device × scenario × parameters × seed."""

    workload: WorkloadSpec
    phase: Phase
    technique: str
    device: str
    seed: int
    threads: int = 1
    scenario: str | None = None
    params: dict[str, Any] = {}
    trained_by: str | None = None

    @property
    def case_id(self) -> str:
        """Twelve hex digits that change whenever any part of the case changes."""
        canonical = msgspec.json.encode(self, order="sorted")
        return hashlib.sha256(canonical).hexdigest()[:12]

    @property
    def name(self) -> str:
        """A short name for people: `infer/length_bucketing@cpu/offline`."""
        parts = f"{self.phase.value}/{self.technique}@{self.device}"
        return f"{parts}/{self.scenario}" if self.scenario else parts

    def named(self, label: str) -> str:
        """Return the name behind what tells its workload apart; an empty label tells nothing."""
        return f"{label}/{self.name}" if label else self.name


class Trivial(Frozen, frozen=True, kw_only=True):
    """What an answer that takes no model scores on a split; `value` is in the unit of the quality `metric`."""

    split: str
    metric: str
    value: float
    answer: str


class DataInfo(Frozen, frozen=True, kw_only=True):
    """The data a record was made on. Two records agree only if `content_sha256` does.

    `trivial` says what quality takes no model on these data: a model that learned something does better.
    """

    source: str
    content_sha256: str
    classes: tuple[str, ...]
    n_train: int
    n_validation: int
    n_test: int
    note: str = ""
    trivial: tuple[Trivial, ...] = ()


class ModelInfo(Frozen, frozen=True, kw_only=True):
    """The model a record was made with; `weights_sha256` is None for random weights."""

    source: str
    architecture: str
    parameters: int
    weights_sha256: str | None = None


class IdlePower(Frozen, frozen=True, kw_only=True):
    """What one domain drew while this process slept: mean and standard deviation over the windows, in watts."""

    domain: str
    mean_w: float
    sd_w: float


class SelfTest(Frozen, frozen=True, kw_only=True):
    """What a meter showed when it was watched on this host, once a boot.

    `monotonic` and `plausible` are over all windows; `faults` say what was not. `windows` idle windows
    of `window_s` seconds each.
    """

    tested_utc: str
    windows: int
    window_s: float
    monotonic: bool
    plausible: bool
    idle: tuple[IdlePower, ...] = ()
    faults: tuple[str, ...] = ()


class MeterInfo(Frozen, frozen=True, kw_only=True):
    """One meter on one host: what it covers, how it was checked, what reading it costs.

    `refresh_s` is how often the counter changes (0 for a clock read on demand), `read_cost_s` the
    median time of one read, `coefficients` the set and version of a model.
    """

    name: str
    domains: tuple[str, ...]
    provenance: Provenance
    boundary: str
    refresh_s: float | None = None
    read_cost_s: float | None = None
    window_for_1_percent_s: float | None = None
    coefficients: str | None = None
    notes: tuple[str, ...] = ()
    self_test: SelfTest | None = None


class Ok(Frozen, frozen=True, kw_only=True, tag="ok"):
    """The case ran to its end."""


class Skipped(Frozen, frozen=True, kw_only=True, tag="skipped"):
    """The case was not run, and why."""

    reason: str


class Failed(Frozen, frozen=True, kw_only=True, tag="failed"):
    """The case ended before its time: what happened, and what to do next."""

    error: str
    message: str
    log: str | None = None


Outcome = Ok | Skipped | Failed


class Record(Frozen, frozen=True, kw_only=True):
    """Everything one case yielded; one line of `records.jsonl`.

    `item_scores` holds one score a test item (1.0 right, 0.0 wrong), in the order of `item_ids`;
    per-task numbers are functions over a record and are never stored. `measures` are what was found on the test split
    beside the quality.
    """

    schema: int = SCHEMA
    run_id: str
    case_id: str
    case: Case
    outcome: Outcome
    started_utc: str
    host_fingerprint: str
    code_version: str
    windows: tuple[Window, ...] = ()
    curve: tuple[CurvePoint, ...] = ()
    target_quality: float | None = None
    quality: Quality | None = None
    measures: dict[str, float] = {}
    item_ids: tuple[int, ...] = ()
    item_scores: tuple[float, ...] = ()
    outputs_file: str | None = None
    artefact: str | None = None
    data: DataInfo | None = None
    model: ModelInfo | None = None
    meters: tuple[MeterInfo, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    parent_cpu_s: float | None = None
    wall_s: float | None = None


class RunInfo(Frozen, frozen=True, kw_only=True):
    """One run of one suite on one host (`run.json`); `finished_utc` is None until every case has a record.

    `suite` is the resolved configuration, `host` what `host.probe()` said. Intervals of the run are
    made at `confidence`, family-wise over the techniques compared; a quality loss smaller than
    `quality_margin` (in the metric's unit) counts as no worse.
    `labels` tell workloads (or the points of a sweep) apart, by case, where the run holds several.
    """

    schema: int = SCHEMA
    run_id: str
    suite_name: str
    suite_sha256: str
    suite: dict[str, Any]
    host: dict[str, Any]
    host_fingerprint: str
    code_version: str
    started_utc: str
    finished_utc: str | None = None
    confidence: float
    quality_margin: float
    case_ids: tuple[str, ...]
    wall_s: float = 0.0
    measured_s: float = 0.0
    labels: dict[str, str] = {}

    def name_of(self, case: Case) -> str:
        """Return a case's name, with its workload where the run holds several: `bert/train/from_scratch@cpu`."""
        return case.named(self.labels.get(case.case_id, ""))

    def group_of(self, case: Case) -> str:
        """Return what cases that are compared share, for people: `cpu/offline`, threads only where not 1."""
        threads = f"{case.threads} threads" if case.threads != 1 else None
        parts = (self.labels.get(case.case_id), case.device, case.scenario, threads)
        return "/".join(part for part in parts if part)
